package format

import "testing"

// The newest pair that is not later than the event places it, else the header's.
func TestClocks(t *testing.T) {
	header := Clock{BootNS: 100, RealNS: 1_000_100}
	c := NewClocks(header)
	if got := c.Time(50).UnixNano(); got != 1_000_050 {
		t.Errorf("with the header's pair alone: %d", got)
	}
	c.Add([]Clock{{BootNS: 200, RealNS: 5_000_200}})
	c.Add([]Clock{{BootNS: 150, RealNS: 9_000_150}, {}}) // goes back; is not known: neither counts
	c.Add([]Clock{{BootNS: 300, RealNS: 7_000_300}, {BootNS: 300, RealNS: 8_000_300}})
	for ns, want := range map[int64]int64{-5: 999_995, 99: 1_000_099, 199: 1_000_199, 200: 5_000_200, 299: 5_000_299, 300: 8_000_300, 1 << 40: 8_000_000 + 1<<40} {
		if got := c.Time(ns).UnixNano(); got != want {
			t.Errorf("%d is at %d, not %d", ns, want, got)
		}
	}
	lost := NewClocks(Clock{BootNS: 100}) // with the header
	if lost.Add([]Clock{{BootNS: 90, RealNS: 1_000_090}}); lost.Known(80) || !lost.Known(90) {
		t.Error("a header that is lost places events, or the first pair does not")
	}
}

// Of very many pairs the older ones are thinned out; the newest stay as they are.
func TestClocksMany(t *testing.T) {
	c := NewClocks(Clock{RealNS: 1})
	const all = 1_000_000
	for i := range int64(all) {
		c.Add([]Clock{{BootNS: i * 10, RealNS: i*10 + i}})
	}
	if len(c.pairs) > maxPairs {
		t.Errorf("%d pairs are kept", len(c.pairs))
	}
	for i := int64(all - maxPairs/4); i < all; i++ {
		if got := c.At(i*10 + 5); got.BootNS != i*10 {
			t.Fatalf("time %d is placed by the pair of %d", i*10+5, got.BootNS)
		}
	}
	for i := range int64(all) {
		if got := c.At(i * 10); got.BootNS > i*10 {
			t.Fatalf("time %d is placed by the later pair of %d", i*10, got.BootNS)
		}
	}
}
