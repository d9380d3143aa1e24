package format

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// Events a second, and bytes an event, of a synthetic busy server (see sample).
func BenchmarkWrite(b *testing.B) {
	events := sample(1<<16, 9)
	w, err := NewWriter(io.Discard, testHeader(), WriterOptions{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for n := range b.N {
		if err := w.Event(&events[n%len(events)]); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(w.Bytes())/float64(b.N), "bytes/event")
}

func BenchmarkRead(b *testing.B) {
	data := write(b, sample(1<<18, 9), 0)
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; {
		r, err := NewReader(bytes.NewReader(data), ReaderOptions{})
		if err != nil {
			b.Fatal(err)
		}
		for {
			batch, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
			n += len(batch.Events)
		}
	}
}

func BenchmarkJSON(b *testing.B) {
	events := sample(1<<12, 9)
	var dst []byte
	b.ReportAllocs()
	for n := range b.N {
		dst = AppendJSON(dst[:0], &events[n%len(events)], Clock{RealNS: 1_700_000_000_000_000_000})
	}
}
