package format

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"
)

// numbers lists the numeric members of a record's body, each as the members on the way
// to it, with the range of its type.
func numbers(t reflect.Type, way []any, found func(way []any, t reflect.Type)) {
	switch t.Kind() {
	case reflect.Pointer:
		numbers(t.Elem(), way, found)
	case reflect.Slice:
		numbers(t.Elem(), append(way[:len(way):len(way)], 0), found)
	case reflect.Map:
		numbers(t.Elem(), append(way[:len(way):len(way)], "x"), found)
	case reflect.Struct:
		for i := range t.NumField() {
			if name, _, _ := strings.Cut(t.Field(i).Tag.Get("msgpack"), ","); name != "" && name != "fields" {
				numbers(t.Field(i).Type, append(way[:len(way):len(way)], name), found)
			}
		}
	case reflect.Bool, reflect.String:
	default:
		found(way, t)
	}
}

// body is the msgpack of a number at the end of a way, by the library.
func body(t *testing.T, way []any, v any) []byte {
	t.Helper()
	for i := len(way) - 1; i >= 0; i-- {
		if name, ok := way[i].(string); ok {
			v = map[string]any{name: v}
		} else {
			v = []any{v}
		}
	}
	b, err := msgpack.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A number in a small record that is out of its member's range is corruption, never
// another number; what is at the end of the range is read.
func TestNumbersFit(t *testing.T) {
	good := header(t, func(*Header) {})
	tried := 0
	for tag, typ := range map[string]any{"process": Process{}, "clock": Clock{}, "loss": Loss{}, "snapshot": Snapshot{}, "counters": Counters{}, "gap": Gap{}, "end": End{}} {
		numbers(reflect.TypeOf(typ), nil, func(way []any, nt reflect.Type) {
			var in, out []any
			switch bits := nt.Bits(); nt.Kind() {
			case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
				in = []any{int64(math.MinInt64) >> (64 - bits), int64(math.MaxInt64) >> (64 - bits)}
				out = []any{uint64(math.MaxInt64)>>(64-bits) + 1, uint64(math.MaxUint64)}
				if bits < 64 {
					out = append(out, int64(math.MinInt64)>>(64-bits)-1)
				}
			default:
				in = []any{0, uint64(math.MaxUint64) >> (64 - bits)}
				out = []any{-1, int64(math.MinInt64)}
				if bits < 64 {
					out = append(out, uint64(math.MaxUint64)>>(64-bits)+1, uint64(math.MaxUint64))
				}
			}
			record := func(v any) []byte {
				return append(append([]byte{0x92, 0xa0 | byte(len(tag))}, tag...), body(t, way, v)...)
			}
			for _, v := range in {
				list, err := batches(forge(0, good, record(v)), ReaderOptions{})
				if tag == "gap" && errors.As(err, new(*CorruptError)) && !strings.Contains(err.Error(), "range") {
					continue // it is read, but no repair made it
				}
				if !errors.Is(err, ErrTruncated) || len(list) != 2 {
					t.Errorf("%s %v = %v: %v", tag, way, v, err)
					continue
				}
				b := list[1]
				cost := Cost{}
				if b.End != nil && b.End.Cost != nil {
					cost = *b.End.Cost
				}
				if !strings.Contains(fmt.Sprintf("%+v %+v %+v", b, b.End, cost), fmt.Sprint(v)) {
					t.Errorf("%s %v = %v is read as %+v %+v", tag, way, v, b, b.End)
				}
			}
			for _, v := range out {
				var corrupt *CorruptError
				if _, err := batches(forge(0, good, record(v)), ReaderOptions{}); !errors.As(err, &corrupt) || !strings.Contains(err.Error(), "a number is out of its range") {
					t.Errorf("%s %v = %v is out of the range of %s: %v", tag, way, v, nt, err)
				}
			}
			tried++
		})
	}
	if tried < 60 {
		t.Errorf("%d members were tried", tried)
	}
	// The header, with a number of a pointer's and of a list's.
	for _, way := range [][]any{{"cpus"}, {"repaired", "places"}, {"probes", 0, "kind"}, {"clock", "real_ns"}} {
		b := append([]byte("\x92\xa6header"), body(t, way, uint64(math.MaxUint64))...)
		if _, err := batches(forge(0, b), ReaderOptions{}); !errors.As(err, new(*CorruptError)) || !strings.Contains(err.Error(), "out of its range") {
			t.Errorf("header %v: %v", way, err)
		}
	}
}

// Bodies that no writer makes: the library would read some of them past the names.
func TestBodies(t *testing.T) {
	good := header(t, func(*Header) {})
	for name, c := range map[string]struct {
		body string
		want string // in the error; "": it is read
	}{
		"array for a map":                     {"\x94\x01\x02\x03\x04", "a body is not a map of names"},
		"name in a long form":                 {"\x81\xdb\x00\x00\x00\x07boot_ns\x01", "a body is not a map of names"},
		"name in another form":                {"\x81\xc4\x07boot_ns\x05", ""},
		"unknown member":                      {"\x82\xa3new\x92\x01\x02\xa7boot_ns\x05", ""},
		"unknown member with a huge number":   {"\x82\xa3new\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xa7boot_ns\x05", ""},
		"nothing":                             {"\xc0", ""},
		"nothing for a number":                {"\x81\xa7boot_ns\xc0", ""},
		"text for a number":                   {"\x81\xa7boot_ns\xa15", "decode clock"},
		"member twice, the first one too big": {"\x82\xa7boot_ns\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xa7boot_ns\x05", "boot_ns: a number is out of its range"},
	} {
		list, err := batches(forge(0, good, append([]byte("\x92\xa5clock"), c.body...)), ReaderOptions{})
		if c.want != "" {
			if !errors.As(err, new(*CorruptError)) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v", name, err)
			}
		} else if !errors.Is(err, ErrTruncated) || len(list) != 2 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !bytes.Contains(good, []byte("fields")) {
		t.Error("the header names no fields")
	}
}
