//go:build linux && (amd64 || arm64)

package capture

import (
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

// With more threads blocked than there are kretprobe instances, fentry misses
// nothing, and kprobe mode counts what it missed and mixes nothing up.
func TestVMBlockedThreads(t *testing.T) {
	needVM(t)
	const threads = 300
	for _, mode := range modes(t) {
		t.Run(string(mode), func(t *testing.T) {
			lfd, addr := listen(t, unix.AF_INET, threads)
			defer unix.Close(lfd)
			var mu sync.Mutex
			truth := map[uint64]uint32{} // thread by the socket; a port comes again on loopback
			r := recordWhile(t, Options{Mode: mode, MaxActive: 10}, func() {
				var servers sync.WaitGroup
				for range threads {
					servers.Go(func() {
						runtime.LockOSThread() // and end the thread
						fd, _, err := unix.Accept4(lfd, 0)
						if err != nil {
							t.Error(err)
							return
						}
						var st unix.Stat_t
						if err := unix.Fstat(fd, &st); err != nil {
							t.Error(err)
						}
						mu.Lock()
						truth[st.Ino] = uint32(unix.Gettid())
						mu.Unlock()
						unix.Close(fd)
					})
				}
				waitBlocked(t, threads)
				for range threads {
					unix.Close(dial(t, unix.AF_INET, addr))
				}
				servers.Wait()
			})
			entries, returns, atExit := 0, 0, 0
			for _, e := range r.of(os.Getpid()) {
				if e.Kind == format.Enter {
					entries++
					continue
				}
				if e.Errno() == 512 { // a signal of Go's scheduler; it begins anew
					entries--
					continue
				}
				returns++
				if e.Hook == format.HookSysExit {
					atExit++
				}
				if e.Mark&format.MarkNoFacts == 0 && truth[e.Inode] != e.TID {
					t.Errorf("thread %d took socket %d, the capture says thread %d", truth[e.Inode], e.Inode, e.TID)
				}
			}
			t.Logf("%d threads: %d entries, %d missed; %d returns (%d at the end of the system call), %d missed", threads, entries, r.missed(0), returns, atExit, r.missed(1))
			if entries+r.missed(0) < threads || returns+r.missed(1) < threads {
				t.Errorf("entries or returns are neither recorded nor counted as missed")
			}
			if mode == ModeKprobe && atExit+r.missed(1) == 0 {
				t.Error("10 instances sufficed: this tests nothing")
			}
			if mode == ModeFentry && slices.Contains(exactModes(t), mode) && returns != threads {
				t.Errorf("fentry missed %d returns", r.missed(1))
			}
			checkTotals(t, &r, 0)
		})
	}
}

// Returns for which there was no instance, and that came before the end of system calls was watched, are counted as
// missed, each of them.
func TestVMMissedReturns(t *testing.T) {
	needVM(t)
	const threads, instances = 40, 10
	lfd, addr := listen(t, unix.AF_INET, threads)
	defer unix.Close(lfd)
	returned := make(chan struct{})
	r := recordWhile(t, Options{Mode: ModeKprobe, MaxActive: instances, stall: func() { <-returned }}, func() {
		defer close(returned)
		var servers sync.WaitGroup
		for range threads {
			servers.Go(func() {
				runtime.LockOSThread()
				fd, _, err := unix.Accept4(lfd, 0)
				if err != nil {
					t.Error(err)
					return
				}
				unix.Close(fd)
			})
		}
		waitBlocked(t, threads)
		for range threads {
			unix.Close(dial(t, unix.AF_INET, addr))
		}
		servers.Wait()
	})
	restarts, returns := 0, 0
	for _, e := range r.of(os.Getpid()) {
		switch {
		case e.Kind != format.Return:
		case e.Errno() == 512: // a signal of Go's scheduler; it begins anew
			restarts++
		default:
			returns++
		}
	}
	t.Logf("%d threads: %d returns, %d missed, %d restarts", threads, returns, r.missed(1), restarts)
	if returns+r.missed(1) < threads || returns+r.missed(1) > threads+restarts || r.missed(1) == 0 {
		t.Errorf("%d returns, %d missed of %d", returns, r.missed(1), threads)
	}
}

// A kernel that preempts programs leaves out the one at the entry of do_accept at times. What the program at its return
// saw of the connection is recorded all the same.
func TestVMMissedEntry(t *testing.T) {
	needVM(t)
	if len(modes(t)) == 1 {
		t.Skip("this kernel has no fentry")
	}
	all := enterFentry
	defer func() { enterFentry = all }()
	enterFentry = all[:1]
	r := acceptRecorded(t, ModeFentry)
	entry := format.Probe{Hook: format.HookSysAccept4, Kind: format.Enter, How: "fentry", Symbol: "__sys_accept4"}
	if !slices.Contains(r.header.Probes, entry) {
		t.Errorf("the self-test took none but a kprobe of __sys_accept4: %v", r.header.Probes)
	}
}

// waitBlocked waits until n threads of this process sit in accept.
func waitBlocked(t *testing.T, n int) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; runtime.Gosched() {
		tasks, _ := blockedTasks(func() bool { return false })
		mine := 0
		for _, b := range tasks {
			if b.PID == uint32(os.Getpid()) {
				mine++
			}
		}
		if mine >= n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d threads are blocked in accept", mine, n)
		}
	}
}
