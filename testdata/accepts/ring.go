//go:build linux

package main

// This file drives an io_uring.

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What linux/io_uring.h defines and is needed here.
const (
	ringEntries = 8

	setupSQPoll    = 1 << 1
	offSQEs        = 0x10000000
	enterGetEvents = 1 << 0
	enterSQWakeup  = 1 << 1
	sqNeedWakeup   = 1 << 0

	// Came with 5.13. No feature tells of direct descriptors, of 5.15; 5.10 has both
	// from its update 162.
	featureTags = 1 << 10

	registerFiles = 2
	registerProbe = 8

	opAccept      = 13
	opAsyncCancel = 14
	opSocket      = 45 // came with 5.19, as multishot accept and the choice of slots did
	opsKnown      = 64
	opSupported   = 1 << 0

	sqeFixedFile    = 1 << 0
	sqeAsync        = 1 << 4
	acceptMultishot = 1 << 0
	slotAny         = 1<<32 - 1
	cqeMore         = 1 << 1
)

type ringParams struct {
	sqEntries, cqEntries, flags, sqThreadCPU, sqThreadIdle, features, wqFD uint32
	_                                                                      [3]uint32
	sq                                                                     struct {
		head, tail, mask, entries, flags, dropped, array, _ uint32
		_                                                   uint64
	}
	cq struct {
		head, tail, mask, entries, overflow, cqes, flags, _ uint32
		_                                                   uint64
	}
}

type sqe struct {
	op, flags   uint8
	prio        uint16
	fd          int32
	addrlen     uint64
	addr        uint64
	len         uint32
	opFlags     uint32
	userData    uint64
	bufIndex    uint16
	personality uint16
	slot        uint32 // one more than the slot
	_           [2]uint64
}

type cqe struct {
	userData uint64
	res      int32
	flags    uint32
}

// ring is an io_uring with one request under way at a time.
type ring struct {
	t      *test
	fd     int
	params ringParams
	rings  []byte
	sqes   []byte
}

func (t *test) ring(flags uint32) *ring {
	r := &ring{t: t, params: ringParams{flags: flags, sqThreadIdle: 1000}}
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, ringEntries, uintptr(unsafe.Pointer(&r.params)), 0)
	if errno != 0 {
		t.skipIf("io_uring_setup", errno, unix.ENOSYS, unix.EPERM)
		t.fail("io_uring_setup: %w", errno)
	}
	r.fd = int(fd)
	t.atEnd(func() { unix.Close(r.fd) })
	p := &r.params
	size := max(p.sq.array+p.sqEntries*4, p.cq.cqes+p.cqEntries*uint32(unsafe.Sizeof(cqe{})))
	var err error
	r.rings, err = unix.Mmap(r.fd, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	t.check("map rings", err)
	t.atEnd(func() { _ = unix.Munmap(r.rings) })
	r.sqes, err = unix.Mmap(r.fd, offSQEs, int(p.sqEntries)*int(unsafe.Sizeof(sqe{})), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	t.check("map requests", err)
	t.atEnd(func() { _ = unix.Munmap(r.sqes) })
	return r
}

func (r *ring) word(offset uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.rings[offset])) }

func (r *ring) enter(submit, wait, flags uintptr) {
	_, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), submit, wait, flags, 0, 0)
	if errno != 0 {
		r.t.fail("io_uring_enter: %w", errno)
	}
}

// submit hands over a request. The kernel has tried it on return, unless another
// thread does that.
func (r *ring) submit(s sqe) {
	p := &r.params
	tail := *r.word(p.sq.tail)
	i := tail & *r.word(p.sq.mask)
	*(*sqe)(unsafe.Pointer(&r.sqes[uintptr(i)*unsafe.Sizeof(s)])) = s
	*r.word(p.sq.array + 4*i) = i
	atomic.StoreUint32(r.word(p.sq.tail), tail+1)
	switch {
	case p.flags&setupSQPoll == 0:
		r.enter(1, 0, 0)
	case atomic.LoadUint32(r.word(p.sq.flags))&sqNeedWakeup != 0:
		r.enter(1, 0, enterSQWakeup)
	}
}

// next is a completion, if there is one.
func (r *ring) next() (cqe, bool) {
	p := &r.params
	head := *r.word(p.cq.head)
	if head == atomic.LoadUint32(r.word(p.cq.tail)) {
		return cqe{}, false
	}
	i := head & *r.word(p.cq.mask)
	c := *(*cqe)(unsafe.Pointer(&r.rings[p.cq.cqes+i*uint32(unsafe.Sizeof(cqe{}))]))
	atomic.StoreUint32(r.word(p.cq.head), head+1)
	return c, true
}

// wait waits for a completion of the request with that user data.
func (r *ring) wait(userData uint64) cqe {
	for {
		if c, ok := r.next(); !ok {
			r.enter(0, 1, enterGetEvents)
		} else if c.userData == userData {
			return c
		}
	}
}

func (r *ring) register(op, arg, n uintptr) unix.Errno {
	_, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), op, arg, n, 0, 0)
	return errno
}

// needs skips the case if the kernel has no such operation.
func (r *ring) needs(op int, what, since string) {
	var probe struct {
		last, n uint8
		_       [14]byte
		ops     [opsKnown]struct {
			op, _ uint8
			flags uint16
			_     uint32
		}
	}
	errno := r.register(registerProbe, uintptr(unsafe.Pointer(&probe)), opsKnown)
	if errno != 0 || probe.ops[op].flags&opSupported == 0 {
		r.t.skip("io_uring has no %s before Linux %s", what, since)
	}
}

// slots makes room for direct descriptors.
func (r *ring) slots() {
	files := [8]int32{-1, -1, -1, -1, -1, -1, -1, -1}
	if errno := r.register(registerFiles, uintptr(unsafe.Pointer(&files)), uintptr(len(files))); errno != 0 {
		r.t.fail("register files: %w", errno)
	}
}

// thread is the one that the kernel made for this thread's io_uring, or 0.
func (t *test) thread(kind string) (tid int) {
	tasks, err := os.ReadDir("/proc/self/task")
	t.check("threads", err)
	name := fmt.Sprintf("iou-%s-%d\n", kind, unix.Gettid())
	for _, task := range tasks {
		if comm, _ := os.ReadFile("/proc/self/task/" + task.Name() + "/comm"); string(comm) == name {
			if tid != 0 {
				return 0
			}
			_, _ = fmt.Sscan(task.Name(), &tid)
		}
	}
	return tid
}

// workerBlocks waits for the worker to sleep, and says whether it does so in
// accept; otherwise it waits for work.
func (t *test) workerBlocks() bool {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		dir := fmt.Sprintf("/proc/self/task/%d/", t.thread("wrk"))
		stat, _ := os.ReadFile(dir + "stat")
		if !strings.Contains(string(stat), ") S ") {
			continue
		}
		stack, err := os.ReadFile(dir + "stack")
		if err != nil {
			t.skip("where the worker sleeps is not known: %v", err)
		}
		switch {
		case strings.Contains(string(stack), "inet_csk_accept"):
			return true
		case strings.Contains(string(stack), "io_wq"):
			return false
		}
	}
	t.fail("no worker of io_uring sleeps")
	return false
}
