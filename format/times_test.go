package format

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
)

// The times of a batch are those of its events, whether these are decoded at once or in parts,
// in blocks whose times vary and in blocks of one time; WithParts replaces events alone.
func TestAppendTimes(t *testing.T) {
	events := sample(5000, 3)
	for i := range 300 {
		events[i].BootNS = 77
	}
	data := write(t, events, 300)
	for _, parts := range []bool{false, true} {
		r, err := NewReader(bytes.NewReader(data), ReaderOptions{Parts: parts})
		if err != nil {
			t.Fatal(err)
		}
		var got, want []int64
		for {
			b, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got = b.AppendTimes(got)
			for events := range b.Parts() {
				for _, e := range events {
					want = append(want, e.BootNS)
				}
			}
			c := b.WithParts(func(yield func([]Event) bool) { yield([]Event{{Seq: 9}}) })
			for events := range c.Parts() {
				if len(events) != 1 || events[0].Seq != 9 || c.Frame != b.Frame || c.Events != nil || len(c.AppendTimes(nil)) != 0 {
					t.Errorf("%+v", c)
				}
			}
		}
		if len(got) != len(events) || !slices.Equal(got, want) {
			t.Errorf("parts %v: %d times of %d events differ", parts, len(got), len(want))
		}
	}
}
