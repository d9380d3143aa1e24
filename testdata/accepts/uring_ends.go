//go:build linux

package main

// This file has the cases of how multishot requests end.

import (
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// uringEndCases are ways in which a multishot accept ends.
var uringEndCases = []testCase{
	{"uring-multishot-failed", func(t *test) { // the listener does not listen any more
		l := t.listen4()
		q := t.armedOn(t.ring(0), l, nil)
		t.connect(l)
		q.goesOn()
		t.check("shutdown", unix.Shutdown(l.fd, unix.SHUT_RD))
		q.endsWith(unix.EINVAL, "failed")
	}},
	{"uring-multishot-emfile", func(t *test) { t.withoutDescriptors(false) }},
	{"uring-registered-emfile", func(t *test) { t.withoutDescriptors(true) }},
	{"uring-multishot-slots", func(t *test) { // as many slots as there are
		l := t.listen4()
		r := t.ring(0)
		q := t.armedOn(r, l, func(s *sqe) { s.slot = slotAny })
		for range slots {
			q.endsDirect(-1, t.connect(l))
		}
		c := t.connect(l)
		e := q.endsWith(unix.ENFILE, "failed")
		t.lose(e, c)
	}},
	{"uring-multishot-closed", func(t *test) { // the request keeps the listener open; the ring's end does not
		l := t.listen4()
		r := t.ring(0)
		q := t.armedOn(r, l, nil)
		t.check("close", unix.Close(l.fd))
		l.fd = -1
		t.connect(l)
		q.goesOn()
		r.close()
		q.entry(unix.ECANCELED).UringEnd = "ring-closed"
		t.untilWorkers()
	}},
	{"uring-multishot-killed", func(t *test) {
		c := t.start("killed")
		want := c.result()
		t.check("kill", c.Process.Kill())
		_ = c.Wait()
		for _, e := range want {
			e.PID, e.TID = c.Process.Pid, c.Process.Pid
		}
		t.Want, t.ArmedMayVary = want, true
		if len(want) == 0 {
			t.skip("io_uring has no multishot accept before Linux 5.19")
		}
		t.untilWorkers()
	}},
	{"uring-multishot-sqpoll", func(t *test) {
		l := t.listen4()
		r := t.ring(setupSQPoll)
		q := t.armedOn(r, l, nil)
		thread := t.thread("sqp")
		for range 3 {
			t.connect(l)
			q.goesOn().TID = thread
		}
		t.check("shutdown", unix.Shutdown(l.fd, unix.SHUT_RD))
		q.endsWith(unix.EINVAL, "failed").TID = thread
	}},
	{"uring-multishot-two-rings", func(t *test) {
		l := t.listen4()
		a, b := t.armedOn(t.ring(0), l, nil), t.armedOn(t.ring(0), l, nil)
		t.AnyOrder = true
		for range 6 { // by either of them, one after the other
			t.connect(l)
			q := first(a, b)
			q.goesOn()
		}
		t.check("shutdown", unix.Shutdown(l.fd, unix.SHUT_RD))
		q := first(a, b)
		q.endsWith(unix.EINVAL, "failed")
		if q == a {
			q = b
		} else {
			q = a
		}
		q.endsWith(unix.EINVAL, "failed")
	}},
}

// slots is how many there are for direct descriptors.
const slots = 8

// armedOn asks for a multishot accept, and finds nothing yet. How often the kernel looks for more after
// each connection depends on its version.
func (t *test) armedOn(r *ring, l *socket, edit func(*sqe)) *request {
	t.ArmedMayVary = true
	r.needs(opSocket, "multishot accept", "5.19")
	mode := "multishot"
	q := r.accept(l, mode, func(s *sqe) {
		s.prio = acceptMultishot
		if edit != nil {
			r.slots()
			edit(s)
		}
		if s.slot != 0 {
			mode = "multishot direct"
		}
	})
	q.mode = mode
	if r.params.flags&setupSQPoll != 0 {
		r.untilTaken()
	}
	return q
}

// close closes the ring, which its maps keep open.
func (r *ring) close() {
	r.t.check("unmap", unix.Munmap(r.sqes))
	r.t.check("unmap", unix.Munmap(r.rings))
	r.t.check("close", unix.Close(r.fd))
	r.fd = -1
}

// untilTaken waits until the kernel's thread has taken what was submitted.
func (r *ring) untilTaken() {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if *r.word(r.params.sq.head) == *r.word(r.params.sq.tail) {
			return
		}
	}
	r.t.fail("the thread of io_uring takes nothing")
}

// goesOn waits for a connection, after which the request goes on.
func (q *request) goesOn() *entry { return q.ends(0) }

// endsWith waits for the completion that says why the request does not go on.
func (q *request) endsWith(errno unix.Errno, why string) *entry {
	c := q.wait(q.userData)
	if got := unix.Errno(max(0, -c.res)); got != errno || c.flags&cqeMore != 0 {
		q.t.fail("io_uring: completed with %d, flags %#x, want %v and no more", c.res, c.flags, errno)
	}
	e := q.entry(errno)
	e.UringEnd = why
	return e
}

// withoutDescriptors asks when the process has no descriptor left: that limit is the request's. The connection that
// then comes stays in the queue.
func (t *test) withoutDescriptors(registered bool) {
	l := t.listen4()
	r := t.ring(0)
	r.needs(opSocket, "multishot accept", "5.19")
	var q *request
	if registered {
		r.keep(l, 5)
	}
	restore := t.noDescriptors()
	if registered {
		t.ArmedMayVary = true
		q = r.acceptKept(l, 5, "multishot", acceptMultishot)
	} else {
		q = t.armedOn(r, l, nil)
	}
	restore()
	t.connect(l)
	e := q.endsWith(unix.EMFILE, "failed")
	if registered {
		e.SockFD = 5
	}
}

// first waits for a completion of either request, and gives that one.
func first(a, b *request) *request {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		for _, q := range []*request{a, b} {
			if q.ready() {
				return q
			}
		}
	}
	a.t.fail("neither request completes")
	return nil
}

// ready reports whether there is a completion.
func (r *ring) ready() bool { return *r.word(r.params.cq.head) != *r.word(r.params.cq.tail) }

// untilWorkers gives the kernel's workers time to take down a ring.
func (t *test) untilWorkers() { time.Sleep(time.Second) }

// childKilled has a multishot request that has accepted, and waits on, until it is killed.
func childKilled(t *test) {
	l := t.listen4()
	r := t.ring(0)
	if r.number(0) < 0 {
		return
	}
	q := t.armedOn(r, l, nil)
	t.connect(l)
	q.goesOn()
	e := q.entry(unix.ECANCELED)
	e.UringEnd = "thread-ended"
	t.print()
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(3) // it was to be killed
}
