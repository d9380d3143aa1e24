// Package report writes results of analysis for people and for programs.
package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/format"
)

// TextOptions say how the screen looks.
type TextOptions struct {
	Color bool
}

// text collects the screen.
type text struct {
	bytes.Buffer
	o    TextOptions
	r    *analysis.Result
	zone *time.Location
}

// Text writes the result as one screen: what the capture is and how complete,
// what happened, what failed, how long it took, and by whom.
func Text(w io.Writer, r *analysis.Result, o TextOptions) error {
	t := &text{o: o, r: r, zone: Zone(r.Capture.ZoneSec)}
	t.head()
	t.totals()
	t.times()
	t.listeners()
	t.tables()
	t.footnotes()
	_, err := w.Write(t.Bytes())
	return err
}

// Zone is a capture's own time zone.
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
	if !t.o.Color || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// atLeast marks a count that loss makes a lower bound.
func (t *text) atLeast(n uint64) string {
	if t.r.Complete {
		return Count(n)
	}
	return "≥" + Count(n)
}

func (t *text) head() {
	c := &t.r.Capture
	start, end := c.Start.In(t.zone), c.End.In(t.zone)
	ends := end.Format("15:04:05")
	if start.Format(time.DateOnly) != end.Format(time.DateOnly) {
		ends = end.Format("2006-01-02 15:04:05")
	}
	fmt.Fprintf(t, "%s on %s, Linux %s, %s probes\n", t.style(bold, "accept"), format.Quote(c.Host), format.Quote(c.Kernel), format.Quote(c.Mode))
	fmt.Fprintf(t, "%s – %s %s (%s), %s events\n", start.Format("2006-01-02 15:04:05"), ends, start.Format("-07:00"),
		Duration(c.DurationNS), Count(c.Events))
	if t.r.Complete {
		fmt.Fprintf(t, "complete: nothing was lost or missed\n")
	} else {
		fmt.Fprintf(t, "%s counts marked ≥ may be larger, quantiles may differ; see the end\n", t.style(red, "INCOMPLETE:"))
	}
}

func (t *text) totals() {
	x := &t.r.Totals
	fmt.Fprintf(t, "\n%s attempts: %s accepted, %s failed, %s without a return\n", t.style(bold, t.atLeast(x.Attempts)),
		t.atLeast(x.Accepted), t.atLeast(x.Failed), Count(x.EntryOnly))
	if x.ClosedEarly > 0 {
		fmt.Fprintf(t, "  %s accepted when the peer had closed already\n", t.style(amber, t.atLeast(x.ClosedEarly)))
	}
	if x.Restarted > 0 {
		fmt.Fprintf(t, "  %s interrupted by a signal and begun anew\n", t.atLeast(x.Restarted))
	}
	for _, v := range t.r.Via {
		if v.Via != "accept" && v.Via != "accept4" {
			fmt.Fprintf(t, "  %s by way of %s\n", t.atLeast(v.Count), v.Via)
		}
	}
	table := t.table()
	for _, e := range t.r.Errors {
		fmt.Fprintf(table, "  %s\t%s\t%s\n", t.atLeast(e.Count), e.Errno, e.Meaning)
	}
	for _, u := range t.r.Unpaired {
		fmt.Fprintf(table, "  %s\t%s\t%s\n", Count(u.Count), u.Why, whys[u.Why])
	}
	table.Flush()
}

// whys explain the reasons for attempts with one event.
var whys = map[analysis.Why]string{
	analysis.WhyBlocked:    "still waiting in accept when recording ended",
	analysis.WhyReturnLost: "their return was lost, the ring buffer was full",
	analysis.WhyMissed:     "their return was missed, the kernel did not run the probe",
	analysis.WhyEnterLost:  "their entry was lost or missed",
	analysis.WhyTruncated:  "the capture stops before their return",
	analysis.WhySkipped:    "the other event may be in a part that was left out",
	analysis.WhyUnknown:    "the capture does not tell what became of them",
}

func (t *text) times() {
	table := t.table()
	fmt.Fprintf(table, "\ntime in accept\tp50\tp90\tp99\tmax\n")
	row := func(name string, q analysis.Quantiles) {
		if q.Count > 0 {
			fmt.Fprintf(table, "  %s\t%s\t%s\t%s\t%s\n", name, Duration(q.P50), Duration(q.P90), Duration(q.P99), Duration(q.Max))
		}
	}
	row("accepted", t.r.Wait.Accepted)
	row("failed", t.r.Wait.Failed)
	table.Flush()
	r := &t.r.Rate
	if r.Peak > 0 {
		fmt.Fprintf(t, "accepted a second: mean %s, peak %s at %s  %s\n", rate(r.Mean), rate(r.Peak), r.PeakAt.In(t.zone).Format("15:04:05"), Spark(r.Buckets, 40))
	}
}

func (t *text) listeners() {
	if len(t.r.Listeners) == 0 {
		return
	}
	table := t.table()
	fmt.Fprintf(table, "\nlistener\tby\taccepted\tfailed\twaiting\tp99 wait\tqueue\t\n")
	for _, l := range t.r.Listeners {
		comms := make([]string, len(l.Comms))
		for i, c := range l.Comms {
			comms[i] = format.Quote(c)
		}
		by := strings.Join(comms[:min(len(comms), 3)], " ")
		if n := len(l.Processes); n > 1 {
			by += fmt.Sprintf(" (%d)", n)
		}
		queue := fmt.Sprintf("%d of %d", l.QueueHigh, l.QueueMax)
		if l.Full > 0 {
			queue += ", FULL"
		}
		fmt.Fprintf(table, "  %s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", l.Addr, by, t.atLeast(l.Accepted), t.atLeast(l.Failed), l.Waiting,
			Duration(l.Wait.P99), queue, Spark(l.Timeline.Accepted, 16))
	}
	table.Flush()
	t.more(t.r.Others.Listeners, "listeners")
}

func (t *text) more(n int, what string) {
	if n > 0 {
		fmt.Fprintf(t, "  … and %s more %s (--top)\n", Count(uint64(n)), what)
	}
}

func (t *text) tables() {
	if len(t.r.Processes) > 0 {
		table := t.table()
		fmt.Fprintf(table, "\nprocess\tpid\taccepted\tfailed\texecutable\n")
		for _, p := range t.r.Processes {
			exe := format.Quote(p.Exe)
			if p.Container != "" {
				exe += "  container " + format.Quote(p.Container[:min(12, len(p.Container))])
			}
			fmt.Fprintf(table, "  %s\t%d\t%s\t%s\t%s\n", format.Quote(p.Comm), p.PID, t.atLeast(p.Accepted), t.atLeast(p.Failed), exe)
		}
		table.Flush()
		t.more(t.r.Others.Processes, "processes")
	}
	if len(t.r.Peers) > 0 {
		table := t.table()
		fmt.Fprintf(table, "\npeer\taccepted\n")
		for _, p := range t.r.Peers {
			fmt.Fprintf(table, "  %s\t%s\n", p.Addr, t.atLeast(p.Accepted))
		}
		table.Flush()
		t.more(t.r.Others.Peers, "peers")
	}
}

func (t *text) footnotes() {
	for i, c := range t.r.Caveats {
		if i == 0 {
			fmt.Fprintln(t)
		}
		fmt.Fprintf(t, "%s %s\n", t.style(red, "INCOMPLETE ("+c.ID+"):"), c.Text)
	}
}

func (t *text) table() *tabwriter.Writer { return tabwriter.NewWriter(t, 0, 8, 2, ' ', 0) }
