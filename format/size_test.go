package format

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"os"
	"slices"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// TestColumnSizes prints what each column of the capture that ACC_SIZES names takes
// when it is compressed on its own, in bytes for each accepted connection.
func TestColumnSizes(t *testing.T) {
	path := os.Getenv("ACC_SIZES")
	if path == "" {
		t.Skip("ACC_SIZES names no capture")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewReader(bytes.NewReader(data), ReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	sizes := make([]int, len(Fields))
	accepted, whole, events := 0, int64(0), 0
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		whole += b.Bytes
		events += len(b.Events)
		for i := range b.Events {
			if b.Events[i].Accepted() {
				accepted++
			}
		}
		if len(b.Events) == 0 {
			continue
		}
		c := encode(b.Events)
		for i := range Fields {
			sizes[i] += len(enc.EncodeAll(c.column(nil, i), nil))
		}
	}
	order := make([]int, len(Fields))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(sizes[b], sizes[a]) })
	t.Logf("%d events, %d accepted, %.2f bytes an accepted connection in all", events, accepted, float64(whole)/float64(accepted))
	for _, i := range order {
		t.Logf("%-12s %8d  %.3f", Fields[i].Name, sizes[i], float64(sizes[i])/float64(accepted))
	}
}
