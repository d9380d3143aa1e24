package htmlreport

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/acc-project/acc/analysis/conntrack"
)

// Of more connections than there is room for, the worst are kept, and an even sample of the others.
func TestKept(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 7, 100, 101, 5000} {
		k := kept{max: 100}
		var all []conntrack.Connection
		for i := range n {
			c := conntrack.Connection{ID: uint64(i + 1), QueuedSeq: 1, AcceptedSeq: 1, QueueWaitNS: r.Int64N(1e9), End: conntrack.EndByServer, QueuedNS: int64(i) * 1000, EndNS: 1e12}
			if r.IntN(100) == 0 {
				c.AcceptedSeq = 0
			}
			all = append(all, c)
			k.add(&c)
		}
		rows, which := k.list()
		if len(rows) != min(n, len(rows)) || len(rows) > 100 || n <= 100 && len(rows) != n {
			t.Fatalf("%d of %d are kept", len(rows), n)
		}
		if (which == "") != (n <= 100) {
			t.Errorf("of %d: %q", n, which)
		}
		slices.SortFunc(all, func(a, b conntrack.Connection) int { return worse(&b, &a) })
		has := map[uint64]bool{}
		for _, c := range rows {
			if has[c.ID] {
				t.Errorf("of %d: %d is there twice", n, c.ID)
			}
			has[c.ID] = true
		}
		for _, c := range all[:min(n, 50)] {
			if !has[c.ID] {
				t.Errorf("of %d: %d is one of the 50 worst, and is missing", n, c.ID)
			}
		}
		if n == 5000 {
			if len(k.even) < 20 {
				t.Errorf("%d others are kept", len(k.even))
			}
			early, late := 0, 0
			for _, c := range k.even {
				if c.ID <= 2500 {
					early++
				} else {
					late++
				}
			}
			if early < len(k.even)/3 || late < len(k.even)/3 {
				t.Errorf("%d of the first half, %d of the second", early, late)
			}
		}
	}
}

// Quantiles over time are within a tenth of what sorting gives, however often buckets are joined.
func TestWaits(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	w := waits{widthNS: firstWidth}
	byTime := map[int64]int64{}
	for range 200_000 {
		at, wait := r.Int64N(3600e9), int64(1000*(1+r.ExpFloat64()*5000))
		byTime[at] = wait
		w.add(at, wait)
	}
	if len(w.buckets) > maxBuckets || len(w.buckets) < maxBuckets/4 {
		t.Errorf("%d buckets", len(w.buckets))
	}
	exact := make([][]int64, len(w.buckets))
	for at, wait := range byTime {
		exact[at/w.widthNS] = append(exact[at/w.widthNS], wait)
	}
	for i, list := range exact {
		slices.Sort(list)
		if b := &w.buckets[i]; b.n < uint64(len(list)) || b.max != list[len(list)-1] {
			t.Errorf("bucket %d: %d, longest %d; want %d, %d", i, b.n, b.max, len(list), list[len(list)-1])
		}
		for _, part := range []float64{0.5, 0.99} {
			got, want := w.buckets[i].quantile(part), list[min(int(part*float64(len(list))), len(list)-1)]
			if got < want*88/100-2000 || got > want*112/100+2000 {
				t.Errorf("bucket %d: %v quantile is %d, want %d", i, part, got, want)
			}
		}
	}
}
