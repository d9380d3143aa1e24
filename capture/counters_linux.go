package capture

// This file reads the kernel's own counters, for the cross-check.

import (
	"cmp"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

// maxNamespaces bounds how many network namespaces are asked for their counters.
const maxNamespaces = 1000

// witness asks the kernel for its own counters, which need none of our probes.
type witness struct {
	procs map[uint32]string          // a directory of /proc of a process in each network namespace
	last  map[uint32]format.Counters // what was recorded last
	watch *settingsWatch
	write func(format.Counters) error

	starts   map[uint32]string // when each of the processes in procs began
	complete bool              // find looked at all processes
	unread   map[uint32]bool   // namespaces of sockets that could not be read, and whether a task was in it
	seen     uint32            // the namespace that sees was asked for last
}

// read records the counters of every network namespace that is known: all if
// everything, else those that changed.
func (w *witness) read(everything, final bool) error {
	procs, starts := w.procs, w.starts // of the readings before
	if w.procs == nil || final {
		w.find()
	}
	found := map[uint32]format.Counters{}
	gone := w.look(w.procs, everything, found)
	if len(gone) > 0 { // the process has ended, or went elsewhere
		w.find()
		again := map[uint32]string{}
		for _, ns := range gone {
			if proc := w.procs[ns]; proc != "" {
				again[ns] = proc
			}
		}
		w.look(again, everything, found)
	}
	if w.last == nil {
		w.last = map[uint32]format.Counters{}
	}
	for _, ns := range slices.Sorted(maps.Keys(found)) {
		c := found[ns]
		c.Final = final
		_, before := w.last[ns]
		stayed := namespace(procs[ns]+"/ns/net") == uint64(ns) && startOf(procs[ns]) == starts[ns]
		c.Parted = before && !stayed
		if last := w.last[ns]; !everything && !c.Parted && maps.Equal(c.Values, last.Values) &&
			maps.Equal(c.Settings, last.Settings) {
			continue
		}
		w.last[ns] = c
		if err := w.write(c); err != nil {
			return err
		}
	}
	return nil
}

// look reads the counters and settings of namespaces, and gives those that it could not read.
func (w *witness) look(procs map[uint32]string, edge bool, found map[uint32]format.Counters) (gone []uint32) {
	visit(procs, func(ns uint32, proc string, inside bool) {
		var set map[string]int64
		if inside {
			w.watch.add(ns)
			set = settings()
		}
		_, before := w.last[ns]
		c, ok := readCounters(proc, ns, inside, edge || !before)
		if !ok {
			gone = append(gone, ns)
			return
		}
		c.Settings = set
		found[ns] = c
	})
	return gone
}

// meet takes note of a process, and reads the counters of its network namespace
// if that is new.
func (w *witness) meet(p *format.Process) error {
	ns := uint32(p.NetNS)
	if w.procs == nil || w.procs[ns] != "" || len(w.procs) >= maxNamespaces {
		return nil
	}
	return w.enter(ns, "/proc/"+strconv.FormatUint(uint64(p.PID), 10))
}

// enter reads the counters of a network namespace that is new, if the process or the thread with
// a directory of /proc is in it.
func (w *witness) enter(ns uint32, proc string) error {
	found := map[uint32]format.Counters{}
	w.look(map[uint32]string{ns: proc}, true, found)
	c, ok := found[ns]
	if !ok {
		return nil
	}
	w.procs[ns], w.last[ns], w.starts[ns] = proc, c, startOf(proc)
	return w.write(c)
}

// sees takes note of the network namespace of an event's socket. A process can have a listener in one that
// it is not in, and neither is another one; or one of its threads alone is. Task: the /proc directory of
// the task whose event it is, if that is in it, else "".
func (w *witness) sees(ns uint32, task func() string) error {
	if ns == w.seen || ns == 0 {
		return nil
	}
	w.seen = ns
	if _, read := w.last[ns]; read || w.last == nil {
		return nil
	}
	dir := task()
	if dir != "" && len(w.procs) < maxNamespaces {
		if err := w.enter(ns, dir); err != nil || w.procs[ns] != "" {
			return err
		}
	}
	if w.unread == nil {
		w.unread = map[uint32]bool{}
	}
	if len(w.unread) < maxNamespaces {
		w.unread[ns] = w.unread[ns] || dir != ""
	}
	return nil
}

// Why the counters and the listeners of a network namespace are not in the capture.
const (
	unreadNobody = "no process was in it when acc looked"
	unreadGone   = "who was in it had gone when acc looked"
	unreadMany   = "there were too many network namespaces"
	unreadLate   = "acc had no time to look at all processes"
)

// unreadSpaces says which network namespaces had sockets with events, and no counters could be read.
func (w *witness) unreadSpaces() (list []format.UnreadNetNS) {
	for ns, inside := range w.unread {
		if _, read := w.last[ns]; read {
			continue
		}
		why := unreadNobody
		switch {
		case inside:
			why = unreadGone
		case len(w.procs) >= maxNamespaces:
			why = unreadMany
		case !w.complete:
			why = unreadLate
		}
		list = append(list, format.UnreadNetNS{NetNS: ns, Why: why})
	}
	slices.SortFunc(list, func(a, b format.UnreadNetNS) int { return cmp.Compare(a.NetNS, b.NetNS) })
	return list
}

// find looks for a process in each network namespace.
func (w *witness) find() {
	deadline := time.Now().Add(time.Second)
	known := w.procs
	w.procs, w.starts = map[uint32]string{}, map[uint32]string{}
	w.complete = eachNamespace(func() bool { return time.Now().After(deadline) || len(w.procs) >= maxNamespaces },
		func(proc string, ns uint32) {
			w.procs[ns] = proc
		})
	for ns, proc := range known { // one that only a thread is in
		if w.procs[ns] == "" && len(w.procs) < maxNamespaces && namespace(proc+"/ns/net") == uint64(ns) {
			w.procs[ns] = proc
		}
	}
	for ns, proc := range w.procs {
		w.starts[ns] = startOf(proc)
	}
}

// startOf is when the process or the thread with a directory of /proc began, "" if it is gone.
func startOf(proc string) string {
	b, _ := os.ReadFile(proc + "/stat")
	return startIn(b)
}

// eachNamespace gives a process in each network namespace that one is in.
func eachNamespace(giveUp func() bool, found func(proc string, ns uint32)) (complete bool) {
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		return false
	}
	seen := map[uint64]bool{}
	for _, dir := range dirs {
		if _, err := strconv.ParseUint(dir.Name(), 10, 32); err != nil {
			continue
		}
		if giveUp() {
			return false
		}
		proc := "/proc/" + dir.Name()
		if ns := namespace(proc + "/ns/net"); ns != 0 && !seen[ns] {
			seen[ns] = true
			found(proc, uint32(ns))
		}
	}
	return true
}

// hopeless is how many connections are made during a reading where reading again is not worth it: one of fifty times
// none would be made.
const hopeless = 4

// readCounters reads the counters of the namespace that a process is in, if that
// is ns. It tries a few times to do so while no connection is made and no queue changes, and else gives the reading
// while the fewest did. Whether a queue changed is seen where the kernel can be asked: /proc/net/tcp takes long.
// Inside: the calling thread is in that namespace. Edge: recording begins or ends there, so the reading is compared. Any
// other reading is compared only if it is the last one, because the namespace ended or the recorder was killed. Where
// many connections are made during such a reading, it is not tried again, and is less exact.
func readCounters(proc string, ns uint32, inside, edge bool) (best format.Counters, ok bool) {
	if proc == "" {
		return best, false
	}
	least := uint64(math.MaxUint64)
	for range 5 {
		opened := parseCounters(nil, proc+"/net/snmp", "Tcp")[format.CounterPassiveOpens]
		c := format.Counters{NetNS: ns, BootNS: bootNS()}
		asked := false
		if inside {
			c.Queued, asked = askQueued(ns)
		}
		complete := asked
		if !asked {
			c.Queued, complete = queued(proc)
		}
		c.Values = parseCounters(nil, proc+"/net/snmp", "Tcp")
		c.Values = parseCounters(c.Values, proc+"/net/netstat", "TcpExt", "MPTcpExt")
		moved := c.Values[format.CounterPassiveOpens] - opened
		if asked && moved == 0 { // a connection that was counted may not have been put into its queue yet
			var again uint32
			again, complete = askQueued(ns)
			moved = uint64(max(again, c.Queued) - min(again, c.Queued))
		}
		c.UntilNS = bootNS()
		if moved < least || best.Values == nil {
			best, least = c, moved
			best.QueuedKnown, best.QueuedMoved = complete && moved == 0, uint32(min(moved, math.MaxUint32))
		}
		if moved == 0 || moved >= hopeless && !edge {
			break
		}
	}
	return best, len(best.Values) > 0 && namespace(proc+"/ns/net") == uint64(ns)
}

// askQueued adds up the accept queues of the TCP listeners in the namespace that the calling
// thread is in. The kernel walks the listeners alone, so this takes a fraction of the time that
// reading /proc/net/tcp takes.
func askQueued(ns uint32) (sum uint32, complete bool) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return 0, false
	}
	defer unix.Close(fd)
	deadline := time.Now().Add(time.Second)
	d := diagDump{netns: ns, ports: map[uint16]bool{}}
	if d.ask(fd, false, func() bool { return time.Now().After(deadline) }) != nil {
		return 0, false
	}
	for i := range d.listeners {
		sum += d.listeners[i].Backlog
	}
	return sum, true
}

// queued adds up the accept queues of the TCP listeners that a process could see.
func queued(proc string) (sum uint32, complete bool) {
	complete = true
	deadline := time.Now().Add(time.Second)
	for _, table := range []string{"tcp", "tcp6"} {
		ok := readTable(proc+"/net/"+table, func() bool { return time.Now().After(deadline) }, func(f []string) bool {
			l, ok := tcpListener(f)
			sum += l.Backlog
			return ok
		})
		complete = complete && ok
	}
	return sum, complete
}

// parseCounters adds the counters of format.CounterNames that stand in a file of
// /proc/net in which a line of names is followed by one of values, both beginning
// with the group. The kernel may print a group twice; the first one counts.
func parseCounters(to map[string]uint64, path string, groups ...string) map[string]uint64 {
	b, err := os.ReadFile(path)
	if err != nil {
		return to
	}
	if to == nil {
		to = map[string]uint64{}
	}
	var names []string
	for line := range strings.Lines(string(b)) {
		group, _, _ := strings.Cut(line, ":")
		if !slices.Contains(groups, group) {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		if len(names) != len(fields) || names[0] != fields[0] || fields[1] == names[1] {
			names = fields
			continue
		}
		for i, name := range names[1:] {
			name = group + name
			if _, there := to[name]; there || !slices.Contains(format.CounterNames, name) {
				continue
			}
			if n, err := strconv.ParseUint(fields[i+1], 10, 64); err == nil {
				to[name] = n
			}
		}
		names = nil
	}
	return to
}
