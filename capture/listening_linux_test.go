//go:build linux && (amd64 || arm64)

package capture

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

// The tables of /proc/net give a listener and its connections as their own sockets
// know them, and /proc says whose the listener is.
func TestReadTCP(t *testing.T) {
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
		if err == unix.EAFNOSUPPORT {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
		lfd, addr := listen(t, family, 3)
		defer unix.Close(lfd)
		queued, taken := dial(t, family, addr), dial(t, family, addr)
		defer unix.Close(queued)
		defer unix.Close(taken)
		a, _, err := unix.Accept(lfd)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(a)
		inode := func(fd int) uint64 {
			var st unix.Stat_t
			if err := unix.Fstat(fd, &st); err != nil {
				t.Fatal(err)
			}
			return st.Ino
		}
		shot := format.Snapshot{ListenersKnown: true, ConnectionsKnown: true}
		never := func() bool { return false }
		readTCP(&shot, "/proc/self", 5, true, never)
		findOwners(shot.Listeners, never)
		at := addrPort(addr)
		found := 0
		for _, l := range shot.Listeners {
			if l.Listener == inode(lfd) {
				found++
				if l.LAddr != at.Addr().String() || l.LPort != at.Port() || l.Backlog != 1 || l.NetNS != 5 || l.PID != uint32(os.Getpid()) || l.Comm == "" {
					t.Errorf("%+v, listening on %v as %d", l, at, os.Getpid())
				}
			}
		}
		// The first one that connected was accepted; the client's own ends have another port.
		want := map[uint16]uint64{portOf(t, queued): inode(a), portOf(t, taken): 0}
		for _, c := range shot.Connections {
			if c.LPort != at.Port() {
				continue
			}
			found += 10
			if n, ok := want[c.RPort]; !ok || n != c.Inode || c.LAddr != at.Addr().String() || c.RAddr != at.Addr().String() || c.State != format.StateEstablished {
				t.Errorf("%+v, want %v", c, want)
			}
		}
		if found != 21 || !shot.ListenersKnown || !shot.ConnectionsKnown {
			t.Errorf("found %d: %+v", found, shot)
		}
	}
}
