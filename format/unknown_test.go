package format

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// Fields of a later version are passed over, whatever their columns hold; a column that
// is no msgpack is corruption.
func TestUnknownFields(t *testing.T) {
	events := sample(40, 5)
	content := appendBlock(nil, encode(events), 1)
	at := bytes.Index(content, []byte("cols")) + len("cols")
	for name, c := range map[string]struct {
		column []byte
		whole  bool
	}{
		"sparse":       {[]byte{0x81, 0xff, 5}, true},
		"text":         {[]byte{0xa3, 'n', 'e', 'w'}, true},
		"nested lists": {[]byte{0x92, 0x91, 1, 0x80}, true},
		"no msgpack":   {[]byte{0xc1}, false},
	} {
		for _, place := range []int{0, len(Fields)} { // before all others, behind them
			head := header(t, func(h *Header) {
				h.Fields = slices.Insert(slices.Clone(h.Fields), place, FieldSpec{Name: "later", Type: "later"})
			})
			columns := content[at+len(appendArrayLen(nil, len(Fields))):]
			bad := slices.Concat(content[:at], appendArrayLen(nil, len(Fields)+1), c.column, columns)
			if place > 0 {
				bad = slices.Concat(content[:at], appendArrayLen(nil, len(Fields)+1), columns, c.column)
			}
			got, _, _, err := read(forge(uint32(len(events)), head, bad), ReaderOptions{})
			if c.whole && (!errors.Is(err, ErrTruncated) || !slices.Equal(got, events)) {
				t.Errorf("%s at %d: %d events, %v", name, place, len(got), err)
			}
			if corrupt := new(CorruptError); !c.whole && (!errors.As(err, &corrupt) || errors.Is(err, io.EOF)) {
				t.Errorf("%s at %d: %v", name, place, err)
			}
		}
	}
}

// A frame behind garbage is found wherever it begins, also where what is looked at at once
// ends within its head; so is another capture behind an END.
func TestFrameAtWindow(t *testing.T) {
	events := sample(30, 3)
	data := write(t, events, 10)
	frames, err := ReadIndex(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	var second bytes.Buffer
	h := testHeader()
	h.ID = "another"
	w, err := NewWriter(&second, h, WriterOptions{})
	if err == nil {
		err = w.Close(End{Clean: true})
	}
	if err != nil {
		t.Fatal(err)
	}
	cut := frames[2].At // behind the header and the first ten events
	for garbage := 64<<10 - 16; garbage <= 64<<10+2; garbage++ {
		got, _, r, err := read(slices.Concat(data[:cut], bytes.Repeat([]byte{'x'}, garbage), data[cut:]), ReaderOptions{Salvage: true})
		if !errors.Is(err, io.EOF) || !slices.Equal(got, events) || len(r.Skipped()) != 1 || r.Skipped()[0].Bytes != int64(garbage) {
			t.Errorf("%d bytes of garbage: %d events, %v, %+v", garbage, len(got), err, r.Skipped())
		}
		got, _, r, _ = read(slices.Concat(data, bytes.Repeat([]byte{'x'}, garbage), second.Bytes()), ReaderOptions{Salvage: true})
		other := false
		for _, s := range r.Skipped() {
			other = other || s.Offset == int64(len(data)+garbage)
		}
		if !slices.Equal(got, events) || !other {
			t.Errorf("another capture behind %d bytes: %d events, %+v", garbage, len(got), r.Skipped())
		}
	}
}

// An index whose columns have other names is none.
func TestIndexNames(t *testing.T) {
	enc, _ := zstd.NewWriter(nil)
	dec, _ := zstd.NewReader(nil)
	payload, err := packIndex(enc, []Frame{{FirstSeq: 1}, {At: 900, Events: 3, FirstSeq: 1, MaxNS: 5}})
	if err != nil {
		t.Fatal(err)
	}
	content, err := dec.DecodeAll(payload[8:], nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range indexColumns {
		bad := bytes.Replace(content, []byte(c.name), bytes.Repeat([]byte{'?'}, len(c.name)), 1)
		if frames, err := unpackIndex(dec, enc.EncodeAll(bad, skippable(0, typeIndex)[8:])); err == nil {
			t.Errorf("without %s it is an index of %d frames", c.name, len(frames))
		}
	}
}
