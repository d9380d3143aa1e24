package compare

// This file has the test of ranks.

import (
	"math"
	"slices"
)

// mannWhitney is the z of the two-sided Mann-Whitney U test of two samples: by the normal approximation, with the
// corrections for ties and continuity. 0 if all values are equal.
func mannWhitney(a, b []float64) float64 {
	type value struct {
		v     float64
		first bool
	}
	all := make([]value, 0, len(a)+len(b))
	for _, v := range a {
		all = append(all, value{v, true})
	}
	for _, v := range b {
		all = append(all, value{v, false})
	}
	slices.SortFunc(all, func(x, y value) int {
		switch {
		case x.v < y.v:
			return -1
		case x.v > y.v:
			return 1
		}
		return 0
	})
	ranks, ties := 0.0, 0.0
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j].v == all[i].v {
			j++
		}
		n := float64(j - i)
		ties += n*n*n - n
		for ; i < j; i++ {
			if all[i].first {
				ranks += float64(j) - (n-1)/2
			}
		}
	}
	n, m := float64(len(a)), float64(len(b))
	off := math.Abs(ranks-n*(n+1)/2-n*m/2) - 0.5
	variance := n * m / 12 * (n + m + 1 - ties/((n+m)*(n+m-1)))
	if off <= 0 || variance <= 0 {
		return 0
	}
	return off / math.Sqrt(variance)
}

// follows gives the autocorrelation at a lag of one, bounded to 0 to 0.9. It is high where each value is near the one
// before it: then the list has fewer independent values than values.
func follows(list []float64) float64 {
	mean, top, bottom := 0.0, 0.0, 0.0
	for _, v := range list {
		mean += v / float64(len(list))
	}
	for i, v := range list {
		bottom += (v - mean) * (v - mean)
		if i > 0 {
			top += (v - mean) * (list[i-1] - mean)
		}
	}
	if bottom == 0 {
		return 0
	}
	return min(max(top/bottom, 0), 0.9)
}

// chance is the p-value of values so different, if they are of one distribution.
func chance(a, b []float64) float64 {
	z, r := mannWhitney(a, b), max(follows(a), follows(b))
	return twoSided(z * math.Sqrt((1-r)/(1+r)))
}

// twoSided is the chance of a normal variable beyond z on either side.
func twoSided(z float64) float64 { return math.Erfc(z / math.Sqrt2) }
