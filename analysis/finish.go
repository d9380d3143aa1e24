package analysis

// This file ends an analysis: totals, doubts and caveats.

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/acc-project/acc/analysis/audit"
	"github.com/acc-project/acc/analysis/crosscheck"
	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/analysis/pairing"
	"github.com/acc-project/acc/analysis/stats"
	"github.com/acc-project/acc/format"
)

// Completeness is what reading the capture said at its end.
type Completeness struct {
	Truncated bool          // it stops before its end
	Stopped   bool          // reading stopped at a corrupt place, and what stands behind it is not known
	Skipped   []format.Skip // what salvaging left out
	Against   []string      // what it says of itself that does not fit what it holds
	File      audit.File    // the same in words; State "": made from the above
}

// gaps is what is not in the capture, by kind of event.
type gaps struct {
	lostIn, lostOut, lostOther uint64 // hits of the entry, of its return, of do_accept alone
	lostLife                   uint64 // and of the life of connections, missed ones too
	missedIn, missedOut        uint64
	missedEnds                 uint64 // of connections
	lost, missed               uint64 // of all
}

// Finish ends the analysis; the error is that of Options.Pair. The Analyzer is of
// no use afterwards.
func (a *Analyzer) Finish(c Completeness) (*Result, error) {
	g := a.gaps()
	indexOnly := a.judgeFile(&c)
	if err := a.closePairs(&c, &g); err != nil {
		return nil, err
	}
	unseen := a.unseenReturns(&g)
	g.missed, g.missedOut = g.missed+unseen, g.missedOut+unseen
	if err := a.closeConnections(&c, &g); err != nil {
		return nil, err
	}
	r := &Result{Schema: SchemaVersion, Totals: a.totals, LimitHit: a.listeners.Limited() || a.unfollowed > 0 ||
		a.conns.Limited() || a.fullOfRecords()}
	r.Totals.Lost, r.Totals.Missed = a.lostAtOnce(g.lost), g.missed
	r.Totals.Calls = r.Totals.Attempts - r.Totals.Restarted
	r.Capture = a.captureInfo()
	r.CrossCheck = a.check.Finish()
	r.CrossCheck.NotShown = append(r.CrossCheck.NotShown, a.listeners.UnixRefusals(a.end)...)
	r.Caveats = a.caveats(c, indexOnly, r, g.missedEnds, unseen)
	r.Integrity, r.Recording = c.File, a.recording(&c, r)
	r.Complete = len(r.Caveats) == 0
	r.Doubts = a.doubts(&c, &g, missing(&r.CrossCheck))
	if a.o.VerdictOnly {
		return r, nil
	}
	a.listeners.Finish(a.end, a.endNS())
	r.Connections = a.conns.Totals(a.lostQueued())
	a.listeners.AddRefused(&r.Connections)
	a.lists(r)
	r.LimitHit = r.LimitHit || a.fullOfRecords()
	a.times(r)
	r.Counted, r.Others.Counted = a.countedList()
	r.Marks = []Mark{}
	for _, m := range a.marks {
		r.Marks = append(r.Marks, Mark{a.at(m.BootNS), m.BootNS, m.Text, m.UID})
	}
	a.judge(r)
	return r, nil
}

// shed is how many events the recorder left out to keep within its bounds.
func (a *Analyzer) shed() uint64 {
	if a.end == nil {
		return 0
	}
	return a.end.Shed
}

// judgeFile completes what reading said of the file: a repaired one lacks what the repair left
// out, and one without END is truncated. indexOnly: nothing but its index and tail are missing.
func (a *Analyzer) judgeFile(c *Completeness) (indexOnly bool) {
	if c.File.State == "" {
		c.File = audit.Judge(nil, a.end != nil && !c.Truncated, c.Skipped, c.Against)
	}
	p := a.header.Repaired
	if p != nil {
		c.Skipped = append(c.Skipped, format.Skip{Bytes: p.Lost, Events: p.Events, Reason: p.Why})
		c.Truncated = c.Truncated || !p.Ended
	}
	indexOnly = c.Truncated && a.end != nil && (p == nil || p.Ended)
	c.Truncated = c.Truncated && !indexOnly || a.end == nil
	return indexOnly
}

// closePairs ends the attempts that are open or wait for word of a loss.
func (a *Analyzer) closePairs(c *Completeness, g *gaps) error {
	if !c.Truncated && len(c.Skipped) > 0 && a.pairs.Skips == 0 {
		a.pairs.Skips++ // a part that nothing followed
	}
	cut := a.header.Cut()
	unknown := cut != nil && cut.Reason == "" // the whole has no END: whether events were missed is not known
	d := pairing.Verdicts{
		Truncated: c.Truncated, Skips: a.pairs.Skips, MissedIn: g.missedIn > 0 || unknown,
		MissedOut: g.missedOut > 0 || unknown,
		Losses:    &a.pairs.Losses, Unplaced: g.lostOut > a.lost[format.HookSysAccept4][format.Return],
		EndNS: a.clock.BootNS, Blocked: map[uint32]int32{}, Left: a.inAccept.left,
	}
	if a.end != nil {
		d.BlockedKnown = a.end.BlockedKnown
		for _, b := range a.end.Blocked {
			d.Blocked[b.TID] = b.SockFD
		}
	}
	return a.pairs.Close(a.tasks, &d)
}

// closeConnections ends the connections that have no end yet. If every one that a listener got has
// its end, ends that the kernel missed are others': of clients on this host.
func (a *Analyzer) closeConnections(c *Completeness, g *gaps) error {
	if p := a.header.Repaired; a.behind && !c.Truncated && (p != nil && p.Events > 0 || a.end.Events > a.lastSeq ||
		len(a.header.Cuts) > 0) {
		a.conns.Skip() // the part up to its end
	}
	a.cut = c.Truncated
	if err := a.conns.Close(a.endNS(), a.cut); err != nil {
		return err
	}
	if g.missedEnds > 0 && g.lost == 0 && !c.Truncated && len(c.Skipped) == 0 && a.conns.AllEnded() {
		g.missed -= g.missedEnds
		g.lostLife -= g.missedEnds
		g.missedEnds = 0
	}
	return nil
}

// doubts says which figures are not exact. Missing: the kernel counted connections that the capture
// has no account of.
func (a *Analyzer) doubts(c *Completeness, g *gaps, missing bool) (d stats.Doubts) {
	against := len(c.Against) > 0
	blind := c.Truncated || len(c.Skipped) > 0 || !a.end.Clean || against || missing
	d.Attempts = blind || g.lostIn+g.missedIn+g.lostOther > 0
	d.Outcomes = blind || g.lostOut+g.missedOut+g.lostOther > 0
	d.Waits = d.Attempts || d.Outcomes || a.unfollowed > 0
	d.Lists = d.Attempts || d.Outcomes || a.listeners.Limited()
	d.Connections = d.Outcomes || g.lostLife > 0 || a.conns.Limited()
	d.Span = c.Truncated || len(c.Skipped) > 0 && a.headless()
	d.Parts = a.conns.Skipped() || !c.Truncated && !a.end.Clean || against
	d.Ends = d.Parts || g.lostOut+g.missedOut+g.lostOther+g.lostLife > 0 || a.conns.Limited() || c.Truncated &&
		a.conns.Unsettled() > 0
	return d
}

// headless reports whether the header of the capture is lost.
func (a *Analyzer) headless() bool { return a.header.ID == "" && a.header.StartNS == 0 }

// lostAtOnce is how many of the lost events were lost when they were recorded: the
// account of a repaired capture counts what the repair left out as lost, too.
func (a *Analyzer) lostAtOnce(lost uint64) uint64 {
	if p := a.header.Repaired; p != nil && p.Ended {
		return lost - min(p.Events, lost)
	}
	return lost
}

// lostQueued reports whether events of connections that were queued are lost, or were missed.
func (a *Analyzer) lostQueued() bool {
	if a.end == nil {
		return a.conns.LostQueued()
	}
	return slices.ContainsFunc(a.end.Totals, func(t format.ProbeTotal) bool {
		return t.Kind == format.Queued &&
			t.Lost+t.Missed > 0
	})
}

// endNS is when the capture ends.
func (a *Analyzer) endNS() int64 {
	switch {
	case a.end != nil && a.end.Clock != format.Clock{}: // a repaired capture may have none
		return a.end.Clock.BootNS
	case a.events > 0:
		return max(a.clock.BootNS, a.lastNS)
	}
	return a.clock.BootNS
}

// atEnd names the end of what is known.
func (a *Analyzer) atEnd() string {
	if a.cut {
		return "where the capture stops"
	}
	return "at the end"
}

// gaps adds up losses, by END's account or, without one, by the records so far.
func (a *Analyzer) gaps() (g gaps) {
	add := func(hook format.Hook, kind format.Kind, lost, missed uint64) {
		g.lost += lost
		g.missed += missed
		switch {
		case kind > format.Return:
			g.lostLife += lost + missed
			if kind == format.Closed {
				g.missedEnds += missed
			}
		case hook == format.HookDoAccept || hook == format.HookIOAccept || hook == format.HookIOComplete ||
			hook == format.HookKernelAccept:
			g.lostOther += lost + missed
		case kind == format.Enter:
			g.lostIn += lost
			g.missedIn += missed
		default:
			g.lostOut += lost
			g.missedOut += missed
		}
	}
	if a.end != nil {
		for _, t := range a.end.Totals {
			add(t.Hook, t.Kind, t.Lost, t.Missed)
		}
		inBand := uint64(0) // END can say less than the records of losses: then it does not fit
		for hook := range a.lost {
			for _, n := range a.lost[hook] {
				inBand += n
			}
		}
		if n := max(a.end.Lost, inBand); n > g.lost { // of a probe that is not in the account
			g.lostLife += n - g.lost
			g.lostIn, g.lostOut, g.lost = g.lostIn+n-g.lost, g.lostOut+n-g.lost, n
		}
		return g
	}
	for hook := range a.lost {
		for kind, n := range a.lost[hook] {
			add(format.Hook(hook), format.Kind(kind), n, 0)
		}
	}
	return g
}

func (a *Analyzer) captureInfo() CaptureInfo {
	h := &a.header
	c := CaptureInfo{
		ID: h.ID, Host: h.Host, Kernel: h.Kernel, Arch: h.Arch, Mode: h.Mode, Tool: h.Tool,
		Start: a.at(h.Clock.BootNS), StartNS: h.Clock.BootNS, ZoneSec: h.ZoneSec, Events: a.events,
		Limits: append([]string{}, h.Limits...), Filters: append([]string{}, h.Filters...), Redacted: h.Redacted,
		Cuts: append([]format.Cut{}, h.Cuts...),
	}
	if a.events > 0 {
		c.First, c.Last = a.at(a.firstNS), a.at(a.lastNS)
	}
	if a.end != nil {
		c.EndReason = a.end.Reason
	}
	c.DurationNS = max(a.endNS()-h.Clock.BootNS, 0)
	if h.StartNS != 0 {
		start := time.Unix(0, h.StartNS).UTC()
		c.Start = &start
	}
	switch end := a.endNS(); {
	case c.Start == nil:
	case a.end != nil && a.end.Clock.Known() && end >= h.Clock.BootNS:
		at := a.end.Clock.Time(end)
		c.End = &at
	default:
		c.End = a.at(max(end, h.Clock.BootNS))
	}
	return c
}

// at places a boot time on the wall clock. nil: that is not known.
func (a *Analyzer) at(bootNS int64) *time.Time {
	if !a.clocks.Known(bootNS) {
		return nil
	}
	t := a.clocks.Time(bootNS)
	return &t
}

// caveats says what keeps the counts from being exact.
func (a *Analyzer) caveats(c Completeness, indexOnly bool, r *Result, ends, unseen uint64) []Caveat {
	list := []Caveat{}
	add := func(id, format string, args ...any) { list = append(list, Caveat{id, fmt.Sprintf(format, args...)}) }
	switch {
	case c.Stopped && c.Truncated:
		add("corrupt",
			"reading stopped at a corrupt place behind %s, and what stands behind it was not read: --salvage goes "+
				"on there",
			a.lastWord())
	case c.Stopped:
		add("corrupt", "behind the capture's end stands what is no part of it")
	case c.Truncated:
		add("truncated", "the capture stops before its end: what happened after %s is not known", a.lastWord())
	}
	if indexOnly && !c.Stopped {
		add("truncated", "the capture stops behind its end: the index is not whole, and nothing of the recording is "+
			"missing")
	}
	if p := a.header.Repaired; p != nil {
		add("repaired", "the file was damaged after it was recorded, and this is what could be read of it (%s); left "+
			"out: %s",
			format.Quote(p.Why), humanize.LeftOut(p.Lost, max(p.Places, 1), p.Events))
		for _, note := range p.Notes {
			add("repaired", "%s", format.Quote(note))
		}
		c.Skipped = c.Skipped[:len(c.Skipped)-1]
	}
	if n := len(c.Skipped); n > 0 {
		bytes, events := int64(0), uint64(0)
		for _, s := range c.Skipped {
			bytes += s.Bytes
			events += s.Events
		}
		add("skipped", "corrupt and left out: %s", humanize.LeftOut(bytes, n, events))
	}
	if a.end != nil && !a.end.Clean && !c.Truncated {
		why := fmt.Sprintf("the recording was not closed cleanly (%s)", format.Quote(a.end.Reason))
		if a.end.Detail != "" {
			why += ": " + format.Quote(a.end.Detail)
		}
		add("unclean", "%s", why)
	}
	if n := len(c.Against); n > 0 {
		add("mismatch", "what the capture says of itself does not fit what it holds: %s",
			format.Quote(someOf(c.Against, 3)))
	}
	if n := r.Totals.Lost; n > 0 {
		if a.end != nil && a.end.Reason == format.EndDiskFull {
			add("lost", "%d events were lost because the disk was full, or before that the ring buffer", n)
		} else {
			shed := min(a.shed(), n)
			if shed > 0 {
				add("lost", "%d events were left out, to keep acc within --max-cpu or --max-memory; marks say when", shed)
			}
			if n > shed {
				add("lost", "%d events were lost because the ring buffer was full; a larger --ring-size helps", n-shed)
			}
		}
	}
	if n := r.Totals.Missed; n > 0 {
		add("missed", "the kernel did not run a probe %d times: there were too few kretprobe instances, "+
			"another program ran on the CPU, or another tracer came to the same function while calls waited in it; "+
			"%s are not in the capture", n, a.missing(ends, unseen))
	}
	if r.CrossCheck.Verdict == crosscheck.VerdictDiffers {
		add("cross-check", "%s", r.CrossCheck.Text)
	}
	if a.unfollowed > 0 {
		add("limit", "more than %d threads were in accept at once: %s of others not paired", a.o.MaxTasks,
			humanize.Plural(a.unfollowed, "event"))
	}
	if a.conns.Limited() {
		add("limit", "there were more than %d connections at once: the ends of the oldest were not followed",
			a.o.MaxConns)
	}
	if a.listeners.Limited() {
		add("limit", "there were more listeners, processes or peers than acc counts by themselves; the totals are "+
			"right, the lists are not whole")
	}
	if a.fullOfRecords() {
		add("limit", "there were more records beside the events than acc has memory for: marks, counters of the kernel, or "+
			"what servers did while clients waited are not whole")
	}
	return list
}

// fullOfRecords reports whether records had to be left out for want of memory, which no recorder makes happen.
func (a *Analyzer) fullOfRecords() bool {
	return a.markRoom.Full || a.check.Limited() || a.listeners.FullOfRecords()
}

// missing names what the kernel did not run probes for, by END's account, of the
// ends of connections so many, and beside that account so many returns.
func (a *Analyzer) missing(ends, unseen uint64) string {
	var sum [format.NumKinds]uint64
	if a.end != nil { // else its account is missing
		for _, t := range a.end.Totals {
			if int(t.Kind) < format.NumKinds {
				sum[t.Kind] += t.Missed
			}
		}
	}
	sum[format.Closed] = ends
	sum[format.Return] += unseen
	var parts []string
	for kind, what := range map[format.Kind]string{
		format.Enter: "the entries of %s attempts", format.Return: "the returns of %s attempts",
		format.Queued: "%s connections that were queued",
		format.Closed: "at most the ends of %s connections", format.Drop: "at most %s refusals or losses from a queue",
		format.State: "at most %s clients that closed before accept", format.Listen: "%s sockets that began to listen",
		format.Stop: "%s listeners that stopped",
	} {
		if n := sum[kind]; n > 0 {
			parts = append(parts, fmt.Sprintf(what, humanize.Count(n)))
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

func (a *Analyzer) lastWord() string {
	if a.events == 0 {
		return "its beginning"
	}
	return fmt.Sprintf("event %d", a.lastSeq)
}

// times fills in waits and rates.
func (a *Analyzer) times(r *Result) {
	r.Wait, r.FailedWait = a.waits.Quantiles(), a.badWaits.Quantiles()
	r.Rate = Rate{PeakAt: r.Capture.Start, PeakNS: r.Capture.StartNS, BucketNS: a.rate.WidthNS, Buckets: a.rate.Copy()}
	if r.Capture.DurationNS > 0 {
		r.Rate.Mean = float64(r.Totals.Accepted) / (float64(r.Capture.DurationNS) / 1e9)
	}
	for i, n := range a.rate.Counts {
		// In a short recording, or across two buckets, no bucket need have as many as a second with the mean.
		if rate := max(float64(n)/(float64(a.rate.WidthNS)/1e9), r.Rate.Mean); rate > r.Rate.Peak {
			r.Rate.Peak = rate
			after := int64(i) * a.rate.WidthNS
			r.Rate.PeakNS = r.Capture.StartNS + after
			r.Rate.PeakAt = a.at(r.Rate.PeakNS)
		}
	}
}
