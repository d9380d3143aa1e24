package crosscheck

import "github.com/acc-project/acc/format"

// This file counts the events that are known to be missing.

// losses says how many of the events that count were lost by the recorder, were missed
// by the kernel, and are left out, by damage or a repair, by END's account.
func (w *Check) losses() (lost, missed, left uint64) {
	if w.end == nil {
		return 0, 0, 0
	}
	recorded := uint64(0)
	for _, t := range w.end.Totals {
		if w.counts(t.Kind) {
			lost += t.Lost
			missed += t.Missed
			recorded += t.Recorded
		}
	}
	left = max(recorded, w.counted) - w.counted
	if w.repaired != nil { // its END counts as lost what the original had recorded
		told := min(w.told, lost)
		left, lost = left+lost-told, told
	}
	return lost, missed, left
}

// cause is why the recorder loses events.
func (w *Check) cause() string {
	if w.end != nil && w.end.Reason == format.EndDiskFull {
		return "the disk or the ring was full"
	}
	return "the ring was full"
}

// gone is what became of events that were recorded.
func (w *Check) gone() string {
	if w.repaired != nil {
		return "left out by the repair"
	}
	return "could not be read"
}
