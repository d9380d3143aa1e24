package format

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// Calls of threads that do nothing but accept for a while make the same bytes as events that are recorded one by one,
// whatever of them changes then, or comes between.
func TestSteadyCalls(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, frame := range []int{16_384, 777, 90} {
		var out, plain bytes.Buffer
		w, err := NewWriter(&out, testHeader(), WriterOptions{FrameEvents: frame})
		each, plainErr := NewWriter(&plain, testHeader(), WriterOptions{FrameEvents: frame})
		if err := errors.Join(err, plainErr); err != nil {
			t.Fatal(err)
		}
		steady := 0
		b := callsOf{t: t, w: w, each: each, bases: map[[2]int32]*[2]Row{}, rnd: r}
		call := CallRow{TID: 7, RAddr: [16]byte{10, 0, 0, 1}, RPort: 5000, Ret: 5, EnterBacklog: 1}
		rises := uint64(0) // by how much the cookie does
		for round := range 90 {
			vary := round%2 == 0
			for n := range r.IntN(600) {
				call.EnterNS = call.BootNS + r.Int64N(90_000) - 100_000*(r.Int64N(50)/49) // it rarely falls
				if call.BootNS = call.EnterNS + r.Int64N(7000); n%300 == 299 {
					call.BootNS -= 40_000_000 // events of two CPUs are not in the order of time
				}
				call.EnterSeq++
				call.CPUSeq++
				call.Inode += uint64(2 + r.IntN(2))
				call.Cookie += rises
				call.RPort += 2
				if vary && r.IntN(3) == 0 {
					call.Ret, call.Backlog, call.EnterBacklog = 5+r.Int32N(3), r.Uint32N(3), r.Uint32N(3)
					call.RAddr[3], call.RPort = byte(r.IntN(4)), uint16(r.Uint32())
				}
				b.take(&call)
				if w.block.steady.n > 0 {
					steady++
				}
			}
			b.flush()
			switch r.IntN(13) {
			case 0:
				call.CPU ^= 1
				call.EnterCPU = call.CPU
			case 1:
				call.EnterCPU ^= 1
			case 2:
				call.Backlog = r.Uint32N(3)
			case 3:
				call.EnterBacklog = r.Uint32N(3)
			case 4:
				call.Ret = 5 + r.Int32N(3)
			case 5:
				call.TID = 7 + r.Uint32N(3)
			case 6:
				call.RAddr[3]++
			case 7:
				call.EnterSeq += r.Uint64N(3)
				call.CPUSeq += r.Uint64N(3)
			case 8:
				call.Cookie = r.Uint64N(3)
			case 9:
				failed := call
				failed.Ret, failed.Inode, failed.Cookie, failed.RPort, failed.RAddr = -11, 0, 0, 0, [16]byte{}
				b.take(&failed)
				b.flush()
			case 10: // a connection that a failed call had before
				call.Cookie += 5
				lost := Event{Kind: Return, Hook: HookSysAccept4, TID: 9, Ret: -14, Cookie: call.Cookie,
					BootNS: call.BootNS}
				alone := lost
				if err := errors.Join(w.Event(&lost), each.Event(&alone)); err != nil {
					t.Fatal(err)
				}
			case 11:
				rises = r.Uint64N(8) / 7
			case 12:
				e := Event{Kind: Closed, Hook: HookSetState, BootNS: call.BootNS + 5, Cookie: call.Cookie + r.Uint64N(3),
					RPort: call.RPort, RAddr: netip.AddrFrom4([4]byte{10, 0, 0, 1})}
				alone := e
				if err := errors.Join(w.Event(&e), each.Event(&alone)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := errors.Join(w.Close(End{}), each.Close(End{})); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(packed(out.Bytes()), packed(plain.Bytes())) ||
			!bytes.Equal(spans(out.Bytes()), spans(plain.Bytes())) {
			t.Errorf("frames of %d events are not those of events that are recorded one by one", frame)
		}
		if calls := int(w.Events()) / 2; steady < calls/4 {
			t.Errorf("%d of %d calls were taken for steady ones", steady, calls)
		}
	}
}

// An accept of vsock, whose peer has a name, between the calls of another thread leaves those without one: a call
// that has the difference to it begins no steady ones, which would have it, too.
func TestSteadyCallsBehindName(t *testing.T) {
	for named := range 40 { // the call before which it comes
		var out, plain bytes.Buffer
		w, err := NewWriter(&out, testHeader(), WriterOptions{})
		each, plainErr := NewWriter(&plain, testHeader(), WriterOptions{})
		if err := errors.Join(err, plainErr); err != nil {
			t.Fatal(err)
		}
		b := callsOf{t: t, w: w, each: each, bases: map[[2]int32]*[2]Row{}}
		for i := range 60 {
			if i == named {
				e := Event{Kind: Return, Hook: HookSysAccept4, TID: 9, Ret: 4, RName: "2:1024", BootNS: int64(10 * i)}
				alone := e
				if err := errors.Join(w.Event(&e), each.Event(&alone)); err != nil {
					t.Fatal(err)
				}
			}
			b.take(&CallRow{TID: 7, RAddr: [16]byte{10, 0, 0, 1}, RPort: uint16(5000 + i), Ret: 5, EnterNS: int64(10*i + 1),
				BootNS: int64(10*i + 3), EnterSeq: uint64(i + 1), CPUSeq: uint64(i + 1), Inode: uint64(100 + i)})
		}
		if err := errors.Join(w.Close(End{}), each.Close(End{})); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(packed(out.Bytes()), packed(plain.Bytes())) {
			_, _, _, err := read(out.Bytes(), ReaderOptions{})
			t.Errorf("named before call %d: frames are not those of events that are recorded one by one: %v", named, err)
		}
	}
}

// spans are what the links say of their frames: how many events of what time.
func spans(data []byte) (b []byte) {
	list := parts(data)
	for _, part := range list[1 : len(list)-1] {
		b = append(b, part[8:8+48]...)
	}
	return b
}

// callsOf records calls as repeats, and their events one by one.
type callsOf struct {
	t       *testing.T
	w, each *Writer
	bases   map[[2]int32]*[2]Row // by the thread and the sign of what the call gives
	rnd     *rand.Rand           // up to 64 calls are recorded at once; nil: one
	wait    []*CallRow
}

func (b *callsOf) take(call *CallRow) {
	for _, e := range bothOf(call) {
		if err := b.each.Event(&e); err != nil {
			b.t.Fatal(err)
		}
	}
	one := *call
	if b.wait = append(b.wait, &one); b.rnd == nil || b.rnd.IntN(64) == 0 {
		b.flush()
	}
}

// flush records the calls that wait.
func (b *callsOf) flush() {
	for len(b.wait) > 0 {
		call, n := b.wait[0], 1
		key, form := [2]int32{int32(call.TID), call.Ret >> 31}, NoAddr
		if call.Ret >= 0 {
			form = AddrIPv4
		}
		for n < len(b.wait) && b.wait[n].TID == call.TID && b.wait[n].Ret>>31 == key[1] {
			n++
		}
		base := b.bases[key]
		if base != nil {
			if n = b.w.RepeatCalls(base[0], base[1], b.wait[:n], form); n > 0 {
				b.wait = b.wait[n:]
				continue
			}
		}
		b.wait = b.wait[1:]
		if base != nil && b.w.RepeatCall(base[0], base[1], call, form) {
			continue
		}
		base = &[2]Row{}
		for i, e := range bothOf(call) {
			if err := b.w.Event(&e); err != nil {
				b.t.Fatal(err)
			}
			base[i] = b.w.Last()
		}
		b.bases[key] = base
	}
}

// bothOf are both events of a call.
func bothOf(call *CallRow) [2]Event {
	events := [2]Event{
		{Kind: Enter, Hook: HookSysAccept4, TID: call.TID, CPU: call.EnterCPU, CPUSeq: call.EnterSeq, BootNS: call.EnterNS,
			Backlog: call.EnterBacklog},
		{Kind: Return, Hook: HookSysAccept4, TID: call.TID, CPU: call.CPU, CPUSeq: call.CPUSeq, BootNS: call.BootNS,
			Backlog: call.Backlog, Ret: call.Ret, Inode: call.Inode, Cookie: call.Cookie, RPort: call.RPort},
	}
	if call.Ret >= 0 {
		events[1].RAddr = netip.AddrFrom4([4]byte(call.RAddr[:4]))
	}
	return events
}
