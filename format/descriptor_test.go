package format

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// A frame that has nothing but accepts that gave one descriptor keeps it. (It was read as 0: the column of errno, 0 for
// all, was written over it.)
func TestOneDescriptor(t *testing.T) {
	for _, n := range []int{1, 20, 100} {
		var file bytes.Buffer
		w, err := NewWriter(&file, Header{}, WriterOptions{})
		for range n {
			err = errors.Join(err, w.Event(&Event{Kind: Return, Hook: HookSysAccept4, Ret: 7}))
		}
		if err := errors.Join(err, w.Close(End{})); err != nil {
			t.Fatal(err)
		}
		for _, parts := range []bool{false, true} {
			for _, e := range eventsOf(t, file.Bytes(), ReaderOptions{Parts: parts}) {
				if e.Ret != 7 {
					t.Fatalf("of %d events, one has ret %d", n, e.Ret)
				}
			}
		}
	}
}

func eventsOf(t *testing.T, file []byte, o ReaderOptions) (list []Event) {
	t.Helper()
	r, err := NewReader(bytes.NewReader(file), o)
	if err != nil {
		t.Fatal(err)
	}
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		for events := range b.Parts() {
			list = append(list, events...)
		}
	}
}
