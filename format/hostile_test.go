package format

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// forge makes a capture of the given frame contents whose sums all fit, as an
// attacker can.
func forge(events uint32, contents ...[]byte) []byte {
	enc, _ := zstd.NewWriter(nil)
	var out []byte
	var prev [32]byte
	for i, c := range contents {
		packed := enc.EncodeAll(c, nil)
		l := link{frame: uint32(i), size: uint32(len(packed)), content: uint32(len(c)), firstSeq: 1}
		if i > 0 {
			l.events = events
		}
		out = append(l.seal(out, prev, packed), packed...)
		prev = l.chain
	}
	return out
}

// twoFrames is a capture whose second link has two zstd frames behind it, of which nil is
// an empty skippable one.
func twoFrames(head, first, second []byte) []byte {
	enc, _ := zstd.NewWriter(nil)
	a, b := enc.EncodeAll(first, nil), []byte{0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0}
	if second != nil {
		b = enc.EncodeAll(second, nil)
	}
	packed := append(a, b...)
	out := forge(0, head)
	var l0 link
	l0.parse(out[8 : 8+linkSize])
	l := link{frame: 1, size: uint32(len(packed)), content: uint32(len(first) + len(second)), firstSeq: 1}
	return append(l.seal(out, l0.chain, packed), packed...)
}

// header is the content of a header frame.
func header(t testing.TB, edit func(h *Header)) []byte {
	var out bytes.Buffer
	w, err := NewWriter(io.Discard, testHeader(), WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	h := testHeader()
	h.Format, h.Fields = Version, specs()
	edit(&h)
	w.records.Reset()
	if err := w.record("header", &h); err != nil {
		t.Fatal(err)
	}
	out.Write(w.records.Bytes())
	return out.Bytes()
}

func TestHostile(t *testing.T) {
	good := header(t, func(*Header) {})
	record := func(tag string, body ...byte) []byte {
		return append(append([]byte{0x92, 0xa0 | byte(len(tag))}, tag...), body...)
	}
	block := func(rows int64, cols ...byte) []byte {
		b := append([]byte{0x83}, "\xa3seq\x01\xa4rows"...)
		b = appendInt(b, rows)
		return record("block", append(append(b, "\xa4cols"...), cols...)...)
	}
	cases := []struct {
		name string
		data []byte
		want string // in the error
	}{
		{"nested arrays", forge(0, good, bytes.Repeat([]byte{0x91}, 10<<20)), "nests too deep"},
		{"huge array", forge(0, good, record("clock", 0xdd, 0xff, 0xff, 0xff, 0xff)), "cut short"},
		{"huge map", forge(0, good, record("clock", 0xdf, 0xff, 0xff, 0xff, 0xff)), "cut short"},
		{"huge text", forge(0, good, record("clock", 0xdb, 0xff, 0xff, 0xff, 0xff)), "cut short"},
		{"extension", forge(0, good, record("clock", 0xc7, 1, 1, 1)), "type that captures do not use"},
		{"bomb of zeros", forge(0, good, record("clock", append([]byte{0xc6, 1, 0xe0, 0, 0}, make([]byte, 0x1e00000)...)...)), "a record has"},
		{"many nil processes", forge(0, good, bytes.Repeat(record("process", 0x80), 2_000_000)), "more than 16384 records"},
		{"more rows than linked", forge(3, good, block(1<<40, 0x90)), "events that its link says"},
		{"no columns", forge(3, good, block(3, 0x90)), "has 0 columns"},
		{"negative rows", forge(3, good, block(-3, 0x90)), "events that its link says"},
		{"events without block", forge(3, good, record("clock", 0x80)), "holds 0 events"},
		{"second header", forge(0, good, good), "second header"},
		{"no header", forge(0, record("clock", 0x80)), "no header"},
		{"newer version", forge(0, header(t, func(h *Header) { h.Format = 2 })), "format version 2"},
		{"newer feature", forge(0, header(t, func(h *Header) { h.Incompat = []string{"sealed"} })), "sealed"},
		{"field of another kind", forge(0, header(t, func(h *Header) { h.Fields[3].Key = []string{"uid"} })), "does not know"},
		{"field before what it needs", forge(0, header(t, func(h *Header) { h.Fields[0], h.Fields[1] = h.Fields[1], h.Fields[0] })), "stands before"},
		{"a key twice", forge(0, good, record("clock", append([]byte{0x82}, "\xa7boot_ns\x01\xa7boot_ns\x02"...)...)), `"boot_ns": a map has the key twice`},
		{"a key twice, in a map of names", forge(0, good, record("counters", append([]byte{0x81}, "\xa6values\x82\xa1x\x01\xd9\x01x\x02"...)...)), `"x": a map has the key twice`},
		{"two frames behind a link", twoFrames(good, record("clock", 0x80), record("clock", 0x80)), "more than one zstd frame"},
		{"a skippable frame behind a frame", twoFrames(good, record("clock", 0x80), nil), "more than one zstd frame"},
		{"not a capture", []byte("#!/bin/sh\n"), "not an acc capture"},
		{"another zstd file", []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0}, "not an acc capture"},
	}
	for _, c := range cases {
		for _, salvage := range []bool{false, true} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, _, _, err := read(c.data, ReaderOptions{Salvage: salvage})
			runtime.ReadMemStats(&after)
			if err == nil || !salvage && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s (salvage %v): error is %v, want %q", c.name, salvage, err, c.want)
			}
			if mb := (after.TotalAlloc - before.TotalAlloc) >> 20; mb > 200 {
				t.Errorf("%s (salvage %v): allocated %d MiB", c.name, salvage, mb)
			}
		}
	}
}

// Salvage says how many events are missing and where.
func TestSalvageCounts(t *testing.T) {
	events := sample(64, 8)
	data := write(t, events, 16)
	second := bytes.Index(data[200:], linkHead) + 200
	third := bytes.Index(data[second+16:], linkHead) + second + 16
	third = bytes.Index(data[third+16:], linkHead) + third + 16
	data[third-5] ^= 0xff
	got, end, r, err := read(data, ReaderOptions{Salvage: true})
	if !errors.Is(err, io.EOF) || end == nil || len(got) != 48 {
		t.Fatalf("salvage gives %d events, %v, %v", len(got), end, err)
	}
	s := r.Skipped()
	if len(s) != 1 || s[0].Events != 16 || s[0].Offset <= 0 || s[0].Bytes <= 0 || !strings.Contains(s[0].Reason, "checksum") {
		t.Errorf("skipped %+v", s)
	}
}

func FuzzReader(f *testing.F) {
	f.Add(write(f, sample(20, 1), 8))
	f.Add(write(f, odd(), 8))
	f.Add(forge(0, header(f, func(*Header) {}), bytes.Repeat([]byte{0x91}, 100)))
	f.Fuzz(func(t *testing.T, data []byte) {
		agree(t, data)
		for _, salvage := range []bool{false, true} {
			if diff := AheadDiffers(data, salvage); diff != "" {
				t.Errorf("(salvage %v) %s", salvage, diff)
			}
		}
	})
}

// encode gives the columns of events.
func encode(events []Event) *blockEncoder {
	var c blockEncoder
	c.begin()
	for i := range events {
		c.add(&events[i])
	}
	return &c
}

// FuzzContent puts arbitrary content behind sums that fit.
func FuzzContent(f *testing.F) {
	for _, events := range [][]Event{sample(20, 1), odd()} {
		f.Add(uint32(len(events)), appendBlock(nil, encode(events), 1))
	}
	good := header(f, func(*Header) {})
	f.Fuzz(func(t *testing.T, events uint32, content []byte) {
		_, _, _, _ = read(forge(events%maxEvents, good, content), ReaderOptions{})
	})
}

// FuzzIndex gives an index arbitrary content.
func FuzzIndex(f *testing.F) {
	enc, _ := zstd.NewWriter(nil)
	dec, _ := zstd.NewReader(nil)
	payload, err := packIndex(enc, []Frame{{At: 0, FirstSeq: 1}, {At: 900, Events: 3, FirstSeq: 1, MinNS: -5, MaxNS: 5}})
	if err != nil {
		f.Fatal(err)
	}
	content, err := dec.DecodeAll(payload[8:], nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(content)
	f.Fuzz(func(t *testing.T, content []byte) {
		frames, err := unpackIndex(dec, enc.EncodeAll(content, skippable(0, typeIndex)[8:]))
		if err == nil && len(frames) > maxIndexFrames {
			t.Errorf("an index of %d frames", len(frames))
		}
	})
}
