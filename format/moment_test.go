package format

import (
	"bytes"
	"errors"
	"io"
	"math"
	"testing"
	"time"
)

// Without a known clock no time has a date.
func TestUnknownClock(t *testing.T) {
	zone := time.FixedZone("", 3600)
	known := Clock{BootNS: 1e9, RealNS: 1_700_000_000e9}
	for _, c := range []struct {
		clock Clock
		ns    int64
		text  string
		json  string
	}{
		{Clock{}, 12_345_678_999, "boot+12.345678s", "null"},
		{Clock{BootNS: 5e9}, 0, "boot+0.000000s", "null"},
		{Clock{}, -1_500_000, "boot-0.001500s", "null"},
		{Clock{}, math.MinInt64, "boot-9223372036.854775s", "null"},
		{Clock{}, math.MaxInt64, "boot+9223372036.854775s", "null"},
		{known, 2e9, "23:13:21.000000000", `"2023-11-14T22:13:21.000000000Z"`},
	} {
		if got := string(c.clock.AppendMoment(nil, c.ns, zone, timeLayout)); got != c.text {
			t.Errorf("%d by %+v is %q, want %q", c.ns, c.clock, got, c.text)
		}
		if got := string(AppendTimeJSON(nil, c.ns, c.clock)); got != c.json {
			t.Errorf("%d by %+v is %s, want %s", c.ns, c.clock, got, c.json)
		}
	}
}

// A capture whose header is lost loses nothing else: neither what stands beside the
// events of its first frame nor these.
func TestLostHeader(t *testing.T) {
	var out bytes.Buffer
	w, err := NewWriter(&out, Header{ID: "x"}, WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	header := out.Len()
	if err := errors.Join(w.Process(Process{Num: 1, Comm: "a"}), w.Event(&Event{Kind: Enter, Proc: 1}), w.Close(End{Clean: true})); err != nil {
		t.Fatal(err)
	}
	for name, in := range map[string][]byte{"cut off": out.Bytes()[header:], "damaged": append(make([]byte, header), out.Bytes()[header:]...)} {
		r, err := NewReader(bytes.NewReader(in), ReaderOptions{Salvage: true})
		events, processes := 0, 0
		for err == nil {
			var b *Batch
			if b, err = r.Next(); err == nil {
				events, processes = events+len(b.Events), processes+len(b.Processes)
				if b.Header != nil {
					t.Errorf("%s: a frame gives a header that it does not hold: %+v", name, b.Header)
				}
			}
		}
		if !errors.Is(err, io.EOF) || events != 1 || processes != 1 {
			t.Errorf("%s: %d events, %d processes, %v", name, events, processes, err)
		}
	}
}
