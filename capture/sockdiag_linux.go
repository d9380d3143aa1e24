//go:build amd64 || arm64

package capture

// This file asks sock_diag for sockets.

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

// What linux/sock_diag.h and linux/inet_diag.h define and is needed here.
const (
	sockDiagByFamily = 20
	diagRequest      = 16 + 56 // struct nlmsghdr, struct inet_diag_req_v2
	diagMessage      = 72      // struct inet_diag_msg
	diagTimeWait     = 3       // idiag_timer of a socket that only waits
	diagInfo         = 2       // INET_DIAG_INFO: struct tcp_info
)

// maxConnections is how many connections a snapshot lists at most.
const maxConnections = 100_000

// liveStates are the states of a connection that a listener may have got.
const liveStates = 1<<1 | 1<<4 | 1<<5 | 1<<8 | 1<<9 | 1<<11

// diagSocket opens a socket that asks the kernel about those of a network
// namespace: the one of the file, or the thread's own. The calling goroutine must
// be on a thread of its own, which may remain in the other namespace.
func diagSocket(ns, own *os.File) (int, error) {
	if a, err := ns.Stat(); err == nil {
		if b, err := own.Stat(); err == nil && os.SameFile(a, b) { // which needs no privilege
			return unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
		}
	}
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return -1, fmt.Errorf("enter a network namespace: %w", err)
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if back := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); back != nil {
		return fd, errors.Join(err, fmt.Errorf("leave a network namespace: %w", back))
	}
	return fd, err
}

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

// ask fills d by a socket of diagSocket: an error says that not all was given.
func (d *diagDump) ask(fd int, connections bool, giveUp func() bool) error {
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		states := uint32(1 << 10)
		if connections {
			states |= liveStates
		}
		req := make([]byte, diagRequest)
		order := binary.NativeEndian
		order.PutUint32(req, diagRequest)
		order.PutUint16(req[4:], sockDiagByFamily)
		order.PutUint16(req[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
		req[16], req[17] = family, unix.IPPROTO_TCP
		if d.count {
			req[18] = 1 << (diagInfo - 1)
		}
		order.PutUint32(req[20:], states)
		if err := unix.Sendto(fd, req, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return fmt.Errorf("ask for TCP sockets: %w", err)
		}
		if err := d.answers(fd, giveUp); err != nil {
			return err
		}
	}
	return nil
}

// answers takes the messages of one dump.
func (d *diagDump) answers(fd int, giveUp func() bool) error {
	buf := make([]byte, 64<<10)
	for {
		if giveUp() {
			return os.ErrDeadlineExceeded
		}
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("list TCP sockets: %w", err)
		}
		for rest := buf[:n]; len(rest) >= 16; {
			size := int(binary.NativeEndian.Uint32(rest))
			if size < 16 || size > len(rest) {
				return io.ErrUnexpectedEOF
			}
			switch msg := rest[16:size]; binary.NativeEndian.Uint16(rest[4:]) {
			case unix.NLMSG_DONE:
				return nil
			case unix.NLMSG_ERROR:
				if len(msg) < 4 {
					return io.ErrUnexpectedEOF
				}
				return fmt.Errorf("list TCP sockets: %w", unix.Errno(-int32(binary.NativeEndian.Uint32(msg))))
			case sockDiagByFamily:
				d.take(msg)
			}
			rest = rest[min((size+3)&^3, len(rest)):]
		}
	}
}

// take adds a socket. Of each family, listeners come before connections.
func (d *diagDump) take(msg []byte) {
	if len(msg) < diagMessage {
		return
	}
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
	if timer == diagTimeWait || !d.ports[lport] {
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
	countBytes(&c, msg[diagMessage:])
	d.connections = append(d.connections, c)
}

// countBytes takes what struct tcp_info tells of a connection from its attributes.
func countBytes(c *format.Connection, attrs []byte) {
	order := binary.NativeEndian
	for len(attrs) >= 4 {
		size := int(order.Uint16(attrs))
		if size < 4 || size > len(attrs) {
			return
		}
		var info unix.TCPInfo
		if order.Uint16(attrs[2:]) == diagInfo && size-4 >= int(unsafe.Offsetof(info.Segs_out)) {
			copy(unsafe.Slice((*byte)(unsafe.Pointer(&info)), unsafe.Sizeof(info)), attrs[4:size])
			c.Counted, c.BytesIn, c.BytesOut = true, info.Bytes_received, info.Bytes_acked
			c.Retransmits, c.SRTTUS = info.Total_retrans, info.Rtt
		}
		attrs = attrs[min((size+3)&^3, len(attrs)):]
	}
}
