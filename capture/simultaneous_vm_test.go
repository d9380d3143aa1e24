//go:build linux && (amd64 || arm64)

package capture

import (
	"encoding/json"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// loopback is an address of the family.
func loopback(family, port int) unix.Sockaddr {
	if family == unix.AF_INET6 {
		return &unix.SockaddrInet6{Addr: [16]byte{15: 1}, Port: port}
	}
	return &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: port}
}

// bound is a socket with a port of its own, which does not listen.
func (l *lifeTest) bound(family int) (fd int, at unix.Sockaddr) {
	l.t.Helper()
	fd = l.client(family)
	l.try(unix.Bind(fd, loopback(family, 0)))
	at, err := unix.Getsockname(fd)
	l.try(err)
	return fd, at
}

// meet makes two sockets connect to each other at the same time: the first one hears no
// answer to its SYN until the second one sends its own.
func (l *lifeTest) meet(family int) (a, b int) {
	l.t.Helper()
	a, atA := l.bound(family)
	b, atB := l.bound(family)
	l.filter(a, dropAll)
	l.try(unix.SetNonblock(a, true))
	if err := unix.Connect(a, atB); err != unix.EINPROGRESS {
		l.t.Fatalf("connect: %v", err)
	}
	l.try(unix.SetsockoptInt(a, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0))
	l.try(unix.Connect(b, atA))
	l.until("the two are not connected", func() bool {
		return l.info(a).State == established && l.info(b).State == established
	})
	return a, b
}

// A socket that connects to itself, and two that connect to each other at once, make
// connections without accept: they are counted where they are, the kernel's counters
// agree, and no list has them.
func TestVMSimultaneousOpen(t *testing.T) {
	needVM(t)
	l := &lifeTest{t: t}
	path := filepath.Join(t.TempDir(), "x.acc")
	r := startRecorder(t, "/in/acc", "record", "-o", path)
	opened := netstat(t, "PassiveOpens")
	sockets, accepts := 0, 0
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		self, at := l.bound(family)
		l.try(unix.Connect(self, at))
		if s := l.info(self).State; s != established {
			t.Fatalf("the socket that connects to itself is in state %d", s)
		}
		a, b := l.meet(family)
		for _, fd := range []int{self, a, b} {
			l.try(unix.Close(fd))
		}
		sockets += 2 // itself, and the first of the two
		lfd, addr := listen(t, family, 8)
		c := dial(t, family, addr)
		fd, _, err := unix.Accept4(lfd, 0)
		accepts++
		l.try(errors.Join(err, unix.Close(c), unix.Close(fd), unix.Close(lfd)))
	}
	r.stop(t)
	if n := netstat(t, "PassiveOpens") - opened; n != accepts {
		t.Errorf("the kernel counted %d connections of listeners, the test accepted %d", n, accepts)
	}
	out, err := exec.Command("/in/acc", "analyze", "--json", path).Output()
	var a counted
	l.try(errors.Join(err, json.Unmarshal(out, &a)))
	got := 0
	for _, n := range a.Witness.NotShown {
		if n.Counter == "simultaneous_opens" {
			got += n.Count
			if own := namespace("/proc/self/ns/net"); n.NetNS != own {
				t.Errorf("in network namespace %d, not %d", n.NetNS, own)
			}
		}
	}
	if got != sockets || a.Witness.Verdict != "agrees" {
		t.Errorf("%d sockets are said, %d were: %+v", got, sockets, a.Witness)
	}
	screen, err := exec.Command("/in/acc", "analyze", path).Output()
	if err != nil || !strings.Contains(string(screen), "not shown: 4 TCP sockets received a SYN while connecting") {
		t.Errorf("%v\n%s", err, screen)
	}
	out, err = exec.Command("/in/acc", "analyze", "--connections", "--json", path).Output()
	if n := strings.Count(string(out), "\n"); err != nil || n != accepts {
		t.Errorf("%v, %d connections are listed\n%s", err, n, out)
	}
}
