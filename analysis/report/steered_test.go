package report

import (
	"net/netip"
	"strings"
	"testing"
)

func TestSteered(t *testing.T) {
	for _, c := range []struct{ local, listener, want string }{
		{"10.0.0.1:80", "0.0.0.0:80", ""},
		{"10.0.0.1:80", "10.0.0.1:80", ""},
		{"[::ffff:10.0.0.1]:80", "[::]:80", ""},
		{"[::ffff:10.0.0.1]:80", "10.0.0.1:80", ""},
		{"10.0.0.1:443", "0.0.0.0:80", "port 443, and the listener is on port 80"},
		{"198.51.100.7:80", "127.0.0.1:80", "198.51.100.7, and the listener is on 127.0.0.1"},
		{"10.0.0.1:443", "", ""},
		{"", "10.0.0.1:443", ""},
	} {
		local, _ := netip.ParseAddrPort(c.local)
		listener, _ := netip.ParseAddrPort(c.listener)
		if got := steered(local, listener); !strings.Contains(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%s at %s: %q, want %q", c.local, c.listener, got, c.want)
		}
	}
}
