package stacks

// This file unwinds a copy of a thread's stack.

import "slices"

// MaxFrames is how many frames of a stack are found.
const MaxFrames = 64

// Mapping is a part of a file that is mapped for execution.
type Mapping struct {
	From, To uint64 // addresses
	Off      uint64 // of From, in the file
	Num      int    // what the caller knows it by
}

// Maps are the mappings of a process, in the order of their addresses.
type Maps []Mapping

// find finds the mapping of an address, nil if there is none.
func (m Maps) find(addr uint64) *Mapping {
	i, found := slices.BinarySearchFunc(m, addr, func(x Mapping, a uint64) int {
		switch {
		case x.To <= a:
			return -1
		case x.From > a:
			return 1
		}
		return 0
	})
	if !found {
		return nil
	}
	return &m[i]
}

// Registers are those of a thread.
type Registers struct {
	PC    uint64
	R     [16]uint64 // by DWARF's numbers: 6 is rbp, 7 rsp
	Known uint16     // which of them are known, a bit each
}

// Sleeping are the registers of a thread in a system call, of which /proc tells two.
func Sleeping(pc, sp uint64) Registers {
	r := Registers{PC: pc, Known: 1 << rsp}
	r.R[rsp] = sp
	return r
}

// Frame is a place in a file: for a caller that of the call, the last byte of it.
type Frame struct {
	Num  int    // of the mapping
	Addr uint64 // in the file's own numbering
	// where in the copy its return address was, from which the next frame was found; -1 unknown
	Slot int
}

// Stack is what unwinding found.
type Stack struct {
	Frames []Frame // innermost first
	Whole  bool    // up to where the thread began
}

// Unwind finds the frames of a thread by a copy of its stack, of which the first byte was where the stack pointer
// points. open gives the file of a mapping by its number, nil if there is none.
func Unwind(maps Maps, open func(num int) *File, regs Registers, stack []byte) Stack {
	u := unwinder{maps: maps, open: open, regs: regs, at: regs.R[rsp], stack: stack}
	var s Stack
	exact := true // the program counter is not that of a return
	for len(s.Frames) < MaxFrames {
		pc := u.regs.PC
		if !exact {
			pc--
		}
		m := maps.find(pc)
		if m == nil {
			break
		}
		f := open(m.Num)
		if f == nil {
			break
		}
		addr, ok := f.Addr(pc - m.From + m.Off)
		if !ok {
			break
		}
		s.Frames = append(s.Frames, Frame{Num: m.Num, Addr: addr, Slot: -1})
		sp := u.regs.R[rsp]
		slot, end, signal := u.step(f, addr, exact)
		if end {
			s.Whole = true
			break
		}
		if slot < 0 || u.regs.R[rsp] <= sp || u.regs.PC == 0 {
			s.Whole = slot >= 0 && u.regs.PC == 0
			break
		}
		s.Frames[len(s.Frames)-1].Slot = slot
		exact = signal
	}
	return s
}

// Function gives where the function begins that an address is in, the address itself if that is not known.
func (f *File) Function(addr uint64) uint64 {
	if t := f.goTable; t != nil {
		if s := t.step(addr); s.is {
			return s.entry
		}
	}
	if r := f.rulesAt(addr); r.lo != 0 {
		return r.lo
	}
	return addr
}

type unwinder struct {
	maps  Maps
	open  func(int) *File
	regs  Registers
	at    uint64 // address of the copy
	stack []byte
}

// word reads from the copy.
func (u *unwinder) word(addr uint64) (v uint64, slot int, ok bool) {
	d := addr - u.at
	if addr < u.at || d > uint64(len(u.stack)) || uint64(len(u.stack))-d < 8 {
		return 0, -1, false
	}
	return le.Uint64(u.stack[d:]), int(d), true
}

// step goes to the caller. slot: where in the copy the return address was, -1: the caller is not known; end: there is
// none.
func (u *unwinder) step(f *File, addr uint64, exact bool) (slot int, end, signal bool) {
	if t := f.goTable; t != nil {
		if s := t.step(addr); s.is {
			return u.stepGo(s, exact)
		}
	}
	r := f.rulesAt(addr)
	if ra := r.regs[returnAddr]; !r.good || !ra.is {
		return -1, r.good && ra.lost, false
	}
	if u.regs.Known&(1<<r.base) == 0 {
		if r.base != rbp || !u.guess(f, r) {
			return -1, false, false
		}
	}
	frame := u.regs.R[r.base] + uint64(r.offset)
	next := u.regs
	for i := range next.R {
		switch s := r.regs[i]; {
		case s.is:
			v, _, ok := u.word(frame + uint64(s.offset))
			next.R[i] = v
			next.Known &^= 1 << i
			if ok {
				next.Known |= 1 << i
			}
		case s.lost:
			next.Known &^= 1 << i
		}
	}
	pc, slot, ok := u.word(frame + uint64(r.regs[returnAddr].offset))
	if !ok {
		return -1, false, false
	}
	next.PC, next.R[rsp] = pc, frame
	next.Known |= 1 << rsp
	u.regs = next
	return slot, false, r.signal
}

// stepGo goes to the caller of a function of Go.
func (u *unwinder) stepGo(s goStep, exact bool) (slot int, end, signal bool) {
	if s.flag&goTopFrame != 0 {
		return 0, true, false
	}
	if s.flag&goWritesSP != 0 && !exact || !s.places {
		return -1, false, false
	}
	sp := u.regs.R[rsp] + s.moved
	pc, slot, ok := u.word(sp)
	if !ok {
		return -1, false, false
	}
	u.regs.PC, u.regs.R[rsp], u.regs.Known = pc, sp+8, 1<<rsp
	if fp, _, ok := u.word(sp - 8); ok && s.moved >= 8 {
		u.regs.R[rbp] = fp
		u.regs.Known |= 1 << rbp
	}
	return slot, false, false
}

// guess finds the frame pointer of a function that addresses its frame by it, where a function that it has called
// has not saved it: what /proc says of a sleeping thread does not have it. The return address of the function stands
// above the frame pointer; it follows a call of this very function, or of something that can't be read.
func (u *unwinder) guess(f *File, r *rules) bool {
	if r.offset != 16 || r.regs[rbp] != (saved{is: true, offset: -16}) {
		return false
	}
	sp := u.regs.R[rsp]
	if n, ok := f.prologue(r.lo); ok {
		if u.called(sp+n+8, f, r.lo) != notCalled {
			u.regs.R[rbp] = sp + n
			u.regs.Known |= 1 << rbp
			return true
		}
	}
	for at := sp; at-sp < uint64(len(u.stack)); at += 8 {
		if u.called(at+8, f, r.lo) == called {
			u.regs.R[rbp] = at
			u.regs.Known |= 1 << rbp
			return true
		}
	}
	return false
}

// calling is what stands before a return address.
type calling int

const (
	notCalled   calling = iota
	mayBeCalled         // a call whose target is in a register or in memory, or a stub of another file
	called              // a call of the function itself
)

// called looks at the return address that stands at an address of the stack, if it is one.
func (u *unwinder) called(at uint64, f *File, function uint64) calling {
	pc, _, ok := u.word(at)
	m := u.maps.find(pc - 1)
	if !ok || m == nil {
		return notCalled
	}
	caller := u.open(m.Num)
	if caller == nil {
		return notCalled
	}
	addr, ok := caller.Addr(pc - 1 - m.From + m.Off)
	var b [7]byte
	if !ok || addr < 6 || !caller.at(b[:], addr-6) {
		return notCalled
	}
	if b[2] == 0xe8 { // call rel32
		target := addr + 1 + uint64(int32(le.Uint32(b[3:])))
		if caller == f && target == function {
			return called
		}
		if caller != f {
			return mayBeCalled
		}
		return notCalled
	}
	for i := range 6 { // call r/m64, of 2 to 7 bytes
		if b[i] == 0xff && b[i+1]>>3&7 == 2 {
			return mayBeCalled
		}
	}
	return notCalled
}

// prologue is how far below its frame pointer a function's stack pointer is, by how it begins: push rbp; mov rbp,rsp;
// further pushes; sub rsp.
func (f *File) prologue(at uint64) (below uint64, ok bool) {
	var buf [32]byte
	if !f.at(buf[:], at) {
		return 0, false
	}
	b := buf[:]
	if le.Uint32(b) == 0xfa1e0ff3 { // endbr64
		b = b[4:]
	}
	if le.Uint32(b) != 0xe5894855 && le.Uint32(b) != 0xec8b4855 {
		return 0, false
	}
	for b = b[4:]; len(b) >= 7; {
		switch {
		case b[0] == 0x41 && b[1]&0xf8 == 0x50: // push r8 to r15
			b, below = b[2:], below+8
		case b[0]&0xf8 == 0x50: // push
			b, below = b[1:], below+8
		case b[0] == 0x48 && b[1] == 0x83 && b[2] == 0xec:
			return below + uint64(b[3]), b[3] < 0x80
		case b[0] == 0x48 && b[1] == 0x81 && b[2] == 0xec:
			n := uint64(le.Uint32(b[3:]))
			return below + n, n < maxFrame
		default:
			return below, true
		}
	}
	return 0, false
}
