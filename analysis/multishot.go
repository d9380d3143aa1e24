package analysis

import (
	"github.com/acc-project/acc/analysis/pairing"
	"github.com/acc-project/acc/format"
)

// multishot is how the multishot accepts of io_uring at a listener ended.
type multishot struct {
	full uint64 // that the completion queue was full
	ns   int64
	by   *process
	end  format.UringEnd // the last one; GoesOn: an attempt came after it
}

// shoots takes an attempt that may have ended a multishot accept.
func (l *listener) shoots(p *pairing.Pair) {
	if p.UringEnd == format.UringGoesOn {
		if l.shot != nil && p.ReturnNS > l.shot.ns {
			l.shot.end = format.UringGoesOn
		}
		return
	}
	if l.shot == nil {
		l.shot = &multishot{}
	}
	if p.UringEnd == format.UringQueueFull {
		l.shot.full++
	}
	if p.ReturnNS >= l.shot.ns {
		l.shot.ns, l.shot.by, l.shot.end = p.ReturnNS, p.Place.(*spot).process, p.UringEnd
	}
}

// Words about multishot accepts that ended.
const (
	askAgain  = "the program must ask for another one when a completion comes without IORING_CQE_F_MORE"
	makeRoom  = "let it take completions out of the queue in time, or make that larger (IORING_SETUP_CQSIZE); " + askAgain
	shotEnded = " accepted by a multishot request of io_uring, which ended"
)

// stands says that nobody accepts because a multishot request ended.
func (x *multishot) stands(ps *places) (text, next string) {
	if x == nil || x.end == format.UringGoesOn || x.by == nil {
		return "", ""
	}
	if next = askAgain; x.end == format.UringQueueFull {
		next = makeRoom
	}
	return ps.who(x.by) + shotEnded + " (" + x.end.Words() + "), and nobody has called accept since", next
}
