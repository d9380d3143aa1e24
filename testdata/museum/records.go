package museum

// This file has exhibits whose records want to be kept: many, and as long as they may be or longer.

import (
	"bytes"
	"fmt"
	"io"
	"slices"

	"github.com/acc-project/acc/format"
)

// packer makes the content of a zstd frame of bytes and of runs of one byte, which cost nothing to pack (RFC 8878,
// 3.1.1.2: raw blocks and RLE blocks).
type packer struct {
	packed []byte
	raw    []byte // not yet in a block
	size   int
}

func newPacker() *packer { return &packer{packed: []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58}} }

func (p *packer) block(kind, size int, data ...byte) {
	h := size<<3 | kind<<1
	p.packed = append(append(p.packed, byte(h), byte(h>>8), byte(h>>16)), data...)
}

func (p *packer) flush() {
	for len(p.raw) > 0 {
		n := min(len(p.raw), 128<<10)
		p.block(0, n, p.raw[:n]...)
		p.raw = p.raw[n:]
	}
}

func (p *packer) bytes(b []byte) {
	p.raw = append(p.raw, b...)
	p.size += len(b)
}

// shortText is how long a text is that is no run.
const shortText = 4096

// text adds a text of n times c.
func (p *packer) text(n int, c byte) {
	p.bytes(be.AppendUint32([]byte{0xdb}, uint32(n)))
	if n <= shortText {
		p.bytes(bytes.Repeat([]byte{c}, n))
		return
	}
	p.flush()
	for p.size += n; n > 0; n -= min(n, 128<<10) {
		p.block(1, min(n, 128<<10), c)
	}
}

// number adds a member that is a number.
func (p *packer) number(name string, v int) {
	p.bytes(str(name))
	p.bytes(number(int64(v)))
}

// member adds a member that is a text of n bytes.
func (p *packer) member(name string, n int) {
	p.bytes(str(name))
	p.text(n, 'x')
}

// list adds a member that is a list of n elements.
func (p *packer) list(name string, n int, element func(i int)) {
	p.bytes(str(name))
	p.bytes(arrayOf(uint32(n)))
	for i := range n {
		element(i)
	}
}

// begin begins a record of so many members.
func (p *packer) begin(tag string, members byte) { p.bytes(record(tag, mapFix(members))) }

// pack adds a frame of so many events.
func (f *file) pack(events int, content func(p *packer)) {
	p := newPacker()
	content(p)
	if p.size == len(p.raw) { // there are no runs
		f.add(p.raw, events)
		return
	}
	p.flush()
	p.block(0, 0)
	p.packed[len(p.packed)-3] |= 1 // the last block
	f.linked(f.next(p.packed, p.size, events), p.packed)
}

// kinds are records of each kind of which a reader keeps some: the i-th, with texts of n bytes.
var kinds = []struct {
	name string
	add  func(p *packer, i, n int)
	most int // bytes of a text by the format
	of   int // bytes of a record with them
}{
	{"marks", func(p *packer, i, n int) {
		p.begin("mark", 2)
		p.number("boot_ns", i)
		p.member("text", n)
	}, 16 << 10, 16 << 10},
	{"counted calls", func(p *packer, i, n int) {
		p.begin("counted", 5)
		p.number("calls", 1)
		p.number("ret", -24)
		p.number("pid", i+1)
		p.number("listener", i+1)
		p.member("lname", n)
	}, 512, 512},
	{"processes", func(p *packer, i, n int) {
		p.begin("process", 2)
		p.number("num", i+1)
		p.member("exe", n)
	}, 16 << 10, 16 << 10},
	{"images", func(p *packer, i, n int) {
		p.begin("image", 2)
		p.number("num", i+1)
		p.member("path", n)
	}, 16 << 10, 16 << 10},
	{"stacks", func(p *packer, i, n int) {
		p.begin("stack", 2)
		p.number("num", i+1)
		p.list("frames", 256, func(k int) {
			p.bytes(mapFix(2))
			p.number("image", k+1)
			p.member("func", n)
		})
	}, 1 << 10, 256 << 10},
	{"watches", func(p *packer, i, n int) {
		p.begin("watch", 3)
		p.number("num", i+1)
		p.number("listener", i+1)
		p.list("cannot", 16, func(int) { p.text(n, 'x') })
	}, 16 << 10, 256 << 10},
	{"rows of watches", func(p *packer, i, n int) {
		p.begin("doing", 4)
		p.number("watch", 1)
		p.number("row", i+1)
		p.number("stack", 1)
		p.member("target", n)
	}, 16 << 10, 16 << 10},
	{"readings of counters", func(p *packer, i, n int) {
		p.begin("counters", 3)
		p.number("netns", i+1)
		for _, name := range []string{"values", "settings"} {
			p.bytes(str(name))
			p.bytes(mapOf(256))
			for k := range 256 {
				p.text(n-k%64, byte('a'+k/64))
				p.bytes(number(int64(k)))
			}
		}
	}, 128, 512 * 128},
	{"listeners at the start", func(p *packer, i, n int) {
		p.begin("snapshot", 1)
		p.list("listeners", 64, func(k int) {
			p.bytes(mapFix(3))
			p.number("netns", 1)
			p.number("listener", 64*i+k+1)
			p.member("lname", n)
		})
	}, 512, 64 * 512},
	{"connections at the start", func(p *packer, i, n int) {
		p.begin("snapshot", 1)
		p.list("connections", 64, func(k int) {
			p.bytes(mapFix(4))
			p.number("inode", 1)
			p.number("cookie", 64*i+k+1)
			p.bytes(append(str("raddr"), str(fmt.Sprint("2001:db8::", 1+k))...))
			p.list("holders", 16, func(int) {
				p.bytes(mapFix(1))
				p.member("comm", n)
			})
		})
	}, 64, 64 * 16 * 64},
}

// The exhibits that show most.
const (
	ofMegabyte = "records: of a megabyte, of each kind"
	ofKept     = "crowd: 60 MB of records of each kind that is kept"
)

// records are captures of records that are as long as they may be, and longer.
func records() (list []Exhibit) {
	// long adds records of a kind, of a megabyte each.
	long := func(f *file, kind, records int) {
		k := kinds[kind]
		n := 1_000_000
		if k.of > k.most { // the record has several texts
			n = 1_000_000 / (k.of / k.most)
		}
		for i := range records {
			f.pack(0, func(p *packer) { k.add(p, i, max(n, k.most+1)) })
		}
	}
	for i, k := range kinds {
		list = append(list, built("records: "+k.name+" of a megabyte", 4, func(w io.Writer) *file {
			f := good(w)
			long(f, i, 300)
			return f
		}))
	}
	list = append(list, built(ofMegabyte, 4, func(w io.Writer) *file {
		f := good(w)
		for i := range kinds {
			long(f, i, 45)
		}
		return f
	}))
	// fill adds records of a kind, of so many bytes in all.
	fill := func(f *file, kind, bytes int) {
		k := kinds[kind]
		each := max(min((1<<20)/k.of, 1<<13), 1)
		for i := 0; i*k.of < bytes; i += each {
			f.pack(0, func(p *packer) {
				for j := range each {
					k.add(p, i+j, k.most)
				}
			})
		}
	}
	for i, k := range kinds {
		megabytes := 400
		if k.most <= 512 { // there are very many
			megabytes = 60
		}
		list = append(list, built(fmt.Sprintf("crowd: %d MB of %s", megabytes, k.name), 3, func(w io.Writer) *file {
			f := good(w)
			fill(f, i, megabytes<<20)
			return f
		}))
	}
	list = append(list, built(ofKept, 3, func(w io.Writer) *file {
		f := good(w)
		for i := range kinds {
			if kinds[i].most > 512 {
				fill(f, i, 60<<20)
			}
		}
		return f
	}))
	empty := func(name, tag, member string, n int) {
		list = append(list, built(name, 4, func(w io.Writer) *file {
			f := good(w)
			f.pack(0, func(p *packer) {
				for range 30 {
					p.begin(tag, 1)
					p.bytes(append(str(member), arrayOf(uint32(n))...))
					p.flush()
					for left := n; left > 0; left -= min(left, 128<<10) {
						p.block(1, min(left, 128<<10), 0x80)
					}
					p.size += n
				}
			})
			return f
		}))
	}
	empty("records: 30,000,000 empty connections", "snapshot", "connections", 1_000_000)
	empty("records: 30,000,000 empty frames", "stack", "frames", 1_000_000)
	empty("records: 30,000,000 empty threads", "watch", "threads", 1_000_000)
	list = append(list, built("records: threads with names of 60 KB", 4, func(w io.Writer) *file {
		const rows = 400
		f := good(w)
		for i := range 12 {
			f.pack(rows, func(p *packer) { p.threads(int64(f.seq), i, rows) })
		}
		return f
	}))
	for i := range list {
		e := &list[i]
		e.Records, e.Long = true, !slices.Contains([]string{ofMegabyte, ofKept, "records: threads with names of 60 KB"}, e.Name)
	}
	return list
}

// threads adds a block of entries of threads with long names, a name each.
func (p *packer) threads(seq int64, nth, rows int) {
	const mark = "\x00names\x00"
	column := dense(rows, 1, func(row int) uint64 { return uint64(min(row, 1)) }) // each the one before and 1
	tids := dense(rows, 4, func(row int) uint64 {
		if row == 0 {
			return uint64(nth*rows + 1)
		}
		return 1
	})
	b := block(seq, int64(rows), map[string][]byte{"kind": all(int64(format.Enter)), "tid": tids,
		"comm": append([]byte(mark), column...)})
	before, after, _ := bytes.Cut(b, []byte(mark))
	p.bytes(before)
	p.bytes(append([]byte{0x92}, arrayOf(uint32(rows))...))
	for range rows {
		p.bytes(be.AppendUint32([]byte{0xc6}, 60_000))
		p.flush()
		p.block(1, 60_000, 'x')
		p.size += 60_000
	}
	p.bytes(after)
}
