//go:build amd64 || arm64

package capture

// This file tests every probe with connections of its own.

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/bpf"
	"github.com/acc-project/acc/format"
)

// earlyRecord is a record of the ring that came before the recording began, or
// while it did. own: it only counts, as of the self-test or of a time before it.
type earlyRecord struct {
	raw []byte
	own bool
}

// selfTest accepts connections of its own and looks for them in the ring: that a
// probe is attached does not mean that it fires. The recording begins with the
// last one: its own events and earlier ones are left out, later ones of others are
// kept. What the recording can do without, and does not fire, becomes a limit.
//
// The probes on kernel_accept can't be tried: nothing accepts in the kernel here. It
// is a function that modules call, which no compiler can have inlined there.
func (a *attached) selfTest(asleep *sleeper) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := a.testLife(); err != nil {
		return err
	}
	if !slices.ContainsFunc(a.probes, func(p probe) bool { return p.index == probeEnter }) {
		for i := range a.early {
			a.early[i].own = true
		}
		return nil // only the life of connections is recorded
	}
	if err := a.testOthers(asleep); err != nil {
		return err
	}
	listener, err := a.acceptOnce()
	if err != nil {
		return fmt.Errorf("make a connection to test the probes: %w", err)
	}
	if err := a.readEarly(); err != nil {
		return err
	}
	var enter, ret *bpf.AccEvent
	for i := range a.early {
		r := &a.early[i]
		e, ok := eventIn(r.raw)
		switch {
		case !ok:
			if l, ok := lifeIn(r.raw); ok {
				r.own = a.ownLife(l) || enter == nil // before the recording
			}
		case e.Facts.Listener == listener && e.Kind == uint8(format.Enter):
			enter, r.own = e, true
		case e.Facts.Listener == listener && enter != nil:
			ret, r.own = e, true
		case a.ours(e):
			r.own = true
		default:
			// Without an entry: of a call that began before; recorded. With one, of the
			// time when not all probes were live: before the recording.
			r.own = enter == nil && e.Mark&format.MarkBefore == 0
		}
	}
	// Ids are those of the initial pid namespace; a /proc of another one shows others.
	self, _ := os.Readlink("/proc/self")
	a.elsewhere = enter != nil && self != strconv.FormatUint(uint64(enter.Pid), 10)
	_, _, noAttempt, err := a.counters()
	switch {
	case err != nil:
		return err
	case enter == nil:
		return errors.New("the probe on the entry of __sys_accept4 is attached but does not fire")
	case noAttempt.noAttempt > 0:
		return errNoStorage
	case ret == nil || ret.Hook != uint8(format.HookSysAccept4):
		return errors.New("the probe on the return of __sys_accept4 is attached but does not fire")
	case ret.Mark&format.MarkNoFacts != 0 || ret.Facts.Inode == 0:
		return errors.New("the probe on the return of do_accept is attached but does not fire")
	}
	return nil
}

// ours reports whether an event is of the self-test. Thread ids do not tell: in a
// pid namespace of its own the recorder has others than the kernel says.
func (a *attached) ours(e *bpf.AccEvent) bool {
	ring := e.Via == uint8(format.ViaIOUring) && (e.UserData == ringPlain || e.UserData == ringDirect ||
		e.UserData == ringBad)
	return ring || slices.Contains(a.testInodes, e.Facts.Listener)
}

// executable is the recorder's own, as the kernel introduced it at the self-test.
func (a *attached) executable() (dev string, inode uint64) {
	pid := uint32(0) // as the kernel says it
	for _, r := range a.early {
		if e, ok := eventIn(r.raw); ok && a.ours(e) {
			pid = e.Pid
		}
	}
	for _, r := range a.early {
		if len(r.raw) != int(unsafe.Sizeof(bpf.AccProcess{})) {
			continue
		}
		if p := (*bpf.AccProcess)(unsafe.Pointer(unsafe.SliceData(r.raw))); p.Pid == pid && p.ExeIno != 0 {
			return deviceOf(p), p.ExeIno
		}
	}
	return "", 0
}

// owns takes note of a listener of the self-test, and gives its inode number.
func (a *attached) owns(listener int) (inode uint64) {
	var st unix.Stat_t
	if unix.Fstat(listener, &st) == nil {
		inode = st.Ino
		a.testInodes = append(a.testInodes, inode)
	}
	return inode
}

// testOthers tries what is there beside the system call itself: requests of
// io_uring, the descriptors and ends that are watched for them, and the return of a
// call that began before the probes.
func (a *attached) testOthers(asleep *sleeper) error {
	if err := a.watchFDs(true); err != nil {
		return err
	}
	requests, why := a.acceptByRing()
	if asleep != nil {
		if err := asleep.wake(); err != nil {
			return fmt.Errorf("end an accept that began before the probes: %w", err)
		}
	}
	if err := a.readEarly(); err != nil {
		return err
	}
	var accepted, ended, slot, before bool
	for i := range a.early {
		e, ok := eventIn(a.early[i].raw)
		if !ok || !a.ours(e) {
			continue
		}
		a.early[i].own = true
		switch {
		case e.Hook == uint8(format.HookSysExit):
			before = before || e.Mark&format.MarkBefore != 0
		case e.Hook == uint8(format.HookIOComplete):
			ended = true
		case e.UserData == ringDirect && e.Uring&format.UringDirect != 0 && e.Mark&format.MarkNoFD == 0:
			slot = true
		case e.UserData == ringPlain && e.Mark&format.MarkNoFD == 0:
			accepted = true
		}
	}
	if requests > 0 {
		a.proved(noRequests, accepted)
		a.proved(noFDs, accepted)
		a.proved(noEnds, ended)
	}
	if requests > 1 {
		a.proved(noSlots, slot)
	}
	if asleep != nil {
		a.proved(noExits, before)
	}
	a.untested = why
	return nil
}

// proved takes note of whether the probes that show something fired in the self-test.
func (a *attached) proved(what string, fired bool) {
	has := slices.ContainsFunc(a.probes, func(p probe) bool { return p.without == what })
	if has && !fired && !slices.Contains(a.limits, what) {
		a.limits = append(a.limits, what)
	}
}

// readEarly takes what is in the ring when it is called, and may take some that comes meanwhile: on a busy host there
// is no end of that.
func (a *attached) readEarly() error {
	var record ringbuf.Record
	a.ring.SetDeadline(past)
	for left := a.ring.AvailableBytes(); left > 0; left -= ringHeader + (len(record.RawSample)+7)&^7 {
		if err := a.ring.ReadInto(&record); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return nil
			}
			return fmt.Errorf("read ring buffer: %w", err)
		}
		a.early = append(a.early, earlyRecord{raw: slices.Clone(record.RawSample)})
	}
	return nil
}

// eventIn is the event that a record of the ring is, or begins with; false if it
// is another record.
func eventIn(raw []byte) (*bpf.AccEvent, bool) {
	if n := uintptr(len(raw)); n != unsafe.Sizeof(bpf.AccEvent{}) && n != unsafe.Sizeof(bpf.AccNamedEvent{}) {
		return nil, false
	}
	return (*bpf.AccEvent)(unsafe.Pointer(unsafe.SliceData(raw))), true
}

// listenUnix listens in the UNIX domain, under a name that the kernel chooses
// (unix(7), autobind), and gives the name.
func listenUnix() (fd int, name unix.Sockaddr, err error) {
	if fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return -1, nil, err
	}
	if err = errors.Join(unix.Bind(fd, &unix.SockaddrUnix{}), unix.Listen(fd, 1)); err == nil {
		name, err = unix.Getsockname(fd)
	}
	if err != nil {
		unix.Close(fd)
		return -1, nil, err
	}
	return fd, name, nil
}

// connectUnix connects to a name.
func connectUnix(name unix.Sockaddr) (fd int, err error) {
	if fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return -1, err
	}
	if err = unix.Connect(fd, name); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// acceptOnce accepts a connection to itself, and gives the listener's inode number.
func (a *attached) acceptOnce() (uint64, error) {
	listener, name, err := listenUnix()
	if err != nil {
		return 0, err
	}
	defer unix.Close(listener)
	inode := a.owns(listener)
	client, err := connectUnix(name)
	if err != nil {
		return 0, err
	}
	defer unix.Close(client)
	fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
	if err != nil {
		return 0, err
	}
	return inode, unix.Close(fd)
}

// sleeper is a thread that sits in accept before the probes are attached.
type sleeper struct {
	tid  uint32
	name unix.Sockaddr
	done chan error // gets what came of it
	wake func() error
}

// newSleeper gives one; an error if that can't be had.
func (a *attached) newSleeper() (*sleeper, error) {
	listener, name, err := listenUnix()
	if err != nil {
		return nil, err
	}
	a.owns(listener)
	s := &sleeper{name: name, done: make(chan error, 1)}
	s.wake = sync.OnceValue(s.connect)
	ready := make(chan uint32)
	go func() {
		runtime.LockOSThread() // and end the thread
		defer unix.Close(listener)
		var all, before unix.Sigset_t
		for i := range all.Val {
			all.Val[i] = 1<<64 - 1
		}
		_ = unix.PthreadSigmask(unix.SIG_BLOCK, &all, &before) // the Go runtime's signals would interrupt it
		ready <- uint32(unix.Gettid())
		fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
		if err == nil {
			err = unix.Close(fd)
		}
		_ = unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil) // confine signals every thread
		s.done <- err
	}()
	s.tid = <-ready
	path := fmt.Sprintf("/proc/self/task/%d/syscall", s.tid)
	for deadline := time.Now().Add(2 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Microsecond) {
		b, err := os.ReadFile(path)
		if err != nil {
			break
		}
		if _, ok := acceptSyscall(b); ok {
			return s, nil
		}
	}
	_ = s.wake()
	return nil, errors.New("a thread does not come to sleep in accept")
}

// connect ends the accept.
func (s *sleeper) connect() error {
	client, err := connectUnix(s.name)
	if err != nil {
		return err
	}
	defer unix.Close(client)
	return <-s.done
}

// tooEarly reports whether a record is of the time when some of the probes were not
// live yet: what it tells would lack its other half.
func (a *attached) tooEarly(raw []byte) bool {
	if l, ok := lifeIn(raw); ok {
		return int64(l.BootNs) < a.begunNS
	}
	e, ok := eventIn(raw)
	return ok && int64(e.BootNs) < a.begunNS
}
