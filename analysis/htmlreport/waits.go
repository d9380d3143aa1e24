package htmlreport

// This file has quantiles of waits over time.

import "math"

// binOf is the bin of a duration: four to the octave, from a microsecond on.
func binOf(ns int64) int {
	if ns <= 1000 {
		return 0
	}
	return min(int(4*math.Log2(float64(ns)/1000)), waitBins-1)
}

// binNS is the middle of a bin.
func binNS(bin int) int64 { return int64(1000 * math.Exp2((float64(bin)+0.5)/4)) }

// add takes a wait that ended at a time.
func (w *waits) add(at, ns int64) {
	since := max(at-w.startNS, 0)
	for since/w.widthNS >= maxBuckets {
		w.halve()
	}
	i := int(since / w.widthNS)
	for len(w.buckets) <= i {
		w.buckets = append(w.buckets, waitBucket{})
	}
	b := &w.buckets[i]
	b.bins[binOf(ns)]++
	b.n++
	b.max = max(b.max, ns)
}

// halve joins buckets two by two.
func (w *waits) halve() {
	w.widthNS *= 2
	for i := range w.buckets {
		from := w.buckets[i]
		to := &w.buckets[i/2]
		if i%2 == 0 {
			*to = from
			continue
		}
		for j, n := range from.bins {
			to.bins[j] += n
		}
		to.n += from.n
		to.max = max(to.max, from.max)
	}
	w.buckets = w.buckets[:(len(w.buckets)+1)/2]
}

// quantile is a wait that a part of those in a bucket did not exceed, to 10 %; -1 if there are none.
func (b *waitBucket) quantile(part float64) int64 {
	if b.n == 0 {
		return -1
	}
	rank, seen := uint64(math.Ceil(part*float64(b.n))), uint64(0)
	for bin, n := range b.bins {
		if seen += uint64(n); seen >= rank {
			return min(binNS(bin), b.max)
		}
	}
	return b.max
}
