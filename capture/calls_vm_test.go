//go:build linux && (amd64 || arm64)

package capture

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

// herd is two threads that call accept when there is one connection for both: while they do, the listener is locked, so
// that both find it in the queue.
type herd struct {
	t        *testing.T
	listener int
	addr     unix.Sockaddr
	tids     [2]uint32
	calls    [2]chan bool // accept once
	accepted chan int     // which of them has
	page     []byte       // that is not there until its fault is answered
	faults   int
}

func newHerd(t *testing.T) *herd {
	t.Helper()
	h := &herd{t: t, accepted: make(chan int, 2)}
	h.listener, h.addr = listen(t, unix.AF_INET, 16)
	h.holdPages()
	started := make(chan bool)
	for i := range h.tids {
		h.calls[i] = make(chan bool)
		go func() {
			runtime.LockOSThread()
			var signals unix.Sigset_t
			for i := range signals.Val {
				signals.Val[i] = 1<<64 - 1
			}
			_ = unix.PthreadSigmask(unix.SIG_BLOCK, &signals, nil) // Go's own would interrupt accept
			h.tids[i] = uint32(unix.Gettid())
			started <- true
			for range h.calls[i] {
				if fd, errno := rawAccept4(h.listener, 0, 0, 0); errno == 0 {
					unix.Close(fd)
				}
				h.accepted <- i
			}
		}()
		<-started
	}
	return h
}

// holdPages makes a page at which the kernel waits for this test (userfaultfd(2)).
func (h *herd) holdPages() {
	h.t.Helper()
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		h.t.Fatal(err)
	}
	fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC, 0, 0)
	if errno != 0 {
		h.t.Fatal("userfaultfd: ", errno)
	}
	h.page, h.faults = page, int(fd)
	h.fault(0xc018aa3f, [4]uint64{0xaa}) // UFFDIO_API
	// UFFDIO_REGISTER, those that are missing
	h.fault(0xc020aa00, [4]uint64{uint64(uintptr(unsafe.Pointer(&page[0]))), uint64(os.Getpagesize()), 1})
}

func (h *herd) fault(request uintptr, args [4]uint64) {
	h.t.Helper()
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(h.faults), request,
		uintptr(unsafe.Pointer(&args))); errno != 0 {
		h.t.Fatalf("userfaultfd: ioctl %#x: %v", request, errno)
	}
}

func (h *herd) connect() {
	h.t.Helper()
	c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Connect(c, h.addr)
		unix.Close(c)
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

// call lets both threads accept where there is one connection, and gives which of them waits now.
func (h *herd) call() int {
	h.t.Helper()
	h.connect()
	if err := unix.Madvise(h.page, unix.MADV_DONTNEED); err != nil {
		h.t.Fatal(err)
	}
	held := make(chan bool)
	filter := unix.SockFprog{Len: 1, Filter: (*unix.SockFilter)(unsafe.Pointer(&h.page[0]))}
	go func() { // the kernel reads a filter under the socket's lock
		defer close(held)
		unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(h.listener), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
			uintptr(unsafe.Pointer(&filter)), unsafe.Sizeof(filter), 0)
	}()
	if _, err := unix.Read(h.faults, make([]byte, 32)); err != nil {
		h.t.Fatal("userfaultfd: ", err)
	}
	for _, call := range h.calls {
		call <- true
	}
	h.inAccept(2)
	// UFFDIO_ZEROPAGE
	h.fault(0xc020aa04, [4]uint64{uint64(uintptr(unsafe.Pointer(&h.page[0]))), uint64(os.Getpagesize())})
	<-held
	has := <-h.accepted
	h.inAccept(1)
	return 1 - has
}

// inAccept waits until as many of the threads sleep in accept.
func (h *herd) inAccept(want int) {
	h.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		tasks, _ := blockedTasks(func() bool { return false })
		n := 0
		for _, x := range tasks {
			if x.TID == h.tids[0] || x.TID == h.tids[1] {
				n++
			}
		}
		if n == want {
			return
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("%d threads are in accept, not %d", n, want)
		}
	}
}

// release gives the one that waits a connection.
func (h *herd) release() {
	h.connect()
	<-h.accepted
}

func (h *herd) end() {
	for _, call := range h.calls {
		close(call)
	}
	unix.Close(h.listener)
	unix.Close(h.faults)
	_ = unix.Munmap(h.page)
}

// A call that finds a connection in the queue when it begins, and waits because another one takes that, is recorded
// like any other: its entry while it waits, and its return when that comes.
func TestVMHerd(t *testing.T) {
	needVM(t)
	for _, mode := range exactModes(t) {
		t.Run(string(mode), func(t *testing.T) {
			h := newHerd(t)
			const rounds = 4
			var waits [rounds + 1]int
			r := recordWhile(t, Options{Mode: mode}, func() {
				for round := 1; round <= rounds; round++ {
					waits[round] = h.call()
					if round%2 == 0 { // else it returns before the recorder looks
						time.Sleep(4 * callsAge)
					}
					if round < rounds {
						h.release()
					}
				}
			})
			h.release()
			h.end()
			entered, returned, waited := 0, 0, 0
			in := map[uint32]format.Event{}
			blocked := map[uint32]bool{}
			for _, e := range r.events {
				if e.TID != h.tids[0] && e.TID != h.tids[1] {
					continue
				}
				switch e.Kind {
				case format.Enter:
					if blocked[e.TID] {
						t.Errorf("thread %d enters twice", e.TID)
					}
					entered++
					in[e.TID], blocked[e.TID] = e, true
				case format.Return:
					if !blocked[e.TID] || e.Mark != 0 {
						t.Errorf("thread %d returns without an entry: %+v", e.TID, e)
					}
					returned++
					blocked[e.TID] = false
					if was := in[e.TID]; was.Backlog > 0 && e.BootNS-was.BootNS > int64(3*callsAge) {
						waited++
					}
				}
			}
			t.Logf("%d of %d calls found a connection that another one took", waited, entered)
			if entered != 2*rounds || returned != 2*rounds-1 || blocked[h.tids[0]] == blocked[h.tids[1]] {
				t.Errorf("%d entries, %d returns, in accept at the end: %v", entered, returned, blocked)
			}
			if waited == 0 {
				t.Error("no call lost its connection to another one: this tests nothing")
			}
			if !blocked[h.tids[waits[rounds]]] {
				t.Error("the one that waits at the end is not recorded to")
			}
			checkTotals(t, &r, 0)
		})
	}
}

// A recorder that is killed has written the entries of calls that wait.
func TestVMHerdKilled(t *testing.T) {
	needVM(t)
	for _, mode := range exactModes(t) {
		path := filepath.Join(t.TempDir(), "killed.acc")
		h := newHerd(t)
		r := startRecorder(t, "/in/acc", "record", "-o", path, "--probe", string(mode))
		slow := measureSlowness(r.Process.Pid)
		const rounds = 3
		for round := 1; round <= rounds; round++ {
			h.call()
			if round < rounds {
				h.release()
			}
		}
		from := bootNS()
		time.Sleep(flushEvery + 2*batchWait)
		slow.end()
		time.Sleep(time.Duration(slow.since(from)))
		r.Process.Kill()
		r.end()
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		calls := map[format.Kind]int{}
		rd, err := format.NewReader(f, format.ReaderOptions{})
		for err == nil {
			var b *format.Batch
			if b, err = rd.Next(); err == nil {
				for _, e := range b.Events {
					if e.TID == h.tids[0] || e.TID == h.tids[1] {
						calls[e.Kind]++
					}
				}
			}
		}
		f.Close()
		if calls[format.Enter] != 2*rounds || calls[format.Return] != 2*rounds-1 {
			t.Errorf("%s: %d entries and %d returns of %d calls, one of which waits", mode, calls[format.Enter],
				calls[format.Return], 2*rounds)
		}
		h.release()
		h.end()
	}
}
