package meanwhile

// This file counts how many clients waited, over time.

import (
	"cmp"
	"slices"
)

// depths are how many clients waited, from each time on.
type depths []struct{ ns, n, sum int64 } // sum: the waits until then

// depthsOf counts the waits.
func depthsOf(waits []span) depths {
	type step struct{ ns, n int64 }
	steps := make([]step, 0, 2*len(waits))
	for _, w := range waits {
		steps = append(steps, step{w.from, 1}, step{w.to, -1})
	}
	slices.SortFunc(steps, func(a, b step) int { return cmp.Compare(a.ns, b.ns) })
	var d depths
	var n, sum, last int64
	for _, x := range steps {
		sum += n * (x.ns - last)
		n, last = n+x.n, x.ns
		d = append(d, struct{ ns, n, sum int64 }{x.ns, n, sum})
	}
	return d
}

// until is the sum of the waits until a time.
func (d depths) until(ns int64) int64 {
	i, _ := slices.BinarySearchFunc(d, ns, func(x struct{ ns, n, sum int64 }, ns int64) int {
		if x.ns <= ns {
			return -1
		}
		return 1
	})
	if i == 0 {
		return 0
	}
	return d[i-1].sum + d[i-1].n*(ns-d[i-1].ns)
}

func (d depths) between(from, to int64) int64 { return d.until(to) - d.until(from) }

// all is the sum of all waits.
func (d depths) all() int64 {
	if len(d) == 0 {
		return 0
	}
	return d[len(d)-1].sum
}
