package stacks

// This file names addresses by the symbols of a file: by those that cover them, never by the nearest.

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
)

const (
	symbolSize   = 24       // of an entry
	maxSymbols   = 64 << 20 // bytes of a table that are looked at
	symbolChunk  = symbolSize << 12
	maxTies      = 32 // names of one place that are compared
	typeFunction = 2
	typeIndirect = 10 // a function that the loader chooses
)

// candidate is a symbol that covers an address.
type candidate struct {
	size  uint64
	name  uint32
	of    section // its names
	weak  int     // global symbols come first
	text  string
	asked int
}

// Names names addresses of the file's own numbering; what no symbol covers is "".
func (f *File) Names(addrs []uint64) []string {
	names := make([]string, len(addrs))
	order := make([]int, 0, len(addrs))
	for i, a := range addrs {
		if f.goTable != nil {
			if fn, ok := f.goTable.find(a); ok {
				names[i] = f.goTable.name(fn)
				continue
			}
		}
		order = append(order, i)
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(addrs[a], addrs[b]) })
	best := make([]candidate, len(addrs))
	for _, t := range f.tables {
		f.each(t, func(s []byte) bool {
			if kind := s[4] & 15; kind != typeFunction && kind != typeIndirect || le.Uint16(s[6:]) == 0 {
				return true
			}
			from, size := le.Uint64(s[8:]), le.Uint64(s[16:])
			i, _ := slices.BinarySearchFunc(order, from, func(i int, a uint64) int { return cmp.Compare(addrs[i], a) })
			for ; i < len(order) && addrs[order[i]]-from < size; i++ {
				c := candidate{size: size, name: le.Uint32(s), of: t.names, weak: [...]int{2, 0, 1, 2}[s[4]>>4&3]}
				f.prefer(&best[order[i]], c)
			}
			return true
		})
	}
	for i := range best {
		if names[i] == "" && best[i].of.size > 0 {
			names[i] = f.nameOf(&best[i])
		}
	}
	return names
}

// prefer keeps the better one of two symbols that cover an address: the smaller one; of several names of one function
// the plain one.
func (f *File) prefer(have *candidate, c candidate) {
	order := -1
	if have.of.size > 0 {
		if order = cmp.Compare(c.size, have.size); order == 0 {
			if have.asked++; have.asked > maxTies {
				return
			}
			a, b := f.nameOf(&c), f.nameOf(have)
			order = cmp.Or(cmp.Compare(underscores(a), underscores(b)), cmp.Compare(c.weak, have.weak), cmp.Compare(len(a), len(b)),
				cmp.Compare(a, b))
		}
	}
	if order < 0 {
		c.asked = have.asked
		*have = c
	}
}

func underscores(s string) int { return len(s) - len(strings.TrimLeft(s, "_")) }

func (f *File) nameOf(c *candidate) string {
	if c.text == "" {
		c.text = f.text(c.of, uint64(c.name))
	}
	return c.text
}

// each calls do with the entries of a table of symbols, until it says false.
func (f *File) each(t symbols, do func(entry []byte) bool) {
	b := make([]byte, symbolChunk)
	for off, end := uint64(0), min(t.entries.size, maxSymbols); off+symbolSize <= end; {
		part := b[:min(end-off, symbolChunk)/symbolSize*symbolSize]
		if !f.read(part, t.entries.off+off) {
			return
		}
		off += uint64(len(part))
		for ; len(part) > 0; part = part[symbolSize:] {
			if !do(part[:symbolSize]) {
				return
			}
		}
	}
}

// Symbol gives the address of what has a name.
func (f *File) Symbol(name string) (addr uint64, ok bool) {
	want := append([]byte(name), 0)
	got := make([]byte, len(want))
	for _, t := range f.tables {
		// Names are stored once: where this one is, is known before the entries are looked at.
		at, found := f.stored(t.names, want)
		if !found {
			continue
		}
		f.each(t, func(s []byte) bool {
			if le.Uint32(s) == at && le.Uint16(s[6:]) != 0 && f.read(got, t.names.off+uint64(at)) && bytes.Equal(got, want) {
				addr, ok = le.Uint64(s[8:]), true
			}
			return !ok
		})
		if ok {
			break
		}
	}
	return addr, ok
}

// stored finds a name in a table of names.
func (f *File) stored(names section, want []byte) (uint32, bool) {
	want = append([]byte{0}, want...) // a name of its own, not the end of another one
	b := make([]byte, symbolChunk)
	for off, end := uint64(0), min(names.size, maxSymbols); off < end; {
		part := b[:min(end-off, symbolChunk)]
		if !f.read(part, names.off+off) {
			return 0, false
		}
		if i := bytes.Index(part, want); i >= 0 {
			return uint32(off) + uint32(i) + 1, true
		}
		if off+uint64(len(part)) == end {
			return 0, false
		}
		off += uint64(len(part) - len(want))
	}
	return 0, false
}

// text reads a name from a table of names, "" if it is none.
func (f *File) text(of section, at uint64) string {
	if at >= of.size {
		return ""
	}
	for _, n := range []uint64{64, maxName} {
		b := make([]byte, min(of.size-at, n))
		if !f.read(b, of.off+at) {
			return ""
		}
		if s, _, ok := bytes.Cut(b, []byte{0}); ok {
			return string(s)
		}
	}
	return ""
}
