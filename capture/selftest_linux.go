//go:build amd64 || arm64

package capture

import (
	"errors"
	"fmt"
	"os"
	"slices"
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

// selfTest accepts a connection of its own and looks for it in the ring: that a
// probe is attached does not mean that it fires. The recording begins with it: its
// own events and earlier ones are left out, later ones of others are kept.
func (a *attached) selfTest() error {
	inode, err := acceptOnce()
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
		case e.Facts.Listener != inode || e.Pid != uint32(os.Getpid()):
			// Without an entry: of a call that began before; recorded. With one, of the
			// time when not all probes were live: before the recording.
			r.own = enter == nil && e.Mark&format.MarkBefore == 0
		case e.Kind == uint8(format.Enter):
			enter, r.own = e, true
		default:
			ret, r.own = e, true
		}
	}
	_, _, noAttempt, err := a.counters()
	switch {
	case err != nil:
		return err
	case enter == nil:
		return errors.New("the probe on the entry of __sys_accept4 is attached but does not fire")
	case noAttempt > 0:
		return errors.New("this kernel gives programs no task storage")
	case ret == nil || ret.Hook != uint8(format.HookSysAccept4):
		return errors.New("the probe on the return of __sys_accept4 is attached but does not fire")
	case ret.Mark&format.MarkNoFacts != 0 || ret.Facts.Inode == 0:
		return errors.New("the probe on the return of do_accept is attached but does not fire")
	}
	return nil
}

// readEarly takes what is in the ring now.
func (a *attached) readEarly() error {
	var record ringbuf.Record
	a.ring.SetDeadline(past)
	for a.ring.AvailableBytes() > 0 {
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

// acceptOnce accepts a connection to itself, over a UNIX socket without a name
// in the file system, and gives the listener's inode number.
func acceptOnce() (uint64, error) {
	listener, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(listener)
	var st unix.Stat_t
	// An empty name lets the kernel choose one (unix(7), autobind).
	if err := errors.Join(unix.Bind(listener, &unix.SockaddrUnix{}), unix.Listen(listener, 1), unix.Fstat(listener, &st)); err != nil {
		return 0, err
	}
	name, err := unix.Getsockname(listener)
	if err != nil {
		return 0, err
	}
	client, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(client)
	if err := unix.Connect(client, name); err != nil {
		return 0, err
	}
	fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
	if err != nil {
		return 0, err
	}
	return st.Ino, unix.Close(fd)
}
