package htmlreport

// This file has what the page shows without its script: verdict, findings, tables.

import (
	"cmp"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/audit"
	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/format"
)

const (
	maxWorst = 50 // connections of the table that needs no script
	maxRows  = 100
)

// view is what the template shows.
type view struct {
	CSP, Title, Host, When, Made string
	Style                        template.CSS
	Script                       template.JS
	Capture                      captureView
	Chips                        []line
	Notices, Doubt               []string
	Nav                          []navigation
	FindingCounts, MoreFindings  string
	Findings                     []finding
	Tiles                        []tile
	Latency, Worst, Errors, Ends table
	Listeners, Processes, Peers  table
	Facts                        []line
	NotShown                     []string
	Kept                         string
	WorstCount                   string
	Page, Rows                   template.HTML // base64

	r    *analysis.Result
	zone *time.Location
	rows []conntrack.Connection
}

// captureView is the capture that is in the page.
type captureView struct {
	Bytes            int64
	Name, Page, Size string
	Why              string // it is not
}

type (
	line       struct{ Head, Text, Class string }
	navigation struct{ ID, Text string }
	tile       struct{ Head, Text, Note, Class string }
	event      struct{ Text, Link string }
	part       struct {
		Head, Text           string
		Because, BecauseWord string
		Events               []event
	}
	finding struct {
		ID, Severity, Text, Because, BecauseWord, Next, Span string
		Events                                               []event
		Parts                                                []part
	}
	cell  struct{ Text, Class, Link, Title string }
	table struct {
		Caption, More string
		Head          []cell
		Rows          [][]cell
	}
)

// heads makes the heads of a table: a name that begins with # is of numbers.
func heads(names ...string) (list []cell) {
	for _, n := range names {
		name, number := strings.CutPrefix(n, "#")
		c := cell{Text: name}
		if number {
			c.Class = "n"
		}
		list = append(list, c)
	}
	return list
}

// add adds a row. Cells have the class of their column, if they have none.
func (t *table) add(cells ...cell) {
	for i := range cells {
		cells[i].Class = cmp.Or(cells[i].Class, t.Head[i].Class)
	}
	t.Rows = append(t.Rows, cells)
}

func plain(texts ...string) (list []cell) {
	for _, s := range texts {
		list = append(list, cell{Text: s})
	}
	return list
}

// long is a cell of a text that can be very long.
func long(s string) cell {
	c := cell{Text: s, Class: "long"}
	if len(s) > 24 {
		c.Title = s
	}
	return c
}

func bound(n uint64, more bool) string {
	if more {
		return "≥" + report.Count(n)
	}
	return report.Count(n)
}

func (v *view) verdict() {
	r := v.r
	state, class := report.FileState(&r.Integrity), "ok"
	if r.Integrity.State != audit.Intact {
		class = "bad"
	}
	v.Chips = append(v.Chips, line{"File", state, class})
	class = "ok"
	if r.Recording.State != audit.Complete {
		class = "bad"
	}
	v.Chips = append(v.Chips, line{"Recording", report.RecordingState(&r.Recording), class})
	for _, x := range []struct {
		n int
		s findings.Severity
	}{{r.FindingCounts.Critical, findings.Critical}, {r.FindingCounts.Warning, findings.Warning},
		{r.FindingCounts.Notice, findings.Notice}} {
		if x.n > 0 {
			word := string(x.s)
			if x.s != findings.Critical {
				word = humanize.Nouns(uint64(x.n), word)
			}
			v.Chips = append(v.Chips, line{fmt.Sprint(x.n), word, string(x.s)})
		}
	}
	v.Notices = report.Notices(r.Capture.Redacted, r.Capture.Cuts)
	for _, c := range r.Caveats {
		v.Doubt = append(v.Doubt, "Incomplete ("+c.ID+"): "+c.Text)
	}
	if !r.Complete {
		v.Doubt = append(v.Doubt, "≥ marks a number that may be higher in truth, ~ one that may be lower or higher.")
	}
}

// clock writes a time of the capture.
func (v *view) clock(at *time.Time, bootNS int64) string {
	if at == nil {
		return string(format.AppendBoot(nil, bootNS))
	}
	return at.In(v.zone).Format("15:04:05.000")
}

// events names the events of a finding, each with a link to its connection, or to its time.
func (v *view) events(list []findings.Evidence) (events []event, span string) {
	for _, e := range list {
		x := event{Text: fmt.Sprint(e.Seq)}
		if i := slices.IndexFunc(v.rows, func(c conntrack.Connection) bool { return c.ID != 0 && c.Has(e.Seq) }); i >= 0 {
			x.Link = fmt.Sprintf("#c=%d", v.rows[i].ID)
		} else {
			at := float64(e.BootNS-v.r.Capture.StartNS) / 1e9
			x.Link = fmt.Sprintf("#t=%.3f,%.3f", max(at-0.5, 0), at+0.5)
		}
		events = append(events, x)
	}
	if len(list) == 0 {
		return nil, ""
	}
	byTime := func(a, b findings.Evidence) int { return cmp.Compare(a.BootNS, b.BootNS) }
	first, last := slices.MinFunc(list, byTime), slices.MaxFunc(list, byTime)
	if first.BootNS == last.BootNS {
		return events, "at " + v.clock(first.Time, first.BootNS)
	}
	return events, "from " + v.clock(first.Time, first.BootNS) + " to " + v.clock(last.Time, last.BootNS)
}

// meanwhile says what the server's threads did, if somebody looked.
func meanwhile(m *findings.Meanwhile) (word, text string) {
	switch {
	case m == nil:
		return "", ""
	case m.Because:
		return "Because", m.Text
	}
	return "Meanwhile", m.Text
}

func (v *view) findings() {
	r := v.r
	total := r.FindingCounts.Critical + r.FindingCounts.Warning + r.FindingCounts.Notice
	v.FindingCounts = "none"
	if total > 0 {
		v.FindingCounts = report.Count(uint64(total))
	}
	for i := range r.Findings {
		f := &r.Findings[i]
		x := finding{ID: f.ID, Severity: string(f.Severity), Text: f.Text, Next: f.Next}
		several := f.Listeners > 1
		if f.More > 0 && !several {
			x.Text += fmt.Sprintf("; and the same at %s of %s", humanize.Plural(uint64(f.More), "more listener"),
				f.Owner)
		}
		x.BecauseWord, x.Because = meanwhile(f.Meanwhile)
		x.Events, x.Span = v.events(f.Evidence)
		for i := range f.Parts {
			p := &f.Parts[i]
			y := part{Head: "Because of that, " + p.ID + ":", Text: p.Text}
			switch {
			case several && i == 0: // the finding itself has said all of the first
				continue
			case several && p.ID == f.ID:
				if y.Head = "Also:"; p.Severity != f.Severity {
					y.Head = "Also (" + string(p.Severity) + "):"
				}
				y.BecauseWord, y.Because = meanwhile(p.Meanwhile)
			case p.ID == f.ID:
				y.Head = "Of these:"
			}
			y.Events, _ = v.events(p.Evidence)
			x.Parts = append(x.Parts, y)
		}
		if several && f.More > 0 {
			x.Parts = append(x.Parts, part{Head: "Also:", Text: humanize.Plural(uint64(f.More), "more listener")})
		}
		v.Findings = append(v.Findings, x)
	}
	if n := r.Others.Findings; n > 0 {
		v.MoreFindings = fmt.Sprintf("and %s that this page leaves out; acc analyze --top 0 lists them",
			humanize.Plural(uint64(n), "more finding"))
	}
}

func (v *view) tiles() {
	r, c := v.r, &v.r.Connections
	d := &r.Doubts
	if !c.Recorded || c.AcceptsRecorded {
		v.Tiles = append(v.Tiles, tile{"Accepted", bound(r.Totals.Accepted, d.Outcomes),
			fmt.Sprintf("of %s to accept", bound(r.Totals.Attempts, d.Attempts)+" "+
				humanize.Nouns(r.Totals.Attempts, "attempt")), ""})
		v.Tiles = append(v.Tiles, tile{"Failed calls", bound(r.Totals.Failed, d.Outcomes), v.failedNote(), ""})
	}
	v.Tiles = append(v.Tiles, tile{"Accepted a second", rate(r.Rate.Mean), "at most " + rate(r.Rate.Peak), ""})
	if !c.Recorded {
		return
	}
	if q := c.QueueWait; q.Count > 0 {
		v.Tiles = append(v.Tiles, tile{"In the queue, p99", mark("~", d.Connections) + report.Duration(q.P99),
			"median " + report.Duration(q.P50) + ", longest " + report.Duration(q.Max), ""})
	}
	refused := tile{Head: "Packets refused", Text: bound(c.RefusedSYN+c.RefusedACK+c.RefusedSYNQueue, d.Connections),
		Note: "of new clients: a queue was full"}
	if c.RefusedSYN+c.RefusedACK+c.RefusedSYNQueue > 0 {
		refused.Class = "bad"
	}
	never := tile{Head: "Never accepted", Text: bound(c.NeverAccepted, d.Connections), Note: "of " +
		report.Count(c.Queued) + " in a queue"}
	if c.NeverAccepted > c.Waiting {
		never.Class = "bad"
	}
	v.Tiles = append(v.Tiles, refused, never)
}

// failedNote says which error was the most frequent one.
func (v *view) failedNote() string {
	if len(v.r.Errors) == 0 {
		return "none"
	}
	e := v.r.Errors[0]
	name := cmp.Or(e.Name, fmt.Sprint(e.Errno))
	if e.Count == v.r.Totals.Failed {
		return "all " + name
	}
	return report.Count(e.Count) + " " + name
}

func rate(f float64) string {
	if f >= 1000 {
		return report.Count(uint64(f + 0.5))
	}
	return humanize.Digits(f)
}

func mark(sign string, yes bool) string {
	if yes {
		return sign
	}
	return ""
}

// facts are where the capture comes from.
func (v *view) facts(h *format.Header, o *Options) {
	c := &v.r.Capture
	add := func(head, text, class string) {
		if text != "" {
			v.Facts = append(v.Facts, line{head, text, class})
		}
	}
	add("Capture", format.Quote(o.Name), "")
	add("SHA-256", o.SHA256, "mono")
	add("Chain head", o.Head, "mono")
	add("Signature", format.Quote(o.Signature), "")
	add("Verdict", v.Chips[0].Text+"; recording "+v.Chips[1].Text, "")
	add("Kernel's counters", v.r.CrossCheck.Text, "")
	add("Host", format.Quote(fmt.Sprintf("%s, Linux %s %s, %s", c.Host, c.Kernel, c.Arch,
		humanize.Plural(uint64(h.CPUs), "CPU"))), "")
	add("Recorded by", format.Quote(c.Tool+", "+c.Mode+" probes"), "")
	add("Time", v.When, "")
	add("Ended by", format.Quote(c.EndReason), "")
	add("Events", report.Count(c.Events), "")
	add("Command", format.Quote(strings.Join(h.Command, " ")), "mono")
	add("Selected", format.Quote(v.r.Recording.Selected), "")
	var probes []string
	for _, p := range h.Probes {
		probes = append(probes, p.How+" of "+p.Symbol)
	}
	add("Probes", format.Quote(strings.Join(probes, ", ")), "")
	add("Capture id", format.Quote(c.ID), "mono")
	if x := c.Redacted; x != nil {
		add("Redacted", fmt.Sprintf("made of a capture of %s with the SHA-256 %s, by %s", report.Bytes(x.Bytes),
			format.Quote(x.SHA256), format.Quote(x.Tool)), "")
		add("Kept as it was", format.Quote(strings.Join(x.Keep, ", ")), "")
	}
	for _, l := range c.Filters {
		v.NotShown = append(v.NotShown, "left out on purpose: "+format.Quote(l))
	}
	for _, l := range c.Limits {
		v.NotShown = append(v.NotShown, format.Quote(l))
	}
	v.NotShown = append(v.NotShown, v.r.CrossCheck.NotShownTexts()...)
}
