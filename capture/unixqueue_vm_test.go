//go:build linux && (amd64 || arm64)

package capture

import (
	"errors"
	"maps"
	"testing"

	"golang.org/x/sys/unix"
)

// The queue of a listener in the UNIX domain is as long as clients have connected
// that were not accepted.
func TestVMUnixQueue(t *testing.T) {
	needVM(t)
	for _, mode := range exactModes(t) {
		t.Run(string(mode), func(t *testing.T) {
			lfd, addr := listen(t, unix.AF_UNIX, 2)
			defer unix.Close(lfd)
			var st unix.Stat_t
			if err := unix.Fstat(lfd, &st); err != nil {
				t.Fatal(err)
			}
			r := recordWhile(t, Options{Mode: mode}, func() {
				for range 3 {
					defer unix.Close(dial(t, unix.AF_UNIX, addr))
				}
				for range 3 {
					fd, errno := rawAccept4(lfd, 0, 0, 0)
					if errno != 0 {
						t.Fatal(errno)
					}
					unix.Close(fd)
				}
			})
			var got []uint32
			for _, e := range r.events {
				if e.Listener == st.Ino {
					got = append(got, e.Backlog)
					if e.BacklogMax != 2 {
						t.Errorf("a limit of %d", e.BacklogMax)
					}
				}
			}
			want := []uint32{3, 2, 2, 1, 1, 0}
			if len(got) != len(want) {
				t.Fatalf("queue %v, want %v", got, want)
			}
			for i := range want {
				if got[i] != want[i] {
					t.Fatalf("queue %v, want %v", got, want)
				}
			}
		})
	}
}

// refusedTest is a UNIX listener whose queue is full, and clients that count what connect says.
type refusedTest struct {
	t       *testing.T
	refused map[string]uint64 // EAGAINs, by what was connected to
}

// connect connects a socket that does not wait, or not for long.
func (r *refusedTest) connect(kind int, name string, timeout *unix.Timeval) int {
	r.t.Helper()
	flags := unix.SOCK_NONBLOCK
	if timeout != nil {
		flags = 0
	}
	fd, err := unix.Socket(unix.AF_UNIX, kind|flags, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	if timeout != nil {
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, timeout); err != nil {
			r.t.Fatal(err)
		}
	}
	switch err := unix.Connect(fd, &unix.SockaddrUnix{Name: name}); err {
	case nil:
		return fd
	case unix.EAGAIN:
		r.refused[name]++
	default:
		r.t.Errorf("connect to %s: %v", name, err)
	}
	unix.Close(fd)
	return -1
}

// A connect to a UNIX listener that its full queue refuses is counted by what the client connected to, as
// often as clients got EAGAIN. One that waits and gets in, and one that fails otherwise, is not.
func TestVMUnixRefused(t *testing.T) {
	needVM(t)
	for _, mode := range exactModes(t) {
		t.Run(string(mode), func(t *testing.T) {
			dir := t.TempDir()
			path, long := dir+"/x.sock", dir+"/"
			for len(long) < 107 { // all but the last byte of sun_path
				long += "y"
			}
			c := refusedTest{t, map[string]uint64{}}
			r := recordWhile(t, Options{Mode: mode}, func() {
				for i, name := range []string{path, "@acc-refused", long} {
					kind := unix.SOCK_STREAM
					if i == 1 {
						kind = unix.SOCK_SEQPACKET
					}
					lfd, err := unix.Socket(unix.AF_UNIX, kind, 0)
					if err != nil {
						t.Fatal(err)
					}
					if err := errors.Join(unix.Bind(lfd, &unix.SockaddrUnix{Name: name}),
						unix.Listen(lfd, 1)); err != nil {
						t.Fatal(err)
					}
					for range 5 + i {
						if fd := c.connect(kind, name, nil); fd >= 0 {
							defer unix.Close(fd)
						}
					}
					c.connect(kind, name, &unix.Timeval{Usec: 1000})
					in := make(chan int)
					go func() { in <- c.connect(kind, name, &unix.Timeval{}) }() // waits
					fd, _, err := unix.Accept4(lfd, 0)
					if err != nil {
						t.Fatal(err)
					}
					unix.Close(fd)
					if fd := <-in; fd < 0 {
						t.Error("a connect that waits was refused")
					} else {
						defer unix.Close(fd)
					}
					unix.Close(lfd)
				}
				if fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0); err == nil {
					if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != unix.ECONNREFUSED {
						t.Errorf("connect to a closed listener: %v", err)
					}
					unix.Close(fd)
				}
			})
			if !r.end.UnixCounted || r.end.UnixUnseen != 0 {
				t.Errorf("counted %v, %d unseen", r.end.UnixCounted, r.end.UnixUnseen)
			}
			got := map[string]uint64{}
			for _, x := range r.end.UnixRefused {
				if x.NetNS != namespaceOfTest(t) {
					t.Errorf("in network namespace %d", x.NetNS)
				}
				got[x.Name] += x.Count
			}
			if !maps.Equal(got, c.refused) || c.refused[path] != 4 || c.refused["@acc-refused"] != 5 ||
				c.refused[long] != 6 {
				t.Errorf("counted %v, clients got EAGAIN %v", got, c.refused)
			}
			t.Logf("%v", got)
		})
	}
}

// namespaceOfTest is the network namespace that the test runs in.
func namespaceOfTest(t *testing.T) uint32 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil {
		t.Fatal(err)
	}
	return uint32(st.Ino)
}
