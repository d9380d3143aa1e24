package format

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// Events of a cut have the numbers that they were given, in any frame and in parts; numbers that do not ascend are
// refused.
func TestCutNumbers(t *testing.T) {
	var file bytes.Buffer
	w, err := NewWriter(&file, Header{Cuts: []Cut{{Tool: "x"}}}, WriterOptions{FrameEvents: 300})
	if err != nil {
		t.Fatal(err)
	}
	var want []Event
	seq := uint64(1) << 40
	for i := range 1000 {
		if seq++; i%7 == 0 {
			seq += uint64(i)
		}
		e := Event{Seq: seq, Kind: Queued, Hook: HookHashdance, Cookie: uint64(i), BootNS: int64(i)}
		want = append(want, e)
		if err := w.Event(&e); err != nil {
			t.Fatal(err)
		}
	}
	for _, bad := range []uint64{0, seq, seq - 1, 1 << 63} {
		if err := w.Event(&Event{Seq: bad, Kind: Queued}); err == nil {
			t.Errorf("event %d was written behind event %d", bad, seq)
		}
	}
	if err := w.Close(End{}); err != nil {
		t.Fatal(err)
	}
	for _, o := range []ReaderOptions{{}, {Parts: true}, {Ahead: true}, {Salvage: true}, {Omit: []string{"cookie"}}} {
		got := eventsOf(t, file.Bytes(), o)
		for i := range got {
			if len(o.Omit) > 0 {
				got[i].Cookie = want[i].Cookie
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%+v: other events", o)
		}
	}
}

// A reader that does not know cuts refuses one, and so does this one if what makes it one is not all there.
func TestCutFeature(t *testing.T) {
	good := Header{Format: Version, Fields: append(specs(), seqField), Incompat: []string{FeatureCut}, Cuts: []Cut{{}}}
	for name, c := range map[string]struct {
		change func(h *Header)
		want   string
	}{
		"as it is":          {func(*Header) {}, ""},
		"no feature":        {func(h *Header) { h.Incompat = nil }, "not named"},
		"another feature":   {func(h *Header) { h.Incompat = []string{"x"} }, "x"},
		"two features":      {func(h *Header) { h.Incompat = append(h.Incompat, "x") }, "x"},
		"no cut":            {func(h *Header) { h.Cuts = nil }, "not named"},
		"no column":         {func(h *Header) { h.Fields = specs() }, "column"},
		"too many":          {func(h *Header) { h.Cuts = make([]Cut, MaxCuts+1) }, "more than"},
		"a column of more":  {func(h *Header) { h.Fields = append(slices.Clone(h.Fields), seqField) }, "seq"},
		"a column of texts": {func(h *Header) { h.Fields[len(h.Fields)-1].Type = String }, "seq"},
	} {
		h := good
		h.Fields = slices.Clone(good.Fields)
		c.change(&h)
		var file bytes.Buffer
		if _, err := NewCopy(&file, h); err != nil {
			t.Fatal(err)
		}
		_, err := NewReader(bytes.NewReader(file.Bytes()), ReaderOptions{})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
