package format

// This file takes many calls of one thread together: what they have in common is put into the columns once.

import "unsafe"

const (
	steadyAfter = 8      // calls, after which it is asked whether they are of one thread
	steadyShort = 8      // fewer were not worth it
	steadyPause = -1_024 // and so many calls are taken one by one then
)

// steadyCalls are calls that one thread made one after another, on one CPU. None of them failed. While some of them are
// not in the columns yet, pendingRows has no other rows, and its n says that it is full.
type steadyCalls struct {
	before *known // the entry that the call had when this was asked last
	streak int    // calls since then

	n, left int // of the calls; how many more there may be, 0: none
	in, out Row // events that they repeat
	form    AddrForm
	cpus    uint64  // EnterCPU and CPU
	cookie  uint64  // 0 where only accepts are recorded: connections have none then
	last    CallRow // what may change, of the call that came last

	backlogs, rets waitingNums // 0 but for what is put

	kinds [maxPending]byte // Enter and Return in turn
}

// pairOf gives two neighbours of a call's numbers, to compare them at once.
func pairOf(first *uint32) uint64 { return *(*uint64)(unsafe.Pointer(first)) }

// RepeatCalls is RepeatCall for several calls, which one thread made one after another. None of them failed. N: how many
// it recorded. It stops at a call that has to be recorded by itself. That may be the first one.
func (w *Writer) RepeatCalls(enter, ret Row, calls []*CallRow, addr AddrForm) (n int) {
	c := &w.block
	s, p := &c.steady, &c.pending
	if s.left <= 0 || enter != s.in || ret != s.out || addr != s.form {
		return 0
	}
	last, now := &s.last, c.last[atBootNS]
	// What changes with each call stays in registers: it is written down at the end.
	enterSeq, seq := last.EnterSeq+1, last.CPUSeq+1 // of the first one
	inode, port, fell := ret.k.values[atInode], c.last[atRPort], p.fell
	var times, inodes, ports uint64 // what their wide becomes
	for _, call := range calls[:min(len(calls), s.left)] {
		at := s.n + n
		if pairOf(&call.EnterCPU) != s.cpus || call.Cookie != s.cookie ||
			call.EnterSeq != enterSeq+uint64(n) || call.CPUSeq != seq+uint64(n) {
			break
		}
		if pairOf(&call.EnterBacklog) != pairOf(&last.EnterBacklog) {
			s.backlogs.put(2*at, int64(call.EnterBacklog)-int64(last.EnterBacklog))
			s.backlogs.put(2*at+1, int64(call.Backlog)-int64(last.Backlog))
			last.EnterBacklog, last.Backlog = call.EnterBacklog, call.Backlog
		}
		if call.Ret != last.Ret {
			s.rets.put(at, int64(call.Ret)-int64(last.Ret))
			last.Ret = call.Ret
		}
		if call.RAddr != p.peer.ip {
			p.peer.ip, p.peer.num = call.RAddr, c.addrs[atRAddr].number(addrOf(&call.RAddr, addr))
			p.places.put(at, after(&c.last[atRAddr], p.peer.num))
		}
		in, took := call.EnterNS-now, call.BootNS-call.EnterNS
		now = call.BootNS
		fell |= in | took
		times |= p.times.set(2*at, in) | p.times.set(2*at+1, took)
		inodes |= p.inodes.set(at, after(&inode, int64(call.Inode)))
		ports |= p.ports.set(at, after(&port, int64(call.RPort)))
		n++
	}
	s.n, s.left = s.n+n, s.left-n
	last.EnterSeq, last.CPUSeq = last.EnterSeq+uint64(n), last.CPUSeq+uint64(n)
	c.last[atBootNS], c.last[atRPort], ret.k.values[atInode] = now, port, inode
	p.fell = fell
	p.times.wide |= times
	p.inodes.wide |= inodes
	p.ports.wide |= ports
	w.seq += uint64(2 * n)
	w.count += uint64(2 * n)
	c.rows += 2 * n
	return n
}

// Steady is how many calls [Writer.RepeatCalls] may record at most.
func (w *Writer) Steady() int { return w.block.steady.left }

// maybeSteady begins to take calls together, if this one, which did not fail, is of the same thread as the call at
// which this was asked before.
func (c *blockEncoder) maybeSteady(most int, enter, ret Row, call *CallRow, addr AddrForm) {
	s := &c.steady
	if c.unlike&encoding.of[Return].has != 0 {
		return // the next call has the peer's name to see to
	}
	if s.streak = 0; s.before != enter.k {
		s.before = enter.k
		return
	}
	if call.CPU != call.EnterCPU || enter.k.values[atHook] != ret.k.values[atHook] ||
		enter.k.values[atTID] != ret.k.values[atTID] {
		return
	}
	room := min(maxPending, most-1-c.rows) / 2
	if room <= 0 {
		return
	}
	c.settle()
	p := &c.pending
	p.n, p.beforeNS = maxPending, c.last[atBootNS]
	s.n, s.left, s.in, s.out, s.form = 0, room, enter, ret, addr
	s.cpus, s.cookie, s.last = pairOf(&call.EnterCPU), call.Cookie, *call
}

// settleSteady is settle for steady calls.
func (c *blockEncoder) settleSteady() {
	s, p := &c.steady, &c.pending
	calls, rows, in, out := s.n, int32(2*s.n), s.in.k, s.out.k
	s.n, s.left, s.streak = 0, 0, steadyAfter
	if calls < steadyShort {
		s.streak = steadyPause
	}
	p.n, p.tasks, p.outcomes, p.conns, p.returns = 2*calls, 2*calls, calls, calls, calls
	if calls == 0 {
		return
	}
	if s.kinds[0] == 0 {
		for i := range s.kinds {
			s.kinds[i] = byte(Enter) + byte(i&1)*byte(Return-Enter)
		}
	}
	c.drafts[atKind].nextBytes(s.kinds[:rows])
	c.drafts[atHook].nextSame(in.values[atHook], rows)
	c.drafts[atCPU].nextSame(in.values[atCPU], rows)
	c.drafts[atSeq].nextSame(1, rows)
	c.drafts[atBootNS].nextWide(&p.times, int(rows))
	c.drafts[atBacklog].nextRare(&s.backlogs, int(rows))
	c.drafts[atTID].nextSame(0, rows)
	c.drafts[atInode].nextWide(&p.inodes, calls)
	c.drafts[atRPort].nextWide(&p.ports, calls)
	c.drafts[atRAddr].nextRare(&p.places, calls)
	c.drafts[atErrno].nextSame(0, rows/2)
	c.drafts[atCookie].nextSame(0, rows/2)
	c.drafts[atRet].nextRare(&s.rets, calls)
	in.values[atBacklog] = int64(s.last.EnterBacklog)
	out.values[atBacklog], out.values[atRet] = int64(s.last.Backlog), int64(s.last.Ret)
	c.keyed[keyedProbe].vals[in.num[keyedProbe]] = int64(s.last.EnterSeq)
	c.keyed[keyedProbe].vals[out.num[keyedProbe]] = int64(s.last.CPUSeq)
	peer := c.keyed[keyedConn].vals[numPeer*out.num[keyedConn]:]
	peer[0], peer[1] = c.last[atRAddr], c.last[atRPort]
	c.last[atSeq] = int64(s.last.CPUSeq)
}
