package cut

// This file makes the header of a part.

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/acc-project/acc/format"
)

// header makes the part's.
func (c *cutter) header() error {
	in, o := c.in, c.o
	c.h = in.Header
	if len(c.h.Cuts) >= format.MaxCuts {
		return ErrTooOften
	}
	start, end := in.StartNS(), in.EndNS()
	if o.FromNS > end || o.UntilNS < start || o.FromNS > o.UntilNS {
		return ErrOutside
	}
	n := format.Cut{Files: in.Files, Tool: o.Tool, FromNS: max(o.FromNS, start), UntilNS: min(o.UntilNS, end),
		Begin: o.FromNS <= start, End: o.UntilNS >= end, Filter: o.Filter, Connections: append([]string{}, o.Connections...),
		StartNS: c.h.StartNS, Events: in.Events}
	if e := in.End; e != nil {
		n.EndNS, n.Lost, n.Reason, n.Clean = e.Clock.RealNS, e.Lost, e.Reason, e.Clean
		for _, t := range e.Totals {
			n.Missed += t.Missed
		}
	}
	c.h.Cuts = append(slices.Clone(c.h.Cuts), n)
	c.note = c.h.Cut()
	c.h.Set = nil
	c.h.ID = idOf(c.note)
	if !n.Begin && in.Clocks.Known(n.FromNS) {
		c.h.Clock = clockAt(in.Clocks, n.FromNS)
		c.h.StartNS = c.h.Clock.RealNS
	}
	if o.Chooser != nil {
		s := format.Selection{}
		if c.h.Selection != nil {
			s = *c.h.Selection
		}
		words := "what meets " + o.Filter
		if o.Filter == "" {
			words = "connections that were named"
		}
		s.Words, s.Cut = append(slices.Clone(s.Words), words), true
		c.h.Selection = &s
	}
	return nil
}

// idOf makes the id of a part: the same one for the same part.
func idOf(n *format.Cut) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "acc cut %v %d %d %q %q", n.Files, n.FromNS, n.UntilNS, n.Filter, n.Connections))
	sum[6], sum[8] = sum[6]&15|0x80, sum[8]&63|0x80 // version 8: of its own making
	h := hex.EncodeToString(sum[:16])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// clockAt is the clock pair by which a boot time is placed, moved there.
func clockAt(clocks *format.Clocks, bootNS int64) format.Clock {
	p := clocks.At(bootNS)
	by := bootNS - p.BootNS
	p.BootNS, p.MonoNS, p.RealNS = bootNS, p.MonoNS+by, p.RealNS+by
	return p
}
