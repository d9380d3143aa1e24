// Package meanwhile works out what the threads of a server did while clients waited in its accept queue: it holds
// what a recorder saw when it looked at them against the waits.
package meanwhile

import (
	"cmp"
	"maps"
	"slices"

	"github.com/acc-project/acc/format"
)

// The bounds on memory.
const (
	maxWaits  = 1 << 17 // of all listeners
	maxDoings = 1 << 16
	maxPlaces = 16 // listed of one listener

	maxRecords = 32 << 20 // bytes of records
	maxResults = 16 << 20 // bytes of what is made of them
	maxListed  = 1024     // programs, cgroups and peers of one listener
)

// Key is a listener: its network namespace and its inode number.
type Key struct {
	NetNS    uint32
	Listener uint64
}

// Collector takes the waits of clients, and what was seen of threads. The zero value is ready.
type Collector struct {
	Names Names // names what the recorder could not name; nil: nothing does

	images map[uint32]*format.Image
	stacks map[uint32]*format.Stack

	waits   map[Key][]span
	watches map[uint32]*watch
	kept    int // waits
	doings  int
	cut     bool // there were more of one
	room    format.Room
	left    int // bytes of results that there is room for
}

// span is a time, CLOCK_BOOTTIME.
type span struct{ from, to int64 }

// watch is a format.Watch with its rows.
type watch struct {
	format.Watch
	rows map[uint32]*format.Doing
}

// Wait takes a client's time in the accept queue of a listener.
func (c *Collector) Wait(at Key, from, to int64) {
	if c.kept >= maxWaits || to <= from {
		c.cut = c.cut || to > from
		return
	}
	if c.waits == nil {
		c.waits = map[Key][]span{}
	}
	c.kept++
	c.waits[at] = append(c.waits[at], span{from, to})
}

// Limited reports whether there were more records than memory for them, or for what is made of them.
func (c *Collector) Limited() bool { return c.room.Full || c.left < 0 }

// keeps reports whether there is room for a record, in the place of one that it replaces, if that is not nil.
func keeps[T any](c *Collector, now, before *T) bool {
	c.room.Max = maxRecords
	if before != nil {
		c.room.Gives(before)
	}
	if c.room.Takes(now) {
		return true
	}
	c.cut = true
	if before != nil {
		c.room.Takes(before)
	}
	return false
}

// Batch takes the records of a batch.
func (c *Collector) Batch(b *format.Batch) {
	for i := range b.Watches {
		x := &b.Watches[i]
		if w := c.watch(x.Num); w != nil && keeps(c, x, &w.Watch) {
			w.Watch = *x
		}
	}
	c.places(b)
	for i := range b.Doings {
		d := b.Doings[i]
		w := c.watch(d.Watch)
		if w == nil {
			continue
		}
		before := w.rows[d.Row]
		if before == nil && c.doings >= maxDoings {
			c.cut = true
			continue
		}
		if keeps(c, &d, before) {
			if before == nil {
				c.doings++
			}
			w.rows[d.Row] = &d
		}
	}
}

// places takes the stacks of a batch.
func (c *Collector) places(b *format.Batch) {
	if len(b.Images)+len(b.Stacks) == 0 {
		return
	}
	if c.stacks == nil {
		c.images, c.stacks = map[uint32]*format.Image{}, map[uint32]*format.Stack{}
	}
	for i := range b.Images {
		x := b.Images[i]
		if c.cut = c.cut || len(c.images) >= maxStacks; !c.cut && keeps(c, &x, c.images[x.Num]) {
			c.images[x.Num] = &x
		}
	}
	for i := range b.Stacks {
		x := b.Stacks[i]
		if c.cut = c.cut || len(c.stacks) >= maxStacks; !c.cut && keeps(c, &x, c.stacks[x.Num]) {
			c.stacks[x.Num] = &x
		}
	}
}

// watch gives the watch of a number, nil if there is no room for one.
func (c *Collector) watch(num uint32) *watch {
	if c.watches == nil {
		c.watches = map[uint32]*watch{}
	}
	w := c.watches[num]
	if w == nil {
		if !keeps(c, &format.Watch{}, nil) {
			return nil
		}
		w = &watch{rows: map[uint32]*format.Doing{}}
		c.watches[num] = w
	}
	return w
}

// Seen is what was seen of the threads of one listener's server while clients waited there.
type Seen struct {
	NetNS    uint32 `json:"netns"`    // network namespace of the listener
	Listener uint64 `json:"listener"` // its inode number
	FromNS   int64  `json:"from_ns"`  // CLOCK_BOOTTIME of the first look
	ToNS     int64  `json:"to_ns"`    // of the last one that is known
	Watches  int    `json:"watches"`  // how often looking began
	Looks    uint64 `json:"looks"`    // how often it was looked
	// how long the clients waited, summed up over them, of those that waited for 100 ms or longer
	WaitsNS int64 `json:"waits_ns"`
	// for how much of that no look says what the threads did
	UnseenNS int64                  `json:"unseen_ns"`
	Threads  []format.WatchedThread `json:"threads"` // that were looked at
	// further threads, which were not looked at
	MoreThreads uint64 `json:"more_threads"`
	// nobody was seen to accept: the threads are those of processes that have the listener open
	Owners bool                  `json:"owners"`
	Cannot []string              `json:"cannot"` // what could not be looked at, and why
	Groups []format.WatchedGroup `json:"groups"` // cgroups whose tasks had to wait meanwhile
	Peers  []format.SilentPeer   `json:"peers"`  // servers that were asked and had not answered
	// what the waiting goroutines of the servers that are Go programs waited for
	Goroutines []Goroutines `json:"goroutines"`
	Places     []Place      `json:"places"` // what the threads did, the most blamed first
	Rows       []Row        `json:"rows"`   // when they did it, by thread and time
	Cut        bool         `json:"cut"`    // there was more than acc keeps: the figures are too small
}

// Place is what threads did for a part of that time.
type Place struct {
	Did  Where    `json:"did"`  // what they did
	TIDs []uint32 `json:"tids"` // the threads, at most 8
	NS   int64    `json:"ns"`   // for how long, summed up over the threads
	// of the time that clients waited, summed up over them; of several threads each counts for its part
	BlameNS   int64  `json:"blame_ns"`
	Samples   uint64 `json:"samples"`    // of a thread that ran: how often it was sampled
	SamplesIn uint64 `json:"samples_in"` // how often it was in, or below, the functions of did.at
	counted   map[[2]uint32]bool
	num       uint32  // of the stack
	sampled   []Frame // of a thread that ran, instead
	// where in its program a thread was, innermost first: one stack of those that did.at has the names of; empty: not
	// known
	Stack []Frame `json:"stack"`
}

// Goroutines are the waiting ones of a Go program, as they were found when they were looked at.
type Goroutines struct {
	PID   uint32 `json:"pid"`
	Looks uint64 `json:"looks"` // how often they were looked at
	Total uint32 `json:"total"` // most that there were; of more than 10,000 a part was looked at
	// those that waited at one place together: what is found most often first; not those of Go's own
	Groups []GoroutineGroup `json:"groups"`
}

// GoroutineGroup are goroutines that waited for the same reason at the same place.
type GoroutineGroup struct {
	Wait  string  `json:"wait"`  // the reason, in the words of Go's own stack traces
	At    string  `json:"at"`    // the functions that called one another, innermost first
	N     uint32  `json:"n"`     // most at once
	Looks uint64  `json:"looks"` // that found any
	Stack []Frame `json:"stack"` // one stack of those that at has the names of, innermost first
}

// Row is what one thread did between two times.
type Row struct {
	TID    uint32 `json:"tid"`     // the thread
	FromNS int64  `json:"from_ns"` // boot clock, from which on it was so at times
	ToNS   int64  `json:"to_ns"`   // and until when
	NS     int64  `json:"ns"`      // for how long in all
	Place  int    `json:"place"`   // which of the places, from 0; -1: one that the list leaves out
	Kind   Kind   `json:"kind"`    // what kind of wait that is
}

// Where is what a thread did.
type Where struct {
	Kind   Kind   `json:"kind"`   // what kind of wait that is
	State  string `json:"state"`  // state of the thread
	Call   string `json:"call"`   // system call, "" none
	Of     string `json:"of"`     // what the call was about: file, pipe, socket, unix or other; "" nothing
	Target string `json:"target"` // its path or address
	WChan  string `json:"wchan"`  // kernel function, "" not known
	Among  string `json:"among"`  // whether the listener was among what it waited for
	Owner  uint32 `json:"owner"`  // thread that held the lock, 0 not known
	// it was looked at because it held a lock; for that it is not blamed
	Holder bool `json:"holder"`
	// where in its program: the functions that called one another, innermost first; "" not known
	At string `json:"at"`
}

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
		Threads: []format.WatchedThread{}, Rows: []Row{}, Goroutines: []Goroutines{},
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
		c.add(&s, w)
		c.addGoroutines(&s, w)
		acceptors := int64(0)
		holders := map[uint32]bool{}
		for _, t := range w.Threads {
			if t.Holder {
				holders[t.TID] = true
			} else {
				acceptors++
			}
		}
		running := c.running(w)
		for _, row := range slices.Sorted(maps.Keys(w.rows)) {
			d := w.rows[row]
			s.ToNS = max(s.ToNS, d.ToNS)
			p := whereOf(d, slices.ContainsFunc(w.Groups, func(g format.WatchedGroup) bool { return g.Throttled > 0 }))
			p.Holder = holders[d.TID]
			stack := c.stackOf(d.Stack)
			p.At = placeOf(stack, c.whole(d.Stack), d.Call)
			var sampled sampled
			if p.Kind == OnCPU {
				sampled = running[d.TID]
				p.At, stack = sampled.at, sampled.stack
			}
			sum := places[p]
			if sum == nil {
				if !c.takes(minPlace + len(p.At)) {
					continue
				}
				sum = &Place{Did: p, TIDs: []uint32{}, num: d.Stack}
				if p.Kind == OnCPU {
					sum.num, sum.sampled = 0, c.listed(stack)
				}
				places[p] = sum
			}
			sum.count(w.Num, d.TID, &sampled)
			s.Rows = append(s.Rows, Row{TID: d.TID, FromNS: d.FromNS, ToNS: d.ToNS, NS: d.NS, Kind: p.Kind})
			of = append(of, sum)
			sum.NS += d.NS
			if !slices.Contains(sum.TIDs, d.TID) && len(sum.TIDs) < 8 {
				sum.TIDs = append(sum.TIDs, d.TID)
			}
			if span := d.ToNS - d.FromNS; !p.Holder && span > 0 && acceptors > 0 {
				part := float64(queue.between(d.FromNS, d.ToNS)) * min(float64(d.NS)/float64(span), 1)
				sum.BlameNS += int64(part) / acceptors
				blamed += int64(part) / acceptors
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

// Acceptors is how many threads were looked at because they accept; of several each did its part of the blame.
func (s *Seen) Acceptors() (n int) {
	for _, t := range s.Threads {
		if !t.Holder {
			n++
		}
	}
	return n
}

// Part is what the threads did for a part of some time.
type Part struct {
	Place int // one of the places, or Beyond or NotSeen
	NS    int64
}

// What a part can be beside one of the places.
const (
	Beyond  = -1 // one that the list leaves out
	NotSeen = -2
)

// During says what the accepting threads did between two times, the longest first, as parts of that time: what several
// threads did counts for each its part.
func (s *Seen) During(from, to int64) (parts []Part) {
	n := int64(s.Acceptors())
	if n == 0 || to <= from {
		return nil
	}
	rest := to - from
	for _, r := range s.Rows {
		over := min(r.ToNS, to) - max(r.FromNS, from)
		if over <= 0 || s.holds(r.TID) {
			continue
		}
		ns := int64(float64(over)*min(float64(r.NS)/float64(r.ToNS-r.FromNS), 1)) / n
		rest -= ns
		i := slices.IndexFunc(parts, func(p Part) bool { return p.Place == r.Place })
		if i < 0 {
			i = len(parts)
			parts = append(parts, Part{Place: r.Place})
		}
		parts[i].NS += ns
	}
	if rest > 0 {
		parts = append(parts, Part{NotSeen, rest})
	}
	slices.SortStableFunc(parts, func(a, b Part) int { return cmp.Compare(b.NS, a.NS) })
	return parts
}

// holds reports whether a thread was looked at because it held a lock.
func (s *Seen) holds(tid uint32) bool {
	return slices.ContainsFunc(s.Threads, func(t format.WatchedThread) bool { return t.TID == tid && t.Holder })
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
		x.CPUWaitNS, x.MemoryWaitNS, x.IOWaitNS = x.CPUWaitNS+g.CPUWaitNS, x.MemoryWaitNS+g.MemoryWaitNS, x.IOWaitNS+g.IOWaitNS
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

// depths are how many clients waited, from each time on.
type depths []struct{ ns, n, sum int64 } // sum: the waits until then

// depthsOf counts the waits.
func depthsOf(waits []span) depths {
	type step struct{ ns, n int64 }
	steps := make([]step, 0, 2*len(waits))
	for _, w := range waits {
		steps = append(steps, step{w.from, 1}, step{w.to, -1})
	}
	slices.SortFunc(steps, func(a, b step) int { return cmp.Compare(a.ns, b.ns) })
	var d depths
	var n, sum, last int64
	for _, x := range steps {
		sum += n * (x.ns - last)
		n, last = n+x.n, x.ns
		d = append(d, struct{ ns, n, sum int64 }{x.ns, n, sum})
	}
	return d
}

// until is the sum of the waits until a time.
func (d depths) until(ns int64) int64 {
	i, _ := slices.BinarySearchFunc(d, ns, func(x struct{ ns, n, sum int64 }, ns int64) int {
		if x.ns <= ns {
			return -1
		}
		return 1
	})
	if i == 0 {
		return 0
	}
	return d[i-1].sum + d[i-1].n*(ns-d[i-1].ns)
}

func (d depths) between(from, to int64) int64 { return d.until(to) - d.until(from) }

// all is the sum of all waits.
func (d depths) all() int64 {
	if len(d) == 0 {
		return 0
	}
	return d[len(d)-1].sum
}
