// Package stats collects figures: counts in buckets of time, quantiles of durations, the first and
// last events of a kind. It marks the figures that losses make uncertain.
//
// Exported names may change until version 1; CHANGELOG.md says which changed.
package stats

import (
	"math"
)

// Series counts in equal buckets of time from a start. When a time is beyond
// its last bucket, buckets are joined two by two, so that its size is bounded.
type Series struct {
	startNS int64
	WidthNS int64
	max     int // buckets, even
	Peak    bool
	Counts  []uint64

	fromNS, toNS int64 // of the bucket used last, which mostly is the next one too
	bucket       int
}

func NewSeries(startNS, widthNS int64, max int) Series {
	return Series{startNS: startNS, WidthNS: widthNS, max: max}
}

// At gives the bucket of a time, made if need be. What is before the start
// belongs to the first.
func (s *Series) At(ns int64) *uint64 {
	if s.fromNS <= ns && ns < s.toNS {
		return &s.Counts[s.bucket]
	}
	var since int64
	if ns > s.startNS {
		if since = ns - s.startNS; since < 0 {
			since = math.MaxInt64 // two hostile times
		}
	}
	for since/s.WidthNS >= int64(s.max) {
		s.Halve()
	}
	i := since / s.WidthNS
	for int64(len(s.Counts)) <= i {
		s.Counts = append(s.Counts, 0)
	}
	s.bucket = int(i)
	s.fromNS = s.startNS + i*s.WidthNS
	s.toNS = s.fromNS + s.WidthNS
	return &s.Counts[i]
}

// Raise makes the buckets from one time to another at least n.
func (s *Series) Raise(fromNS, toNS int64, n uint64) {
	last := s.At(toNS)
	*last = max(*last, n)
	if fromNS >= s.fromNS {
		return
	}
	for i := max(fromNS-s.startNS, 0) / s.WidthNS; int(i) < s.bucket; i++ {
		s.Counts[i] = max(s.Counts[i], n)
	}
}

func (s *Series) Halve() {
	s.WidthNS *= 2
	s.fromNS, s.toNS = 0, 0
	half := s.Counts[:0]
	for i := 0; i < len(s.Counts); i += 2 {
		n := s.Counts[i]
		if i+1 < len(s.Counts) {
			if s.Peak {
				n = max(n, s.Counts[i+1])
			} else {
				n += s.Counts[i+1]
			}
		}
		half = append(half, n)
	}
	s.Counts = half
}

// Copy gives the counts, never nil.
func (s *Series) Copy() []uint64 { return append([]uint64{}, s.Counts...) }

// Align gives series the same width, and their counts the same length.
func Align(list ...*Series) {
	width, n := int64(0), 0
	for _, s := range list {
		width = max(width, s.WidthNS)
	}
	for _, s := range list {
		for s.WidthNS < width {
			s.Halve()
		}
		n = max(n, len(s.Counts))
	}
	for _, s := range list {
		s.Counts = append(s.Counts, make([]uint64, n-len(s.Counts))...)
	}
}
