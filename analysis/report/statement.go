package report

// This file says in which state file and recording are: the same words everywhere.

import (
	"strings"

	"github.com/acc-project/acc/analysis/audit"
	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/format"
)

// integrityWords are the states of a file in words.
var integrityWords = map[string]string{
	audit.Intact:     "intact",
	audit.Truncated:  "DAMAGED (truncated): it stops before its end",
	audit.Corrupt:    "DAMAGED (corrupt): it holds what its recorder did not write",
	audit.Altered:    "ALTERED: it is not what was signed, or not what a kept chain head says",
	audit.Unreadable: "UNREADABLE: reading it failed",
	audit.Unchecked:  "closed; beginning, end and index fit, and what lies between was NOT looked at",
}

// FileState says in which state a file is: the same words wherever acc prints it.
func FileState(f *audit.File) string {
	if words := integrityWords[f.State]; words != "" {
		return words
	}
	return format.Quote(f.State)
}

// RecordingState says whether a recording is complete, and what it lacks: the same words
// wherever acc prints it.
func RecordingState(r *audit.Recording) string {
	why, of, that := strings.Join(r.Why, "; "), "", "that"
	if r.Part {
		of, that = " in this part", "it"
	}
	if r.Selected != "" {
		of, that = of+" of what was selected ("+r.Selected+")", "that"
	}
	counted := ""
	if r.Counted > 0 {
		counted = "; " + humanize.Counted(r.Counted)
	}
	switch {
	case r.State == audit.Complete && of != "":
		return "complete" + of + ": nothing of " + that + " was lost or missed" + counted
	case r.State == audit.Complete:
		return "complete: nothing was lost or missed" + counted
	case r.State == audit.Unchecked && why == "":
		return "by its END nothing" + of + " was lost or missed" + counted + "; the events were NOT looked at"
	case r.State == audit.Unchecked:
		return "by its END" + of + ": " + why + counted + "; the events were NOT looked at"
	}
	return "INCOMPLETE" + of + ": " + why + counted
}

// Statement says both in one line.
func Statement(f *audit.File, r *audit.Recording) string {
	return "file " + FileState(f) + "; recording " + RecordingState(r)
}
