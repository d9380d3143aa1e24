package main

// This file prints info for people.

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/acc-project/acc/analysis/audit"
	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/evidence"
	"github.com/acc-project/acc/format"
)

// text prints it for a person: what matters first, the probes last.
func (i *info) text(out io.Writer, width int, zone *time.Location) error {
	var s sheet
	row, h := s.row, i.Header
	i.states(row)
	i.losses(row)
	notShown := h.Limits
	if i.Read == evidence.ReadAll {
		row("cross-check", "%s", i.CrossCheck.Text)
		notShown = append(i.CrossCheck.NotShownTexts(), notShown...)
	}
	list(row, "not shown", notShown)
	i.selection(row)
	i.origin(row, zone)
	if i.Read == evidence.ReadAll {
		i.whole(row, zone)
	} else {
		i.outline(row)
	}
	i.cost(row)
	list(row, "settings", sysctls(h))
	row("command", "%s", format.Quote(strings.Join(h.Command, " ")))
	row("id", "%s", format.Quote(h.ID))
	if h.Set != nil {
		row("", "file %d of recording %s", h.Set.File, format.Quote(h.Set.ID))
	}
	i.probes(row)
	return s.write(textOut(out), width)
}

// selection says what was to be recorded, where that is not everything.
func (i *info) selection(row func(name, format string, args ...any)) {
	h := i.Header
	if s := h.Selection; s != nil {
		row("selected", "%s", format.Quote(s.String()))
		if i.End != nil && !s.Cut { // what a cut left out is not counted
			row("filtered", "%s that this left out", humanize.Plural(filteredBy(i.End), "event"))
		}
	}
	if h.FailedRate > 0 && i.End != nil && i.Recording.Counted > 0 {
		row("counted", "%s, beyond %s a second of a process, or five times that of its user",
			humanize.Plural(i.Recording.Counted, "failed call"), report.Count(uint64(h.FailedRate)))
	}
	for _, f := range h.Filters {
		if h.Selection == nil || f != "all but "+h.Selection.String() {
			row("filters", "%s", format.Quote(f))
		}
	}
}

// filteredBy is how many events a selection left out.
func filteredBy(end *format.End) (sum uint64) {
	for _, t := range end.Totals {
		sum += t.Filtered
	}
	return sum
}

// cost says what recording took of the host.
func (i *info) cost(row func(name, format string, args ...any)) {
	if i.End == nil || i.End.Cost == nil {
		return
	}
	c := i.End.Cost
	row("cost", "%s of CPU time, at most %s of memory", report.Duration(c.CPUNS), report.Bytes(c.PeakBytes))
	if len(c.Programs) == 0 {
		row("", "what the programs in the kernel took was not counted (sysctl kernel.bpf_stats_enabled)")
		return
	}
	runs, ns := uint64(0), int64(0)
	for _, p := range c.Programs {
		runs, ns = runs+p.Runs, ns+p.NS
	}
	row("", "%s in the kernel, in %s; most in %s (%s)", report.Duration(ns), humanize.Plural(runs, "run"),
		format.Quote(c.Programs[0].Name), report.Duration(c.Programs[0].NS))
}

// states says whether the file is intact and the recording complete.
func (i *info) states(row func(name, format string, args ...any)) {
	q := format.Quote
	row("capture", "%s", fileName(i.File))
	row("file", "%s", i.fileState())
	for _, why := range i.Integrity.Why {
		row("", "%s", q(why))
	}
	row("recording", "%s", q(report.RecordingState(&i.Recording)))
	if i.Why != "" && len(i.Integrity.Why) == 0 {
		row("", "%s", q(i.Why))
	}
	if r := i.Header.Redacted; r != nil {
		redactedRows(row, r)
	}
	cutRows(row, i.Header.Cuts)
	if r := i.Header.Repaired; r != nil {
		row(
			"repaired",
			"this is what could be read of a damaged capture of %s, SHA-256 %s",
			report.Bytes(r.Bytes),
			q(r.SHA256),
		)
		row("", "%s", q(r.Why))
		row("", "not in here: %s", humanize.LeftOut(r.Lost, max(r.Places, 1), r.Events))
		list(row, "", r.Notes)
	}
}

// origin says where and when the capture was taken.
func (i *info) origin(row func(name, format string, args ...any), zone *time.Location) {
	h, q := i.Header, format.Quote
	host := []string{cmp.Or(q(h.Host), "not known")}
	if kernel := strings.TrimSpace(q(h.Kernel) + " " + q(h.Arch)); kernel != "" {
		host = append(host, "Linux "+kernel)
	}
	if h.CPUs > 0 {
		host = append(host, humanize.Plural(uint64(h.CPUs), "CPU"))
	}
	row("host", "%s", strings.Join(host, ", "))
	row("recorded by", "%s, %s probes", cmp.Or(q(h.Tool), "?"), cmp.Or(q(h.Mode), "?"))
	i.time(row, zone)
	if k := i.keeping(); k != "" {
		row("clock", "%s", k)
	}
	for _, s := range i.Steps[:min(len(i.Steps), 10)] {
		row(
			"clock",
			"was set by %+.3f s, seen at %s",
			float64(s.By)/1e9,
			s.At.In(zone).Format("2006-01-02 15:04:05.000 -07:00"),
		)
	}
	more(row, len(i.Steps), 10)
}

// keeping says how well the host's wall clock was kept at the start and at the end, "" if that is not known.
func (i *info) keeping() string {
	last := i.Header.Clock
	if i.End != nil && i.End.Clock.Keeping != format.KeepingUnknown {
		last = i.End.Clock
	}
	switch first := i.Header.Clock; {
	case last.Keeping == format.KeepingUnknown:
		return ""
	case first.Keeping == format.KeepingFree && last.Keeping == format.KeepingFree:
		return "not synchronised: its times can't be compared with those of other hosts"
	case first.Keeping == format.KeepingFree:
		return "not synchronised at the start"
	case last.Keeping == format.KeepingFree:
		return "not synchronised at the end"
	default:
		return "synchronised, wrong by at most " + report.Duration(max(first.MaxErrNS, last.MaxErrNS))
	}
}

func sysctls(h *format.Header) []string {
	list := make([]string, len(h.Sysctls))
	for i, s := range h.Sysctls {
		list[i] = s.Name + " = " + s.Value
	}
	return list
}

// probes prints the account of each probe, and how it was attached.
func (i *info) probes(row func(name, format string, args ...any)) {
	name := "account"
	for _, line := range i.account() {
		row(name, "%s", line)
		name = ""
	}
	name = "probes"
	for _, p := range i.Header.Probes {
		extra := ""
		if p.MaxActive > 0 {
			extra = ", " + humanize.Plural(uint64(p.MaxActive), "instance")
		}
		row(name, "%s of %s%s", format.Quote(p.How), format.Quote(p.Symbol), extra)
		name = ""
	}
}

// fileState says in which state the file is.
func (i *info) fileState() string {
	switch {
	case i.Integrity.State == audit.Intact:
		return "intact: every frame, END, index and tail are there and fit"
	case i.Read == evidence.ReadIndex:
		return report.FileState(&i.Integrity) + " (acc info --full, acc verify)"
	}
	return report.FileState(&i.Integrity)
}

// time prints from when on it is, and for how long.
func (i *info) time(row func(name, format string, args ...any), zone *time.Location) {
	const layout = "2006-01-02 15:04:05.000 -07:00"
	start := "not known"
	switch {
	case i.Header.StartNS != 0:
		start = time.Unix(0, i.Header.StartNS).In(zone).Format(layout)
	case i.Header.Clock.Known(): // of an acc that did not write more
		start = i.Clock.Time(i.Clock.BootNS).In(zone).Format(layout)
	case i.Clock.Known():
		start = i.Clock.Time(i.Clock.BootNS).
			UTC().
			Format(layout) +
			", the first event, by a later clock: the header is lost"
	case i.Clock.BootNS != 0:
		start = string(
			format.AppendBoot(nil, i.Clock.BootNS),
		) + ", the first event; the date is not known: the header is lost"
	}
	switch {
	case i.End == nil:
		row("time", "from %s, end unknown", start)
	case i.End.Clock == format.Clock{}:
		row("time", "from %s, ended by %s", start, format.Quote(cmp.Or(i.End.Reason, "?")))
	case i.End.Clock.BootNS < i.Clock.BootNS || i.End.Clock.BootNS-i.Clock.BootNS < 0: // which may overflow
		row("time", "from %s, ended by %s; END's time does not fit", start, format.Quote(cmp.Or(i.End.Reason, "?")))
	case i.Header.Repaired != nil && !i.Header.Repaired.Ended:
		row("time", "%s for at least %s, end unknown", start, report.Duration(i.End.Clock.BootNS-i.Clock.BootNS))
	default:
		row(
			"time",
			"%s for %s, ended by %s",
			start,
			report.Duration(i.End.Clock.BootNS-i.Clock.BootNS),
			format.Quote(cmp.Or(i.End.Reason, "?")),
		)
	}
}

// whole prints what the events and records of a capture say.
func (i *info) whole(row func(name, format string, args ...any), zone *time.Location) {
	row(
		"events",
		"%s: %s, %s accepted; %s",
		report.Count(i.Events),
		humanize.Plural(*i.Returns, "return"),
		report.Count(*i.Accepted),
		humanize.Plural(uint64(*i.Processes), "process"),
	)
	size := i.size()
	if *i.PerAccept > 0 {
		size += fmt.Sprintf(", %.1f bytes an accepted connection", *i.PerAccept)
	}
	row("size", "%s", size)
	for _, m := range i.Marks[:min(len(i.Marks), 20)] {
		at := "at a time that is not known"
		if m.At != nil {
			at = m.At.In(zone).Format("2006-01-02 15:04:05.000 -07:00")
		}
		row("mark", "%s: %s", at, format.Quote(m.Text))
	}
	more(row, len(i.Marks), 20)
	i.settings(row)
	inventoryText(i.Start, row, "at the start")
	if i.End != nil && i.Finish.Blocked == 0 {
		tasks(row, "at the end", i.End.Blocked, len(i.End.Blocked), i.End.BlockedKnown)
	}
	inventoryText(i.Finish, row, "at the end")
}

// settings prints which of the kernel's settings changed meanwhile, and when.
func (i *info) settings(row func(name, format string, args ...any)) {
	var changes []string
	for _, x := range i.CrossCheck.Spaces {
		for _, c := range x.SettingChanges {
			changes = append(changes, fmt.Sprintf("%s: %d, then %d, seen %s after the start, in network namespace %d",
				c.Name, c.From, c.To, report.Duration(max(c.BootNS-i.Clock.BootNS, 0)), c.NetNS))
		}
	}
	list(row, "changed", changes[:min(len(changes), 20)])
	more(row, len(changes), 20)
}

// size is that of the file, and what can be read of it.
func (i *info) size() string {
	if damaged := i.Verdict == "truncated" || i.Verdict == "corrupt" ||
		i.Verdict == "unreadable"; damaged &&
		i.InFrames < i.Bytes {
		return fmt.Sprintf(
			"%s, of which %s in %s can be read",
			report.Bytes(i.Bytes),
			report.Bytes(i.InFrames),
			many(i.Frames, "frame"),
		)
	}
	return fmt.Sprintf("%s in %s", report.Bytes(i.Bytes), many(i.Frames, "frame"))
}

// losses prints the account: what was seen, recorded, lost and missed.
func (i *info) losses(row func(name, format string, args ...any)) {
	if i.End == nil {
		row("lost", "at least %s; the account at the end is missing", report.Count(i.Lost))
		return
	}
	r := i.Header.Repaired
	switch {
	case r != nil && !r.Ended:
		row("lost", "at least %s while recording; the original's account at the end is missing", report.Count(i.Lost))
	case r != nil && r.Events > 0:
		lost := "nothing"
		if i.Lost > 0 {
			lost = humanize.Plural(i.Lost, "event")
		}
		row(
			"lost",
			"%s while recording; the repair left out %s, counted as lost here:",
			lost,
			humanize.Plural(r.Events, "event"),
		)
	case i.Lost == 0:
		row("lost", "nothing")
	default:
		row("lost", "%s", humanize.Plural(i.Lost, "event"))
	}
}

// account is, a line for each probe, how often it ran and what became of that.
func (i *info) account() (lines []string) {
	if i.End == nil {
		return nil
	}
	ofEnds, any := true, false
	for _, t := range i.End.Totals {
		if t.Seen == 0 && t.Missed == 0 {
			continue
		}
		missed, filtered, counted := "", "", ""
		if t.Counted > 0 {
			counted = " + " + report.Count(t.Counted) + " counted"
		}
		if i.Header.Selection != nil {
			filtered = " + " + report.Count(t.Filtered) + " filtered"
		}
		if t.Missed > 0 {
			ofEnds, any = ofEnds && t.Kind == format.Closed, true
			missed = fmt.Sprintf(", %s MISSED", report.Count(t.Missed))
		}
		lines = append(
			lines,
			fmt.Sprintf(
				"%s of %s: %s seen = %s recorded + %s lost%s%s%s",
				t.Kind,
				t.Hook,
				report.Count(t.Seen),
				report.Count(t.Recorded),
				report.Count(t.Lost),
				filtered,
				counted,
				missed,
			),
		)
	}
	if any {
		lines = append(
			lines,
			"MISSED: the kernel did not run a probe, for one ran on that CPU already (an interrupt in it called the "+
				"function again), or a kretprobe had no instance left",
		)
	}
	if any && ofEnds {
		lines = append(
			lines,
			"the other end of a connection on this host may be all that is missed: acc analyze finds out whether "+
				"each one that a listener got has its end",
		)
	}
	return lines
}

func list(row func(name, format string, args ...any), name string, items []string) {
	for n, s := range items {
		if n > 0 {
			name = ""
		}
		row(name, "%s", format.Quote(s))
	}
}
