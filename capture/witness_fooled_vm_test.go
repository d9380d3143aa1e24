//go:build linux && (amd64 || arm64)

package capture

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// attack is a way to have the kernel's counters and the events differ, or agree, where they should not.
type attack struct {
	name string
	run  func(l *lifeTest) (accepted int) // how many connections were taken from a queue, as the program counted
	may  []string                         // verdicts that are true of it
}

var (
	agreeing = []string{"agrees"}
	partly   = []string{"agrees", "partly"}
)

// serveAt listens at a port, which others can do, too.
func (l *lifeTest) serveAt(port int) *server {
	l.t.Helper()
	at := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: port}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	l.try(errors.Join(err, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1), unix.Bind(fd, at),
		unix.Listen(fd, 64)))
	return &server{fd: fd, addr: at}
}

// spaceOf makes a network namespace, has n connections accepted there, and is gone again; it gives its number.
func (l *lifeTest) spaceOf(n int) (ns uint32) {
	onThread(func() {
		if err := errors.Join(unix.Unshare(unix.CLONE_NEWNET), loopbackUp()); err != nil {
			l.t.Error(err)
			return
		}
		ns = uint32(namespace("/proc/thread-self/ns/net"))
		s := l.serve(unix.AF_INET, 0, 64, nil)
		for range n {
			c := l.client(unix.AF_INET)
			l.try(errors.Join(unix.Connect(c, s.addr), unix.Close(c)))
		}
		l.accepts(s.fd, n)
		l.try(unix.Close(s.fd))
	})
	return ns
}

// guest has n connections accepted by a process in a network namespace of its own, and waits until acc has met it.
func (l *lifeTest) guest(n int) (ns uint32, end func()) {
	l.t.Helper()
	cmd := exec.Command("/in/capture.test", "-test.run", "^TestVMNamespaceGuest$")
	cmd.Env = append(os.Environ(), "ACC_GUEST="+strconv.Itoa(n))
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	l.try(errors.Join(err1, err2, cmd.Start()))
	if _, err := fmt.Fscanf(out, "in %d\n", &ns); err != nil {
		l.t.Errorf("a guest says nothing: %v", err)
	}
	time.Sleep(300 * time.Millisecond) // in which acc reads its counters
	return ns, func() {
		_ = in.Close()
		_ = cmd.Wait()
	}
}

var attacks = []attack{
	{"a namespace between the readings", func(l *lifeTest) (n int) {
		for i := range 3 {
			l.spaceOf(i + 2)
			n += i + 2
		}
		return n
	}, partly},
	{"a namespace with the number of one that ended", func(l *lifeTest) (n int) {
		first, end := l.guest(3)
		end()
		for range 50 { // the kernel gives a number again when it has cleaned up
			ns, end := l.guest(11)
			n += 11
			if ns == first {
				l.t.Cleanup(end) // it is still there at the end
				return n + 3
			}
			end()
		}
		l.t.Log("no network namespace got the number of the first one")
		return n + 3
	}, partly},
	{"a listener of another namespace", func(l *lifeTest) int {
		var s *server
		onThread(func() {
			l.try(errors.Join(unix.Unshare(unix.CLONE_NEWNET), loopbackUp()))
			s = l.serve(unix.AF_INET, 0, 64, nil)
			l.connects(s, 7)
		})
		return l.accepts(s.fd, 7)
	}, partly},
	{"self-connect", func(l *lifeTest) int {
		for range 5 {
			fd, at := l.bound(unix.AF_INET)
			l.try(errors.Join(unix.Connect(fd, at), unix.Close(fd)))
		}
		return 0
	}, agreeing},
	{"simultaneous open", func(l *lifeTest) int {
		for range 3 {
			a, b := l.meet(unix.AF_INET)
			l.try(errors.Join(unix.Close(a), unix.Close(b)))
		}
		return 0
	}, agreeing},
	{"TCP_REPAIR", func(l *lifeTest) int {
		for i := range 4 { // a connection that no packet made
			fd := l.client(unix.AF_INET)
			at := func(port int) unix.Sockaddr { return &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: port} }
			l.try(errors.Join(unix.SetsockoptInt(fd, unix.SOL_TCP, unix.TCP_REPAIR, 1), unix.Bind(fd, at(7300+i)),
				unix.Connect(fd, at(7400+i)),
				unix.SetsockoptInt(fd, unix.SOL_TCP, unix.TCP_REPAIR, 0), unix.Close(fd)))
		}
		return 0
	}, agreeing},
	{"the listener closed with clients in its queue", func(l *lifeTest) int {
		s := l.serve(unix.AF_INET, 0, 64, nil)
		l.connects(s, 9)
		n := l.accepts(s.fd, 4)
		l.try(unix.Close(s.fd))
		return n
	}, agreeing},
	{"shut down with clients in its queue, and again", func(l *lifeTest) (n int) {
		s := l.serveAt(7310)
		for range 3 {
			l.connects(s, 3)
			n += l.accepts(s.fd, 1)
			l.try(errors.Join(unix.Shutdown(s.fd, unix.SHUT_RD), unix.Listen(s.fd, 64)))
		}
		l.try(unix.Close(s.fd))
		return n
	}, agreeing},
	{"SO_REUSEPORT moves", func(l *lifeTest) int {
		if _, err := os.Stat("/proc/sys/net/ipv4/tcp_migrate_req"); err == nil {
			sysctl(l.t, "net.ipv4.tcp_migrate_req", "1")
		}
		a := l.serveAt(7320)
		l.connects(a, 6)
		b := l.serveAt(7320)
		l.try(errors.Join(unix.Close(a.fd), unix.SetNonblock(b.fd, true)))
		n := 0
		for {
			fd, _, err := unix.Accept4(b.fd, unix.SOCK_CLOEXEC)
			if err == unix.EAGAIN {
				break
			}
			l.try(errors.Join(err, unix.Close(fd)))
			n++
		}
		l.try(unix.Close(b.fd))
		return n
	}, agreeing},
	{"SYN cookies", func(l *lifeTest) int {
		sysctl(l.t, "net.ipv4.tcp_syncookies", "2")
		s := l.serve(unix.AF_INET, 0, 64, nil)
		l.connects(s, 8)
		n := l.accepts(s.fd, 5)
		return n
	}, agreeing},
	{"fast open", func(l *lifeTest) int {
		sysctl(l.t, "net.ipv4.tcp_fastopen", "1543") // client, server, and neither wants a cookie
		s := l.serve(unix.AF_INET, 0, 64, func(fd int) error {
			return unix.SetsockoptInt(fd, unix.SOL_TCP,
				unix.TCP_FASTOPEN, 16)
		})
		for range 6 {
			c := l.client(unix.AF_INET)
			_, err := unix.SendmsgN(c, []byte("x"), nil, s.addr, unix.MSG_FASTOPEN)
			l.try(errors.Join(err, unix.Close(c)))
		}
		return l.accepts(s.fd, 6)
	}, agreeing},
	{"MPTCP", func(l *lifeTest) int {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP)
		if err != nil {
			return 0
		}
		unix.Close(fd)
		s := l.serve(unix.AF_INET, unix.IPPROTO_MPTCP, 64, nil)
		for range 5 {
			c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_MPTCP)
			l.try(errors.Join(err, unix.Connect(c, s.addr)))
			l.t.Cleanup(func() { unix.Close(c) })
		}
		n := l.accepts(s.fd, 4)
		l.try(unix.Close(s.fd))
		return n
	}, agreeing},
	{"a buffer that is not there", func(l *lifeTest) int { // takes the connection, and it is destroyed
		s := l.serve(unix.AF_INET, 0, 64, nil)
		l.connects(s, 6)
		for range 3 {
			length := uint32(16)
			if _, _, errno := unix.Syscall6(unix.SYS_ACCEPT4, uintptr(s.fd), 8, uintptr(unsafe.Pointer(&length)), 0, 0,
				0); errno != unix.EFAULT {
				l.t.Errorf("accept: %v", errno)
			}
		}
		return l.accepts(s.fd, 3)
	}, agreeing},
	{"clients that reset in the queue", func(l *lifeTest) int {
		s := l.serve(unix.AF_INET, 0, 64, nil)
		for range 6 {
			c := l.client(unix.AF_INET)
			l.try(unix.Connect(c, s.addr))
			l.reset(c)
		}
		n := l.accepts(s.fd, 2)
		l.try(unix.Close(s.fd))
		return n
	}, agreeing},
}

// TestVMNamespaceGuest is a process in a network namespace of its own.
func TestVMNamespaceGuest(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("ACC_GUEST"))
	if err != nil {
		t.Skip("part of TestVMWitnessFooled")
	}
	runtime.LockOSThread()
	l := &lifeTest{t: t}
	l.try(loopbackUp())
	s := l.serve(unix.AF_INET, 0, 64, nil)
	for range n {
		c := l.client(unix.AF_INET)
		l.try(errors.Join(unix.Connect(c, s.addr), unix.Close(c)))
		l.accepts(s.fd, 1)
	}
	fmt.Println("in", namespace("/proc/thread-self/ns/net"))
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// Whatever a program does, the cross-check says nothing false: it does not agree where an accept is missing, and does
// not differ where none is.
func TestVMWitnessFooled(t *testing.T) {
	needVM(t)
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			l := &lifeTest{t: t}
			path := filepath.Join(t.TempDir(), "x.acc")
			r := startRecorder(t, "/in/acc", "record", "-o", path)
			want := a.run(l)
			r.stop(t)
			out, err := exec.Command("/in/acc", "analyze", "--json", path).Output()
			var got struct {
				Totals struct{ Accepted int }
				Check  struct {
					Verdict, Text string
					Spaces        []struct {
						NetNS                                    uint64
						Opened, Accepted, Forgotten, Unexplained int
					}
				} `json:"cross_check"`
			}
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				err = nil
			}
			if err := errors.Join(err, json.Unmarshal(out, &got)); err != nil {
				t.Fatal(err)
			}
			t.Logf("%s: %d accepted, %d recorded: %s", a.name, want, got.Totals.Accepted, got.Check.Text)
			if got.Totals.Accepted != want || !slices.Contains(a.may, got.Check.Verdict) {
				t.Errorf("%d accepted, %d recorded; the verdict is %s: %s", want, got.Totals.Accepted,
					got.Check.Verdict, fmt.Sprint(got.Check.Spaces))
			}
		})
	}
}
