package conntrack

// This file finds connections that are followed, by their cookies and by their addresses and ports.

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"math/rand/v2"
)

// The ways to find a connection.
const (
	byCookie = iota
	byTuple
	numWays
)

// link is what an index keeps with a connection, so that it is taken out without a search for it.
type link struct {
	hash uint64
	next *conn // of those whose hashes have the same highest bits
	in   bool
}

// index is a hash table of connections. It is faster than a map, for which a key of 56 bytes is hashed and compared
// by each look-up, by each addition, and by each removal.
type index struct {
	way   int
	heads []*conn // by the highest bits of hashes
	shift int     // 64 less the number of these
	n     int
}

const minHeads = 64 // a power of two

// first is the first connection whose hash may be this one; those that follow it are linked.
func (x *index) first(hash uint64) *conn {
	if x.n == 0 {
		return nil
	}
	return x.heads[hash>>(x.shift&63)]
}

// put adds a connection, which must not be in.
func (x *index) put(c *conn, hash uint64) {
	if x.n >= len(x.heads) {
		x.grow()
	}
	x.n++
	x.link(c, hash)
}

func (x *index) link(c *conn, hash uint64) {
	head := &x.heads[hash>>(x.shift&63)]
	c.links[x.way] = link{hash, *head, true}
	*head = c
}

func (x *index) grow() {
	old := x.heads
	x.heads = make([]*conn, max(2*len(old), minHeads))
	x.shift = 64 - bits.TrailingZeros(uint(len(x.heads)))
	for _, c := range old {
		for c != nil {
			l := c.links[x.way]
			x.link(c, l.hash)
			c = l.next
		}
	}
}

// take takes a connection out, if it is in.
func (x *index) take(c *conn) {
	l := &c.links[x.way]
	if !l.in {
		return
	}
	at := &x.heads[l.hash>>(x.shift&63)]
	for *at != c {
		at = &(*at).links[x.way].next
	}
	*at = l.next
	*l = link{}
	x.n--
}

// Seeds of hashes, so that nobody can choose cookies or addresses that collide.
var (
	cookieSeed = rand.Uint64() | 1
	tupleSeed  = maphash.MakeSeed()
)

func (k *tuple) hash() uint64 {
	var b [40]byte
	local, remote := k.local.As16(), k.remote.As16()
	copy(b[:], local[:])
	copy(b[16:], remote[:])
	binary.LittleEndian.PutUint32(b[32:], k.netns)
	binary.LittleEndian.PutUint16(b[36:], k.lport)
	binary.LittleEndian.PutUint16(b[38:], k.rport)
	return maphash.Bytes(tupleSeed, b[:])
}

// ofCookie gives the connection of a cookie, nil if none is followed.
func (t *Tracker) ofCookie(cookie uint64) *conn {
	c := t.cookies.first(cookie * cookieSeed)
	for c != nil && c.cookie != cookie {
		c = c.links[byCookie].next
	}
	return c
}

// ofTuple gives the connection between addresses and ports that began last, nil if that is not followed.
func (t *Tracker) ofTuple(k *tuple) *conn {
	if t.tuples.n == 0 {
		return nil
	}
	return t.hashed(k, k.hash())
}

func (t *Tracker) hashed(k *tuple, hash uint64) *conn {
	c := t.tuples.first(hash)
	for c != nil && (c.links[byTuple].hash != hash || c.key != *k) {
		c = c.links[byTuple].next
	}
	return c
}

// enter has a connection found, in the place of one before it that has its cookie, or its addresses and ports.
func (t *Tracker) enter(c *conn) {
	if c.cookie == 0 {
		t.bare++
	} else {
		if old := t.ofCookie(c.cookie); old != nil {
			t.cookies.take(old)
		}
		t.cookies.put(c, c.cookie*cookieSeed)
	}
	hash := c.key.hash()
	if old := t.hashed(&c.key, hash); old != nil {
		t.tuples.take(old)
	}
	t.tuples.put(c, hash)
}

// leave has it not found any more.
func (t *Tracker) leave(c *conn) {
	if c.cookie == 0 {
		t.bare--
	}
	t.cookies.take(c)
	t.tuples.take(c)
}
