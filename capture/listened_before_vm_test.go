//go:build linux && (amd64 || arm64)

package capture

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

// exListener is a socket that listened, and connected to target then.
func (l *lifeTest) exListener(proto, port int, target *server) (client, accepted int, err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		return -1, -1, err
	}
	at := &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}
	l.try(errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), unix.Bind(fd, at),
		unix.Listen(fd, 8)))
	var none unix.RawSockaddrAny // AF_UNSPEC
	if _, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&none)), 16); errno != 0 {
		return -1, -1, errno
	}
	if err := unix.Connect(fd, target.addr); err != nil {
		return -1, -1, err
	}
	accepted, _, err = unix.Accept4(target.fd, unix.SOCK_CLOEXEC)
	return fd, accepted, err
}

// A socket that listened and connected to somebody before the recording keeps the limit of its queue, as
// connections of a listener have it. Its end is not one of a listener's connection.
func TestVMListenedBefore(t *testing.T) {
	needVM(t)
	l := &lifeTest{t: t}
	target := l.serve(unix.AF_INET, 0, 64, nil)
	defer unix.Close(target.fd)
	type pair struct{ client, accepted int }
	var pairs []pair
	ports := map[uint16]string{}
	how := map[int]string{}
	for _, proto := range []int{0, unix.IPPROTO_MPTCP} {
		for _, port := range []int{7231, 0} {
			for _, end := range []string{"closed first", "closed last", "reset"} {
				if end == "reset" && port == 0 {
					continue // the port's bucket, which tells, is gone by then
				}
				if port != 0 {
					port++
				}
				what := fmt.Sprintf("protocol %d, port %d, %s", proto, port, end)
				c, s, err := l.exListener(proto, port+proto, target)
				if err != nil {
					t.Logf("%s: %v", what, err)
					continue
				}
				pairs = append(pairs, pair{c, s})
				ports[portOf(t, c)], how[c] = what, end
			}
		}
	}
	if len(pairs) < 5 {
		t.Fatalf("%d connections", len(pairs))
	}
	a := analyzeWhile(t, func(*recorder) {
		for _, p := range pairs {
			var b [1]byte
			for _, fd := range []int{p.client, p.accepted} { // an MPTCP socket that listened may close without a word
				l.try(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1}))
			}
			switch how[p.client] {
			case "closed first":
				l.try(unix.Close(p.client))
				_, _ = unix.Read(p.accepted, b[:])
				l.try(unix.Close(p.accepted))
			case "closed last":
				l.try(unix.Close(p.accepted))
				_, _ = unix.Read(p.client, b[:])
				l.try(unix.Close(p.client))
			default:
				l.try(errors.Join(unix.SetsockoptLinger(p.client, unix.SOL_SOCKET, unix.SO_LINGER,
					&unix.Linger{Onoff: 1}), unix.Close(p.client)))
				_, _ = unix.Read(p.accepted, b[:])
				l.try(unix.Close(p.accepted))
			}
		}
	})
	_, r := causes(t, a.path)
	ended := map[uint16]int{}
	for _, e := range r.events {
		if what, own := ports[e.LPort]; own && e.Kind == format.Closed {
			t.Errorf("%s: a client's own connection is told of: %+v", what, e)
		}
		if _, ours := ports[e.RPort]; ours && isEnd(&e) {
			ended[e.RPort]++
		}
	}
	for port, what := range ports {
		if ended[port] != 1 {
			t.Errorf("%s: the other end, which was accepted, ended %d times", what, ended[port])
		}
	}
	out, err := exec.Command("/in/acc", "analyze", "--connections", a.path).CombinedOutput()
	if err != nil || strings.Count(string(out), "before") > len(pairs)+2 {
		t.Errorf("%v\n%s", err, out)
	}
}

// listen() of an MPTCP listener that listens already gives its queue another limit, as of one of TCP.
func TestVMMultipathRelisten(t *testing.T) {
	needVM(t)
	l := &lifeTest{t: t}
	probe, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP)
	if err != nil {
		t.Skipf("no MPTCP: %v", err)
	}
	unix.Close(probe)
	var inode uint64
	a := analyzeWhile(t, func(*recorder) {
		s := l.serve(unix.AF_INET, unix.IPPROTO_MPTCP, 2, nil)
		inode = s.inode
		connect := func(n int) {
			for range n {
				c := l.client(unix.AF_INET)
				l.try(unix.Connect(c, s.addr))
				fd, _, err := unix.Accept4(s.fd, 0)
				l.try(errors.Join(err, unix.Close(c), unix.Close(fd)))
			}
		}
		connect(1)
		l.try(unix.Listen(s.fd, 64))
		connect(1)
		l.try(unix.Listen(s.fd, 8))
		connect(1)
		l.try(unix.Close(s.fd))
	})
	_, r := causes(t, a.path)
	var limits []uint32
	for _, e := range r.events {
		if e.Kind == format.Listen && e.Listener == inode {
			limits = append(limits, e.BacklogMax)
		}
	}
	if fmt.Sprint(limits) != "[2 64 8]" {
		t.Errorf("listen events of inode %d have the limits %v", inode, limits)
		for _, e := range r.events {
			t.Logf("%s %s listener %d proto %d %s limit %d", e.Kind, e.Hook, e.Listener, e.Proto, e.Local(),
				e.BacklogMax)
		}
	}
	out, err := exec.Command("/in/acc", "analyze", a.path).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	saysAll(t, strings.Join(strings.Fields(string(out)), " "), "had the limit 2 (", "), then 64 (", "), then 8 (")
}
