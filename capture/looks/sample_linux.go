package looks

// This file samples where a thread that runs is: the kernel's clock of a CPU interrupts it 99 times a second, and copies
// its registers and a part of its stack. Events are open only for threads that were seen running.

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/capture/stacks"
	"github.com/acc-project/acc/format"
)

const (
	sampleHz     = 99
	sampleStack  = 4096
	ringPages    = 32  // of samples, some 30 of them
	maxSamplers  = 8   // threads at once
	maxSamples   = 400 // of a thread, in one watch
	maxPlaces    = 32  // recorded of a thread
	idleLooks    = 3   // after so many looks at which it did not run, sampling ends
	perfRegs     = 17  // of them, by arch/x86/include/uapi/asm/perf_regs.h
	perfRegsMask = 0x1ff | 0xff<<16
	abi64        = 2
)

// dwarfRegs are the numbers that DWARF has for the registers of a sample, but the 9th, the program counter.
var dwarfRegs = [perfRegs]int{0, 3, 2, 1, 4, 5, 6, 7, -1, 8, 9, 10, 11, 12, 13, 14, 15}

// sampler samples one thread.
type sampler struct {
	fd   int
	ring []byte // a page that says how far it is written and read, and the samples
	idle int    // looks since it ran
}

// openSampler begins to sample a thread, its time in the kernel too if the kernel lets it.
func openSampler(tid uint32) (*sampler, error) {
	attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_CPU_CLOCK, Sample: sampleHz,
		Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{})), Bits: unix.PerfBitFreq,
		Sample_type:      unix.PERF_SAMPLE_IP | unix.PERF_SAMPLE_REGS_USER | unix.PERF_SAMPLE_STACK_USER,
		Sample_regs_user: perfRegsMask, Sample_stack_user: sampleStack}
	fd, err := unix.PerfEventOpen(&attr, int(tid), -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err == unix.EACCES || err == unix.EPERM {
		attr.Bits |= unix.PerfBitExcludeKernel | unix.PerfBitExcludeHv
		fd, err = unix.PerfEventOpen(&attr, int(tid), -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
	}
	if err != nil {
		return nil, fmt.Errorf("perf_event_open: %w", err)
	}
	ring, err := unix.Mmap(fd, 0, (1+ringPages)*unix.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("map samples: %w", err)
	}
	return &sampler{fd: fd, ring: ring}, nil
}

func (s *sampler) close() {
	_ = unix.Munmap(s.ring)
	unix.Close(s.fd)
}

// sample is one: where the thread was in its program, and whether it was in the kernel then.
type sample struct {
	regs     stacks.Registers
	stack    []byte
	inKernel bool
}

// Offsets in struct perf_event_mmap_page.
const perfHead, perfTail = 1024, 1032

// read gives the samples since the last time, and how many the ring had no room for.
func (s *sampler) read(take func(sample)) (lost uint64) {
	page := unix.Getpagesize()
	data := s.ring[page:]
	head := atomic.LoadUint64((*uint64)(unsafe.Pointer(&s.ring[perfHead])))
	tail := (*uint64)(unsafe.Pointer(&s.ring[perfTail]))
	at := atomic.LoadUint64(tail)
	if head-at > uint64(len(data)) {
		at = head // it can't be
	}
	for head-at >= 8 {
		h := uint64At(data, at)
		kind, size := uint32(h), h>>48
		if size < 8 || size > head-at {
			break
		}
		b := make([]byte, size)
		for n := 0; n < len(b); {
			n += copy(b[n:], data[(at+uint64(n))%uint64(len(data)):])
		}
		at += size
		switch kind {
		case unix.PERF_RECORD_SAMPLE:
			if x, ok := parseSample(b[8:]); ok {
				take(x)
			} else {
				lost++
			}
		case unix.PERF_RECORD_LOST:
			if len(b) >= 24 {
				lost += binary.LittleEndian.Uint64(b[16:])
			}
		}
	}
	atomic.StoreUint64(tail, head)
	return lost
}

func uint64At(ring []byte, at uint64) uint64 {
	return binary.LittleEndian.Uint64(ring[at%uint64(len(ring)):]) // records are multiples of 8
}

// parseSample reads a sample: an instruction's address, the registers, the stack.
func parseSample(b []byte) (x sample, ok bool) {
	if len(b) < 16 || binary.LittleEndian.Uint64(b[8:]) != abi64 || len(b) < 16+8*perfRegs+8 {
		return x, false
	}
	x.inKernel = int64(binary.LittleEndian.Uint64(b)) < 0
	for i, to := range dwarfRegs {
		v := binary.LittleEndian.Uint64(b[16+8*i:])
		if to < 0 {
			x.regs.PC = v
		} else {
			x.regs.R[to] = v
		}
	}
	x.regs.Known = 1<<16 - 1
	b = b[16+8*perfRegs:]
	size := binary.LittleEndian.Uint64(b)
	b = b[8:]
	if size == 0 || size > uint64(len(b)) || uint64(len(b))-size < 8 {
		return x, false
	}
	used := binary.LittleEndian.Uint64(b[size:])
	x.stack = b[:min(used, size)]
	return x, true
}

// onCPU is what samples of a thread say.
type onCPU struct {
	samples, inKernel, lost uint32
	pending                 []*stackCopy
	places                  map[uint32]uint32 // samples by the number of their stack
	changed                 bool
}

// sample samples a thread while it runs. ran: since the last look.
func (t *thread) sample(w *watch, ran, past int64) {
	if w.stacks == nil {
		return
	}
	running := ran >= past/4
	if t.sampler == nil {
		if !running || t.noSampler || t.cpu.samples >= maxSamples || w.samplers >= maxSamplers {
			return
		}
		s, err := openSampler(t.TID)
		if err != nil {
			t.noSampler = true
			w.can("functions of threads that run: " + err.Error())
			return
		}
		t.sampler = s
		w.samplers++
		return
	}
	if t.sampler.idle++; running {
		t.sampler.idle = 0
	}
	t.takeSamples(w)
	if t.sampler.idle >= idleLooks || t.cpu.samples >= maxSamples {
		t.endSampling(w)
	}
}

func (t *thread) takeSamples(w *watch) {
	c := &t.cpu
	c.lost += uint32(t.sampler.read(func(x sample) {
		c.samples++
		c.changed = true
		if x.inKernel {
			c.inKernel++
		}
		s := &stackCopy{pid: t.PID, regs: x.regs, stack: x.stack, functions: true}
		if c.samples <= maxSamples && w.stacks.find(s) {
			c.pending = append(c.pending, s)
		}
	}))
}

// endSampling ends it, with what was sampled last.
func (t *thread) endSampling(w *watch) {
	if t.sampler == nil {
		return
	}
	t.takeSamples(w)
	t.sampler.close()
	t.sampler = nil
	w.samplers--
}

// count counts samples whose stacks were found. waits: of some they are not found yet.
func (c *onCPU) count() (waits bool) {
	c.pending = slices.DeleteFunc(c.pending, func(s *stackCopy) bool {
		num := s.num.Load()
		if num > 0 && (len(c.places) < 4*maxPlaces || c.places[uint32(num)] > 0) {
			if c.places == nil {
				c.places = map[uint32]uint32{}
			}
			c.places[uint32(num)]++
		}
		c.changed = c.changed || num != 0
		return num != 0
	})
	return len(c.pending) > 0
}

// noteSamples notes what samples say of the threads. waits: some are not found yet.
func (w *watch) noteSamples(all bool) (waits bool) {
	var list []format.OnCPU
	changed := false
	for _, t := range w.threads {
		waits = t.cpu.count() || waits
		changed = changed || t.cpu.changed
		if t.cpu.samples > 0 {
			list = append(list, t.cpu.record(t.TID))
		}
	}
	if !changed || !all && w.lastNS < w.cpuNS && !w.again {
		return waits
	}
	w.cpuNS = w.lastNS + int64(writeEvery)
	for _, t := range w.threads {
		t.cpu.changed = false
	}
	w.OnCPU, w.again = list, true
	return waits
}

// record makes a record of it.
func (c *onCPU) record(tid uint32) format.OnCPU {
	x := format.OnCPU{TID: tid, Samples: c.samples, InKernel: c.inKernel, Lost: c.lost, Stacks: []format.StackCount{}}
	for num, n := range c.places {
		x.Stacks = append(x.Stacks, format.StackCount{Stack: num, N: n})
	}
	slices.SortFunc(x.Stacks, func(a, b format.StackCount) int {
		if a.N != b.N {
			return int(b.N) - int(a.N)
		}
		return int(a.Stack) - int(b.Stack)
	})
	x.Stacks = x.Stacks[:min(len(x.Stacks), maxPlaces)]
	return x
}
