package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Count writes n with commas.
func Count(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Duration writes nanoseconds with three digits and a unit that suits: 812 ns,
// 12.3 ms, 4.56 s, 3m20s, 3d18h.
func Duration(ns int64) string {
	d := time.Duration(ns)
	switch { // what would round up to the next unit is written in it
	case ns < 1_000:
		return fmt.Sprintf("%d ns", ns)
	case ns < 999_500:
		return digits(float64(ns)/1e3) + " µs"
	case ns < 999_500_000:
		return digits(float64(ns)/1e6) + " ms"
	case ns < 59_950_000_000:
		return digits(float64(ns)/1e9) + " s"
	case d < 48*time.Hour:
		return d.Round(time.Second).String()
	}
	h := int64(d.Round(time.Hour) / time.Hour)
	return fmt.Sprintf("%dd%dh", h/24, h%24)
}

// Bytes writes a size with three digits and a binary unit.
func Bytes(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	f, i := float64(n), 0
	for f >= 1000 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	if i == 0 {
		return strconv.FormatInt(n, 10) + " B"
	}
	return digits(f) + " " + units[i]
}

func digits(f float64) string {
	switch {
	case f < 9.995:
		return strconv.FormatFloat(f, 'f', 2, 64)
	case f < 99.95:
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return strconv.FormatFloat(f, 'f', 0, 64)
}

func rate(f float64) string {
	if f >= 1000 {
		return Count(uint64(f + 0.5))
	}
	return digits(f)
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
