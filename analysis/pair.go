package analysis

import (
	"net/netip"

	"github.com/acc-project/acc/format"
)

// errRestart is the kernel's ERESTARTSYS: a signal interrupted the call. The
// kernel then begins it anew, or gives the program EINTR, or the task dies.
const errRestart = 512

// Why says why an attempt has only one event, or what became of an interrupted one.
type Why string

// What can be said of an attempt beyond its events. The zero value: both events
// are there and it was not interrupted.
const (
	WhyBlocked     Why = "blocked-at-end" // it was still in accept when recording ended
	WhyReturnLost  Why = "return-lost"    // its return was lost, the ring was full
	WhyMissed      Why = "return-missed"  // the kernel did not run the probe on its return
	WhyEnterLost   Why = "entry-lost"     // its entry was lost, or its probe was not run
	WhyTruncated   Why = "truncated"      // the capture stops while it was in accept: not known
	WhySkipped     Why = "skipped"        // the other event may be in a part of the capture that was left out
	WhyUnknown     Why = "unknown"        // the capture does not tell
	WhyNoCall      Why = "no-call"        // it was no system call (io_uring): there is no entry to see
	WhyRestarted   Why = "restarted"      // a signal interrupted it, the kernel began it anew
	WhyInterrupted Why = "interrupted"    // a signal ended it: EINTR for the program, or the task was killed
)

// Pair is one attempt to accept: its entry, its return, or both.
type Pair struct {
	EnterSeq, ReturnSeq uint64 // positions in the capture, 0 if the event is not there
	EnterNS, ReturnNS   int64  // boot clock
	WaitNS              int64  // from entry to return, never negative; -1 without both
	PID, TID, UID       uint32
	Proc                uint32 // number of the process record
	Comm                string
	Via                 format.Via
	SockFD              int32
	Flags               uint32
	Ret                 int32 // valid with a return
	Errno               int32 // of a failed return
	NetNS               uint32
	Listener            uint64         // inode number, 0 unknown
	ListenAddr          netip.AddrPort // the listener's address, if an event tells it
	Local, Remote       netip.AddrPort // the accepted connection's
	Family              format.Family
	State               uint8  // of the accepted socket
	Inode               uint64 // of the accepted socket
	QueueEnter          uint32 // length of the accept queue at the entry
	QueueReturn         uint32 // and at the return
	QueueMax            uint32 // its limit
	Attempt             int    // 1, or more if earlier attempts of the same call were restarted
	Why                 Why
}

// Returned reports whether the attempt's return is known.
func (p *Pair) Returned() bool { return p.ReturnSeq != 0 }

// Accepted reports whether the attempt made a socket.
func (p *Pair) Accepted() bool { return p.ReturnSeq != 0 && p.Ret >= 0 }

// task is what is known of one thread.
type task struct {
	tid      uint32
	open     bool // entry is an attempt whose return has not come
	held     bool // pair was interrupted; the next event tells what became of it
	noted    bool // facts are those of a return that is still to come
	attempt  int  // number of the current attempt in its call
	entry    format.Event
	facts    format.Event
	pair     Pair
	listener *listener // of the last event, with its key
	key      listenerKey
	process  *process
	proc     uint32
}

// pairs joins the events of each task. A task is in one attempt at a time, so its
// entries and returns alternate; the marks that the kernel sets say where they
// do not.
type pairs struct {
	tasks   map[uint32]*task
	max     int
	skipped bool // parts of the capture were left out
	limited uint64
	emit    func(t *task, p *Pair) error
}

// task finds or makes the state of an event's thread.
func (ps *pairs) task(tid uint32) *task {
	t := ps.tasks[tid]
	if t == nil {
		if len(ps.tasks) >= ps.max {
			ps.forget()
		}
		t = &task{tid: tid}
		ps.tasks[tid] = t
	}
	return t
}

// forget drops the tasks of which nothing is open. If that does not help, it
// drops all: those attempts count as not known.
func (ps *pairs) forget() {
	for tid, t := range ps.tasks {
		if !t.open && !t.held && !t.noted {
			delete(ps.tasks, tid)
		}
	}
	if len(ps.tasks) >= ps.max {
		ps.limited += uint64(len(ps.tasks))
		clear(ps.tasks)
	}
}

// add takes the next event of t.
func (ps *pairs) add(t *task, e *format.Event) error {
	switch {
	case e.Kind == format.Enter:
		return ps.enter(t, e)
	case e.Hook == format.HookDoAccept && e.Via != format.ViaIOUring && e.Accepted() && t.open:
		t.facts, t.noted = *e, true // the call's own return follows
		return nil
	case e.Hook == format.HookDoAccept:
		p := single(e, WhyNoCall)
		return ps.emit(t, &p)
	}
	return ps.returned(t, e)
}

func (ps *pairs) enter(t *task, e *format.Event) error {
	attempt := 1
	if t.held {
		t.held = false
		t.pair.Why = WhyInterrupted
		if t.pair.SockFD == e.SockFD {
			t.pair.Why, attempt = WhyRestarted, t.pair.Attempt+1
		}
		if err := ps.emit(t, &t.pair); err != nil {
			return err
		}
	}
	if t.open {
		why := WhyReturnLost
		if e.Mark&format.MarkPrevMissed != 0 {
			why = WhyMissed
		} else if ps.skipped {
			why = WhySkipped
		}
		if err := ps.alone(t, why); err != nil {
			return err
		}
	}
	t.entry, t.open, t.attempt, t.noted = *e, true, attempt, false
	return nil
}

// alone emits the open attempt without its return.
func (ps *pairs) alone(t *task, why Why) error {
	t.open = false
	p := single(&t.entry, why)
	p.Attempt = t.attempt
	return ps.emit(t, &p)
}

func (ps *pairs) returned(t *task, e *format.Event) error {
	if t.held {
		t.held = false
		t.pair.Why = WhyUnknown // its next entry was lost: a restart, or another call
		if err := ps.emit(t, &t.pair); err != nil {
			return err
		}
	}
	if e.Mark&format.MarkEnterLost != 0 || !t.open {
		if t.open {
			if err := ps.alone(t, WhyReturnLost); err != nil {
				return err
			}
		}
		why := WhyEnterLost
		if e.Mark&format.MarkEnterLost == 0 {
			why = WhyUnknown
			if ps.skipped {
				why = WhySkipped
			}
		}
		p := single(e, why)
		return ps.emit(t, &p)
	}
	t.open = false
	p := &t.pair
	*p = join(&t.entry, e)
	p.Attempt = t.attempt
	if t.noted && e.Mark&format.MarkNoFacts != 0 {
		f := &t.facts
		p.Local, p.Remote, p.Family, p.State, p.Inode = f.Local(), f.Remote(), f.Family, f.State, f.Inode
	}
	t.noted = false
	if p.Errno == errRestart {
		t.held = true
		return nil
	}
	return ps.emit(t, p)
}

// join makes the pair of an entry and its return.
func join(enter, ret *format.Event) Pair {
	p := single(ret, "")
	p.EnterSeq, p.EnterNS = enter.Seq, enter.BootNS
	p.WaitNS = max(ret.BootNS-enter.BootNS, 0) // clocks of two CPUs may differ by a little
	p.QueueEnter = enter.Backlog
	p.ListenAddr = enter.Local()
	if p.Listener == 0 {
		p.Listener, p.QueueMax = enter.Listener, enter.BacklogMax
	}
	return p
}

// single makes the pair of which only one event is there.
func single(e *format.Event, why Why) Pair {
	p := Pair{
		WaitNS: -1, PID: e.PID, TID: e.TID, UID: e.UID, Proc: e.Proc, Comm: e.Comm, Via: e.Via, SockFD: e.SockFD, Flags: e.Flags,
		NetNS: e.NetNS, Listener: e.Listener, Family: e.Family, QueueMax: e.BacklogMax, Attempt: 1, Why: why,
	}
	if e.Kind == format.Enter {
		p.EnterSeq, p.EnterNS, p.QueueEnter, p.ListenAddr = e.Seq, e.BootNS, e.Backlog, e.Local()
		return p
	}
	p.ReturnSeq, p.ReturnNS, p.QueueReturn = e.Seq, e.BootNS, e.Backlog
	p.Ret, p.Errno = e.Ret, e.Errno()
	if e.Accepted() {
		p.Local, p.Remote, p.State, p.Inode = e.Local(), e.Remote(), e.State, e.Inode
	} else {
		p.ListenAddr = e.Local()
	}
	return p
}

// finish emits what is open, in the order of the entries.
func (ps *pairs) finish(why func(*format.Event) Why) error {
	var open []*task
	for _, t := range ps.tasks {
		if t.open || t.held {
			open = append(open, t)
		}
	}
	sortTasks(open)
	for _, t := range open {
		if t.held {
			t.held = false
			t.pair.Why = WhyInterrupted
			if err := ps.emit(t, &t.pair); err != nil {
				return err
			}
		}
		if t.open {
			if err := ps.alone(t, why(&t.entry)); err != nil {
				return err
			}
		}
	}
	return nil
}
