package format

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"
)

// Numbers at the ends of each of msgpack's forms are written in the shortest one,
// as its library reads them and as it would write them.
func TestIntegers(t *testing.T) {
	for _, edge := range []int64{0, -32, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 1<<63 - 1, -1 << 63, -0x80, -0x8000, -0x80000000} {
		for _, v := range []int64{edge - 1, edge, edge + 1} {
			b := appendInt(nil, v)
			var got int64
			if err := msgpack.Unmarshal(b, &got); err != nil || got != v {
				t.Errorf("%d is written as % x, which is %d, %v", v, b, got, err)
			}
			var lib bytes.Buffer
			enc := msgpack.NewEncoder(&lib)
			enc.UseCompactInts(true)
			if err := enc.EncodeInt(v); err != nil || len(b) > lib.Len() {
				t.Errorf("%d is written as % x, the library writes % x", v, b, lib.Bytes())
			}
			n, rest, ok := parseInt(append(bytes.Clone(b), 0xc1))
			if !ok || n != v || len(rest) != 1 {
				t.Errorf("% x is read as %d, %v", b, n, ok)
			}
			for cut := range b {
				if _, _, ok := parseInt(b[:cut]); ok {
					t.Errorf("% x is read though it is cut", b[:cut])
				}
			}
		}
	}
}

// Lists, texts and their heads at the ends of each form come back.
func TestLengths(t *testing.T) {
	for _, n := range []int{0, 1, 15, 16, 31, 32, 255, 256, 65_535, 65_536, 70_000} {
		for _, head := range [][2]byte{{0x90, 0xdc}, {0x80, 0xde}} {
			b := appendLen(nil, head[0], head[1], n)
			got, rest, ok := parseLen(append(bytes.Clone(b), 0xc1), head[0], head[1])
			if !ok || got != n || len(rest) != 1 {
				t.Errorf("a head of %d (% x) is read as %d, %v", n, b, got, ok)
			}
			for cut := range b {
				if _, _, ok := parseLen(b[:cut], head[0], head[1]); ok {
					t.Errorf("% x is read though it is cut", b[:cut])
				}
			}
		}
		word := strings.Repeat("x", n)
		data, rest, ok := parseBin(append((&texts{words: []string{word}}).append(nil, 65_535)[1:], 0xc1))
		if !ok || string(data) != word[:min(n, 65_535)] || len(rest) != 1 {
			t.Errorf("a word of %d bytes is read as one of %d, %v", n, len(data), ok)
		}
		if text := append(appendHead(n), word...); n < 65_536 {
			if data, rest, ok := parseBin(text); !ok || string(data) != word || len(rest) != 0 {
				t.Errorf("a text of %d bytes is read as one of %d, %v", n, len(data), ok)
			}
		}
	}
}

// appendHead is the head of a msgpack text of n bytes.
func appendHead(n int) []byte {
	switch {
	case n < 32:
		return []byte{0xa0 | byte(n)}
	case n < 256:
		return []byte{0xd9, byte(n)}
	}
	return []byte{0xda, byte(n >> 8), byte(n)}
}

// Names come back as long as they may be, longer ones are cut there.
func TestLongNames(t *testing.T) {
	long := strings.Repeat("a", maxSockName)
	events := []Event{{Kind: Enter, Comm: long[:maxComm], LName: long}, {Kind: Enter, Comm: long, LName: long + "a"}}
	got, _, _, err := read(write(t, events, 16), ReaderOptions{})
	if !errors.Is(err, io.EOF) || len(got) != 2 || got[1].Comm != got[0].Comm || got[1].LName != long || got[0].Comm != long[:maxComm] || got[0].LName != long {
		t.Errorf("%d events, %v", len(got), err)
	}
}
