package pairing

// This file decides, at the end of a capture, what became of attempts that lack an event.

import (
	"cmp"
	"slices"
)

// Close emits all that waits or is open, each kind in the order of the capture.
func (ps *Pairs) Close(ts *Tasks, d *Verdicts) error {
	for i := range ps.undecided {
		u := &ps.undecided[i]
		u.pair.Why = d.superseded(u)
		if err := ps.Emit(&u.pair); err != nil {
			return err
		}
	}
	for i := range ps.began {
		ps.began[i].Why = d.began()
		if err := ps.Emit(&ps.began[i]); err != nil {
			return err
		}
	}
	var last []*Task
	for _, t := range ts.index {
		if t.Open || t.extra != nil {
			last = append(last, t)
		}
	}
	slices.SortFunc(last, func(a, b *Task) int { return cmp.Compare(a.Entry.Seq, b.Entry.Seq) })
	for _, t := range last {
		if t.extra != nil {
			t.extra.pair.Why = d.interrupted(t)
			if err := ps.release(t); err != nil {
				return err
			}
		}
		if t.Open {
			if err := ps.Alone(t, d.open(t)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Verdicts says what became of attempts by what the whole capture tells.
type Verdicts struct {
	Truncated    bool // it stops before its end
	Skips        uint32
	MissedIn     bool // the kernel missed entries
	MissedOut    bool // and returns
	Losses       *Losses
	Unplaced     bool // returns were lost, and no record says when
	EndNS        int64
	Blocked      map[uint32]int32                     // descriptor by thread, of those in accept at the end
	BlockedKnown bool                                 // blocked is all of them
	Left         func(tid uint32, enterNS int64) bool // a task was not in accept shortly before the end; nil: not known
}

// superseded: an attempt whose thread went on, its return not there.
func (d *Verdicts) superseded(u *undecided) Why {
	lost := d.Unplaced || d.Losses.covers(u.pair.EnterNS, u.toNS)
	switch {
	case lost && !(u.maybe && d.MissedOut):
		return WhyReturnLost
	case lost:
		return WhyUnknown
	case d.Truncated:
		return WhyTruncated // the account of its loss may be in what is not there
	case d.Skips > 0:
		return WhySkipped
	case d.MissedOut && !d.Losses.dropped:
		return WhyMissed
	}
	return WhyUnknown
}

// began: the first event of a thread is a return, and nothing marks it.
func (d *Verdicts) began() Why {
	switch {
	case d.Truncated:
		return WhyTruncated
	case d.MissedIn:
		return WhyUnknown
	}
	return WhyBegan
}

// interrupted: the last event of a thread is a return with ERESTARTSYS.
func (d *Verdicts) interrupted(t *Task) Why {
	switch {
	case d.Truncated:
		return WhyTruncated
	case t.Skips != d.Skips:
		return WhySkipped
	}
	return WhyInterrupted
}

// open: the last event of a thread is an entry.
func (d *Verdicts) open(t *Task) Why {
	if d.Truncated {
		return WhyTruncated
	}
	if fd, ok := d.Blocked[t.TID]; ok && (fd == t.Entry.SockFD || fd < 0) {
		return WhyBlocked
	}
	lost := d.Unplaced || d.Losses.covers(t.Entry.NS, d.EndNS)
	switch {
	case t.Skips != d.Skips:
		return WhySkipped
	case !lost && !d.MissedOut && d.Left != nil && d.Left(t.TID, t.Entry.NS):
		return WhyUnknown
	case !lost && !d.MissedOut:
		return WhyBlocked // nothing else explains it
	case !d.BlockedKnown || lost && d.MissedOut:
		return WhyUnknown // it may also sit there still
	case lost:
		return WhyReturnLost
	}
	return WhyMissed
}
