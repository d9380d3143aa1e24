package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// Buckets hold the same whatever order times come in and however often they are
// joined; the first is where the start is.
func TestSeries(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 3))
		sum, high := NewSeries(1000, 10, 8), NewSeries(1000, 10, 8)
		high.Peak = true
		var times []int64
		var values []uint64
		for range 50 {
			ns, v := int64(900+rng.IntN(1000<<rng.IntN(8))), uint64(rng.IntN(100))
			times, values = append(times, ns), append(values, v)
			*sum.At(ns) += v
			h := high.At(ns)
			*h = max(*h, v)
		}
		Align(&sum, &high)
		wantSum, wantHigh := make([]uint64, len(sum.Counts)), make([]uint64, len(sum.Counts))
		for i, ns := range times {
			at := max(ns-1000, 0) / sum.WidthNS
			wantSum[at] += values[i]
			wantHigh[at] = max(wantHigh[at], values[i])
		}
		if !slices.Equal(sum.Counts, wantSum) || !slices.Equal(high.Counts, wantHigh) || len(sum.Counts) > 8 {
			t.Fatalf("seed %d: got %v and %v, want %v and %v", seed, sum.Counts, high.Counts, wantSum, wantHigh)
		}
	}
	s := NewSeries(math.MinInt64, 1, 8)
	for _, ns := range []int64{math.MaxInt64, math.MinInt64, 0, math.MaxInt64} {
		*s.At(ns)++
	}
	if n := len(s.Counts); n > 8 {
		t.Errorf("%d buckets", n)
	}
}

// The quantiles are within what the documentation says of the exact ones.
func TestWaits(t *testing.T) {
	for _, c := range []struct {
		digits int
		off    float64
	}{{3, 0.001}, {2, 0.01}} {
		rng := rand.New(rand.NewPCG(1, 1))
		w := NewHistogram(c.digits)
		var all []int64
		for range 100_000 {
			ns := int64(math.Exp(rng.Float64() * math.Log(float64(longest))))
			all = append(all, ns)
			w.Record(ns)
		}
		slices.Sort(all)
		q := w.Quantiles()
		for p, got := range map[int]int64{50: q.P50, 90: q.P90, 99: q.P99} {
			want := all[len(all)*p/100-1]
			if math.Abs(float64(got-want)) > c.off*float64(want)+1 {
				t.Errorf("%d digits: p%d is %d, want %d", c.digits, p, got, want)
			}
		}
		if q.Max != all[len(all)-1] || q.Count != uint64(len(all)) {
			t.Errorf("%+v", q)
		}
		w.Record(math.MaxInt64)
		w.Record(0)
		if q := w.Quantiles(); q.Max != math.MaxInt64 || q.Count != uint64(len(all)+2) {
			t.Errorf("%+v", q)
		}
	}
}

// Evidence is the first and the last events of a mark, each once.
func TestMark(t *testing.T) {
	for n := range 30 {
		var m Mark
		for i := 1; i <= n; i++ {
			m.Note(uint64(i), int64(i*10), int64(i))
		}
		list := m.Samples()
		if len(list) != min(n, 2*KeepSamples) || m.N() != uint64(n) {
			t.Fatalf("%d events: %v", n, list)
		}
		for i, e := range list {
			want := i + 1
			if n > 2*KeepSamples && i >= KeepSamples {
				want = n - 2*KeepSamples + i + 1
			}
			if e != (Sample{uint64(want), int64(want * 10)}) {
				t.Errorf("%d events: %d is %v, want %d", n, i, e, want)
			}
		}
		if n > 0 && (m.High != int64(n) || m.FirstNS != 10 || m.LastNS != int64(n*10)) {
			t.Errorf("%+v", m)
		}
	}
	var w Worst
	for i := range 100 {
		w.Add(uint64(i), 0, int64(i*37%100))
	}
	if !slices.Equal(w.ns, []int64{99, 98, 97, 96, 95, 94, 93, 92}) || len(w.List) != 8 {
		t.Errorf("%v", w.ns)
	}
}
