package format

import (
	"bytes"
	"errors"
	"testing"

	"github.com/vmihailenco/msgpack/v5"
)

// An error of a reader is final: asked again, it gives the same one and no events.
func TestErrorsAreFinal(t *testing.T) {
	data := write(t, sample(60, 8), perFrame)
	bad := bytes.Clone(data)
	list := parts(data)
	bad[len(list[0])+len(list[1])+8+linkSize+30] ^= 1 // in a frame that others follow
	for name, data := range map[string][]byte{"whole": data, "cut": data[:len(data)-100], "corrupt": bad, "without index": bytes.Join(list[:len(list)-1], nil)} {
		r, err := NewReader(bytes.NewReader(data), ReaderOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = r.Next()
		}
		for range 3 {
			if b, again := r.Next(); again != err || b != nil {
				t.Errorf("%s: after %v comes %v", name, err, again)
			}
		}
	}
	// A capture that has frames and an END but nothing behind is cut.
	if _, _, _, err := read(bytes.Join(list[:len(list)-1], nil), ReaderOptions{}); !errors.Is(err, ErrTruncated) {
		t.Errorf("without index: %v", err)
	}
	// Salvaging what is no capture, and what is only its first bytes, says which.
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"nothing":          {nil, ErrTruncated},
		"the first bytes":  {data[:11], ErrTruncated},
		"text":             {bytes.Repeat([]byte("no capture "), 50), ErrNotCapture},
		"text, not salved": {bytes.Repeat([]byte("no capture "), 50), ErrNotCapture},
	} {
		_, err := NewReader(bytes.NewReader(c.data), ReaderOptions{Salvage: name != "text, not salved"})
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Heads of binary are the library's, at the ends of each form.
func TestBinaryHeads(t *testing.T) {
	for _, n := range []int{0, 1, 0xff, 0x100, 0xffff, 0x10000} {
		var lib bytes.Buffer
		if err := msgpack.NewEncoder(&lib).EncodeBytesLen(n); err != nil {
			t.Fatal(err)
		}
		if b := appendBinLen(nil, n); !bytes.Equal(b, lib.Bytes()) {
			t.Errorf("a head of %d bytes is % x, the library's % x", n, b, lib.Bytes())
		}
	}
}

// Values nest as deep as docs/FORMAT.md says, and no deeper.
func TestDepth(t *testing.T) {
	for _, head := range []byte{0x91, 0x81} {
		for depth := range 12 {
			var b []byte
			for range depth {
				if b = append(b, head); head == 0x81 {
					b = append(b, 0xa0)
				}
			}
			b = append(b, 0x05)
			n, err := check(append(bytes.Clone(b), 0xc1))
			if ok := depth < 8; ok && (err != nil || n != len(b)) || !ok && !errors.Is(err, errDeep) {
				t.Errorf("%d levels: %d bytes, %v", depth, n, err)
			}
		}
	}
}
