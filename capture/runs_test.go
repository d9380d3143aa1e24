//go:build linux && (amd64 || arm64)

package capture

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"unsafe"

	"github.com/acc-project/acc/bpf"
)

// Calls that lie behind one another in the ring are taken together. They are recorded and booked as if they were taken
// one by one: with numbers that are missing or come late, other threads, CPUs, peers and lives between, calls that fail,
// records that are not complete yet, and at the ring's end.
func TestTakeRuns(t *testing.T) {
	for _, queues := range []bool{false, true} {
		seed := rand.Uint64()
		t.Log("seed ", seed)
		rnd := rand.New(rand.NewPCG(seed, 3))
		taken, each, whole := newTake(t), newTake(t), newTake(t)
		for _, tk := range []*take{taken, each, whole} {
			if queues {
				tk.queues.start()
				defer tk.queues.close()
			}
		}
		m, next := ringOfSizes(1 << 15)
		taken.mapped = m
		var b basesOf
		var now uint64
		var seqs [2]uint64
		cpu := uint32(1)
		calls := [3]bpf.AccCall{}
		for i := range calls {
			c := &calls[i]
			c.Event = ringRecords(2)[1]
			c.Event.Tid, c.Event.Facts.Cookie = uint32(100+i), 0
			c.Event.Facts.Listener = uint64(7 + i)
		}
		drain := func() {
			if err := taken.drain(); err != nil {
				t.Fatal(err)
			}
		}
		put := func(record []byte) {
			if err := each.take(bytes.Clone(record), false); err != nil {
				t.Fatal(err)
			}
			at := next(len(record))
			if at == nil {
				drain()
				at = next(len(record))
			}
			copy(at, record)
			if rnd.IntN(300) > 0 {
				return
			}
			// The ring is read while this one is not complete, or not there yet, whatever its bytes say.
			head := (*uint32)(unsafe.Add(unsafe.Pointer(&at[0]), -ringHeader))
			_, produced := m.positions()
			there := *produced
			at[32]++ // a call like another one has its inode number there
			if rnd.IntN(2) == 0 {
				*head |= ringBusy
			} else {
				*produced -= ringHeader + uintptr(len(record)+7)&^7
			}
			if err := m.each(taken.session, (*session).takeNext); err != nil {
				t.Fatal(err)
			}
			at[32]--
			*head, *produced = *head&^ringBusy, there
		}
		for range 400 {
			c := &calls[rnd.IntN(len(calls))]
			for range 1 + rnd.IntN(200) {
				e, in := &c.Event, &c.Entry
				now += 1 + rnd.Uint64N(1000)
				in.BootNs = now
				now += 1 + rnd.Uint64N(100)
				e.BootNs, e.Facts.Inode, e.Facts.Rport, e.Ret = now, now, uint16(rnd.Uint32()), 5
				in.Cpu, e.Cpu = cpu, cpu
				switch rnd.IntN(300) {
				case 0:
					seqs[0] += rnd.Uint64N(5) // lost
				case 1:
					seqs[1]++
				case 2:
					e.Cpu ^= 2
				case 3:
					e.Ret = -11
				case 4:
					e.Facts.Raddr[3]++
				case 5:
					e.Facts.Cookie = rnd.Uint64N(3)
				case 6:
					in.Backlog, e.Facts.Backlog = rnd.Uint32N(3), rnd.Uint32N(3)
				case 7:
					e.Ret = int32(rnd.Uint32N(100))
				case 8:
					seqs[rnd.IntN(2)] -= min(seqs[0], seqs[1], rnd.Uint64N(300)) // these come late, or twice
				case 9:
					queued, _ := lifeAround(e, &bpf.AccSameCall{EnterNs: now, BootNs: now})
					put(bytesOf(&queued))
					if err := whole.take(bytesOf(&queued), false); err != nil {
						t.Fatal(err)
					}
				case 10:
					in.BootNs -= 2000 // events of two CPUs are not in the order of time
				case 11:
					cpu = rnd.Uint32N(4)
				}
				seqs[0]++
				seqs[1]++
				in.CpuSeq, e.CpuSeq = seqs[0], seqs[1]
				put(b.record(rnd, *c))
				one := *c
				one.Entry.Base = 0
				enter := enterOf(&one)
				*whole.repeats.of(&enter), *whole.repeats.of(&one.Event) = repeat{}, repeat{} // it is like none before
				if err := whole.take(bytesOf(&one), false); err != nil {
					t.Fatal(err)
				}
			}
			if rnd.IntN(4) == 0 {
				drain()
			}
		}
		drain()
		if taken.calls.run[100] == nil || b.repeats < 1000 {
			t.Errorf("no 100 calls were taken together, of %d repeats", b.repeats)
		}
		if got := each.calls.run[0]; got != nil {
			t.Error("calls that are given one by one were taken together")
		}
		for what, tk := range map[string]*take{"repeats": each, "whole calls": whole} {
			if !reflect.DeepEqual(taken.ledger, tk.ledger) || !reflect.DeepEqual(taken.queues.all, tk.queues.all) {
				t.Errorf("the account of numbers, or the queues, are not those of %s that are taken one by one", what)
			}
		}
		got := taken.events(t)
		if !slices.Equal(got, each.events(t)) || !slices.Equal(got, whole.events(t)) ||
			!bytes.Equal(taken.content(t), each.content(t)) {
			t.Errorf("%d events, or the blocks, are not those of calls that are taken one by one", len(got))
		}
	}
}
