//go:build amd64 || arm64

package capture

// This file finds calls that should not have waited and do, in the map of calls in flight.

import (
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"

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
	look time.Time // when to look for entries of calls that wait, zero: not known of any
	came bool      // a call came since: to look when the ring is empty

	bases [2 * numPlaces]*callBase // by the thread's place, and whether the call failed
	run   [256]*format.CallRow     // what takeCallsBehind looks at
}

// numPlaces is NUM_PLACES in the programs.
const numPlaces = 2048

// A callBase is a call that later ones of its thread may repeat.
type callBase struct {
	raw        bpf.AccCall
	form       format.AddrForm // of its peer's address
	enter, ret format.Row      // its events in the frame that is being written, or those of the last call like it
	version    uint32          // of processes, then
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
	var err error
	c.mem, err = mapVariable(m)
	return c, err
}

func (c *calls) close() {
	unmapVariable(&c.mem)
	clear(c.run[:]) // the ring that they are in ends, too
}

// places are all of them.
func (c *calls) places() []bpf.AccAttempt {
	return unsafe.Slice((*bpf.AccAttempt)(unsafe.Pointer(unsafe.SliceData(c.mem))), uintptr(len(c.mem))/callSize)
}

// each calls f with each place in which a call is in flight. Mostly none is in most: eight are looked at at once.
func (c *calls) each(f func(a *bpf.AccAttempt)) {
	places := c.places()
	for len(places) > 0 {
		some := places[:min(len(places), 8)]
		places = places[len(some):]
		if len(some) == 8 && (turn(&some[0])|turn(&some[1])|turn(&some[2])|turn(&some[3])|
			turn(&some[4])|turn(&some[5])|turn(&some[6])|turn(&some[7]))&1 == 0 {
			continue
		}
		for i := range some {
			if turn(&some[i])&1 != 0 {
				f(&some[i])
			}
		}
	}
}

// turn is odd while a call is in flight.
func turn(a *bpf.AccAttempt) uint64 { return atomic.LoadUint64(&a.Turn) }

// base gives the last call of a thread that others may repeat, and that had such an outcome; nil: there is none.
func (c *calls) base(tid uint32, ret int32) *callBase {
	return c.bases[tid%numPlaces*2+uint32(ret)>>31]
}

// keepBase keeps a call that others may repeat; nil: it is none.
func (c *calls) keepBase(call *bpf.AccCall) *callBase {
	if call.Entry.Base == 0 {
		return nil
	}
	at := &c.bases[call.Event.Tid%numPlaces*2+uint32(call.Event.Ret)>>31]
	if *at == nil {
		*at = new(callBase)
	}
	**at = callBase{raw: *call, form: form(call.Event.Facts.Family)}
	return *at
}

// nextFile forgets the events of the file before, but not the calls: repeats in the next one name them, too.
func (c *calls) nextFile() {
	for _, base := range c.bases {
		if base != nil {
			base.enter, base.ret = format.Row{}, format.Row{}
		}
	}
}

// call is the call that a repeat of b stands for.
func (b *callBase) call(r *bpf.AccSameCall) bpf.AccCall {
	c := b.raw
	in, e := &c.Entry, &c.Event
	in.BootNs, in.CpuSeq, in.Cpu, in.Backlog = r.EnterNs, r.EnterSeq, r.EnterCpu, r.EnterBacklog
	e.BootNs, e.CpuSeq, e.Cpu, e.Ret, e.Facts.Backlog = r.BootNs, r.CpuSeq, r.Cpu, r.Ret, r.Backlog
	if f := &e.Facts; r.Ret >= 0 {
		f.Inode, f.Cookie, f.Rport, f.Raddr = r.Inode, r.Cookie, r.Rport, r.Raddr
	}
	return c
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
		HasAddr: given(a.Addr), HasAddrlen: given(a.Addrlen), Comm: *(*[16]int8)(unsafe.Pointer(&w.Comm)),
	}
	raw.Told.AddrlenIn = a.AddrlenIn
	return raw
}

// given is whether the program gave an address.
func given(addr uint64) uint8 {
	if addr != 0 {
		return 1
	}
	return 0
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

// sameCallIn is what a record of the ring says of a call that is like an earlier one.
func sameCallIn(raw []byte) (*bpf.AccSameCall, bool) {
	if uintptr(len(raw)) != unsafe.Sizeof(bpf.AccSameCall{}) {
		return nil, false
	}
	return (*bpf.AccSameCall)(unsafe.Pointer(unsafe.SliceData(raw))), true
}

// takeCall records both events of a call, or the return alone if its entry is written.
func (s *session) takeCall(c *bpf.AccCall, own bool) error {
	s.calls.came = true
	usual := !own && s.full == nil && len(s.calls.told) == 0
	base := s.calls.keepBase(c)
	enter := enterOf(c)
	if err := s.takeEvent(&enter, nil, own); err != nil {
		return err
	}
	if err := s.takeEvent(&c.Event, nil, own); err != nil {
		return err
	}
	if base != nil && usual { // both are the last ones of their kind now
		base.enter, base.ret, base.version = s.repeats.of(&enter).row, s.repeats.of(&c.Event).row, s.processes.version
	}
	return nil
}

// takeSameCall records both events of a call that is like an earlier one. Behind, more: see ringTake.
func (s *session) takeSameCall(r *bpf.AccSameCall, own bool, behind uintptr) (more uintptr, err error) {
	base := s.calls.base(r.Tid, r.Ret)
	if base == nil || base.raw.Entry.Base != r.Base || base.raw.Event.Tid != r.Tid {
		s.refuseCall(r)
		return 0, nil
	}
	if own || s.full != nil || len(s.calls.told) != 0 || s.processes.version != base.version ||
		!s.writer.RepeatCall(base.enter, base.ret, callRow(r), base.form) {
		c := base.call(r)
		return 0, s.takeCall(&c, own)
	}
	s.calls.came = true
	s.ledger.takeCalls([]*format.CallRow{callRow(r)})
	s.accepted(base, callRow(r))
	if len(s.watcher.sleepers) > 0 {
		s.watcher.returned(r.Tid, format.HookSysAccept4)
	}
	if s.writer.Steady() > 0 {
		more = s.takeCallsBehind(r, base, behind)
	}
	return more, nil
}

// callRow is the call as the writer takes it.
func callRow(r *bpf.AccSameCall) *format.CallRow { return (*format.CallRow)(unsafe.Pointer(r)) } // TestRows

const _ = -(unsafe.Sizeof(bpf.AccSameCall{}) % 8) // the next record begins right behind

// takeCallsBehind takes calls that come right behind one in the ring and are like it, as long as the writer takes them
// together: a busy thread leaves mostly such. More: see ringTake.
func (s *session) takeCallsBehind(r *bpf.AccSameCall, base *callBase, behind uintptr) (more uintptr) {
	const size, each = unsafe.Sizeof(*r), ringHeader + unsafe.Sizeof(*r)
	run, end := s.calls.run[:0], unsafe.Pointer(r)
	for most := min(cap(run), s.writer.Steady()); len(run) < most && behind >= each; behind -= each {
		head := unsafe.Add(end, size)
		if atomic.LoadUint32((*uint32)(head)) != uint32(size) { // it is another kind, or not complete
			break
		}
		end = unsafe.Add(head, ringHeader)
		if next := (*bpf.AccSameCall)(end); next.Tid != r.Tid || next.Base != r.Base { // which no call has that failed
			break
		}
		run = append(run, (*format.CallRow)(end))
	}
	run = run[:s.writer.RepeatCalls(base.enter, base.ret, run, base.form)]
	s.ledger.takeCalls(run)
	if s.queues.by != nil {
		for _, call := range run {
			s.accepted(base, call)
		}
	}
	return uintptr(len(run)) * each
}

// accepted tells the queue of the listener that a call has taken a client.
func (s *session) accepted(base *callBase, call *format.CallRow) {
	if call.Ret >= 0 {
		s.queues.accepted(base.raw.Event.Facts.Listener, call.BootNS, uint(call.Backlog))
	}
}

// refuseCall counts both events of a call as lost. It is there for the day on which the programs name a call that did
// not come: a recording does not end by that.
func (s *session) refuseCall(r *bpf.AccSameCall) {
	for _, h := range []struct {
		format.Hit
		seq uint64
	}{
		{format.Hit{BootNS: int64(r.EnterNs), CPU: r.EnterCpu, Kind: format.Enter, Hook: format.HookSysAccept4}, r.EnterSeq},
		{format.Hit{BootNS: int64(r.BootNs), CPU: r.Cpu, Kind: format.Return, Hook: format.HookSysAccept4}, r.CpuSeq},
	} {
		s.ledger.take(probeOf(h.Hook, h.Kind), h.CPU, h.seq, h.BootNS)
		s.ledger.refuse(h.Hit)
	}
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
	if !s.calls.came && (s.calls.look.IsZero() || now.Before(s.calls.look)) {
		return nil
	}
	more, err := s.writeWaiting(bootNS() - int64(callsAge))
	s.calls.look, s.calls.came = time.Time{}, false
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

// takeCalls books both numbers of calls: of one, or of those that RepeatCalls took, of one CPU and each behind that of the
// call before.
func (l *ledger) takeCalls(calls []*format.CallRow) {
	if len(calls) == 0 {
		return
	}
	first, last, n := calls[0], calls[len(calls)-1], uint64(len(calls))
	if cpu := int(first.EnterCPU); first.CPU == first.EnterCPU && cpu < len(l.cpus) && l.cpus[cpu] != nil {
		enter, ret := &l.cpus[cpu][probeEnter], &l.cpus[cpu][probeReturn]
		if enter.last+1 == first.EnterSeq && ret.last+1 == first.CPUSeq {
			enter.last, enter.lastNS, enter.recorded = last.EnterSeq, last.EnterNS, enter.recorded+n
			ret.last, ret.lastNS, ret.recorded = last.CPUSeq, last.BootNS, ret.recorded+n
			return
		}
	}
	for _, c := range calls {
		l.take(probeEnter, c.EnterCPU, c.EnterSeq, c.EnterNS)
		l.take(probeReturn, c.CPU, c.CPUSeq, c.BootNS)
	}
}
