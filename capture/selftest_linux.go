//go:build amd64 || arm64

package capture

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/bpf"
	"github.com/acc-project/acc/format"
)

// selfTest accepts a connection of its own and looks for it in the ring: that a
// probe is attached does not mean that it fires. The recording begins with it: its
// own events and earlier ones are left out, later ones of others are kept.
func (a *attached) selfTest() error {
	inode, err := acceptOnce()
	if err != nil {
		return fmt.Errorf("make a connection to test the probes: %w", err)
	}
	var enter, ret *bpf.AccEvent
	var record ringbuf.Record
	a.ring.SetDeadline(past)
	for a.ring.AvailableBytes() > 0 {
		if err := a.ring.ReadInto(&record); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			return fmt.Errorf("read ring buffer: %w", err)
		}
		raw, err := rawEvent(&record)
		if err != nil {
			return err
		}
		e := *raw
		switch {
		case e.Facts.Listener != inode || e.Pid != uint32(os.Getpid()):
			if enter == nil { // of the time when not all probes were live: before the recording
				e.Kind |= ownEvent
			}
			a.early = append(a.early, e)
			continue
		case e.Kind == uint8(format.Enter):
			enter = &e
		default:
			ret = &e
		}
		// It stays among the early events, for its number, and is known by its inode.
		a.early = append(a.early, e)
		a.early[len(a.early)-1].Kind |= ownEvent
	}
	_, _, noAttempt, err := a.counters()
	switch {
	case err != nil:
		return err
	case enter == nil:
		return errors.New("the probe on the entry of __sys_accept4 is attached but does not fire")
	case noAttempt > 0:
		return errors.New("this kernel gives programs no task storage")
	case ret == nil:
		return errors.New("the probe on the return of __sys_accept4 is attached but does not fire")
	case ret.Mark&format.MarkNoFacts != 0 || ret.Facts.Inode == 0:
		return errors.New("the probe on the return of do_accept is attached but does not fire")
	}
	return nil
}

// ownEvent marks the Kind of events that are not recorded: the self-test's, and
// those before it.
const ownEvent = 0x80

// rawEvent is what a record of the ring holds; valid until the next one is read.
func rawEvent(record *ringbuf.Record) (*bpf.AccEvent, error) {
	if len(record.RawSample) < int(unsafe.Sizeof(bpf.AccEvent{})) {
		return nil, fmt.Errorf("read ring buffer: a record has %d bytes", len(record.RawSample))
	}
	return (*bpf.AccEvent)(unsafe.Pointer(unsafe.SliceData(record.RawSample))), nil
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
