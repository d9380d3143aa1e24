//go:build linux && (amd64 || arm64)

package capture

import (
	"io"
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/bpf"
	"github.com/acc-project/acc/format"
)

// BenchmarkTake measures the recorder's user side: records as the ring has them, of
// a server with four workers, until they are compressed.
func BenchmarkTake(b *testing.B) {
	records := ringRecords(1 << 16)
	s := &session{o: &Options{}, a: &attached{}, watcher: &watcher{}}
	var err error
	if s.writer, err = format.NewWriter(io.Discard, format.Header{}, format.WriterOptions{}); err != nil {
		b.Fatal(err)
	}
	s.processes.write = s.writer.Process
	b.ReportAllocs()
	b.ResetTimer()
	for n := range b.N {
		raw := &records[n%len(records)]
		if n >= len(records) { // the counters go on
			raw.CpuSeq += uint64(len(records)) / 8
		}
		if err := s.take(unsafe.Slice((*byte)(unsafe.Pointer(raw)), unsafe.Sizeof(*raw)), false); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(s.writer.Bytes())/float64(b.N), "bytes/event")
}

// cpuTime is for how long this process has run, whatever else runs on the machine.
func cpuTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkTakeCall is BenchmarkTake where each accept is one record: calls that do not wait.
func BenchmarkTakeCall(b *testing.B) {
	b.Run("workers", func(b *testing.B) { takeCalls(b, ringRecords(1<<16), false) })
	b.Run("one", func(b *testing.B) { takeCalls(b, costRecords(1<<16), false) })
}

// takeCalls takes the calls of which records has the entries and returns, with the lives of their connections or without.
func takeCalls(b *testing.B, records []bpf.AccEvent, lives bool) {
	calls := make([]bpf.AccCall, len(records)/2)
	for i := range calls {
		in, c := &records[2*i], &calls[i]
		c.Event = records[2*i+1]
		e := &c.Entry
		e.BootNs, e.CpuSeq, e.Cpu, e.Backlog, e.BacklogMax, e.State, e.Lport = in.BootNs, in.CpuSeq, in.Cpu,
			in.Facts.Backlog, in.Facts.BacklogMax, 10, 80
		e.HasAddr, e.HasAddrlen = 1, 1
		if !lives {
			c.Event.Facts.Cookie = 0 // what asks for it are the programs of lives
		}
	}
	var bases basesOf
	rnd := rand.New(rand.NewPCG(1, 1))
	repeats := make([][]byte, len(calls)) // all but the first one of each thread
	for i := range calls {
		repeats[i] = bases.record(rnd, calls[i])
	}
	s := &session{o: &Options{}, a: &attached{}, watcher: &watcher{}}
	var err error
	if s.writer, err = format.NewWriter(io.Discard, format.Header{}, format.WriterOptions{}); err != nil {
		b.Fatal(err)
	}
	s.processes.write = s.writer.Process
	later, numbers := calls[len(calls)-1].Event.BootNs-calls[0].Entry.BootNs+5_000, calls[len(calls)-1].Event.CpuSeq
	b.ReportAllocs()
	b.ResetTimer()
	began := cpuTime(b)
	for n := range b.N {
		record := repeats[n%len(calls)]
		r, ok := sameCallIn(record)
		if ok && n >= len(calls) { // time and what counts go on
			r.EnterNs, r.BootNs, r.CpuSeq, r.EnterSeq = r.EnterNs+later, r.BootNs+later, r.CpuSeq+numbers, r.EnterSeq+numbers
			if lives {
				r.Cookie += uint64(2 * len(calls))
			}
		}
		if !ok || !lives {
			if _, err := s.takeNext(record, 0); err != nil {
				b.Fatal(err)
			}
			continue
		}
		queued, closed := lifeAround(&calls[n%len(calls)].Event, r)
		for _, record := range [][]byte{bytesOf(&queued), record, bytesOf(&closed)} {
			if _, err := s.takeNext(record, 0); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "accepts/s")
	b.ReportMetric(float64(b.N)/(cpuTime(b)-began).Seconds(), "accepts/cpu-s")
	b.ReportMetric(float64(s.writer.Bytes())/float64(b.N), "bytes/accept")
}

// costRecords makes n records as those of the load of `make cost`: one thread that connects to itself.
func costRecords(n int) []bpf.AccEvent {
	records := ringRecords(n)
	rnd := rand.New(rand.NewPCG(2, 2))
	now := records[0].BootNs
	for i := range records {
		e := &records[i]
		*e = records[i%2]
		e.Ret, e.CpuSeq, e.Cpu = 0, uint64(i/2)+1, 0
		e.Facts.Backlog = 1
		if i%2 == 0 {
			now += 84_000 + rnd.Uint64N(1_500)
		} else {
			now += 6_500 + rnd.Uint64N(300)
			e.Ret, e.Facts.Backlog = 5, 0
			e.Facts.Inode, e.Facts.Cookie, e.Facts.Rport = uint64(40_000+i), uint64(i), uint16(32_768+i%28_000)
		}
		e.BootNs = now
	}
	return records
}

// BenchmarkTakeLife is BenchmarkTakeCall with the life of the connections that are accepted: a
// record of each is queued before, and one closed after.
func BenchmarkTakeLife(b *testing.B) {
	b.Run("workers", func(b *testing.B) { takeCalls(b, ringRecords(1<<16), true) })
	b.Run("one", func(b *testing.B) { takeCalls(b, costRecords(1<<16), true) })
}

// lifeAround gives the records of a call's connection: that it is queued, and that it is closed.
func lifeAround(c *bpf.AccEvent, r *bpf.AccSameCall) (queued, closed bpf.AccLifeEvent) {
	f := &c.Facts
	l := bpf.AccLifeEvent{BootNs: r.EnterNs - 900, CpuSeq: r.CpuSeq, Listener: f.Listener, Cookie: r.Cookie, Netns: c.Netns, Cpu: r.Cpu,
		Backlog: r.Backlog, BacklogMax: f.BacklogMax, HandshakeUs: uint32(30 + r.BootNs%64), Family: f.Family, Type: f.Type, Proto: f.Proto,
		Lport: f.Lport, Rport: r.Rport, Kind: uint8(format.Queued), Hook: uint8(format.HookHashdance), State: 3, Laddr: f.Laddr, Raddr: r.Raddr}
	queued = l
	l.BootNs, l.Backlog, l.BacklogMax, l.Listener, l.HandshakeUs = r.BootNs+700, 0, 0, 0, 0
	l.Kind, l.Hook, l.State, l.OldState, l.Shutdown = uint8(format.Closed), uint8(format.HookSetState), 7, 9, 3
	l.BytesIn, l.BytesOut, l.SegsIn, l.SegsOut = 40+r.BootNs%8, 850, 5, 4
	l.SrttUs, l.MinRttUs = uint32(20+r.BootNs%32), uint32(9+r.BootNs%8)
	return queued, l
}

// ringRecords makes n records, entry and return in turn, of four workers.
func ringRecords(n int) []bpf.AccEvent {
	records := make([]bpf.AccEvent, n)
	rnd := uint64(1)
	random := func(below uint64) uint64 {
		rnd = rnd*6364136223846793005 + 1442695040888963407
		return (rnd >> 33) % below
	}
	now := uint64(5_000_000_000_000)
	for i := range records {
		pair, worker := i/2, uint32(i/2%4)
		now += 2_000 + random(8_000)
		e := bpf.AccEvent{
			BootNs: now, CpuSeq: uint64(pair/4) + 1, Cgroup: 77, StartNs: 1_000_000 + uint64(worker), Pid: 1<<30 + worker, Tid: 1<<30 + worker,
			Uid: 33, Netns: 4026531840, Cpu: worker, Sockfd: 6, Flags: 0x800, Kind: uint8(format.Enter), Hook: uint8(format.HookSysAccept4),
			Via: uint8(format.ViaAccept4), HasAddr: 1, HasAddrlen: 1,
		}
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&e.Comm)), 16), "nginx")
		f := &e.Facts
		f.Listener, f.Family, f.Type, f.Proto, f.State, f.Lport = 31337, 2, 1, 6, 10, 80
		f.Backlog, f.BacklogMax = uint32(random(3)), 511
		if i%2 == 1 {
			now += 500 + random(1_000)
			e.BootNs, e.Kind, e.HasAddr, e.HasAddrlen, e.Ret = now, uint8(format.Return), 0, 0, int32(7+random(20))
			f.State, f.Inode, f.Rport, f.Cookie = 1, 40_000+uint64(pair), uint16(random(1<<16)), uint64(2*pair)
			copy(f.Laddr[:], []byte{10, 0, 0, 7})
			copy(f.Raddr[:], []byte{10, 1, byte(random(2)), byte(random(100))})
		}
		records[i] = e
	}
	return records
}

// When the disk is full, what the ring still holds is refused and not written where the end
// of the capture needs the room.
func TestFullDiskTakesNothing(t *testing.T) {
	s := &session{o: &Options{}, a: &attached{}, watcher: &watcher{}, full: &format.NoRoomError{}}
	var err error
	if s.writer, err = format.NewWriter(io.Discard, format.Header{}, format.WriterOptions{}); err != nil {
		t.Fatal(err)
	}
	accept := ringRecords(1)[0]
	life := bpf.AccLifeEvent{BootNs: 1, CpuSeq: 1, Kind: uint8(format.Queued), Hook: uint8(format.HookHashdance)}
	for _, record := range [][]byte{
		unsafe.Slice((*byte)(unsafe.Pointer(&accept)), unsafe.Sizeof(accept)), unsafe.Slice((*byte)(unsafe.Pointer(&life)), unsafe.Sizeof(life)),
	} {
		if err := s.take(record, false); err != nil {
			t.Fatal(err)
		}
	}
	if s.writer.Events() != 0 || s.ledger.refused[probeEnter] != 1 || s.ledger.refused[probeHashdance] != 1 || s.ledger.lost != 2 {
		t.Errorf("%d events were written, %d entries and %d queued refused, %d lost", s.writer.Events(), s.ledger.refused[probeEnter],
			s.ledger.refused[probeHashdance], s.ledger.lost)
	}
}

// A byte of what mostly stays the same is another one: the event is not taken for one that repeats the last one.
func TestLifeAgainComparesAll(t *testing.T) {
	life := bpf.AccLifeEvent{Kind: uint8(format.Closed)}
	last := *lifeOf(&life)
	if !last.again(&life) {
		t.Fatal("a record does not repeat itself")
	}
	for at := lifeFrom; at < unsafe.Sizeof(life); at++ {
		for bit := range 8 {
			other := life
			if bytesOf(&other)[at] ^= 1 << bit; last.again(&other) {
				t.Errorf("bit %d of byte %d differs, and the record counts as a repeat", bit, at)
			}
		}
	}
}
