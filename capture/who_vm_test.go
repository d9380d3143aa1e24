//go:build linux && (amd64 || arm64)

package capture

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// whose is what /proc says of a thread.
type whose struct {
	comm  string
	uid   uint32
	netns uint64
}

func whoseNow(t *testing.T) (w whose) {
	comm, err1 := os.ReadFile("/proc/thread-self/comm")
	status, err2 := os.ReadFile("/proc/thread-self/status")
	if err := errors.Join(err1, err2); err != nil {
		t.Error(err)
		return w
	}
	w.comm, w.netns = strings.TrimSpace(string(comm)), namespace("/proc/thread-self/ns/net")
	for line := range strings.Lines(string(status)) {
		if uid, ok := strings.CutPrefix(line, "Uid:"); ok {
			fmt.Sscan(uid, &w.uid)
		}
	}
	return w
}

// A thread that changes its name, its user and its network namespace between its
// accepts is told as it was at each.
func TestVMWho(t *testing.T) {
	needVM(t)
	for _, mode := range modes(t) {
		t.Run(string(mode), func(t *testing.T) {
			var truth []whose // of each accept
			var tid uint32
			r := recordWhile(t, Options{Mode: mode}, func() {
				lfd, addr := listen(t, unix.AF_INET, 8)
				defer unix.Close(lfd)
				done := make(chan bool)
				go func() {
					defer close(done)
					runtime.LockOSThread() // and end the thread
					tid = uint32(unix.Gettid())
					name := [16]byte{'o', 't', 'h', 'e', 'r'}
					for _, change := range []func() error{
						func() error { return nil },
						func() error { return unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&name)), 0, 0, 0) },
						func() error { // of this thread alone
							if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, 1234, ^uintptr(0), ^uintptr(0)); errno != 0 {
								return errno
							}
							return nil
						},
						func() error { return unix.Unshare(unix.CLONE_NEWNET) },
					} {
						if err := change(); err != nil {
							t.Error(err)
							return
						}
						for range 2 {
							client := make(chan int)
							go func() { client <- dial(t, unix.AF_INET, addr) }()
							fd, _, err := unix.Accept4(lfd, 0)
							if err != nil {
								t.Error(err)
								return
							}
							unix.Close(fd)
							unix.Close(<-client)
							truth = append(truth, whoseNow(t))
						}
					}
				}()
				<-done
			})
			var told []whose
			for _, e := range r.of(os.Getpid()) {
				switch {
				case e.TID != tid:
				case e.Errno() == 512: // a signal of Go's scheduler; it begins anew
					told = told[:len(told)-1]
				default:
					told = append(told, whose{e.Comm, e.UID, uint64(cmp.Or(e.TaskNetNS, e.NetNS))})
				}
			}
			if len(truth) != 8 || len(told) != 2*len(truth) {
				t.Fatalf("%d accepts, %d events", len(truth), len(told))
			}
			for i, w := range told {
				if w != truth[i/2] {
					t.Errorf("accept %d: the capture says %v, /proc %v", i/2, w, truth[i/2])
				}
			}
		})
	}
}
