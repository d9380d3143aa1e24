// Package report writes results of analysis for people and for programs.
package report

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/audit"
	"github.com/acc-project/acc/format"
)

// TextOptions say how the screen looks.
type TextOptions struct {
	Color bool
	Width int // columns; 0: 100, at least 60
}

// text collects the screen.
type text struct {
	bytes.Buffer
	o    TextOptions
	r    *analysis.Result
	zone *time.Location
}

// Text writes the result as one screen: what the capture is and how complete,
// what happened, what failed, how long it took, and by whom; and at the end what
// was found, worst first. A figure marked ≥ can't be less in the whole capture, one
// marked ~ may differ; the lines that begin with INCOMPLETE say why. Times are in the zone of the recorded
// host. Nothing in it can steer a terminal.
func Text(w io.Writer, r *analysis.Result, o TextOptions) error {
	o.Width = max(cmp.Or(o.Width, 100), 60)
	t := &text{o: o, r: r, zone: Zone(r.Capture.ZoneSec)}
	t.head()
	t.totals()
	t.times()
	t.connections()
	t.listeners()
	t.people()
	t.footnotes()
	t.findings()
	_, err := w.Write(t.Bytes())
	return err
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

// line writes one line, cut to the width, its head in a style.
func (t *text) line(code, head, rest string) {
	if n := t.o.Width - utf8.RuneCountInString(head); utf8.RuneCountInString(rest) > n {
		rest = cut(rest, n)
	}
	t.WriteString(t.style(code, head) + rest + "\n")
}

// fold writes a sentence over as many lines as it needs.
func (t *text) fold(code, head, rest string) { t.indent(code, head, " ", rest) }

// indent does so with lines after the first one set in.
func (t *text) indent(code, head, margin, rest string) {
	column := utf8.RuneCountInString(head)
	t.WriteString(t.style(code, head))
	for word := range strings.FieldsSeq(rest) {
		n := utf8.RuneCountInString(word)
		if column+1+n > t.o.Width {
			t.WriteString("\n" + margin)
			column = len(margin)
		}
		t.WriteString(" " + cut(word, t.o.Width-len(margin)-2))
		column += 1 + n
	}
	t.WriteByte('\n')
}

// cut shortens a text to n characters, the last of which then is an ellipsis.
func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:max(n-1, 0)]) + "…"
}

// bound writes a count that loss makes a lower bound if doubt says so.
func bound(n uint64, doubt bool) string {
	if doubt {
		return "≥" + Count(n)
	}
	return Count(n)
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

// table lays out rows of cells that are separated by tabs, each row a line that
// fits the width.
func (t *text) table(width int, head string, rows []string) []string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	for _, row := range append([]string{head}, rows...) {
		fmt.Fprintln(w, row)
	}
	w.Flush()
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	for i := range lines {
		lines[i] = cut(strings.TrimRight(lines[i], " "), width)
	}
	return lines
}

func (t *text) print(lines []string) {
	for i, l := range lines {
		if i == 0 {
			l = t.style(bold, l)
		}
		t.WriteString(l + "\n")
	}
}

func (t *text) head() {
	c := &t.r.Capture
	t.line(bold, "accept", fmt.Sprintf(" on %s, Linux %s, %s probes, by %s", name(c.Host), name(c.Kernel), name(c.Mode), name(c.Tool)))
	d := &t.r.Doubts
	t.line("", "", fmt.Sprintf("%s (%s%s), %s events", t.span(), mark(false, d.Span), Duration(c.DurationNS), bound(c.Events, d.Attempts || d.Outcomes || d.Connections)))
	t.state()
	switch v := &t.r.Witness; v.Verdict {
	case analysis.WitnessAgrees, analysis.WitnessExplained:
		t.fold("", "cross-check with kernel counters:", v.Text)
	case analysis.WitnessPartly:
		t.fold(amber, "cross-check with kernel counters:", v.Text)
	case analysis.WitnessDiffers:
		t.fold(red, "cross-check with kernel counters:", v.Text)
	case analysis.WitnessSilent:
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

// state says whether the file is intact and the recording complete.
func (t *text) state() {
	const marks = "≥ marks what may be more, ~ what may differ"
	f, r := &t.r.Integrity, &t.r.Recording
	text := "recording " + RecordingState(r)
	if !t.r.Complete {
		text += "; " + marks
	}
	switch {
	case f.State != audit.Intact:
		t.fold(red, "file", FileState(f))
		t.fold(red, "recording", strings.TrimPrefix(text, "recording "))
	case r.State != audit.Complete:
		t.fold(red, "file intact; recording", strings.TrimPrefix(text, "recording "))
	default:
		t.fold("", "file", FileState(f)+"; "+text)
	}
}

// span is from when to when the capture is.
func (t *text) span() string {
	c := &t.r.Capture
	if c.Start == nil || c.End == nil {
		return fmt.Sprintf("%s – %s, the date is not known: the header is lost", format.AppendBoot(nil, c.StartNS), format.AppendBoot(nil, c.StartNS+c.DurationNS))
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
		waits = fmt.Sprintf(", %s that wait (io_uring)", t.outcomes(x.Armed))
	}
	t.line(bold, t.attempts(x.Attempts)+" attempts:", fmt.Sprintf(" %s accepted, %s failed, %s without a return%s",
		t.outcomes(x.Accepted), t.outcomes(x.Failed), t.open(x.EntryOnly), waits))
	if x.ClientsLost > 0 {
		t.line(red, "  "+t.outcomes(x.ClientsLost), " of the failed had taken a connection, which was lost with it")
	}
	if x.ClosedEarly > 0 {
		t.line(amber, "  "+t.outcomes(x.ClosedEarly), " accepted when the peer had reset them already")
	}
	if x.Restarted > 0 {
		t.line("", "", fmt.Sprintf("  %s interrupted by a signal and begun anew: %s calls", t.outcomes(x.Restarted), about(x.Calls, t.r.Doubts.Attempts || t.r.Doubts.Outcomes)))
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
	var rows []string
	for _, e := range t.r.Errors {
		where := ""
		if n := len(e.Listeners); n == 1 && len(t.r.Listeners) > 1 {
			where = "on " + e.Listeners[0].Addr + ": "
		}
		rows = append(rows, fmt.Sprintf("  %s\t%s\t%s", t.outcomes(e.Count), cmp.Or(e.Name, fmt.Sprint(e.Errno)), where+e.Meaning))
	}
	for _, u := range t.r.Unpaired {
		rows = append(rows, fmt.Sprintf("  %s\t%s\t%s", t.open(u.Count), u.Why, whys[u.Why]))
	}
	if len(rows) > 0 {
		for _, l := range t.table(t.o.Width, rows[0], rows[1:]) {
			t.WriteString(l + "\n")
		}
	}
}

// whys explain the reasons for attempts with one event.
var whys = map[analysis.Why]string{
	analysis.WhyBlocked:    "still waiting in accept when recording ended",
	analysis.WhyReturnLost: "their return was lost, the ring buffer was full",
	analysis.WhyMissed:     "their return was missed, the kernel did not run the probe",
	analysis.WhyEnterLost:  "counted above; their entry was lost or missed, so their wait is not known",
	analysis.WhyBegan:      "counted above; they waited in accept already when recording began",
	analysis.WhyDenied:     "counted above; seccomp refused the call before it came to accept",
	analysis.WhyTruncated:  "the capture stops before what would tell",
	analysis.WhySkipped:    "the other event may be in a part that was left out",
	analysis.WhyLimit:      "too many threads were in accept at once to follow them",
	analysis.WhyUnknown:    "the capture does not tell what became of their other event",
}

func (t *text) times() {
	about, most := "", ""
	if t.r.Doubts.Waits {
		about, most = "~", "≥"
	}
	var rows []string
	row := func(name string, q analysis.Quantiles) {
		if q.Count > 0 {
			rows = append(rows, fmt.Sprintf("  %s\t%s%s\t%s%s\t%s%s\t%s%s", name, about, Duration(q.P50), about, Duration(q.P90), about, Duration(q.P99),
				most, Duration(q.Max)))
		}
	}
	row("accepted", t.r.Wait)
	row("failed", t.r.FailedWait)
	if len(rows) > 0 {
		t.WriteByte('\n')
		t.print(t.table(t.o.Width, "time in accept\tp50\tp90\tp99\tmax", rows))
	}
	r := &t.r.Rate
	if r.Peak > 0 {
		m := mark(t.r.Doubts.Span, t.r.Doubts.Outcomes)
		s := fmt.Sprintf(" mean %s%s, peak %s%s at %s", m, rate(r.Mean), m, rate(r.Peak), t.when(r.PeakAt, r.PeakNS, "15:04:05"))
		t.line(bold, "accepted a second:", s+"  "+Spark(r.Buckets, max(t.o.Width-22-utf8.RuneCountInString(s), 8)))
	}
}

func (t *text) listeners() {
	if len(t.r.Listeners) == 0 {
		return
	}
	var rows []string
	recorded, d := t.r.Connections.Recorded, &t.r.Doubts
	more, waits := mark(false, d.Attempts || d.Outcomes || d.Connections), d.Waits
	if recorded {
		waits = d.Connections
	}
	for _, l := range t.r.Listeners {
		comms := make([]string, min(len(l.Comms), 2))
		for i := range comms {
			comms[i] = cut(format.Quote(l.Comms[i]), 15)
		}
		by := strings.Join(comms, " ")
		if n := len(l.PIDs); n > 1 {
			by += fmt.Sprintf(" (%d)", n)
		}
		if by == "" {
			by = cut(l.Owner, 21)
		}
		queue := more + queueHigh(&l)
		wait, q := "-", l.Wait
		if recorded {
			q = analysis.Quantiles{}
			if l.Life != nil {
				q = l.Life.QueueWait
			}
		}
		if q.Count > 0 {
			wait = mark(waits, q.AtLeast > 0) + Duration(q.P99)
		}
		accepted, failed, waiting := t.outcomes(l.Accepted), t.outcomes(l.Failed), t.open(l.Waiting)
		if d.Span && l.Waiting == 0 && t.cut() { // who was is told at the end
			waiting = "?"
		}
		if recorded && !t.r.Connections.AcceptsRecorded {
			accepted, failed, waiting = "-", "-", "-"
		}
		rows = append(rows, fmt.Sprintf("  %s\t%s\t%s\t%s\t%s\t%s\t%s\t%s", cut(l.Addr, 30)+t.space(&l), by, accepted, failed, queue,
			wait, waiting, Spark(l.Timeline.Accepted, 16)))
	}
	t.WriteByte('\n')
	head := "p99 in call"
	if recorded {
		head = "p99 queued"
	}
	t.print(t.table(t.o.Width, "listener\tby\taccepted\tfailed\tqueue high\t"+head+"\tin accept\t", rows))
	for i := range t.r.Listeners {
		t.limits(&t.r.Listeners[i])
	}
	t.more(t.r.Others.Listeners, "listeners")
	for _, l := range t.r.Listeners {
		if len(l.TaskNetNS) > 0 {
			t.fold(amber, "  "+l.Addr+t.space(&l)+":", fmt.Sprintf("accepted from another network namespace (%s); the socket is in %d", joinNumbers(l.TaskNetNS), l.NetNS))
		}
	}
}

// space says in which network namespace a listener is where another one has its address in another one.
func (t *text) space(l *analysis.ListenerInfo) string {
	for i := range t.r.Listeners {
		if o := &t.r.Listeners[i]; (l.LPort != 0 || strings.HasPrefix(l.Addr, "@")) && o.Addr == l.Addr && o.NetNS != l.NetNS {
			return fmt.Sprintf(" netns %d", l.NetNS)
		}
	}
	return ""
}

func joinNumbers(list []uint32) string {
	var words []string
	for _, n := range list {
		words = append(words, strconv.FormatUint(uint64(n), 10))
	}
	return strings.Join(words, ", ")
}

func plural(n uint64) string {
	if n == 1 {
		return ""
	}
	return "s"
}

func (t *text) more(n int, what string) {
	if n > 0 {
		t.line("", "", fmt.Sprintf("  … and %s more %s (--top)", bound(uint64(n), t.r.Doubts.Lists), what))
	}
}

// people shows processes, and peers at their right where there is room.
func (t *text) people() {
	peerWidth, gap := 30, 3
	procWidth := t.o.Width
	elsewhere := slices.ContainsFunc(t.r.Processes, func(p analysis.ProcessInfo) bool { return p.OtherMounts })
	beside := t.o.Width >= 90 && len(t.r.Peers) > 0 && len(t.r.Processes) > 0 && !elsewhere
	if beside {
		procWidth -= peerWidth + gap
	}
	var procs, peers []string
	for _, p := range t.r.Processes {
		exe := format.Quote(p.Exe) + home(&p)
		if p.OtherMounts {
			exe = cutFront(format.Quote(p.Exe), 24) + " (in another mount namespace)" + home(&p)
		}
		procs = append(procs, fmt.Sprintf("  %s\t%d\t%s\t%s\t%s", cut(format.Quote(p.Comm), 20), p.PID, t.outcomes(p.Accepted), t.outcomes(p.Failed), exe))
	}
	for _, p := range t.r.Peers {
		peers = append(peers, fmt.Sprintf("  %s\t%s", p.Addr, t.outcomes(p.Accepted)))
	}
	left := t.table(procWidth, "process\tpid\taccepted\tfailed\texecutable", procs)
	right := t.table(t.o.Width, "peer\taccepted", peers)
	if beside {
		for _, l := range right {
			beside = beside && utf8.RuneCountInString(l) <= peerWidth // long IPv6 addresses go below
		}
	}
	switch {
	case beside:
		t.WriteByte('\n')
		t.print(join(left, right, procWidth+gap))
	default:
		if len(procs) > 0 {
			t.WriteByte('\n')
			t.print(t.table(t.o.Width, "process\tpid\taccepted\tfailed\texecutable", procs))
		}
		if len(peers) > 0 {
			t.WriteByte('\n')
			t.print(right)
		}
	}
	for _, p := range t.r.Processes {
		if p.OtherMounts { // where any file can have any path
			t.indent(amber, fmt.Sprintf("  pid %d:", p.PID), "    ", format.Quote(p.Exe)+" in another mount namespace is "+fileWords(p.ExeDev, p.ExeInode))
		}
	}
	t.more(t.r.Others.Processes, "processes")
	t.more(t.r.Others.Peers, "peers")
}

// fileWords is which file an executable is, whatever its path says.
func fileWords(dev string, inode uint64) string {
	if inode == 0 {
		return "file not known"
	}
	return fmt.Sprintf("dev %s inode %d", format.Quote(dev), inode)
}

// cutFront shortens a path to its last n characters.
func cutFront(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return "…" + string(r[len(r)-n+1:])
	}
	return s
}

// home says to which pod, container or unit a process belongs, "" if to none.
func home(p *analysis.ProcessInfo) string {
	id := format.Quote(p.Container[:min(12, len(p.Container))])
	switch {
	case p.Pod != "":
		return " in pod " + format.Quote(p.Pod)
	case id != "" && p.Runtime != "":
		return " in " + format.Quote(p.Runtime) + " " + id
	case id != "":
		return " in " + id
	case p.Unit != "":
		return " of " + format.Quote(p.Unit)
	}
	return ""
}

// join sets lines beside each other, the right ones at a column.
func join(left, right []string, column int) []string {
	lines := make([]string, max(len(left), len(right)))
	for i := range lines {
		l, r := "", ""
		if i < len(left) {
			l = left[i]
		}
		if i < len(right) {
			r = right[i]
		}
		if r != "" {
			l += strings.Repeat(" ", column-utf8.RuneCountInString(l))
		}
		lines[i] = l + r
	}
	return lines
}

func (t *text) footnotes() {
	if len(t.r.Caveats)+len(t.r.Capture.Limits)+len(t.r.Witness.NotShown) > 0 {
		t.WriteByte('\n')
	}
	for _, c := range t.r.Caveats {
		t.fold(red, "INCOMPLETE ("+c.ID+"):", c.Text)
	}
	for _, l := range t.r.Capture.Limits {
		t.fold(amber, "not shown:", format.Quote(l))
	}
	for _, text := range t.r.Witness.NotShownTexts() {
		t.fold(amber, "not shown:", text)
	}
}
