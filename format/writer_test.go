package format

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"reflect"
	"testing"
	"time"
)

// batches gives copies of what a capture's batches hold, and its last error.
func batches(data []byte, o ReaderOptions) (list []Batch, err error) {
	r, err := NewReader(bytes.NewReader(data), o)
	if err != nil {
		return nil, err
	}
	for {
		b, err := r.Next()
		if err != nil {
			return list, err
		}
		c := *b
		c.Snapshots, c.Events = append([]Snapshot(nil), b.Snapshots...), append([]Event(nil), b.Events...)
		c.Processes, c.Gaps = append([]Process(nil), b.Processes...), append([]Gap(nil), b.Gaps...)
		if b.End != nil {
			e := *b.End
			c.End = &e
		}
		list = append(list, c)
	}
}

// Lists that are too long for one record come back whole, in their order; the
// list of END is cut and says so; many small records take several frames.
func TestLongLists(t *testing.T) {
	var out bytes.Buffer
	w, err := NewWriter(&out, testHeader(), WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s := Snapshot{BootNS: 5, ListenersKnown: true}
	for i := range 2*maxListeners + 1 {
		s.Listeners = append(s.Listeners, ListenSocket{Listener: uint64(i + 1)})
	}
	for i := range 3*maxConnections + 7 {
		s.Connections = append(s.Connections, Connection{Cookie: uint64(i + 1)})
	}
	for i := range maxBlocked + 3 {
		s.Blocked = append(s.Blocked, Blocked{TID: uint32(i + 1)})
	}
	if err := w.Snapshot(s); err != nil {
		t.Fatal(err)
	}
	const processes = 3*maxRecords + 5
	for i := range processes {
		if err := w.Process(Process{Num: uint32(i + 1)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(End{Clean: true, Blocked: s.Blocked, BlockedKnown: true}); err != nil {
		t.Fatal(err)
	}
	list, err := batches(out.Bytes(), ReaderOptions{})
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	var got Snapshot
	n := 0
	for _, b := range list {
		for _, p := range b.Snapshots {
			if p.BootNS != 5 || !p.ListenersKnown {
				t.Errorf("a part of the snapshot is %+v", p)
			}
			got.Listeners = append(got.Listeners, p.Listeners...)
			got.Connections = append(got.Connections, p.Connections...)
			got.Blocked = append(got.Blocked, p.Blocked...)
		}
		for _, p := range b.Processes {
			if n++; p.Num != uint32(n) {
				t.Fatalf("process %d comes after %d", p.Num, n-1)
			}
		}
		if e := b.End; e != nil && (len(e.Blocked) != maxBlocked || e.BlockedKnown) {
			t.Errorf("END has %d blocked, known: %v", len(e.Blocked), e.BlockedKnown)
		}
	}
	if !reflect.DeepEqual(got.Listeners, s.Listeners) || !reflect.DeepEqual(got.Connections, s.Connections) || !reflect.DeepEqual(got.Blocked, s.Blocked) {
		t.Errorf("%d listeners, %d connections, %d blocked come back", len(got.Listeners), len(got.Connections), len(got.Blocked))
	}
	if n != processes {
		t.Errorf("%d of %d processes come back", n, processes)
	}
}

// A Writer writes nothing where there is nothing, refuses what comes after Close,
// and tells where it is.
func TestWriterStates(t *testing.T) {
	for _, o := range []WriterOptions{{FrameEvents: -1}, {FrameEvents: maxEvents + 1}} {
		if _, err := NewWriter(io.Discard, testHeader(), o); err == nil {
			t.Errorf("%d events a frame are taken", o.FrameEvents)
		}
	}
	var out bytes.Buffer
	var points []Checkpoint
	w, err := NewWriter(&out, testHeader(), WriterOptions{FrameEvents: 2, Checkpoint: func(c Checkpoint) { points = append(points, c) }})
	if err != nil {
		t.Fatal(err)
	}
	at := w.Bytes()
	if err := errors.Join(w.Flush(), w.Flush()); err != nil || w.Bytes() != at || at != int64(out.Len()) || w.Pending() {
		t.Errorf("flushing nothing: %v, %d bytes after %d of %d", err, w.Bytes(), at, out.Len())
	}
	events := sample(3, 1)
	for i := range events {
		if err := w.Event(&events[i]); err != nil || events[i].Seq != uint64(i+1) {
			t.Fatalf("event %d: %v", events[i].Seq, err)
		}
		if w.Pending() != (i != 1) || w.Events() != uint64(i+1) {
			t.Errorf("after event %d: pending %v, %d events", i+1, w.Pending(), w.Events())
		}
	}
	if err := w.Close(End{Clean: true}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(End{}); err != nil || w.Bytes() != int64(out.Len()) {
		t.Errorf("closing again: %v", err)
	}
	if w.Event(&events[0]) == nil || w.Clock(Clock{}) == nil {
		t.Error("a closed capture is written to")
	}
	list, err := batches(out.Bytes(), ReaderOptions{})
	if !errors.Is(err, io.EOF) || len(list) != 4 || len(points) != 5 {
		t.Fatalf("%d batches, %d checkpoints, %v", len(list), len(points), err)
	}
	for i, b := range list {
		p := points[i]
		if p.Frame != b.Frame || p.Head != b.Chain || p.Bytes != b.Offset+b.Bytes || p.Closed || b.Frame != uint32(i) {
			t.Errorf("checkpoint %d is %+v, the frame %d ends at %d", i, p, b.Frame, b.Offset+b.Bytes)
		}
	}
	if got := []uint64{points[0].Events, points[1].Events, points[2].Events, points[4].Events}; !reflect.DeepEqual(got, []uint64{0, 2, 3, 3}) {
		t.Errorf("checkpoints say %d events", got)
	}
	if p := points[4]; !p.Closed || p.Bytes != int64(out.Len()) || p.Head != points[3].Head {
		t.Errorf("the last checkpoint is %+v", p)
	}
}

// A repaired capture holds frames as they were, gaps where they belong, and
// refuses what would make it lie.
func TestCopy(t *testing.T) {
	events := sample(48, 2)
	data := write(t, events, perFrame)
	list, _ := batches(data, ReaderOptions{})
	var out bytes.Buffer
	h := *list[0].Header
	h.Repaired = &Repaired{SHA256: "ab", Bytes: 7, Verdict: "corrupt", Places: 1, Notes: []string{"n"}}
	w, err := NewCopy(&out, h)
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewReader(bytes.NewReader(data), ReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	gap := Gap{Next: 2*perFrame + 1, Events: perFrame, Offset: 9, Bytes: 8, Reason: "r"}
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case b.Header != nil || b.End != nil:
			if w.Copy(b) == nil {
				t.Error("a header or an END is copied")
			}
		case b.FirstSeq == perFrame+1: // this one is missing
		case b.FirstSeq == 2*perFrame+1:
			if w.Copy(b) == nil {
				t.Error("a frame is copied behind a gap that is not said")
			}
			if err := w.Gap(gap); err != nil {
				t.Fatal(err)
			}
			if w.Gap(Gap{Next: 1}) == nil {
				t.Error("a gap goes backwards")
			}
			fallthrough
		default:
			if err := w.Copy(b); err != nil {
				t.Fatal(err)
			}
		}
	}
	if w.Event(&events[0]) == nil {
		t.Error("a copy takes an event")
	}
	if err := w.Close(End{Reason: "x"}); err != nil {
		t.Fatal(err)
	}
	got, end, _, err := read(out.Bytes(), ReaderOptions{})
	if !errors.Is(err, io.EOF) || len(got) != 2*perFrame || end.Events != 2*perFrame {
		t.Fatalf("%d events, %+v, %v", len(got), end, err)
	}
	for i := range got {
		at := i
		if i >= perFrame {
			at += perFrame
		}
		if got[i] != events[at] {
			t.Fatalf("event %d is not the one that was recorded", got[i].Seq)
		}
	}
	again, _ := batches(out.Bytes(), ReaderOptions{})
	gaps := 0
	for _, b := range again {
		for _, g := range b.Gaps {
			if gaps++; g != gap {
				t.Errorf("the gap is %+v", g)
			}
		}
	}
	if gaps != 1 || !reflect.DeepEqual(again[0].Header.Repaired, h.Repaired) {
		t.Errorf("%d gaps, repaired from %+v", gaps, again[0].Header.Repaired)
	}
	if w, err := NewWriter(io.Discard, h, WriterOptions{}); err != nil || w.Copy(&list[1]) == nil {
		t.Errorf("an ordinary capture takes a copy; %v", err)
	}
	// Cut, damaged and salvaged it behaves like any other.
	for cut := range out.Len() {
		if _, _, _, err := read(out.Bytes()[:cut], ReaderOptions{}); !errors.Is(err, ErrTruncated) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
}

var golden = flag.Bool("golden", false, "write testdata/text.golden")

// What a line of text says of events of every kind.
func TestText(t *testing.T) {
	addr := netip.MustParseAddr
	e := Event{CPU: 3, PID: 10, TID: 10, Comm: "web", Kind: Return, Via: ViaAccept4, SockFD: 6, Ret: 7, Family: FamilyIPv4, State: 1,
		LAddr: addr("192.0.2.1"), LPort: 80, RAddr: addr("198.51.100.9"), RPort: 4711, Listener: 5, Backlog: 2, BacklogMax: 128}
	list := append(odd(), sample(12, 3)...)
	for _, edit := range []func(e *Event){
		func(e *Event) {}, func(e *Event) { e.Kind = Enter }, func(e *Event) { e.TID = 11 }, func(e *Event) { e.State = 7 }, func(e *Event) { e.Ret = -24 },
		func(e *Event) { e.Ret, e.Mark = -14, MarkClientLost }, func(e *Event) { e.Mark = MarkNoFD }, func(e *Event) { e.Mark = MarkArmed },
		func(e *Event) { e.Via, e.UserData = ViaIOUring, 99 }, func(e *Event) { e.Via, e.Uring = ViaIOUring, UringDirect },
		func(e *Event) { e.Listener = 0 }, func(e *Event) { e.Family, e.LAddr, e.RAddr, e.LName = FamilyUnix, netip.Addr{}, netip.Addr{}, "@x" },
		func(e *Event) { e.LAddr, e.RAddr = netip.Addr{}, netip.Addr{} }, func(e *Event) { e.Kind, e.LAddr = Enter, netip.Addr{} },
		func(e *Event) { e.Kind = Listen }, func(e *Event) { e.Kind = Queued }, func(e *Event) { e.Kind = Drop }, func(e *Event) { e.Kind, e.OldState = State, 1 },
		func(e *Event) { e.Kind, e.BytesIn, e.BytesOut, e.State, e.OldState = Closed, 5, 6, 7, 8 }, func(e *Event) { e.LAddr, e.RAddr = addr("::1"), addr("::ffff:1.2.3.4") },
	} {
		x := e
		edit(&x)
		list = append(list, x)
	}
	var got []byte
	c, zone := Clock{BootNS: 1_000, RealNS: 1_700_000_000_000_001_000}, time.FixedZone("X", 3600)
	for i := range list {
		got = append(AppendText(got, &list[i], c, zone), '\n')
		got = fmt.Appendf(got, "\taccepted %v, failed %v, armed %v, errno %d, at %q, from %q, %v\n", list[i].Accepted(), list[i].Failed(), list[i].Armed(),
			list[i].Errno(), list[i].Bound(), list[i].Peer(), []netip.AddrPort{list[i].Local(), list[i].Remote()})
	}
	if *golden {
		if err := os.WriteFile("testdata/text.golden", got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/text.golden")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		g, w := bytes.Split(got, []byte("\n")), bytes.Split(want, []byte("\n"))
		for i := range min(len(g), len(w)) {
			if !bytes.Equal(g[i], w[i]) {
				t.Fatalf("line %d is\n%s\nwant\n%s", i+1, g[i], w[i])
			}
		}
		t.Errorf("%d lines, want %d", len(g), len(w))
	}
}
