package looks

// This file watches the threads of one listener while clients wait there.

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/acc-project/acc/format"
)

const (
	maxThreads = 64                     // of one listener
	maxEnded   = 8                      // that are named of those that accepted there and have ended
	writeEvery = time.Second            // a row that grows is recorded first after so long,
	writeMost  = 8 * time.Second        // and then at longer intervals up to this
	peersEvery = time.Second            // between two looks at the connections of a process
	silentFor  = 100 * time.Millisecond // a peer that has not answered for so long is told of
)

// Listener is what clients wait at.
type Listener struct {
	NetNS uint32
	Inode uint64
	Port  uint16
}

// Thread is one that accepts there.
type Thread struct{ PID, TID uint32 }

// watch is the looking at one listener.
type watch struct {
	format.Watch
	threads   []*thread
	rows      uint32
	again     bool // what it says has changed since its record was made
	groups    []group
	port      uint16        // of the listener
	peersNS   int64         // when the connections were looked at last
	samplers  int           // that are open
	cpuNS     int64         // when samples are recorded next
	goNS      int64         // when goroutines are looked at next
	goPause   time.Duration // between two such looks
	lastNS    int64         // time of the last look
	changes   int           // threads that this look found to do something else
	changed   bool          // they were more than a few
	changedNS int64         // of the last one that found this, as the one before did
	buf       []byte
	stacks    *stackBook          // nil: none are looked at
	setsOf    map[uint32][]uint64 // the epoll sets of processes
	blind     bool                // nothing can be looked at
	sockets   map[string]target   // where they lead to, by inode number
	beside    map[uint32]bool     // Go programs all of whose threads are looked at
	frozenOf  map[uint32]bool     // by process, of this look
}

// newWatch begins to look at the threads that accept at a listener, or without any at those of the processes that
// have it open. cannot says what keeps it from that, "" if nothing does.
func newWatch(num uint32, l Listener, accepting []Thread, nowNS int64, s *stackBook, cannot string) *watch {
	w := &watch{buf: make([]byte, 4096), port: l.Port, stacks: s}
	w.Watch = format.Watch{Num: num, NetNS: l.NetNS, Listener: l.Inode, FromNS: nowNS, Threads: []format.WatchedThread{}}
	w.again, w.changedNS = true, nowNS
	if cannot != "" {
		w.blind = true
		w.can(cannot)
		return w
	}
	w.followAll(accepting, nowNS)
	if !w.accepts() {
		w.followOwners(nowNS)
	}
	w.findGroups()
	return w
}

// followAll begins to look at threads, as many as it may.
func (w *watch) followAll(list []Thread, nowNS int64) {
	if len(list) > maxThreads {
		w.MoreThreads = uint32(len(list) - maxThreads)
		list = list[:maxThreads]
	}
	for _, t := range list {
		w.follow(format.WatchedThread{PID: t.PID, TID: t.TID}, nowNS)
	}
}

// followOwners begins to look at the threads of the processes that have the listener open: nobody is known to accept
// there, or who did has ended.
func (w *watch) followOwners(nowNS int64) {
	w.Owners, w.again = true, true
	w.followAll(slices.DeleteFunc(threadsOf(ownersOf(w.Listener)), func(t Thread) bool { return w.follows(t.TID) }), nowNS)
}

// accepts reports whether a thread lives that accepts there.
func (w *watch) accepts() bool {
	return slices.ContainsFunc(w.threads, func(t *thread) bool { return !t.ended && t.accepts() })
}

// alive reports whether a process has not ended.
func alive(pid uint32) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	i := bytes.LastIndexByte(b, ')')
	return err == nil && i >= 0 && i+2 < len(b) && b[i+2] != 'Z' && b[i+2] != 'X'
}

// left notes that a thread has ended that accepted there.
func (w *watch) left(tid uint32) {
	if len(w.Ended) < maxEnded {
		w.Ended, w.again = append(w.Ended, tid), true
	}
}

// follow begins to look at a thread.
func (w *watch) follow(t format.WatchedThread, nowNS int64) {
	x, cannot, err := newThread(t, w.buf, nowNS)
	switch {
	case err != nil && gone(err):
		if !t.Holder && !t.Beside && !w.Owners && alive(t.PID) {
			w.left(t.TID)
		}
		return
	case err != nil:
		w.can(fmt.Sprintf("thread %d: %s", t.TID, reason(err)))
		return
	case cannot != "":
		w.can(cannot)
	}
	w.threads = append(w.threads, x)
	w.Threads = append(w.Threads, x.WatchedThread)
	w.again = true
}

// can notes what can't be looked at.
func (w *watch) can(not string) {
	if !slices.Contains(w.Cannot, not) && len(w.Cannot) < 8 {
		w.Cannot, w.again = append(w.Cannot, not), true
	}
}

// look looks at all threads.
func (w *watch) look(nowNS int64, pause time.Duration) {
	if w.blind {
		return
	}
	w.Looks++
	w.lastNS, w.frozenOf, w.changes, w.EveryNS = nowNS, nil, 0, max(w.EveryNS, int64(pause))
	idle, accepting := true, 0
	for _, t := range w.threads {
		// A process that ends takes its threads with it, at about the same time: that is seen by the next look.
		if t.ended && !t.noted && t.accepts() && !w.Owners && alive(t.PID) {
			t.noted = true
			w.left(t.TID)
		}
		if !t.ended {
			t.look(w, nowNS)
			idle = idle && (t.ended || t.sleeping || t.Beside)
			if !t.Beside {
				accepting++
			}
		}
	}
	before := w.changed
	w.changed = w.changes*4 > accepting // of few threads one, of 64 more than sixteen
	if w.changed && before {            // one look between two that are alike changes nothing
		w.changedNS = nowNS
	}
	for _, t := range w.threads {
		if t.owner != 0 {
			w.followHolder(t, nowNS)
		}
	}
	if !w.Owners && len(w.Ended) > 0 && !w.accepts() {
		w.followOwners(nowNS)
	}
	w.findGoroutines(nowNS)
	w.followBeside(nowNS)
	if idle && nowNS-w.peersNS >= int64(peersEvery) {
		w.peersNS = nowNS
		w.findPeers(nowNS)
	}
}

// followHolder begins to look at the thread that holds the lock for which another one waits.
func (w *watch) followHolder(t *thread, nowNS int64) {
	i := slices.IndexFunc(w.threads, func(x *thread) bool { return x.TID == t.owner })
	switch {
	case i < 0 && len(w.threads) < 2*maxThreads:
		w.follow(format.WatchedThread{PID: t.PID, TID: t.owner, Holder: true}, nowNS)
	case i >= 0 && w.threads[i].Beside:
		x := &w.threads[i].WatchedThread
		x.Holder, x.Beside = true, false
		w.again = true
		for k := range w.Threads {
			if w.Threads[k].TID == x.TID {
				w.Threads[k] = *x
			}
		}
	}
}

// follows reports whether a thread is looked at.
func (w *watch) follows(tid uint32) bool {
	return slices.ContainsFunc(w.threads, func(t *thread) bool { return t.TID == tid })
}

// end ends the watch: its last rows are complete.
func (w *watch) end(nowNS int64) {
	w.ToNS, w.again = nowNS, true
	w.readGroups()
	for _, t := range w.threads {
		t.endSampling(w)
		t.files.close()
	}
}

// records gives what is to be recorded: all, or what is due. waits: some stacks are not found yet.
func (w *watch) records(all bool, write func(any)) (waits bool) {
	if w.stacks != nil {
		for _, not := range w.stacks.cannotFind(w.threads) {
			w.can(not)
		}
		waits = w.noteSamples(all || w.ToNS != 0)
		w.noteGoroutines()
		w.recordStacks(write)
	}
	if w.again {
		w.again = false
		x := w.Watch
		x.Threads, x.Cannot, x.Ended = slices.Clone(x.Threads), slices.Clone(x.Cannot), slices.Clone(x.Ended)
		x.Groups, x.Peers, x.Goroutines = slices.Clone(x.Groups), slices.Clone(x.Peers), slices.Clone(x.Goroutines)
		x.OnCPU = slices.Clone(x.OnCPU)
		write(x)
	}
	for _, t := range w.threads {
		waits = t.due(w, w.lastNS, all, write) || waits
	}
	return waits
}

// otherSets reports whether a process has another epoll set, that has the listener.
func (w *watch) otherSets(pid uint32, but uint64) bool {
	if w.setsOf == nil {
		w.setsOf = map[uint32][]uint64{}
	}
	list, ok := w.setsOf[pid]
	if !ok {
		list = sets(pid)
		w.setsOf[pid] = list
	}
	for _, fd := range list {
		if fd != but && amongEpoll(pid, fd, w.Listener) == format.AmongArmed {
			return true
		}
	}
	return false
}

// frozen reports whether a process's cgroup is frozen, where the kernel does not say it of the thread.
func (w *watch) frozen(pid uint32) bool {
	is, ok := w.frozenOf[pid]
	if !ok {
		if w.frozenOf == nil {
			w.frozenOf = map[uint32]bool{}
		}
		is = GroupFrozen(fmt.Sprint("/proc/", pid))
		w.frozenOf[pid] = is
	}
	return is
}

// ownersOf are the processes that have a socket open.
func ownersOf(inode uint64) (pids []uint32) {
	want := "socket:[" + strconv.FormatUint(inode, 10) + "]"
	for pid := range numbersIn("/proc") {
		fds, err := os.Open(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			continue
		}
		names, _ := fds.Readdirnames(1 << 16)
		fds.Close()
		for _, fd := range names {
			if link, _ := os.Readlink(fds.Name() + "/" + fd); link == want {
				pids = append(pids, pid)
				break
			}
		}
	}
	return pids
}

// threadsOf are the threads of processes, the main ones first.
func threadsOf(pids []uint32) (list []Thread) {
	for _, pid := range pids {
		list = append(list, Thread{pid, pid})
	}
	for _, pid := range pids {
		for tid := range numbersIn(fmt.Sprintf("/proc/%d/task", pid)) {
			if tid != pid {
				list = append(list, Thread{pid, tid})
			}
		}
	}
	return list
}

// numbersIn gives the names in a directory that are numbers.
func numbersIn(dir string) func(yield func(uint32) bool) {
	return func(yield func(uint32) bool) {
		f, err := os.Open(dir)
		if err != nil {
			return
		}
		defer f.Close()
		names, _ := f.Readdirnames(-1)
		for _, name := range names {
			if n, err := strconv.ParseUint(name, 10, 32); err == nil && !yield(uint32(n)) {
				return
			}
		}
	}
}
