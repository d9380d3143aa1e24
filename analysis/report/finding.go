package report

// This file writes the findings, and the totals of connections.

import (
	"fmt"
	"strings"
	"time"

	"github.com/acc-project/acc/analysis/conntrack"

	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/analysis/stats"
)

// colors are those of severities.
var colors = map[findings.Severity]string{findings.Critical: red, findings.Warning: amber, findings.Notice: bold}

// findings ends the screen.
func (t *text) findings() {
	t.WriteByte('\n')
	if len(t.r.Findings) == 0 {
		t.line(bold, "findings:", " none")
		return
	}
	counts := t.findingCounts()
	if t.r.Others.Findings > 0 {
		counts += fmt.Sprintf("; %d are shown (--top)", len(t.r.Findings))
	}
	t.line(bold, "findings:", " "+counts)
	for i := range t.r.Findings {
		t.finding(&t.r.Findings[i])
	}
	t.more(t.r.Others.Findings, "finding")
}

// finding writes one with its parts. Of several listeners, the worst is first, and the sentence has it already.
func (t *text) finding(f *findings.Finding) {
	words, several := f.Text, f.Listeners > 1
	if f.More > 0 && !several {
		words += fmt.Sprintf("; and the same at %s of %s", humanize.Plural(uint64(f.More), "more listener"), f.Owner)
	}
	t.indent(colors[f.Severity], "  "+t.severity(f)+" "+f.ID+":", "   ", words)
	if s := t.evidence(f.Evidence, f.Since, f.Until); s != "" {
		t.indent("", "   ", "   ", s)
	}
	if several {
		t.meanwhile(f.Meanwhile)
	}
	for i := range f.Parts {
		t.part(f, i)
	}
	switch {
	case !several:
		t.meanwhile(f.Meanwhile)
	case f.More > 0:
		t.indent("", "    also:", "     ", humanize.Plural(uint64(f.More), "more listener")+" (--top 0 prints all)")
	}
	t.indent("", "    next:", "     ", f.Next)
}

// part writes what belongs to a finding. Of several listeners, the finding itself has said all of the first.
func (t *text) part(f *findings.Finding, i int) {
	p := &f.Parts[i]
	words := p.Text
	if s := t.evidence(p.Evidence, nil, nil); s != "" {
		words += "; " + s
	}
	switch {
	case f.Listeners > 1 && i == 0:
	case f.Listeners > 1 && p.ID == f.ID:
		word := "    also:"
		if p.Severity != f.Severity {
			word = "    also (" + string(p.Severity) + "):"
		}
		t.indent("", word, "     ", words)
		t.meanwhile(p.Meanwhile)
	case p.ID == f.ID:
		t.indent("", "    of these:", "     ", words)
	default:
		t.indent("", "    because of that:", "     ", p.ID+": "+words)
	}
}

// meanwhile writes what the server's threads did, if somebody looked.
func (t *text) meanwhile(m *findings.Meanwhile) {
	switch {
	case m == nil:
	case m.Because:
		t.indent("", "    because:", "     ", m.Text)
	default:
		t.indent("", "    meanwhile:", "     ", m.Text)
	}
}

// evidence names the events of a finding, and says since when and until when it was so: nil, from the first of them to
// the last.
func (t *text) evidence(list []findings.Evidence, since, until *time.Time) string {
	const layout = "15:04:05.000"
	clock := func(e findings.Evidence) string { return t.when(e.Time, e.BootNS, layout) }
	span := ""
	if since != nil && until != nil && !since.Equal(*until) {
		if from, to := t.when(since, 0, layout), t.when(until, 0, layout); from != to {
			span = "; from " + from + " to " + to
		}
	}
	if len(list) == 0 {
		return strings.TrimPrefix(span, "; ")
	}
	first, last := list[0], list[0]
	s := humanize.Nouns(uint64(len(list)), "event")
	for i, e := range list {
		if i > 0 {
			s += ","
		}
		s += fmt.Sprintf(" %d", e.Seq)
		if e.BootNS < first.BootNS {
			first = e
		}
		if e.BootNS > last.BootNS {
			last = e
		}
	}
	switch {
	case span != "":
		return s + span
	case clock(first) == clock(last):
		return s + " at " + clock(first)
	}
	return s + " from " + clock(first) + " to " + clock(last)
}

// connections says what became of connections, where more than accept is recorded.
func (t *text) connections() {
	c := &t.r.Connections
	if !c.Recorded {
		return
	}
	count := func(n uint64) string { return bound(n, t.r.Doubts.Connections) }
	t.WriteByte('\n')
	head := fmt.Sprintf(" %s queued, %s accepted, %s closed", count(c.Queued), count(c.Accepted), count(c.Closed))
	if !c.AcceptsRecorded {
		head = fmt.Sprintf(" %s queued, %s closed", count(c.Queued), count(c.Closed))
	}
	if c.Before > 0 {
		head += fmt.Sprintf("; %s there before", count(c.Before))
	}
	if c.BeginUnknown > 0 {
		head += fmt.Sprintf("; %s whose beginning is missing", about(c.BeginUnknown, true))
	}
	t.line(bold, count(c.Seen)+" "+humanize.Nouns(c.Seen, "connection")+":", head)
	var rows [][]string
	for _, e := range c.Ends {
		rows = append(rows, []string{"  " + t.ended(e), string(e.Reason) + t.silent(c, e.Reason, e.Count)})
	}
	t.list(rows)
	if n := c.Dead; n > 0 {
		t.line(amber, "  "+count(n), fmt.Sprintf(" of the accepted %s dead on arrival: reset while in the queue",
			humanize.Were(n)))
	}
	if n := c.RefusedSYN + c.RefusedACK; n > 0 {
		kinds := count(c.RefusedSYN) + " " + humanize.Nouns(c.RefusedSYN, "SYN")
		if c.RefusedACK > 0 {
			kinds += ", " + count(c.RefusedACK) + " " + humanize.Nouns(c.RefusedACK, "last ACK")
		}
		t.fold(red, "  "+count(n), fmt.Sprintf("%s of new clients refused: the accept queue was full (%s)",
			humanize.Nouns(n, "packet"), kinds))
	}
	if n := c.RefusedSYNQueue; n > 0 {
		t.line(red, "  "+count(n), " "+humanize.Nouns(n, "SYN")+" refused: the SYN queue was full")
	}
	for _, x := range []struct {
		n   uint64
		say string
	}{
		{c.TurnedAway, "of the accepted turned away: the server closed within a second, read no byte and sent none"},
		{c.Unread, "of the accepted closed unread: the server sent something, read no byte, and closed within a second"},
		{c.Unanswered, "of the accepted left unanswered: the client sent something, and left before a byte came back"},
		{c.Probes, "of the accepted left without a byte: the client left, and neither side had sent one (a check, or " +
			"a scan)"},
	} {
		if x.n > 0 {
			t.fold("", "  "+count(x.n), x.say)
		}
	}
	if n := c.Discarded; n > 0 {
		t.fold("", "  "+count(n), fmt.Sprintf("more %s made and dropped at once: two CPUs ended one handshake at the "+
			"same time",
			humanize.Nouns(n, "socket")+" "+humanize.Were(n)))
	}
	rows = nil
	for _, q := range []struct {
		name string
		of   stats.Quantiles
		ends bool // by how connections ended
	}{{"refused", c.RefusedFor, false}, {"handshake", c.Handshake, false}, {"accept queue", c.QueueWait, false},
		{"queue, never accepted", c.NeverWait, true}, {"served", c.Served, false}, {"closing", c.Closing, false}} {
		if q.of.Count > 0 {
			doubt := t.r.Doubts.Connections
			about, most := mark(doubt, q.of.AtLeast > 0), mark(q.ends && t.r.Doubts.Ends, doubt || q.of.AtLeast > 0)
			rows = append(rows, quantileRow(q.name, &q.of, about, most))
		}
	}
	if len(rows) > 0 {
		t.WriteByte('\n')
		t.print(layout(t.o.Width, quantileColumns("time in"), rows))
	}
}

// silent says how many of the connections with an end were there all the time without an event.
func (t *text) silent(c *conntrack.ConnectionTotals, end conntrack.End, count uint64) string {
	switch n := c.Silent - c.SilentWaiting - c.SilentGone; {
	case end.Waiting() && c.SilentWaiting > 0:
		return fmt.Sprintf(", %s since %s", Count(c.SilentWaiting), t.whole().Before())
	case end.Open() && n > 0:
		if n == 1 && count == 1 {
			return ", nothing happened to it"
		}
		return fmt.Sprintf(", nothing happened to %s of them", Count(n))
	}
	return ""
}

// ended writes how many connections ended in one way. Which were open where a capture stops
// is known if nothing before is missing.
func (t *text) ended(e conntrack.EndCount) string {
	switch d := &t.r.Doubts; {
	case d.Ends:
		return about(e.Count, true)
	case e.Reason.Told():
		return bound(e.Count, d.Connections)
	case e.Reason.SoFar():
		return Count(e.Count)
	case e.Reason == conntrack.EndRefused:
		return bound(e.Count, d.Connections)
	default:
		return about(e.Count, d.Connections)
	}
}
