//go:build linux

package main

// This file has the cases of io_uring.

import (
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

var uringCases = []testCase{
	{"uring-ready", func(t *test) {
		l, _ := t.ready()
		t.ring(0).accept(l, single, nil).ends(0)
	}},
	{"uring-later", func(t *test) {
		l := t.listen4()
		q := t.ring(0).accept(l, single, nil)
		q.armed()
		t.connect(l)
		q.ends(0)
	}},
	{"uring-async", func(t *test) {
		l, _ := t.ready()
		e := t.ring(0).accept(l, single, async).ends(0)
		e.TID = t.thread("wrk")
	}},
	{"uring-async-later", func(t *test) {
		l := t.listen4()
		q := t.ring(0).accept(l, single, async)
		worker := 0 // once armed, either thread may go on, by the kernel's version
		if t.workerBlocks() {
			worker = t.thread("wrk")
		} else {
			q.armed().TID = t.thread("wrk")
		}
		t.connect(l)
		q.ends(0).TID = worker
	}},
	{"uring-sqpoll", func(t *test) {
		l, _ := t.ready()
		e := t.ring(setupSQPoll).accept(l, single, nil).ends(0)
		e.TID = t.thread("sqp")
	}},
	{"uring-multishot", func(t *test) { t.multishot("multishot", nil) }},
	{"uring-direct", func(t *test) {
		l, c := t.ready()
		r := t.ring(0)
		if r.params.features&featureTags == 0 {
			t.skip("io_uring has no direct descriptors before Linux 5.15")
		}
		r.slots()
		const slot = 3
		r.accept(l, "direct", func(s *sqe) { s.slot = slot + 1 }).endsDirect(slot, c)
	}},
	{"uring-direct-auto", func(t *test) {
		l, c := t.ready()
		r := t.ring(0)
		r.needs(opSocket, "choice of slots", "5.19")
		r.slots()
		r.accept(l, "direct", func(s *sqe) { s.slot = slotAny }).endsDirect(-1, c)
	}},
	{"uring-multishot-direct", func(t *test) {
		t.multishot("multishot direct", func(s *sqe) { s.slot = slotAny })
	}},
	{"uring-ebadf", func(t *test) {
		t.ring(0).accept(&socket{fd: 1_000_000}, single, nil).ends(unix.EBADF)
	}},
	{"uring-emfile", func(t *test) {
		l, _ := t.ready()
		r := t.ring(0)
		restore := t.noDescriptors()
		q := r.accept(l, single, nil)
		restore()
		q.ends(unix.EMFILE)
		r.accept(l, single, nil).ends(0) // the connection was not lost
	}},
	{"uring-efault", func(t *test) {
		l, c := t.ready()
		addr, b := t.nowhere(), &buffer{len: 128}
		_, addrlen := b.args()
		q := t.ring(0).accept(l, single, func(s *sqe) { s.addr, s.addrlen = uint64(uintptr(addr)), uint64(uintptr(addrlen)) })
		t.lose(q.ends(unix.EFAULT), c)
		t.atEnd(func() { b.len = 0 }) // it was in use until here
	}},
	{"uring-einval", func(t *test) {
		l, _ := t.ready()
		t.ring(0).accept(l, single, func(s *sqe) { s.prio = 1 << 15 }).ends(unix.EINVAL).unprepared()
	}},
	{"uring-no-slots", func(t *test) {
		l, c := t.ready()
		r := t.ring(0)
		q := r.accept(l, "direct", func(s *sqe) { s.slot = 1 })
		t.lose(q.ends(unix.ENXIO), c)
	}},
	{"uring-cancel", func(t *test) {
		l := t.listen4()
		r := t.ring(0)
		q := r.accept(l, single, nil)
		q.armed()
		r.submit(sqe{op: opAsyncCancel, addr: q.userData})
		q.ends(unix.ECANCELED)
	}},
	{"uring-registered", func(t *test) {
		l := t.listen4()
		r := t.ring(0)
		q := r.registered(l, 5, single, 0)
		q.armed().SockFD = r.number(5)
		t.connect(l)
		q.ends(0).SockFD = r.number(5)
	}},
	{"uring-multishot-full", func(t *test) {
		t.ArmedMayVary = true
		l := t.listen4()
		r := t.ring(0)
		r.needs(opSocket, "multishot accept", "5.19")
		q := r.registered(l, 5, "multishot", acceptMultishot)
		q.armed()
		for range r.params.cqEntries + 4 { // which nobody takes out of the queue meanwhile
			t.connect(l)
		}
		r.enter(0, 1, enterGetEvents)
		for {
			c := r.wait(q.userData)
			e := q.entry(0)
			e.SockFD = 5
			t.accepted(e, int(c.res))
			if c.flags&cqeMore == 0 {
				e.UringEnd = "completion-queue-full"
				break
			}
		}
	}},
	{"uring-multishot-cancel", func(t *test) {
		l := t.listen4()
		r := t.ring(0)
		r.needs(opSocket, "multishot accept", "5.19")
		q := r.accept(l, "multishot", func(s *sqe) { s.prio = acceptMultishot })
		q.armed()
		r.submit(sqe{op: opAsyncCancel, addr: q.userData})
		for c := r.wait(q.userData); c.flags&cqeMore != 0; c = r.wait(q.userData) {
		}
		q.entry(unix.ECANCELED).UringEnd = "cancelled"
	}},
	{"uring-multishot-exit", func(t *test) { // whoever tears the ring down
		c := t.start("armed")
		want := c.result()
		t.check("child", c.Wait())
		for _, e := range want {
			e.PID, e.TID = c.Process.Pid, c.Process.Pid
		}
		t.Want = want
		if len(want) == 0 {
			t.skip("io_uring has no multishot accept before Linux 5.19")
		}
		for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) { // it is done by a worker of the kernel
		}
	}},
	{"uring-nonblock", func(t *test) {
		l := t.listen4()
		t.check("O_NONBLOCK", unix.SetNonblock(l.fd, true))
		r := t.ring(0)
		q := r.accept(l, single, nil)
		if *r.word(r.params.cq.tail) != 0 {
			q.ends(unix.EAGAIN)
			return
		}
		q.armed()
		t.connect(l)
		q.ends(0)
	}},
}

const single = "single"

func async(s *sqe) { s.flags |= sqeAsync }

// request is an accept by io_uring.
type request struct {
	*ring
	l        *socket
	mode     string
	userData uint64
}

var requests atomic.Uint64

func (r *ring) accept(l *socket, mode string, edit func(*sqe)) *request {
	q := &request{r, l, mode, 0xacce97000000 + requests.Add(1)}
	s := sqe{op: opAccept, fd: int32(l.fd), userData: q.userData}
	if edit != nil {
		edit(&s)
	}
	r.submit(s)
	return q
}

// registered asks to accept from l as a registered file, of which it has no other descriptor.
func (r *ring) registered(l *socket, at int, mode string, prio uint16) *request {
	r.keep(l, at)
	return r.acceptKept(l, at, mode, prio)
}

// keep makes l a registered file.
func (r *ring) keep(l *socket, at int) {
	files := [8]int32{-1, -1, -1, -1, -1, -1, -1, -1}
	files[at] = int32(l.fd)
	if errno := r.register(registerFiles, uintptr(unsafe.Pointer(&files)), uintptr(len(files))); errno != 0 {
		r.t.fail("register files: %w", errno)
	}
	unix.Close(l.fd)
	l.fd = -1
}

// acceptKept asks to accept from that.
func (r *ring) acceptKept(l *socket, at int, mode string, prio uint16) *request {
	return r.accept(l, strings.TrimPrefix(mode+" registered", single+" "),
		func(s *sqe) { s.fd, s.flags, s.prio = int32(at), s.flags|sqeFixedFile, prio })
}

// number is what can be seen of the number of a registered file: from 5.19 on it stands in the request.
func (r *ring) number(n int) int {
	var probe [16 + 8*opsKnown]byte
	if errno := r.register(registerProbe, uintptr(unsafe.Pointer(&probe)), opsKnown); errno != 0 || probe[0] < opSocket {
		return -1
	}
	return n
}

// childArmed leaves with a multishot request that waits on a registered file.
func childArmed(t *test) {
	l := t.listen4()
	r := t.ring(0)
	if r.number(0) < 0 {
		return
	}
	q := r.registered(l, 3, "multishot", acceptMultishot)
	q.armed().SockFD = 3
	e := q.entry(unix.ECANCELED)
	e.SockFD, e.UringEnd = 3, "thread-ended"
	t.ends = nil // the end of the process does it
}

func (q *request) entry(errno unix.Errno) *entry {
	e := q.t.entry(q.l, "io_uring")
	e.UserData, e.Mode, e.Errno = q.userData, q.mode, int(errno)
	return e
}

// armed notes that the request found nothing, and waits.
func (q *request) armed() *entry {
	if c, ok := q.next(); ok {
		q.t.fail("io_uring: completed with %d, was to wait", c.res)
	}
	e := q.entry(unix.EAGAIN)
	e.Armed = true
	return e
}

// ends waits for the completion, which is to be errno.
func (q *request) ends(errno unix.Errno) *entry {
	n := q.completion(errno)
	e := q.entry(errno)
	if errno == 0 {
		q.t.accepted(e, n)
	}
	return e
}

// unprepared says that nothing is known of a request that was refused.
func (e *entry) unprepared() { e.Listener, e.Family, e.BacklogMax = 0, "", 0 }

// endsDirect waits for c to be accepted into a slot; -1: the kernel says which.
func (q *request) endsDirect(slot int, c *socket) {
	n := q.completion(0)
	if slot < 0 {
		slot = n
	}
	e := q.entry(0)
	e.FD, e.Local, e.Remote = slot, c.remote, c.local
}

func (q *request) completion(errno unix.Errno) int {
	c := q.wait(q.userData)
	if got := unix.Errno(max(0, -c.res)); got != errno {
		q.t.fail("io_uring: got %v (%d), want %d", got, got, errno)
	}
	if more := c.flags&cqeMore != 0; more != strings.HasPrefix(q.mode, "multishot") {
		q.t.fail("io_uring: %s, and that more will come is %v", q.mode, more)
	}
	return int(c.res)
}

// multishot accepts three connections by one request. How often the kernel looks
// for more after each one depends on its version.
func (t *test) multishot(mode string, edit func(*sqe)) {
	t.ArmedMayVary = true
	l := t.listen4()
	r := t.ring(0)
	r.needs(opSocket, "multishot accept", "5.19")
	r.slots()
	q := r.accept(l, mode, func(s *sqe) {
		s.prio = acceptMultishot
		if edit != nil {
			edit(s)
		}
	})
	q.armed()
	for range 3 {
		c := t.connect(l)
		if edit == nil {
			q.ends(0)
		} else {
			q.endsDirect(-1, c)
		}
	}
}
