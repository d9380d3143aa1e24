//go:build linux && (amd64 || arm64)

package capture

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/capture/sockdiag"
	"github.com/acc-project/acc/format"
)

// destroyed ends a listener by a message to sock_diag, as ss -K does. False: this kernel can't.
func destroyed(t *testing.T, addr unix.Sockaddr) bool {
	t.Helper()
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	req := make([]byte, sockdiag.Request)
	binary.NativeEndian.PutUint32(req, sockdiag.Request)
	binary.NativeEndian.PutUint16(req[4:], 21) // SOCK_DESTROY
	binary.NativeEndian.PutUint16(req[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	req[16], req[17] = unix.AF_INET, unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(req[20:], 1<<10)
	at := addrPort(addr)
	binary.BigEndian.PutUint16(req[24:], at.Port())
	ip := at.Addr().As4()
	copy(req[28:], ip[:])
	copy(req[64:], "\xff\xff\xff\xff\xff\xff\xff\xff") // any cookie
	if err := unix.Sendto(fd, req, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, buf, 0)
	if err != nil || n < 20 {
		t.Fatal(n, err)
	}
	errno := unix.Errno(-int32(binary.NativeEndian.Uint32(buf[16:])))
	if errno != 0 {
		t.Logf("this kernel does not destroy sockets: %v", errno)
	}
	return errno == 0
}

// ended gives a descriptor to a process, which is killed then.
func (l *lifeTest) ended(fd int) (pid int) {
	l.t.Helper()
	unix.CloseOnExec(fd)
	child := exec.Command("/bin/busybox", "sleep", "1000")
	child.ExtraFiles = []*os.File{os.NewFile(uintptr(fd), "")}
	l.try(errors.Join(child.Start(), child.ExtraFiles[0].Close(), child.Process.Kill()))
	_ = child.Wait()
	return child.Process.Pid
}

// Each way to end a listener is told apart, with who did it, whether a client is lost with it or its queue is
// empty; a socket that listened and then connects is no accepted connection, nor was it there before.
func TestVMStops(t *testing.T) {
	needVM(t)
	l := &lifeTest{t: t}
	type way struct {
		what  string
		cause format.Cause
		pid   int
		lost  int
	}
	want := map[uint64]way{} // by inode number
	lost := map[uint16]format.Cause{}
	clients := map[uint16]bool{} // ports of connections that a socket which listened before made
	me := os.Getpid()
	a := analyzeWhile(t, func(*recorder) {
		target := l.serve(unix.AF_INET, 0, 8, nil)
		t.Cleanup(func() { unix.Close(target.fd) })
		for _, n := range []int{0, 2} {
			begin := func(what string, cause format.Cause, setup func(fd int) error) *server {
				s := l.serve(unix.AF_INET, 0, 8, setup)
				for range n {
					c := l.client(unix.AF_INET)
					t.Cleanup(func() { unix.Close(c) })
					l.try(unix.Connect(c, s.addr))
					lost[portOf(t, c)] = cause
				}
				want[s.inode] = way{what, cause, me, n}
				return s
			}
			again := func(s *server) { // it connects now, and its connection ends
				l.try(unix.Connect(s.fd, target.addr))
				clients[portOf(t, s.fd)] = true
				fd, _, err := unix.Accept4(target.fd, 0)
				l.try(errors.Join(err, unix.Close(fd), unix.Close(s.fd)))
			}
			l.try(unix.Close(begin("close", format.CauseListenerClosed, nil).fd))
			s := begin("shutdown", format.CauseListenerShut, nil)
			l.try(unix.Shutdown(s.fd, unix.SHUT_RD))
			again(s)
			s = begin("shutdown after one that failed", format.CauseListenerShut, func(fd int) error {
				if err := unix.Shutdown(fd, unix.SHUT_RDWR); err != unix.ENOTCONN {
					return fmt.Errorf("shut down: %w", err)
				}
				return nil
			})
			l.try(unix.Shutdown(s.fd, unix.SHUT_RDWR))
			again(s)
			s = begin("connect", format.CauseListenerDisconnected, nil)
			var none unix.RawSockaddrAny // AF_UNSPEC
			if _, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(s.fd), uintptr(unsafe.Pointer(&none)), 16); errno != 0 {
				t.Fatal(errno)
			}
			again(s)
			s = begin("ss -K", format.CauseListenerDestroyed, nil)
			if !destroyed(t, s.addr) {
				unix.Close(s.fd)
				want[s.inode] = way{"close", format.CauseListenerClosed, me, n}
				for port, cause := range lost {
					if cause == format.CauseListenerDestroyed {
						lost[port] = format.CauseListenerClosed
					}
				}
			} else {
				unix.Close(s.fd)
			}
			s = begin("exit", format.CauseListenerExited, nil)
			want[s.inode] = way{"exit", format.CauseListenerExited, l.ended(s.fd), n}
		}
		probe, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP)
		if err != nil {
			t.Logf("no MPTCP: %v", err)
			return
		}
		l.try(unix.Close(probe))
		s := l.serve(unix.AF_INET, unix.IPPROTO_MPTCP, 8, nil)
		want[s.inode] = way{"close of MPTCP", format.CauseListenerClosed, me, 0}
		l.try(unix.Close(s.fd))
		s = l.serve(unix.AF_INET, unix.IPPROTO_MPTCP, 8, nil)
		want[s.inode] = way{"exit with MPTCP", format.CauseListenerExited, l.ended(s.fd), 0}
	})
	_, r := causes(t, a.path)
	stops := map[uint64]int{}
	for _, e := range r.events {
		switch {
		case e.Kind == format.Stop:
			w, ours := want[e.Listener]
			stops[e.Listener]++
			if ours && (e.Cause != w.cause || int(e.PID) != w.pid || int(e.Backlog) != w.lost || e.LPort == 0) {
				t.Errorf("%s of %d with %d: %+v", w.what, w.pid, w.lost, e)
			}
		case e.Kind == format.Drop && e.Hook == format.HookChildForget:
			if cause, ours := lost[e.RPort]; !ours || e.Cause != cause {
				t.Errorf("client %d is lost: %v, want %v", e.RPort, e.Cause, cause)
			}
			delete(lost, e.RPort)
		case e.Kind == format.Closed && clients[e.LPort]:
			t.Errorf("a client's own connection is told of: %+v", e)
		}
	}
	for inode, w := range want {
		if stops[inode] != 1 {
			t.Errorf("%s of inode %d is told %d times", w.what, inode, stops[inode])
		}
	}
	if len(lost) > 0 {
		t.Errorf("not told as lost: %v", lost)
	}
	stopsSaid(t, a.path, func(inode uint64) (string, int, bool) {
		w, ok := want[inode]
		return w.cause.String(), w.pid, ok
	}, len(want))
}

// stopsSaid holds what acc analyze says of stops against the truth.
func stopsSaid(t *testing.T, path string, truth func(inode uint64) (cause string, pid int, ok bool), n int) {
	t.Helper()
	out, err := exec.Command("/in/acc", "analyze", "--json", "--top", "0", path).Output()
	var got struct {
		Listeners []struct {
			Listener uint64
			Addr     string
			Stopped  *struct {
				Cause, By, Text string
				Seq             uint64
			}
		}
		Connections struct{ Before, Queued, Seen int }
	}
	if err = errors.Join(err, json.Unmarshal(out, &got)); err != nil {
		t.Fatal(err)
	}
	if c := got.Connections; c.Before != 0 || c.Queued != c.Seen {
		t.Errorf("%+v: connections that nobody queued", c)
	}
	told := 0
	for _, x := range got.Listeners {
		cause, pid, ours := truth(x.Listener)
		if !ours {
			continue
		}
		told++
		if x.Stopped == nil || x.Stopped.Cause != cause || !strings.HasSuffix(x.Stopped.By, fmt.Sprintf("[%d]", pid)) {
			t.Errorf("%s: want %s by %d, got %+v", x.Addr, cause, pid, x.Stopped)
			continue
		}
		out, err := exec.Command("/in/acc", "explain", fmt.Sprint(x.Stopped.Seq), path).CombinedOutput()
		if err != nil || !strings.Contains(strings.Join(strings.Fields(string(out)), " "), x.Stopped.Text) {
			t.Errorf("%q: %v\n%s", x.Stopped.Text, err, out)
		}
	}
	if told != n {
		t.Errorf("%d of %d listeners are told of", told, n)
	}
}
