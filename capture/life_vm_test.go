//go:build linux && (amd64 || arm64)

package capture

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

// TCP states.
const (
	established = 1
	finWait2    = 5
	closed      = 7
	closeWait   = 8
	lastACK     = 9
)

// A life is one connection as its two ends saw it.
type life struct {
	what            string
	listener        uint64
	local, remote   netip.AddrPort
	inode, cookie   uint64
	from, connected int64 // around connect
	accept, taken   int64 // around accept, 0: it was not accepted
	queue           [2]uint32
	proto           uint16
	mark            uint16
	in, out         uint64 // bytes, as the ends counted them
	oldState        uint8
	sockErr         uint16
	stateAtAccept   uint8
	gone            bool // a State event tells that the peer closed before accept
	forgotten       bool // lost with the listener
	cookied         bool // made from a SYN cookie, or fast open: by the other hook, without the time of its SYN
}

// A lifeTest makes connections that live in different ways.
type lifeTest struct {
	t     *testing.T
	lives []*life
}

type server struct {
	fd    int
	addr  unix.Sockaddr
	inode uint64
	proto uint16
}

func (l *lifeTest) try(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// serve listens in a family with a limit; setup is called before that.
func (l *lifeTest) serve(family, proto, backlog int, setup func(fd int) error) *server {
	l.t.Helper()
	fd, err := unix.Socket(family, unix.SOCK_STREAM, proto)
	l.try(err)
	s := &server{fd: fd, proto: unix.IPPROTO_TCP}
	if setup != nil {
		l.try(setup(fd))
	}
	switch family {
	case unix.AF_INET:
		l.try(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	case unix.AF_INET6:
		l.try(unix.Bind(fd, &unix.SockaddrInet6{}))
	}
	l.try(unix.Listen(fd, backlog))
	s.addr, err = unix.Getsockname(fd)
	l.try(err)
	var st unix.Stat_t
	l.try(unix.Fstat(fd, &st))
	s.inode = st.Ino
	return s
}

// connect connects, and begins what is known of the connection.
func (l *lifeTest) connect(what string, s *server, client int, to unix.Sockaddr, queue [2]uint32) *life {
	l.t.Helper()
	x := &life{what: what, listener: s.inode, queue: queue, proto: s.proto, from: bootNS()}
	l.try(unix.Connect(client, to))
	l.ends(x, client)
	l.lives = append(l.lives, x)
	return x
}

// ends asks the client for the addresses.
func (l *lifeTest) ends(x *life, client int) {
	l.t.Helper()
	x.connected = bootNS()
	local, err := unix.Getpeername(client)
	remote, err2 := unix.Getsockname(client)
	l.try(errors.Join(err, err2))
	x.local, x.remote = addrPort(local), addrPort(remote)
}

func (l *lifeTest) client(family int) int {
	l.t.Helper()
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	l.try(err)
	return fd
}

// accept takes the connection.
func (l *lifeTest) accept(x *life, s *server) int {
	l.t.Helper()
	x.accept = bootNS()
	fd, _, err := unix.Accept4(s.fd, 0)
	l.try(err)
	x.taken = bootNS()
	var st unix.Stat_t
	l.try(unix.Fstat(fd, &st))
	x.inode = st.Ino
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	l.try(err)
	x.cookie = cookie
	return fd
}

// send sends n bytes and takes them at the other end.
func (l *lifeTest) send(from, to, n int) uint64 {
	l.t.Helper()
	b := make([]byte, n)
	m, err := unix.Write(from, b)
	l.try(err)
	got := 0
	for got < m {
		k, err := unix.Read(to, b)
		l.try(err)
		if k == 0 {
			break
		}
		got += k
	}
	if got != n {
		l.t.Fatalf("%d bytes of %d arrived", got, n)
	}
	return uint64(got)
}

// untilEnd reads the end of the connection.
func (l *lifeTest) untilEnd(fd int) {
	l.t.Helper()
	var b [1]byte
	if n, _ := unix.Read(fd, b[:]); n != 0 {
		l.t.Fatal("the connection does not end")
	}
}

func (l *lifeTest) reset(fd int) {
	l.t.Helper()
	l.try(unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
	l.try(unix.Close(fd))
}

// talk serves a connection: bytes both ways, and the client closes first.
func (l *lifeTest) talk(x *life, client, fd int) {
	l.t.Helper()
	x.in += l.send(client, fd, 1000)
	x.out += l.send(fd, client, 500)
	l.try(unix.Close(client))
	l.untilEnd(fd)
	l.try(unix.Close(fd))
	x.oldState = lastACK
}

// mapped4 is an IPv4 address in IPv6's clothes, as a socket of that family has it.
func mapped4(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(a.Addr().As16()), a.Port())
}

func sysctl(t *testing.T, name, value string) {
	t.Helper()
	path := "/proc/sys/" + strings.ReplaceAll(name, ".", "/")
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(value), 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.WriteFile(path, old, 0) })
}

// plain are connections in the usual ways.
func (l *lifeTest) plain() {
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		s := l.serve(family, 0, 7, nil)
		to := s.addr
		if family == unix.AF_INET6 {
			to = &unix.SockaddrInet6{Port: s.addr.(*unix.SockaddrInet6).Port, Addr: [16]byte{15: 1}}
		}
		first, second := l.client(family), l.client(family)
		x := l.connect("client closes first", s, first, to, [2]uint32{0, 7})
		y := l.connect("server closes first", s, second, to, [2]uint32{1, 7})
		l.talk(x, first, l.accept(x, s))
		fd := l.accept(y, s)
		y.in, y.oldState = l.send(second, fd, 77), finWait2
		l.try(unix.Close(fd))
		l.untilEnd(second)
		l.try(unix.Close(second))
		if family == unix.AF_INET6 {
			c := l.client(unix.AF_INET)
			z := l.connect("IPv4 to a listener of IPv6", s, c, &unix.SockaddrInet4{Port: int(addrPort(s.addr).Port()), Addr: [4]byte{127, 0, 0, 1}}, [2]uint32{0, 7})
			z.local, z.remote = mapped4(z.local), mapped4(z.remote)
			l.talk(z, c, l.accept(z, s))
		}
		l.try(unix.Close(s.fd))
	}
}

// early are connections whose clients are gone before accept, and one that nobody accepts.
func (l *lifeTest) early() {
	s := l.serve(unix.AF_INET, 0, 7, nil)
	c := l.client(unix.AF_INET)
	x := l.connect("reset in the queue", s, c, s.addr, [2]uint32{0, 7})
	l.reset(c)
	x.oldState, x.sockErr, x.stateAtAccept = established, uint16(unix.ECONNRESET), closed
	l.try(unix.Close(l.accept(x, s)))

	c = l.client(unix.AF_INET)
	x = l.connect("closed in the queue", s, c, s.addr, [2]uint32{0, 7})
	l.try(unix.Close(c))
	x.gone, x.oldState, x.stateAtAccept = true, lastACK, closeWait
	l.try(unix.Close(l.accept(x, s)))

	c = l.client(unix.AF_INET)
	x = l.connect("lost with the listener", s, c, s.addr, [2]uint32{0, 7})
	x.forgotten, x.oldState = true, established
	l.try(unix.Close(s.fd))
	l.try(unix.Close(c))

	s = l.serve(unix.AF_INET, 0, 7, nil)
	c = l.client(unix.AF_INET)
	x = l.connect("closed with unread data", s, c, s.addr, [2]uint32{0, 7})
	fd := l.accept(x, s)
	n, err := unix.Write(c, make([]byte, 10))
	l.try(err)
	x.in, x.oldState = uint64(n), established
	l.try(unix.Close(fd))
	l.try(unix.Close(c))
	l.try(unix.Close(s.fd))
}

// special are connections that come to the queue in other ways.
func (l *lifeTest) special() {
	s := l.serve(unix.AF_INET, 0, 7, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 60)
	})
	c := l.client(unix.AF_INET)
	x := l.connect("deferred", s, c, s.addr, [2]uint32{0, 7})
	x.mark = format.MarkDeferred
	x.connected = 1<<63 - 1 // its data bring it into the queue
	n, err := unix.Write(c, make([]byte, 20))
	l.try(err)
	fd := l.accept(x, s)
	b := make([]byte, n)
	n, err = unix.Read(fd, b)
	l.try(err)
	x.in = uint64(n)
	l.talk(x, c, fd)
	l.try(unix.Close(s.fd))

	sysctl(l.t, "net.ipv4.tcp_syncookies", "2")
	s = l.serve(unix.AF_INET, 0, 7, nil)
	c = l.client(unix.AF_INET)
	x = l.connect("SYN cookie", s, c, s.addr, [2]uint32{0, 7})
	x.mark, x.cookied = format.MarkSynCookie, true
	l.talk(x, c, l.accept(x, s))
	l.try(unix.Close(s.fd))
	sysctl(l.t, "net.ipv4.tcp_syncookies", "1")

	sysctl(l.t, "net.ipv4.tcp_fastopen", "1543") // 1 client, 2 server, 4 and 0x200 without a cookie, 0x400 all listeners
	s = l.serve(unix.AF_INET, 0, 7, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_FASTOPEN, 5)
	})
	c = l.client(unix.AF_INET)
	x = &life{what: "fast open", listener: s.inode, queue: [2]uint32{0, 7}, proto: unix.IPPROTO_TCP, from: bootNS(), mark: format.MarkFastOpen, cookied: true}
	l.try(unix.Sendto(c, make([]byte, 30), unix.MSG_FASTOPEN, s.addr))
	l.ends(x, c)
	l.lives = append(l.lives, x)
	fd = l.accept(x, s)
	n, err = unix.Read(fd, b[:cap(b)])
	l.try(err)
	for got := n; got < 30; got += n { // b is smaller
		n, err = unix.Read(fd, b[:cap(b)])
		l.try(err)
	}
	x.in = 30
	l.talk(x, c, fd)
	l.try(unix.Close(s.fd))
	sysctl(l.t, "net.ipv4.tcp_fastopen", "1")
}

// multipath are connections of a listener of MPTCP, which Go's are.
func (l *lifeTest) multipath() {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP)
	if err != nil {
		l.t.Logf("no MPTCP: %v", err)
		if _, err := os.Stat("/proc/sys/net/mptcp"); err == nil {
			l.t.Error("but the kernel has it")
		}
		return
	}
	s := l.serve(unix.AF_INET, unix.IPPROTO_MPTCP, 7, nil)
	c := l.client(unix.AF_INET)
	x := l.connect("TCP to a listener of MPTCP", s, c, s.addr, [2]uint32{0, 7})
	l.talk(x, c, l.accept(x, s))
	y := l.connect("MPTCP", s, fd, s.addr, [2]uint32{0, 7})
	y.proto = unix.IPPROTO_MPTCP
	took := l.accept(y, s)
	y.cookie = 0 // what is accepted is another socket than what was queued
	l.talk(y, fd, took)
	l.try(unix.Close(s.fd))
}

// The life of connections is told as both ends saw it, and all that the kernel
// counts are there.
func TestVMLife(t *testing.T) {
	needVM(t)
	for _, mode := range exactModes(t) {
		t.Run(string(mode), func(t *testing.T) {
			l := &lifeTest{t: t}
			opens := 0
			old := l.serve(unix.AF_INET, 0, 7, nil)
			defer unix.Close(old.fd)
			c := l.client(unix.AF_INET)
			before := l.connect("from before", old, c, old.addr, [2]uint32{})
			oldFD := l.accept(before, old)
			l.lives = nil
			r := recordWhile(t, Options{Mode: mode}, func() {
				opens = -netstat(t, "PassiveOpens")
				l.talk(before, c, oldFD)
				l.plain()
				l.early()
				l.special()
				l.multipath()
				opens += netstat(t, "PassiveOpens")
				waitClosed(t)
			})
			release, _ := kernelName()
			has := !strings.HasPrefix(release, "5.10.") // cookies for probes
			checkLimits(t, &r, has)
			ended := 0
			for _, x := range l.lives {
				if !has {
					x.cookie = 0
				}
				x.check(t, &r)
			}
			for _, e := range r.events {
				if isEnd(&e) && e.Remote() == before.remote {
					checkClosed(t, before, &e)
					ended++
				}
			}
			if ended != 1 {
				t.Errorf("a connection from before ended %d times", ended)
			}
			queued := 0
			for _, e := range r.events {
				if e.Kind == format.Queued {
					queued++
				}
				if e.Kind == format.Closed && !slices.ContainsFunc(r.events, func(q format.Event) bool { return q.Kind == format.Queued && q.Remote() == e.Remote() }) && e.LPort != addrPort(old.addr).Port() {
					t.Errorf("ended without being queued: %v %v", e.Local(), e.Remote())
				}
			}
			if opens -= r.discarded(); queued != opens || queued != len(l.lives) {
				t.Errorf("%d connections were queued, the kernel counted %d, the test made %d", queued, opens, len(l.lives))
			}
			checkSnapshots(t, &r, old)
			checkTotals(t, &r, 0)
		})
	}
}

// checkLimits requires that all probes on the life of connections could be had and fired.
func checkLimits(t *testing.T, r *recording, cookies bool) {
	t.Helper()
	for _, limit := range r.header.Limits {
		if strings.Contains(limit, "accept") || strings.Contains(limit, "io_uring") || strings.Contains(limit, "a probe is not run") {
			continue
		}
		if !cookies && strings.Contains(limit, "no cookies") {
			continue
		}
		t.Errorf("limit: %s", limit)
	}
}

// waitClosed waits until the kernel has none of the connections: their last packets
// may be on their way.
func waitClosed(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		b, err := os.ReadFile("/proc/net/tcp")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(b), " 09 ") && !strings.Contains(string(b), " 08 ") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("connections do not end:\n%s", b)
		}
	}
}
