package cut

// This file keeps the account of a part: losses, counted calls, and END.

import (
	"slices"

	"github.com/acc-project/acc/format"
)

// probe names what an account is of.
type probe struct {
	hook format.Hook
	kind format.Kind
}

// losses writes the records of losses of some frames that can be of the part's time, and those of calls that were
// counted, all of which are.
func (c *cutter) losses(from, to int) error {
	for _, l := range c.in.losses {
		if l.frame < from || l.frame >= to || l.is.ToNS < c.note.FromNS || l.is.FromNS > c.note.UntilNS {
			continue
		}
		c.lost[probe{l.is.Hook, l.is.Kind}] += l.is.Count
		if err := c.out.Loss(l.is); err != nil {
			return err
		}
	}
	for _, l := range c.in.counted { // of which none is of an attempt that is chosen
		if l.frame < from || l.frame >= to || !c.inside(l.is.FromNS) || !c.inside(l.is.ToNS) || c.o.Chooser != nil {
			continue
		}
		c.counted[probe{l.is.Hook, format.Return}] += l.is.Calls
		c.counted[probe{format.HookSysAccept4, format.Enter}] += l.is.Entries
		if err := c.out.Counted(l.is); err != nil {
			return err
		}
	}
	return nil
}

// end makes the part's END: the account is of what it has.
func (c *cutter) end() format.End {
	end := format.End{Reason: format.EndCut, Clock: clockAt(c.in.Clocks, c.note.UntilNS)}
	whole := c.in.End
	switch {
	case whole == nil:
		end.Detail = "the original stops before its end"
	case c.in.lossesMore:
		end.Detail = "the original has more records of losses than can be placed"
	case c.looks.more:
		end.Detail = "the original has more records of stacks than can be placed"
	default:
		end.Clean = whole.Clean
		if !whole.Clean {
			end.Detail = "the whole recording was not closed cleanly: " + whole.Reason
		}
	}
	end.Blocked, end.BlockedKnown = c.state.inAccept(), c.state.known.blocked
	var totals []format.ProbeTotal
	if whole != nil {
		totals = slices.Clone(whole.Totals)
		end.Unread = whole.Unread
		if c.note.End {
			end.Reason, end.Detail = whole.Reason, whole.Detail
			if whole.Clock.BootNS >= c.note.FromNS {
				end.Clock = whole.Clock
			}
			end.Blocked, end.BlockedKnown = whole.Blocked, whole.BlockedKnown
		}
		if c.note.End && c.note.Begin && c.o.Chooser == nil {
			end.UnixCounted, end.UnixRefused, end.UnixUnseen = whole.UnixCounted, whole.UnixRefused, whole.UnixUnseen
			end.SimultaneousOpens = whole.SimultaneousOpens
		}
	}
	for _, counts := range []map[probe]uint64{c.has, c.lost, c.counted} {
		for p, n := range counts {
			if n > 0 && !slices.ContainsFunc(totals, func(t format.ProbeTotal) bool {
				return t.Hook == p.hook && t.Kind == p.kind
			}) {
				totals = append(totals, format.ProbeTotal{Hook: p.hook, Kind: p.kind})
			}
		}
	}
	for i := range totals {
		t := &totals[i]
		p := probe{t.Hook, t.Kind}
		*t = format.ProbeTotal{Hook: t.Hook, Kind: t.Kind, Recorded: c.has[p], Lost: c.lost[p], Missed: t.Missed,
			Counted: c.counted[p], Seen: c.has[p] + c.lost[p] + c.counted[p]}
		end.Lost += t.Lost
	}
	slices.SortStableFunc(totals, func(a, b format.ProbeTotal) int {
		return int(a.Hook)<<8 + int(a.Kind) - int(b.Hook)<<8 - int(b.Kind)
	})
	end.Totals = totals
	return end
}
