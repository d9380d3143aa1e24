package analysis

// This file counts all attempts to accept.

import (
	"github.com/acc-project/acc/analysis/pairing"
	"github.com/acc-project/acc/format"
)

// book counts an attempt whose fate is known.
func (a *Analyzer) book(p *pairing.Pair) error {
	if !a.o.VerdictOnly {
		a.listeners.Book(p)
	}
	a.totals.Attempts++
	a.via[p.Via]++
	if p.UringEnd != format.UringGoesOn {
		a.multishotEnds[min(p.UringEnd, format.NumUringEnds-1)]++
	}
	switch {
	case !p.Returned():
		a.totals.EntryOnly++
		a.unpaired[p.Why]++
	case p.Ret >= 0:
		a.accepted(p)
	case p.Armed:
		a.totals.Armed++
	default:
		a.failed(p)
	}
	if p.Returned() && p.EnterSeq == 0 && p.Why != pairing.WhyNoCall && p.Why != pairing.WhyDenied {
		a.totals.ReturnOnly++
		a.unpaired[p.Why]++
	}
	if p.Inverted {
		a.totals.Inverted++
	}
	if p.Why == pairing.WhyRestarted {
		a.totals.Restarted++
	}
	if a.o.Pair != nil {
		return a.o.Pair(p)
	}
	return nil
}

func (a *Analyzer) accepted(p *pairing.Pair) {
	a.totals.Accepted++
	if p.State == format.StateClosed {
		a.totals.ClosedEarly++
	}
	*a.rate.At(p.ReturnNS)++
	if p.WaitNS >= 0 {
		a.waits.Record(p.WaitNS)
	}
}

func (a *Analyzer) failed(p *pairing.Pair) {
	a.totals.Failed++
	if p.ClientLost {
		a.totals.ClientsLost++
	}
	a.errors[min(uint32(p.Errno), uint32(len(a.errors)-1))]++
	if p.WaitNS >= 0 {
		a.badWaits.Record(p.WaitNS)
	}
}
