//go:build amd64 || arm64

package capture

// This file knows for how long the clients in accept queues have waited, and has the threads looked at that should
// accept them when that is long.

import (
	"slices"
	"time"

	"github.com/acc-project/acc/bpf"
	"github.com/acc-project/acc/capture/looks"
	"github.com/acc-project/acc/format"
)

const (
	waitLong   = 100 * time.Millisecond // a client that waits for so long has the threads looked at
	lookEnds   = 200 * time.Millisecond // after the queue became empty, looking ends
	takeEvery  = 500 * time.Millisecond // between two takings of what was found, where nothing else happens
	lookPace   = 20 * time.Millisecond  // between two looks at all queues
	maxQueues  = 1 << 12                // listeners that are followed
	maxClients = 1 << 18                // of all of them, 2 MiB
)

// queues are those of the listeners.
type queues struct {
	looker *looks.Looker // nil: nothing was looked at yet
	cannot string        // what keeps it from looking at threads, "" nothing
	all    []*clientQueue
	by     map[uint64]*clientQueue // by inode number; nil: they are not followed
	last   [64]*clientQueue        // the one used last, by the end of its inode number
	due    time.Time               // when something is to be done here; zero: never
	asked  time.Time               // when that was last worked out
	places uint                    // for clients, of all queues

	// Up to when all events were taken. Who was accepted later may seem to wait still: where this process gets no CPU
	// for a while, accepts of all that time are in the ring.
	knownNS int64
}

// clientQueue is a listener's accept queue: when each client was queued. It is first in, first out, as in the kernel.
type clientQueue struct {
	at      looks.Listener
	ns      []int64 // a ring, its length a power of two
	from    uint    // the oldest
	n       uint
	owed    outOfTurn // accepts that were told of before their client was
	gone    outOfTurn // clients that the kernel had no more when the next one came: their accepts are still to be told of
	looking bool
	emptyNS int64 // since when it is empty, while it is looked at
}

// outOfTurn is what was told of in another order than it happened in, as events of two CPUs are.
type outOfTurn struct {
	n  uint
	ns int64 // of the last one
}

// add adds one.
func (t *outOfTurn) add(ns int64) { t.n, t.ns = t.n+1, max(t.ns, ns) }

// take takes one, if there is one that can be meant: one of that time or later.
func (t *outOfTurn) take(fromNS int64) bool {
	if t.n > 0 && t.ns < fromNS {
		t.n = 0
	}
	if t.n == 0 {
		return false
	}
	t.n--
	return true
}

// start begins to follow the queues.
func (c *queues) start() { c.by = map[uint64]*clientQueue{} }

// stop follows no queue any more. It does not wait for the looker, as close does: events go on to come.
func (c *queues) stop() {
	c.by, c.all, c.due = nil, nil, time.Time{}
	c.last = [len(c.last)]*clientQueue{}
	go c.close()
}

// close ends looking: what was found can be taken then.
func (c *queues) close() {
	if c.looker != nil {
		c.looker.Close()
	}
}

// queue finds a listener's, nil if it is not followed.
func (c *queues) queue(inode uint64) *clientQueue {
	if q := c.last[inode%uint64(len(c.last))]; q != nil && q.at.Inode == inode {
		return q
	}
	q := c.by[inode]
	if q != nil {
		c.last[inode%uint64(len(c.last))] = q
	}
	return q
}

// follow begins to follow a listener.
func (c *queues) follow(at looks.Listener) *clientQueue {
	if len(c.all) >= maxQueues {
		c.forget()
		if len(c.all) >= maxQueues {
			return nil
		}
	}
	q := &clientQueue{at: at, ns: make([]int64, 4)}
	c.places += uint(len(q.ns))
	c.all = append(c.all, q)
	c.by[at.Inode] = q
	return q
}

// forget forgets the queues that are empty.
func (c *queues) forget() {
	c.last = [len(c.last)]*clientQueue{}
	c.all = slices.DeleteFunc(c.all, func(q *clientQueue) bool {
		if q.n > 0 || q.looking {
			return false
		}
		delete(c.by, q.at.Inode)
		c.places -= uint(len(q.ns))
		return true
	})
}

// life takes an event of a connection.
func (c *queues) life(raw *bpf.AccLifeEvent) {
	if c.by == nil {
		return
	}
	switch format.Kind(raw.Kind) {
	case format.Queued:
		q := c.queue(raw.Listener)
		if q == nil {
			if q = c.follow(looks.Listener{NetNS: raw.Netns, Inode: raw.Listener, Port: raw.Lport}); q == nil {
				return
			}
		}
		c.put(q, int64(raw.BootNs), uint(raw.Backlog))
	case format.Drop:
		if q := c.queue(raw.Listener); q != nil && format.Hook(raw.Hook) == format.HookChildForget {
			q.take(int64(raw.BootNs), q.n)
		}
	}
}

// event takes an event of a task.
func (c *queues) event(e *format.Event) {
	switch {
	case c.by == nil:
	case e.Kind == format.Return && (e.Ret >= 0 || e.Mark&format.MarkClientLost != 0):
		c.accepted(e.Listener, e.BootNS, uint(e.Backlog))
	case e.Kind == format.Stop:
		if q := c.queue(e.Listener); q != nil {
			q.n, q.owed, q.gone = 0, outOfTurn{}, outOfTurn{}
		}
	}
}

// accepted takes an accept that took a client. left: how many were there then, by the kernel.
func (c *queues) accepted(listener uint64, ns int64, left uint) {
	if c.by == nil {
		return
	}
	if q := c.queue(listener); q != nil {
		q.take(ns, left)
	}
}

// put puts a client into a queue. before: how many were there, by the kernel.
func (c *queues) put(q *clientQueue, ns int64, before uint) {
	if q.owed.take(ns) { // it was queued before it was accepted
		return
	}
	for q.n > before { // some have left, and are not told of, or only later
		q.drop()
		q.gone.add(ns)
	}
	if q.n == uint(len(q.ns)) {
		if c.places+q.n > maxClients {
			return
		}
		c.places += q.n
		grown := make([]int64, 2*len(q.ns))
		for i := range q.n {
			grown[i] = q.ns[(q.from+i)%uint(len(q.ns))]
		}
		q.ns, q.from = grown, 0
	}
	q.ns[(q.from+q.n)&uint(len(q.ns)-1)] = ns
	q.n++
}

// take takes the oldest out: it was accepted. left: how many the kernel had then. If that is less than are here, it is
// not the accept of one that is gone already: of some of those no event comes.
func (q *clientQueue) take(ns int64, left uint) {
	switch {
	case q.n <= left+q.later(ns) && q.gone.take(ns-int64(waitLong)):
	case q.n == 0:
		q.owed.add(ns)
	default:
		q.drop()
	}
}

// later is how many came later than that.
func (q *clientQueue) later(ns int64) (n uint) {
	for n < q.n && q.ns[(q.from+q.n-1-n)&uint(len(q.ns)-1)] > ns {
		n++
	}
	return n
}

// drop removes the oldest.
func (q *clientQueue) drop() {
	q.n--
	q.from = (q.from + 1) & uint(len(q.ns)-1)
}

// before takes what waited in queues when recording began.
func (c *queues) before(list []format.ListenSocket, ns int64) {
	if c.by == nil {
		return
	}
	for i := range list {
		l := &list[i]
		if l.Backlog == 0 || l.Listener == 0 || l.Proto != format.ProtoTCP && l.Proto != format.ProtoMPTCP {
			continue
		}
		if q := c.follow(looks.Listener{NetNS: l.NetNS, Inode: l.Listener, Port: l.LPort}); q != nil {
			for i := range uint(l.Backlog) {
				c.put(q, ns-int64(waitLong), i)
			}
		}
	}
}

// look begins and ends looking, by how long the clients have waited.
func (s *session) look(now time.Time) error {
	c := &s.queues
	if now.Sub(c.asked) < lookPace { // a batch can be a millisecond
		if c.due.IsZero() && c.by != nil {
			c.due = now.Add(waitLong) // who was queued since has waited long by then
		}
		return nil
	}
	c.asked = now
	ns := c.knownNS
	c.due = time.Time{}
	next := func(in int64) {
		if at := now.Add(max(time.Duration(in), lookPace)); c.due.IsZero() || at.Before(c.due) {
			c.due = at
		}
	}
	for _, q := range c.all {
		switch {
		case q.n > 0:
			q.emptyNS = 0
			if q.looking {
				next(int64(takeEvery))
				break
			}
			if waits := ns - q.ns[q.from]; waits < int64(waitLong) {
				next(int64(waitLong) - waits)
				break
			}
			q.looking = true
			if c.looker == nil {
				c.looker = looks.New(c.cannot)
			}
			c.looker.Begin(q.at, s.accepting(q.at.Inode))
		case q.looking && q.emptyNS == 0:
			q.emptyNS = ns
			next(int64(lookEnds))
		case q.looking && ns-q.emptyNS >= int64(lookEnds):
			q.looking, q.emptyNS = false, 0
			c.looker.End(q.at)
		case q.looking:
			next(int64(lookEnds) - (ns - q.emptyNS))
		}
	}
	return c.record(s.writer)
}

// nextFile has what is looked at recorded in the next file, too.
func (c *queues) nextFile() {
	if c.looker != nil {
		c.looker.Again()
	}
}

// record records what was found.
func (c *queues) record(w *format.Writer) error {
	if c.looker == nil {
		return nil
	}
	return c.looker.Record(w)
}

// accepting are the threads that called accept at a listener last, or are in it.
func (s *session) accepting(listener uint64) (list []looks.Thread) {
	add := func(f *uint64, pid, tid uint32) {
		if t := (looks.Thread{PID: pid, TID: tid}); *f == listener && pid != 0 && !slices.Contains(list, t) {
			list = append(list, t)
		}
	}
	for i := range s.repeats {
		raw := &s.repeats[i].raw
		if k := format.Kind(raw.Kind); k != format.Enter && k != format.Return {
			continue // who called listen need not accept
		}
		add(&raw.Facts.Listener, raw.Pid, raw.Tid)
	}
	for _, base := range s.calls.bases {
		if base != nil {
			raw := &base.raw.Event
			add(&raw.Facts.Listener, raw.Pid, raw.Tid)
		}
	}
	s.calls.each(func(a *bpf.AccAttempt) {
		add(&a.In.Listener, a.Who.Pid, a.Who.Tid)
	})
	return list
}
