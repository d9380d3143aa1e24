package main

// This file has what acc record says while it records, and when it has ended.

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/capture"
	"github.com/acc-project/acc/format"
)

// summary says what was recorded, what was not, and what to do next.
func summary(w io.Writer, out *output, set *fileSet, r *capture.Result, selected bool) {
	returns := uint64(0)
	missed, counted := uint64(0), uint64(0)
	for _, t := range r.End.Totals {
		if t.Kind == format.Return {
			returns += t.Recorded
			counted += t.Counted
		}
		missed += t.Missed
	}
	fmt.Fprintf(w, "acc: recorded for %s: %s, %s; %s", r.Elapsed.Round(10*time.Millisecond),
		humanize.Plural(r.End.Events, "event"), humanize.Plural(returns, "accept call"), report.Bytes(r.Bytes))
	if set != nil {
		fmt.Fprintf(w, " in %s", humanize.Plural(uint64(r.Files), "file"))
		if set.gone > 0 {
			fmt.Fprintf(w, "; %s removed", many(set.gone, "old file"))
		}
	}
	fmt.Fprintln(w)
	switch {
	case r.End.Reason == format.EndDiskFull:
		fmt.Fprintf(w, "acc: ENDED EARLY: %s; %s\n", format.Quote(r.End.Detail), humanize.Lost(r.End.Lost))
	case r.End.Lost == 0 && missed == 0 && selected:
		fmt.Fprintf(w, "acc: of what was selected nothing was lost\n")
	case r.End.Lost == 0 && missed == 0:
		fmt.Fprintf(w, "acc: nothing was lost\n")
	case r.End.Shed >= r.End.Lost && r.End.Lost > 0:
		fmt.Fprintf(w, "acc: LEFT OUT %s, to keep within --max-cpu or --max-memory; marks in the capture say when\n",
			humanize.Plural(r.End.Lost, "event"))
	case r.End.Lost > 0:
		fmt.Fprintf(w, "acc: LOST %s: the ring buffer was full; --ring-size makes it larger\n",
			humanize.Plural(r.End.Lost, "event"))
	}
	if counted > 0 {
		fmt.Fprintf(w, "acc: counted %s instead of recording each, beyond --failed-rate; acc analyze lists them\n",
			humanize.Plural(counted, "failed call"))
	}
	if missed > 0 {
		fmt.Fprintf(w, "acc: MISSED %s: the kernel did not run a probe; acc info says which, and why that happens\n",
			humanize.Plural(missed, "hit"))
	}
	if n := len(r.End.Blocked); n > 0 {
		fmt.Fprintf(w, "acc: at the end %s waited in accept\n", humanize.Plural(uint64(n), "task"))
	}
	if r.Kept != nil {
		fmt.Fprintf(w, "acc: not all privileges could be given up: %s\n",
			format.Quote(strings.ReplaceAll(r.Kept.Error(), "\n", "; ")))
	}
	if !r.End.Clean {
		fmt.Fprintf(w, "acc: the recording was NOT closed cleanly: %s\n", format.Quote(r.End.Detail))
	}
	switch {
	case out.stdout:
	case set != nil && r.Files > 1:
		fmt.Fprintf(w, "acc: next: acc info %s\n", format.Quote(cmp.Or(set.folder, ".")))
	case out.isMoved():
		fmt.Fprintf(w, "acc: the file was renamed or moved while acc wrote it; %s is its old name\n",
			fileName(out.name))
	default:
		fmt.Fprintf(w, "acc: next: acc analyze %s\n", fileName(out.name))
	}
}

// statusLine is the line on a terminal that tells how a recording goes.
type statusLine struct {
	w        io.Writer
	terminal bool
	shown    bool
	quiet    bool // it was said that nothing happens
	last     capture.Status
	selected bool // not everything is recorded
}

func newStatusLine(w io.Writer) *statusLine {
	f, ok := w.(*os.File)
	return &statusLine{w: w, terminal: ok && isTerminal(f)}
}

// phase shows what the recorder does now.
func (l *statusLine) phase(what string) {
	l.shown = true
	fmt.Fprintf(l.w, "\r\x1b[K%s ...", what)
}

// quietTime is after what time without an event acc says so.
const quietTime = 10 * time.Second

func (l *statusLine) show(s capture.Status) {
	if s.Events == 0 && s.Elapsed >= quietTime && !l.quiet {
		l.quiet = true
		l.clear()
		l.nothing()
	}
	fmt.Fprintf(l.w, "\r\x1b[K%s", statusText(s, l.last))
	l.last, l.shown = s, true
}

// nothing says that nothing happened yet.
func (l *statusLine) nothing() {
	what := "nobody called accept, and nobody connected"
	if l.selected {
		what = "nothing happened that is selected"
	}
	fmt.Fprintf(l.w, "acc: no event in %s: %s (the probes were tested when acc began)\n", quietTime, what)
}

// sayQuiet says so once, if nothing happens at first.
func (l *statusLine) sayQuiet(ctx context.Context, recording *capture.Control) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(quietTime):
	}
	if s, err := recording.Status(); err == nil && s.Events == 0 {
		l.nothing()
	}
}

func (l *statusLine) clear() {
	if l.shown {
		fmt.Fprint(l.w, "\r\x1b[K")
	}
}
