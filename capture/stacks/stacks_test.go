package stacks

import (
	"bytes"
	"encoding/binary"
	"io"
	"slices"
	"testing"
)

// program makes an ELF file by hand: its first segment is the whole of it, at base, and a table for unwinding has one
// function, from base+code on.
type program struct {
	cie, fde []byte // programs of call frame information
	unsorted bool   // without .eh_frame_hdr
	symbols  []symbol
}

type symbol struct {
	name     string
	at, size uint64
	kind     byte
}

const (
	base = 0x400000
	code = 0x800
	long = 0x100 // of the function
)

func (p program) file() []byte {
	b := make([]byte, 0x1000)
	copy(b, "\x7fELF\x02\x01\x01")
	put := func(at int, v any) int {
		var w bytes.Buffer
		_ = binary.Write(&w, le, v)
		return at + copy(b[at:], w.Bytes())
	}
	put(32, []uint64{64, 0x600})                         // program headers, sections
	put(52, []uint16{64, 56, 2, 64, 4, 2})               // and how many; the third has their names
	put(64, []uint32{ptLoad, 5})                         // all of it
	put(72, []uint64{0, base, base, 0x1000, 0x1000, 16}) //
	if !p.unsorted {
		put(120, []uint32{ptEHFrame, 4})
	}
	put(128, []uint64{0x100, base + 0x100, base + 0x100, 20, 20, 4})
	const cie, fde = 0x120, 0x180
	b[0x100], b[0x101], b[0x102], b[0x103] = 1, 0x1b, 0x03, signed4Data
	put(0x104, []uint32{cie - 0x104, 1, code - 0x100, fde - 0x100})
	body := append([]byte{0, 0, 0, 0, 1, 'z', 'R', 0, 1, 0x78, 16, 1, 0x1b}, p.cie...)
	put(cie, uint32(fde-cie-4)) // up to the next one nothing is done
	copy(b[cie+4:], body)
	put(fde, []uint32{uint32(13 + len(p.fde)), fde + 4 - cie})
	put(fde+8, []int32{code - fde - 8, long})
	copy(b[fde+16:], append([]byte{0}, p.fde...))
	// Of the sections the first has the names, the second the symbols, the third is the names of those.
	put(0x640+4, []uint32{shtSymtab})
	put(0x640+24, []uint64{0x900, uint64(symbolSize * len(p.symbols))})
	put(0x640+40, []uint32{2})
	put(0x640+56, []uint64{symbolSize})
	put(0x680+24, []uint64{0xc00, 0x200})
	// The fourth is the entries, for a file without a sorted table of them.
	put(0x6c0, uint32(0x1e0))
	put(0x6c0+16, []uint64{base + cie, cie, 0x100})
	copy(b[0xde0:], ".eh_frame")
	name := 0xc01
	for i, s := range p.symbols {
		at := put(0x900+symbolSize*i, uint32(name-0xc00))
		b[at], b[at+2] = s.kind, 1
		put(at+4, []uint64{s.at, s.size})
		name += copy(b[name:], s.name) + 1
	}
	return b
}

// The usual rules: the frame is 8 above the stack pointer, the return address below it.
var usual = []byte{0x0c, 7, 8, 0x90, 1}

func open(t testing.TB, b []byte) *File {
	t.Helper()
	f, err := Open(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// words makes a stack of words.
func words(list ...uint64) []byte {
	b := make([]byte, 8*len(list))
	for i, v := range list {
		le.PutUint64(b[8*i:], v)
	}
	return b
}

const at = 0x7f0000000000 // where a file is mapped

func unwind(f *File, pc uint64, stack []byte) Stack {
	return Unwind(Maps{{From: at, To: at + 0x1000}}, func(int) *File { return f }, Sleeping(pc, 0x1000), stack)
}

func addrs(s Stack) (list []uint64) {
	for _, f := range s.Frames {
		list = append(list, f.Addr)
	}
	return list
}

// Frames are found by rules that change within a function: this one pushes a register and moves the stack pointer, and
// its last caller is where the thread began.
func TestUnwind(t *testing.T) {
	testUnwind(t, false)
}

// So they are by a table that is not sorted, as static programs have it.
func TestUnwindUnsorted(t *testing.T) { testUnwind(t, true) }

func testUnwind(t *testing.T, unsorted bool) {
	f := open(t, program{cie: usual, unsorted: unsorted, fde: []byte{
		0x41, 0x0e, 16, 0x86, 2, // after 1 byte: push rbp
		0x44, 0x0e, 16 + 32, // after 5: sub 32
		0x02, 0x80, 0x07, 16, // after 0x85: no return address
	}}.file())
	for _, c := range []struct {
		name  string
		pc    uint64
		stack []byte
		want  []uint64
		whole bool
	}{
		{"at the beginning", code, words(at+code+0x85+1, 0), []uint64{code, code + 0x85}, true},
		{"after the push", code + 2, words(7, at+code+0x85+1, 0), []uint64{code + 2, code + 0x85}, true},
		{"in the middle", code + 9, words(1, 2, 3, 4, 7, at+code+9, 1, 2, 3, 4, 7, at+code+0x85+1, 0), []uint64{code + 9, code + 8, code + 0x85}, true},
		{"no one calls", code, words(0), []uint64{code}, true},
		{"a return to elsewhere", code, words(at + 0x100000), []uint64{code}, false},
		{"the copy ends", code + 9, words(1, 2), []uint64{code + 9}, false},
		{"outside of the function", code + long, words(0), []uint64{code + long}, false},
		{"no code at all", 0x10000, words(0), nil, false},
	} {
		s := unwind(f, at+c.pc, c.stack)
		var want []uint64
		for _, a := range c.want {
			want = append(want, base+a)
		}
		if !slices.Equal(addrs(s), want) || s.Whole != c.whole {
			t.Errorf("%s: %x %t, want %x %t", c.name, addrs(s), s.Whole, want, c.whole)
		}
	}
}

// A table that makes no sense ends the unwinding, and never goes round.
func TestForged(t *testing.T) {
	stack := make([]byte, 16<<10)
	for i := 0; i < len(stack); i += 8 {
		le.PutUint64(stack[i:], at+code+1) // it returns into itself, for ever
	}
	for name, fde := range map[string][]byte{
		"for ever":                       nil,
		"the frame is where it was":      {0x0e, 0},
		"the frame is below":             {0x13, 0x01},
		"far above":                      {0x0e, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01},
		"a register that there is not":   {0x0c, 99, 8},
		"a register that is not known":   {0x0c, 3, 8},
		"cut off":                        {0x0c, 0x80},
		"states without end":             bytes.Repeat([]byte{0x0a}, 4000),
		"a state that was not kept":      {0x0b},
		"an instruction that there not":  {0x3f},
		"an expression that is too long": {0x0f, 0xff, 0xff, 0x7f},
		"the return address far away":    {0x11, 16, 0x80, 0x80, 0x80, 0x80, 0x70},
	} {
		if len(fde) > 0x500 {
			fde = fde[:0x400]
		}
		s := unwind(open(t, program{cie: usual, fde: fde}.file()), at+code, stack)
		if n := len(s.Frames); n > MaxFrames || n > 1 && name != "for ever" || s.Whole {
			t.Errorf("%s: %d frames, whole %t", name, n, s.Whole)
		}
	}
}

// A place is named by the symbol that covers it; the smallest, and of several names the plain one. What none covers
// has no name, however near one is.
func TestNames(t *testing.T) {
	f := open(t, program{symbols: []symbol{
		{"outer", 0x1000, 0x100, typeFunction}, {"__inner", 0x1010, 0x10, typeFunction | 1<<4},
		{"inner", 0x1010, 0x10, typeFunction | 2<<4}, {"data", 0x1014, 2, 1}, {"empty", 0x1200, 0, typeFunction},
		{"last", 1<<64 - 16, 16, typeFunction},
	}}.file())
	got := f.Names([]uint64{0x1010, 0x101f, 0x1020, 0x10ff, 0x1100, 0xfff, 0x1200, 1<<64 - 1, 0x1015})
	want := []string{"inner", "inner", "outer", "outer", "", "", "", "last", "inner"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if a, ok := f.Symbol("outer"); !ok || a != 0x1000 {
		t.Errorf("outer is at %x, %t", a, ok)
	}
	if _, ok := f.Symbol("oute"); ok {
		t.Error("there is no oute")
	}
}

// counted counts what is read.
type counted struct {
	r    io.ReaderAt
	read int64
}

func (c *counted) ReadAt(p []byte, off int64) (int, error) {
	c.read += int64(len(p))
	return c.r.ReadAt(p, off)
}

// endless is a file of 2 GiB that claims to hold as much as it can.
type endless struct{ head []byte }

func (e endless) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	if off < int64(len(e.head)) {
		copy(p, e.head[off:])
	}
	if off+int64(len(p)) > 2<<30 {
		return 0, io.EOF
	}
	return len(p), nil
}

// Of a large file no more is read than the bound.
func TestLarge(t *testing.T) {
	b := program{cie: usual}.file()
	le.PutUint64(b[0x640+32:], 2<<30)
	le.PutUint64(b[0x680+32:], 2<<30)
	c := &counted{r: endless{b}}
	f, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	f.Names([]uint64{0x1000, 0x2000})
	f.Symbol("runtime.text")
	if c.read > 3*maxSymbols {
		t.Errorf("%d bytes were read", c.read)
	}
}

// FuzzFile reads forged files, and unwinds a forged stack by them.
func FuzzFile(f *testing.F) {
	stack := words(at+code+1, at+code+2, 0x1008, at+code+0x85, 0)
	f.Add(program{cie: usual, fde: []byte{0x41, 0x0e, 16, 0x86, 2, 0x44, 0x0e, 48, 0x0a, 0x0b}}.file(), stack, uint16(code))
	f.Add(program{cie: usual, fde: []byte{0x0c, 6, 16, 0x86, 2}, symbols: []symbol{{"f", base + code, 16, typeFunction}}}.file(),
		stack, uint16(code+1))
	f.Add(program{cie: usual, unsorted: true}.file(), stack, uint16(code))
	f.Fuzz(func(t *testing.T, file, stack []byte, pc uint16) {
		if len(file) > 1<<16 || len(stack) > 1<<14 {
			return
		}
		c := &counted{r: bytes.NewReader(file)}
		x, err := Open(c)
		if err != nil {
			return
		}
		s := unwind(x, at+uint64(pc), stack)
		if len(s.Frames) > MaxFrames {
			t.Errorf("%d frames", len(s.Frames))
		}
		for _, name := range x.Names(addrs(s)) {
			if len(name) > maxName {
				t.Errorf("a name of %d bytes", len(name))
			}
		}
		if c.read > 64<<20 {
			t.Errorf("%d bytes were read of a file of %d", c.read, len(file))
		}
	})
}

// oneGoFunction is the table of a Go program with one function, main.f, of 0x100 bytes at address 0x1000: it moves the
// stack pointer by 24 after its first 4 bytes.
func oneGoFunction() []byte {
	b := make([]byte, 256)
	le.PutUint32(b, goMagic)
	b[6], b[7] = 1, 8
	for i, v := range []uint64{1, 0, 0x1000, 72, 80, 80, 96, 128} { // of functions, files; the code; offsets
		le.PutUint64(b[8+8*i:], v)
	}
	copy(b[72:], "main.f")
	copy(b[96:], []byte{0, 2, 4, 48, 0xfc, 1, 0})
	le.PutUint32(b[128+4:], 16)
	le.PutUint32(b[128+8:], 0x100)
	le.PutUint32(b[144+16:], 1) // its program
	return b
}

// goTableOf opens a table alone.
func goTableOf(b []byte) *goTable {
	f := &File{r: bytes.NewReader(b)}
	return f.goTableIn(section{size: uint64(len(b))})
}

func TestGoTable(t *testing.T) {
	g := goTableOf(oneGoFunction())
	for _, c := range []struct {
		addr, moved uint64
		ok          bool
	}{{0xfff, 0, false}, {0x1000, 0, true}, {0x1003, 0, true}, {0x1004, 24, true}, {0x10ff, 24, true}, {0x1100, 0, false}} {
		fn, ok := g.find(c.addr)
		if ok != c.ok {
			t.Errorf("%x: found %t", c.addr, ok)
		}
		if !ok {
			continue
		}
		if moved, ok := g.moved(fn, c.addr); !ok || moved != c.moved || g.name(fn) != "main.f" {
			t.Errorf("%x: moved by %d, %t, in %s", c.addr, moved, ok, g.name(fn))
		}
	}
}

// FuzzGoTable reads forged tables of Go programs.
func FuzzGoTable(f *testing.F) {
	f.Add(oneGoFunction(), uint32(0x1010))
	f.Fuzz(func(t *testing.T, b []byte, addr uint32) {
		if len(b) > 1<<16 {
			return
		}
		g := goTableOf(b)
		if g == nil {
			return
		}
		if fn, ok := g.find(uint64(addr)); ok {
			if moved, ok := g.moved(fn, uint64(addr)); ok && moved >= maxFrame {
				t.Errorf("moved by %d", moved)
			}
			if name := g.name(fn); len(name) > maxName {
				t.Errorf("a name of %d bytes", len(name))
			}
		}
	})
}
