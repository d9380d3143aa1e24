package stacks

// This file reads the table of functions of Go programs, which stripping leaves in: names, and by how much each
// function has moved the stack pointer at each instruction (runtime/symtab.go, versions 1.20 to 1.26).

import (
	"strings"
)

const (
	goMagic      = 0xfffffff1 // since Go 1.20
	maxGoFuncs   = 1 << 22
	maxGoProgram = 64 << 10 // bytes of the table of one function
	goTopFrame   = 1        // flags of a function: nothing called it
	goWritesSP   = 2        // it changes to another stack
	maxName      = 512
)

// goTable is a pclntab.
type goTable struct {
	f         *File
	tab       section
	text      uint64 // address that its offsets count from
	quantum   uint64
	n         uint64
	steps     map[uint64]goStep
	names     uint64 // offsets in the table
	programs  uint64
	functions uint64
}

// goTableIn reads the header of the table, nil if it is none that this version knows.
func (f *File) goTableIn(tab section) *goTable {
	var h [72]byte
	if tab.size < uint64(len(h)) || !f.read(h[:], tab.off) || le.Uint32(h[:]) != goMagic || h[7] != 8 {
		return nil
	}
	t := &goTable{f: f, tab: tab, quantum: uint64(h[6]), n: le.Uint64(h[8:]), names: le.Uint64(h[32:]),
		programs: le.Uint64(h[56:]), functions: le.Uint64(h[64:]), text: le.Uint64(h[24:])}
	if t.n == 0 || t.n > maxGoFuncs || t.quantum == 0 || t.quantum > 4 {
		return nil
	}
	return t
}

// openGo opens the table of a Go program, nil if it is not known where the code begins that it is of: that stands in
// the table until Go 1.25, in the section of struct moduledata since Go 1.26, but neither of a program that is to be
// loaded anywhere. If Go linked it alone, the code is all that the section text has, and begins with the program's
// entry; else its symbols say it.
func (f *File) openGo(tab, module, text section) *goTable {
	t := f.goTableIn(tab)
	if t == nil {
		return nil
	}
	if t.text != 0 && f.isCode(t.text) {
		return t
	}
	const textAt = 176 // in struct moduledata
	var m [textAt + 8]byte
	if module.size >= uint64(len(m)) && f.read(m[:], module.off) && le.Uint64(m[:]) == tab.addr {
		if t.text = le.Uint64(m[textAt:]); f.isCode(t.text) {
			return t
		}
	}
	t.text = text.addr
	if fn, ok := t.find(f.entry); ok && strings.HasPrefix(t.name(fn), "_rt0_") {
		return t
	}
	var ok bool
	if t.text, ok = f.Symbol("runtime.text"); !ok {
		return nil
	}
	return t
}

// bytes reads from the table.
func (t *goTable) bytes(b []byte, off uint64) bool {
	return off <= t.tab.size && uint64(len(b)) <= t.tab.size-off && t.f.read(b, t.tab.off+off)
}

// goStep is what unwinding needs to know of a place.
type goStep struct {
	entry      uint64 // of the function
	moved      uint64
	flag       byte
	is, places bool // it is in a function; by how much the stack pointer was moved is known
}

// step gives that of an address.
func (t *goTable) step(addr uint64) goStep {
	if s, ok := t.steps[addr]; ok {
		return s
	}
	var s goStep
	fn, ok := t.find(addr)
	if s.is = ok; ok {
		s.flag, s.entry = fn.flag, fn.entry
		s.moved, s.places = t.moved(fn, addr)
	}
	if t.steps == nil || len(t.steps) > maxGoSteps {
		t.steps = map[uint64]goStep{}
	}
	t.steps[addr] = s
	return s
}

// goFunc is a function: the beginning of struct _func.
type goFunc struct {
	entry      uint64
	name, pcsp uint32
	flag       byte
}

// find finds the function of an address.
func (t *goTable) find(addr uint64) (fn goFunc, ok bool) {
	if addr < t.text || addr-t.text > 1<<32-1 {
		return fn, false
	}
	off := uint32(addr - t.text)
	var e [12]byte
	low, high := uint64(0), t.n // entries are pairs; behind the last one stands where it ends
	for low < high {
		mid := (low + high) / 2
		if !t.bytes(e[:4], t.functions+8*mid) {
			return fn, false
		}
		if le.Uint32(e[:]) <= off {
			low = mid + 1
		} else {
			high = mid
		}
	}
	if low == 0 || !t.bytes(e[:], t.functions+8*(low-1)) || le.Uint32(e[:]) > off || le.Uint32(e[8:]) <= off {
		return fn, false
	}
	var d [44]byte
	if !t.bytes(d[:], t.functions+uint64(le.Uint32(e[4:]))) {
		return fn, false
	}
	return goFunc{entry: t.text + uint64(le.Uint32(d[:])), name: le.Uint32(d[4:]), pcsp: le.Uint32(d[16:]), flag: d[41]}, true
}

// name is a function's name.
func (t *goTable) name(fn goFunc) string {
	off := t.names + uint64(fn.name)
	if off >= t.tab.size {
		return ""
	}
	return t.f.text(section{off: t.tab.off, size: t.tab.size}, off)
}

// moved is by how much a function has moved the stack pointer when it is at an address.
func (t *goTable) moved(fn goFunc, addr uint64) (uint64, bool) {
	off := t.programs + uint64(fn.pcsp)
	if fn.pcsp == 0 || off >= t.tab.size {
		return 0, false
	}
	b := make([]byte, min(t.tab.size-off, 256))
	for len(b) <= maxGoProgram {
		if !t.bytes(b, off) {
			return 0, false
		}
		r := reader{b: b}
		value, pc := int64(-1), fn.entry
		for first := true; ; first = false {
			d := r.uleb()
			if r.bad {
				break
			}
			if d == 0 && !first { // the program ends
				return 0, false
			}
			value += int64(d>>1) ^ -int64(d&1)
			pc += r.uleb() * t.quantum
			if r.bad {
				break
			}
			if addr < pc {
				return uint64(value), value >= 0 && value < maxFrame
			}
		}
		if uint64(len(b)) == t.tab.size-off {
			return 0, false
		}
		b = make([]byte, min(t.tab.size-off, uint64(4*len(b))))
	}
	return 0, false
}
