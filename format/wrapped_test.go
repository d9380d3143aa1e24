package format

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"
)

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func zstdWrapped(t testing.TB, b []byte, o ...zstd.EOption) []byte {
	enc, err := zstd.NewWriter(nil, o...)
	if err != nil {
		t.Fatal(err)
	}
	return enc.EncodeAll(b, nil)
}

// What is inside of a wrapper comes out; everything else comes through as it is.
func TestUnwrap(t *testing.T) {
	kept, err := os.ReadFile("../testdata/captures/v1.acc")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, by string
		in, out  []byte
	}{
		{"capture", "", kept, kept},
		{"gzip", "gzip", gzipped(kept), kept},
		{"zstd", "zstd", zstdWrapped(t, kept), kept},
		{"two of gzip", "gzip", append(gzipped(kept[:1000]), gzipped(kept[1000:])...), kept},
		{"cut gzip", "gzip", gzipped(kept)[:2000], nil},
		{"gzip twice", "", gzipped(gzipped(kept)), gzipped(gzipped(kept))},
		{"text in gzip", "", gzipped([]byte("hello")), gzipped([]byte("hello"))},
		{"text in zstd", "", zstdWrapped(t, []byte("hello")), zstdWrapped(t, []byte("hello"))},
		{"nothing", "", nil, nil},
		{"one byte", "", []byte{0x1f}, []byte{0x1f}},
		{"head of gzip", "", []byte{0x1f, 0x8b, 8, 0}, []byte{0x1f, 0x8b, 8, 0}},
		{"text", "", []byte("hello"), []byte("hello")},
		// Deflate blocks without a byte, for longer than is looked at.
		{"empty blocks", "", append([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}, bytes.Repeat([]byte{0, 0, 0, 255, 255}, 100_000)...), nil},
	} {
		r, by := Unwrap(iotest.HalfReader(bytes.NewReader(c.in)))
		got, err := io.ReadAll(r)
		want := c.out
		if want == nil && c.by == "" {
			want = c.in
		}
		if by != c.by || err != nil || want != nil && !bytes.Equal(got, want) {
			t.Errorf("%s: by %q, %d bytes, %v, want %q and %d", c.name, by, len(got), err, c.by, len(want))
		}
	}
	// Damage is said, also that of the input itself.
	bad := gzipped(kept)
	bad[len(bad)-6] ^= 1 // in its checksum
	r, _ := Unwrap(bytes.NewReader(bad))
	if _, err := io.ReadAll(r); !errors.Is(err, ErrWrapper) {
		t.Errorf("a wrong checksum: %v", err)
	}
	broken := errors.New("the disk is on fire")
	r, _ = Unwrap(io.MultiReader(bytes.NewReader(gzipped(kept)[:2000]), iotest.ErrReader(broken)))
	if _, err := io.ReadAll(r); !errors.Is(err, broken) || errors.Is(err, ErrWrapper) {
		t.Errorf("an input that fails: %v", err)
	}
}
