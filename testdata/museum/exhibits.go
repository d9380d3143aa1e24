package museum

// This file has the list of exhibits, and those whose frames and records are hostile.

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"strings"
)

// Exhibit is one hostile file.
type Exhibit struct {
	Name string
	// Verify is the exit code that acc verify must give: 1 no capture of this
	// version, 3 truncated, 4 corrupt, 0 harmless after all.
	Verify  int
	Write   func(w io.Writer) error
	Records bool // it is one of records that a reader keeps
	Long    bool // it takes long, and shows what another one shows, too
}

// Exhibits gives all of them.
func Exhibits() []Exhibit {
	var list []Exhibit
	list = append(list, strangers()...)
	list = append(list, wrapped()...)
	list = append(list, links()...)
	list = append(list, frames()...)
	list = append(list, values()...)
	list = append(list, blocks()...)
	list = append(list, crowds()...)
	list = append(list, records()...)
	return append(list, ends()...)
}

func raw(name string, code int, data []byte) Exhibit {
	return Exhibit{Name: name, Verify: code, Write: func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	}}
}

func built(name string, code int, build func(w io.Writer) *file) Exhibit {
	return Exhibit{Name: name, Verify: code, Write: func(w io.Writer) error { return build(w).err }}
}

// strangers are files that are no captures, or of another version.
func strangers() []Exhibit {
	versioned := func(name string, edit func(h map[string]any)) Exhibit {
		return built(name, 1, func(w io.Writer) *file { return begin(w, edit) })
	}
	return []Exhibit{
		raw("empty", 3, nil),
		raw("one byte", 3, []byte{0x5c}),
		raw("head of a link alone", 3, []byte("\x5c\x2a\x4d\x18\x58\x00\x00\x00acc\x01\x01\x00\x00\x00")),
		raw("script", 1, []byte("#!/bin/sh\nrm -rf /\n")),
		raw("zeros", 1, make([]byte, 64<<20)),
		raw("another zstd frame", 1, encoder.EncodeAll([]byte("hello"), nil)),
		raw("another skippable frame", 1, []byte("\x50\x2a\x4d\x18\x04\x00\x00\x00abcd")),
		raw("escapes", 1, []byte("\x1b]0;owned\a\x1b[2J\x1b[31m")),
		versioned("format 2", func(h map[string]any) { h["format"] = 2 }),
		versioned("format 2^63-1", func(h map[string]any) { h["format"] = int64(math.MaxInt64) }),
		versioned("format -1", func(h map[string]any) { h["format"] = -1 }),
		versioned("a thousand features with escapes", func(h map[string]any) {
			var names []string
			for i := range 1000 {
				names = append(names, fmt.Sprintf("\x1b[31m%d\r\n\u202e", i))
			}
			h["incompat"] = names
		}),
	}
}

// links have lengths and numbers that no frame can have.
func links() []Exhibit {
	var list []Exhibit
	edited := func(name string, code int, edit func(l *link)) {
		list = append(list, built(name, code, func(w io.Writer) *file {
			f := good(w)
			content := record("clock", []byte{0x80})
			packed := encoder.EncodeAll(content, nil)
			l := f.next(packed, len(content), 0)
			edit(&l)
			f.linked(l, packed)
			return f
		}))
	}
	for _, size := range []uint32{0, 1, 16<<20 + 1, 1<<31 - 1, 1 << 31, 1<<32 - 1} {
		edited(fmt.Sprintf("link: a frame of %d bytes", size), 4, func(l *link) { l.size = size })
		edited(fmt.Sprintf("link: a content of %d bytes", size), 4, func(l *link) { l.content = size })
	}
	for _, n := range []uint32{1, 65_536, 65_537, 1<<31 - 1, 1<<32 - 1} {
		edited(fmt.Sprintf("link: %d events that are not there", n), 4, func(l *link) { l.events = n })
		edited(fmt.Sprintf("link: frame %d", n+1), 4, func(l *link) { l.frame = n + 1 })
	}
	for _, seq := range []uint64{0, 2, 1 << 31, 1 << 32, 1 << 63, math.MaxUint64} {
		edited(fmt.Sprintf("link: event %d", seq), 4, func(l *link) { l.seq = seq })
	}
	for _, size := range []uint32{0, 15, 87, 89, 1 << 31, 1<<32 - 1} {
		list = append(list, built(fmt.Sprintf("skippable frame of %d bytes", size), 4, func(w io.Writer) *file {
			f := good(w)
			f.write(le.AppendUint32([]byte{0x5c, 0x2a, 0x4d, 0x18}, size))
			f.write(make([]byte, 200))
			return f
		}))
	}
	return append(list, built("a million heads of links", 4, func(w io.Writer) *file {
		f := good(w)
		f.write(bytes.Repeat([]byte("\x5c\x2a\x4d\x18\x58\x00\x00\x00acc\x01\x01\x00\x00\x00"), 1<<20))
		return f
	}))
}

// frames are zstd frames that want memory.
func frames() []Exhibit {
	var list []Exhibit
	packed := func(name string, code, content int, packed []byte) {
		list = append(list, built(name, code, func(w io.Writer) *file {
			f := good(w)
			f.linked(f.next(packed, content, 0), packed)
			return f
		}))
	}
	bomb := encoder.EncodeAll(make([]byte, 256<<20), nil)
	packed("bomb of 256 MiB", 4, 256<<20, bomb)
	packed("bomb of 256 MiB that says 32", 4, 32<<20, bomb)
	packed("bomb of 256 MiB that says nothing", 4, 0, bomb)
	// RFC 8878, 3.1.1.1: no single segment, a window of 2^41 bytes, then an RLE block.
	packed("window of 3.75 TiB", 4, 100, []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xff, 0x23, 0x03, 0x00, 0x00})
	packed("says 2^64-1 bytes", 4, 100, append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0}, bytes.Repeat([]byte{0xff}, 12)...))
	packed("dictionary that nobody has", 4, 1, []byte{0x28, 0xb5, 0x2f, 0xfd, 0x23, 0x78, 0x56, 0x34, 0x12, 0x01, 0x09, 0x00, 0x00, 0xc0})
	rle := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58}
	for range 4096 { // blocks of 128 KiB, 512 MiB in 16 KiB
		rle = append(rle, 0x02, 0x00, 0x10, 0x00)
	}
	packed("run lengths without end", 4, 32<<20, rle)
	clock := record("clock", []byte{0x80})
	two := append(encoder.EncodeAll(clock, nil), encoder.EncodeAll(bytes.Repeat(clock, 1_000_000), nil)...)
	packed("two frames in one", 4, 1_000_001*len(clock), two)
	packed("nothing", 4, 0, nil)
	packed("garbage", 4, 100, bytes.Repeat([]byte{0xa5}, 1000))
	return list
}

// values are records whose lengths or nesting lie.
func values() []Exhibit {
	var list []Exhibit
	add := func(name string, code int, content []byte) {
		list = append(list, built(name, code, func(w io.Writer) *file {
			f := good(w)
			f.add(content, 0)
			return f
		}))
	}
	add("arrays 10 MiB deep", 4, bytes.Repeat([]byte{0x91}, 10<<20))
	add("maps 10 MiB deep", 4, bytes.Repeat([]byte{0x81}, 10<<20))
	add("arrays and maps deep", 4, record("clock", bytes.Repeat([]byte{0x91, 0x81, 0x01}, 3<<20)))
	for _, n := range []uint32{1<<31 - 1, 1 << 31, 1<<32 - 1} {
		add(fmt.Sprintf("array of %d", n), 4, record("clock", arrayOf(n)))
		add(fmt.Sprintf("map of %d", n), 4, record("clock", mapOf(n)))
		add(fmt.Sprintf("text of %d", n), 4, record("clock", be.AppendUint32([]byte{0xdb}, n)))
		add(fmt.Sprintf("binary of %d", n), 4, record("clock", be.AppendUint32([]byte{0xc6}, n)))
		add(fmt.Sprintf("extension of %d", n), 4, record("clock", append(be.AppendUint32([]byte{0xc9}, n), 1)))
	}
	add("timestamp extension", 4, record("clock", []byte{0xd6, 0xff, 0, 0, 0, 0}))
	add("the type that is never used", 4, record("clock", []byte{0xc1}))
	add("record of 31 MiB", 4, record("clock", bin(31<<20)))
	add("process with a name of 1 MiB", 4, record("process", append(append([]byte{0x81}, str("comm")...), bin(1<<20)...)))
	add("array where a map belongs", 4, record("process", append(arrayOf(100_000), make([]byte, 100_000)...)))
	add("text where a number belongs", 4, record("clock", append(append([]byte{0x81}, str("boot_ns")...), str("soon")...)))
	add("number beyond its type", 4, record("process", append(append([]byte{0x81}, str("pid")...), number(1<<40)...)))
	add("member that is a map of maps", 3, record("clock", append(append([]byte{0x81}, str("new")...), 0x81, 0xa1, 'a', 0x81, 0xa1, 'b', 0x80)))
	add("a million members", 4, record("clock", append(mapOf(1_000_000), bytes.Repeat([]byte{0xa1, 'a', 0x00}, 1_000_000)...)))
	add("tag that is a number", 4, []byte{0x92, 0x01, 0x80})
	add("tag that is new", 3, record("tomorrow", []byte{0x80}))
	add("record of one", 4, []byte{0x91, 0xa5, 'c', 'l', 'o', 'c', 'k'})
	add("no record at all", 4, []byte{0xc0})
	add("more records than allowed", 4, bytes.Repeat(record("clock", []byte{0x80}), 1<<14+2))
	add("two million processes", 4, bytes.Repeat(record("process", []byte{0x80}), 2_000_000))
	add("header again", 4, header(same))
	add("gap in what is not repaired", 4, record("gap", pack(map[string]any{"next": 100, "events": 99})))
	begun := func(name string, code int, edit func(h map[string]any)) {
		list = append(list, built(name, code, func(w io.Writer) *file { return begin(w, edit) }))
	}
	escape := "\x1b]0;owned\a\u202e\r\n\x00"
	begun("header: names of 900 KiB with escapes", 3, func(h map[string]any) { h["host"] = strings.Repeat(escape, 900<<10/len(escape)) })
	begun("header: 100,000 limits", 3, func(h map[string]any) { h["limits"] = make([]string, 100_000) })
	begun("header: 100,000 probes", 3, func(h map[string]any) {
		h["probes"] = []map[string]any{}
		var probes []map[string]any
		for range 20_000 {
			probes = append(probes, map[string]any{"hook": 255, "kind": 255, "how": escape})
		}
		h["probes"] = probes
	})
	begun("header: 300,000 fields", 4, func(h map[string]any) { h["fields"] = make([][]any, 300_000) })
	begun("header: fields that are new", 3, func(h map[string]any) {
		list := fields()
		for i := range 10_000 {
			list = append(list, []any{fmt.Sprintf("new%d", i), "str", nil, nil})
		}
		h["fields"] = list
	})
	begun("header: a field twice", 4, func(h map[string]any) { h["fields"] = append(fields(), fields()[3]) })
	begun("header: no fields", 4, func(h map[string]any) { h["fields"] = nil })
	begun("header: no members", 1, func(h map[string]any) { clear(h) })
	begun("header: times at the ends of time", 3, func(h map[string]any) {
		h["clock"] = map[string]any{"boot_ns": int64(math.MinInt64), "mono_ns": int64(math.MaxInt64), "real_ns": int64(math.MaxInt64), "err_ns": int64(math.MinInt64)}
		h["start_ns"], h["zone_s"], h["cpus"] = int64(math.MinInt64), math.MaxInt32, int64(math.MinInt64)
	})
	return append(list, built("nothing but a clock", 4, func(w io.Writer) *file {
		f := &file{w: w, seq: 1}
		f.add(record("clock", []byte{0x80}), 0)
		return f
	}))
}
