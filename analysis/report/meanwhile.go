package report

// This file says what the server's threads did while a client waited.

import (
	"fmt"
	"slices"
	"strings"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/analysis/meanwhile"
	"github.com/acc-project/acc/format"
)

// maxParts is how many things are named that threads did while one client waited.
const maxParts = 5

// Meanwhile says what the accepting threads did while a connection was in the accept queue, "" if it was there for a
// short time. Nothing in it can steer a terminal. Lines fit the width; 0: they are as long as they are.
func Meanwhile(c *conntrack.Connection, r *analysis.Result, width int) string {
	ns, _ := c.InQueue()
	if ns < findings.SlowNS {
		return ""
	}
	from := c.QueuedNS
	if from == 0 {
		from = c.StartNS
	}
	i := slices.IndexFunc(r.Meanwhile, func(s meanwhile.Seen) bool {
		return s.Listener == c.Listener && s.NetNS == c.NetNS && c.Listener != 0
	})
	if i < 0 {
		return "\nwhat the server did while it waited was not looked at\n"
	}
	s := &r.Meanwhile[i]
	parts := s.During(from, from+ns)
	if len(parts) == 0 {
		return "\nwhile it waited, no thread of the server could be looked at\n"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\nwhile it waited, %s:\n", whoWas(s))
	rest := int64(0)
	for k, p := range parts {
		words := "not seen"
		switch {
		case p.Place == meanwhile.Beyond || k >= maxParts:
			rest += p.NS
			continue
		case p.Place >= 0:
			place := &s.Places[p.Place]
			words = place.Did.Words()
			if name, did := s.HolderOf(place); did != nil {
				words += fmt.Sprintf(" (the holder, %s, was %s)", name, did.What())
			}
		}
		fmt.Fprintf(&b, "  %9s  %3.0f %%  %s\n", Duration(p.NS), 100*float64(p.NS)/float64(ns), words)
	}
	if rest > 0 {
		fmt.Fprintf(&b, "  %9s  %3.0f %%  in other places\n", Duration(rest), 100*float64(rest)/float64(ns))
	}
	return Fold(b.String(), width, 20)
}

// whoWas names the threads that were looked at.
func whoWas(s *meanwhile.Seen) string {
	n := uint64(s.Acceptors()) + s.MoreThreads
	if n == 1 {
		for _, t := range s.Threads {
			if !t.Holder && !t.Beside {
				return fmt.Sprintf("thread %s[%d] was", format.Quote(t.Comm), t.TID)
			}
		}
	}
	return fmt.Sprintf("the %s that accept there were, on average", many(n, "thread"))
}

// kindSigns are what a cell of a thread's lane looks like.
var kindSigns = []struct {
	kind        meanwhile.Kind
	sign, means string
}{
	{meanwhile.OnCPU, "C", "on a CPU"}, {meanwhile.Throttled, "Q", "CPU quota used up"},
	{meanwhile.NoCPU, "R", "ready to run"}, {meanwhile.Stopped, "S", "stopped"}, {meanwhile.Frozen, "Z", "frozen"},
	{meanwhile.Paging, "M", "page of memory"}, {meanwhile.Disk, "D", "disk"}, {meanwhile.FullPipe, "W", "full pipe"},
	{meanwhile.EmptyPipe, "E", "empty pipe"}, {meanwhile.Peer, "B", "backend"},
	{meanwhile.SlowPeer, "b", "backend that reads nothing"}, {meanwhile.Client, "K", "its client"},
	{meanwhile.Lock, "L", "lock"}, {meanwhile.NotAsked, "N", "listener not waited for"}, {meanwhile.Idle, "I", "idle"},
	{meanwhile.Child, "P", "child process"},
	{meanwhile.Sleep, "T", "sleeps"}, {meanwhile.InAccept, "A", "in accept"}, {meanwhile.OtherCall, "O", "other call"},
	{meanwhile.NotVisible, "?", "place not visible"},
}

// maxThreadLanes is how many threads of a listener have a lane.
const maxThreadLanes = 4

// threads draws what the threads of a listener did while clients waited: a lane each.
func (d *drawing) threads(g *group) {
	i := slices.IndexFunc(d.r.Meanwhile, func(s meanwhile.Seen) bool {
		return s.Listener == g.inode && s.NetNS == g.netns && g.inode != 0
	})
	if i < 0 {
		return
	}
	s, lanes := &d.r.Meanwhile[i], 0
	for _, t := range s.Threads {
		if t.Beside && !s.Counts(t.TID) {
			continue
		}
		if lanes >= maxThreadLanes {
			d.line("", "", "… and "+many(uint64(len(s.Threads)-lanes), "more thread"))
			return
		}
		cells, seen := d.did(s, t.TID)
		if !seen {
			continue
		}
		lanes++
		label := fmt.Sprintf("%s[%d]", format.Quote(t.Comm), t.TID)
		if t.Holder {
			label += " holds the lock"
		}
		d.WriteString(fmt.Sprintf("%-*s", labelWidth, cut(label, labelWidth-1)) + cells + "\n")
	}
}

// did gives the cells of a thread: what took most of each.
func (d *drawing) did(s *meanwhile.Seen, tid uint32) (cells string, seen bool) {
	var b strings.Builder
	for x := range d.lane {
		from, to := d.at(x), max(d.at(x+1), d.at(x)+1)
		most, kind := 0.0, meanwhile.Kind("")
		for _, r := range s.Rows {
			if over := min(r.ToNS, to) - max(r.FromNS, from); r.TID == tid && over > 0 && r.ToNS > r.FromNS {
				if ns := float64(over) * float64(r.NS) / float64(r.ToNS-r.FromNS); ns > most {
					most, kind = ns, r.Kind
				}
			}
		}
		sign := "·"
		for _, k := range kindSigns {
			if k.kind == kind && kind != "" {
				sign, seen = k.sign, true
				d.used[k.sign] = true
			}
		}
		b.WriteString(sign)
	}
	return b.String(), seen
}
