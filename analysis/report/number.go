package report

// This file writes counts, durations, sizes and rates.

import (
	"math"
	"strings"

	"github.com/acc-project/acc/analysis/humanize"
)

// Count writes n with commas.
func Count(n uint64) string { return humanize.Count(n) }

// Duration writes nanoseconds with three digits and a unit that suits: 812 ns,
// 12.3 ms, 4.56 s, 3m20s, 3d18h.
func Duration(ns int64) string { return humanize.Duration(ns) }

// Bytes writes a size with three digits and a binary unit.
func Bytes(n int64) string { return humanize.Bytes(n) }

func rate(f float64) string {
	if f >= 1000 {
		return Count(uint64(f + 0.5))
	}
	return humanize.Digits(f)
}

// Spark draws counts as a line of at most width characters, the highest one full.
func Spark(counts []uint64, width int) string {
	if len(counts) < 2 {
		return ""
	}
	cells := make([]uint64, min(width, len(counts)))
	for i, n := range counts {
		c := &cells[i*len(cells)/len(counts)]
		*c = max(*c, n)
	}
	high := uint64(0)
	for _, n := range cells {
		high = max(high, n)
	}
	var b strings.Builder
	for _, n := range cells {
		switch {
		case n == 0:
			b.WriteRune('·')
		default:
			b.WriteRune([]rune("▁▂▃▄▅▆▇█")[max(int(math.Ceil(float64(n)/float64(high)*8)), 1)-1])
		}
	}
	return b.String()
}

// many is a count of something.
func many(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return Count(n) + " " + what + "s"
}
