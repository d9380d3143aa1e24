package format

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"
)

// sample makes n events like those of a busy server with four workers, and some
// of every odd kind.
func sample(n int, seed uint64) []Event {
	r := rand.New(rand.NewPCG(seed, 1))
	events := make([]Event, n)
	now := int64(5_000_000_000_000)
	var hits [4][3]uint64
	var open [4]bool
	for i := range events {
		w := r.IntN(4)
		now += int64(r.ExpFloat64() * 20_000)
		e := Event{
			Seq: uint64(i + 1), BootNS: now - int64(r.IntN(50)), Kind: Enter, Hook: HookSysAccept4, Via: ViaAccept4, CPU: uint32(w),
			PID: uint32(1000 + w), TID: uint32(1000 + w), UID: 33, Comm: "nginx", Proc: uint32(w + 1), Cgroup: 1 << 40, NetNS: 4026531840,
			SockFD: 6, Flags: 0x800, HasAddr: true, HasAddrLen: true, Listener: 31337, Backlog: uint32(r.IntN(5)), BacklogMax: 511,
			Family: FamilyIPv4, Type: 1, Proto: 6, State: 10, LAddr: netip.MustParseAddr("0.0.0.0"), LPort: 80,
		}
		k := 0
		if open[w] {
			k = 1
			e.Kind, e.HasAddr, e.HasAddrLen = Return, false, false
			if r.IntN(3) == 0 {
				e.Ret = -11
			} else {
				e.Ret, e.State, e.LAddr = int32(7+r.IntN(20)), 1, netip.MustParseAddr("10.0.0.7")
				e.RAddr, e.RPort = netip.AddrFrom4([4]byte{10, 0, byte(r.IntN(2)), byte(r.IntN(9))}), uint16(r.Uint32())
				e.Inode, e.Cookie = uint64(40_000+i), uint64(r.IntN(2)*i)
			}
		}
		open[w] = !open[w]
		if e.Kind == Enter && r.IntN(4) == 0 { // instead, something of the life of a connection
			open[w] = !open[w]
			k = 2
			e = Event{
				Seq: e.Seq, BootNS: e.BootNS, Kind: Queued + Kind(r.IntN(2)), Hook: HookHashdance, CPU: e.CPU, NetNS: e.NetNS, Listener: e.Listener,
				Family: FamilyIPv4, Type: 1, Proto: 6, State: 3, LAddr: netip.MustParseAddr("10.0.0.7"), LPort: 80, RAddr: netip.AddrFrom4([4]byte{10, 0, 1, byte(r.IntN(9))}),
				RPort: uint16(r.Uint32()), Cookie: uint64(i), Backlog: uint32(r.IntN(5)), BacklogMax: 511,
			}
			if e.Kind == Queued {
				e.HandshakeUS, e.SynQueue = uint32(r.IntN(1000)), 1
			} else {
				e.Hook, e.OldState, e.State, e.BytesIn, e.BytesOut, e.SRTTUS = HookSetState, 9, 7, uint64(r.IntN(5000)), uint64(r.IntN(50000)), uint32(r.IntN(900))
			}
		}
		hits[w][k]++
		e.CPUSeq = hits[w][k]
		events[i] = e
	}
	return events
}

// odd are events at the ends of every field's range.
func odd() []Event {
	return []Event{
		{Kind: Enter},
		{Kind: Return, Ret: -2147483647, Comm: "\x00\xff\x1b[31m", LAddr: netip.MustParseAddr("::ffff:1.2.3.4")},
		{Kind: Return, Hook: 255, Via: 255, Mark: 65535, Uring: 255, UserData: 1<<64 - 1, LName: "/run/\x1b[31m", RName: "2:1024", PeerPID: 1<<32 - 1, PeerUID: 1<<32 - 1, CPU: 1<<32 - 1, CPUSeq: 1<<64 - 1, BootNS: -1 << 63, PID: 1<<32 - 1, TID: 1<<32 - 1,
			UID: 1<<32 - 1, Proc: 1<<32 - 1, Cgroup: 1<<64 - 1, NetNS: 1<<32 - 1, TaskNetNS: 1<<32 - 1, UringEnd: 255, SockFD: -1 << 31, Flags: 1<<32 - 1, Ret: 1<<31 - 1,
			Listener: 1<<64 - 1, Backlog: 1<<32 - 1, BacklogMax: 1<<32 - 1, Family: 65535, Type: 255, Proto: 65535, State: 255,
			LAddr: netip.MustParseAddr("fe80::1"), LPort: 65535, RAddr: netip.MustParseAddr("::"), RPort: 65535, Inode: 1<<64 - 1, Cookie: 1 << 63},
		{Kind: Enter, BootNS: 1<<63 - 1, HasAddr: true, AddrLenIn: -1 << 31},
		{Kind: Return, AddrLenOut: 1<<31 - 1, ToldFamily: 65535, ToldAddr: netip.MustParseAddr("2001:db8::1"), ToldPort: 65535},
		{Kind: Queued, Hook: HookHashdance, Mark: MarkSynCookie, LPort: 1, Cookie: 7, SynQueue: 1<<32 - 1, HandshakeUS: 1<<32 - 1, RAddr: netip.MustParseAddr("192.0.2.1"), RPort: 9},
		{Kind: Closed, LPort: 1, Cookie: 7, OldState: 255, SockErr: 65535, Shutdown: 255, BytesIn: 1<<64 - 1, BytesOut: 1<<64 - 1, SegsIn: 1<<32 - 1,
			SegsOut: 1<<32 - 1, Retransmits: 1<<32 - 1, SRTTUS: 1<<32 - 1, MinRTTUS: 1<<32 - 1, RAddr: netip.MustParseAddr("192.0.2.1"), RPort: 9, Inode: 4},
		{Kind: Drop, Hook: HookConnRequest, Mark: MarkSynQueue, LPort: 1, SynQueue: 3},
		{Kind: State, LPort: 2, Cookie: 1<<64 - 1, OldState: 1, State: 8},
		{Kind: Listen, TID: 4, PID: 3, Comm: "x", LPort: 3, Listener: 9, BacklogMax: 7},
	}
}

func testHeader() Header {
	return Header{ID: "3b1f0a52-6f0e-4f7a-9d55-0123456789ab", Tool: "acc test", Host: "h", Kernel: "6.1.0", Compat: []string{"x"},
		Clock:  Clock{BootNS: 1, MonoNS: 2, RealNS: 1_700_000_000_000_000_000, ErrNS: 3},
		Probes: []Probe{{Hook: HookDoAccept, Kind: Return, How: "fexit"}}, Mode: "fentry", CPUs: 4}
}

// write makes a capture of events with the given frame size.
func write(t testing.TB, events []Event, frameEvents int) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, testHeader(), WriterOptions{FrameEvents: frameEvents})
	if err != nil {
		t.Fatal(err)
	}
	for n := range uint32(4) {
		if err := w.Process(Process{Num: n + 1, PID: 1000 + n, Comm: "nginx", Exe: "/usr/sbin/nginx"}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range events {
		if err := w.Event(&events[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Loss(Loss{CPU: 1, Hook: HookSysAccept4, Kind: Return, Count: 7, FromNS: 1, ToNS: 2}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(End{Reason: "signal", Clean: true, Totals: []ProbeTotal{{Hook: HookSysAccept4, Kind: Enter, Seen: 1}}}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// read gives all events of a capture, its END, and how reading ended.
func read(data []byte, o ReaderOptions) (events []Event, end *End, r *Reader, err error) {
	r, err = NewReader(bytes.NewReader(data), o)
	if err != nil {
		return nil, nil, nil, err
	}
	for {
		b, err := r.Next()
		if err != nil {
			return events, end, r, err
		}
		events = append(events, b.Events...)
		if b.End != nil {
			e := *b.End
			end = &e
		}
	}
}

func TestRoundTrip(t *testing.T) {
	for _, events := range [][]Event{nil, odd(), sample(1, 1), sample(5000, 2)} {
		for _, size := range []int{1, 3, 1000, 1 << 16} {
			data := write(t, events, size)
			got, end, r, err := read(data, ReaderOptions{})
			if !errors.Is(err, io.EOF) {
				t.Fatalf("%d events, frames of %d: read: %v", len(events), size, err)
			}
			if len(got) != len(events) {
				t.Fatalf("%d events, frames of %d: got %d", len(events), size, len(got))
			}
			for i := range got {
				if got[i] != events[i] {
					t.Fatalf("event %d:\n got %+v\nwant %+v", i, got[i], events[i])
				}
			}
			if end == nil || end.Events != uint64(len(events)) || !end.Clean {
				t.Errorf("end is %+v", end)
			}
			want := testHeader()
			want.Format, want.Fields = Version, specs()
			if !reflect.DeepEqual(*r.Header(), want) {
				t.Errorf("header is\n%+v, want\n%+v", *r.Header(), want)
			}
		}
	}
}

// Every member of Event but Seq is in the table, with its place and size, and no
// two fields share a place: an event whose every byte differs comes back.
func TestTableCoversEvent(t *testing.T) {
	typ := reflect.TypeFor[Event]()
	at := map[uintptr]uintptr{}
	for _, f := range Fields {
		if f.size != 0 {
			at[f.at] = f.size
		}
	}
	for i := range typ.NumField() {
		m := typ.Field(i)
		if m.Name == "Seq" {
			continue
		}
		if at[m.Offset] != m.Type.Size() {
			t.Errorf("Event.%s: %d bytes at %d, the table says %d", m.Name, m.Type.Size(), m.Offset, at[m.Offset])
		}
		delete(at, m.Offset)
	}
	if len(at) > 0 {
		t.Errorf("fields at places that Event does not have: %v", at)
	}
}

// The index tells what scanning tells.
func TestIndex(t *testing.T) {
	data := write(t, sample(1000, 6), 64)
	index, err := ReadIndex(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewReader(bytes.NewReader(data), ReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for ; ; n++ {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		want := Frame{At: b.Offset, Events: uint32(len(b.Events)), FirstSeq: index[n].FirstSeq}
		if len(b.Events) > 0 {
			want.FirstSeq = b.Events[0].Seq
			early := func(a, b Event) int { return cmp.Compare(a.BootNS, b.BootNS) }
			want.MinNS, want.MaxNS = slices.MinFunc(b.Events, early).BootNS, slices.MaxFunc(b.Events, early).BootNS
		}
		if index[n] != want {
			t.Errorf("frame %d: index says %+v, reading %+v", n, index[n], want)
		}
	}
	if n != len(index) {
		t.Errorf("%d frames, index has %d", n, len(index))
	}
	if _, err := ReadIndex(bytes.NewReader(data), int64(len(data)-1)); !errors.Is(err, ErrNoIndex) {
		t.Errorf("index of a cut file: %v", err)
	}
}
