package cut

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/acc-project/acc/format"
)

const began = int64(5_000_000_000_000)

// life is one connection of a made recording, and what happened when: the truth that cuts are held against.
type life struct {
	peer                                     netip.AddrPort
	cookie                                   uint64
	queued, accepted, closed                 int64 // boot clock; 0: not in the recording
	queuedSeq, enterSeq, acceptedSeq, endSeq uint64
}

var server = netip.MustParseAddrPort("10.0.0.7:443")

// recording makes one of random lives on one listener, whose clients are accepted by some threads.
func recording(t *testing.T, seed uint64, n int) (file []byte, lives []life, calls map[uint32][][2]int64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 7))
	now := began + int64(1e6)
	type moment struct {
		ns int64
		do func(e *format.Event)
		to *uint64
	}
	var all []moment
	free := make([]int64, 4) // when each thread calls accept again
	calls = map[uint32][][2]int64{}
	lives = make([]life, n)
	for i := range lives {
		c := &lives[i]
		now += int64(r.ExpFloat64() * 3e6)
		c.peer = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i % 200)}), uint16(20000+i))
		c.cookie = uint64(i + 1)
		c.queued = now
		who := r.IntN(len(free))
		enter := free[who]
		if enter == 0 {
			enter = began + int64(who+1)*1000
		}
		c.accepted = max(c.queued, enter) + 1000 + int64(r.ExpFloat64()*2e6)
		c.closed = c.accepted + 1000 + int64(r.ExpFloat64()*3e7)
		tid := uint32(100 + who)
		calls[tid] = append(calls[tid], [2]int64{enter, c.accepted})
		free[who] = c.accepted + 500 + int64(r.ExpFloat64()*4e6)
		task := func(e *format.Event, kind format.Kind) {
			*e = format.Event{Kind: kind, Hook: format.HookSysAccept4, Via: format.ViaAccept4, TID: tid, PID: 100, Comm: "server",
				Proc: uint32(1 + i%3), NetNS: 1, SockFD: 3, Listener: 77, Backlog: 0, BacklogMax: 128, Family: format.FamilyIPv4,
				Type: 1, Proto: format.ProtoTCP, State: format.StateListen, LAddr: server.Addr(), LPort: server.Port()}
		}
		conn := func(e *format.Event) {
			e.NetNS, e.Cookie, e.LAddr, e.LPort = 1, c.cookie, server.Addr(), server.Port()
			e.RAddr, e.RPort = c.peer.Addr(), c.peer.Port()
			e.Family, e.Type, e.Proto, e.BacklogMax = format.FamilyIPv4, 1, format.ProtoTCP, 128
		}
		all = append(all, moment{c.queued, func(e *format.Event) {
			conn(e)
			e.Kind, e.Hook, e.Listener, e.State = format.Queued, format.HookHashdance, 77, format.StateEstablished
			e.Cause = 1
		}, &c.queuedSeq},
			moment{enter, func(e *format.Event) { task(e, format.Enter) }, &c.enterSeq},
			moment{c.accepted, func(e *format.Event) {
				task(e, format.Return)
				conn(e)
				e.Ret, e.Inode, e.State = 9, uint64(1000+i), format.StateEstablished
			}, &c.acceptedSeq},
			moment{c.closed, func(e *format.Event) {
				conn(e)
				e.Kind, e.Hook, e.State, e.OldState = format.Closed, format.HookSetState, format.StateClosed, format.StateFinWait2
			}, &c.endSeq})
	}
	slices.SortStableFunc(all, func(a, b moment) int { return int(a.ns - b.ns) })
	var out bytes.Buffer
	h := format.Header{ID: "00000000-0000-4000-8000-000000000001", Host: "made", CPUs: 1, Mode: "fentry", StartNS: 1e18,
		Clock: format.Clock{BootNS: began, MonoNS: began, RealNS: 1e18}}
	for _, p := range [][2]uint8{{1, 1}, {1, 2}, {8, 3}, {10, 4}, {14, 7}, {19, 8}, {15, 4}} {
		h.Probes = append(h.Probes, format.Probe{Hook: format.Hook(p[0]), Kind: format.Kind(p[1]), How: "fentry"})
	}
	w, err := format.NewWriter(&out, h, format.WriterOptions{FrameEvents: 64})
	if err != nil {
		t.Fatal(err)
	}
	err = w.Snapshot(format.Snapshot{BootNS: began + 10, ListenersKnown: true, ConnectionsKnown: true, BlockedKnown: true,
		NetNS: []uint32{1}, Listeners: []format.ListenSocket{{NetNS: 1, Listener: 77, Family: format.FamilyIPv4,
			Proto: format.ProtoTCP, LAddr: server.Addr().String(), LPort: server.Port(), BacklogMax: 128}}})
	if err != nil {
		t.Fatal(err)
	}
	hits := map[probe]uint64{}
	for i, m := range all {
		if i%100 == 0 && i/100 < 3 {
			if err := w.Process(format.Process{Num: uint32(i/100 + 1), PID: 100, Comm: "server"}); err != nil {
				t.Fatal(err)
			}
		}
		var e format.Event
		m.do(&e)
		if e.Proc > uint32(i/100+1) {
			e.Proc = 1
		}
		e.BootNS = m.ns
		p := probe{e.Hook, e.Kind}
		hits[p]++
		if e.CPUSeq = hits[p]; i == len(all)/2 {
			if err := w.Mark(format.Mark{BootNS: m.ns, Text: "half"}); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Event(&e); err != nil {
			t.Fatal(err)
		}
		*m.to = e.Seq
	}
	last := all[len(all)-1].ns
	end := format.End{Reason: "signal", Clean: true, BlockedKnown: true,
		Clock: format.Clock{BootNS: last + 5e8, MonoNS: last + 5e8, RealNS: 1e18 + last + 5e8 - began}}
	for p, count := range hits {
		end.Totals = append(end.Totals, format.ProbeTotal{Hook: p.hook, Kind: p.kind, Seen: count, Recorded: count})
	}
	if err := w.Close(end); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), lives, calls
}

// inputOf makes an input of a file.
func inputOf(t *testing.T, file []byte, seek bool) *Input {
	t.Helper()
	s, err := Take(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	return &Input{Survey: s, Files: []format.CutFile{s.File}, Seek: seek, Open: func() (Source, error) {
		return format.NewReader(bytes.NewReader(file), format.ReaderOptions{Parts: true, Ahead: seek})
	}}
}

// all is what a capture has.
type all struct {
	header format.Header
	events []format.Event
	begin  *format.Snapshot
	final  *format.Snapshot
	procs  map[uint32]int // with the number of events before it
	marks  []format.Mark
	end    *format.End
}

func readAll(t *testing.T, file []byte) *all {
	t.Helper()
	r, err := format.NewReader(bytes.NewReader(file), format.ReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	x := &all{header: *r.Header(), procs: map[uint32]int{}}
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			return x
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range b.Processes {
			x.procs[p.Num] = len(x.events)
		}
		for i := range b.Snapshots {
			if s := b.Snapshots[i]; s.Final {
				x.final = &s
			} else {
				x.begin = &s
			}
		}
		x.marks = append(x.marks, b.Marks...)
		x.events = append(x.events, b.Events...)
		if b.End != nil {
			end := *b.End
			x.end = &end
		}
	}
}

// Of many windows of made recordings: a cut has exactly the events of its time, with their numbers, and lists as
// there what was there at that moment by the truth, not by the capture.
func TestCut(t *testing.T) {
	for seed := range uint64(4) {
		file, lives, calls := recording(t, seed, 300)
		whole := readAll(t, file)
		last := whole.events[len(whole.events)-1].BootNS
		r := rand.New(rand.NewPCG(seed, 1))
		for n := range 25 {
			from, until := began+r.Int64N(last-began), began+r.Int64N(last-began)
			from, until = min(from, until), max(from, until)
			switch n {
			case 0:
				from = math.MinInt64
			case 1:
				until = math.MaxInt64
			case 2: // at the moment of an event
				from = whole.events[len(whole.events)/3].BootNS
			case 3:
				from, until = math.MinInt64, math.MaxInt64
			}
			t.Run(fmt.Sprint(seed, from, until), func(t *testing.T) {
				var out bytes.Buffer
				in := inputOf(t, file, n%2 == 0)
				note, _, err := Write(&out, in, Options{Tool: "test", FromNS: from, UntilNS: until})
				if err != nil {
					t.Fatal(err)
				}
				part := readAll(t, out.Bytes())
				var want []format.Event
				for _, e := range whole.events {
					if e.BootNS >= from && e.BootNS <= until {
						want = append(want, e)
					}
				}
				if !slices.Equal(part.events, want) {
					t.Fatalf("%d events, want %d", len(part.events), len(want))
				}
				for i, e := range part.events {
					if at, ok := part.procs[e.Proc]; e.Proc != 0 && (!ok || at > i) {
						t.Fatalf("event %d is of process %d, which has no record before it", e.Seq, e.Proc)
					}
				}
				if note.Events != uint64(len(whole.events)) || note.Files[0].ID != whole.header.ID || part.end.Events != uint64(len(want)) {
					t.Errorf("the note is %+v, END %+v", note, part.end)
				}
				marks := 0
				for _, m := range whole.marks {
					if m.BootNS >= from && m.BootNS <= until {
						marks++
					}
				}
				if len(part.marks) != marks {
					t.Errorf("%d marks, want %d", len(part.marks), marks)
				}
				if note.Begin != (from <= began) || note.End != (until > last) {
					t.Errorf("begin %v, end %v of %d to %d", note.Begin, note.End, from, until)
				}
				if !note.Begin {
					check(t, part.begin, lives, calls, from-1)
				}
				if !note.End {
					check(t, part.final, lives, calls, until)
				}
				if from > began && part.header.Clock.Time(from) != whole.header.Clock.Time(from) {
					t.Error("times moved")
				}
			})
		}
	}
}

// check compares a list with what was there after all that happened up to a time.
func check(t *testing.T, s *format.Snapshot, lives []life, calls map[uint32][][2]int64, at int64) {
	t.Helper()
	if s == nil || !s.ConnectionsKnown || !s.ListenersKnown || !s.BlockedKnown {
		t.Fatalf("the list is %+v", s)
	}
	want, queue := map[uint64]uint64{}, uint32(0)
	for i, c := range lives {
		if c.queued <= at && at < c.closed {
			want[c.cookie] = 0
			if c.accepted <= at {
				want[c.cookie] = uint64(1000 + i)
			} else {
				queue++
			}
		}
	}
	for _, c := range s.Connections {
		if inode, ok := want[c.Cookie]; !ok || inode != c.Inode {
			t.Errorf("connection %d is there with inode %d, want %v %d", c.Cookie, c.Inode, ok, inode)
		}
		delete(want, c.Cookie)
	}
	if len(want) > 0 {
		t.Errorf("connections %v are missing", want)
	}
	sits := map[uint32]bool{}
	for tid, list := range calls {
		for _, c := range list {
			if c[0] <= at && at < c[1] {
				sits[tid] = true
			}
		}
	}
	for _, b := range s.Blocked {
		if !sits[b.TID] {
			t.Errorf("thread %d sits in accept, and should not", b.TID)
		}
		delete(sits, b.TID)
	}
	if len(sits) > 0 {
		t.Errorf("threads %v should sit in accept", sits)
	}
	if len(s.Listeners) != 1 || s.Listeners[0].Listener != 77 {
		t.Errorf("the listeners are %+v", s.Listeners)
	}
}

// A chooser's events alone are in a cut, and its connections on the lists.
type ports struct{ odd bool }

func (p ports) Event(e *format.Event) bool {
	return e.Kind != format.Enter && (e.RPort%2 == 1) == p.odd
}

func (p ports) Connection(c *format.Connection, _ uint64) bool { return (c.RPort%2 == 1) == p.odd }

func TestCutChosen(t *testing.T) {
	file, lives, _ := recording(t, 9, 200)
	whole := readAll(t, file)
	at := whole.events[len(whole.events)/2].BootNS
	var out bytes.Buffer
	if _, _, err := Write(&out, inputOf(t, file, true), Options{FromNS: at, UntilNS: math.MaxInt64, Chooser: ports{true}, Filter: "odd"}); err != nil {
		t.Fatal(err)
	}
	part := readAll(t, out.Bytes())
	want := 0
	for _, e := range whole.events {
		if e.BootNS >= at && (ports{true}).Event(&e) {
			want++
		}
	}
	open := 0
	for i, c := range lives {
		if c.queued < at && c.closed >= at && (20000+i)%2 == 1 {
			open++
		}
	}
	if len(part.events) != want || len(part.begin.Connections) != open || part.begin.ConnectionsKnown {
		t.Errorf("%d events, want %d; %d open, want %d; known %v", len(part.events), want, len(part.begin.Connections), open,
			part.begin.ConnectionsKnown)
	}
	if s := part.header.Selection; s == nil || !s.Cut || s.WholeListeners() || part.header.Cut().Filter != "odd" {
		t.Errorf("the selection is %+v", s)
	}
}

// A cut of a cut names both, and has the numbers of the recording. A time outside is refused, and so is a cut too many.
func TestCutAgain(t *testing.T) {
	file, _, _ := recording(t, 3, 100)
	whole := readAll(t, file)
	first := file
	for n := range format.MaxCuts + 1 {
		var out bytes.Buffer
		at := whole.events[10+n].BootNS
		_, _, err := Write(&out, inputOf(t, file, true), Options{FromNS: at, UntilNS: math.MaxInt64})
		if n == format.MaxCuts {
			if !errors.Is(err, ErrTooOften) || out.Len() > 0 {
				t.Errorf("cut %d: %v, %d bytes", n, err, out.Len())
			}
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		file = out.Bytes()
		part := readAll(t, file)
		if part.events[0].Seq != uint64(11+n) || len(part.header.Cuts) != n+1 {
			t.Fatalf("cut %d begins with event %d, and names %d", n, part.events[0].Seq, len(part.header.Cuts))
		}
	}
	for _, span := range [][2]int64{{0, began - 1}, {math.MaxInt64 - 1, math.MaxInt64}, {began + 9, began + 8}} {
		var out bytes.Buffer
		_, _, err := Write(&out, inputOf(t, first, true), Options{FromNS: span[0], UntilNS: span[1]})
		if !errors.Is(err, ErrOutside) || out.Len() > 0 {
			t.Errorf("%v: %v, %d bytes", span, err, out.Len())
		}
	}
}
