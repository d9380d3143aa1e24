//go:build amd64 || arm64

package capture

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// This file watches for other tracers. When one is attached to a function that has our trampoline, or is
// removed, the kernel makes another trampoline, and no longer runs our programs on the return of calls that
// wait in the old one (bpf_tramp_image_put). The kernel tells perf events of each new trampoline.

// Functions in which calls wait, and on whose return there is a program.
var waitedIn = []string{"__sys_accept4", "do_accept"}

const (
	perfKsymbol   = 1 << 29 // perf_event_attr.ksymbol
	recordKsymbol = 17      // PERF_RECORD_KSYMBOL
	ksymbolFlags  = 8 + 8 + 4 + 2
	ksymbolName   = ksymbolFlags + 2
	ksymbolGone   = 1 // PERF_RECORD_KSYMBOL_FLAGS_UNREGISTER, which comes when nobody is in the old one any more
	imageName     = "bpf_trampoline_"
	functionBits  = 1<<31 - 1 // of the number in that name: the type id of the function
)

// waitedInIDs are their numbers in the kernel's types.
func waitedInIDs(types *btf.Cache) (list []btf.TypeID) {
	kernel, err := types.Kernel()
	if err != nil {
		return nil
	}
	for _, name := range waitedIn {
		var f *btf.Func
		if kernel.TypeByName(name, &f) != nil {
			continue
		}
		if id, err := kernel.TypeID(f); err == nil {
			list = append(list, id)
		}
	}
	return list
}

// A tracerWatch tells of new trampolines of the functions in which calls wait. A nil one tells nothing.
type tracerWatch struct {
	files     []*os.File
	functions []btf.TypeID
	seen      atomic.Bool
	wake      func()
}

// watchTracers begins to call wake; nil: it can't.
func watchTracers(functions []btf.TypeID, wake func()) *tracerWatch {
	w := &tracerWatch{functions: functions, wake: wake}
	for cpu := range ebpf.MustPossibleCPU() {
		if err := w.open(cpu); err != nil && err != unix.ENODEV { // a CPU that is off
			w.close()
			return nil
		}
	}
	return w
}

// open makes the perf event of a CPU, and its buffer of one page.
func (w *tracerWatch) open(cpu int) error {
	attr := unix.PerfEventAttr{
		Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_DUMMY,
		Bits: perfKsymbol | unix.PerfBitWatermark, Wakeup: 1,
		Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{})),
	}
	fd, err := unix.PerfEventOpen(&attr, -1, cpu, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return err
	}
	page := os.Getpagesize()
	buffer, err := unix.Mmap(fd, 0, 2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		unix.Close(fd)
		return err
	}
	f := os.NewFile(uintptr(fd), "perf event")
	w.files = append(w.files, f)
	go w.follow(f, buffer, buffer[page:])
	return nil
}

// follow reads what comes until the file is closed.
func (w *tracerWatch) follow(f *os.File, buffer, data []byte) {
	defer unix.Munmap(buffer)
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	head := (*unix.PerfEventMmapPage)(unsafe.Pointer(&buffer[0]))
	tail := uint64(0)
	for {
		err := raw.Read(func(uintptr) bool { return atomic.LoadUint64(&head.Data_head) != tail })
		if err != nil {
			return
		}
		from := tail
		tail = atomic.LoadUint64(&head.Data_head)
		if w.ours(data, from, tail) {
			w.seen.Store(true)
			w.wake()
		}
		atomic.StoreUint64(&head.Data_tail, tail)
	}
}

// ours reports whether one of the records tells of a trampoline of our functions.
func (w *tracerWatch) ours(data []byte, from, to uint64) bool {
	at := func(i uint64, n int) []byte {
		b := make([]byte, n)
		for k := range b {
			b[k] = data[(i+uint64(k))%uint64(len(data))]
		}
		return b
	}
	for from+8 <= to {
		h := at(from, 8)
		size := int(*(*uint16)(unsafe.Pointer(&h[6])))
		if size < 8 {
			return true // it can't be told
		}
		if *(*uint32)(unsafe.Pointer(&h[0])) == recordKsymbol && size > ksymbolName {
			record := at(from, size)
			name, _, _ := bytes.Cut(record[ksymbolName:], []byte{0})
			if *(*uint16)(unsafe.Pointer(&record[ksymbolFlags]))&ksymbolGone == 0 && w.image(string(name)) {
				return true
			}
		}
		from += uint64(size)
	}
	return false
}

// image reports whether a symbol is a trampoline of one of our functions.
func (w *tracerWatch) image(name string) bool {
	key, ok := strings.CutPrefix(name, imageName)
	key, _, _ = strings.Cut(key, "_")
	n, err := strconv.ParseUint(key, 10, 64)
	return ok && err == nil && slices.Contains(w.functions, btf.TypeID(n&functionBits))
}

// changed reports whether there was a new trampoline since it was last asked.
func (w *tracerWatch) changed() bool { return w != nil && w.seen.Swap(false) }

// close ends it.
func (w *tracerWatch) close() {
	if w != nil {
		for _, f := range w.files {
			f.Close()
		}
	}
}
