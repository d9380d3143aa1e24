package meanwhile

// This file makes the results of what was recorded: the watches of each listener, summed up.

import (
	"cmp"
	"maps"
	"slices"

	"github.com/acc-project/acc/format"
)

// Results are what was seen of each listener, by network namespace and inode number.
func (c *Collector) Results() []Seen {
	c.name()
	by := map[Key][]*watch{}
	for _, num := range slices.Sorted(maps.Keys(c.watches)) {
		w := c.watches[num]
		if w.Num == 0 { // its record is missing
			continue
		}
		k := Key{w.NetNS, w.Listener}
		by[k] = append(by[k], w)
	}
	keys := slices.SortedFunc(maps.Keys(by), func(a, b Key) int {
		return cmp.Or(cmp.Compare(a.NetNS, b.NetNS), cmp.Compare(a.Listener, b.Listener))
	})
	list := []Seen{}
	c.left = maxResults
	for _, k := range keys {
		if !c.takes(minSeen) {
			break
		}
		list = append(list, c.seen(k, by[k]))
	}
	for i := range list {
		list[i].Cut = c.cut
	}
	return list
}

// What parts of the results take at least, in bytes.
const (
	minSeen  = 512
	minPlace = 256
	minFrame = 64
)

// takes reports whether there is room for so many bytes of results.
func (c *Collector) takes(n int) bool {
	if c.left >= 0 {
		c.left -= n
	}
	c.cut = c.cut || c.left < 0
	return c.left >= 0
}

// listed is a copy of a stack, empty if there is no room for it.
func (c *Collector) listed(stack []Frame) []Frame {
	n := 0
	for i := range stack {
		n += minFrame + len(stack[i].Image) + len(stack[i].BuildID) + len(stack[i].Func)
	}
	if !c.takes(n) {
		return []Frame{}
	}
	return append([]Frame{}, stack...)
}

// seen sums up the watches of a listener.
func (c *Collector) seen(at Key, watches []*watch) Seen {
	s := Seen{NetNS: at.NetNS, Listener: at.Listener, FromNS: watches[0].FromNS, Cut: c.cut, Cannot: []string{},
		Ended: []uint32{}, Threads: []format.WatchedThread{}, Rows: []Row{}, Goroutines: []Goroutines{},
		Groups: []format.WatchedGroup{}, Peers: []format.SilentPeer{}}
	queue := depthsOf(c.waits[at])
	s.WaitsNS = queue.all()
	places, blamed := map[Where]*Place{}, int64(0)
	var of []*Place // of each row
	for _, w := range watches {
		s.Watches++
		s.Looks += uint64(w.Looks)
		s.ToNS = max(s.ToNS, w.ToNS)
		s.MoreThreads = max(s.MoreThreads, uint64(w.MoreThreads))
		s.Owners = s.Owners || w.Owners
		for _, tid := range w.Ended {
			if !slices.Contains(s.Ended, tid) && len(s.Ended) < 8 {
				s.Ended = append(s.Ended, tid)
			}
		}
		c.add(&s, w)
		c.addGoroutines(&s, w)
		accepts := w.accepting()
		for _, x := range c.rowsOf(w) {
			d, p := x.Doing, x.did
			s.ToNS = max(s.ToNS, d.ToNS)
			sum := places[p]
			if sum == nil {
				if !c.takes(minPlace + len(p.At)) {
					continue
				}
				sum = &Place{Did: p, TIDs: []uint32{}, num: d.Stack}
				if p.Kind == OnCPU {
					sum.num, sum.sampled = 0, c.listed(x.sampled.stack)
				}
				places[p] = sum
			}
			sum.count(w.Num, d.TID, &x.sampled)
			s.Rows = append(s.Rows, Row{TID: d.TID, FromNS: d.FromNS, ToNS: d.ToNS, NS: d.NS, Kind: p.Kind, share: x.share})
			of = append(of, sum)
			sum.NS += d.NS
			if !slices.Contains(sum.TIDs, d.TID) && len(sum.TIDs) < 8 {
				sum.TIDs = append(sum.TIDs, d.TID)
			}
			if span := d.ToNS - d.FromNS; span > 0 && accepts > 0 {
				part := x.share * float64(queue.between(d.FromNS, d.ToNS)) * min(float64(d.NS)/float64(span), 1)
				sum.BlameNS += int64(part) / accepts
				blamed += int64(part) / accepts
			}
		}
	}
	s.UnseenNS = max(s.WaitsNS-blamed, 0)
	for _, p := range places {
		s.Places = append(s.Places, *p)
	}
	slices.SortFunc(s.Places, func(a, b Place) int {
		return cmp.Or(cmp.Compare(b.BlameNS, a.BlameNS), cmp.Compare(b.NS, a.NS), cmp.Compare(a.Did.Kind, b.Did.Kind),
			cmp.Compare(a.Did.Call, b.Did.Call), cmp.Compare(a.Did.Target, b.Did.Target),
			cmp.Compare(a.Did.WChan, b.Did.WChan), cmp.Compare(a.Did.At, b.Did.At))
	})
	s.Places = append([]Place{}, s.Places[:min(len(s.Places), maxPlaces)]...)
	for i := range s.Places {
		p := &s.Places[i]
		if p.Stack = p.sampled; p.Stack == nil {
			p.Stack = c.listed(c.stackOf(p.num))
		}
	}
	s.order(of)
	return s
}

// order has the rows in order, and refer to their places.
func (s *Seen) order(of []*Place) {
	for i := range s.Rows {
		s.Rows[i].Place = slices.IndexFunc(s.Places, func(p Place) bool { return p.Did == of[i].Did })
	}
	slices.SortStableFunc(s.Rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(a.TID, b.TID), cmp.Compare(a.FromNS, b.FromNS), cmp.Compare(a.ToNS, b.ToNS))
	})
}

// add adds what a watch says of itself.
func (c *Collector) add(s *Seen, w *watch) {
	for _, t := range w.Threads {
		if !slices.Contains(s.Threads, t) && len(s.Threads) < 256 {
			s.Threads = append(s.Threads, t)
		}
	}
	for _, x := range w.Cannot {
		if !slices.Contains(s.Cannot, x) && len(s.Cannot) < 8 && c.takes(len(x)) {
			s.Cannot = append(s.Cannot, x)
		}
	}
	for _, g := range w.Groups {
		i := slices.IndexFunc(s.Groups, func(h format.WatchedGroup) bool { return h.Cgroup == g.Cgroup })
		if i < 0 {
			if c.lists(len(s.Groups), len(g.Cgroup)) {
				s.Groups = append(s.Groups, g)
			}
			continue
		}
		x := &s.Groups[i]
		x.Throttled, x.ThrottledNS = x.Throttled+g.Throttled, x.ThrottledNS+g.ThrottledNS
		x.CPUWaitNS, x.MemoryWaitNS = x.CPUWaitNS+g.CPUWaitNS, x.MemoryWaitNS+g.MemoryWaitNS
		x.IOWaitNS += g.IOWaitNS
	}
	for _, p := range w.Peers {
		i := slices.IndexFunc(s.Peers, func(q format.SilentPeer) bool {
			return q.PID == p.PID && q.RAddr == p.RAddr && q.RPort == p.RPort
		})
		if i < 0 {
			if c.lists(len(s.Peers), len(p.RAddr)) {
				s.Peers = append(s.Peers, p)
			}
		} else if p.WaitingNS > s.Peers[i].WaitingNS {
			s.Peers[i] = p
		}
	}
}

// lists reports whether there is room for one more in a list of n, with so many bytes of texts.
func (c *Collector) lists(n, text int) bool {
	c.cut = c.cut || n >= maxListed
	return n < maxListed && c.takes(minFrame+text)
}
