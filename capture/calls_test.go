//go:build linux && (amd64 || arm64)

package capture

import (
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
		{"mark", unsafe.Offsetof(places[0].EnterMark), 2}, {"addr", unsafe.Offsetof(places[0].HasAddr), 1},
		{"addrlen", unsafe.Offsetof(places[0].HasAddrlen), 1},
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
