//go:build amd64 || arm64

package capture

// This file accepts by io_uring, for the self-test of the probes.

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What linux/io_uring.h defines and is needed here.
const (
	ringSQEs          = 0x10000000 // IORING_OFF_SQES
	ringGetEvents     = 1 << 0     // IORING_ENTER_GETEVENTS
	ringRegisterFiles = 2          // IORING_REGISTER_FILES
	ringAccept        = 13         // IORING_OP_ACCEPT
	ringSlotAny       = 1<<32 - 1  // IORING_FILE_INDEX_ALLOC
)

// What the self-test names its requests.
const (
	ringPlain = 0xacc<<32 + iota
	ringDirect
	ringBad
)

type ringParams struct {
	sqEntries, cqEntries, flags, threadCPU, threadIdle, features, wqFD uint32
	_                                                                  [3]uint32
	sq                                                                 struct {
		head, tail, mask, entries, flags, dropped, array, _ uint32
		_                                                   uint64
	}
	cq struct {
		head, tail, mask, entries, overflow, cqes, flags, _ uint32
		_                                                   uint64
	}
}

type ringSQE struct {
	op, flags uint8
	prio      uint16
	fd        int32
	_         [2]uint64
	len       uint32
	opFlags   uint32
	userData  uint64
	_         uint32
	slot      uint32
	_         [2]uint64
}

type ringCQE struct {
	userData   uint64
	res, flags uint32
}

// acceptByRing accepts by io_uring: one connection into a descriptor, one into a
// slot, and one of a bad descriptor. done is how many of the first two could be
// made; why is why the others could not.
func (a *attached) acceptByRing() (done int, why string) {
	fail := func(err error) (int, string) { return done, err.Error() }
	var p ringParams
	ring, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 4, uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return fail(fmt.Errorf("io_uring can't be used: %w", errno))
	}
	defer unix.Close(int(ring))
	size := max(p.sq.array+p.sqEntries*4, p.cq.cqes+p.cqEntries*uint32(unsafe.Sizeof(ringCQE{})))
	rings, err := unix.Mmap(int(ring), 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fail(fmt.Errorf("map io_uring: %w", err))
	}
	defer unix.Munmap(rings)
	sqes, err := unix.Mmap(int(ring), ringSQEs, int(p.sqEntries)*int(unsafe.Sizeof(ringSQE{})),
		unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fail(fmt.Errorf("map io_uring: %w", err))
	}
	defer unix.Munmap(sqes)
	word := func(at uint32) *uint32 { return (*uint32)(unsafe.Pointer(&rings[at])) }
	submit := func(s ringSQE) (int32, error) { // and wait
		tail := *word(p.sq.tail)
		i := tail & *word(p.sq.mask)
		*(*ringSQE)(unsafe.Pointer(&sqes[uintptr(i)*unsafe.Sizeof(s)])) = s
		*word(p.sq.array + 4*i) = i
		atomic.StoreUint32(word(p.sq.tail), tail+1)
		for submitted := uintptr(1); ; submitted = 0 {
			if _, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, ring, submitted, 1, ringGetEvents, 0,
				0); errno != 0 && errno != unix.EINTR {
				return 0, errno
			}
			if head := *word(p.cq.head); head != atomic.LoadUint32(word(p.cq.tail)) {
				c := (*ringCQE)(unsafe.Pointer(&rings[p.cq.cqes+(head&*word(p.cq.mask))*uint32(
					unsafe.Sizeof(ringCQE{}))]))
				res := int32(c.res)
				atomic.StoreUint32(word(p.cq.head), head+1)
				return res, nil
			}
		}
	}
	listener, name, err := listenUnix()
	if err != nil {
		return fail(err)
	}
	defer unix.Close(listener)
	a.owns(listener)
	accept := func(s ringSQE) (int32, error) {
		client, err := connectUnix(name)
		if err != nil {
			return 0, err
		}
		defer unix.Close(client)
		s.op, s.fd = ringAccept, int32(listener)
		return submit(s)
	}
	if res, err := submit(ringSQE{op: ringAccept, fd: -1, userData: ringBad}); err != nil || res != -int32(unix.EBADF) {
		return fail(errors.Join(err, fmt.Errorf("io_uring gives %d for a bad descriptor", res)))
	}
	fd, err := accept(ringSQE{userData: ringPlain})
	if err != nil || fd < 0 {
		return fail(errors.Join(err, fmt.Errorf("accept by io_uring: %d", fd)))
	}
	unix.Close(int(fd))
	done++
	files := [1]int32{-1}
	if _, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, ring, ringRegisterFiles,
		uintptr(unsafe.Pointer(&files)), 1, 0, 0); errno != 0 {
		return fail(fmt.Errorf("register files with io_uring: %w", errno))
	}
	if res, err := accept(ringSQE{userData: ringDirect, slot: ringSlotAny}); err == nil && res >= 0 {
		done++ // from 5.19
	}
	return done, ""
}
