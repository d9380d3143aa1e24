package format

import (
	"slices"
	"unsafe"
)

// changes finds out which fields of the task that a block's events come from ever
// change, so that work is done for few columns: a task mostly does what it did last.
type changes struct {
	changed [eventWords]uint64 // bits of an event that differ from the task's event before, in any row
	fresh   []int32            // rows that are the first with their task, kind and errno
	given   []int32
	places  []place
}

// place is one number of a sparse column.
type place struct{ row, num int64 }

const (
	eventWords = unsafe.Sizeof(Event{}) / 8
	maxFresh   = 1 << 10 // more rows than that, and columns are made in the plain way
)

// span is a run of words of an event that mostly stay the same.
type span struct{ from, to uintptr }

// spans are the words that hold nothing but fields with the task as their key.
var spans = steadySpans()

// steadySpans finds them. What differs from event to event, though its key is the
// task, is not among them.
func steadySpans() (list []span) {
	var busy [eventWords]bool
	for i := range Fields {
		f := &Fields[i]
		if f.key != byTask || f.Name == "ret" || f.Name == "backlog" || f.Name == "inode" {
			for at := f.at; at < f.at+f.size; at++ {
				busy[at/8] = true
			}
		}
	}
	busy[unsafe.Offsetof(ev.Seq)/8] = true
	for w := uintptr(0); w < eventWords; w++ {
		if busy[w] {
			continue
		}
		if n := len(list); n > 0 && list[n-1].to == w {
			list[n-1].to++
		} else {
			list = append(list, span{w, w + 1})
		}
	}
	return list
}

// find compares each event with the one before of the same task, kind and errno,
// which prev tells. Those that are like it are known not to differ.
func (c *changes) find(events []Event, prev, likes []int32) {
	for w := range c.changed {
		c.changed[w] = ^uint64(0)
	}
	for _, s := range spans {
		clear(c.changed[s.from:s.to])
	}
	c.fresh = c.fresh[:0]
	for i := range events {
		if i < len(likes) && likes[i] >= 0 && prev[i] == likes[i] {
			continue
		}
		e := &events[i]
		if prev[i] < 0 || !same(e, &events[prev[i]]) {
			c.fresh = append(c.fresh, int32(i))
			continue
		}
		p := unsafe.Pointer(&events[prev[i]])
		for _, s := range spans {
			if !sameBytes(unsafe.Pointer(e), p, s) {
				c.note((*[eventWords]uint64)(unsafe.Pointer(e)), (*[eventWords]uint64)(p), s)
			}
		}
	}
}

func sameBytes(a, b unsafe.Pointer, s span) bool {
	n := int(s.to-s.from) * 8
	return unsafe.String((*byte)(unsafe.Add(a, s.from*8)), n) == unsafe.String((*byte)(unsafe.Add(b, s.from*8)), n)
}

// note marks what differs between two events in a span. Texts that lie elsewhere
// count as different; a column that does not change after all takes no more room.
func (c *changes) note(a, b *[eventWords]uint64, s span) {
	for w := s.from; w < s.to; w++ {
		c.changed[w] |= a[w] ^ b[w]
	}
}

// steady reports whether the field has the value of the task's event before in all
// rows but the fresh ones, of which there are few.
func (c *changes) steady(f *Field, rows int) bool {
	if f.key != byTask || len(c.fresh) > maxFresh || len(c.fresh)*sparseShare > max(rows, sparseShare) {
		return false
	}
	for at := f.at; at < f.at+f.size; at++ {
		if byte(c.changed[at/8]>>(8*(at%8))) != 0 {
			return false
		}
	}
	return true
}

// among gives the fresh rows that are in a list of rows.
func (c *changes) among(rows []int32) []int32 {
	c.given = c.given[:0]
	for _, row := range c.fresh {
		n, ok := slices.BinarySearch(rows, row)
		if rows = rows[n:]; ok {
			c.given = append(c.given, row)
		}
	}
	return c.given
}
