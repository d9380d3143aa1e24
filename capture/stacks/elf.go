package stacks

// This file reads what unwinding and naming need of an ELF file's headers.

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"slices"
)

// The bounds on what is read of one file.
const (
	maxSegments = 256
	maxSections = 4096
	maxNotes    = 64 << 10
	maxNames    = 256 << 10 // of sections
	maxBuildID  = 64
	maxTables   = 4 // of symbols
)

var (
	errNoELF = errors.New("it is no ELF file for 64-bit little-endian machines")
	errShort = errors.New("it is cut off")
)

// File is an ELF file. Its methods are for one goroutine at a time.
type File struct {
	BuildID string // GNU build id in hexadecimal, "" none

	r        io.ReaderAt
	entry    uint64
	segments []segment // of PT_LOAD
	frames   section   // .eh_frame_hdr; size 0: none
	plain    section   // .eh_frame, which is looked at where there is no sorted table of it
	entries  []entry   // of that one
	tables   []symbols

	buildInfo section // of a Go program
	goTable   *goTable
	rules     map[uint64]*rules // by program counter
}

// section is a part of a file.
type section struct {
	addr, off, size uint64
}

// segment is a part of a file that is mapped: its section has the size in the file.
type segment struct {
	section
	exec bool
}

// symbols is a table of symbols and its names.
type symbols struct{ entries, names section }

// ELF's numbers, by elf(5).
const (
	ptLoad, ptNote, ptEHFrame = 1, 4, 0x6474e550
	shtSymtab, shtDynsym      = 2, 11
	shtNoBits                 = 8
	noteBuildID               = 3
)

var le = binary.LittleEndian

// Open reads the headers of a file.
func Open(r io.ReaderAt) (*File, error) {
	f := &File{r: r, rules: map[uint64]*rules{}}
	var h [64]byte
	if !f.read(h[:], 0) || !bytes.HasPrefix(h[:], []byte("\x7fELF\x02\x01")) {
		return nil, errNoELF
	}
	f.entry = le.Uint64(h[24:])
	phoff, shoff := le.Uint64(h[32:]), le.Uint64(h[40:])
	phsize, phnum := le.Uint16(h[54:]), le.Uint16(h[56:])
	shsize, shnum, namesAt := le.Uint16(h[58:]), le.Uint16(h[60:]), le.Uint16(h[62:])
	if phsize != 56 || phnum == 0 || phnum > maxSegments {
		return nil, errNoELF
	}
	b := make([]byte, 56*int(phnum))
	if !f.read(b, phoff) {
		return nil, errShort
	}
	for ; len(b) > 0; b = b[56:] {
		s := section{addr: le.Uint64(b[16:]), off: le.Uint64(b[8:]), size: le.Uint64(b[32:])}
		switch le.Uint32(b) {
		case ptLoad:
			f.segments = append(f.segments, segment{s, le.Uint32(b[4:])&1 != 0})
		case ptNote:
			f.notes(s)
		case ptEHFrame:
			f.frames = s
		}
	}
	if shsize == 64 && shnum > 0 && shnum <= maxSections {
		f.sections(shoff, int(shnum), int(namesAt))
	}
	return f, nil
}

// read fills b from an offset.
func (f *File) read(b []byte, off uint64) bool {
	if off > 1<<62 {
		return false
	}
	n, _ := f.r.ReadAt(b, int64(off))
	return n == len(b)
}

// at fills b from an address in the file's own numbering.
func (f *File) at(b []byte, addr uint64) bool {
	for _, s := range f.segments {
		if d := addr - s.addr; addr >= s.addr && d < s.size && uint64(len(b)) <= s.size-d {
			return f.read(b, s.off+d)
		}
	}
	return false
}

// Addr gives the address, in the file's own numbering, of what stands at an offset of the file.
func (f *File) Addr(off uint64) (uint64, bool) {
	for _, s := range f.segments {
		if d := off - s.off; s.exec && off >= s.off && d < s.size {
			return s.addr + d, true
		}
	}
	return 0, false
}

// isCode reports whether an address is one of code.
func (f *File) isCode(addr uint64) bool {
	return slices.ContainsFunc(f.segments, func(s segment) bool { return s.exec && addr >= s.addr && addr-s.addr < s.size })
}

// notes looks for the build id in notes.
func (f *File) notes(s section) {
	b := make([]byte, min(s.size, maxNotes))
	if !f.read(b, s.off) {
		return
	}
	for len(b) >= 12 {
		name, desc, kind := uint64(le.Uint32(b)), uint64(le.Uint32(b[4:])), le.Uint32(b[8:])
		b = b[12:]
		if end := (name+3)&^3 + (desc+3)&^3; end > uint64(len(b)) {
			return
		}
		d := b[(name+3)&^3:]
		if kind == noteBuildID && name == 4 && string(b[:4]) == "GNU\x00" && desc > 0 && desc <= maxBuildID {
			f.BuildID = hex.EncodeToString(d[:desc])
			return
		}
		b = d[(desc+3)&^3:]
	}
}

// sections notes the sections with symbols, and those of a Go program.
func (f *File) sections(off uint64, n, namesAt int) {
	b := make([]byte, 64*n)
	if !f.read(b, off) {
		return
	}
	get := func(i int) section {
		h := b[64*i:]
		return section{addr: le.Uint64(h[16:]), off: le.Uint64(h[24:]), size: le.Uint64(h[32:])}
	}
	var names []byte
	if namesAt < n {
		s := get(namesAt)
		names = make([]byte, min(s.size, maxNames))
		if !f.read(names, s.off) {
			names = nil
		}
	}
	var pcln, module, text section
	for i := range n {
		h := b[64*i:]
		switch kind, link := le.Uint32(h[4:]), le.Uint32(h[40:]); kind {
		case shtSymtab, shtDynsym:
			if link < uint32(n) && le.Uint64(h[56:]) == symbolSize && len(f.tables) < maxTables {
				f.tables = append(f.tables, symbols{get(i), get(int(link))})
			}
			continue
		case shtNoBits: // stripped: it is in another file
			continue
		}
		at := le.Uint32(h)
		if at >= uint32(len(names)) {
			continue
		}
		name, _, _ := bytes.Cut(names[at:min(len(names), int(at)+32)], []byte{0})
		switch string(name) {
		case ".gopclntab", ".data.rel.ro.gopclntab":
			pcln = get(i)
		case ".go.module":
			module = get(i)
		case ".text":
			text = get(i)
		case ".eh_frame":
			f.plain = get(i)
		case ".go.buildinfo":
			f.buildInfo = get(i)
		}
	}
	if pcln.size > 0 {
		f.goTable = f.openGo(pcln, module, text)
	}
}
