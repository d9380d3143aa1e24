//go:build linux && (amd64 || arm64)

package capture

import (
	"errors"
	"testing"
	"unsafe"

	"github.com/acc-project/acc/bpf"
	"github.com/acc-project/acc/format"
)

// placesOf are calls in flight as the programs note them.
func placesOf(n int) (c calls, places []bpf.AccAttempt) {
	places = make([]bpf.AccAttempt, n)
	c = calls{told: map[enterID]bool{}, mem: unsafe.Slice((*byte)(unsafe.Pointer(&places[0])), n*int(callSize))}
	for i := range places {
		a := &places[i]
		a.Turn, a.Deferred, a.EnterNs, a.EnterSeq = uint64(100+i)<<32|3, uint8(bpf.AccDeferralDEFERRED_ENTRY),
			uint64(1000+i), uint64(i+1)
		a.Who.Tid, a.Who.Comm[0], a.In.Listener, a.In.Family, a.AddrlenIn = uint32(100+i), 0x78, 7,
			uint16(format.FamilyIPv4), 16
	}
	return c, places
}

// The entry of a call that waits though there was a connection is written once, whether its record comes later or not.
func TestCallsThatWait(t *testing.T) {
	tk := newTake(t)
	var places []bpf.AccAttempt
	tk.calls, places = placesOf(5)
	places[1].Turn++                                        // has returned
	places[2].Deferred = uint8(bpf.AccDeferralNOT_DEFERRED) // is written by the programs
	places[4].EnterNs = 2000                                // is young
	more, err := tk.writeWaiting(1500)
	if err != nil || !more {
		t.Fatal(more, err)
	}
	if more, err = tk.writeWaiting(1500); err != nil || !more {
		t.Fatal(more, err)
	}
	// The first one returns, and both ends come in one record.
	c := bpf.AccCall{Event: ringRecords(2)[1]}
	c.Event.Tid, c.Entry.CpuSeq, c.Entry.BootNs = 100, places[0].EnterSeq, places[0].EnterNs
	if err := tk.take(bytesOf(&c), false); err != nil {
		t.Fatal(err)
	}
	places[0].Turn++
	if n := tk.calls.lostTold(); n != 0 {
		t.Errorf("%d lost, while one is in flight", n)
	}
	places[3].Turn++ // returns too, but its record does not come
	if n := tk.calls.lostTold(); n != 1 {
		t.Errorf("%d lost", n)
	}
	got := tk.events(t)
	if len(got) != 3 || got[0].TID != 100 || got[1].TID != 103 || got[2].TID != 100 || got[0].Kind != format.Enter ||
		got[1].Kind != format.Enter ||
		got[2].Kind != format.Return {
		t.Fatalf("%+v", got)
	}
	e := got[1]
	if e.CPUSeq != 4 || e.BootNS != 1003 || e.Comm != "x" || e.Listener != 7 || e.AddrLenIn != 16 ||
		e.Hook != format.HookSysAccept4 {
		t.Errorf("%+v", e)
	}
}

// Every part of a call in flight that an entry has comes into its event.
func TestEnterInFlight(t *testing.T) {
	_, places := placesOf(1)
	whole := enterInFlight(&places[0])
	for _, l := range []struct {
		name     string
		at, size uintptr
	}{
		{"who", unsafe.Offsetof(places[0].Who), unsafe.Sizeof(places[0].Who)},
		{"in", unsafe.Offsetof(places[0].In), unsafe.Sizeof(places[0].In)},
		{"time", unsafe.Offsetof(places[0].EnterNs), 8}, {"number", unsafe.Offsetof(places[0].EnterSeq), 8},
		{"cpu", unsafe.Offsetof(places[0].EnterCpu), 4},
		{"mark", unsafe.Offsetof(places[0].EnterMark), 2}, {"addr", unsafe.Offsetof(places[0].Addr), 8},
		{"addrlen", unsafe.Offsetof(places[0].Addrlen), 8},
		{"via", unsafe.Offsetof(places[0].Via), 1}, {"length", unsafe.Offsetof(places[0].AddrlenIn), 4},
		{"fd", unsafe.Offsetof(places[0].Sockfd), 4},
		{"flags", unsafe.Offsetof(places[0].Flags), 4},
	} {
		for i := l.at; i < l.at+l.size; i++ {
			b := bytesOf(&places[0])
			b[i] ^= 0x55
			if enterInFlight(&places[0]) == whole {
				t.Errorf("byte %d of %s does not come into the event", i-l.at, l.name)
			}
			b[i] ^= 0x55
		}
	}
}

// A repeat of a call that did not come is counted as lost, both of its events, and the recording goes on.
func TestRepeatOfNothing(t *testing.T) {
	tk := newTake(t)
	c := bpf.AccCall{Event: ringRecords(2)[1]}
	c.Event.Tid, c.Event.CpuSeq, c.Entry.CpuSeq, c.Entry.Base = 100, 1, 1, 7
	repeat := func(tid, base uint32, seq uint64) {
		t.Helper()
		r := bpf.AccSameCall{Tid: tid, Base: base, CpuSeq: seq, EnterSeq: seq, BootNs: 1000 + seq, EnterNs: 1000 + seq, Ret: 5,
			Cpu: c.Event.Cpu, EnterCpu: c.Event.Cpu}
		if err := tk.take(bytesOf(&r), false); err != nil {
			t.Fatal(err)
		}
	}
	c.Entry.Cpu = c.Event.Cpu
	if err := tk.take(bytesOf(&c), false); err != nil {
		t.Fatal(err)
	}
	repeat(100, 7, 2)
	repeat(100, 8, 3)
	repeat(101, 7, 4)
	repeat(100+numPlaces, 7, 5)
	repeat(100, 7, 6)
	for _, probe := range []int{probeEnter, probeReturn} {
		if n, refused := tk.ledger.recorded(probe), tk.ledger.refused[probe]; n != 3 || refused != 3 {
			t.Errorf("probe %d: %d recorded, %d lost", probe, n, refused)
		}
	}
	if got := tk.events(t); len(got) != 6 {
		t.Errorf("%d events", len(got))
	}
}

// A repeat that comes after a change of files has in the next one what its call had in the file before.
func TestRepeatInNextFile(t *testing.T) {
	tk := newTake(t)
	tk.processes.again = true // there are further files
	c := bpf.AccCall{Event: ringRecords(2)[1]}
	c.Event.Tid, c.Event.CpuSeq, c.Entry.CpuSeq, c.Entry.Base = 100, 1, 1, 7
	again := bpf.AccSameCall{Tid: 100, Base: 7, CpuSeq: 2, EnterSeq: 2, BootNs: 2002, EnterNs: 2001, Ret: 5, Cookie: 6}
	if err := errors.Join(tk.take(bytesOf(&c), false), tk.take(bytesOf(&again), false)); err != nil {
		t.Fatal(err)
	}
	first := tk.events(t)
	tk.out.Reset()
	var err error
	if tk.writer, err = format.NewWriter(&tk.out, format.Header{}, format.WriterOptions{}); err != nil {
		t.Fatal(err)
	}
	tk.repeats, tk.processes.write = repeats{}, tk.writer.Process // as changeFile does
	tk.calls.nextFile()
	tk.processes.nextFile()
	if err := tk.take(bytesOf(&again), false); err != nil {
		t.Fatal(err)
	}
	next := tk.events(t)
	if len(first) != 4 || len(next) != 2 || next[0].Kind != format.Enter || next[1].Ret != 5 || next[1].Cookie != 6 {
		t.Fatalf("%+v, then %+v", first, next)
	}
	for i := range next {
		if e := next[i]; e.Listener != first[2+i].Listener || e.Comm != first[2+i].Comm || e.BootNS != first[2+i].BootNS {
			t.Errorf("%+v, want %+v", e, first[2+i])
		}
	}
}
