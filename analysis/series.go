package analysis

import (
	"math"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// series counts in equal buckets of time from a start. When a time is beyond
// its last bucket, buckets are joined two by two, so that its size is bounded.
type series struct {
	startNS int64
	widthNS int64
	max     int // buckets, even
	peak    bool
	counts  []uint64

	fromNS, toNS int64 // of the bucket used last, which mostly is the next one too
	bucket       int
}

func newSeries(startNS, widthNS int64, max int) series {
	return series{startNS: startNS, widthNS: widthNS, max: max}
}

// at gives the bucket of a time, made if need be. What is before the start
// belongs to the first.
func (s *series) at(ns int64) *uint64 {
	if s.fromNS <= ns && ns < s.toNS {
		return &s.counts[s.bucket]
	}
	var since int64
	if ns > s.startNS {
		if since = ns - s.startNS; since < 0 {
			since = math.MaxInt64 // two hostile times
		}
	}
	for since/s.widthNS >= int64(s.max) {
		s.halve()
	}
	i := since / s.widthNS
	for int64(len(s.counts)) <= i {
		s.counts = append(s.counts, 0)
	}
	s.bucket = int(i)
	s.fromNS = s.startNS + i*s.widthNS
	s.toNS = s.fromNS + s.widthNS
	return &s.counts[i]
}

// raise makes the buckets from one time to another at least n.
func (s *series) raise(fromNS, toNS int64, n uint64) {
	last := s.at(toNS)
	*last = max(*last, n)
	if fromNS >= s.fromNS {
		return
	}
	for i := max(fromNS-s.startNS, 0) / s.widthNS; int(i) < s.bucket; i++ {
		s.counts[i] = max(s.counts[i], n)
	}
}

func (s *series) halve() {
	s.widthNS *= 2
	s.fromNS, s.toNS = 0, 0
	half := s.counts[:0]
	for i := 0; i < len(s.counts); i += 2 {
		n := s.counts[i]
		if i+1 < len(s.counts) {
			if s.peak {
				n = max(n, s.counts[i+1])
			} else {
				n += s.counts[i+1]
			}
		}
		half = append(half, n)
	}
	s.counts = half
}

// copy gives the counts, never nil.
func (s *series) copy() []uint64 { return append([]uint64{}, s.counts...) }

// alike gives series the same width, and their counts the same length.
func alike(list ...*series) {
	width, n := int64(0), 0
	for _, s := range list {
		width = max(width, s.widthNS)
	}
	for _, s := range list {
		for s.widthNS < width {
			s.halve()
		}
		n = max(n, len(s.counts))
	}
	for _, s := range list {
		s.counts = append(s.counts, make([]uint64, n-len(s.counts))...)
	}
}

// longest is the longest time that a histogram holds: 30 days.
const longest = int64(30 * 24 * 3600 * 1e9)

// waits collects durations in a histogram of fixed size, and the longest exactly.
type waits struct {
	h       *hdrhistogram.Histogram // nil: nothing is collected
	maxNS   int64
	atLeast uint64 // of them, lower bounds
}

// newWaits makes one that is exact to the given number of decimal digits:
// 3 take 350 KB, 2 take 45 KB.
func newWaits(digits int) waits { return waits{h: hdrhistogram.New(1, longest, digits)} }

func (w *waits) add(ns int64) {
	if w.h == nil {
		return
	}
	_ = w.h.RecordValue(min(max(ns, 1), longest)) // fails beyond its range only
	w.maxNS = max(w.maxNS, ns)
}

// bound adds a duration that may be a lower bound.
func (w *waits) bound(ns int64, atLeast bool) {
	if w.add(ns); atLeast && w.h != nil {
		w.atLeast++
	}
}

func (w *waits) quantiles() Quantiles {
	if w.h == nil || w.h.TotalCount() == 0 {
		return Quantiles{}
	}
	q := func(p float64) int64 { return min(w.h.ValueAtQuantile(p), w.maxNS) }
	return Quantiles{Count: uint64(w.h.TotalCount()), P50: q(50), P90: q(90), P99: q(99), Max: w.maxNS, AtLeast: w.atLeast}
}
