//go:build linux && (amd64 || arm64)

package capture

import (
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/acc-project/acc/capture/looks"
	"github.com/acc-project/acc/format"
)

// A queue of clients is first in, first out, grows, and takes the kernel's count of it for what was not told.
func TestClientQueue(t *testing.T) {
	c := &queues{}
	c.start()
	q := c.follow(looks.Listener{Inode: 1})
	var model []int64
	now := int64(0)
	r := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		if r.IntN(3) > 0 {
			now++
			c.put(q, now, uint(len(model)))
			model = append(model, now)
		} else if len(model) > 0 {
			model = model[1:]
			q.take(now, uint(len(model)))
		}
		if q.n != uint(len(model)) || q.n > 0 && q.ns[q.from] != model[0] {
			t.Fatalf("%d clients, want %d", q.n, len(model))
		}
	}
	c.put(q, now+1, 2) // all but two have left without an event
	if q.n != 3 || q.ns[q.from] != model[len(model)-2] {
		t.Errorf("%d clients, the oldest of %d; want 3, of %d", q.n, q.ns[q.from], model[len(model)-2])
	}
	*q = clientQueue{ns: q.ns}
	q.take(now+3, 0) // the event of this accept comes before the event of its client
	if c.put(q, now+2, 0); q.n != 0 {
		t.Errorf("%d clients", q.n)
	}
	if c.put(q, now+4, 0); q.n != 1 {
		t.Errorf("%d clients", q.n)
	}
}

// Two threads accept one client each, and end their calls when both clients have come: the kernel has one client less than
// was told of. The one that waits afterwards is known.
func TestClientQueueOfSeveralThreads(t *testing.T) {
	c := &queues{}
	c.start()
	q := c.follow(looks.Listener{Inode: 1})
	const first, second, third = int64(time.Hour), int64(time.Hour) + 100, int64(time.Hour) + 1000
	c.put(q, first, 0)
	c.put(q, second, 0) // the first one was taken out of the queue
	if q.take(second+10, 1); q.n != 1 || q.ns[q.from] != second {
		t.Errorf("%d clients: the second one waits until its accept", q.n)
	}
	if q.take(second+20, 0); q.n != 0 {
		t.Errorf("%d clients, and both are accepted", q.n)
	}
	if c.put(q, third, 0); q.n != 1 || q.ns[q.from] != third {
		t.Errorf("%d clients: the third one waits", q.n)
	}
	c.put(q, third+1, 0) // the third one was lost
	if q.take(third+2*int64(waitLong), q.n); q.n != 0 {
		t.Errorf("%d clients: what was lost long ago is not what was accepted now", q.n)
	}
}

// The event of one accept is lost. After the later accepts of a healthy server no client is left, for which the threads
// of that server would be looked at.
func TestClientQueueAfterLoss(t *testing.T) {
	c := &queues{}
	c.start()
	q := c.follow(looks.Listener{Inode: 1})
	c.put(q, 0, 0)
	for at := int64(time.Second); at < int64(time.Minute); at += int64(time.Second) {
		c.put(q, at, 0)
		if q.take(at+100_000, 0); q.n != 0 {
			t.Fatalf("after %d s %d clients wait, and all are accepted", at/1e9, q.n)
		}
	}
	// Two clients come. The accept of the first one left the queue empty, but its event comes after the events of both:
	// the second client still waits.
	const at = int64(time.Hour)
	c.put(q, at, 0)
	c.put(q, at+100, 0)
	if q.take(at+50, 0); q.n != 1 || q.ns[q.from] != at+100 {
		t.Errorf("%d clients: the second one waits", q.n)
	}
}

// However many listeners and clients there are, what is kept of them is bounded.
func TestQueuesAreBounded(t *testing.T) {
	c := &queues{}
	c.start()
	for i := range uint64(2 * maxQueues) {
		q := c.follow(looks.Listener{Inode: i + 1})
		if q == nil {
			continue
		}
		for n := range uint(200) {
			c.put(q, int64(n), n)
		}
	}
	kept := 0
	for _, q := range c.all {
		kept += len(q.ns)
	}
	if len(c.all) != maxQueues || kept > maxClients+4*maxQueues || uint(kept) != c.places {
		t.Errorf("%d queues with room for %d clients, counted as %d", len(c.all), kept, c.places)
	}
}

// Nobody is looked at while no client has waited for long, whatever the load: there is no looker that could cost anything.
func TestQueuesCalm(t *testing.T) {
	s := &session{}
	s.queues.start()
	q := s.queues.follow(looks.Listener{Inode: 1 << 60})
	now := time.Now()
	for n := range 10_000 { // one is taken for each that comes, and there are always some
		if s.queues.put(q, bootNS(), q.n); n >= 8 {
			q.take(bootNS(), q.n-1)
		}
		oldest := q.ns[q.from]
		s.queues.knownNS = bootNS()
		if err := s.look(now.Add(time.Duration(n) * lookPace)); err != nil {
			t.Fatal(err)
		}
		switch waited := bootNS() - oldest; {
		case s.queues.looker == nil:
		case waited >= int64(waitLong):
			s.queues.close()
			t.Skipf("this machine stood still for %d ms", waited/1e6)
		default:
			t.Fatalf("after %d clients there is a looker, and none has waited for more than %d ms", n, waited/1e6)
		}
	}
	s.queues.put(q, bootNS()-int64(waitLong), q.n) // behind those that came just now
	for range 8 {
		q.take(bootNS(), q.n-1)
	}
	s.queues.knownNS = bootNS()
	if err := s.look(now.Add(time.Hour)); err != nil || s.queues.looker == nil {
		t.Fatalf("a client that has waited for 100 ms is not noticed: %v", err)
	}
	s.queues.close()
}

// A recorder that got no CPU for a while, or that took long for what was in the ring, has not seen who was accepted
// meanwhile: nobody is looked at for that.
func TestQueuesLate(t *testing.T) {
	m, write := ringOf(8)
	w, err := format.NewWriter(io.Discard, format.Header{}, format.WriterOptions{}) // what is looked at writes to it
	if err != nil {
		t.Fatal(err)
	}
	s := &session{mapped: m, writer: w}
	s.queues.start()
	defer s.queues.close()
	write(0) // not a record that acc knows: the drain ends there
	if err := s.drain(); err == nil {
		t.Fatal("a record of 24 zeros was taken")
	}
	known := s.queues.knownNS
	s.queues.put(s.queues.follow(looks.Listener{Inode: 1 << 60}), known-int64(waitLong)/2, 0)
	time.Sleep(waitLong)
	now := time.Now()
	if err := s.look(now); err != nil || s.queues.looker != nil {
		t.Fatalf("who was accepted %d ms before may be in the ring, but is looked at as if it was not: %v",
			(bootNS()-known)/1e6, err)
	}
	if err := s.drain(); err != nil {
		t.Fatal(err)
	}
	if err := s.look(now.Add(time.Second)); err != nil || s.queues.looker == nil {
		t.Fatalf("a client that is known to have waited for %d ms is not noticed: %v",
			(s.queues.knownNS-known)/1e6, err)
	}
}
