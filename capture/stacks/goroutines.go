package stacks

// This file reads the goroutines of a Go program out of its memory, without stopping it.

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// The bounds on goroutines.
const (
	MaxGoroutines = 10_000 // that are looked at; of more a part, spread evenly
	maxAllGs      = 1 << 28
	goStackSize   = 8 << 10 // of a stack, from its innermost frame on
	maxGoSteps    = 1 << 12 // places that are known again
)

// What keeps goroutines from being looked at.
var (
	ErrNotGo      = errors.New("it is no Go program")
	ErrNoGoSymbol = errors.New("its symbols are stripped (-ldflags -s)")
)

// goLayout is where struct g has what is looked at: runtime/runtime2.go of a version, as its debug information says.
type goLayout struct {
	status, reason int
	reasons        map[byte]string
}

// Of struct g, what is the same in all versions.
const (
	gStackLow, gStackHigh, gSP, gPC = 0, 8, 56, 64
	gSize                           = 192
	goWaiting, goScan               = 4, 0x1000
)

// The numbers of the reasons for which a program's own goroutines wait.
var (
	reasons21 = map[byte]string{2: "IO wait", 3: "chan receive (nil chan)", 4: "chan send (nil chan)", 9: "select",
		10: "select (no cases)", 14: "chan receive", 15: "chan send", 18: "semacquire", 19: "sleep", 20: "sync.Cond.Wait",
		21: "sync.Mutex.Lock", 22: "sync.RWMutex.RLock", 23: "sync.RWMutex.Lock"}
	reasons24 = map[byte]string{2: "IO wait", 3: "chan receive (nil chan)", 4: "chan send (nil chan)", 9: "select",
		10: "select (no cases)", 14: "chan receive", 15: "chan send", 18: "semacquire", 19: "sleep", 20: "sync.Cond.Wait",
		21: "sync.Mutex.Lock", 22: "sync.RWMutex.RLock", 23: "sync.RWMutex.Lock", 24: "sync.WaitGroup.Wait"}
	reasons25 = map[byte]string{2: "IO wait", 3: "chan receive (nil chan)", 4: "chan send (nil chan)", 9: "select",
		10: "select (no cases)", 14: "chan receive", 15: "chan send", 19: "semacquire", 20: "sleep", 21: "sync.Cond.Wait",
		22: "sync.Mutex.Lock", 23: "sync.RWMutex.RLock", 24: "sync.RWMutex.Lock", 25: "sync.WaitGroup.Wait"}
	reasons26 = map[byte]string{2: "IO wait", 13: "semacquire", 14: "sleep", 15: "chan receive (nil chan)",
		16: "chan send (nil chan)", 17: "select (no cases)", 18: "select", 19: "chan receive", 20: "chan send",
		21: "sync.Cond.Wait", 22: "sync.Mutex.Lock", 23: "sync.RWMutex.RLock", 24: "sync.RWMutex.Lock",
		25: "sync.WaitGroup.Wait"}
	// by the second number of the version
	goLayouts = map[int]goLayout{
		21: {144, 176, reasons21}, 22: {144, 176, reasons21}, 23: {152, 184, reasons21}, 24: {152, 184, reasons24},
		25: {144, 176, reasons25}, 26: {144, 176, reasons26},
	}
)

// Waiting are goroutines that wait for the same reason at the same place.
type Waiting struct {
	Reason string
	N      int
	Stack
}

// GoVersion is the version of Go that built a program, like "go1.26.1"; "" if it is none.
func (f *File) GoVersion() string {
	var b [128]byte
	n := min(f.buildInfo.size, uint64(len(b)))
	if n < 34 || !f.read(b[:n], f.buildInfo.off) || !bytes.HasPrefix(b[:], []byte("\xff Go buildinf:")) || b[15]&2 == 0 {
		return "" // also of Go before 1.18
	}
	r := reader{b: b[32:n]}
	return string(r.take(r.uleb()))
}

// goMinor is the second number of a version of Go 1.
func goMinor(version string) (int, bool) {
	s, ok := strings.CutPrefix(version, "go1.")
	if !ok {
		return 0, false
	}
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	minor, err := strconv.Atoi(s[:n])
	return minor, err == nil
}

// Goroutines gives the waiting goroutines of a Go program, those alike together, the most first; total is how many it
// has. f is the program's file, loaded so much above its own addresses. A goroutine counts if it waits in the same
// place before and after it was read. late ends the reading.
func Goroutines(memory io.ReaderAt, maps Maps, open func(int) *File, f *File, bias uint64, late func() bool) (
	list []Waiting, total int, err error) {
	if f.goTable == nil || f.GoVersion() == "" {
		return nil, 0, ErrNotGo
	}
	minor, ok := goMinor(f.GoVersion())
	layout, known := goLayouts[minor]
	if !ok || !known {
		return nil, 0, fmt.Errorf("the goroutines of %.20q are not known: Go 1.21 to 1.26 are", f.GoVersion())
	}
	all, ok := f.Symbol("runtime.allgs")
	if !ok {
		return nil, 0, ErrNoGoSymbol
	}
	var head [16]byte
	if n, err := memory.ReadAt(head[:], int64(all+bias)); n < len(head) {
		return nil, 0, err
	}
	at, n := le.Uint64(head[:]), le.Uint64(head[8:])
	if n > maxAllGs || at > 1<<62 {
		return nil, 0, nil // it changes just now, or is forged
	}
	step := max(1, (n+MaxGoroutines-1)/MaxGoroutines)
	groups := map[string]*Waiting{}
	var g goroutine
	for i := uint64(0); i < n && !late(); i += step {
		var p [8]byte
		if n, _ := memory.ReadAt(p[:], int64(at+8*i)); n < len(p) {
			break
		}
		if !g.read(memory, le.Uint64(p[:]), &layout) {
			continue
		}
		s := Unwind(maps, open, Sleeping(g.pc, g.sp), g.stack)
		key := g.reason
		for _, fr := range s.Frames {
			key += fmt.Sprintf(" %d:%x", fr.Num, fr.Addr)
		}
		if w := groups[key]; w != nil {
			w.N++
		} else if len(s.Frames) > 0 {
			groups[key] = &Waiting{Reason: g.reason, N: 1, Stack: s}
		}
	}
	for _, w := range groups {
		list = append(list, *w)
	}
	slices.SortFunc(list, func(a, b Waiting) int {
		return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Reason, b.Reason), slices.CompareFunc(a.Frames, b.Frames,
			func(x, y Frame) int { return cmp.Compare(x.Addr, y.Addr) }))
	})
	return list, int(n), nil
}

// goroutine is one that was read.
type goroutine struct {
	reason string
	pc, sp uint64
	stack  []byte
	buf    [goStackSize]byte
}

// read reads a goroutine; false: it does not wait, or not in the same place all the time.
func (g *goroutine) read(memory io.ReaderAt, at uint64, l *goLayout) bool {
	var b, again [gSize]byte
	if at == 0 || at > 1<<62 {
		return false
	}
	if n, _ := memory.ReadAt(b[:], int64(at)); n < len(b) {
		return false
	}
	reason, ok := l.reasons[b[l.reason]]
	if !ok || le.Uint32(b[l.status:])&^goScan != goWaiting {
		return false
	}
	low, high := le.Uint64(b[gStackLow:]), le.Uint64(b[gStackHigh:])
	g.reason, g.pc, g.sp = reason, le.Uint64(b[gPC:]), le.Uint64(b[gSP:])
	if g.sp < low || g.sp >= high || g.sp > 1<<62 {
		return false
	}
	n, _ := memory.ReadAt(g.buf[:min(high-g.sp, goStackSize)], int64(g.sp))
	g.stack = g.buf[:n]
	if n, _ := memory.ReadAt(again[:], int64(at)); n < len(again) {
		return false
	}
	return b == again
}
