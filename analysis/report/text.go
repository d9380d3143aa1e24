// Package report writes results of analysis: text for people, JSON for programs.
//
// Exported names may change until version 1; CHANGELOG.md says which changed. The JSON is
// stable by docs/JSON.md; the text is not.
package report

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/acc-project/acc/analysis/listeners"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/audit"
	"github.com/acc-project/acc/analysis/crosscheck"
	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/analysis/pairing"
	"github.com/acc-project/acc/analysis/stats"
	"github.com/acc-project/acc/format"
)

// TextOptions say how the screen looks.
type TextOptions struct {
	Color  bool
	Width  int            // columns; 0: 100, at least 60
	Height int            // lines of the terminal, of which one is for the prompt; 0: not known, or no terminal
	Zone   *time.Location // of times; nil: that of the recorded host
}

// text collects the screen.
type text struct {
	bytes.Buffer
	o    TextOptions
	r    *analysis.Result
	zone *time.Location
}

// Text writes the result for a person: the answer in at most five lines, then what the
// capture is, what happened, what failed, how long it took, by whom, and the findings
// in full; and once more the answer if all that is longer than the terminal. A
// figure marked ≥ can't be less in the whole capture, one marked ~ may differ; the
// lines that begin with INCOMPLETE say why. Nothing in it can steer a terminal.
func Text(w io.Writer, r *analysis.Result, o TextOptions) error {
	t := newText(r, o)
	t.answer()
	t.WriteByte('\n')
	t.head()
	t.marks()
	t.totals()
	t.times()
	t.connections()
	t.listeners()
	t.processes()
	t.footnotes()
	t.findings()
	if o.Height > 0 && bytes.Count(t.Bytes(), []byte{'\n'}) >= o.Height {
		t.WriteByte('\n')
		t.answer() // which has scrolled off the screen
	}
	_, err := w.Write(t.Bytes())
	return err
}

// marks lists what was noted while it was recorded.
func (t *text) marks() {
	for _, m := range t.r.Marks[:min(len(t.r.Marks), maxShownMarks)] {
		at := "at a time that is not known"
		if m.At != nil {
			at = m.At.In(t.zone).Format("15:04:05.000")
		}
		t.fold("", "mark "+at+":", format.Quote(m.Text))
	}
	if n := len(t.r.Marks) - maxShownMarks; n > 0 {
		t.fold("", "mark", "and "+many(uint64(n), "more"))
	}
}

// maxShownMarks is how many are listed on a screen.
const maxShownMarks = 20

// newText begins a screen.
func newText(r *analysis.Result, o TextOptions) *text {
	o.Width = max(cmp.Or(o.Width, 100), 60)
	if o.Zone == nil {
		o.Zone = Zone(r.Capture.ZoneSec)
	}
	return &text{o: o, r: r, zone: o.Zone}
}

// Zone is a capture's own time zone, sec seconds east of UTC.
func Zone(sec int) *time.Location {
	if sec == 0 {
		return time.UTC
	}
	return time.FixedZone("", sec)
}

const (
	bold  = "1"
	red   = "31"
	amber = "33"
)

func (t *text) style(code, s string) string {
	if !t.o.Color || s == "" || code == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// bound writes a count that loss makes a lower bound if doubt says so.
func bound(n uint64, doubt bool) string {
	if doubt {
		return "≥" + Count(n)
	}
	return Count(n)
}

// boundOf does so with what is counted.
func boundOf(n uint64, what string, doubt bool) string {
	return bound(n, doubt) + " " + humanize.Nouns(n, what)
}

// about writes a count that may differ either way if doubt says so.
func about(n uint64, doubt bool) string {
	switch {
	case doubt && n == 0:
		return "≥0"
	case doubt:
		return "~" + Count(n)
	}
	return Count(n)
}

// mark is what stands before a figure: ~ if it may differ, else ≥ if it may be more.
func mark(differs, more bool) string {
	switch {
	case differs:
		return "~"
	case more:
		return "≥"
	}
	return ""
}

func (t *text) attempts(n uint64) string {
	if t.r.Doubts.Parts {
		return about(n, true)
	}
	return bound(n, t.r.Doubts.Attempts)
}

// open writes a count of what had no end yet.
func (t *text) open(n uint64) string { return about(n, t.r.Doubts.Parts || t.r.Doubts.Span) }

func (t *text) outcomes(n uint64) string { return bound(n, t.r.Doubts.Outcomes) }

// cut reports whether the capture stops before its end.
func (t *text) cut() bool {
	return slices.ContainsFunc(t.r.Caveats, func(c analysis.Caveat) bool { return c.ID == "truncated" })
}

func (t *text) head() {
	c := &t.r.Capture
	t.line(bold, "accept", fmt.Sprintf(" on %s, Linux %s, %s probes, by %s", name(c.Host), name(c.Kernel), name(c.Mode),
		name(c.Tool)))
	d := &t.r.Doubts
	t.line("", "", fmt.Sprintf("%s (%s%s), %s", t.span(), mark(false, d.Span), Duration(c.DurationNS),
		boundOf(c.Events, "event", d.Attempts || d.Outcomes || d.Connections)))
	t.state()
	switch v := &t.r.CrossCheck; v.Verdict {
	case crosscheck.VerdictAgrees, crosscheck.VerdictExplained:
		t.fold("", "cross-check with kernel counters:", v.Text)
	case crosscheck.VerdictPartly:
		t.fold(amber, "cross-check with kernel counters:", v.Text)
	case crosscheck.VerdictDiffers:
		t.fold(red, "cross-check with kernel counters:", v.Text)
	case crosscheck.VerdictSilent:
		if c.EndReason != "" { // each recorder that ends in order reads them
			t.fold(amber, "cross-check with kernel counters:", v.Text)
		}
	}
	for _, f := range c.Filters {
		why := format.Quote(f)
		if !t.r.Connections.AcceptsRecorded {
			why += " (accepts: who took whom, the waits in the queue, and most of what findings are about)"
		}
		t.fold(amber, "left out on purpose:", why)
	}
}

// state says in full why the file is not intact or the recording not complete: the first
// line has no room for that.
func (t *text) state() {
	switch f, r := &t.r.Integrity, &t.r.Recording; {
	case f.State != audit.Intact:
		t.fold(red, "file", FileState(f))
		t.fold(red, "recording", RecordingState(r))
	case cells(t.verdict()) > t.o.Width:
		code := red
		if r.State == audit.Complete {
			code = ""
		}
		t.fold(code, "file intact; recording", RecordingState(r))
	}
	if !t.r.Complete {
		t.line("", "", "≥ marks what may be more, ~ what may differ")
	}
}

// span is from when to when the capture is.
func (t *text) span() string {
	c := &t.r.Capture
	if c.Start == nil || c.End == nil {
		return fmt.Sprintf("%s – %s, the date is not known: the header is lost", format.AppendBoot(nil, c.StartNS),
			format.AppendBoot(nil, c.StartNS+c.DurationNS))
	}
	start, end := c.Start.In(t.zone), c.End.In(t.zone)
	ends := end.Format("15:04:05")
	if start.Format(time.DateOnly) != end.Format(time.DateOnly) {
		ends = end.Format("2006-01-02 15:04:05")
	}
	return start.Format("2006-01-02 15:04:05") + " – " + ends + start.Format(" -07:00")
}

// when is a time of the capture, by the boot clock if that is all that is known.
func (t *text) when(at *time.Time, bootNS int64, layout string) string {
	if at == nil {
		return string(format.AppendBoot(nil, bootNS))
	}
	return at.In(t.zone).Format(layout)
}

// name is a name from the capture, or a question mark without one.
func name(s string) string { return cmp.Or(format.Quote(s), "?") }

func (t *text) totals() {
	x := &t.r.Totals
	if c := &t.r.Connections; c.Recorded && !c.AcceptsRecorded {
		return
	}
	t.WriteByte('\n')
	waits := ""
	if x.Armed > 0 {
		waits = fmt.Sprintf(", %s armed (io_uring requests that wait)", t.outcomes(x.Armed))
	}
	open := ""
	if x.EntryOnly > 0 {
		open = fmt.Sprintf(", %s without a return", t.open(x.EntryOnly))
	}
	t.line(bold, t.attempts(x.Attempts)+" "+humanize.Nouns(x.Attempts, "attempt")+":",
		fmt.Sprintf(" %s accepted, %s failed%s%s",
			t.outcomes(x.Accepted), t.outcomes(x.Failed), open, waits))
	t.counted()
	if x.ClientsLost > 0 {
		t.line(red, "  "+t.outcomes(x.ClientsLost), " of the failed had taken a connection, which was lost with it")
	}
	if x.ClosedEarly > 0 {
		t.line(amber, "  "+t.outcomes(x.ClosedEarly), " accepted after the peer had reset "+themOrIt(x.ClosedEarly))
	}
	if x.Restarted > 0 {
		t.line("", "", fmt.Sprintf("  %s interrupted by a signal and begun anew: %s %s", t.outcomes(x.Restarted),
			about(x.Calls, t.r.Doubts.Attempts || t.r.Doubts.Outcomes), humanize.Nouns(x.Calls, "call")))
	}
	var ways []string
	for _, v := range t.r.Via {
		if v.Via != "accept" && v.Via != "accept4" {
			ways = append(ways, t.attempts(v.Count)+" by way of "+v.Via)
		}
	}
	if len(ways) > 0 {
		t.line("", "", "  "+strings.Join(ways, ", "))
	}
	if len(t.r.MultishotEnds) > 0 {
		var ends []string
		n := uint64(0)
		for _, e := range t.r.MultishotEnds {
			n += e.Count
			ends = append(ends, t.outcomes(e.Count)+" "+e.Reason)
		}
		t.fold("", "  "+t.outcomes(n), fmt.Sprintf("multishot accept%s ended: %s", plural(n), strings.Join(ends, ", ")))
	}
	var rows [][]string
	for _, e := range t.r.Errors {
		where := ""
		if n := len(e.Listeners); n == 1 && len(t.r.Listeners) > 1 {
			where = "on " + e.Listeners[0].Addr + ": "
		}
		rows = append(rows, []string{"  " + t.outcomes(e.Count), cmp.Or(e.Name, fmt.Sprint(e.Errno)),
			where + e.Meaning})
	}
	for _, u := range t.r.Unpaired {
		rows = append(rows, []string{"  " + t.open(u.Count), string(u.Why), t.why(u.Why)})
	}
	t.list(rows)
}

// counted lists failed calls that were counted instead of recorded.
func (t *text) counted() {
	if t.r.Totals.Counted == 0 {
		return
	}
	t.fold(amber, "  and "+Count(t.r.Totals.Counted), "failed "+humanize.Nouns(t.r.Totals.Counted, "call")+
		" that acc counted instead of recording each, beyond the rate of failures that it records:")
	for i := range t.r.Counted {
		c := &t.r.Counted[i]
		if c.Calls == 0 {
			continue
		}
		where, span := "", Duration(c.LastNS-c.FirstNS)
		if c.Addr != "" {
			where = " on " + c.Addr
		}
		if c.First != nil {
			span += " from " + c.First.In(t.zone).Format("15:04:05.000")
		}
		t.fold("", "    "+Count(c.Calls), fmt.Sprintf("%s by %s%s, in %s", cmp.Or(c.Name, "errors"), c.Who(), where, span))
	}
	if n := t.r.Others.Counted; n > 0 {
		t.fold("", "    and", many(uint64(n), "more row"))
	}
}

// whys explain the reasons for attempts with one event.
var whys = map[pairing.Why]string{
	pairing.WhyBlocked:    "still waiting in accept ",
	pairing.WhyReturnLost: "their return was lost, the ring buffer was full",
	pairing.WhyMissed:     "their return was missed, the kernel did not run the probe",
	pairing.WhyEnterLost:  "counted above; their entry was lost or missed, so their wait is not known",
	pairing.WhyBegan:      "counted above; they waited in accept already ",
	pairing.WhyDenied:     "counted above; seccomp refused the call before it came to accept",
	pairing.WhyLeftOut:    "counted above; their entry was left out, so their wait is not known",
	pairing.WhyTruncated:  "the capture stops before what would tell",
	pairing.WhySkipped:    "the other event may be in a part that was left out",
	pairing.WhyLimit:      "too many threads were in accept at once to follow them",
	pairing.WhyUnknown:    "the capture does not tell what became of their other event",
}

// why explains a reason for attempts with one event.
func (t *text) why(w pairing.Why) string {
	switch w {
	case pairing.WhyBlocked:
		return whys[w] + t.whole().Ended()
	case pairing.WhyBegan:
		return whys[w] + t.whole().Began()
	}
	return whys[w]
}

// whole has what the header says of cuts.
func (t *text) whole() *format.Header { return &format.Header{Cuts: t.r.Capture.Cuts} }

// quantileColumns are those of a table of durations.
func quantileColumns(what string) []column {
	return []column{{head: what}, {head: "p50", yield: 1}, {head: "p90", yield: 2}, {head: "p99"}, {head: "max"}}
}

// quantileRow is a row of it; about marks the quantiles, most the longest.
func quantileRow(name string, q *stats.Quantiles, about, most string) []string {
	at := func(ns int64) string { return about + Duration(ns) }
	return []string{"  " + name, at(q.P50), at(q.P90), at(q.P99), most + Duration(q.Max)}
}

func (t *text) times() {
	about, most := "", ""
	if t.r.Doubts.Waits {
		about, most = "~", "≥"
	}
	var rows [][]string
	for _, q := range []struct {
		name string
		of   stats.Quantiles
	}{{"accepted", t.r.Wait}, {"failed", t.r.FailedWait}} {
		if q.of.Count > 0 {
			rows = append(rows, quantileRow(q.name, &q.of, about, most))
		}
	}
	if len(rows) > 0 {
		t.WriteByte('\n')
		t.print(layout(t.o.Width, quantileColumns("time in accept"), rows))
	}
	r := &t.r.Rate
	if r.Peak > 0 {
		m := mark(t.r.Doubts.Span, t.r.Doubts.Outcomes)
		s := fmt.Sprintf(" mean %s%s, peak %s%s at %s", m, rate(r.Mean), m, rate(r.Peak),
			t.when(r.PeakAt, r.PeakNS, "15:04:05"))
		if bars := Spark(r.Buckets, max(t.o.Width-22-cells(s), 8)); bars != "" {
			s += "  " + bars
		}
		t.line(bold, "accepted a second:", s)
	}
}

func themOrIt(n uint64) string {
	if n == 1 {
		return "it"
	}
	return "them"
}

func plural(n uint64) string {
	if n == 1 {
		return ""
	}
	return "s"
}

func (t *text) more(n int, what string) {
	if n > 0 {
		t.line("", "", fmt.Sprintf("  … and %s (--top)", boundOf(uint64(n), "more "+what, t.r.Doubts.Lists)))
	}
}

func (t *text) footnotes() {
	if len(t.r.Caveats)+len(t.r.Capture.Limits)+len(t.r.CrossCheck.NotShown)+len(t.r.SelfTests) > 0 {
		t.WriteByte('\n')
	}
	for _, c := range t.r.Caveats {
		t.fold(red, "INCOMPLETE ("+c.ID+"):", c.Text)
	}
	for _, l := range t.r.Capture.Limits {
		t.fold(amber, "not shown:", format.Quote(l))
	}
	for _, text := range t.r.CrossCheck.NotShownTexts() {
		t.fold(amber, "not shown:", text)
	}
	if list := t.r.SelfTests; len(list) > 0 {
		t.fold(amber, "left out of findings:", selfTestWords(list))
	}
}

// selfTestWords says what other recorders did to try their probes.
func selfTestWords(list []listeners.SelfTest) string {
	var names []string
	accepted, lost := uint64(0), uint64(0)
	for _, s := range list {
		names = append(names, s.Process)
		accepted, lost = accepted+s.Accepted, lost+s.Lost
	}
	if n := len(names) - 3; n > 0 {
		names = append(names[:3], fmt.Sprintf("%d more", n))
	}
	its, it := "its", "it"
	if len(list) > 1 {
		its, it = "their", "they"
	}
	return fmt.Sprintf("%s tried %s probes when %s began to record (root ran the same executable as this recorder's): "+
		"%d accept%s and %d TCP connection%s of %s own", strings.Join(names, ", "), its, it,
		accepted, plural(accepted), lost, plural(lost), its)
}
