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

// blockedAccept is a thread that sits in accept.
type blockedAccept struct {
	listener int
	tid      uint32
	fd       int
	inode    uint64
	errno    unix.Errno
	done     chan bool
}

// blockIn makes a thread that accepts once, and waits until it sleeps there.
func blockIn(t *testing.T, listener int) *blockedAccept {
	t.Helper()
	b := &blockedAccept{listener: listener, fd: -1, done: make(chan bool)}
	tid := make(chan uint32)
	go func() {
		runtime.LockOSThread()
		var all unix.Sigset_t
		for i := range all.Val {
			all.Val[i] = 1<<64 - 1
		}
		unix.PthreadSigmask(unix.SIG_BLOCK, &all, nil) // Go's own signals would interrupt it
		tid <- uint32(unix.Gettid())
		if b.fd, b.errno = rawAccept4(listener, 0, 0, 0); b.errno == 0 {
			var st unix.Stat_t
			unix.Fstat(b.fd, &st)
			b.inode = st.Ino
		}
		close(b.done)
	}()
	b.tid = <-tid
	for deadline := time.Now().Add(30 * time.Second); ; runtime.Gosched() {
		tasks, _ := blockedTasks(func() bool { return false })
		if slices.ContainsFunc(tasks, func(x format.Blocked) bool { return x.TID == b.tid }) {
			return b
		}
		if time.Now().After(deadline) {
			t.Fatalf("thread %d does not sleep in accept", b.tid)
		}
	}
}

// Threads that sat in accept when the recording began are named at its start, and
// their returns are recorded; those that sit there at its end are named there. So
// are listeners, with what waits in their queues.
func TestVMBefore(t *testing.T) {
	needVM(t)
	const threads = 20
	for _, mode := range modes(t) {
		for _, phase := range []time.Duration{0, time.Millisecond} { // as it is, and only descriptors watched
			name := string(mode)
			if phase != 0 {
				name += "-later"
			}
			t.Run(name, func(t *testing.T) {
				tcp, tcpAddr := listen(t, unix.AF_INET, threads)
				local, localAddr := listen(t, unix.AF_UNIX, 4)
				full, fullAddr := listen(t, unix.AF_INET6, 4)
				idle, _ := listen(t, unix.AF_INET, 4)
				var clients []int
				defer func() {
					for _, fd := range append(clients, tcp, local, full, idle) {
						unix.Close(fd)
					}
				}()
				for range 2 {
					clients = append(clients, dial(t, unix.AF_INET6, fullAddr))
				}
				var asleep []*blockedAccept
				for range threads {
					asleep = append(asleep, blockIn(t, tcp))
				}
				asleep = append(asleep, blockIn(t, local))
				stays := blockIn(t, idle)
				r := recordWhile(t, Options{Mode: mode, startWatch: phase}, func() {
					if phase != 0 {
						time.Sleep(50 * phase) // the phase is over; if not, the test is the other one again
					}
					var wg sync.WaitGroup
					for _, b := range asleep {
						wg.Go(func() { <-b.done })
					}
					for range threads {
						clients = append(clients, dial(t, unix.AF_INET, tcpAddr))
					}
					clients = append(clients, dial(t, unix.AF_UNIX, localAddr))
					wg.Wait()
				})
				unix.Shutdown(idle, unix.SHUT_RD)
				<-stays.done

				want := map[uint32]*blockedAccept{}
				for _, b := range asleep {
					want[b.tid] = b
					defer unix.Close(b.fd)
				}
				if len(r.shots) == 0 || !r.shots[0].BlockedKnown || !r.shots[0].ListenersKnown {
					t.Fatalf("no whole snapshot of the start: %+v", r.shots)
				}
				named := 0
				for _, b := range r.shots[0].Blocked {
					switch w := want[b.TID]; {
					case w != nil && int(b.SockFD) == w.listener && b.PID == uint32(os.Getpid()), b.TID == stays.tid:
						named++
					default:
						t.Errorf("who sat in accept at the start: %+v", b)
					}
				}
				if named != len(want)+1 {
					t.Errorf("%d of %d are named at the start", named, len(want)+1)
				}
				seen := map[uint32]bool{}
				for _, e := range r.of(os.Getpid()) {
					w := want[e.TID]
					if w == nil {
						if seen[e.TID] {
							t.Errorf("thread %d again: %+v", e.TID, e)
						}
						continue
					}
					delete(want, e.TID)
					seen[e.TID] = true
					if e.Kind != format.Return || e.Mark&format.MarkBefore == 0 || int(e.SockFD) != w.listener || int(e.Ret) != w.fd || e.Inode != w.inode {
						t.Errorf("got %+v, want %+v", e, w)
					}
					if w.listener == tcp && (e.Local() != addrPort(tcpAddr) || e.Via != format.ViaAccept4) {
						t.Errorf("got %+v", e)
					}
				}
				if len(want) != 0 {
					t.Errorf("%d returns are not there", len(want))
				}
				end := r.result.End
				if !end.BlockedKnown || !slices.ContainsFunc(end.Blocked, func(b format.Blocked) bool { return b.TID == stays.tid && int(b.SockFD) == idle }) {
					t.Errorf("who sits in accept at the end: %+v", end.Blocked)
				}
				tell(t, mode, map[bool]string{true: "blocked before the start", false: "blocked before the start, returned a minute after"}[phase == 0], map[bool]string{true: "WRONG", false: "seen"}[t.Failed()], "")
				checkListeners(t, r.shots[0].Listeners, map[int]uint32{tcp: 0, local: 0, full: 2, idle: 0})
			})
		}
	}
}

// checkListeners looks for sockets and the lengths of their queues.
func checkListeners(t *testing.T, got []format.ListenSocket, want map[int]uint32) {
	t.Helper()
	for fd, queue := range want {
		var st unix.Stat_t
		unix.Fstat(fd, &st)
		sa, _ := unix.Getsockname(fd)
		i := slices.IndexFunc(got, func(l format.ListenSocket) bool { return l.Listener == st.Ino })
		if i < 0 {
			t.Errorf("no listener %d among %+v", st.Ino, got)
			continue
		}
		l := got[i]
		if u, ok := sa.(*unix.SockaddrUnix); ok {
			if l.LName != u.Name {
				t.Errorf("listener %+v, want %q", l, u.Name)
			}
			continue
		}
		if l.Backlog != queue || l.LPort != addrPort(sa).Port() || l.LAddr != addrPort(sa).Addr().String() {
			t.Errorf("listener %+v, want %v with %d waiting", l, addrPort(sa), queue)
		}
	}
}
