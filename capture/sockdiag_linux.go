//go:build amd64 || arm64

package capture

// This file asks sock_diag for sockets.

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/capture/sockdiag"
	"github.com/acc-project/acc/format"
)

// maxConnections is how many connections a snapshot lists at most.
const maxConnections = 100_000

// liveStates are the states of a connection that a listener may have got.
const liveStates = 1<<1 | 1<<4 | 1<<5 | 1<<8 | 1<<9 | 1<<11

// A diagDump is the TCP sockets of a network namespace.
type diagDump struct {
	netns       uint32
	listeners   []format.ListenSocket
	ports       map[uint16]bool     // that are listened on
	connections []format.Connection // of these ports
	room        int                 // for more connections
	full        bool                // there was not enough
	count       bool                // their bytes are asked for, too
}

// ask fills d by a socket of sockdiag.Open: an error says that not all was given.
func (d *diagDump) ask(fd int, connections bool, giveUp func() bool) error {
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		states := uint32(1 << 10)
		if connections {
			states |= liveStates
		}
		if err := sockdiag.Dump(fd, family, states, d.count, giveUp, d.take); err != nil {
			return err
		}
	}
	return nil
}

// take adds a socket. Of each family, listeners come before connections.
func (d *diagDump) take(msg []byte) {
	order := binary.NativeEndian
	family, state, timer := format.Family(msg[0]), msg[1], msg[2]
	lport, rport := binary.BigEndian.Uint16(msg[4:]), binary.BigEndian.Uint16(msg[6:])
	laddr, raddr := address(family, (*[16]byte)(msg[8:])), address(family, (*[16]byte)(msg[24:]))
	inode := uint64(order.Uint32(msg[68:]))
	if state == 10 {
		d.ports[lport] = true
		d.listeners = append(d.listeners, format.ListenSocket{
			NetNS: d.netns, Listener: inode, Family: family, Proto: unix.IPPROTO_TCP, LAddr: laddr.String(),
			LPort:   lport,
			Backlog: order.Uint32(msg[56:]), BacklogMax: order.Uint32(msg[60:]),
		})
		return
	}
	if timer == sockdiag.TimeWait || !d.ports[lport] {
		return
	}
	if d.full = d.full || d.room == 0; d.full {
		return
	}
	d.room--
	c := format.Connection{
		NetNS: d.netns, LAddr: laddr.String(), LPort: lport, RAddr: raddr.String(), RPort: rport, State: state,
		Inode:  inode,
		Cookie: uint64(order.Uint32(msg[44:])) | uint64(order.Uint32(msg[48:]))<<32,
	}
	countBytes(&c, msg)
	d.connections = append(d.connections, c)
}

// countBytes takes what struct tcp_info tells of a connection.
func countBytes(c *format.Connection, msg []byte) {
	if info, ok := sockdiag.Info(msg); ok {
		c.Counted, c.BytesIn, c.BytesOut = true, info.Bytes_received, info.Bytes_acked
		c.Retransmits, c.SRTTUS = info.Total_retrans, info.Rtt
	}
}
