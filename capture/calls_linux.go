//go:build amd64 || arm64

package capture

// This file finds calls that should not have waited and do, in the map of calls in flight.

import (
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/bpf"
	"github.com/acc-project/acc/format"
)

// A call that does not wait for a connection is one record of the ring, with its return and its entry (struct
// call). Until then its entry is noted in a place of the map calls. A call that should not have waited, and does,
// because another thread was faster, is found there.

const (
	callsAge   = 50 * time.Millisecond // after which the entry of a call that has not returned is written
	callsYoung = time.Second           // for how long it is looked for where no more is known than that it began
)

// calls are the entries that no record of the ring tells of yet.
type calls struct {
	mem  []byte // the map, nil if these programs have none
	told map[enterID]bool
	look time.Time // when to look for entries of calls that wait, zero: no call came since
}

// enterID names an entry.
type enterID struct {
	cpu uint32
	seq uint64
}

const callSize = unsafe.Sizeof(bpf.AccAttempt{})

// mapCalls maps the places of the calls in flight.
func mapCalls(m *ebpf.Map) (calls, error) {
	c := calls{told: map[enterID]bool{}}
	if m == nil {
		return c, nil
	}
	size := (int(m.MaxEntries())*int(callSize) + 4095) &^ 4095
	var err error
	if c.mem, err = unix.Mmap(m.FD(), 0, size, unix.PROT_READ, unix.MAP_SHARED); err != nil {
		return c, fmt.Errorf("map the calls in flight: %w", err)
	}
	return c, nil
}

func (c *calls) close() {
	if c.mem != nil {
		_ = unix.Munmap(c.mem)
		c.mem = nil
	}
}

// each calls f with each place in which a call is in flight.
func (c *calls) each(f func(a *bpf.AccAttempt)) {
	for at := uintptr(0); at+callSize <= uintptr(len(c.mem)); at += callSize {
		a := (*bpf.AccAttempt)(unsafe.Pointer(&c.mem[at]))
		if atomic.LoadUint64(&a.Turn)&1 != 0 {
			f(a)
		}
	}
}

// waiting gives the entries before a time that no event tells of, and whether there are later ones.
func (c *calls) waiting(beforeNS int64) (list []bpf.AccAttempt, more bool) {
	type place struct {
		at   *bpf.AccAttempt
		copy bpf.AccAttempt
	}
	var found []place
	c.each(func(a *bpf.AccAttempt) {
		x := place{a, *a}
		switch ns := int64(x.copy.EnterNs); {
		case x.copy.Deferred == uint8(bpf.AccDeferralNOT_DEFERRED):
			more = more || x.copy.Untold != 0 && ns > beforeNS-int64(callsYoung)
		case c.told[idOf(&x.copy)]:
		case ns < beforeNS:
			found = append(found, x)
		default:
			more = true
		}
	})
	if found == nil {
		return nil, more
	}
	// What a place says is of one call if it says the same when all of it can be seen, and the call is still in flight.
	time.Sleep(time.Millisecond)
	for i := range found {
		x := &found[i]
		again := *x.at
		settled := again.In == x.copy.In && again.Who == x.copy.Who && idOf(&again) == idOf(&x.copy)
		if settled && again.EnterNs == x.copy.EnterNs && atomic.LoadUint64(&x.at.Turn) == x.copy.Turn &&
			again.Deferred != uint8(bpf.AccDeferralNOT_DEFERRED) {
			list = append(list, again)
		} else {
			more = true
		}
	}
	return list, more
}

func idOf(a *bpf.AccAttempt) enterID { return enterID{a.EnterCpu, a.EnterSeq} }

// enterInFlight is the record of the entry of a call in flight.
func enterInFlight(a *bpf.AccAttempt) (raw bpf.AccEvent) {
	w := &a.Who
	raw = bpf.AccEvent{
		BootNs: a.EnterNs, CpuSeq: a.EnterSeq, Cpu: a.EnterCpu, Kind: uint8(format.Enter),
		Hook:   uint8(format.HookSysAccept4),
		Cgroup: w.Cgroup, StartNs: w.StartNs, Pid: w.Pid, Tid: w.Tid, Uid: w.Uid, Netns: w.Netns,
		Facts: a.In, Sockfd: a.Sockfd, Flags: a.Flags, Via: a.Via, Mark: a.EnterMark,
		HasAddr: a.HasAddr, HasAddrlen: a.HasAddrlen, Comm: *(*[16]int8)(unsafe.Pointer(&w.Comm)),
	}
	raw.Told.AddrlenIn = a.AddrlenIn
	return raw
}

// enterOf is the record of a call's entry.
func enterOf(c *bpf.AccCall) bpf.AccEvent {
	raw, in := c.Event, &c.Entry
	raw.BootNs, raw.CpuSeq, raw.Cpu, raw.Ret, raw.Kind = in.BootNs, in.CpuSeq, in.Cpu, 0, uint8(format.Enter)
	raw.Mark, raw.HasAddr, raw.HasAddrlen = in.Mark, in.HasAddr, in.HasAddrlen
	raw.Told = bpf.AccEvent{}.Told
	raw.Told.AddrlenIn = c.Event.Told.AddrlenIn
	f := &raw.Facts
	f.Inode, f.Cookie, f.Raddr, f.Rport, f.PeerPid, f.PeerUid = 0, 0, [16]uint8{}, 0, 0, 0
	f.Backlog, f.BacklogMax, f.State, f.Lport, f.Laddr = in.Backlog, in.BacklogMax, in.State, in.Lport, in.Laddr
	return raw
}

// callIn is the call that a record of the ring is.
func callIn(raw []byte) (*bpf.AccCall, bool) {
	if uintptr(len(raw)) != unsafe.Sizeof(bpf.AccCall{}) {
		return nil, false
	}
	return (*bpf.AccCall)(unsafe.Pointer(unsafe.SliceData(raw))), true
}

// takeCall records both events of a call, or the return alone if its entry is written.
func (s *session) takeCall(c *bpf.AccCall, own bool) error {
	if s.calls.look.IsZero() {
		s.calls.look = time.Unix(1, 0) // when the ring is empty
	}
	last, usual := s.repeatedCalls.of(c), !own && s.full == nil && len(s.calls.told) == 0
	if usual && s.processes.version == last.version && last.again(c) && s.callAgain(last, c) {
		return nil
	}
	enter := enterOf(c)
	if err := s.takeEvent(&enter, nil, own); err != nil {
		return err
	}
	if err := s.takeEvent(&c.Event, nil, own); err != nil {
		return err
	}
	if usual { // both are the last ones of their kind now
		*last = callRepeat{*c, s.repeats.of(&enter).row, s.repeats.of(&c.Event).row, s.processes.version}
	}
	return nil
}

// callAgain records a call of a task that does what it did last; false if it can't be said that way.
func (s *session) callAgain(last *callRepeat, c *bpf.AccCall) bool {
	raw, from := &c.Event, &c.Entry
	in, out := s.writer.RepeatCall(last.enter, last.ret, from.Cpu, raw.Cpu)
	if in == nil {
		return false
	}
	in.BootNS, in.CPUSeq, in.Backlog = int64(from.BootNs), from.CpuSeq, from.Backlog
	fillRepeat(out, raw)
	if !s.ledger.next(probeEnter, from.Cpu, from.CpuSeq, in.BootNS) {
		s.ledger.jump(probeEnter, from.Cpu, from.CpuSeq, in.BootNS)
	}
	if !s.ledger.next(probeReturn, raw.Cpu, raw.CpuSeq, out.BootNS) {
		s.ledger.jump(probeReturn, raw.Cpu, raw.CpuSeq, out.BootNS)
	}
	if raw.Ret >= 0 {
		s.queues.accepted(raw.Facts.Listener)
	}
	if len(s.watcher.sleepers) > 0 {
		s.watcher.returned(raw.Tid, format.Hook(raw.Hook))
	}
	return true
}

// writeWaiting writes the entries before a time of calls that have not returned.
func (s *session) writeWaiting(beforeNS int64) (more bool, err error) {
	list, more := s.calls.waiting(beforeNS)
	for i := range list {
		raw := enterInFlight(&list[i])
		if err := s.takeEvent(&raw, nil, false); err != nil {
			return more, err
		}
		s.calls.told[idOf(&list[i])] = true
	}
	return more, nil
}

// lookForWaiting writes the entries of calls that wait and should not have. Such a call has lost its connection to
// another one, which wakes the recorder.
func (s *session) lookForWaiting(now time.Time) error {
	if s.calls.look.IsZero() || now.Before(s.calls.look) {
		return nil
	}
	more, err := s.writeWaiting(bootNS() - int64(callsAge))
	s.calls.look = time.Time{}
	if more {
		s.calls.look = now.Add(callsAge)
	}
	return err
}

// isTold reports whether an entry is written, and forgets that.
func (c *calls) isTold(raw *bpf.AccEvent) bool {
	id := enterID{raw.Cpu, raw.CpuSeq}
	told := c.told[id]
	delete(c.told, id)
	return told
}

// lostTold is how many of the entries that were found in flight had a record, of the return or of both, that was
// lost: the programs count them as lost.
func (c *calls) lostTold() uint64 {
	left := len(c.told)
	c.each(func(a *bpf.AccAttempt) {
		if a.Deferred != uint8(bpf.AccDeferralNOT_DEFERRED) && c.told[idOf(a)] {
			left--
		}
	})
	return uint64(left)
}
