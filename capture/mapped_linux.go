//go:build amd64 || arm64

package capture

// This file reads the ring buffer where the kernel wrote it.

import (
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// mapped reads the ring buffer where the kernel wrote it, many records at a time.
// The library's reader, which copies each one, stays for waiting: both keep the
// place up to which was read in the page that they share with the kernel
// (kernel/bpf/ringbuf.c).
type mapped struct {
	consumer, data []byte
	size           uintptr // of the ring, a power of two
}

const (
	ringBusy    = 1 << 31 // BPF_RINGBUF_BUSY_BIT: the record is not complete yet
	ringDiscard = 1 << 30 // BPF_RINGBUF_DISCARD_BIT
	ringHeader  = 8
	ringGiven   = 64 << 10 // bytes read after which the kernel gets their room back
)

func mapRing(m *ebpf.Map) (*mapped, error) {
	page, size := os.Getpagesize(), int(m.MaxEntries())
	consumer, err := unix.Mmap(m.FD(), 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map ring buffer: %w", err)
	}
	// The data stand there twice, so that no record is cut in two.
	data, err := unix.Mmap(m.FD(), int64(page), page+2*size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		_ = unix.Munmap(consumer)
		return nil, fmt.Errorf("map ring buffer: %w", err)
	}
	return &mapped{consumer, data, uintptr(size)}, nil
}

func (m *mapped) close() {
	if m != nil {
		_ = unix.Munmap(m.consumer)
		_ = unix.Munmap(m.data)
	}
}

// A ringTake takes a record of the ring, which is valid until it returns. Behind: bytes that the ring has after it, of
// records that need not be complete. It gives how many of them it took, too.
type ringTake func(s *session, record []byte, behind uintptr) (more uintptr, err error)

// drain calls take with s and every record that is in the ring when it is called, and waits for those that are not
// complete yet. It may leave what comes meanwhile: where that comes as fast as it is taken, there is no end of it.
func (m *mapped) drain(s *session, take ringTake) error {
	consumed, produced := m.positions()
	for end := atomic.LoadUintptr(produced); int(end-atomic.LoadUintptr(consumed)) > 0; {
		if err := m.each(s, take); err != nil {
			return err
		}
	}
	return nil
}

// positions are up to where the ring was read, and was written.
func (m *mapped) positions() (consumed, produced *uintptr) {
	return (*uintptr)(unsafe.Pointer(unsafe.SliceData(m.consumer))), (*uintptr)(unsafe.Pointer(unsafe.SliceData(m.data)))
}

// each calls take with every record that is there now, up to one that is not
// complete.
func (m *mapped) each(s *session, take ringTake) error {
	consumed, produced := m.positions()
	ring, mask := unsafe.Add(unsafe.Pointer(unsafe.SliceData(m.data)), os.Getpagesize()), m.size-1
	at, end := atomic.LoadUintptr(consumed), atomic.LoadUintptr(produced)
	given := at + ringGiven
	for at != end {
		head := unsafe.Add(ring, at&mask)
		length := atomic.LoadUint32((*uint32)(head))
		if length&ringBusy != 0 {
			break
		}
		n := uintptr(length &^ ringDiscard)
		at += ringHeader + (n+7)&^7
		if length&ringDiscard == 0 {
			more, err := take(s, unsafe.Slice((*byte)(unsafe.Add(head, ringHeader)), n), end-at)
			at += more
			if err != nil {
				atomic.StoreUintptr(consumed, at)
				return err
			}
		}
		if at >= given {
			atomic.StoreUintptr(consumed, at)
			given = at + ringGiven
		}
	}
	atomic.StoreUintptr(consumed, at)
	return nil
}
