package format

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

// Events that are recorded as repeats of earlier ones are read back as if each had
// been recorded on its own, and make the same bytes.
func TestRepeat(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	events := sample(4000, 7)
	for i := range events { // what a repeat can't change: the same in all events of a task, kind and errno
		e := &events[i]
		e.State, e.LAddr = uint8(e.TID+uint32(e.Kind)), events[0].LAddr
		if e.Kind == Closed {
			e.SegsIn, e.SegsOut, e.Retransmits, e.MinRTTUS, e.SockErr = r.Uint32N(9), r.Uint32N(9), r.Uint32N(2), r.Uint32N(99), uint16(r.Uint32N(2)*104)
			e.ClosingUS, e.FinUS = uint64(r.Uint32N(50)), uint64(r.Uint32N(3))
		}
	}
	var out, plain bytes.Buffer
	w, err := NewWriter(&out, testHeader(), WriterOptions{FrameEvents: 700})
	each, plainErr := NewWriter(&plain, testHeader(), WriterOptions{FrameEvents: 700})
	if err := errors.Join(err, plainErr); err != nil {
		t.Fatal(err)
	}
	type task struct {
		tid   uint32
		kind  Kind
		errno int32
	}
	last, repeats, lives := map[task]Row{}, 0, 0
	for i := range events {
		want, alone := events[i], events[i]
		if err := each.Event(&alone); err != nil {
			t.Fatal(err)
		}
		k := task{want.TID, want.Kind, want.Errno()}
		switch {
		case !w.takes(last[k], 1) || r.IntN(5) == 0:
			if err := w.Event(&want); err != nil {
				t.Fatal(err)
			}
			last[k] = w.Last()
		case want.TID == 0:
			lives++
			var row RepeatRow
			fill(&row, &want)
			if !w.RepeatLife(last[k], &LifeRow{BootNS: row.BootNS, CPUSeq: row.CPUSeq, Inode: row.Inode, Cookie: row.Cookie,
				RAddr: row.RAddr, RPort: row.RPort, CPU: want.CPU, Backlog: row.Backlog, SynQueue: want.SynQueue,
				HandshakeUS: want.HandshakeUS, BytesIn: want.BytesIn, BytesOut: want.BytesOut, SegsIn: want.SegsIn,
				SegsOut: want.SegsOut, Retransmits: want.Retransmits, SRTTUS: want.SRTTUS, MinRTTUS: want.MinRTTUS,
				ClosingUS: want.ClosingUS, FinUS: want.FinUS,
				SockErr: want.SockErr}, row.Addr) {
				t.Fatal("a life is not recorded as a repeat")
			}
		default:
			repeats++
			var row RepeatRow
			if fill(&row, &want); !w.Repeat(last[k], &row) {
				t.Fatal("an event is not recorded as a repeat")
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		if r.IntN(400) == 0 {
			if err := errors.Join(w.Flush(), each.Flush()); err != nil {
				t.Fatal(err)
			}
		}
	}
	end := End{Reason: "signal", Clean: true}
	if err := errors.Join(w.Close(end), each.Close(end)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(packed(out.Bytes()), packed(plain.Bytes())) {
		t.Error("the frames are not those of events that are recorded one by one")
	}
	got, _, _, _ := read(out.Bytes(), ReaderOptions{})
	want, _, _, _ := read(plain.Bytes(), ReaderOptions{})
	if len(got) != len(events) || len(want) != len(events) || repeats < len(events)/3 || lives < len(events)/20 {
		t.Fatalf("%d and %d of %d events, %d and %d repeats", len(got), len(want), len(events), repeats, lives)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("event %d: %+v, want %+v", i, got[i], want[i])
		}
	}
}

// An event of a hook that acc does not know is not repeated: such a number might not fit into what repeats keep.
func TestRepeatOfUnknownHook(t *testing.T) {
	w, err := NewWriter(io.Discard, testHeader(), WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for hook, repeats := range map[Hook]bool{NumHooks - 1: true, NumHooks: false, 200: false} {
		e := Event{Kind: Return, Hook: hook, TID: 7}
		if err := w.Event(&e); err != nil {
			t.Fatal(err)
		}
		if last := w.Last(); w.Has(last) != repeats || w.Repeat(last, &RepeatRow{}) != repeats {
			t.Errorf("an event of hook %d: repeated %v", hook, !repeats)
		}
	}
}

// packed gives the compressed frames behind the header, whose maps are in no order, without what links them.
func packed(data []byte) (frames []byte) {
	list := parts(data)
	for _, part := range list[1 : len(list)-1] {
		frames = append(frames, part[8+linkSize:]...)
	}
	return frames
}

// Blocks are made of the same bytes as by versions of acc before: how columns are made is another matter.
func TestBlocksStay(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(keptDir, "v1.acc"))
	if err != nil {
		t.Fatal(err)
	}
	kept, _, _, _ := read(data, ReaderOptions{})
	h := sha256.New()
	for _, events := range [][]Event{kept, odd(), sample(5000, 7), sample(20_000, 8)} {
		var c blockEncoder
		c.begin()
		for len(events) > 0 {
			n := min(len(events), 3000)
			for i := range events[:n] {
				c.add(&events[i])
			}
			events = events[n:]
			h.Write(c.append(nil))
			c.begin()
		}
	}
	const want = "af5f12445cbfdb6dff5a8b9a1b1f2389cad24b10254b2972d74bc22e0b6868a8"
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		t.Errorf("the hash of their columns is %s, not %s", got, want)
	}
}

func fill(row *RepeatRow, e *Event) {
	row.CPU, row.BootNS, row.CPUSeq, row.Inode, row.Cookie, row.RPort, row.Ret, row.Backlog = e.CPU, e.BootNS, e.CPUSeq, e.Inode,
		e.Cookie, e.RPort, e.Ret, e.Backlog
	switch a := e.RAddr; {
	case a.Is4():
		ip := a.As4()
		copy(row.RAddr[:], ip[:])
		row.Addr = AddrIPv4
	case a.Is6():
		row.RAddr, row.Addr = a.As16(), AddrIPv6
	default:
		row.Addr = NoAddr
	}
}

// Repeats of a few connections that take turns find the peer that each of them had before.
func TestRepeatTakesTurns(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	var out, plain bytes.Buffer
	w, err := NewWriter(&out, testHeader(), WriterOptions{FrameEvents: 300})
	each, plainErr := NewWriter(&plain, testHeader(), WriterOptions{FrameEvents: 300})
	if err := errors.Join(err, plainErr); err != nil {
		t.Fatal(err)
	}
	last := map[Kind]Row{}
	for i := range 3000 {
		kind := []Kind{Queued, Return, Closed}[r.IntN(3)]
		e := Event{Kind: kind, Hook: HookHashdance, BootNS: int64(i), CPUSeq: uint64(i), Cookie: r.Uint64N(4),
			RPort: uint16(r.Uint32()), RAddr: netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(3))})}
		if kind == Return {
			e.TID = 7
		}
		alone := e
		if err := each.Event(&alone); err != nil {
			t.Fatal(err)
		}
		var row RepeatRow
		fill(&row, &e)
		again := false
		if kind == Return {
			again = w.Repeat(last[kind], &row)
		} else {
			again = w.RepeatLife(last[kind], &LifeRow{BootNS: row.BootNS, CPUSeq: row.CPUSeq, Cookie: row.Cookie,
				RAddr: row.RAddr, RPort: row.RPort}, row.Addr)
		}
		if !again {
			if err := w.Event(&e); err != nil {
				t.Fatal(err)
			}
			last[kind] = w.Last()
		}
	}
	if err := errors.Join(w.Close(End{}), each.Close(End{})); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(packed(out.Bytes()), packed(plain.Bytes())) {
		t.Error("the frames are not those of events that are recorded one by one")
	}
}
