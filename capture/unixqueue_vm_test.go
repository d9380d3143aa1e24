//go:build linux && (amd64 || arm64)

package capture

import (
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
