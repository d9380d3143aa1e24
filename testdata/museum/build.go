// Package museum makes hostile captures: what somebody would write who wants a
// reader to crash, to hang, to take all memory, or to believe him. It knows the
// format from docs/FORMAT.md alone and shares no code with package format.
package museum

import (
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/acc-project/acc/format"
)

var (
	le         = binary.LittleEndian
	be         = binary.BigEndian
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	encoder, _ = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
)

// link is what a link says; sums and chain are computed so that they fit.
type link struct {
	frame, size, content, events uint32
	seq                          uint64
	minNS, maxNS                 int64
}

// file builds a capture frame by frame.
type file struct {
	w     io.Writer
	err   error
	prev  [32]byte
	frame uint32
	seq   uint64
	at    int64
	index []int64 // rows of the index: at, events, seq, min, max
}

func (f *file) write(b []byte) {
	if f.err == nil {
		var n int
		n, f.err = f.w.Write(b)
		f.at += int64(n)
	}
}

// skippable writes one of the format's skippable frames.
func (f *file) skippable(payload []byte) {
	f.write(le.AppendUint32(le.AppendUint32(nil, 0x184D2A5C), uint32(len(payload))))
	f.write(payload)
}

// linked writes a link as l says it, and the packed frame.
func (f *file) linked(l link, packed []byte) {
	p := append([]byte("acc\x01"), 1, 0, 0, 0)
	for _, v := range []uint32{l.frame, l.size, l.content, l.events} {
		p = le.AppendUint32(p, v)
	}
	p = le.AppendUint64(p, l.seq)
	p = le.AppendUint64(p, uint64(l.minNS))
	p = le.AppendUint64(p, uint64(l.maxNS))
	h := sha256.New()
	h.Write(f.prev[:])
	h.Write(p)
	h.Write(packed)
	f.prev = [32]byte(h.Sum(nil))
	p = append(p, f.prev[:]...)
	p = le.AppendUint32(p, crc32.Checksum(packed, castagnoli))
	p = le.AppendUint32(p, crc32.Checksum(p, castagnoli))
	f.index = append(f.index, f.at, int64(l.events), int64(l.seq), l.minNS, l.maxNS)
	f.skippable(p)
	f.write(packed)
	f.frame = l.frame + 1
	f.seq = l.seq + uint64(l.events)
}

// next is the link that fits for a frame of content and events.
func (f *file) next(packed []byte, content, events int) link {
	return link{frame: f.frame, size: uint32(len(packed)), content: uint32(content), events: uint32(events), seq: f.seq}
}

// add writes a frame of content that holds so many events.
func (f *file) add(content []byte, events int) {
	packed := encoder.EncodeAll(content, nil)
	f.linked(f.next(packed, len(content), events), packed)
}

// timed is add with the times of the events.
func (f *file) timed(content []byte, events int, minNS, maxNS int64) {
	packed := encoder.EncodeAll(content, nil)
	l := f.next(packed, len(content), events)
	l.minNS, l.maxNS = minNS, maxNS
	f.linked(l, packed)
}

// begin writes a header as edit leaves it.
func begin(w io.Writer, edit func(h map[string]any)) *file {
	f := &file{w: w, seq: 1}
	f.add(header(edit), 0)
	return f
}

func good(w io.Writer) *file { return begin(w, func(map[string]any) {}) }

func header(edit func(h map[string]any)) []byte {
	clock := map[string]any{"boot_ns": 1_000_000_000, "mono_ns": 1_000_000_000, "real_ns": 1_700_000_000_000_000_000, "err_ns": 100}
	h := map[string]any{
		"format": 1, "compat": []string{}, "incompat": []string{}, "id": "3b1f0a52-6f0e-4f7a-9d55-0123456789ab", "tool": "museum", "host": "h",
		"kernel": "6.1.0", "arch": "x86_64", "cpus": 4, "command": []string{"acc"}, "start_ns": 1_700_000_000_000_000_000, "zone": "UTC", "zone_s": 0,
		"mode": "fentry", "clock": clock, "fields": fields(),
	}
	edit(h)
	return record("header", pack(h))
}

// fields are those of this version: the table is the format's, not code of its reader.
func fields() [][]any {
	var list [][]any
	for _, f := range format.Fields {
		list = append(list, []any{f.Name, string(f.Type), f.On, f.Key})
	}
	return list
}

func pack(v any) []byte {
	b, err := msgpack.Marshal(v)
	if err != nil {
		panic(err) // a value of this package
	}
	return b
}

func record(tag string, body []byte) []byte {
	return append(append([]byte{0x92}, str(tag)...), body...)
}

func str(s string) []byte {
	if len(s) < 32 {
		return append([]byte{0xa0 | byte(len(s))}, s...)
	}
	return append(be.AppendUint32([]byte{0xdb}, uint32(len(s))), s...)
}

func bin(n int) []byte { return append(be.AppendUint32([]byte{0xc6}, uint32(n)), make([]byte, n)...) }

func arrayOf(n uint32) []byte { return be.AppendUint32([]byte{0xdd}, n) }
func mapOf(n uint32) []byte   { return be.AppendUint32([]byte{0xdf}, n) }

func number(v int64) []byte { return be.AppendUint64([]byte{0xd3}, uint64(v)) }

// all is a column that gives every row one number.
func all(v int64) []byte { return append([]byte{0x81, 0xff}, number(v)...) }

var zeros = []byte{0x80}

// block is a block of rows whose columns are zeros but for kind and those of cols.
func block(seq, rows int64, cols map[string][]byte) []byte {
	b := append([]byte{0x83}, str("seq")...)
	b = append(append(b, number(seq)...), str("rows")...)
	b = append(append(b, number(rows)...), str("cols")...)
	b = append(b, arrayOf(uint32(len(format.Fields)))...)
	for _, f := range format.Fields {
		c, ok := cols[f.Name]
		switch {
		case ok:
			b = append(b, c...)
		case f.Name == "kind":
			b = append(b, all(1)...)
		case f.Type == format.String || f.Type == format.Addr:
			b = append(b, 0x92, 0x91, 0xc4, 0x00, 0x80) // one empty word
		default:
			b = append(b, zeros...)
		}
	}
	return record("block", b)
}

// end writes END as edit leaves it.
func (f *file) end(edit func(e map[string]any)) *file {
	e := map[string]any{"reason": "signal", "clean": true, "events": f.seq - 1, "lost": 0,
		"clock": map[string]any{"boot_ns": 2_000_000_000, "mono_ns": 2_000_000_000, "real_ns": 1_700_000_001_000_000_000, "err_ns": 100}}
	edit(e)
	f.add(record("end", pack(e)), 0)
	return f
}

func same(map[string]any) {}

// close writes index and tail as edit leaves the tail's numbers: place of the
// index, place of the tail, frames, events.
func (f *file) close(index []byte, edit func(t *[4]uint64)) *file {
	if index == nil {
		index = f.indexOf(uint64(len(f.index) / 5))
	}
	payload := append([]byte("acc\x01\x02\x00\x00\x00"), encoder.EncodeAll(index, nil)...)
	t := [4]uint64{uint64(f.at), uint64(f.at) + 8 + uint64(len(payload)), uint64(f.frame), f.seq - 1}
	edit(&t)
	f.skippable(payload)
	p := append([]byte("acc\x01"), 3, 0, 0, 0)
	p = le.AppendUint64(le.AppendUint64(p, t[0]), t[1])
	p = le.AppendUint64(p, t[2])
	p = le.AppendUint64(p, t[3])
	p = append(p, f.prev[:]...)
	p = le.AppendUint32(p, crc32.Checksum(payload, castagnoli))
	f.skippable(le.AppendUint32(p, crc32.Checksum(p, castagnoli)))
	return f
}

func keep(*[4]uint64) {}

// indexOf is an index that says it has n frames and lists the file's.
func (f *file) indexOf(n uint64) []byte {
	b := append(mapFix(6), str("frames")...)
	b = append(b, number(int64(n))...)
	for i, name := range []string{"at", "events", "seq", "min_ns", "max_ns"} {
		b = append(b, str(name)...)
		rows := len(f.index) / 5
		b = append(b, mapOf(uint32(rows))...)
		last := int64(0)
		for r := range rows {
			v := f.index[r*5+i]
			b = append(append(b, number(int64(r))...), number(v-last)...)
			last = v
		}
	}
	return record("index", b)
}

func mapFix(n byte) []byte { return []byte{0x80 | n} }
