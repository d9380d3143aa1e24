package compare

// This file decides whether a figure differs.

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// figures compares each figure.
func (d *Diff) figures(list []figure) {
	var ready []figure
	for _, f := range list {
		f.a, f.b = known(f.a), known(f.b)
		switch {
		case len(f.a) == 0 || len(f.b) == 0: // nothing of the kind is recorded in one
		case len(f.a) < leastWindows || len(f.b) < leastWindows || f.total < leastCount:
			d.TooFew++
		default:
			ready = append(ready, f)
		}
	}
	for i := range ready {
		f := &ready[i]
		x := Difference{What: "changed", Kind: f.kind, Subject: f.subject, Figure: f.name, Unit: f.unit,
			A: f.middle(f.a), B: f.middle(f.b), Noise: math.Max(f.noise(f.a), f.noise(f.b))}
		x.P = chance(f.a, f.b)
		if !f.differs(&x, len(ready)) {
			d.Same++
			continue
		}
		x.Worse = f.up > 0 && x.B > x.A || f.up < 0 && x.B < x.A
		x.Text = sentence(&x)
		d.Differences = append(d.Differences, x)
	}
}

// differs reports whether a difference counts: it is larger than chance explains in so many figures, larger than the
// captures' own noise, and large enough to matter.
func (f *figure) differs(x *Difference, figures int) bool {
	least := leastTime
	if f.unit == "per_second" {
		least = leastRate
	}
	by := math.Abs(x.B - x.A)
	return x.P < falseAlarms/float64(figures) && by > noiseTimes*x.Noise && by >= least &&
		by >= relative*math.Max(math.Abs(x.A), math.Abs(x.B))
}

// known gives the values that are known.
func known(list []float64) []float64 {
	return slices.DeleteFunc(slices.Clone(list), math.IsNaN)
}

// middle gives the mean of rates, and the median of quantiles.
func (f *figure) middle(list []float64) float64 {
	if !f.mean {
		s := slices.Sorted(slices.Values(list))
		return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
	}
	sum := 0.0
	for _, v := range list {
		sum += v
	}
	return sum / float64(len(list))
}

// noise gives the largest difference of a capture from itself: between odd and even windows, between odd and even pairs
// of windows, fours and so on, up to its two halves.
func (f *figure) noise(list []float64) (most float64) {
	for block := 1; block <= len(list)/2; block *= 2 {
		var even, odd []float64
		for i, v := range list {
			if i/block%2 == 0 {
				even = append(even, v)
			} else {
				odd = append(odd, v)
			}
		}
		if len(odd) > 0 {
			most = math.Max(most, math.Abs(f.middle(even)-f.middle(odd)))
		}
	}
	return most
}

// sentence says what changed.
func sentence(x *Difference) string {
	change := "from nothing"
	switch {
	case x.A > 0 && x.B > 3*x.A:
		change = fmt.Sprintf("%.1f times", x.B/x.A)
	case x.A > 0:
		change = fmt.Sprintf("%+.0f %%", 100*(x.B-x.A)/x.A)
	}
	return fmt.Sprintf("%s: %s, %s → %s (%s; noise %s)", cmp.Or(x.Subject, "all"), word(x.Figure), value(x.A, x.Unit),
		value(x.B, x.Unit), change, value(x.Noise, x.Unit))
}
