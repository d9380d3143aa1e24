//go:build linux && (amd64 || arm64)

package capture

import (
	"encoding/binary"
	"errors"
	"io"
	"math/bits"
	"os"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/bpf"
	"github.com/acc-project/acc/format"
)

// ringOf is a ring buffer in memory, of records of 24 bytes, and what the kernel does to write one: false if it is
// full.
func ringOf(records int) (m *mapped, write func(num uint64) bool) {
	m, next := ringOfSize(records, 24)
	return m, func(num uint64) bool {
		record := next()
		if record != nil {
			binary.NativeEndian.PutUint64(record, num)
		}
		return record != nil
	}
}

// ringOfSize is a ring buffer in memory for that many records of a size, or more, and what gives the next one; nil: it
// is full.
func ringOfSize(records, size int) (m *mapped, next func() []byte) {
	m, write := ringOfSizes(records * (ringHeader + size))
	return m, func() []byte { return write(size) }
}

// ringOfSizes is one for records of any size, which are complete at once.
func ringOfSizes(room int) (m *mapped, next func(size int) []byte) {
	page := os.Getpagesize()
	room = max(page, 1<<bits.Len(uint(room-1))) // a power of two
	m = &mapped{make([]byte, page), twice(page, room), uintptr(room)}
	consumed, produced := m.positions()
	return m, func(size int) []byte {
		at, each := atomic.LoadUintptr(produced), uintptr(ringHeader+size+7)&^7
		if at+each-atomic.LoadUintptr(consumed) > m.size {
			return nil
		}
		record := m.data[page+int(at&(m.size-1)):]
		binary.NativeEndian.PutUint32(record, uint32(size))
		atomic.StoreUintptr(produced, at+each)
		return record[ringHeader:][:size]
	}
}

// twice is memory of a page, and behind it other memory twice.
func twice(page, size int) []byte {
	file, err := unix.MemfdCreate("ring", unix.MFD_CLOEXEC)
	if err != nil {
		panic(err)
	}
	defer unix.Close(file)
	const prot, flags = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_SHARED | unix.MAP_FIXED
	at, err := unix.MmapPtr(-1, 0, nil, uintptr(page+2*size), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	_, onceErr := unix.MmapPtr(file, 0, at, uintptr(page+size), prot, flags)
	_, againErr := unix.MmapPtr(file, int64(page), unsafe.Add(at, page+size), uintptr(size), prot, flags)
	if err := errors.Join(err, unix.Ftruncate(file, int64(page+size)), onceErr, againErr); err != nil {
		panic(err)
	}
	return unsafe.Slice((*byte)(at), page+2*size)
}

// A ring that is filled as fast as it is read is drained of what was there, once and in order: the recording goes on to
// what is due by time.
func TestDrainEnds(t *testing.T) {
	m, write := ringOf(1 << 13)
	next := uint64(0)
	for range 1000 {
		write(next)
		next++
	}
	want := uint64(0)
	take := func(_ *session, record []byte, _ uintptr) (uintptr, error) {
		if got := binary.NativeEndian.Uint64(record); got != want {
			t.Fatalf("record %d, want %d", got, want)
		}
		if want++; want > 5000 {
			t.Fatal("there is no end of it")
		}
		if write(next) {
			next++
		}
		return 0, nil
	}
	if err := m.drain(nil, take); err != nil || want < 1000 {
		t.Fatalf("%d records were taken: %v", want, err)
	}
	before := want
	full := errors.New("full")
	once := func(s *session, record []byte, behind uintptr) (uintptr, error) {
		_, err := take(s, record, behind)
		return 0, errors.Join(err, full)
	}
	if err := m.drain(nil, once); !errors.Is(err, full) || want != before+1 {
		t.Fatalf("%d records were taken by one that can't: %v", want-before, err)
	}
	was := next
	if err := m.drain(nil, take); err != nil || want < was {
		t.Fatalf("%d of %d records were taken: %v", want, was, err)
	}
}

// A frame that becomes full while the ring is read has the next one begin then: that does not end with the second of
// the full one.
func TestFullFrameBeginsTheNext(t *testing.T) {
	size := int(unsafe.Sizeof(bpf.AccLifeEvent{}))
	m, next := ringOfSize(1<<10, size)
	s := &session{o: &Options{}, a: &attached{}, watcher: &watcher{}, mapped: m}
	var err error
	if s.writer, err = format.NewWriter(io.Discard, format.Header{}, format.WriterOptions{FrameEvents: 4}); err != nil {
		t.Fatal(err)
	}
	began := time.Now().Add(-flushEvery / 2)
	s.framed = began
	for i, full := range []bool{false, true, false, true} {
		for range 2 {
			raw := bpf.AccLifeEvent{Kind: uint8(format.Closed), Hook: uint8(format.HookSetState), CpuSeq: 1}
			copy(next(), bytesOf(&raw))
		}
		before := s.framed
		if err := s.drain(); err != nil {
			t.Fatal(err)
		}
		if full != s.framed.After(before) || full && s.framed.Before(began.Add(flushEvery/2)) {
			t.Errorf("batch %d: the frame counts from %s after the first one", i, s.framed.Sub(began))
		}
	}
}

// When the first phase has ended, and the frame has not, there is nothing to do at once: reading does not go round
// without a sleep until the frame ends.
func TestNextTickBehindStart(t *testing.T) {
	now := time.Now()
	s := &session{o: &Options{}, watcher: &watcher{until: now.Add(-time.Millisecond)},
		framed: now.Add(-flushEvery / 2), booked: now.Add(-flushEvery / 2), clocked: now, ticked: now}
	var err error
	if s.writer, err = format.NewWriter(io.Discard, format.Header{}, format.WriterOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := s.writer.Event(&format.Event{Kind: format.Return}); err != nil {
		t.Fatal(err)
	}
	if next := s.nextTick(); !next.After(now) {
		t.Errorf("behind a tick the next one is due %s before it", now.Sub(next))
	}
}
