//go:build linux && (amd64 || arm64)

package capture

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/acc-project/acc/bpf"
	"github.com/acc-project/acc/format"
)

// A shaker makes records that differ from the ones before in a few leaves, of random bytes.
type shaker[T any] struct {
	rnd    *rand.Rand
	base   func(task int) T // what a task's records begin with
	valid  func(rnd *rand.Rand, raw *T)
	leaves []leaf
	last   [9]T
	steps  [9]int
}

func (s *shaker[T]) next() T {
	task := s.rnd.IntN(len(s.last))
	if s.steps[task]%25 == 0 {
		s.last[task] = s.base(task)
	}
	s.steps[task]++
	raw := s.last[task]
	for range s.rnd.IntN(4) {
		l := s.leaves[s.rnd.IntN(len(s.leaves))]
		for i := l.at; i < l.at+l.size; i++ {
			x := s.rnd.Uint32()
			bytesOf(&raw)[i] = byte(x) & byte(x>>8) // small numbers, too
		}
	}
	s.valid(s.rnd, &raw)
	if s.rnd.IntN(3) > 0 {
		s.last[task] = raw
	}
	return raw
}

// Whatever bytes a record of an attempt has, the capture holds the event that conversion gives.
func TestTakeRandomAccepts(t *testing.T) {
	hooks := []format.Hook{format.HookSysAccept4, format.HookDoAccept, format.HookIOAccept, format.HookSysExit}
	takeRandom(t, func(seed uint64) *shaker[bpf.AccEvent] {
		return &shaker[bpf.AccEvent]{
			rnd: rand.New(rand.NewPCG(seed, 1)), leaves: leavesOf(reflect.TypeFor[bpf.AccEvent]()),
			base: func(task int) bpf.AccEvent {
				raw := ringRecords(2)[task%2]
				raw.Tid, raw.Pid = uint32(task/2+1<<30), 1<<30
				if task == 8 {
					raw.Facts.Family = uint16(format.FamilyUnix)
				}
				return raw
			},
			valid: func(rnd *rand.Rand, raw *bpf.AccEvent) {
				if raw.Kind != uint8(format.Enter) && raw.Kind != uint8(format.Return) && raw.Kind != uint8(format.Listen) && raw.Kind != uint8(format.Stop) {
					raw.Kind = uint8(format.Return)
				}
				if raw.Hook == 0 || raw.Hook >= format.NumHooks || probeOf(format.Hook(raw.Hook), format.Kind(raw.Kind)) >= numProbes {
					raw.Hook = uint8(hooks[rnd.IntN(len(hooks))])
				}
				if raw.Ret == math.MinInt32 { // no errno
					raw.Ret++
				}
				raw.Cpu %= 8
			},
		}
	}, func(s *session, e *format.Event, raw *bpf.AccEvent) error {
		convert(e, raw, &s.names)
		if e.Family == format.FamilyUnix {
			e.LName = s.unixName(raw, bytesOf(raw))
		}
		var err error
		e.Proc, err = s.processes.number(raw)
		return err
	})
}

// The same of calls that did not wait: the capture holds the events that conversion gives of both of their ends.
func TestTakeRandomCalls(t *testing.T) {
	seed, n := rand.Uint64(), 15_000
	if testing.Short() {
		n = 5_000
	}
	t.Log("seed ", seed)
	taken, told := newTake(t), newTake(t)
	makes := &shaker[bpf.AccCall]{
		rnd: rand.New(rand.NewPCG(seed, 3)), leaves: leavesOf(reflect.TypeFor[bpf.AccCall]()),
		base: func(task int) (c bpf.AccCall) {
			both := ringRecords(2)
			c.Event, c.Entry.BootNs, c.Entry.CpuSeq, c.Entry.HasAddr = both[1], both[0].BootNs, both[0].CpuSeq, 1
			c.Event.Tid, c.Event.Pid = uint32(task+1<<30), 1<<30
			return c
		},
		valid: func(_ *rand.Rand, c *bpf.AccCall) {
			c.Event.Kind, c.Event.Hook = uint8(format.Return), uint8(format.HookSysAccept4)
			if c.Event.Ret == math.MinInt32 {
				c.Event.Ret++
			}
			c.Event.Cpu %= 8
			c.Entry.Cpu %= 8
			c.Entry.Base = 0
		},
	}
	var bases basesOf
	for range n {
		c := makes.next()
		in, f := &c.Entry, c.Event.Facts
		enter := c.Event
		enter.BootNs, enter.CpuSeq, enter.Cpu, enter.Ret, enter.Kind = in.BootNs, in.CpuSeq, in.Cpu, 0,
			uint8(format.Enter)
		enter.Mark, enter.HasAddr, enter.HasAddrlen, enter.Told.AddrlenOut = in.Mark, in.HasAddr, in.HasAddrlen, 0
		enter.Facts.Backlog, enter.Facts.BacklogMax, enter.Facts.State, enter.Facts.Lport,
			enter.Facts.Laddr = in.Backlog, in.BacklogMax, in.State, in.Lport, in.Laddr
		for _, raw := range []*bpf.AccEvent{&enter, &c.Event} {
			var e format.Event
			convert(&e, raw, &told.names)
			if e.Family == format.FamilyUnix {
				e.LName = told.unixName(raw, bytesOf(raw))
			}
			var err error
			if e.Proc, err = told.processes.number(raw); err != nil {
				t.Fatal(err)
			}
			if e.Kind == format.Enter { // of the new socket, which an entry does not know of
				e.Inode, e.RAddr, e.RPort = 0, netip.Addr{}, 0
			}
			if err := told.writer.Event(&e); err != nil {
				t.Fatal(err)
			}
		}
		if enter.Facts.Listener != f.Listener || enter.Facts.Netns != f.Netns {
			t.Fatal("an entry has another listener")
		}
		if err := taken.take(bases.record(makes.rnd, c), false); err != nil {
			t.Fatal(err)
		}
	}
	if bases.repeats < n/20 {
		t.Errorf("%d of %d calls were repeats", bases.repeats, n)
	}
	got, want := taken.events(t), told.events(t)
	if len(got) != 2*n || len(want) != 2*n {
		t.Fatalf("%d and %d of %d events", len(got), len(want), 2*n)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("event %d: %+v, want %+v", i, got[i], want[i])
		}
	}
	if !bytes.Equal(taken.content(t), told.content(t)) {
		t.Error("the blocks are not those of events that are recorded one by one")
	}
}

// basesOf are calls as the programs know them: a call that is like one of them is a repeat.
type basesOf struct {
	calls   map[bool]map[uint32]bpf.AccCall
	numbers map[uint32]uint32 // the last one of each thread's place
	repeats int
}

// record is the ring's record of a call.
func (b *basesOf) record(rnd *rand.Rand, c bpf.AccCall) []byte {
	e, in := &c.Event, &c.Entry
	if e.Mark != 0 || in.Mark != 0 || !inet(e) {
		return bytesOf(&c)
	}
	key := e.Ret < 0
	steady := func(c bpf.AccCall) bpf.AccCall {
		e, in := &c.Event, &c.Entry
		e.BootNs, e.CpuSeq, e.Cpu, e.Facts.Backlog = 0, 0, 0, 0
		f := &e.Facts
		f.Inode, f.Cookie, f.Raddr, f.Rport = 0, 0, [16]uint8{}, 0
		if e.Ret >= 0 {
			e.Ret = 0
		}
		in.BootNs, in.CpuSeq, in.Cpu, in.Backlog, in.Base = 0, 0, 0, 0, 0
		return c
	}
	if base, ok := b.calls[key][e.Tid%numPlaces]; ok && steady(base) == steady(c) {
		b.repeats++
		r := bpf.AccSameCall{EnterNs: in.BootNs, EnterSeq: in.CpuSeq, BootNs: e.BootNs, CpuSeq: e.CpuSeq, Inode: e.Facts.Inode,
			Cookie: e.Facts.Cookie, Raddr: e.Facts.Raddr, EnterBacklog: in.Backlog, Backlog: e.Facts.Backlog, EnterCpu: in.Cpu,
			Cpu: e.Cpu, Tid: e.Tid, Base: base.Entry.Base, Ret: e.Ret, Rport: e.Facts.Rport, Unused: uint16(rnd.Uint32())}
		if e.Ret < 0 { // an earlier connection's
			r.Inode, r.Cookie = rnd.Uint64(), rnd.Uint64()*rnd.Uint64N(2)
			r.Raddr[rnd.IntN(16)], r.Rport = byte(rnd.Uint32()), uint16(rnd.Uint32())
		}
		return bytesOf(&r)
	}
	if b.calls == nil {
		b.calls, b.numbers = map[bool]map[uint32]bpf.AccCall{}, map[uint32]uint32{}
	}
	b.numbers[e.Tid%numPlaces]++
	in.Base = b.numbers[e.Tid%numPlaces]
	if b.calls[key] == nil {
		b.calls[key] = map[uint32]bpf.AccCall{}
	}
	b.calls[key][e.Tid%numPlaces] = c
	return bytesOf(&c)
}

// The same of the life of connections.
func TestTakeRandomLives(t *testing.T) {
	takeRandom(t, func(seed uint64) *shaker[bpf.AccLifeEvent] {
		return &shaker[bpf.AccLifeEvent]{
			rnd: rand.New(rand.NewPCG(seed, 2)), leaves: leavesOf(reflect.TypeFor[bpf.AccLifeEvent]()),
			base: func(task int) bpf.AccLifeEvent {
				return bpf.AccLifeEvent{
					BootNs: 1, CpuSeq: 1, Family: uint16(format.FamilyIPv4), Type: 1, Proto: 6, Lport: uint16(80 + task), Kind: uint8(3 + task%4),
					Hook: uint8(format.HookSetState), State: 7, OldState: 9,
				}
			},
			valid: func(rnd *rand.Rand, raw *bpf.AccLifeEvent) {
				if raw.Kind < uint8(format.Queued) || raw.Kind > uint8(format.State) {
					raw.Kind = uint8(format.Queued) + uint8(rnd.IntN(2))
				}
				if raw.Hook < uint8(format.HookHashdance) || raw.Hook >= format.NumHooks {
					raw.Hook = uint8(format.HookHashdance) + uint8(rnd.IntN(6))
				}
				raw.Cpu %= 8
			},
		}
	}, func(_ *session, e *format.Event, raw *bpf.AccLifeEvent) error {
		convertLife(e, raw)
		return nil
	})
}

// takeRandom holds what a session writes of random records against the events that they convert to, each
// written as one that is like none before.
func takeRandom[T any](t *testing.T, shake func(seed uint64) *shaker[T], convert func(s *session, e *format.Event, raw *T) error) {
	seed, n := rand.Uint64(), 30_000
	if testing.Short() {
		n = 10_000
	}
	t.Log("seed ", seed)
	taken, told := newTake(t), newTake(t)
	makes := shake(seed)
	for range n {
		raw := makes.next()
		var e format.Event
		err := convert(told.session, &e, &raw)
		if err := cmp.Or(err, told.writer.Event(&e), taken.take(bytesOf(&raw), false)); err != nil {
			t.Fatal(err)
		}
	}
	got, want := taken.events(t), told.events(t)
	if len(got) != n || len(want) != n {
		t.Fatalf("%d and %d of %d events", len(got), len(want), n)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("event %d: %+v, want %+v", i, got[i], want[i])
		}
	}
	if !bytes.Equal(taken.content(t), told.content(t)) {
		t.Error("the blocks are not those of events that are recorded one by one")
	}
}

// A take is a session without probes, that writes to memory.
type take struct {
	*session
	out    bytes.Buffer
	header int64 // its bytes
}

func newTake(t *testing.T) *take {
	t.Helper()
	tk := &take{session: &session{o: &Options{}, a: &attached{}, watcher: &watcher{}}}
	var err error
	if tk.writer, err = format.NewWriter(&tk.out, format.Header{}, format.WriterOptions{FrameEvents: 500}); err != nil {
		t.Fatal(err)
	}
	tk.header = tk.writer.Bytes()
	tk.processes.write = tk.writer.Process
	return tk
}

// events ends the capture and reads it.
func (tk *take) events(t *testing.T) (events []format.Event) {
	t.Helper()
	if err := tk.writer.Close(format.End{}); err != nil {
		t.Fatal(err)
	}
	r, err := format.NewReader(bytes.NewReader(tk.out.Bytes()), format.ReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			return events
		}
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, b.Events...)
	}
}

// content is what the capture's frames behind the header hold; maps in that are in no order.
func (tk *take) content(t *testing.T) []byte {
	t.Helper()
	z, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	header, err := z.DecodeAll(tk.out.Bytes()[:tk.header], nil)
	all, allErr := z.DecodeAll(tk.out.Bytes(), nil)
	if err := errors.Join(err, allErr); err != nil {
		t.Fatal(err)
	}
	return all[len(header):]
}

// An event that repeats what its task did has nothing of what another task did meanwhile: the name of a
// vsock peer went over to the next TCP connection.
func TestTakeAfterAnotherFamily(t *testing.T) {
	tk := newTake(t)
	tcp, other := ringRecords(2)[1], ringRecords(2)[1]
	other.Tid++
	other.Facts.Family = uint16(format.FamilyVSock)
	tcpAgain := tcp
	tcpAgain.CpuSeq++
	for _, raw := range []bpf.AccEvent{tcp, other, tcpAgain} {
		if err := tk.take(bytesOf(&raw), false); err != nil {
			t.Fatal(err)
		}
	}
	if got := tk.events(t); len(got) != 3 || got[1].RName == "" || got[2].RName != "" {
		t.Errorf("%+v", got)
	}
}

// A thread that begins to listen on a socket again makes no damaged capture.
func TestTakeListensAgain(t *testing.T) {
	tk := newTake(t)
	raw := ringRecords(2)[0]
	raw.Kind, raw.Hook = uint8(format.Listen), uint8(format.HookListenStart)
	for range 3 {
		raw.CpuSeq++
		if err := tk.take(bytesOf(&raw), false); err != nil {
			t.Fatal(err)
		}
	}
	if got := tk.events(t); len(got) != 3 || got[2].CPUSeq != raw.CpuSeq {
		t.Errorf("%+v", got)
	}
}
