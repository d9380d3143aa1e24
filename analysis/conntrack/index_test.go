package conntrack

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

// Connections are found as two maps would find them, whatever comes, ends, and takes the place of another one.
func TestIndex(t *testing.T) {
	rng := rand.New(rand.NewPCG(19, 19))
	tr := New(Options{})
	cookies, tuples := map[uint64]*conn{}, map[tuple]*conn{}
	addr := func(n uint64) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}) }
	some := func() (uint64, tuple) {
		return rng.Uint64N(300) << 55, tuple{addr(1), addr(rng.Uint64N(3)), 1, 80, uint16(rng.Uint64N(100)) << 8}
	}
	var followed []*conn
	for range 100_000 {
		cookie, k := some()
		if c := tr.ofCookie(cookie); c != cookies[cookie] && cookie != 0 {
			t.Fatalf("cookie %#x: %v, not %v", cookie, c, cookies[cookie])
		}
		if c := tr.ofTuple(&k); c != tuples[k] {
			t.Fatalf("%v: %v, not %v", k, c, tuples[k])
		}
		if len(followed) < 200 && rng.IntN(2) == 0 {
			c := &conn{cookie: cookie, key: k}
			tr.enter(c)
			if followed = append(followed, c); cookie != 0 {
				cookies[cookie] = c
			}
			tuples[k] = c
			continue
		}
		if len(followed) == 0 {
			continue
		}
		i := rng.IntN(len(followed))
		c := followed[i]
		followed[i] = followed[len(followed)-1]
		followed = followed[:len(followed)-1]
		if tr.leave(c); cookies[c.cookie] == c {
			delete(cookies, c.cookie)
		}
		if tuples[c.key] == c {
			delete(tuples, c.key)
		}
	}
	if tr.cookies.n != len(cookies) || tr.tuples.n != len(tuples) {
		t.Errorf("%d cookies and %d tuples, not %d and %d", tr.cookies.n, tr.tuples.n, len(cookies), len(tuples))
	}
}

// Cookies and addresses that a made capture can have, which differ in their highest bits alone, are spread.
func TestIndexSpreads(t *testing.T) {
	tr := New(Options{})
	for k := range uint64(4096) {
		var ip [16]byte
		ip[0], ip[8] = byte(k), byte(k>>8)
		tr.enter(&conn{cookie: k<<52 + 1, key: tuple{remote: netip.AddrFrom16(ip)}})
	}
	for _, x := range []*index{&tr.cookies, &tr.tuples} {
		for i := range x.heads {
			n := 0
			for c := x.heads[i]; c != nil; c = c.links[x.way].next {
				n++
			}
			if n > 16 {
				t.Errorf("way %d: %d of %d connections have one place of %d", x.way, n, x.n, len(x.heads))
			}
		}
	}
}
