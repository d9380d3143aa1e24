//go:build linux

package main

// This file has the cases of address families.

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const protoMPTCP, protoSCTP = unix.IPPROTO_MPTCP, unix.IPPROTO_SCTP

var loopback6 = &unix.SockaddrInet6{Addr: [16]byte{15: 1}}

var familyCases = []testCase{
	{"ipv6", func(t *test) { t.one(unix.AF_INET6, 0, loopback6) }},
	{"v4-mapped", func(t *test) {
		s := t.socket(unix.AF_INET6, unix.SOCK_STREAM, 0)
		t.check("IPV6_V6ONLY", unix.SetsockoptInt(s.fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0))
		t.check("bind", unix.Bind(s.fd, &unix.SockaddrInet6{}))
		t.listenOn(s)
		t.connectAs(s, unix.AF_INET, 0, &unix.SockaddrInet4{Addr: loopback4.Addr, Port: s.at.(*unix.SockaddrInet6).Port})
		t.accept(s, 0)
	}},
	{"unix-path", func(t *test) {
		dir, err := os.MkdirTemp("", "accepts-")
		t.check("mkdir", err)
		defer os.RemoveAll(dir)
		t.one(unix.AF_UNIX, 0, &unix.SockaddrUnix{Name: filepath.Join(dir, "socket")})
	}},
	{"unix-long", func(t *test) {
		dir, err := os.MkdirTemp("", "accepts-")
		t.check("mkdir", err)
		defer os.RemoveAll(dir)
		// As long as it may be, without a zero byte; the kernel adds one.
		at := unix.RawSockaddrUnix{Family: unix.AF_UNIX}
		name := dir + "/" + strings.Repeat("x", len(at.Path))
		for i := range at.Path {
			at.Path[i] = int8(name[i])
		}
		raw := func(what string, call uintptr, s *socket) {
			_, _, errno := unix.Syscall(call, uintptr(s.fd), uintptr(unsafe.Pointer(&at)), unsafe.Sizeof(at))
			if errno != 0 {
				t.fail("%s: %w", what, errno)
			}
		}
		l, c := t.socket(unix.AF_UNIX, unix.SOCK_STREAM, 0), t.socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		raw("bind", unix.SYS_BIND, l)
		t.check("listen", unix.Listen(l.fd, backlog))
		l.lname, l.backlog = name[:len(at.Path)], backlog
		raw("connect", unix.SYS_CONNECT, c)
		t.accept(l, 0)
	}},
	{"unix-abstract", func(t *test) {
		t.one(unix.AF_UNIX, 0, &unix.SockaddrUnix{Name: fmt.Sprintf("@accepts-%d", os.Getpid())})
	}},
	{"vsock", func(t *test) {
		l := t.socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0)
		err := unix.Bind(l.fd, &unix.SockaddrVM{CID: unix.VMADDR_CID_LOCAL, Port: unix.VMADDR_PORT_ANY})
		t.skipIf("no vsock on loopback", err, unix.EADDRNOTAVAIL, unix.ENODEV)
		t.check("bind", err)
		t.listenOn(l)
		t.connect(l)
		t.accept(l, 0)
	}},
	{"mptcp", func(t *test) { t.one(unix.AF_INET, protoMPTCP, loopback4) }},
	{"mptcp-tcp", func(t *test) {
		l := t.listen(unix.AF_INET, protoMPTCP, loopback4)
		t.connectAs(l, unix.AF_INET, 0, l.at)
		t.accept(l, 0)
	}},
	{"sctp", func(t *test) { t.one(unix.AF_INET, protoSCTP, loopback4) }},
	{"sctp6", func(t *test) { t.one(unix.AF_INET6, protoSCTP, loopback6) }},
	{"smc", func(t *test) {
		l := t.listen(unix.AF_SMC, 0, loopback4)
		// On loopback it falls back to TCP: a thread of the kernel accepts that, and
		// looks for more.
		c := t.connect(l)
		time.Sleep(200 * time.Millisecond)
		t.Want = append(t.Want,
			&entry{Via: "kernel", FD: -1, Family: "ipv4", Local: c.remote, Remote: c.local, BacklogMax: backlog},
			&entry{Via: "kernel", FD: -1, Family: "ipv4", Errno: int(unix.EAGAIN), BacklogMax: backlog})
		t.accept(l, 0)
	}},
	{"nfsd", func(t *test) {
		var name unix.Utsname
		t.check("uname", unix.Uname(&name))
		if strings.HasPrefix(unix.ByteSliceToString(name.Release[:]), "5.10.") {
			t.skip("nfsd of Linux 5.10 crashes the kernel when it ends")
		}
		dir, err := os.MkdirTemp("", "accepts-")
		t.check("mkdir", err)
		t.atEnd(func() { _ = os.Remove(dir) })
		err = unix.Mount("nfsd", dir, "nfsd", 0, "")
		t.skipIf("mount nfsd", err, unix.ENODEV, unix.EPERM)
		t.check("mount nfsd", err)
		t.atEnd(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
		set := func(name, value string) {
			t.check(name, os.WriteFile(filepath.Join(dir, name), []byte(value+"\n"), 0))
		}
		set("versions", "-3 +4") // version 4 needs no rpcbind
		set("portlist", "tcp 2049")
		set("threads", "1")
		defer set("threads", "0")
		c := t.connectAs(nil, unix.AF_INET, 0, &unix.SockaddrInet4{Addr: loopback4.Addr, Port: 2049})
		time.Sleep(200 * time.Millisecond) // a thread of the kernel accepts, and looks for more
		t.ArmedMayVary = true
		t.Want = append(t.Want, &entry{Via: "kernel", FD: -1, Family: "ipv4", Local: c.remote, Remote: c.local})
	}},
}

// one accepts one connection.
func (t *test) one(domain, proto int, at unix.Sockaddr) {
	l := t.listen(domain, proto, at)
	t.connect(l)
	t.accept(l, 0)
}
