//go:build linux && (amd64 || arm64)

package capture

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// listen opens a listening socket and gives where it listens.
func listen(t *testing.T, family, backlog int) (fd int, addr unix.Sockaddr) {
	t.Helper()
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	switch family {
	case unix.AF_INET:
		addr = &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	case unix.AF_INET6:
		addr = &unix.SockaddrInet6{Addr: [16]byte{15: 1}}
	default:
		addr = &unix.SockaddrUnix{Name: fmt.Sprintf("@acc-%d", fd)}
	}
	if err := errors.Join(unix.Bind(fd, addr), unix.Listen(fd, backlog)); err != nil {
		t.Fatal(err)
	}
	if addr, err = unix.Getsockname(fd); err != nil {
		t.Fatal(err)
	}
	return fd, addr
}

// dial connects to addr.
func dial(t *testing.T, family int, addr unix.Sockaddr) int {
	t.Helper()
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(fd, addr); err != nil {
		t.Fatal(err)
	}
	return fd
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// accepted is what a server learns of a connection by asking the kernel.
type accepted struct {
	fd            int32
	inode         uint64
	local, remote netip.AddrPort
}

func learn(t *testing.T, fd int) accepted {
	var st unix.Stat_t
	local, err1 := unix.Getsockname(fd)
	remote, err2 := unix.Getpeername(fd)
	if err := errors.Join(unix.Fstat(fd, &st), err1, err2); err != nil {
		t.Error(err)
	}
	return accepted{int32(fd), st.Ino, addrPort(local), addrPort(remote)}
}

// listensAt gives the inode number of a listening socket.
func listensAt(t *testing.T, l net.Listener) uint64 {
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}
