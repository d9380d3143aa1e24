package listeners

// This file follows multishot accepts of io_uring at a listener.

import (
	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/analysis/pairing"
	"github.com/acc-project/acc/analysis/stats"
	"github.com/acc-project/acc/format"
)

// multishot is how the multishot accepts of io_uring at a listener ended.
type multishot struct {
	full  stats.Mark // because the completion queue was full
	other stats.Mark // for another reason
	ns    int64
	by    *process
	end   format.UringEnd // the last one; GoesOn: an attempt came after it
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
	mark := &l.shot.other
	if p.UringEnd == format.UringQueueFull {
		mark = &l.shot.full
	}
	mark.Note(p.ReturnSeq, p.ReturnNS, 0)
	if p.ReturnNS >= l.shot.ns {
		l.shot.ns, l.shot.by, l.shot.end = p.ReturnNS, p.Place.(*spot).process, p.UringEnd
	}
}

// summary is what the rules look at of it.
func (x *multishot) summary(reg *Registry) findings.ShotEnd {
	s := findings.ShotEnd{Full: x.full, Other: x.other, Words: x.end.Words(), By: "a process that is not known",
		Again: x.end == format.UringGoesOn}
	if x.by != nil {
		s.By = reg.who(x.by)
	}
	return s
}
