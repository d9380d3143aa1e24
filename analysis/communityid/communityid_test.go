package communityid

import (
	"net/netip"
	"testing"
)

// What the specification publishes: baseline/baseline_deflt.json of
// https://github.com/corelight/community-id-spec, the rows of protocols with ports.
var baseline = []struct {
	proto      uint16
	a, b, want string
}{
	{6, "[2001:470:e5bf:dead:4957:2174:e82c:4887]:63943", "[2607:f8b0:400c:c03::1a]:25", "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4="},
	{6, "[2607:f8b0:400c:c03::1a]:25", "[2001:470:e5bf:dead:4957:2174:e82c:4887]:63943", "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4="},
	{132, "192.168.170.8:7", "192.168.170.56:7", "1:MP2EtRCAUIZvTw6MxJHLV7N7JDs="},
	{132, "192.168.170.56:7", "192.168.170.8:7", "1:MP2EtRCAUIZvTw6MxJHLV7N7JDs="},
	{6, "128.232.110.120:34855", "66.35.250.204:80", "1:LQU9qZlK+B5F3KDmev6m5PMibrg="},
	{6, "66.35.250.204:80", "128.232.110.120:34855", "1:LQU9qZlK+B5F3KDmev6m5PMibrg="},
	{17, "192.168.1.52:54585", "8.8.8.8:53", "1:d/FP5EW3wiY1vCndhwleRRKHowQ="},
	{17, "8.8.8.8:53", "192.168.1.52:54585", "1:d/FP5EW3wiY1vCndhwleRRKHowQ="},
}

func TestBaseline(t *testing.T) {
	for _, x := range baseline {
		if got := Of(x.proto, netip.MustParseAddrPort(x.a), netip.MustParseAddrPort(x.b)); got != x.want {
			t.Errorf("Of(%d, %s, %s) = %q, the specification has %q", x.proto, x.a, x.b, got, x.want)
		}
	}
}

// A dual-stack listener has clients of IPv4 as ::ffff:a.b.c.d; on the wire, where others look, is IPv4. MPTCP's
// packets are TCP's.
func TestAsOnTheWire(t *testing.T) {
	a, b := netip.MustParseAddrPort("128.232.110.120:34855"), netip.MustParseAddrPort("66.35.250.204:80")
	mapped := netip.AddrPortFrom(netip.AddrFrom16(a.Addr().As16()), a.Port())
	mappedToo := netip.AddrPortFrom(netip.AddrFrom16(b.Addr().As16()), b.Port())
	if got := Of(262, mapped, mappedToo); got != "1:LQU9qZlK+B5F3KDmev6m5PMibrg=" {
		t.Errorf("mapped addresses give %q", got)
	}
	for _, none := range []string{Of(1, a, b), Of(6, netip.AddrPort{}, b), Of(6, a, netip.MustParseAddrPort("[::1]:1"))} {
		if none != "" {
			t.Errorf("%q where there is none", none)
		}
	}
}
