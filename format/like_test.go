package format

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// Events that are recorded as likes of earlier ones are read back as if each had
// been recorded on its own, and take as many bytes.
func TestLike(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	events := sample(4000, 7)
	for i := range events { // what a like may not change: the same in all events of a task, kind and errno
		e := &events[i]
		e.State, e.LAddr = uint8(e.TID+uint32(e.Kind)), events[0].LAddr
	}
	plain := write(t, events, 700)
	var out bytes.Buffer
	w, err := NewWriter(&out, testHeader(), WriterOptions{FrameEvents: 700})
	if err != nil {
		t.Fatal(err)
	}
	type task struct {
		tid   uint32
		kind  Kind
		errno int32
	}
	last, likes := map[task]Row{}, 0
	for i := range events {
		want := events[i]
		k := task{want.TID, want.Kind, want.Errno()}
		if !w.Has(last[k]) || k.tid == 0 || r.IntN(5) == 0 {
			if err := w.Event(&want); err != nil {
				t.Fatal(err)
			}
		} else {
			e, err := w.Like(last[k])
			if err != nil {
				t.Fatal(err)
			}
			likes++
			e.BootNS, e.CPU, e.CPUSeq, e.Ret, e.Backlog = want.BootNS, want.CPU, want.CPUSeq, want.Ret, want.Backlog
			e.Inode, e.Cookie, e.RAddr, e.RPort = want.Inode, want.Cookie, want.RAddr, want.RPort
			if *e != want {
				t.Fatalf("event %d: %+v, want %+v", i, *e, want)
			}
			if err := w.Filled(); err != nil {
				t.Fatal(err)
			}
		}
		if last[k] = w.Last(); r.IntN(400) == 0 {
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(End{Reason: "signal", Clean: true}); err != nil {
		t.Fatal(err)
	}
	got, _, _, _ := read(out.Bytes(), ReaderOptions{})
	want, _, _, _ := read(plain, ReaderOptions{})
	if len(got) != len(events) || len(want) != len(events) || likes < len(events)/3 {
		t.Fatalf("%d and %d of %d events, %d likes", len(got), len(want), len(events), likes)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("event %d: %+v, want %+v", i, got[i], want[i])
		}
	}
}
