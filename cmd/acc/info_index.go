package main

// This file prints what info knows by a capture's index.

import (
	"github.com/acc-project/acc/analysis/report"
)

// smallCapture is up to how many bytes info reads all of a capture, which then takes
// a fraction of a second.
var smallCapture int64 = 4 << 20

// outline prints what beginning, end and index say.
func (i *info) outline(row func(name, format string, args ...any)) {
	row("events", "%s, by the index", report.Count(i.Events))
	row("size", "%s, by the index", i.size())
	tasks(row, "at the end", i.End.Blocked, len(i.End.Blocked), i.End.BlockedKnown)
	row("not read", "how many were accepted, processes, listeners, the kernel's own counters: acc info --full")
}
