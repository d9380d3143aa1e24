package crosscheck

// This file says which time of the recording the readings do not cover.

// outside says how long a namespace was recorded before the first reading of its
// counters and after the last one. What the recorder itself needs for the readings of
// its start and its end does not count, nor does the time before a namespace was met or
// after it was gone.
func (w *Check) outside(s *space) (beforeNS, afterNS int64) {
	first, last := s.first, s.last
	early, behind := w.beside(s)
	from := s.fromNS
	if w.unread && w.startNS > 0 {
		from = min(from, w.startNS)
	}
	if gap := first.BootNS - from; from < first.BootNS && gap > late && (early > 0 || w.unread) {
		beforeNS = gap
	}
	to := s.toNS
	_, _, left := w.losses()
	cut := !w.final && w.end != nil && w.end.Clean && w.repaired == nil // a recorder that ends so has read them last
	if (left > 0 || cut) && w.end != nil {
		to = max(to, w.end.Clock.BootNS)
	}
	if gap := to - last.UntilNS; !last.Final && last.UntilNS < to && gap > late && (behind > 0 || left > 0 || cut) {
		afterNS = gap
	}
	return beforeNS, afterNS
}

// beside is how many connections were recorded before the first reading of a namespace's
// counters, and after the last one.
func (w *Check) beside(s *space) (early, behind int64) {
	if w.blind {
		return s.first.by.queued, s.sums.queued - s.last.by.queued - s.last.while.queued
	}
	return s.first.by.accepted, max(s.sums.accepted-s.last.by.accepted-s.last.while.accepted-s.last.across.accepted, 0)
}

// aside is that of all namespaces whose counters were read twice.
func (w *Check) aside() (early, behind int64) {
	for _, s := range w.all() {
		before, after := w.beside(s)
		early, behind = early+before, behind+after
	}
	return early, behind
}

// outside is how much of the recording the readings do not cover.
func (x *Namespace) outside() int64 { return x.BeforeNS + x.AfterNS }

// longest is the namespace of which the most is not covered.
func (r *Comparison) longest() Namespace {
	worst := Namespace{}
	for i := range r.Spaces {
		if r.Spaces[i].outside() > worst.outside() {
			worst = r.Spaces[i]
		}
	}
	return worst
}
