package capture

import (
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

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
}

// read records the counters of every network namespace that is known: all if
// everything, else those that changed.
func (w *witness) read(everything, final bool) error {
	if w.procs == nil || final {
		w.find()
	}
	if w.last == nil {
		w.last = map[uint32]format.Counters{}
	}
	settings := readSettings(w.procs, w.watch)
	for _, ns := range slices.Sorted(maps.Keys(w.procs)) {
		c, ok := readCounters(w.procs[ns], ns)
		if !ok { // the process has ended, or went elsewhere
			w.find()
			if c, ok = readCounters(w.procs[ns], ns); !ok {
				continue
			}
		}
		c.Final, c.Settings = final, settings[ns]
		if last := w.last[ns]; !everything && maps.Equal(c.Values, last.Values) && maps.Equal(c.Settings, last.Settings) {
			continue
		}
		w.last[ns] = c
		if err := w.write(c); err != nil {
			return err
		}
	}
	return nil
}

// meet takes note of a process, and reads the counters of its network namespace
// if that is new.
func (w *witness) meet(p *format.Process) error {
	ns := uint32(p.NetNS)
	if w.procs == nil || w.procs[ns] != "" || len(w.procs) >= maxNamespaces {
		return nil
	}
	proc := "/proc/" + strconv.FormatUint(uint64(p.PID), 10)
	c, ok := readCounters(proc, ns)
	if !ok {
		return nil
	}
	c.Settings = readSettings(map[uint32]string{ns: proc}, w.watch)[ns]
	w.procs[ns], w.last[ns] = proc, c
	return w.write(c)
}

// find looks for a process in each network namespace.
func (w *witness) find() {
	deadline := time.Now().Add(time.Second)
	w.procs = map[uint32]string{}
	eachNamespace(func() bool { return time.Now().After(deadline) || len(w.procs) >= maxNamespaces }, func(proc string, ns uint32) {
		w.procs[ns] = proc
	})
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

// readCounters reads the counters of the namespace that a process is in, if that
// is ns. It tries a few times to do so while no connection is made.
func readCounters(proc string, ns uint32) (c format.Counters, ok bool) {
	if proc == "" {
		return c, false
	}
	for range 5 {
		opened := parseCounters(nil, proc+"/net/snmp", "Tcp")[format.CounterPassiveOpens]
		c = format.Counters{NetNS: ns, BootNS: bootNS()}
		c.Queued, c.QueuedKnown = queued(proc)
		c.Values = parseCounters(nil, proc+"/net/snmp", "Tcp")
		c.Values = parseCounters(c.Values, proc+"/net/netstat", "TcpExt", "MPTcpExt")
		c.UntilNS = bootNS()
		same := c.Values[format.CounterPassiveOpens] == opened
		c.QueuedKnown = c.QueuedKnown && same
		if same {
			break
		}
	}
	return c, len(c.Values) > 0 && namespace(proc+"/ns/net") == uint64(ns)
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
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(names) != len(fields) || names[0] != fields[0] || fields[1] == names[1] {
			names = fields
			continue
		}
		group := strings.TrimSuffix(fields[0], ":")
		for i := 1; i < len(fields) && slices.Contains(groups, group); i++ {
			name := group + names[i]
			if _, there := to[name]; there || !slices.Contains(format.CounterNames, name) {
				continue
			}
			if n, err := strconv.ParseUint(fields[i], 10, 64); err == nil {
				to[name] = n
			}
		}
		names = nil
	}
	return to
}
