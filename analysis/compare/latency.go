package compare

// This file keeps durations bucket by bucket.

import "math"

const (
	binsPerOctave = 8
	latencyBins   = binsPerOctave * 32 // from a microsecond to an hour
)

// latencies are durations in buckets of time, each a histogram with eight bins to the octave.
type latencies []*[latencyBins]uint32

func (l *latencies) add(bucket int, ns int64) {
	for len(*l) <= bucket {
		*l = append(*l, nil)
	}
	if (*l)[bucket] == nil {
		(*l)[bucket] = &[latencyBins]uint32{}
	}
	(*l)[bucket][binOf(ns)]++
}

func binOf(ns int64) int {
	if ns <= 1000 {
		return 0
	}
	return min(int(binsPerOctave*math.Log2(float64(ns)/1000)), latencyBins-1)
}

func (l *latencies) halve() {
	for i, h := range *l {
		if i%2 == 0 {
			(*l)[i/2] = h
			continue
		}
		(*l)[i/2] = sum((*l)[i/2], h)
	}
	*l = (*l)[:(len(*l)+1)/2]
}

// sum adds b to a, and gives a. A histogram of nothing is nil: then sum gives the other one.
func sum(a, b *[latencyBins]uint32) *[latencyBins]uint32 {
	switch {
	case a == nil:
		return b
	case b != nil:
		for i, n := range b {
			a[i] += n
		}
	}
	return a
}

// quantile is a duration in nanoseconds that a part of them did not exceed, within a bin by its share; NaN if there are
// fewer than least.
func quantile(h *[latencyBins]uint32, part float64, least uint64) float64 {
	n := uint64(0)
	if h != nil {
		for _, c := range h {
			n += uint64(c)
		}
	}
	if n < max(least, 1) {
		return math.NaN()
	}
	rank, seen := part*float64(n), 0.0
	for bin, c := range h {
		if c > 0 && seen+float64(c) >= rank {
			return 1000 * math.Exp2((float64(bin)+(rank-seen)/float64(c))/binsPerOctave)
		}
		seen += float64(c)
	}
	return math.NaN()
}
