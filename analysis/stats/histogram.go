package stats

// This file has durations and their quantiles.

import "github.com/HdrHistogram/hdrhistogram-go"

// Quantiles of a set of durations in nanoseconds.
type Quantiles struct {
	Count uint64 `json:"count"` // durations; of none the others are 0
	P50   int64  `json:"p50"`   // the median
	P90   int64  `json:"p90"`   // 9 of 10 are not longer
	P99   int64  `json:"p99"`   // 99 of 100 are not longer
	Max   int64  `json:"max"`   // the longest

	// AtLeast is of how many only a lower bound is known, for they began before the
	// recording: so are the figures above, then.
	AtLeast uint64 `json:"at_least,omitempty"`
}

// longest is the longest time that a histogram holds: 30 days.
const longest = int64(30 * 24 * 3600 * 1e9)

// Histogram collects durations in a histogram of fixed size, and the longest exactly.
type Histogram struct {
	digits  int                     // 0: nothing is collected
	h       *hdrhistogram.Histogram // nil: nothing was yet
	maxNS   int64
	atLeast uint64 // of them, lower bounds
}

// NewHistogram makes one that is exact to the given number of decimal digits:
// 3 take 350 KB, 2 take 45 KB, once there is a duration.
func NewHistogram(digits int) Histogram { return Histogram{digits: digits} }

func (w *Histogram) Record(ns int64) {
	if w.h == nil {
		if w.digits == 0 {
			return
		}
		w.h = hdrhistogram.New(1, longest, w.digits)
	}
	_ = w.h.RecordValue(min(max(ns, 1), longest)) // fails beyond its range only
	w.maxNS = max(w.maxNS, ns)
}

// RecordBound adds a duration that may be a lower bound.
func (w *Histogram) RecordBound(ns int64, atLeast bool) {
	if w.Record(ns); atLeast && w.h != nil {
		w.atLeast++
	}
}

func (w *Histogram) Quantiles() Quantiles {
	if w.h == nil || w.h.TotalCount() == 0 {
		return Quantiles{}
	}
	q := func(p float64) int64 { return min(w.h.ValueAtQuantile(p), w.maxNS) }
	return Quantiles{Count: uint64(w.h.TotalCount()), P50: q(50), P90: q(90), P99: q(99), Max: w.maxNS,
		AtLeast: w.atLeast}
}

// On reports whether it collects.
func (w *Histogram) On() bool { return w.digits != 0 }
