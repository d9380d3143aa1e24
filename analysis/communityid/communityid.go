// Package communityid computes the Community ID of connections, version 1: a hash of protocol,
// addresses and ports that Zeek, Suricata, Arkime and others print beside their alerts, so that
// an alert of theirs finds the process that accepted the connection.
//
// Specification: https://github.com/corelight/community-id-spec. The seed is 0, which is the default everywhere.
package communityid

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"net/netip"

	"github.com/acc-project/acc/format"
)

// Of is the Community ID of a flow between two ends, whichever stands first; "" if an address is
// not valid or the protocol has no ports that acc knows. proto is the kernel's number: MPTCP's packets
// are TCP's. An IPv4 address that is mapped into IPv6 counts as what is on the wire, IPv4.
func Of(proto uint16, a, b netip.AddrPort) string {
	switch proto {
	case format.ProtoMPTCP:
		proto = format.ProtoTCP
	case format.ProtoTCP, protoUDP, protoSCTP:
	default:
		return ""
	}
	x, y := a.Addr().Unmap().WithZone(""), b.Addr().Unmap().WithZone("")
	if !x.IsValid() || !y.IsValid() || x.BitLen() != y.BitLen() {
		return ""
	}
	xPort, yPort := a.Port(), b.Port()
	if c := x.Compare(y); c > 0 || c == 0 && xPort > yPort { // the smaller end stands first
		x, y, xPort, yPort = y, x, yPort, xPort
	}
	var room [2 + 16 + 16 + 2 + 4]byte
	data := append(room[:0], 0, 0) // the seed
	data = append(append(data, x.AsSlice()...), y.AsSlice()...)
	data = append(data, byte(proto), 0)
	data = binary.BigEndian.AppendUint16(data, xPort)
	data = binary.BigEndian.AppendUint16(data, yPort)
	sum := sha1.Sum(data)
	var text [2 + 28]byte
	copy(text[:], "1:")
	base64.StdEncoding.Encode(text[2:], sum[:])
	return string(text[:])
}

// Protocol numbers beside TCP's that have ports.
const (
	protoUDP  = 17
	protoSCTP = 132
)
