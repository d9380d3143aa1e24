package analysis

// This file says whether a recording is complete.

import (
	"fmt"
	"strings"

	"github.com/acc-project/acc/analysis/audit"
	"github.com/acc-project/acc/analysis/crosscheck"
	"github.com/acc-project/acc/analysis/humanize"
)

// recording says whether what happened is in the capture: the one place that decides it.
func (a *Analyzer) recording(c *Completeness, r *Result) audit.Recording {
	s := audit.Recording{
		State: audit.Complete, Why: []string{}, Lost: r.Totals.Lost, Missed: r.Totals.Missed,
		ClosedCleanly: a.end != nil && a.end.Clean,
		CrossCheck:    r.CrossCheck.Verdict,
		Counted:       a.totals.Counted,
		Selected:      a.header.Selection.String(),
		Part:          len(a.header.Cuts) > 0,
	}
	lacks := func(yes bool, format string, args ...any) {
		if yes {
			s.State, s.Why = audit.Incomplete, append(s.Why, fmt.Sprintf(format, args...))
		}
	}
	p := a.header.Repaired
	lacks(c.Truncated && !c.Stopped, "its end is missing")
	lacks(p != nil, "the file was damaged and repaired: parts are missing")
	lacks(c.Stopped || len(c.Skipped) > 0 && p == nil || len(c.Skipped) > 1, "corrupt parts are missing")
	lacks(len(c.Against) > 0, "what it says of itself does not fit what it holds")
	lacks(a.end != nil && !a.end.Clean && !c.Truncated, "it was not closed cleanly")
	lacks(s.Lost > 0, "%s", humanize.Lost(s.Lost))
	lacks(a.end != nil && a.end.Shed > 0, "%s", humanize.Shed(a.shed()))
	missed := humanize.Missed(s.Missed)
	if s.Part && s.Missed > 0 {
		missed += " in the whole recording, at a time that is not known"
	}
	lacks(s.Missed > 0, "%s", missed)
	lacks(r.CrossCheck.Verdict == crosscheck.VerdictDiffers, "the kernel's counters do not agree")
	return s
}

// missing reports whether the kernel counted connections that the capture has no account of.
func missing(w *crosscheck.Comparison) bool {
	if w.Verdict != crosscheck.VerdictDiffers {
		return false
	}
	for _, s := range w.Spaces {
		if s.Unexplained > 0 {
			return true
		}
	}
	return false
}

// someOf joins the first sentences of a list.
func someOf(list []string, most int) string {
	text := strings.Join(list[:min(len(list), most)], "; ")
	if n := len(list) - most; n > 0 {
		text += fmt.Sprintf("; and %s more", humanize.Count(uint64(n)))
	}
	return text
}
