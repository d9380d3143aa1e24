package looks

// This file follows one thread from look to look, and makes rows of what they find.

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/acc-project/acc/format"
)

// maxRows is how many rows a thread has at most; what comes then is added to one of the same state.
const maxRows = 128

// thread is one that is looked at.
type thread struct {
	format.WatchedThread
	files files
	buf   []byte

	times    times
	credited int64 // of what counts as waiting for a CPU, and the kernel has not counted yet
	atNS     int64 // of the last look
	slept    doing // what it was found in, while it has not run since
	sleeping bool
	inCall   inCall // that it was found in then
	link     string // what its descriptor was, "" none
	rows     []*row
	owner    uint32 // holds a lock that this one waits for, 0 none
	ended    bool
	noted    bool // that it has ended, and its process has not

	sampler   *sampler // nil: it is not sampled now
	noSampler bool     // it can't be
	cpu       onCPU
}

// doing is what a thread does: rows that are equal in it are one.
type doing struct {
	state, call, kind, target, wchan, among string
	owner                                   uint32
	sp, pc                                  uint64 // where in the program: other ones are another row
}

// row is a format.Doing that grows.
type row struct {
	doing
	format.Doing
	copy     *stackCopy // of the stack, while its frames are not found
	written  bool       // what it says is recorded
	writeNS  int64      // when it is recorded next, while it grows
	interval int64      // what that was the last time
}

// newThread begins to look at a thread.
func newThread(t format.WatchedThread, buf []byte, nowNS int64) (*thread, string, error) {
	f, cannot, err := openFiles(t.PID, t.TID)
	if err != nil {
		return nil, "", err
	}
	x := &thread{WatchedThread: t, files: f, buf: buf, atNS: nowNS}
	if x.times, err = f.schedule(buf); err != nil {
		f.close()
		return nil, "", err
	}
	if x.Comm == "" {
		b, _ := os.ReadFile(f.dir + "/comm")
		x.Comm = strings.TrimSuffix(string(b), "\n")
	}
	return x, cannot, nil
}

// accepts reports whether it is looked at because it accepts.
func (t *thread) accepts() bool { return !t.Holder && !t.Beside }

// look looks at the thread: what it did since the last look goes into its rows.
func (t *thread) look(w *watch, nowNS int64) {
	past := nowNS - t.atNS
	now, err := t.files.schedule(t.buf)
	if err != nil {
		t.ended = true
		t.endSampling(w)
		return
	}
	ran := min(now.ran-t.times.ran, past)
	waited := now.waited - t.times.waited
	moved := now != t.times
	t.times = now
	from := t.atNS
	t.atNS = nowNS
	if past <= 0 {
		return
	}
	t.sample(w, ran, past)
	// The kernel counts waiting for a CPU when it is over: what was told of it already is not told again.
	told := min(t.credited, waited)
	t.credited -= told
	waited = min(waited-told, past-ran)
	t.add(w, doing{state: format.DoingCPU}, from, nowNS, ran)
	t.add(w, doing{state: format.DoingRunnable}, from, nowNS, waited)
	rest := past - ran - waited
	if !moved && t.sleeping { // it sleeps as it did
		t.add(w, t.slept, from, nowNS, rest)
		return
	}
	t.credited = min(t.credited, past) // of a thread that ran, all is counted
	d := t.find(w)
	// What wakes up all the time, and sleeps again where it did, has not changed.
	if stays := t.sleeping && t.slept == d && ran+waited < past/20; !stays && (!t.Beside || ran >= past/4) {
		w.changes++
	}
	if was := t.slept; t.sleeping && was != d && rest > past/50 { // it woke at a time in between
		t.add(w, was, from, nowNS, rest/2)
		rest -= rest / 2
	}
	t.sleeping = d.state != format.DoingRunnable
	t.slept, t.owner = d, d.owner
	if d.state == format.DoingRunnable {
		t.credited += rest
	}
	if rest > past/50 {
		t.add(w, d, from, nowNS, rest)
	}
}

// find finds out what the thread does now.
func (t *thread) find(w *watch) doing {
	if t.sleeping && t.slept.wchan != "" && t.slept.among == "" && t.slept.owner == 0 && t.again() {
		return t.slept
	}
	switch t.files.state(t.buf) {
	case 'R':
		return doing{state: format.DoingRunnable}
	case 'T', 't':
		c := t.files.inCall(t.buf)
		return doing{state: format.DoingStopped, sp: c.sp, pc: c.pc}
	case 'D':
		return t.where(w, doing{state: format.DoingDisk})
	case 'S':
		return t.where(w, doing{state: format.DoingAsleep})
	}
	return doing{state: format.DoingUnseen}
}

// again reports whether it sleeps where it did, in the same call about the same thing: it ran in between.
func (t *thread) again() bool {
	c := t.files.inCall(t.buf)
	return c == t.inCall && c.nr >= 0 && t.files.wchan(t.buf) == t.slept.wchan && t.linkOf(c) == t.link
}

// linkOf is what the descriptor is that a call is about, "" if it is about none.
func (t *thread) linkOf(c inCall) string {
	if c.nr < 0 || callOf(c.nr).about != descriptor {
		return ""
	}
	link, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", t.PID, c.args[0]))
	return link
}

// where finds out where it sleeps.
func (t *thread) where(w *watch, d doing) doing {
	d.wchan = t.files.wchan(t.buf)
	c := t.files.inCall(t.buf)
	t.inCall, t.link = c, t.linkOf(c)
	if InFreezer(d.wchan) || d.wchan == "" && w.frozen(t.PID) {
		return doing{state: format.DoingFrozen, sp: c.sp, pc: c.pc}
	}
	d.sp, d.pc = c.sp, c.pc
	switch {
	case c.nr == -2:
		d.state = format.DoingUnseen
		return d
	case c.nr == -1 && d.state == format.DoingDisk:
		d.state = format.DoingFault
		return d
	case c.nr == -1:
		return d
	}
	is := callOf(c.nr)
	d.call = is.name
	switch is.about {
	case descriptor:
		to := w.targetOf(t.PID, c.args[0], t.link)
		d.kind, d.target = to.kind, to.name
	case epollSet:
		d.among = amongEpoll(t.PID, c.args[0], w.Listener)
		if d.among == format.AmongAbsent && w.otherSets(t.PID, c.args[0]) {
			d.among = "" // another thread may wait for it
		}
	case pollList:
		d.among = amongPolled(t.PID, c.args[0], c.args[1], w.Listener)
	case lock:
		d.owner = lockOwner(t.PID, t.TID, c.args[0])
	}
	return d
}

// InFreezer reports whether a kernel function that a thread sleeps in is of the freezer: of cgroups of version 2, where
// it may be part of get_signal, and 1.
func InFreezer(wchan string) bool {
	return wchan == "do_freezer_trap" || wchan == "__refrigerator" || wchan == "get_signal"
}

// add adds a time to the row of what was done, or to a new one. A row may leave out the look before: what wakes and sleeps
// again where it did would make many, and each has its stack copied.
func (t *thread) add(w *watch, d doing, from, to, ns int64) {
	if ns <= 0 {
		return
	}
	var of *row // the newest of its state
	for i := len(t.rows) - 1; i >= 0; i-- {
		r := t.rows[i]
		if r.doing == d && (r.ToNS >= from-(to-from)*3/2 || len(t.rows) >= maxRows) {
			r.grow(to, ns)
			return
		}
		if of == nil && r.state == d.state {
			of = r
		}
	}
	if len(t.rows) >= maxRows && of != nil {
		of.grow(to, ns)
		return
	}
	w.rows++
	r := &row{doing: d, writeNS: from + int64(writeEvery), interval: int64(writeEvery)}
	r.Doing = format.Doing{Watch: w.Num, Row: w.rows, TID: t.TID, FromNS: from, ToNS: to, NS: ns, State: d.state,
		Call: d.call, Kind: d.kind, Target: d.target, WChan: d.wchan, Among: d.among, Owner: d.owner, Looks: 1}
	r.copy = t.copyStack(w, d)
	t.rows = append(t.rows, r)
}

// grow adds a time to a row.
func (r *row) grow(to, ns int64) {
	r.ToNS, r.NS, r.written = to, r.NS+ns, false
	r.Looks++
}

// due gives the rows that are to be recorded: what has ended, and what grows at longer and longer intervals; and those
// whose stack is found. waits: some stack is not found yet.
func (t *thread) due(w *watch, nowNS int64, all bool, write func(any)) (waits bool) {
	for _, r := range t.rows {
		ended, found := r.ToNS < t.atNS, false
		if r.copy != nil {
			num := r.copy.num.Load()
			if found = num != 0; found {
				r.Stack, r.copy, r.written = uint32(max(num, 0)), nil, r.written && num < 0
			}
		}
		waits = waits || r.copy != nil
		if r.written || !all && !ended && !found && nowNS < r.writeNS {
			continue
		}
		if r.Stack > 0 {
			w.stacks.record(r.Stack, write)
		}
		write(r.Doing)
		r.written = true
		r.interval = min(2*r.interval, int64(writeMost))
		r.writeNS = nowNS + r.interval
	}
	return waits
}

// sets are the epoll sets of a process, by descriptor.
func sets(pid uint32) (list []uint64) {
	dir, err := os.Open("/proc/" + strconv.FormatUint(uint64(pid), 10) + "/fd")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(4096)
	for _, name := range names {
		if link, _ := os.Readlink(dir.Name() + "/" + name); link != "anon_inode:[eventpoll]" {
			continue
		}
		if fd, err := strconv.ParseUint(name, 10, 32); err == nil {
			list = append(list, fd)
		}
	}
	return list
}
