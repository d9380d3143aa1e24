package pairing

// This file knows when events of a thread can be lost.

import (
	"cmp"
	"slices"

	"github.com/acc-project/acc/format"
)

// maxSpans bounds the stretches of loss that are remembered, and maxUndecided
// the attempts that wait for word of them.
const (
	maxSpans     = 4096
	maxUndecided = 1 << 15
)

// span is a stretch of time, its ends not part of it.
type span struct{ fromNS, toNS int64 }

// Losses says when returns of accept calls were lost: disjoint spans, in order.
type Losses struct {
	spans   []span
	dropped bool // the oldest were dropped
}

// Add notes a loss of returns.
func (ls *Losses) Add(l format.Loss) {
	if l.Kind != format.Return || l.Hook != format.HookSysAccept4 || l.Count == 0 {
		return
	}
	s := span{l.FromNS, l.ToNS}
	if s.fromNS >= s.toNS { // a task preempted between its number and its time
		s.fromNS, s.toNS = s.toNS, s.fromNS
	}
	first, _ := slices.BinarySearchFunc(ls.spans, s.fromNS,
		func(x span, ns int64) int { return cmp.Compare(x.toNS, ns) })
	last := first
	for last < len(ls.spans) && ls.spans[last].fromNS <= s.toNS {
		s.fromNS, s.toNS = min(s.fromNS, ls.spans[last].fromNS), max(s.toNS, ls.spans[last].toNS)
		last++
	}
	ls.spans = slices.Replace(ls.spans, first, last, s)
	if len(ls.spans) > maxSpans {
		ls.spans = slices.Delete(ls.spans, 0, maxSpans/4)
		ls.dropped = true
	}
}

// covers reports whether a return was lost that can be between two times.
func (ls *Losses) covers(fromNS, toNS int64) bool {
	i, _ := slices.BinarySearchFunc(ls.spans, fromNS, func(x span, ns int64) int {
		if x.toNS <= ns {
			return -1
		}
		return 1
	})
	return i < len(ls.spans) && ls.spans[i].fromNS < toNS
}

// undecided is an attempt whose return is not in the capture for a reason that
// only the account of losses can tell; it comes after the events.
type undecided struct {
	pair  Pair
	toNS  int64 // the return was before
	maybe bool  // the kernel may have missed the return: the entry that would say so is not there
}

// wait puts an attempt without return aside until a loss explains it.
func (ps *Pairs) wait(t *Task, toNS int64, maybe bool) error {
	var err error
	if len(ps.undecided) >= maxUndecided {
		half := maxUndecided / 2
		for i := range ps.undecided[:half] {
			u := &ps.undecided[i]
			u.pair.Why = WhyUnknown
			if ps.Losses.covers(u.pair.EnterNS, u.toNS) && !u.maybe {
				u.pair.Why = WhyReturnLost
			}
			if err = ps.Emit(&u.pair); err != nil {
				return err
			}
		}
		ps.undecided = slices.Delete(ps.undecided, 0, half)
	}
	ps.undecided = append(ps.undecided, undecided{toNS: toNS, maybe: maybe})
	ps.entered(&ps.undecided[len(ps.undecided)-1].pair, t)
	return nil
}

// Decide emits the attempts that a loss now explains.
func (ps *Pairs) Decide() error {
	kept := ps.undecided[:0]
	for i := range ps.undecided {
		u := &ps.undecided[i]
		if u.maybe || !ps.Losses.covers(u.pair.EnterNS, u.toNS) {
			kept = append(kept, *u)
			continue
		}
		u.pair.Why = WhyReturnLost
		if err := ps.Emit(&u.pair); err != nil {
			return err
		}
	}
	ps.undecided = kept
	return nil
}
