package report

// This file says where the kernel gave a connection to a listener of another address or port.

import (
	"fmt"
	"net/netip"
)

// steered says that a connection's local end is not its listener's, as sk_lookup programs,
// TPROXY and bpf_sk_assign make them; "" if it is, or if one of the two is not known.
func steered(local, listener netip.AddrPort) string {
	if !local.IsValid() || !listener.IsValid() || local.Port() == 0 || listener.Port() == 0 {
		return ""
	}
	at, listens := local.Addr().Unmap(), listener.Addr().Unmap()
	switch {
	case local.Port() != listener.Port():
		return fmt.Sprintf("The client connected to port %d, and the listener is on port %d: "+
			"the kernel steered the connection there (a sk_lookup program, TPROXY, or bpf_sk_assign).", local.Port(),
			listener.Port())
	case !listens.IsUnspecified() && at != listens:
		return fmt.Sprintf("The client connected to %s, and the listener is on %s: "+
			"the kernel steered the connection there (a sk_lookup program, TPROXY, or bpf_sk_assign).", at, listens)
	}
	return ""
}
