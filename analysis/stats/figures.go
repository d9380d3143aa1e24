package stats

// This file writes the figures of findings, with marks where loss makes them uncertain.

import "github.com/acc-project/acc/analysis/humanize"

// Doubts says which figures loss could falsify; all false in a complete capture.
type Doubts struct {
	Attempts bool `json:"attempts"` // attempts and calls are at least what is said, everywhere
	// accepted, failed, errors, rates and peers are at least what is said, everywhere
	Outcomes bool `json:"outcomes"`
	Waits    bool `json:"waits"` // waits are of the attempts with both events; there are others
	Lists    bool `json:"lists"` // listeners, processes or peers may be missing
	// connections, refusals, and ends that events show, are at least what is said; queue_high, too; quantiles of them
	// may differ
	Connections bool `json:"connections"`

	// What may differ either way.

	// a part within is missing: attempts, calls and ways may differ either way, since one whose events are before and
	// behind it can count twice
	Parts bool `json:"parts"`
	Ends  bool `json:"ends"` // how connections ended may differ either way, and never_accepted and its waits with it
	// when it began or ended is not known: rates may differ either way, the duration is at least what is said; what was
	// open, waiting or without a return counts as of where the capture stops
	Span bool `json:"span"`
}

// Figures writes the figures of findings, with the marks that the totals have: ≥ where there may be
// more, ~ where loss could change it either way.
type Figures struct{ *Doubts }

// Calls is a count of returns of accept, or of what they tell.
func (g Figures) Calls(n uint64) string { return marked("≥", g.Outcomes, humanize.Count(n)) }

// CallsOf is Calls with what is counted.
func (g Figures) CallsOf(n uint64, what string) string {
	return marked("≥", g.Outcomes, humanize.Plural(n, what))
}

// Events is a count of events of accept, entries and returns.
func (g Figures) Events(n uint64) string {
	return marked("≥", g.Attempts || g.Outcomes, humanize.Count(n))
}

// EventsOf is Events with what is counted.
func (g Figures) EventsOf(n uint64, what string) string {
	return marked("≥", g.Attempts || g.Outcomes, humanize.Plural(n, what))
}

// Sorted is a count that depends on how calls follow each other.
func (g Figures) Sorted(n uint64) string {
	return marked("~", g.Attempts || g.Outcomes, humanize.Count(n))
}

// Conns is a count of connections, or of what events tell of them.
func (g Figures) Conns(n uint64) string { return marked("≥", g.Connections, humanize.Count(n)) }

// ConnsOf is Conns with what is counted.
func (g Figures) ConnsOf(n uint64, what string) string {
	return marked("≥", g.Connections, humanize.Plural(n, what))
}

// Ended is a count of what became of connections.
func (g Figures) Ended(n uint64) string { return marked("~", g.endsDiffer(), humanize.Count(n)) }

// EndedOf is Ended with what is counted.
func (g Figures) EndedOf(n uint64, what string) string {
	return marked("~", g.endsDiffer(), humanize.Plural(n, what))
}

// EndedFor is how long what became of connections took.
func (g Figures) EndedFor(ns int64) string { return marked("~", g.endsDiffer(), humanize.Duration(ns)) }

func (g Figures) endsDiffer() bool { return g.Ends || g.Connections }

// WaitOf is how long connections took, of which some may be missing.
func (g Figures) WaitOf(ns int64) string { return g.Mid() + humanize.Duration(ns) }

// Longest is the longest of them.
func (g Figures) Longest(ns int64) string { return g.Most() + humanize.Duration(ns) }

// Mid and most are the marks of WaitOf and Longest.
func (g Figures) Mid() string  { return marked("~", g.Connections, "") }
func (g Figures) Most() string { return marked("≥", g.Connections, "") }

// SortedConns is a count of connections that depends on how they follow each other.
func (g Figures) SortedConns(n uint64) string { return marked("~", g.Connections, humanize.Count(n)) }

// Sockets is a count of listeners, of which some may be missing and others be taken for new.
func (g Figures) Sockets(n uint64, words func(uint64) string) string {
	return marked("~", g.Lists || g.Connections, words(n))
}

// CallsFor is how long calls of a kind came, from the first to the last.
func (g Figures) CallsFor(ns int64) string { return marked("≥", g.Outcomes, humanize.Duration(ns)) }

// SpanOf is how long was recorded.
func (g Figures) SpanOf(ns int64) string { return marked("≥", g.Span, humanize.Duration(ns)) }

// marked sets a mark before a figure if there is a doubt.
func marked(mark string, doubt bool, figure string) string {
	if doubt {
		return mark + figure
	}
	return figure
}
