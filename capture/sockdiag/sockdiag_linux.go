// Package sockdiag asks the kernel about the TCP sockets of a network namespace: sock_diag(7).
package sockdiag

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What linux/sock_diag.h and linux/inet_diag.h define and is needed here.
const (
	ByFamily = 20      // SOCK_DIAG_BY_FAMILY
	Request  = 16 + 56 // struct nlmsghdr, struct inet_diag_req_v2
	Message  = 72      // struct inet_diag_msg
	TimeWait = 3       // idiag_timer of a socket that only waits

	attrInfo = 2 // INET_DIAG_INFO: struct tcp_info
)

// Open opens a socket that asks the kernel about those of a network
// namespace: the one of the file, or the thread's own. The calling goroutine must
// be on a thread of its own, which may remain in the other namespace.
func Open(ns, own *os.File) (int, error) {
	open := func() (int, error) {
		return unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	}
	if a, err := ns.Stat(); err == nil {
		if b, err := own.Stat(); err == nil && os.SameFile(a, b) { // which needs no privilege
			return open()
		}
	}
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return -1, fmt.Errorf("enter a network namespace: %w", err)
	}
	fd, err := open()
	if back := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); back != nil {
		return fd, errors.Join(err, fmt.Errorf("leave a network namespace: %w", back))
	}
	return fd, err
}

// Dump gives the TCP sockets of a family that are in one of the states, a bit each, by a socket of Open: each as
// struct inet_diag_msg with its attributes, in memory that is used again. Info: with struct tcp_info. An error says
// that not all were given; os.ErrDeadlineExceeded, that it was to give up.
func Dump(fd int, family byte, states uint32, info bool, giveUp func() bool, each func(msg []byte)) error {
	req := make([]byte, Request)
	order := binary.NativeEndian
	order.PutUint32(req, Request)
	order.PutUint16(req[4:], ByFamily)
	order.PutUint16(req[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	req[16], req[17] = family, unix.IPPROTO_TCP
	if info {
		req[18] = 1 << (attrInfo - 1)
	}
	order.PutUint32(req[20:], states)
	if err := unix.Sendto(fd, req, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("ask for TCP sockets: %w", err)
	}
	buf := buffers.Get().(*[datagram]byte)
	defer buffers.Put(buf)
	for {
		if giveUp() {
			return os.ErrDeadlineExceeded
		}
		n, _, err := unix.Recvfrom(fd, buf[:], 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("list TCP sockets: %w", err)
		}
		if done, err := answers(buf[:n], each); done || err != nil {
			return err
		}
	}
}

const datagram = 32 << 10 // bytes that the kernel sends at most at once (netlink_recvmsg)

// The recorder asks every ten seconds: memory that is new each time would have the runtime clean up the more often.
var buffers = sync.Pool{New: func() any { return new([datagram]byte) }}

// answers takes the messages of a datagram: the last one of a dump says that it is done.
func answers(rest []byte, each func(msg []byte)) (done bool, err error) {
	order := binary.NativeEndian
	for len(rest) >= 16 {
		size := int(order.Uint32(rest))
		if size < 16 || size > len(rest) {
			return false, io.ErrUnexpectedEOF
		}
		switch msg := rest[16:size]; order.Uint16(rest[4:]) {
		case unix.NLMSG_DONE:
			return true, nil
		case unix.NLMSG_ERROR:
			if len(msg) < 4 {
				return false, io.ErrUnexpectedEOF
			}
			errno := unix.Errno(-int32(order.Uint32(msg)))
			if errno == unix.ENOENT {
				return false, fmt.Errorf("list TCP sockets: the kernel module tcp_diag is not loaded: %w", errno)
			}
			return false, fmt.Errorf("list TCP sockets: %w", errno)
		case ByFamily:
			if len(msg) >= Message {
				each(msg)
			}
		}
		rest = rest[min((size+3)&^3, len(rest)):]
	}
	return false, nil
}

// Info is struct tcp_info of a message of Dump, as much of it as the kernel has; false if it is not there, or shorter
// than to segs_out.
func Info(msg []byte) (info unix.TCPInfo, ok bool) {
	order := binary.NativeEndian
	for attrs := msg[Message:]; len(attrs) >= 4; {
		size := int(order.Uint16(attrs))
		if size < 4 || size > len(attrs) {
			return info, false
		}
		if order.Uint16(attrs[2:]) == attrInfo && size-4 >= int(unsafe.Offsetof(info.Segs_out)) {
			copy(unsafe.Slice((*byte)(unsafe.Pointer(&info)), unsafe.Sizeof(info)), attrs[4:size])
			return info, true
		}
		attrs = attrs[min((size+3)&^3, len(attrs)):]
	}
	return info, false
}
