//go:build linux && (amd64 || arm64)

package capture

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// stalledAccept is a call of accept that has taken a connection from the queue and
// does not get on: the kernel waits for the memory that the peer's address goes to.
// resume lets it end.
func stalledAccept(t *testing.T, lfd int) (resume func()) {
	t.Helper()
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	page[0] = 1 // the page is there
	stalls, resumed := make(chan struct{}), make(chan struct{})
	written := protectWrites(t, page, func() {
		close(stalls)
		<-resumed
	})
	returned := make(chan error, 1)
	go func() {
		length := uint32(len(page))
		fd, _, errno := unix.Syscall6(unix.SYS_ACCEPT4, uintptr(lfd), uintptr(unsafe.Pointer(unsafe.SliceData(page))), uintptr(unsafe.Pointer(&length)), unix.SOCK_CLOEXEC, 0, 0)
		if errno != 0 {
			returned <- errno
			return
		}
		returned <- unix.Close(int(fd))
	}()
	<-stalls
	return func() {
		t.Helper()
		close(resumed)
		if err := errors.Join(<-written, <-returned, unix.Munmap(page)); err != nil {
			t.Error(err)
		}
	}
}

// A call that has taken its connection and has not returned when the kernel's counters
// are read is a reason for a difference of one, at the start and at the end.
func TestVMUnderWay(t *testing.T) {
	needVM(t)
	for _, mode := range modes(t) {
		t.Run(string(mode), func(t *testing.T) {
			lfd, addr := listen(t, unix.AF_INET, 8)
			defer unix.Close(lfd)
			p := newPingPong(t)
			defer unix.Close(dial(t, unix.AF_INET, addr))
			resume := stalledAccept(t, lfd)
			path := filepath.Join(t.TempDir(), "start.acc")
			r := startRecorder(t, "/in/acc", "record", "-o", path, "--probe", string(mode))
			resume()
			p.do(3)
			r.stop(t)
			if w := info(t, path).Witness; w.Verdict != "explained" || w.Spaces[0].Unexplained != -1 ||
				!strings.Contains(w.Text, "1 was accepted while acc read the counters") {
				t.Errorf("taken before the start: %+v", w)
			}

			path = filepath.Join(t.TempDir(), "end.acc")
			r = startRecorder(t, "/in/acc", "record", "-o", path, "--probe", string(mode))
			p.do(3)
			defer unix.Close(dial(t, unix.AF_INET, addr))
			resume = stalledAccept(t, lfd)
			r.stop(t)
			resume()
			if w := info(t, path).Witness; w.Verdict != "explained" || w.Spaces[0].Unexplained != 1 ||
				!strings.Contains(w.Text, "1 call of accept had not returned at the end") {
				t.Errorf("never returned: %+v", w)
			}
		})
	}
}
