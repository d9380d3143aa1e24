package format

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"hash/crc32"
	"reflect"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/vmihailenco/msgpack/v5"
)

// What is no msgpack has no length, and what is has the length that it takes, whatever
// stands behind it.
func TestCheckShapes(t *testing.T) {
	long := func(head ...byte) []byte { return append(head, make([]byte, 400)...) }
	for _, c := range []struct {
		b    []byte
		size int
		err  error
	}{
		{[]byte{0xc0, 1}, 1, nil}, {[]byte{0xe0}, 1, nil}, {[]byte{0x80}, 1, nil}, {[]byte{0x82, 1, 2, 3, 4, 5}, 5, nil},
		{[]byte{0x92, 1, 0xcd, 1, 2}, 5, nil}, {[]byte{0xa2, 'x', 'y', 'z'}, 3, nil}, {long(0xca), 5, nil}, {long(0xcb), 9, nil},
		{long(0xcc), 2, nil}, {long(0xcd), 3, nil}, {long(0xce), 5, nil}, {long(0xcf), 9, nil}, {long(0xd0), 2, nil}, {long(0xd3), 9, nil},
		{long(0xc4, 3), 5, nil}, {long(0xd9, 3), 5, nil}, {long(0xc5, 1, 0), 259, nil}, {long(0xda, 1, 0), 259, nil},
		{long(0xc6, 0, 0, 0, 7), 12, nil}, {long(0xdb, 0, 0, 1, 0), 261, nil}, {long(0xdc, 1, 0), 259, nil}, {long(0xdd, 0, 0, 0, 9), 14, nil},
		{[]byte{0xc4, 0}, 2, nil}, {[]byte{0xda, 0, 0}, 3, nil}, {[]byte{0xdc, 0, 0}, 3, nil}, {[]byte{0xdf, 0, 0, 0, 0}, 5, nil},
		{long(0xde, 0, 4), 11, nil}, {long(0xdf, 0, 0, 0, 4), 13, nil},
		{nil, 0, errShort}, {[]byte{0x91}, 0, errShort}, {[]byte{0xc4}, 0, errShort}, {[]byte{0xda, 0}, 0, errShort}, {[]byte{0xdf, 0, 0, 0}, 0, errShort},
		{[]byte{0xa2, 'x'}, 0, errShort}, {[]byte{0xcd, 1}, 0, errShort}, {[]byte{0xdd, 0xff, 0xff, 0xff, 0xff}, 0, errShort},
		{long(0xc1), 0, errType}, {long(0xc7), 0, errType}, {long(0xd4), 0, errType}, {long(0xd8), 0, errType}, {long(0xc9), 0, errType},
		{long(0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x90), 8, nil}, {long(0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91), 0, errDeep},
	} {
		if size, err := check(c.b); size != c.size || err != c.err {
			t.Errorf("%.12x: %d bytes, %v; want %d, %v", c.b, size, err, c.size, c.err)
		}
		if len(c.b) == 0 {
			continue
		}
		if size, inner, err := shape(c.b); err != nil && (size != 0 || inner != 0) {
			t.Errorf("%.12x: an error comes with %d and %d", c.b, size, inner)
		}
	}
}

// A capture of more frames than an index takes has one of none, which is no error in it.
func TestEmptyIndex(t *testing.T) {
	enc, err1 := zstd.NewWriter(nil)
	dec, err2 := zstd.NewReader(nil)
	payload, err3 := packIndex(enc, nil)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	if frames, err := unpackIndex(dec, payload); err != nil || len(frames) != 0 {
		t.Errorf("%d frames, %v", len(frames), err)
	}
	for frames, fits := range map[uint32]bool{1: false, maxIndexFrames: false, maxIndexFrames + 1: true} {
		r := &Reader{decoder: &frameDecoder{zstd: dec}, index: sha256.New(), frame: frames}
		r.index.Write([]byte("frames"))
		if err := r.checkIndex(payload); (err == nil) != fits {
			t.Errorf("of a capture of %d frames: %v", frames, err)
		}
	}
}

// A tail is one by every byte of it.
func TestTailBytes(t *testing.T) {
	var out bytes.Buffer
	w, err := NewWriter(&out, Header{}, WriterOptions{})
	if err == nil {
		err = w.Close(End{})
	}
	if err != nil {
		t.Fatal(err)
	}
	data := out.Bytes()
	if _, err := ReadIndex(bytes.NewReader(data), int64(len(data))); err != nil {
		t.Fatal(err)
	}
	for i := range 8 + tailSize {
		bad := bytes.Clone(data)
		bad[len(bad)-1-i] ^= 1
		if _, err := ReadIndex(bytes.NewReader(bad), int64(len(bad))); !errors.Is(err, ErrNoIndex) {
			t.Errorf("byte %d from the end changed: %v", i, err)
		}
	}
}

// A sparse column of one value is told from others, and gives nothing of those.
func TestOneValue(t *testing.T) {
	for _, c := range []struct {
		b    []byte
		k    keyKind
		v    int64
		rest int
		ok   bool
	}{
		{[]byte{0x80, 9}, byPlain, 0, 1, true},
		{[]byte{0x81, 0xff, 7, 9}, byPlain, 7, 1, true},
		{[]byte{0x81, 0, 7, 9}, byPlain, 0, 0, false},
		{[]byte{0x81, 0, 7, 9}, byPrev, 7, 1, true},
		{[]byte{0x81, 0xff, 7, 9}, byPrev, 0, 0, false},
		{[]byte{0x81, 1, 7, 9}, byPrev, 0, 0, false},
		{[]byte{0x82, 0, 7, 1, 7}, byPrev, 0, 0, false},
		{[]byte{0x81, 0xc0, 7}, byPrev, 0, 0, false},
		{[]byte{0x91, 0}, byPrev, 0, 0, false},
		{[]byte{0x81}, byPrev, 0, 0, false},
		{nil, byPrev, 0, 0, false},
	} {
		if v, rest, ok := oneValue(c.b, c.k); v != c.v || len(rest) != c.rest || ok != c.ok {
			t.Errorf("%x of kind %d: %d, %x behind it, %v", c.b, c.k, v, rest, ok)
		}
	}
}

// An index of no frames leads nowhere, and one of a single frame does.
func TestShortIndexes(t *testing.T) {
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		payload, err := packIndex(enc, make([]Frame, n))
		if err != nil {
			t.Fatal(err)
		}
		l := tail{at: uint64(8 + len(payload)), indexSum: crc32.Checksum(payload, castagnoli)}
		data := l.append(append(skippable(uint32(len(payload)), typeIndex)[:8], payload...))
		frames, err := ReadIndex(bytes.NewReader(data), int64(len(data)))
		if n == 0 && !errors.Is(err, ErrNoIndex) || n > 0 && err != nil || len(frames) != n {
			t.Errorf("of %d frames: %d, %v", n, len(frames), err)
		}
	}
}

// Of a second END, that a splice can bring, nothing is of the first.
func TestTwoEnds(t *testing.T) {
	d, err := newFrameDecoder(&Header{Format: Version}, ReaderOptions{Salvage: true})
	if err != nil {
		t.Fatal(err)
	}
	end := func(key string, value any) []byte {
		b, err := msgpack.Marshal(map[string]any{key: value})
		if err != nil {
			t.Fatal(err)
		}
		return append(append([]byte{0x92, 0xa3}, "end"...), b...)
	}
	_, err1 := d.record(&link{}, end("reason", "signal"), 0)
	if got := d.batch.End; err1 != nil || got == nil || got.Reason != "signal" {
		t.Fatalf("%+v, %v", got, err1)
	}
	_, err2 := d.record(&link{}, end("clean", true), 0)
	if got := d.batch.End; err2 != nil || !got.Clean || got.Reason != "" {
		t.Errorf("%+v, %v", got, err2)
	}
}

// From the header of a capture with one frame of events, skipping leads to its end.
func TestSkipToEnd(t *testing.T) {
	var out bytes.Buffer
	w, err := NewWriter(&out, Header{}, WriterOptions{})
	if err == nil {
		err = errors.Join(w.Event(&Event{BootNS: 5, Kind: Enter}), w.Close(End{}))
	}
	in := bytes.NewReader(out.Bytes())
	frames, err2 := ReadIndex(in, in.Size())
	r, err3 := NewReader(in, ReaderOptions{})
	if err := errors.Join(err, err2, err3); err != nil || len(frames) != 3 {
		t.Fatalf("%d frames, %v", len(frames), err)
	}
	if err := r.SkipTo(frames, 6); err != nil {
		t.Fatal(err)
	}
	b, err := r.Next()
	if err != nil || b.Header == nil {
		t.Fatalf("%+v, %v", b, err)
	}
	if b, err = r.Next(); err != nil || b.End == nil {
		t.Errorf("%+v, %v", b, err)
	}
}

// The small records of a frame that is decoded ahead are bounded together.
func TestUsualRecords(t *testing.T) {
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	d, err := newFrameDecoder(&Header{Format: Version}, ReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	d.usual = true
	process, err := msgpack.Marshal(map[string]any{"exe": string(make([]byte, maxUsual/4))})
	if err != nil {
		t.Fatal(err)
	}
	one := append(append([]byte{0x92, 0xa7}, "process"...), process...)
	for room, want := range map[int]error{len(process): nil, len(process) - 1: errLarge} {
		if _, err := d.record(&link{}, one, room); err != want {
			t.Errorf("a record of %d bytes where %d may be: %v, want %v", len(process), room, err, want)
		}
	}
	for n, want := range []error{3: nil, 4: errLarge, 5: errLarge} {
		if n == 0 {
			continue
		}
		content := bytes.Repeat(one, n)
		if err := d.decode(&link{content: uint32(len(content))}, enc.EncodeAll(content, nil)); err != want {
			t.Errorf("%d records of %d bytes: %v, want %v", n, len(one), err, want)
		}
	}
}

// A zero fits, however it is written.
func TestWideZero(t *testing.T) {
	b := append(make([]byte, 9), 7)
	b[0] = 0xcf
	if rest, err := boundsOf("clock", nil).fit(b, reflect.TypeFor[uint32]()); err != nil || len(rest) != 1 {
		t.Errorf("%x behind it, %v", rest, err)
	}
}

// A field stands behind all that its rows and its prediction need.
func TestNeeds(t *testing.T) {
	byOn, byKey := 0, 0
	for _, s := range specs() {
		on, key := s, s
		on.Key, key.On = nil, nil
		if len(on.On) > 0 {
			byOn++
			if _, err := plan([]FieldSpec{on}); err == nil || !strings.Contains(err.Error(), "stands before") {
				t.Errorf("%s stands alone, with rows by %v", s.Name, s.On)
			}
		}
		if len(key.Key) > 0 {
			byKey++
			if _, err := plan([]FieldSpec{key}); err == nil || !strings.Contains(err.Error(), "stands before") {
				t.Errorf("%s stands alone, with the key %v", s.Name, s.Key)
			}
		}
	}
	if byOn == 0 || byKey == 0 {
		t.Errorf("%d and %d fields need others: this tests nothing", byOn, byKey)
	}
}

// A key beyond its field's size is corruption, in whichever row.
func TestKeyRanges(t *testing.T) {
	for name, most := range map[string]int64{"kind": NumKinds - 1, "hook": 255, "cpu": 1<<32 - 1, "tid": 1<<32 - 1, "lport": 1<<16 - 1, "errno": 1<<31 - 1} {
		f, ok := FieldByName(name)
		if !ok {
			t.Fatalf("no field %s", name)
		}
		for _, v := range []int64{most, most + 1, -1, most << 8, 1 << 62} {
			for place := range 3 {
				nums := []int64{1, 1, 1}
				nums[place] = v
				k := keys{row: make([]rowKey, 3)}
				if err := k.keep(f, []int32{0, 1, 2}, nums); (err != nil) != (v != most) {
					t.Errorf("%s %d in row %d: %v", name, v, place, err)
				}
			}
		}
	}
}

func TestPeerProcess(t *testing.T) {
	e := Event{PeerPID: 1234, PeerUID: 4321}
	if got := e.Peer(); got != "pid 1234 uid 4321" {
		t.Error(got)
	}
}
