//go:build linux && (amd64 || arm64)

package capture

import (
	"math/rand/v2"
	"testing"

	"github.com/acc-project/acc/capture/looks"
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
			q.take()
			model = model[1:]
		}
		if q.n != uint(len(model)) || q.n > 0 && q.ns[q.from] != model[0] {
			t.Fatalf("%d clients, want %d", q.n, len(model))
		}
	}
	c.put(q, now+1, 2) // all but two have left without an event
	if q.n != 3 || q.ns[q.from] != model[len(model)-2] {
		t.Errorf("%d clients, the oldest of %d; want 3, of %d", q.n, q.ns[q.from], model[len(model)-2])
	}
	q.n = 0
	q.take() // an accept that is told of before its client
	c.put(q, now+2, 0)
	if q.n != 0 {
		t.Errorf("%d clients", q.n)
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
