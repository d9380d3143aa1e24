// Package pairing joins the entry and the return of each attempt to accept, thread by thread. Where
// one of them is missing, it says why. It knows listeners and processes by their numbers alone:
// its caller keeps what it knows of a thread in Task.Place.
//
// Exported names may change until version 1; CHANGELOG.md says which changed.
package pairing

import (
	"net/netip"

	"github.com/acc-project/acc/format"
)

// errRestart is the kernel's ERESTARTSYS: a signal interrupted the call. The
// kernel then begins it anew, or gives the program EINTR, or the task dies.
const errRestart = 512

// Why says why an attempt has only one event, or what became of an interrupted
// one. The words are stable.
type Why string

// What can be said of an attempt beyond its events. The zero value: both events
// are there and it was not interrupted.
const (
	WhyBlocked     Why = "blocked-at-end" // it was still in accept when recording ended, or returned after that
	WhyReturnLost  Why = "return-lost"    // its return was lost: the ring was full at that time
	WhyMissed      Why = "return-missed"  // the kernel did not run the probe on its return
	WhyEnterLost   Why = "entry-lost"     // its entry was lost, or its probe was not run
	WhyBegan       Why = "began-before"   // it was in accept already when recording began
	WhyTruncated   Why = "truncated"      // the capture stops before what would tell
	WhySkipped     Why = "skipped"        // the other event may be in a part of the capture that was left out
	WhyLimit       Why = "limit"          // too many threads were in accept at once to follow this one
	WhyUnknown     Why = "unknown"        // the capture does not tell
	WhyNoCall      Why = "no-call"        // no system call: io_uring, the kernel itself
	WhyDenied      Why = "denied"         // seccomp refused the call before it came to accept: there is no entry to see
	WhyLeftOut     Why = "left-out"       // its entry was left out by design: see format.MarkEnterLeftOut
	WhyRestarted   Why = "restarted"      // a signal interrupted it, and the same call began anew
	WhyInterrupted Why = "interrupted"    // a signal ended it: EINTR for the program, or the task was killed
)

// Whys are all that Pair.Why can be, beside "".
var Whys = []Why{WhyBlocked, WhyReturnLost, WhyMissed, WhyEnterLost, WhyBegan, WhyTruncated, WhySkipped, WhyLimit,
	WhyUnknown, WhyNoCall, WhyDenied, WhyLeftOut,
	WhyRestarted, WhyInterrupted}

// Pair is one attempt to accept: its entry, its return, or both.
type Pair struct {
	EnterSeq, ReturnSeq uint64 // positions in the capture, 0 if the event is not there
	FactsSeq            uint64 // of the do_accept event that told the socket, 0: none was needed
	EnterNS, ReturnNS   int64  // boot clock
	WaitNS              int64  // from entry to return, never negative; -1 without both
	Inverted            bool   // the return is stamped before the entry, as clocks of two CPUs differ; WaitNS is 0
	PID, TID, UID       uint32
	Proc                uint32 // number of the process record
	Comm                string
	Via                 format.Via
	SockFD              int32
	Flags               uint32
	Ret                 int32          // valid with a return
	Errno               int32          // of a failed return
	NetNS               uint32         // of the socket; of the task where there is no socket
	TaskNetNS           uint32         // of the task, where that is another one; else 0
	Listener            uint64         // inode number, 0 unknown
	ListenAddr          netip.AddrPort // the listener's address, if an event tells it
	Local, Remote       netip.AddrPort // the accepted connection's
	Family              format.Family
	Proto               uint16          // of the socket that was accepted, or lost
	State               uint8           // of the accepted socket
	Inode               uint64          // of the accepted socket
	Name                string          // what the listener is bound to where that is no IP address
	PeerPID, PeerUID    uint32          // who connected to a UNIX socket
	Uring               uint8           // format.Uring..., kind of an io_uring request
	UserData            uint64          // what the program named the request
	UringEnd            format.UringEnd // why the request does not go on, if it is multishot
	Armed               bool            // the request found nothing and waits: no failure
	// it failed after it had taken a connection, which is lost: Local and Remote are its
	ClientLost  bool
	NoFD        bool   // Ret is no descriptor: it is not known, or there is none
	QueueEnter  uint32 // length of the accept queue at the entry
	QueueReturn uint32 // and at the return
	QueueMax    uint32 // its limit
	Attempt     int    // 1, or more if earlier attempts of the same call were restarted
	Why         Why

	Place any // of the thread's task, when the attempt began or, without an entry, ended
}

// Returned reports whether the attempt's outcome is known.
func (p *Pair) Returned() bool { return p.ReturnSeq != 0 }

// Failed reports whether the attempt ended without a socket; an io_uring request
// that begins to wait has not.
func (p *Pair) Failed() bool { return p.ReturnSeq != 0 && p.Ret < 0 && !p.Armed }

// Accepted reports whether the attempt made a socket.
func (p *Pair) Accepted() bool { return p.ReturnSeq != 0 && p.Ret >= 0 }

// Pairs joins the events of each task. A task is in one attempt at a time, so its
// entries and returns alternate; the marks that the kernel sets say where they
// do not, and the account of losses why.
type Pairs struct {
	Skips     uint32 // parts of the capture that were left out so far
	Losses    Losses
	undecided []undecided
	began     []Pair // returns that may be of attempts begun before the recording
	extras    []*extra
	held      int // extras in use
	p         Pair
	Emit      func(*Pair) error // the pair is overwritten afterwards
}

// Add takes the next event of t. Forgot says that t may have been known before.
func (ps *Pairs) Add(t *Task, e *format.Event, forgot bool) error {
	var err error
	switch {
	case e.Kind == format.Enter:
		err = ps.enter(t, e)
	case e.Hook == format.HookDoAccept || e.Hook == format.HookIOAccept || e.Hook == format.HookIOComplete ||
		e.Hook == format.HookKernelAccept:
		err = ps.noCall(t, e)
	default:
		err = ps.returned(t, e, forgot)
	}
	t.known, t.Skips = true, ps.Skips
	return err
}

func (ps *Pairs) enter(t *Task, e *format.Event) error {
	attempt := uint32(1)
	if t.extra != nil {
		if t.held() && ps.continues(t, e) {
			t.extra.pair.Why = WhyRestarted
			attempt = uint32(t.extra.pair.Attempt) + 1
		} else if t.Skips != ps.Skips {
			t.extra.pair.Why = WhySkipped
		} else {
			t.extra.pair.Why = WhyInterrupted
		}
		if err := ps.release(t); err != nil {
			return err
		}
	}
	if t.Open {
		if err := ps.superseded(t, e.BootNS, e.Mark&format.MarkPrevMissed != 0, false); err != nil {
			return err
		}
	}
	t.Entry.set(e)
	t.Open, t.attempt = true, attempt
	return nil
}

// continues reports whether an entry is the interrupted call of t begun anew: the
// same call in every argument, with nothing left out between.
func (ps *Pairs) continues(t *Task, e *format.Event) bool {
	p := &t.extra.pair
	return t.Skips == ps.Skips && p.SockFD == e.SockFD && p.PID == e.PID && p.Proc == e.Proc && p.Flags == e.Flags &&
		p.Via == e.Via && p.Listener == e.Listener
}

// superseded deals with the open attempt of t when an event shows that its return
// is not in the capture. Missed: the kernel says that it missed it; maybe: it may have.
func (ps *Pairs) superseded(t *Task, ns int64, missed, maybe bool) error {
	switch {
	case t.Skips != ps.Skips:
		return ps.Alone(t, WhySkipped)
	case missed:
		return ps.Alone(t, WhyMissed)
	}
	t.Open = false
	return ps.wait(t, ns, maybe)
}

// Alone emits the open attempt without its return.
func (ps *Pairs) Alone(t *Task, why Why) error {
	t.Open = false
	ps.entered(&ps.p, t)
	ps.p.Why = why
	return ps.Emit(&ps.p)
}

// noCall takes a return inside of the kernel. One of do_accept of which the way is
// not known may belong to a system call, whose return then follows on the same task.
func (ps *Pairs) noCall(t *Task, e *format.Event) error {
	if e.Via == format.ViaIOUring { // its thread may be in a call meanwhile
		return ps.single(t, e, WhyNoCall)
	}
	if err := ps.Settle(t); err != nil {
		return err
	}
	if e.Hook == format.HookDoAccept && e.Via == format.ViaUnknown {
		if x := ps.extra(t); x != nil {
			x.noted, x.facts = true, *e
			return nil
		}
	}
	return ps.single(t, e, WhyNoCall)
}

func (ps *Pairs) returned(t *Task, e *format.Event, forgot bool) error {
	const noEntry = format.MarkEnterLost | format.MarkBefore | format.MarkDenied | format.MarkEnterLeftOut
	ours := t.Open && e.Mark&noEntry == 0 && t.Skips == ps.Skips && (e.SockFD == t.Entry.SockFD || e.SockFD == -1)
	facts := t.noted() && t.Skips == ps.Skips && (e.Mark&format.MarkNoFacts != 0 && t.extra.facts.Accepted() ||
		e.Failed() && t.extra.facts.Ret == e.Ret)
	if !facts {
		if err := ps.Settle(t); err != nil {
			return err
		}
	}
	p := &ps.p
	if !ours && t.Open {
		if err := ps.superseded(t, e.BootNS, false, true); err != nil {
			return err
		}
	}
	if ours {
		t.Open = false
		ps.entered(p, t)
		p.finish(e)
		p.WaitNS = e.BootNS - t.Entry.NS
		if p.WaitNS < 0 {
			p.WaitNS, p.Inverted = 0, true
		}
	} else {
		p.begin(t, e)
		p.finish(e)
		p.Why = ps.whyAlone(t, e, forgot)
	}
	if facts {
		p.facts(&t.extra.facts)
		ps.drop(t)
	}
	return ps.decide(t, e, ours)
}

// whyAlone says why a return has no entry.
func (ps *Pairs) whyAlone(t *Task, e *format.Event, forgot bool) Why {
	switch {
	case e.Mark&format.MarkDenied != 0:
		return WhyDenied
	case e.Mark&format.MarkEnterLeftOut != 0:
		return WhyLeftOut
	case e.Mark&format.MarkBefore != 0:
		return WhyBegan
	case e.Mark&format.MarkEnterLost != 0:
		return WhyEnterLost
	case ps.Skips != t.Skips:
		return WhySkipped
	case !t.known && !forgot:
		return WhyBegan
	}
	return WhyUnknown
}

// decide emits the pair of a return, or keeps it until what it is shows later: an interrupted call
// that may be begun anew, or a return without entry that may have begun before the recording.
func (ps *Pairs) decide(t *Task, e *format.Event, ours bool) error {
	p := &ps.p
	switch {
	case p.Errno == errRestart && ours:
		if x := ps.extra(t); x != nil {
			x.held, x.pair = true, *p
			return nil
		}
		p.Why = WhyUnknown
	case e.Mark&format.MarkBefore != 0: // the kernel says so
	case p.Why == WhyBegan && len(ps.began) < maxUndecided:
		ps.began = append(ps.began, *p) // a missed entry looks alike; END says whether there are any
		return nil
	case p.Why == WhyBegan:
		p.Why = WhyUnknown
	}
	return ps.Emit(p)
}

// Settle deals with what waited for the next event of t when that is a return that
// does not explain it.
func (ps *Pairs) Settle(t *Task) error {
	if t.extra == nil {
		return nil
	}
	t.extra.pair.Why = WhyUnknown // the entry between is not there: the same call again, or another
	if t.Skips != ps.Skips {
		t.extra.pair.Why = WhySkipped
	}
	return ps.release(t)
}

// release emits what waits with t: an interrupted attempt as it is, a do_accept
// event as an attempt of its own.
func (ps *Pairs) release(t *Task) error {
	x := t.extra
	if x == nil {
		return nil
	}
	ps.drop(t)
	if x.held {
		ps.p = x.pair
		return ps.Emit(&ps.p)
	}
	why := WhyNoCall
	if x.facts.Via == format.ViaUnknown {
		why = WhyUnknown // a system call, neither end of which is there
	}
	return ps.single(t, &x.facts, why)
}

func (ps *Pairs) single(t *Task, e *format.Event, why Why) error {
	ps.p.begin(t, e)
	ps.p.finish(e)
	ps.p.Why = why
	return ps.Emit(&ps.p)
}

// extra gives t room for what must wait; nil if too many threads have some.
func (ps *Pairs) extra(t *Task) *extra {
	if t.extra != nil || ps.held >= maxHeld {
		return t.extra
	}
	ps.held++
	if n := len(ps.extras); n > 0 {
		t.extra, ps.extras = ps.extras[n-1], ps.extras[:n-1]
		t.extra.held, t.extra.noted = false, false
	} else {
		t.extra = new(extra)
	}
	return t.extra
}

// drop takes the room away again. What is in it stays valid until the next extra.
func (ps *Pairs) drop(t *Task) {
	ps.held--
	ps.extras = append(ps.extras, t.extra)
	t.extra = nil
}

// entered makes the pair of the open attempt of t, without a return.
func (ps *Pairs) entered(p *Pair, t *Task) {
	n := &t.Entry
	*p = Pair{} // and then its members: a literal would be made elsewhere and copied
	p.EnterSeq, p.EnterNS, p.WaitNS = n.Seq, n.NS, -1
	p.PID, p.TID, p.UID, p.Proc, p.Comm = n.pid, t.TID, n.uid, n.proc, n.comm
	p.Via, p.SockFD, p.Flags, p.NetNS, p.TaskNetNS, p.Listener, p.Family = n.via, n.SockFD, n.flags, n.netns,
		n.taskNetNS, n.inode, n.family
	p.QueueEnter, p.QueueMax, p.Attempt = n.backlog, n.backlogMax, int(t.attempt)
	p.Place = t.Place
}

// begin makes the pair of a return without entry.
func (p *Pair) begin(t *Task, e *format.Event) {
	*p = Pair{
		WaitNS: -1, PID: e.PID, TID: e.TID, UID: e.UID, Proc: e.Proc, Comm: e.Comm, Via: e.Via, SockFD: e.SockFD,
		Flags: e.Flags,
		NetNS: e.NetNS, TaskNetNS: e.TaskNetNS, Attempt: 1, Place: t.Place,
	}
}

// finish adds the return.
func (p *Pair) finish(e *format.Event) {
	p.ReturnSeq, p.ReturnNS, p.Ret, p.Errno = e.Seq, e.BootNS, e.Ret, e.Errno()
	p.QueueReturn = e.Backlog
	p.Uring, p.UserData, p.UringEnd, p.Armed, p.NoFD = e.Uring, e.UserData, e.UringEnd, e.Armed(), e.Accepted() &&
		e.Mark&format.MarkNoFD != 0
	p.socket(e)
}

// facts adds what do_accept told of a call whose return could not.
func (p *Pair) facts(e *format.Event) {
	p.FactsSeq, p.QueueReturn = e.Seq, e.Backlog
	p.socket(e)
}

func (p *Pair) socket(e *format.Event) {
	if e.Listener != 0 {
		p.Listener, p.QueueMax = e.Listener, e.BacklogMax
	}
	if e.Family != 0 {
		p.Family, p.Proto = e.Family, e.Proto
	}
	if e.LName != "" {
		p.Name = e.LName
	}
	p.ClientLost = e.Mark&format.MarkClientLost != 0
	if e.Accepted() || p.ClientLost {
		p.Local, p.Remote, p.State, p.Inode, p.PeerPID, p.PeerUID = e.Local(), e.Remote(), e.State, e.Inode, e.PeerPID,
			e.PeerUID
	} else if !p.ListenAddr.IsValid() && e.LAddr.IsValid() {
		p.ListenAddr = e.Local()
	}
}
