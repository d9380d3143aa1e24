package analysis

// figures writes the figures of findings, with the marks that the totals have: ≥ where there may be
// more, ~ where loss could change it either way.
type figures struct{ *Doubts }

// calls is a count of returns of accept, or of what they tell.
func (g figures) calls(n uint64) string { return marked("≥", g.Outcomes, Count(n)) }

// callsOf is calls with what is counted.
func (g figures) callsOf(n uint64, what string) string {
	return marked("≥", g.Outcomes, many(n, what))
}

// events is a count of events of accept, entries and returns.
func (g figures) events(n uint64) string { return marked("≥", g.Attempts || g.Outcomes, Count(n)) }

// sorted is a count that depends on how calls follow each other.
func (g figures) sorted(n uint64) string { return marked("~", g.Attempts || g.Outcomes, Count(n)) }

// conns is a count of connections, or of what events tell of them.
func (g figures) conns(n uint64) string { return marked("≥", g.Connections, Count(n)) }

// connsOf is conns with what is counted.
func (g figures) connsOf(n uint64, what string) string {
	return marked("≥", g.Connections, many(n, what))
}

// ends is a count of what became of connections.
func (g figures) ends(n uint64) string { return marked("~", g.endsDiffer(), Count(n)) }

// endsOf is ends with what is counted.
func (g figures) endsOf(n uint64, what string) string {
	return marked("~", g.endsDiffer(), many(n, what))
}

// endsFor is how long what became of connections took.
func (g figures) endsFor(ns int64) string { return marked("~", g.endsDiffer(), Duration(ns)) }

func (g figures) endsDiffer() bool { return g.Ends || g.Connections }

// waits is how long connections took, of which some may be missing.
func (g figures) waits(ns int64) string { return g.mid() + Duration(ns) }

// longest is the longest of them.
func (g figures) longest(ns int64) string { return g.most() + Duration(ns) }

// mid and most are the marks of waits and longest.
func (g figures) mid() string  { return marked("~", g.Connections, "") }
func (g figures) most() string { return marked("≥", g.Connections, "") }

// sortedConns is a count of connections that depends on how they follow each other.
func (g figures) sortedConns(n uint64) string { return marked("~", g.Connections, Count(n)) }

// sockets is a count of listeners, of which some may be missing and others be taken for new.
func (g figures) sockets(n uint64, words func(uint64) string) string {
	return marked("~", g.Lists || g.Connections, words(n))
}

// callsFor is how long calls of a kind came, from the first to the last.
func (g figures) callsFor(ns int64) string { return marked("≥", g.Outcomes, Duration(ns)) }

// span is how long was recorded.
func (g figures) span(ns int64) string { return marked("≥", g.Span, Duration(ns)) }

// marked sets a mark before a figure if there is a doubt.
func marked(mark string, doubt bool, figure string) string {
	if doubt {
		return mark + figure
	}
	return figure
}
