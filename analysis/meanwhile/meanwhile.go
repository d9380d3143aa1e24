// Package meanwhile works out what the threads of a server did while clients waited in its accept queue: it holds
// what a recorder saw when it looked at them against the waits.
package meanwhile

import "github.com/acc-project/acc/format"

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
