package findings

// This file has the rules about processes that share a listener, or an address.

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/acc-project/acc/analysis/stats"
	"github.com/acc-project/acc/format"
)

// herd finds tasks that are woken up and find the queue empty.
func herd(c *Capture, l *Listener) []found {
	vain, tasks := uint64(0), 0
	for _, w := range l.Workers {
		if w.Empty > w.Accepted+1 { // one that finds the queue empty after each accept is normal
			vain += w.Empty - w.Accepted - 1
		}
		if tasks++; w.Threads {
			tasks++
		}
	}
	if vain < herdEmpty || tasks < 2 || vain < l.Accepted {
		return nil
	}
	s := Notice
	if vain >= 4*l.Accepted {
		s = Warning
	}
	return one(s, vain, l.Marks[Herd].Samples(),
		"let the kernel wake only one task: EPOLLEXCLUSIVE, blocking accept, or a listener for each worker with "+
			"SO_REUSEPORT",
		"%s: tasks woke up %s times and found the queue empty, while %s %s accepted", l.Label, c.say().Sorted(vain),
		c.say().CallsOf(l.Accepted, "connection"), were(l.Accepted))
}

// newAcceptor finds processes that accept where others did before.
func newAcceptor(c *Capture, l *Listener) []found {
	m := l.Marks[NewAcceptor]
	if m == nil {
		return nil
	}
	if m.High > 0 {
		names := make([]string, len(l.Programs))
		for i, p := range l.Programs {
			names[i] = format.Quote(p)
		}
		return one(Warning, m.Count, m.Samples(),
			"the listener was handed over, or taken: check that this was meant (who started it: acc analyze --json, "+
				"processes)",
			"%s: another program accepts from it than before: %s (last %s)", l.Label, strings.Join(names, ", "), l.Came)
	}
	accepts := "accept"
	if m.Count == 1 {
		accepts = "accepts"
	}
	return one(Notice, m.Count, m.Samples(),
		"a deploy, or a worker that was started again; if nobody did that, see why the old ones died (dmesg, journal)",
		"%s: %s started during the recording and now %s from it (last %s)", l.Label,
		c.say().CallsOf(m.Count, "process"), accepts, l.Came)
}

// place is where a group of workers accepts: one listener of many processes, or a
// listener each with SO_REUSEPORT.
type place struct {
	netns uint32
	addr  netip.AddrPort
}

// uneven looks at how evenly the workers of each place accept.
func uneven(c *Capture) (list []found) {
	groups := map[place][]*Listener{}
	var order []place
	for _, l := range c.Listeners {
		if l.Addr.IsValid() {
			at := place{l.NetNS, l.Addr}
			if groups[at] == nil {
				order = append(order, at)
			}
			groups[at] = append(groups[at], l)
		}
	}
	for _, at := range order {
		list = append(list, unevenAt(c, at, groups[at])...)
	}
	return list
}

// unevenAt judges one place.
func unevenAt(c *Capture, at place, ls []*Listener) []found {
	workers := steadyWorkers(ls)
	total := uint64(0)
	for _, w := range workers {
		total += w.Accepted
	}
	n := uint64(len(workers))
	if n < 2 || total < unevenAll || total < unevenEach*n {
		return nil
	}
	slices.SortFunc(workers, func(x, y *Worker) int {
		return cmp.Or(cmp.Compare(y.Accepted, x.Accepted),
			cmp.Compare(x.Who, y.Who))
	})
	mean, chi := float64(total)/float64(n), 0.0
	for _, w := range workers {
		d := float64(w.Accepted) - mean
		chi += d * d / mean
	}
	most, least := workers[0], workers[n-1]
	free := float64(n - 1)
	if chi < free+6*math.Sqrt(2*free) || float64(most.Accepted) < 2*mean && float64(least.Accepted) > mean/4 {
		return nil
	}
	s := Notice
	var evidence []stats.Sample
	for _, l := range ls {
		if l.Marks[QueueOverflow] != nil || l.Queue != nil && l.Queue.Slow >= 3 {
			s = Warning
		}
		if l.FirstSeq != 0 && len(evidence) < stats.KeepSamples {
			evidence = append(evidence, stats.Sample{Seq: l.FirstSeq, NS: l.FirstNS})
		}
	}
	say := c.say()
	return one(s, total, evidence,
		"see what the idle ones do, and whether each has a listener of its own (SO_REUSEPORT) or all wait for one "+
			"listener (epoll wakes the last that waits)",
		"%s: of %d workers %s took %s of %s connections, %s took %s", at.addr, n, most.Who, say.Calls(most.Accepted),
		say.Calls(total),
		least.Who, say.Calls(least.Accepted))
}

// steadyWorkers joins what each process did at some listeners. Those that were there for less
// than half of the time of all are left out: they are new, or were stopped.
func steadyWorkers(ls []*Listener) (workers []*Worker) {
	byProcess := map[uint64]*Worker{}
	fromNS, toNS := int64(math.MaxInt64), int64(0)
	for _, l := range ls {
		for i := range l.Workers {
			x := &l.Workers[i]
			w := byProcess[x.Process]
			if w == nil {
				w = &Worker{Who: x.Who, FirstNS: math.MaxInt64}
				byProcess[x.Process] = w
				workers = append(workers, w)
			}
			w.Accepted += x.Accepted
			w.FirstNS, w.LastNS = min(w.FirstNS, x.FirstNS), max(w.LastNS, x.LastNS)
			fromNS, toNS = min(fromNS, x.FirstNS), max(toNS, x.LastNS)
		}
		if len(l.Workers) == 0 && l.Snapshot.Before && l.Snapshot.Ended {
			workers = append(workers, &Worker{Who: fmt.Sprintf("the owner of listener %d", l.Inode),
				FirstNS: math.MinInt64 / 2, LastNS: math.MaxInt64 / 2})
		}
	}
	return slices.DeleteFunc(workers, func(w *Worker) bool { return (w.LastNS-w.FirstNS)/2 < (toNS-fromNS)/4 })
}
