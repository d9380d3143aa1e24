// Package humanize writes counts, sizes and durations for people.
//
// Exported names may change until version 1; CHANGELOG.md says which changed.
package humanize

import (
	"fmt"
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

// LeftOut says what was left out of a capture: bytes, in how many places (0: it goes without saying), and
// the events that are known to be missing with them.
func LeftOut(bytes int64, places int, events uint64) string {
	text := Plural(uint64(bytes), "byte")
	switch places {
	case 0:
	case 1:
		text += " in one place"
	default:
		text += " in " + strconv.Itoa(places) + " places"
	}
	if events == 0 {
		return text + ", events in it unknown"
	}
	return text + ", with at least " + Plural(events, "event")
}

// Duration writes nanoseconds with three digits and a unit that suits: 812 ns,
// 12.3 ms, 4.56 s, 3m20s, 3d18h.
func Duration(ns int64) string {
	d := time.Duration(ns)
	switch { // what would round up to the next unit is written in it
	case ns < 1_000:
		return fmt.Sprintf("%d ns", ns)
	case ns < 999_500:
		return Digits(float64(ns)/1e3) + " µs"
	case ns < 999_500_000:
		return Digits(float64(ns)/1e6) + " ms"
	case ns < 59_950_000_000:
		return Digits(float64(ns)/1e9) + " s"
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
	return Digits(f) + " " + units[i]
}

// Digits writes a number that is not negative with three digits, or all of them before the point.
func Digits(f float64) string {
	switch {
	case f < 9.995:
		return strconv.FormatFloat(f, 'f', 2, 64)
	case f < 99.95:
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return strconv.FormatFloat(f, 'f', 0, 64)
}

// Plural is a count of something.
func Plural(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return Count(n) + " " + Nouns(n, what)
}

// Nouns is what is counted, as a plural unless there is one of it: "1 more process".
func Nouns(n uint64, what string) string {
	switch {
	case n == 1:
		return what
	case strings.HasSuffix(what, "s"):
		return what + "es"
	}
	return what + "s"
}

// Were is was for one, were for more.
func Were(n uint64) string {
	if n == 1 {
		return "was"
	}
	return "were"
}

// Lost says how many events were lost.
func Lost(n uint64) string { return Plural(n, "event") + " lost" }

// Shed says how many of the lost events acc left out itself.
func Shed(n uint64) string {
	return Count(n) + " of these left out to keep within --max-cpu or --max-memory"
}

// Counted says how many failed calls have no events.
func Counted(n uint64) string {
	return Plural(n, "failed call") + " counted instead of recorded one by one (the rate guard)"
}

// Missed says how often the kernel did not run a probe.
func Missed(n uint64) string { return Plural(n, "probe hit") + " missed by the kernel" }
