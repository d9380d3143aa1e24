package stacks

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// goProgram is a Go program by hand: what it needs to have its goroutines looked at, of a version of Go.
func goProgram(version string) *File {
	info := make([]byte, 64)
	copy(info, "\xff Go buildinf:")
	info[14], info[15], info[32] = 8, 2, byte(len(version))
	copy(info[33:], version)
	table := oneGoFunction()
	b := append(append([]byte{}, info...), table...)
	names := len(b)
	b = append(b, "\x00runtime.allgs\x00"...)
	entry := len(b)
	b = append(b, make([]byte, symbolSize)...)
	b[entry], b[entry+6] = 1, 1
	le.PutUint64(b[entry+8:], allgsAt)
	f := &File{r: bytes.NewReader(b), buildInfo: section{off: 0, size: 64},
		segments: []segment{{section{addr: 0x1000, size: 0x100}, true}},
		tables:   []symbols{{section{off: uint64(entry), size: symbolSize}, section{off: uint64(names), size: 15}}}}
	f.goTable = f.goTableIn(section{off: 64, size: uint64(len(table))})
	return f
}

const allgsAt = 0x9000

// memory is that of a process: words at addresses, the rest as fill says; it counts what is read.
type memory struct {
	words map[uint64]uint64
	fill  func(addr uint64) uint64
	reads int
}

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	m.reads++
	for i := 0; i+8 <= len(p); i += 8 {
		at := uint64(off) + uint64(i)
		v, ok := m.words[at]
		if !ok {
			if m.fill == nil {
				return i, io.EOF
			}
			v = m.fill(at)
		}
		le.PutUint64(p[i:], v)
	}
	return len(p), nil
}

func look(f *File, m *memory) ([]Waiting, int, error) {
	maps := Maps{{From: 0x1000, To: 0x1100}}
	return Goroutines(m, maps, func(int) *File { return f }, f, 0, func() bool { return false })
}

// waiting writes a goroutine that waits for a lock in main.f of oneGoFunction, and the end of its stack.
func (m *memory) waiting(at uint64) {
	for i := uint64(0); i < gSize; i += 8 {
		m.words[at+i] = 0
	}
	m.words[at+gStackLow], m.words[at+gStackHigh] = 0x20000, 0x20040
	m.words[at+gSP], m.words[at+gPC] = 0x20000, 0x1010
	m.words[at+144], m.words[at+176] = goWaiting, 22
	for i := uint64(0); i < 0x40; i += 8 {
		m.words[0x20000+i] = 0
	}
}

// Goroutines that wait at one place are counted together; of a million, ten thousand are looked at, spread evenly.
func TestGoroutineBounds(t *testing.T) {
	for _, n := range []uint64{3, 1_000_000} {
		m := &memory{words: map[uint64]uint64{allgsAt: 0x100000, allgsAt + 8: n}}
		m.waiting(0x30000)
		m.fill = func(uint64) uint64 { return 0x30000 } // each of them is this one
		list, total, err := look(goProgram("go1.26.1"), m)
		if err != nil || total != int(n) || len(list) != 1 || list[0].Reason != "sync.Mutex.Lock" ||
			list[0].N != int(min(n, MaxGoroutines)) || len(list[0].Frames) != 1 {
			t.Errorf("%d: %+v, %d, %v", n, list, total, err)
		}
		if m.reads > 5*MaxGoroutines {
			t.Errorf("%d reads", m.reads)
		}
	}
}

// A goroutine that is another one when it is read again does not count; nor do those whose numbers make no sense.
func TestGoroutineTorn(t *testing.T) {
	f := goProgram("go1.26.1")
	for name, change := range map[string]func(m *memory){
		"running":                    func(m *memory) { m.words[0x30000+144] = 2 },
		"no reason of a program's":   func(m *memory) { m.words[0x30000+176] = 4 },
		"the stack is above its end": func(m *memory) { m.words[0x30000+gSP] = 0x20040 },
		"the stack is below":         func(m *memory) { m.words[0x30000+gSP] = 8 },
		"it is nowhere":              func(m *memory) { m.words[0x100000] = 1 << 63 },
		"there are too many":         func(m *memory) { m.words[allgsAt+8] = 1 << 60 },
		"the list is nowhere":        func(m *memory) { m.words[allgsAt] = 1 << 63 },
		"it changes":                 nil,
	} {
		m := &memory{words: map[uint64]uint64{allgsAt: 0x100000, allgsAt + 8: 1, 0x100000: 0x30000}}
		m.waiting(0x30000)
		if change != nil {
			change(m)
		} else {
			delete(m.words, 0x30000+168)
			n := uint64(0)
			m.fill = func(uint64) uint64 { n++; return n }
		}
		if list, _, err := look(f, m); len(list) != 0 || err != nil {
			t.Errorf("%s: %+v, %v", name, list, err)
		}
	}
}

// What keeps goroutines from being looked at is said.
func TestNoGoroutines(t *testing.T) {
	m := &memory{words: map[uint64]uint64{allgsAt: 0, allgsAt + 8: 0}}
	for version, want := range map[string]bool{"go1.21": true, "go1.26.8 X:nodwarf5": true, "go1.20.1": false,
		"go1.27rc1": false, "go2.0": false, "devel go1.26-abc": false} {
		if _, _, err := look(goProgram(version), m); (err == nil) != want {
			t.Errorf("%s: %v", version, err)
		}
	}
	stripped := goProgram("go1.26.1")
	stripped.tables = nil
	if _, _, err := look(stripped, m); !errors.Is(err, ErrNoGoSymbol) {
		t.Errorf("stripped: %v", err)
	}
	if _, _, err := look(&File{r: bytes.NewReader(nil)}, m); !errors.Is(err, ErrNotGo) {
		t.Errorf("no Go: %v", err)
	}
}
