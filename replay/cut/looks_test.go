package cut

import (
	"bytes"
	"testing"

	"github.com/acc-project/acc/format"
)

// A stack that stands before the part, and that a row of the part refers to, is in it, with its image, once.
func TestStackBefore(t *testing.T) {
	var out bytes.Buffer
	w, err := format.NewWriter(&out, format.Header{}, format.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{out: w, looks: newLooks(), note: &format.Cut{FromNS: 100, UntilNS: 200}}
	row := func(n uint32, from int64) format.Doing {
		return format.Doing{Watch: 1, Row: n, TID: 5, FromNS: from, ToNS: from + 9, State: format.DoingAsleep, Stack: 1}
	}
	for _, b := range []*format.Batch{
		{Images: []format.Image{{Num: 1, Path: "/srv"}, {Num: 2, Path: "/other"}},
			Stacks: []format.Stack{{Num: 1, Frames: []format.StackFrame{{Image: 1, Offset: 7}}}, {Num: 2}},
			Doings: []format.Doing{row(1, 10)}},
		{Watches: []format.Watch{{Num: 1, FromNS: 100, ToNS: 150}}, Doings: []format.Doing{row(2, 110), row(3, 130)}},
	} {
		if err := c.watches(b); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(format.End{}); err != nil {
		t.Fatal(err)
	}
	r, err := format.NewReader(&out, format.ReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	images, stacks, rows := 0, 0, 0
	for {
		b, err := r.Next()
		if err != nil {
			break
		}
		for _, x := range b.Images {
			images += int(x.Num)
		}
		for _, x := range b.Stacks {
			stacks += int(x.Num)
		}
		rows += len(b.Doings)
	}
	if images != 1 || stacks != 1 || rows != 2 {
		t.Errorf("images %d, stacks %d, %d rows", images, stacks, rows)
	}
}
