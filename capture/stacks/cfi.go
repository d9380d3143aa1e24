package stacks

// This file reads .eh_frame: where a function has saved what it called with, at each of its instructions. Of DWARF's
// call frame information (DWARF 5, section 6.4; Linux Standard Base Core 5.0, section 10.6) it knows what compilers
// write for code; the address of a frame that an expression gives is not known to it.

import (
	"cmp"
	"slices"
)

const (
	maxScanned     = 4 << 20 // bytes of .eh_frame
	maxScannedFDEs = 1 << 16
	maxFDE         = 64 << 10
	maxCIE         = 4 << 10
	maxFDEs        = 1 << 24
	maxRules       = 1 << 10 // kept of one file
	maxSaved       = 16      // states that a program remembers
	registers      = 17      // of x86-64: 16, and the return address
	rbp            = 6
	rsp            = 7
	returnAddr     = 16
	maxFrame       = 1 << 20 // bytes
	pcrelative     = 0x10
	datarel        = 0x30
	signed4        = 0x0b
	signed4Data    = datarel | signed4
)

// reader reads numbers; bad is set when there are no more.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

// uint reads a number of n bytes, 8 at most.
func (r *reader) uint(n uint64) (v uint64) {
	for i, b := range r.take(n) {
		v |= uint64(b) << (8 * i)
	}
	return v
}

func (r *reader) uleb() (v uint64) {
	for shift := 0; ; shift += 7 {
		b := r.byte()
		if shift < 64 {
			v |= uint64(b&0x7f) << shift
		}
		if b < 0x80 {
			return v
		}
	}
}

func (r *reader) sleb() (v int64) {
	for shift := 0; ; shift += 7 {
		b := r.byte()
		if shift < 64 {
			v |= int64(b&0x7f) << shift
		}
		if b < 0x80 {
			if b&0x40 != 0 && shift < 57 {
				v |= -1 << (shift + 7)
			}
			return v
		}
	}
}

// encoded reads a pointer that stands at an address.
func (r *reader) encoded(how byte, at uint64) (v uint64) {
	switch how & 0x0f {
	case 0x00, 0x04, 0x0c:
		v = r.uint(8)
	case 0x02:
		v = r.uint(2)
	case 0x03:
		v = r.uint(4)
	case 0x0a:
		v = uint64(int16(r.uint(2)))
	case signed4:
		v = uint64(int32(r.uint(4)))
	default:
		r.bad = true
	}
	switch how & 0xf0 {
	case 0:
	case pcrelative:
		v += at
	default:
		r.bad = true
	}
	return v
}

// saved is where a register of the caller is: at an offset from the frame's address, if it is saved.
type saved struct {
	is     bool
	lost   bool // nothing says where it is
	offset int64
}

// rules say where the registers of the caller are.
type rules struct {
	base   uint64 // the frame's address is this register's value
	offset int64  // and so much
	regs   [registers]saved
	lo     uint64 // where the function begins
	signal bool   // the frame of a signal's handler
	good   bool
}

// rulesAt finds the rules for an address in the file's own numbering.
func (f *File) rulesAt(addr uint64) *rules {
	if r := f.rules[addr]; r != nil {
		return r
	}
	r := &rules{}
	if at, ok := f.entryOf(addr); ok {
		*r = f.run(at, addr)
	}
	if len(f.rules) >= maxRules {
		clear(f.rules)
	}
	f.rules[addr] = r
	return r
}

// entry is where the function begins that an entry of .eh_frame is for, and where the entry is.
type entry struct{ lo, at uint64 }

// scan finds the entries of .eh_frame.
func (f *File) scan() {
	b := make([]byte, min(f.plain.size, maxScanned))
	f.plain.size = 0 // once
	if !f.read(b, f.plain.off) {
		return
	}
	encodings := map[uint64]byte{}
	for at := uint64(0); at+8 <= uint64(len(b)) && len(f.entries) < maxScannedFDEs; {
		n, back := uint64(le.Uint32(b[at:])), uint64(le.Uint32(b[at+4:]))
		if n < 4 || n > uint64(len(b))-at-4 {
			break
		}
		if here := f.plain.addr + at; back != 0 && back <= here+4 {
			from := here + 4 - back
			how, known := encodings[from]
			if !known {
				if c, ok := f.common(from); ok {
					how = c.encoding
				} else {
					how = 0xff
				}
				encodings[from] = how
			}
			r := reader{b: b[at+8 : at+4+n]}
			if lo := r.encoded(how, here+8); !r.bad {
				f.entries = append(f.entries, entry{lo, here})
			}
		}
		at += 4 + n
	}
	slices.SortFunc(f.entries, func(a, b entry) int { return cmp.Compare(a.lo, b.lo) })
}

// entryOf finds the address of the entry for an address, by the sorted table of .eh_frame_hdr, or by looking at all.
func (f *File) entryOf(addr uint64) (uint64, bool) {
	if f.frames.size == 0 {
		if f.plain.size > 0 {
			f.scan()
		}
		i, found := slices.BinarySearchFunc(f.entries, addr, func(e entry, a uint64) int { return cmp.Compare(e.lo, a) })
		if !found {
			i--
		}
		if i < 0 {
			return 0, false
		}
		return f.entries[i].at, true
	}
	var h [12]byte
	if f.frames.size < uint64(len(h)) || !f.at(h[:], f.frames.addr) || h[0] != 1 || h[3] != signed4Data {
		return 0, false
	}
	head := reader{b: h[4:]}
	head.encoded(h[1], f.frames.addr+4)
	n := head.encoded(h[2], f.frames.addr+8)
	if head.bad || n > maxFDEs || len(head.b) != 0 {
		return 0, false
	}
	table, low, high := f.frames.addr+12, uint64(0), n
	var e [8]byte
	for low < high {
		mid := (low + high) / 2
		if !f.at(e[:], table+8*mid) {
			return 0, false
		}
		if f.frames.addr+uint64(int32(le.Uint32(e[:]))) <= addr {
			low = mid + 1
		} else {
			high = mid
		}
	}
	if low == 0 || !f.at(e[:], table+8*(low-1)) {
		return 0, false
	}
	return f.frames.addr + uint64(int32(le.Uint32(e[4:]))), true
}

// body reads an entry of .eh_frame, and gives the address of what follows its length.
func (f *File) body(at uint64, most uint32) (reader, uint64) {
	var n [4]byte
	if !f.at(n[:], at) || le.Uint32(n[:]) == 0 || le.Uint32(n[:]) > most {
		return reader{bad: true}, 0
	}
	b := make([]byte, le.Uint32(n[:]))
	if !f.at(b, at+4) {
		return reader{bad: true}, 0
	}
	return reader{b: b}, at + 4
}

// common is what the entries of many functions have in common.
type common struct {
	program    []byte
	code, data int64
	encoding   byte
	augmented  bool
	signal     bool
}

func (f *File) common(at uint64) (c common, ok bool) {
	r, _ := f.body(at, maxCIE)
	if r.uint(4) != 0 {
		return c, false
	}
	if v := r.byte(); v != 1 && v != 3 {
		return c, false
	}
	var letters []byte
	for b := r.byte(); b != 0; b = r.byte() {
		letters = append(letters, b)
	}
	c.code, c.data = int64(r.uleb()), r.sleb()
	if r.uleb() != returnAddr {
		return c, false
	}
	if len(letters) > 0 {
		if letters[0] != 'z' {
			return c, false
		}
		c.augmented = true
		more := reader{b: r.take(r.uleb())}
		for _, l := range letters[1:] {
			switch l {
			case 'R':
				c.encoding = more.byte()
			case 'P':
				more.encoded(more.byte()&0x0f, 0)
			case 'L':
				more.byte()
			case 'S':
				c.signal = true
			case 'B':
			default:
				return c, false
			}
		}
		r.bad = r.bad || more.bad
	}
	c.program = r.b
	return c, !r.bad && c.code > 0 && c.code <= 16 && c.data >= -64 && c.data <= 64
}

// run finds the rules for an address by the entry of its function.
func (f *File) run(at, addr uint64) rules {
	r, start := f.body(at, maxFDE)
	back := r.uint(4)
	if r.bad || back == 0 || back > start {
		return rules{}
	}
	c, ok := f.common(start - back)
	if !ok {
		return rules{}
	}
	lo := r.encoded(c.encoding, start+4)
	size := r.encoded(c.encoding&0x0f, 0)
	if c.augmented {
		r.take(r.uleb())
	}
	if r.bad || addr < lo || addr-lo >= size {
		return rules{}
	}
	m := machine{c: c, at: lo, until: addr}
	if !m.run(c.program, false) {
		return rules{}
	}
	m.initial = m.now
	if !m.run(r.b, true) {
		return rules{}
	}
	m.now.lo, m.now.signal, m.now.good = lo, c.signal, m.now.good && m.now.base < returnAddr
	return m.now
}

// machine runs the programs of an entry.
type machine struct {
	c            common
	now, initial rules
	saved        []rules
	at, until    uint64
}

// run runs a program up to the address that is asked for. good of the rules is whether the frame's address is known.
func (m *machine) run(program []byte, moves bool) bool {
	for r := (&reader{b: program}); len(r.b) > 0; {
		op := r.byte()
		by := uint64(0)
		switch op >> 6 {
		case 1:
			by = uint64(op & 0x3f)
		case 2:
			m.save(uint64(op&0x3f), int64(r.uleb())*m.c.data)
		case 3:
			m.restore(uint64(op & 0x3f))
		default:
			n, ok := m.extended(op, r)
			if !ok {
				return false
			}
			by = n
		}
		if r.bad {
			return false
		}
		if by > 0 && moves {
			if m.at += by * uint64(m.c.code); m.at > m.until {
				return true
			}
		}
	}
	return true
}

func (m *machine) save(reg uint64, offset int64) {
	if reg < registers {
		m.now.regs[reg] = saved{is: true, offset: offset}
	}
}

func (m *machine) restore(reg uint64) {
	if reg < registers {
		m.now.regs[reg] = m.initial.regs[reg]
	}
}

func (m *machine) lose(reg uint64) {
	if reg < registers {
		m.now.regs[reg] = saved{lost: true}
	}
}

// extended runs an instruction that has a byte of its own, and gives by how much it moves.
func (m *machine) extended(op byte, r *reader) (by uint64, ok bool) {
	switch op {
	case 0x00: // nop
	case 0x02, 0x03, 0x04: // advance_loc1, 2, 4
		by = r.uint(1 << (op - 2))
	case 0x05: // offset_extended
		reg := r.uleb()
		m.save(reg, int64(r.uleb())*m.c.data)
	case 0x06: // restore_extended
		m.restore(r.uleb())
	case 0x07: // undefined
		m.lose(r.uleb())
	case 0x08: // same_value
		if reg := r.uleb(); reg < registers {
			m.now.regs[reg] = saved{}
		}
	case 0x09: // register
		m.lose(r.uleb())
		r.uleb()
	case 0x0a: // remember_state
		if len(m.saved) >= maxSaved {
			return 0, false
		}
		m.saved = append(m.saved, m.now)
	case 0x0b: // restore_state
		if len(m.saved) == 0 {
			return 0, false
		}
		m.now = m.saved[len(m.saved)-1]
		m.saved = m.saved[:len(m.saved)-1]
	case 0x0c: // def_cfa
		m.now.base, m.now.offset, m.now.good = r.uleb(), int64(r.uleb()), true
	case 0x0d: // def_cfa_register
		m.now.base = r.uleb()
	case 0x0e: // def_cfa_offset
		m.now.offset = int64(r.uleb())
	case 0x0f: // def_cfa_expression
		r.take(r.uleb())
		m.now.good = false
	case 0x10, 0x14, 0x15, 0x16: // expression, val_offset, val_offset_sf, val_expression
		m.lose(r.uleb())
		switch op {
		case 0x14:
			r.uleb()
		case 0x15:
			r.sleb()
		default:
			r.take(r.uleb())
		}
	case 0x11: // offset_extended_sf
		reg := r.uleb()
		m.save(reg, r.sleb()*m.c.data)
	case 0x12: // def_cfa_sf
		m.now.base = r.uleb()
		m.now.offset, m.now.good = r.sleb()*m.c.data, true
	case 0x13: // def_cfa_offset_sf
		m.now.offset = r.sleb() * m.c.data
	case 0x2e: // GNU_args_size
		r.uleb()
	default: // also set_loc, which no compiler writes
		return 0, false
	}
	return by, true
}
