package listeners

// This file counts attempts at their listener, and for their process.

import (
	"cmp"
	"slices"

	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/analysis/pairing"
	"github.com/acc-project/acc/format"
)

// AcceptedBy says who accepted the connection that a return of accept gave, or lost.
func (reg *Registry) AcceptedBy(t *pairing.Task, e *format.Event) conntrack.Accept {
	by := conntrack.Accept{}
	at := spotOf(t)
	if at.process != nil {
		by.Process = at.process.ref
	}
	if at.listener != nil && at.listener.key.inode != 0 {
		by.Listener = at.listener.ref
	}
	const noEntry = format.MarkEnterLost | format.MarkBefore | format.MarkDenied | format.MarkEnterLeftOut
	if call := e.Via != format.ViaIOUring && e.Via != format.ViaKernel; call && t.Open && e.Mark&noEntry == 0 &&
		(e.SockFD == t.Entry.SockFD || e.SockFD == -1) {
		by.EnterSeq, by.EnterNS = t.Entry.Seq, t.Entry.NS
	}
	return by
}

// AddressDiffers notes that the program was given another address than the peer's.
func (reg *Registry) AddressDiffers(t *pairing.Task, e *format.Event) {
	spotOf(t).listener.marks.Note(findings.AddressMismatch, e.Seq, e.BootNS, 0)
}

// Book counts an attempt whose fate is known, and gives it the names of its listener.
func (reg *Registry) Book(p *pairing.Pair) {
	at := p.Place.(*spot)
	l, proc := at.listener, at.process
	if l.addr.IsValid() {
		p.ListenAddr = l.addr
	}
	p.Name = cmp.Or(p.Name, l.bound)
	l.attempts++
	proc.attempts++
	if s := at.share; s != nil {
		s.attempt(p)
	}
	l.shoots(p)
	if ns := p.TaskNetNS; ns != 0 && p.Via != format.ViaKernel && l != reg.none && len(l.foreign) < maxForeign &&
		!slices.Contains(l.foreign, ns) {
		l.foreign = append(l.foreign, ns)
	}
	switch {
	case !p.Returned():
		if p.Why == pairing.WhyBlocked {
			l.waiting++
		}
	case p.Ret >= 0:
		reg.accepted(at, p)
	case !p.Armed:
		reg.failed(at, p)
	}
	if p.Why == pairing.WhyRestarted {
		l.restarted++
		proc.restarted++
	}
}

// accepted takes an attempt that gave a connection.
func (reg *Registry) accepted(at *spot, p *pairing.Pair) {
	l, proc := at.listener, at.process
	l.accepted++
	proc.accepted++
	if p.State == format.StateClosed {
		l.marks.Note(findings.DeadOnArrival, p.ReturnSeq, p.ReturnNS, 0)
		if p.QueueReturn > 0 {
			l.deadAhead++
		}
	}
	l.strangers = l.strangers || p.PeerPID != p.PID
	if p.Via == format.ViaIOUring {
		if reg.isRecorder(proc.key.num) { // it may try its probes
			l.marks.Note(findings.IOUringAccept, p.ReturnSeq, p.ReturnNS, 0)
		} else {
			reg.uring.Note(p.ReturnSeq, p.ReturnNS, 0)
		}
		l.uring = proc
	}
	if s := at.share; s != nil {
		if s.accepted++; s.accepted == 1 {
			reg.arrived(l, proc, p.ReturnSeq, p.ReturnNS)
		}
	}
	if l.firstNS == 0 {
		l.firstNS = p.ReturnNS
	}
	l.lastNS = max(l.lastNS, p.ReturnNS)
	if l.detailed {
		*l.took.At(p.ReturnNS)++
	}
	if p.WaitNS >= 0 {
		l.waits.Record(p.WaitNS)
	}
	reg.peers.add(p.Remote.Addr())
}

// failed takes an attempt that gave an error.
func (reg *Registry) failed(at *spot, p *pairing.Pair) {
	l, proc := at.listener, at.process
	proc.failed++
	if p.ClientLost {
		l.marks.Note(findings.ClientLost, p.ReturnSeq, p.ReturnNS, 0)
	}
	l.fail(p.Errno)
	switch {
	case p.Errno == errnoAgain:
		if s := at.share; s != nil {
			if s.empty++; s.empty > s.accepted+1 {
				l.marks.Note(findings.Herd, p.ReturnSeq, p.ReturnNS, 0)
			}
		}
	case p.Errno == errnoFilesSystem || p.Errno == errnoFilesOwn:
		if l.marks[findings.FDExhausted] == nil {
			l.short = proc
		} else if l.short != proc {
			l.short = nil
		}
		l.marks.Note(findings.FDExhausted, p.ReturnSeq, p.ReturnNS, 0)
	case findings.Aborted(p.Errno):
		l.marks.Note(findings.AcceptAborted, p.ReturnSeq, p.ReturnNS, 0)
	}
	if l.detailed {
		*l.bad.At(p.ReturnNS)++
	}
}
