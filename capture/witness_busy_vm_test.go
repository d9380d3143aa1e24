//go:build linux && (amd64 || arm64)

package capture

import (
	"encoding/json"
	"errors"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// While connections come without a pause, the last reading of the counters is good enough
// for the comparison: what came meanwhile is a small part of all, whatever the load.
func TestVMWitnessBusy(t *testing.T) {
	needVM(t)
	lfd, addr := listen(t, unix.AF_INET, 128)
	path := filepath.Join(t.TempDir(), "x.acc")
	r := startRecorder(t, "/in/acc", "record", "-o", path)
	opened := netstat(t, "PassiveOpens")
	var stop atomic.Bool
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			for !stop.Load() {
				fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
				if err == nil {
					_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
					err = errors.Join(unix.Connect(fd, addr), unix.Close(fd))
				}
				if err != nil && !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, unix.ECONNREFUSED) {
					t.Errorf("connect: %v", err)
					return
				}
			}
		})
	}
	group.Go(func() {
		for {
			fd, _, err := unix.Accept4(lfd, unix.SOCK_CLOEXEC)
			if err != nil {
				return
			}
			unix.Close(fd)
		}
	})
	for netstat(t, "PassiveOpens")-opened < 1000 {
		unix.Poll(nil, 10)
	}
	r.stop(t) // while they go on
	stop.Store(true)
	unix.Shutdown(lfd, unix.SHUT_RDWR)
	group.Wait()
	unix.Close(lfd)
	out, err := exec.Command("/in/acc", "info", "--full", "--json", path).Output()
	var i struct {
		Witness struct {
			Verdict, Text string
			Spaces        []struct {
				Opened      int  `json:"opened"`
				QueuedKnown bool `json:"queued_known"`
				UnsureEnd   int  `json:"unsure_end"`
				MovedEnd    int  `json:"moved_end"`
				Unexplained int  `json:"unexplained"`
			}
		} `json:"cross_check"`
	}
	if err := errors.Join(err, json.Unmarshal(out, &i)); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%+v", i.Witness)
	if len(i.Witness.Spaces) == 0 || i.Witness.Verdict == "differs" {
		t.Fatalf("%s: %s", i.Witness.Verdict, i.Witness.Text)
	}
	if x := i.Witness.Spaces[0]; x.Opened < 1000 || 10*(x.UnsureEnd+x.MovedEnd) > x.Opened {
		t.Errorf("of %d connections, %d and %d are unsure", x.Opened, x.UnsureEnd, x.MovedEnd)
	}
}
