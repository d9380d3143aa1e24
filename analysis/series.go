package analysis

import (
	"cmp"
	"slices"

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
}

// at gives the bucket of a time, made if need be.
func (s *series) at(ns int64) *uint64 {
	i := max(ns-s.startNS, 0) / s.widthNS
	for i >= int64(s.max) {
		s.halve()
		i /= 2
	}
	for int64(len(s.counts)) <= i {
		s.counts = append(s.counts, 0)
	}
	return &s.counts[i]
}

func (s *series) halve() {
	s.widthNS *= 2
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

// longest is the longest time that a histogram holds: 30 days.
const longest = int64(30 * 24 * 3600 * 1e9)

func newHistogram(digits int) *hdrhistogram.Histogram { return hdrhistogram.New(1, longest, digits) }

func record(h *hdrhistogram.Histogram, ns int64) {
	_ = h.RecordValue(min(max(ns, 1), longest)) // fails beyond its range only
}

func quantiles(h *hdrhistogram.Histogram, longestNS int64) Quantiles {
	if h == nil || h.TotalCount() == 0 {
		return Quantiles{}
	}
	q := func(p float64) int64 { return min(h.ValueAtQuantile(p), longestNS) }
	return Quantiles{Count: uint64(h.TotalCount()), P50: q(50), P90: q(90), P99: q(99), Max: longestNS}
}

func sortTasks(ts []*task) {
	slices.SortFunc(ts, func(a, b *task) int {
		return cmp.Or(cmp.Compare(a.entry.Seq, b.entry.Seq), cmp.Compare(a.tid, b.tid))
	})
}
