//go:build linux && (amd64 || arm64)

package capture

import (
	"errors"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

const placePort = 7788

// space is what a network namespace of TestVMPlaces has: a connection, and its number.
type space struct {
	ino              uint64
	listener, client int
	at               *unix.SockaddrInet4
	server           int
}

// newSpace makes a network namespace with a listener and a client that is bound to a
// port. The thread is in it from then on.
func newSpace(t *testing.T, port, from int) *space {
	t.Helper()
	s := &space{at: &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: port}}
	var st unix.Stat_t
	lo, err := unix.NewIfreq("lo")
	if err := errors.Join(err, unix.Unshare(unix.CLONE_NEWNET), unix.Stat("/proc/thread-self/ns/net", &st)); err != nil {
		t.Fatal(err)
	}
	lo.SetUint16(unix.IFF_UP)
	var err1, err2 error
	s.ino = st.Ino
	s.listener, err1 = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	s.client, err2 = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err := errors.Join(err1, err2, unix.IoctlIfreq(s.listener, unix.SIOCSIFFLAGS, lo), unix.Bind(s.listener, s.at), unix.Listen(s.listener, 0), // whose port tells its connections
		unix.Bind(s.client, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: from})); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *space) connect(t *testing.T) {
	t.Helper()
	err := unix.Connect(s.client, s.at)
	var err2 error
	s.server, _, err2 = unix.Accept4(s.listener, unix.SOCK_CLOEXEC)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
}

// reset ends the connection from one end, and waits until the other one has seen it.
func reset(t *testing.T, from, to int) {
	t.Helper()
	if err := errors.Join(unix.SetsockoptLinger(from, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}), unix.Close(from)); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Read(to, make([]byte, 1)); err != unix.ECONNRESET {
		t.Fatalf("read gives %v", err)
	}
	unix.Close(to)
}

// A port that is listened on in two network namespaces is told apart from the same
// one in a third, where a client has it.
func TestVMPlaces(t *testing.T) {
	needVM(t)
	for _, mode := range exactModes(t) {
		t.Run(string(mode), func(t *testing.T) {
			var a, b, c *space
			r := recordWhile(t, Options{Mode: mode}, func() {
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				own, err := os.Open("/proc/thread-self/ns/net")
				if err != nil {
					t.Fatal(err)
				}
				defer own.Close()
				a, b, c = newSpace(t, placePort, 0), newSpace(t, placePort, 0), newSpace(t, placePort+1, placePort)
				if err := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); err != nil {
					t.Fatal(err)
				}
				for _, s := range []*space{a, b, c} {
					s.connect(t)
				}
				reset(t, a.client, a.server) // of b its port was noted last
				reset(t, b.client, b.server)
				reset(t, c.server, c.client)
				for _, s := range []*space{a, b, c} {
					unix.Close(s.listener)
				}
			})
			type end struct {
				ino  uint64
				port uint16
			}
			ends := map[end]int{}
			for _, e := range r.events {
				if isEnd(&e) {
					ends[end{uint64(e.NetNS), e.LPort}]++
				}
			}
			for _, want := range []end{{a.ino, placePort}, {b.ino, placePort}, {c.ino, placePort + 1}} {
				if ends[want] != 1 {
					t.Errorf("%d connections end at port %d of %d", ends[want], want.port, want.ino)
				}
			}
			if n := ends[end{c.ino, placePort}]; n != 0 {
				t.Errorf("%d ends of a client are told as a listener's", n)
			}
		})
	}
}
