//go:build linux

package main

// This file makes sockets and clients.

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const backlog = 16

// The kernel's error of a call that a signal interrupted.
const erestartsys = 512

// socket is a listener, or the client's end of a connection.
type socket struct {
	fd      int
	domain  int
	proto   int
	inode   uint64
	local   string
	remote  string
	at      unix.Sockaddr
	lname   string
	backlog int
	timeout bool // has SO_RCVTIMEO
}

var families = map[int]string{unix.AF_INET: "ipv4", unix.AF_INET6: "ipv6", unix.AF_UNIX: "unix", unix.AF_VSOCK: "vsock", unix.AF_SMC: "smc"}

func (t *test) socket(domain, kind, proto int) *socket {
	fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC, proto)
	t.skipIf("socket", err, unix.EAFNOSUPPORT, unix.EPROTONOSUPPORT, unix.ESOCKTNOSUPPORT, unix.ENOPROTOOPT)
	t.check("socket", err)
	t.atEnd(func() { unix.Close(fd) })
	return &socket{fd: fd, domain: domain, proto: proto, inode: t.inode(fd)}
}

func (t *test) inode(fd int) uint64 {
	var st unix.Stat_t
	t.check("fstat", unix.Fstat(fd, &st))
	return st.Ino
}

// listen makes a listener.
func (t *test) listen(domain, proto int, at unix.Sockaddr) *socket {
	s := t.socket(domain, unix.SOCK_STREAM, proto)
	t.check("bind", unix.Bind(s.fd, at))
	t.listenOn(s)
	return s
}

func (t *test) listenOn(s *socket) {
	t.check("listen", unix.Listen(s.fd, backlog))
	var err error
	s.at, err = unix.Getsockname(s.fd)
	t.check("getsockname", err)
	s.local, s.backlog = address(s.at), backlog
	if s.domain == unix.AF_UNIX {
		s.lname = s.local
	}
}

var loopback4 = &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}

func (t *test) listen4() *socket { return t.listen(unix.AF_INET, 0, loopback4) }

// connect makes a connection to l, which then waits to be accepted.
func (t *test) connect(l *socket) *socket { return t.connectAs(l, l.domain, l.proto, l.at) }

func (t *test) connectAs(l *socket, domain, proto int, at unix.Sockaddr) *socket {
	c := t.socket(domain, unix.SOCK_STREAM, proto)
	t.check("connect", unix.Connect(c.fd, at))
	local, err := unix.Getsockname(c.fd)
	t.check("getsockname", err)
	c.local, c.remote = address(local), address(at)
	return c
}

// ready is a listener on which a connection waits.
func (t *test) ready() (l, c *socket) {
	l = t.listen4()
	c = t.connect(l)
	// The end of the handshake can be on its way on another CPU yet.
	_, err := unix.Poll([]unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLIN}}, 5000)
	t.check("poll", err)
	return l, c
}

func address(sa unix.Sockaddr) string {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)).String()
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port)).String()
	case *unix.SockaddrVM:
		return fmt.Sprintf("%d:%d", a.CID, a.Port)
	case *unix.SockaddrUnix:
		if a.Name != "@" { // no name
			return a.Name
		}
	}
	return ""
}

// entry begins an account of an attempt on l by this thread, and adds it.
func (t *test) entry(l *socket, via string) *entry {
	e := &entry{TID: unix.Gettid(), Via: via, FD: -1, Listener: l.inode, Family: families[l.domain], LName: l.lname, BacklogMax: l.backlog}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Want = append(t.Want, e)
	return e
}

// accepted completes e with what the accepted socket tells.
func (t *test) accepted(e *entry, fd int) {
	e.FD, e.Inode = fd, t.inode(fd)
	local, err := unix.Getsockname(fd)
	t.check("getsockname", err)
	e.Local = address(local)
	if remote, err := unix.Getpeername(fd); err == nil { // otherwise the peer has gone
		e.Remote = address(remote)
	}
	if e.Family == "unix" {
		cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
		t.check("SO_PEERCRED", err)
		e.PeerPID, e.PeerUID = int(cred.Pid), int(cred.Uid)
	}
	t.atEnd(func() { unix.Close(fd) })
}

// call makes an attempt on l, which is to end with errno.
func (t *test) call(l *socket, via string, errno unix.Errno, call func(fd int) (int, unix.Errno)) *entry {
	fd, got := call(l.fd)
	if got != errno {
		t.fail("%s: got %v (%d), want %d", via, got, got, errno)
	}
	e := t.entry(l, via)
	e.Errno = int(got)
	if got == unix.EINTR && !l.timeout {
		e.Errno = erestartsys
	}
	if got == 0 {
		t.accepted(e, fd)
	}
	return e
}

// accept is the plainest attempt.
func (t *test) accept(l *socket, errno unix.Errno) *entry {
	return t.call(l, viaAccept4, errno, func(fd int) (int, unix.Errno) { return accept4(fd, nil, nil, 0) })
}

// lose marks e as an attempt that failed and took c with it.
func (t *test) lose(e *entry, c *socket) {
	p := []unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLIN}}
	if n, err := unix.Poll(p, 5000); err != nil || n == 0 {
		t.fail("the connection was not lost: %v", err)
	}
	e.Lost, e.Local, e.Remote = true, c.remote, c.local
}

// buffer is where accept puts the peer's address.
type buffer struct {
	addr [128]byte
	len  int32
}

func (b *buffer) args() (addr, addrlen unsafe.Pointer) {
	return unsafe.Pointer(&b.addr), unsafe.Pointer(&b.len)
}

// nowhere is an address that can't be written to.
func (t *test) nowhere() unsafe.Pointer {
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON)
	t.check("mmap", err)
	t.atEnd(func() { _ = unix.Munmap(page) })
	return unsafe.Pointer(unsafe.SliceData(page))
}

// whenAsleep runs f when this thread sleeps in accept.
func (t *test) whenAsleep(f func()) {
	tid := unix.Gettid()
	t.Go(func() {
		t.awaitSleep(t.PID, tid)
		f()
	})
}

func (t *test) awaitSleep(pid, tid int) {
	for end := time.Now().Add(20 * time.Second); !asleep(pid, tid); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.fail("thread %d does not sleep in accept", tid)
		}
	}
}

// asleep says whether a thread sleeps in a call of accept.
func asleep(pid, tid int) bool {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/syscall", pid, tid))
	number, _, _ := strings.Cut(string(b), " ")
	n, err := strconv.Atoi(number)
	return err == nil && isAccept(uintptr(n))
}
