package format

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// longer writes the msgpack value at the head of b with every head in a longer form
// than it needs, and gives what follows it. Wide is for lists: 2 or 4 bytes of length.
func longer(t *testing.T, out, b []byte, wide int) (long, rest []byte) {
	t.Helper()
	list := func(narrow byte, n int) {
		if wide == 2 {
			out = binary.BigEndian.AppendUint16(append(out, narrow), uint16(n))
		} else {
			out = binary.BigEndian.AppendUint32(append(out, narrow+1), uint32(n))
		}
	}
	each := func(n int) {
		for range n {
			out, b = longer(t, out, b, wide)
		}
	}
	if n, r, ok := parseLen(b, 0x90, 0xdc); ok {
		b = r
		list(0xdc, n)
		each(n)
		return out, b
	}
	if n, r, ok := parseLen(b, 0x80, 0xde); ok {
		b = r
		list(0xde, n)
		each(2 * n)
		return out, b
	}
	if data, r, ok := parseBin(b); ok {
		if wide == 2 && len(data) < 1<<16 {
			out = binary.BigEndian.AppendUint16(append(out, 0xc5), uint16(len(data)))
		} else {
			out = binary.BigEndian.AppendUint32(append(out, 0xc6), uint32(len(data)))
		}
		return append(out, data...), r
	}
	if v, r, ok := parseInt(b); ok {
		return binary.BigEndian.AppendUint64(append(out, map[bool]byte{true: 0xcf, false: 0xd3}[b[0] == 0xcf]), uint64(v)), r
	}
	n, err := check(b)
	if err != nil {
		t.Fatal(err)
	}
	return append(out, b[:n]...), b[n:]
}

// Any form in which msgpack can write a value is read as that value.
func TestLongForms(t *testing.T) {
	for _, events := range [][]Event{sample(300, 9), odd(), sample(60, 2)} {
		data := write(t, events, maxEvents)
		dec, err := zstd.NewReader(nil)
		if err != nil {
			t.Fatal(err)
		}
		var contents [][]byte
		for _, p := range parts(data)[:2] { // the header, the events
			content, err := dec.DecodeAll(p[8+linkSize:], nil)
			if err != nil {
				t.Fatal(err)
			}
			contents = append(contents, content)
		}
		for _, wide := range []int{2, 4} {
			long := slices.Clone(contents)
			for i, c := range contents {
				var out []byte
				for len(c) > 0 {
					out, c = longer(t, out, c, wide)
				}
				if len(out) <= len(contents[i]) {
					t.Fatalf("frame %d is not longer", i)
				}
				long[i] = out
			}
			got, _, r, err := read(forge(uint32(len(events)), long...), ReaderOptions{})
			if !errors.Is(err, ErrTruncated) || len(got) != len(events) {
				t.Fatalf("%d bytes a length: %d of %d events, %v", wide, len(got), len(events), err)
			}
			want, _, _, _ := read(data, ReaderOptions{})
			for i := range got {
				if got[i] != want[i] {
					t.Fatalf("event %d: %+v, want %+v", i, got[i], want[i])
				}
			}
			if h := r.Header(); h.ID != testHeader().ID || h.CPUs != 4 || len(h.Probes) != 1 {
				t.Errorf("header %+v", h)
			}
		}
	}
}

// Fields that are written in a way that this version does not know are refused by name,
// and never read in another way.
func TestFieldsRefused(t *testing.T) {
	at := func(name string) int {
		return slices.IndexFunc(specs(), func(s FieldSpec) bool { return s.Name == name })
	}
	for name, edit := range map[string]func(f []FieldSpec) []FieldSpec{
		"kind 0":          func(f []FieldSpec) []FieldSpec { f[at("ret")].On = map[string][]int64{"kind": {0}}; return f },
		"a kind too many": func(f []FieldSpec) []FieldSpec { f[at("ret")].On = map[string][]int64{"kind": {NumKinds}}; return f },
		"no kind":         func(f []FieldSpec) []FieldSpec { f[at("ret")].On = map[string][]int64{"errno": {0}}; return f },
		"another errno": func(f []FieldSpec) []FieldSpec {
			f[at("ret")].On = map[string][]int64{"kind": {2}, "errno": {1}}
			return f
		},
		"two errnos": func(f []FieldSpec) []FieldSpec {
			f[at("ret")].On = map[string][]int64{"kind": {2}, "errno": {0, 0}}
			return f
		},
		"another field": func(f []FieldSpec) []FieldSpec {
			f[at("ret")].On = map[string][]int64{"kind": {2}, "hook": {1}}
			return f
		},
		"a set that no field has": func(f []FieldSpec) []FieldSpec { f[at("ret")].On = map[string][]int64{"kind": {1, 2, 3}}; return f },
		"another type":            func(f []FieldSpec) []FieldSpec { f[at("ret")].Type = String; return f },
		"a longer key":            func(f []FieldSpec) []FieldSpec { f[at("ret")].Key = append(slices.Clone(keyTask), "cpu"); return f },
		"a key in another order":  func(f []FieldSpec) []FieldSpec { f[at("ret")].Key = []string{"kind", "tid", "errno"}; return f },
		"a field twice":           func(f []FieldSpec) []FieldSpec { return append(f, f[at("ret")]) },
		"what it needs behind it": func(f []FieldSpec) []FieldSpec { return append([]FieldSpec{f[at("ret")]}, f...) },
		"no kind at all":          func(f []FieldSpec) []FieldSpec { return f[at("kind")+1:] },
		"no errno": func(f []FieldSpec) []FieldSpec {
			return slices.DeleteFunc(f, func(s FieldSpec) bool { return s.Name != "kind" })
		},
	} {
		b := header(t, func(h *Header) { h.Fields = edit(specs()) })
		_, err := NewReader(strings.NewReader(string(forge(0, b))), ReaderOptions{})
		if !errors.As(err, new(*CorruptError)) || !strings.Contains(err.Error(), "field") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What it does not know at all it passes over.
	fields := append(specs(), FieldSpec{Name: "tomorrow", Type: Uint, On: map[string][]int64{"moon": {1}}, Key: []string{"sun"}})
	r, err := NewReader(strings.NewReader(string(forge(0, header(t, func(h *Header) { h.Fields = fields })))), ReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); err != nil && !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}
