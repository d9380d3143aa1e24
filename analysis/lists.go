package analysis

// This file fills in the lists of a result, and the findings.

import (
	"cmp"
	"slices"

	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/format"
)

// lists fills in the errors and the tables, sorted and cut to Top rows.
func (a *Analyzer) lists(r *Result) {
	r.Unpaired = []UnpairedInfo{}
	for why, n := range a.unpaired {
		r.Unpaired = append(r.Unpaired, UnpairedInfo{why, n})
	}
	slices.SortFunc(r.Unpaired, func(x, y UnpairedInfo) int {
		return cmp.Or(cmp.Compare(y.Count, x.Count), cmp.Compare(x.Why, y.Why))
	})
	r.Via = []ViaCount{}
	for via, n := range a.via {
		if n > 0 {
			r.Via = append(r.Via, ViaCount{format.Via(via).String(), n})
		}
	}
	r.MultishotEnds = []MultishotEnd{}
	for end, n := range a.multishotEnds {
		if n > 0 {
			end := format.UringEnd(end)
			r.MultishotEnds = append(r.MultishotEnds, MultishotEnd{End: end.String(), Reason: end.Words(), Count: n})
		}
	}
	by, top, o := a.o.Sort, a.o.Top, &r.Others
	r.Listeners, o.Listeners, r.OneAccept = a.listeners.Listeners(by, top)
	r.Processes, o.Processes = a.listeners.Processes(by, top)
	r.Peers, o.Peers = a.listeners.Peers(by, top)
	o.ListenersAccepted, o.ProcessesAccepted, o.PeersAccepted = a.listeners.Beyond()
	r.Errors = a.listeners.Errors(a.errors[:], top)
}

// judge works out the findings.
func (a *Analyzer) judge(r *Result) {
	c := &findings.Capture{
		Doubts: r.Doubts, Time: a.at, SpanNS: max(a.endNS()-a.header.Clock.BootNS, 1), EndNS: a.endNS(),
		AtEnd: a.atEnd(), Before: a.header.Before(),
		Blind:     a.blind || !a.header.Selection.WholeListeners(),
		Listed:    a.conns.ListedBefore(),
		ClockFree: a.free || a.header.Clock.Keeping == format.KeepingFree, Complete: r.Complete,
		Lost: r.Totals.Lost, Shed: a.shed(),
		EndReason: r.Capture.EndReason, Gap: a.gapMark,
	}
	chosen := a.header.Selection != nil && a.header.Selection.Cut
	for _, x := range r.Caveats {
		c.Caveats = append(c.Caveats, x.ID)
	}
	for i := range r.CrossCheck.Spaces {
		c.Spaces = append(c.Spaces, spaceOf(&r.CrossCheck.Spaces[i], a.blind))
	}
	r.Meanwhile = a.listeners.Meanwhile()
	r.SelfTests = a.listeners.Summaries(c, r.Meanwhile)
	if chosen { // what is not here may be what a rule looks for
		c.Listeners = nil
		r.Capture.Limits = append(r.Capture.Limits, "findings about listeners: a condition chose what is in this cut; "+
			"acc analyze of the whole capture has them")
	}
	r.Findings, r.Others.Findings, r.FindingCounts = findings.Judge(c, a.o.Top)
}
