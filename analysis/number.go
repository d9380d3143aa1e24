package analysis

// This file gives the functions of package humanize to those who import analysis.

import "github.com/acc-project/acc/analysis/humanize"

// Count writes n with commas, as [humanize.Count] does.
func Count(n uint64) string { return humanize.Count(n) }

// Duration writes nanoseconds, as [humanize.Duration] does.
func Duration(ns int64) string { return humanize.Duration(ns) }

// LeftOut says what was left out of a capture, as [humanize.LeftOut] does.
func LeftOut(bytes int64, places int, events uint64) string {
	return humanize.LeftOut(bytes, places, events)
}
