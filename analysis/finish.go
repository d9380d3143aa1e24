package analysis

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/acc-project/acc/format"
)

// Completeness is what reading the capture said at its end.
type Completeness struct {
	Truncated bool          // it stops before its end
	Skipped   []format.Skip // what salvaging left out
}

// Finish ends the analysis. The Analyzer is of no use afterwards.
func (a *Analyzer) Finish(c Completeness) (*Result, error) {
	if len(c.Skipped) > 0 {
		a.pairs.skipped = true
	}
	missed := a.missed()
	blocked := map[uint32]bool{}
	if a.end != nil {
		a.lost = max(a.lost, a.end.Lost)
		for _, b := range a.end.Blocked {
			blocked[b.TID] = true
		}
	}
	err := a.pairs.finish(func(e *format.Event) Why {
		switch {
		case c.Truncated || a.end == nil:
			return WhyTruncated
		case blocked[e.TID]:
			return WhyBlocked
		case len(c.Skipped) > 0:
			return WhySkipped
		case a.lostOf(format.Return) > 0 && missed > 0:
			return WhyUnknown
		case a.lostOf(format.Return) > 0:
			return WhyReturnLost
		case missed > 0:
			return WhyMissed
		}
		return WhyBlocked // nothing was lost: it returned after the probes were gone
	})
	if err != nil {
		return nil, err
	}
	r := &Result{Totals: a.totals, LimitHit: a.limited || a.pairs.limited > 0}
	r.Totals.Lost, r.Totals.Missed = a.lost, missed
	r.Totals.Calls = r.Totals.Attempts - r.Totals.Restarted
	r.Capture = a.captureInfo()
	r.Caveats = a.caveats(c, r)
	r.Complete = len(r.Caveats) == 0
	a.lists(r)
	a.times(r)
	return r, nil
}

// missed adds up what the kernel did not run probes for.
func (a *Analyzer) missed() (n uint64) {
	if a.end != nil {
		for _, t := range a.end.Totals {
			n += t.Missed
		}
	}
	return n
}

// lostOf is how many hits of a kind were lost.
func (a *Analyzer) lostOf(kind format.Kind) (n uint64) {
	for _, t := range a.end.Totals {
		if t.Kind == kind {
			n += t.Lost
		}
	}
	return n
}

func (a *Analyzer) captureInfo() CaptureInfo {
	h := a.header
	c := CaptureInfo{
		ID: h.ID, Host: h.Host, Kernel: h.Kernel, Arch: h.Arch, Mode: h.Mode, Tool: h.Tool,
		Start: time.Unix(0, h.StartNS).UTC(), ZoneSec: h.ZoneSec, Events: a.events, Limits: append([]string{}, h.Limits...),
	}
	endNS := max(a.clock.BootNS, a.lastNS)
	if a.end != nil {
		endNS, c.EndReason = a.end.Clock.BootNS, a.end.Reason
	}
	c.DurationNS = max(endNS-h.Clock.BootNS, 0)
	c.End = c.Start.Add(time.Duration(c.DurationNS))
	return c
}

// caveats says what keeps the counts from being exact.
func (a *Analyzer) caveats(c Completeness, r *Result) []Caveat {
	list := []Caveat{}
	add := func(id, format string, args ...any) { list = append(list, Caveat{id, fmt.Sprintf(format, args...)}) }
	if c.Truncated {
		add("truncated", "the capture stops before its end: what happened after event %d is not known", a.events)
	}
	if n := len(c.Skipped); n > 0 {
		bytes, events := int64(0), uint64(0)
		for _, s := range c.Skipped {
			bytes += s.Bytes
			events += s.Events
		}
		add("skipped", "%d bytes in %d places were corrupt and left out, at least %d events with them", bytes, n, events)
	}
	if a.end != nil && !a.end.Clean {
		add("unclean", "recording ended in disorder (%s) %s", format.Quote(a.end.Reason), format.Quote(a.end.Detail))
	}
	if r.Totals.Lost > 0 {
		add("lost", "%d events were lost because the ring buffer was full; a larger --ring-size helps", r.Totals.Lost)
	}
	if r.Totals.Missed > 0 {
		add("missed", "the kernel did not run a probe %d times: for want of kretprobe instances, or because another program ran on the CPU", r.Totals.Missed)
	}
	if r.LimitHit {
		add("limit", "there were more tasks, listeners, processes or peers than are told apart; the totals are right, the lists are not whole")
	}
	return list
}

// lists fills in the errors and the tables, sorted and cut to Top rows.
func (a *Analyzer) lists(r *Result) {
	counts := map[int32]uint64{}
	for errno, n := range a.errors {
		if n > 0 {
			counts[int32(errno)] = n
		}
	}
	r.Errors = errorCounts(counts)
	r.Unpaired = []UnpairedInfo{}
	for why, n := range a.unpaired {
		r.Unpaired = append(r.Unpaired, UnpairedInfo{why, n})
	}
	slices.SortFunc(r.Unpaired, func(x, y UnpairedInfo) int {
		return cmp.Or(cmp.Compare(y.Count, x.Count), cmp.Compare(x.Why, y.Why))
	})
	r.Via = []ViaCount{}
	for via, n := range a.via {
		if n > 0 {
			r.Via = append(r.Via, ViaCount{format.Via(via).String(), n})
		}
	}
	r.Listeners, r.Processes, r.Peers = []ListenerInfo{}, []ProcessInfo{}, []PeerInfo{}
	for _, l := range a.listeners {
		if l.attempts > 0 && l.key.inode != 0 {
			r.Listeners = append(r.Listeners, l.info())
		}
	}
	slices.SortFunc(r.Listeners, func(x, y ListenerInfo) int {
		return cmp.Or(cmp.Compare(y.Accepted, x.Accepted), cmp.Compare(y.Attempts, x.Attempts), cmp.Compare(x.Addr, y.Addr), cmp.Compare(x.Listener, y.Listener))
	})
	for _, p := range a.processes {
		rec := a.records[p.num]
		r.Processes = append(r.Processes, ProcessInfo{Proc: p.num, PID: p.pid, Comm: cmp.Or(rec.Comm, p.comm), Exe: rec.Exe, Container: rec.Container,
			Attempts: p.attempts, Accepted: p.accepted, Failed: p.failed})
	}
	slices.SortFunc(r.Processes, func(x, y ProcessInfo) int {
		return cmp.Or(cmp.Compare(y.Accepted, x.Accepted), cmp.Compare(y.Attempts, x.Attempts), cmp.Compare(x.Proc, y.Proc))
	})
	for addr, n := range a.peers {
		r.Peers = append(r.Peers, PeerInfo{addr.String(), *n})
	}
	slices.SortFunc(r.Peers, func(x, y PeerInfo) int {
		return cmp.Or(cmp.Compare(y.Accepted, x.Accepted), cmp.Compare(x.Addr, y.Addr))
	})
	r.Listeners, r.Others.Listeners = top(r.Listeners, a.o.Top)
	r.Processes, r.Others.Processes = top(r.Processes, a.o.Top)
	r.Peers, r.Others.Peers = top(r.Peers, a.o.Top)
	r.Others.PeersAccepted = a.morePeers
}

// top cuts a list to n rows and says how many it left out.
func top[T any](list []T, n int) ([]T, int) {
	if n < 0 || len(list) <= n {
		return list, 0
	}
	return list[:n:n], len(list) - n
}

func (l *listener) info() ListenerInfo {
	i := ListenerInfo{
		Listener: l.key.inode, NetNS: l.key.netns, Attempts: l.attempts, Accepted: l.accepted, Failed: l.failed, Waiting: l.waiting,
		Errors: errorCounts(l.errors), QueueHigh: l.queueHigh, QueueMax: l.queueMax, Full: l.full,
		Wait: quantiles(l.wait, l.waitMax), Processes: []uint32{}, Comms: []string{},
		Timeline: Timeline{Accepted: []uint64{}, Failed: []uint64{}, Queue: []uint64{}},
	}
	switch {
	case l.addr.Addr().IsValid():
		i.Addr = l.addr.String()
	case l.family != 0:
		i.Addr = l.family.String()
	default:
		i.Addr = "unknown"
	}
	for num, comm := range l.procs {
		i.Processes = append(i.Processes, num)
		if !slices.Contains(i.Comms, comm) {
			i.Comms = append(i.Comms, comm)
		}
	}
	slices.Sort(i.Processes)
	slices.Sort(i.Comms)
	if l.wait != nil {
		width := max(l.took.widthNS, l.bad.widthNS, l.queue.widthNS)
		for _, s := range []*series{&l.took, &l.bad, &l.queue} {
			for s.widthNS < width {
				s.halve()
			}
		}
		i.Timeline = Timeline{BucketNS: width, Accepted: l.took.copy(), Failed: l.bad.copy(), Queue: l.queue.copy()}
	}
	return i
}

// times fills in waits and rates.
func (a *Analyzer) times(r *Result) {
	r.Wait = Waits{Accepted: quantiles(a.waitOK, a.maxOK), Failed: quantiles(a.waitBad, a.maxBad)}
	r.Rate = Rate{BucketNS: a.rate.widthNS, Buckets: a.rate.copy()}
	if r.Capture.DurationNS > 0 {
		r.Rate.Mean = float64(r.Totals.Accepted) / (float64(r.Capture.DurationNS) / 1e9)
	}
	for i, n := range a.rate.counts {
		if rate := float64(n) / (float64(a.rate.widthNS) / 1e9); rate > r.Rate.Peak {
			r.Rate.Peak = rate
			r.Rate.PeakAt = r.Capture.Start.Add(time.Duration(int64(i) * a.rate.widthNS))
		}
	}
}
