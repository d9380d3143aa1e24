package format

// This file keeps rows of repeated events until the block is made.

import (
	"net/netip"
	"unsafe"
)

// maxPending is how many rows wait for their columns: so many that a loop for each column pays, and few enough to
// stay in a cache.
const (
	maxPending = 512
	rowMask    = maxPending - 1
)

// pendingRows are repeats whose numbers are not in the columns yet.
type pendingRows struct {
	n     int
	rows  [maxPending]RepeatRow
	lives [maxPending]LifeRow // of the rows of Queued and Closed

	of    [maxPending]*known // of each row, as are those below
	kinds [maxPending]int64
	cpus  [maxPending]int64
	other uint32 // not 0: cpus are not all the same

	last [maxClasses]int   // row that came last of those of each class, from 1
	nums [maxPending]int64 // of a column
	more [maxPending]int64 // of another one

	outcome, conn, accepted, failed, queued, closed rowList // the rows that have the fields of a condition
}

// A RepeatRow is what an event has that the last one of its task, kind and errno need not have.
type RepeatRow struct {
	BootNS  int64
	CPUSeq  uint64
	Inode   uint64 // of an accepted connection, as are those below
	Cookie  uint64
	RAddr   [16]byte // 4 of them for IPv4
	Addr    AddrForm // what of RAddr is there
	RPort   uint16
	Ret     int32
	Backlog uint32 // of all
}

// AddrForm is the kind of an address.
type AddrForm uint8

// The kinds of addresses.
const (
	NoAddr AddrForm = iota
	AddrIPv4
	AddrIPv6
)

// A rowList is places in pendingRows.rows.
type rowList struct {
	n  int
	at [maxPending]uint16
}

func (l *rowList) add(row int) {
	l.at[l.n&rowMask] = uint16(row)
	l.n++
}

// A LifeRow is what a Queued or Closed event has that the last one of its kind need not have, in the order in which the
// recorder's programs write it.
type LifeRow struct {
	BootNS      int64
	CPUSeq      uint64
	Inode       uint64
	Cookie      uint64
	BytesIn     uint64 // of Closed
	BytesOut    uint64 // of Closed
	ClosingUS   uint64 // of Closed
	FinUS       uint64 // of Closed
	RAddr       [16]byte
	CPU         uint32
	SynQueue    uint32 // of Queued
	HandshakeUS uint32 // of Queued
	SegsIn      uint32 // of Closed, as are those below
	SegsOut     uint32
	Retransmits uint32
	SRTTUS      uint32
	MinRTTUS    uint32
	RPort       uint16
	SockErr     uint16 // of Closed
	Backlog     uint32
}

// Repeat records an event on a CPU that is like the last one of its task, kind and errno, which before names, and has
// the same errno. The caller fills in all else of the row before it calls another method. Nil: nothing was recorded,
// and the event is to be recorded by [Writer.Event].
func (w *Writer) Repeat(before Row, cpu uint32) *RepeatRow {
	if !w.takes(before, 1) {
		return nil
	}
	w.seq++
	w.count++
	return w.block.repeat(before.k, before.k.class(), cpu)
}

// RepeatLife is Repeat for Queued and Closed, of which it records a copy. False: nothing was recorded.
func (w *Writer) RepeatLife(before Row, l *LifeRow, addr AddrForm) bool {
	r := w.Repeat(before, l.CPU)
	if r == nil {
		return false
	}
	r.BootNS, r.CPUSeq, r.Inode, r.Cookie, r.Backlog = l.BootNS, l.CPUSeq, l.Inode, l.Cookie, l.Backlog
	r.RAddr, r.RPort, r.Addr = l.RAddr, l.RPort, addr
	p := &w.block.pending
	p.lives[(p.n-1)&rowMask] = *l
	return true
}

// RepeatCall is Repeat for both events of a call on these CPUs: an Enter, and a Return.
func (w *Writer) RepeatCall(enter, ret Row, enterCPU, cpu uint32) (in, out *RepeatRow) {
	if !w.takes(enter, 2) || !w.Has(ret) {
		return nil, nil
	}
	c, class := &w.block, ret.k.class()
	if c.isUnusual(ret.k) {
		c.unusual(rowClass(Enter), enter.k)
		c.unusual(class, ret.k) // now, since it puts rows that are not filled in into the columns
	}
	w.seq += 2
	w.count += 2
	c.rows += 2
	return c.pending.addCall(enter.k, ret.k, class, enterCPU, cpu)
}

// takes reports whether n more rows like another one can be recorded, and the frame is not full then.
func (w *Writer) takes(before Row, n int) bool {
	return w.Has(before) && w.block.rows+n < w.most && w.err == nil
}

// class is that of the event.
func (k *known) class() rowClass {
	if k.values[atErrno] != 0 {
		return classFailed
	}
	return rowClass(k.values[atKind])
}

// repeat gives the next row, which is like another one.
func (c *blockEncoder) repeat(k *known, class rowClass, cpu uint32) *RepeatRow {
	if c.isUnusual(k) {
		c.unusual(class, k)
	}
	c.rows++
	return c.pending.add(k, class, cpu)
}

// isUnusual reports whether unusual may have something to see to.
func (c *blockEncoder) isUnusual(k *known) bool {
	return c.unlike != 0 || c.pending.n+2 > maxPending || k.values[atRName] != c.last[atRName]
}

// unusual sees to what is not a number of the row's own, before it comes.
func (c *blockEncoder) unusual(class rowClass, k *known) {
	has, v := encoding.of[class%numClasses].has, &k.values
	named := has>>atRName&1 != 0 && v[atRName] != c.last[atRName]
	if c.unlike&has == 0 && c.pending.n+2 <= maxPending && !named {
		return
	}
	c.settle()
	if named { // the peer's name is the difference to that of the row before, whosever that is
		c.unlike |= 1 << atRName
	}
	c.quieten(class, k)
}

// add gives the next row, and puts it into the lists of its class.
func (p *pendingRows) add(k *known, class rowClass, cpu uint32) *RepeatRow {
	n := p.n & rowMask
	p.n++
	p.of[n], p.kinds[n], p.cpus[n] = k, int64(class), int64(cpu)
	p.other |= uint32(p.cpus[0]) ^ cpu
	p.last[class%maxClasses] = p.n
	switch class {
	case rowClass(Enter):
		return &p.rows[n]
	case rowClass(Return):
		p.accepted.add(n)
	case classFailed:
		p.kinds[n] = int64(Return)
		p.failed.add(n)
	case rowClass(Queued):
		p.queued.add(n)
	default:
		p.closed.add(n)
	}
	if p.outcome.add(n); class != classFailed {
		p.conn.add(n)
	}
	return &p.rows[n]
}

// addCall is add for both rows of a call, of which class is the return's.
func (p *pendingRows) addCall(enter, ret *known, class rowClass, enterCPU, cpu uint32) (in, out *RepeatRow) {
	n, m := p.n&rowMask, (p.n+1)&rowMask
	p.n += 2
	p.of[n], p.kinds[n], p.cpus[n] = enter, int64(Enter), int64(enterCPU)
	p.of[m], p.kinds[m], p.cpus[m] = ret, int64(Return), int64(cpu)
	first := uint32(p.cpus[0])
	p.other |= (first ^ enterCPU) | (first ^ cpu)
	p.last[Enter], p.last[class%maxClasses] = n+1, m+1
	p.outcome.add(m)
	if class == classFailed {
		p.failed.add(m)
	} else {
		p.accepted.add(m)
		p.conn.add(m)
	}
	return &p.rows[n], &p.rows[m]
}

// settle puts the rows that wait into the columns.
func (c *blockEncoder) settle() {
	p := &c.pending
	if p.n == 0 {
		return
	}
	for class, row := range p.last {
		if row > 0 {
			c.newest[class] = newest{c.rows - p.n + row, p.of[row-1]}
		}
	}
	c.lag[Enter] += int32(p.n - p.outcome.n)
	c.lag[Return] += int32(p.accepted.n)
	c.lag[classFailed] += int32(p.failed.n)
	c.lag[Queued] += int32(p.queued.n)
	c.lag[Closed] += int32(p.closed.n)
	c.settleAll(p)
	c.settleOutcomes(p)
	c.settleConns(p)
	c.settleQueued(p)
	c.settleClosed(p)
	p.n, p.other, p.last = 0, 0, [maxClasses]int{}
	p.outcome.n, p.conn.n, p.accepted.n, p.failed.n, p.queued.n, p.closed.n = 0, 0, 0, 0, 0, 0
}

// settleAll is settle for what all kinds of events have, and tid.
func (c *blockEncoder) settleAll(p *pendingRows) {
	rows, of, cpus, nums := p.rows[:p.n], p.of[:p.n], p.cpus[:p.n], p.nums[:p.n]
	c.drafts[atKind].nextAll(p.kinds[:p.n])
	if p.other != 0 {
		c.drafts[atCPU].nextAll(cpus)
	} else {
		c.drafts[atCPU].nextSame(cpus[0], int32(len(cpus)))
	}
	for i, k := range of {
		nums[i] = k.values[atHook]
	}
	c.drafts[atHook].nextAll(nums)

	seq, tid, ofTask := c.last[atSeq], c.last[atTID], 0
	probes, tasks := c.keyed[keyedProbe].vals, c.keyed[keyedCPU].vals
	for i, k := range of {
		v := &k.values
		if v[atCPU] != cpus[i] {
			v[atCPU], c.last[atSeq], c.last[atTID] = cpus[i], seq, tid
			if v[atKind] <= int64(Return) {
				c.key(keyedCPU, k)
			}
			c.key(keyedProbe, k)
			probes, tasks = c.keyed[keyedProbe].vals, c.keyed[keyedCPU].vals
		}
		seq = int64(rows[i].CPUSeq)
		nums[i] = after(&probes[k.num[keyedProbe]], seq)
		if v[atKind] <= int64(Return) {
			tid = v[atTID]
			p.more[ofTask&rowMask] = after(&tasks[k.num[keyedCPU]], tid)
			ofTask++
		}
	}
	c.drafts[atSeq].nextAll(nums)
	c.drafts[atTID].nextAll(p.more[:ofTask])
	c.last[atSeq], c.last[atTID] = seq, tid
	ns, first, latest := c.last[atBootNS], c.firstNS, c.lastNS
	for i := range rows {
		n := rows[i].BootNS
		nums[i], ns = n-ns, n
		first, latest = min(first, n), max(latest, n)
	}
	c.drafts[atBootNS].nextAll(nums)
	c.last[atBootNS], c.firstNS, c.lastNS = ns, first, latest
	for i, k := range of {
		nums[i] = after(&k.values[atBacklog], int64(rows[i].Backlog))
	}
	c.drafts[atBacklog].nextAll(nums)
}

// settleOutcomes is settle for what all but entries have.
func (c *blockEncoder) settleOutcomes(p *pendingRows) {
	list := p.outcome.at[:p.outcome.n]
	nums, ports := p.nums[:len(list)], p.more[:len(list)]
	if p.conn.n == len(list) {
		c.drafts[atErrno].nextSame(0, int32(len(list)))
	} else {
		for j, i := range list {
			nums[j] = p.of[i&rowMask].values[atErrno]
		}
		c.drafts[atErrno].nextAll(nums)
	}
	addrs, before := &c.addrs[atRAddr], &RepeatRow{}
	place, port := c.last[atRAddr], c.last[atRPort]
	conns := &c.keyed[keyedConn]
	for j, i := range list {
		k, r := p.of[i&rowMask], &p.rows[i&rowMask]
		if v := &k.values; v[atCookie] != int64(r.Cookie) { // its key has the task's errno beside that
			v[atCookie] = int64(r.Cookie)
			num, known := conns.keys.number(v.key(byConn))
			if k.num[keyedConn] = num; !known {
				conns.vals = append(conns.vals, place, port) // in the order of Fields
			}
		}
		port = int64(r.RPort)
		if j == 0 || r.Addr != before.Addr || r.RAddr != before.RAddr {
			place, before = addrs.number(r.addr()), r
		}
		peer := (*[numPeer]int64)(conns.vals[numPeer*k.num[keyedConn]:])
		nums[j], ports[j] = after(&peer[0], place), after(&peer[1], port)
	}
	c.drafts[atRAddr].nextAll(nums)
	c.drafts[atRPort].nextAll(ports)
	c.last[atRAddr], c.last[atRPort] = place, port
	for j, i := range list {
		nums[j] = after(&p.of[i&rowMask].values[atInode], int64(p.rows[i&rowMask].Inode))
	}
	c.drafts[atInode].nextAll(nums)
}

// addr is the peer's address.
func (r *RepeatRow) addr() netip.Addr {
	switch r.Addr {
	case AddrIPv4:
		return netip.AddrFrom4([4]byte(r.RAddr[:4]))
	case AddrIPv6:
		return netip.AddrFrom16(r.RAddr)
	}
	return netip.Addr{}
}

// settleConns is settle for what accepted connections have, and their lives.
func (c *blockEncoder) settleConns(p *pendingRows) {
	nums, last := p.nums[:p.conn.n], c.last[atCookie]
	for j, i := range p.conn.at[:p.conn.n] {
		cookie := int64(p.rows[i&rowMask].Cookie)
		nums[j], last = cookie-last, cookie
	}
	c.drafts[atCookie].nextAll(nums)
	c.last[atCookie] = last
	nums = p.nums[:p.accepted.n]
	for j, i := range p.accepted.at[:p.accepted.n] {
		nums[j] = after(&p.of[i&rowMask].values[atRet], int64(p.rows[i&rowMask].Ret))
	}
	c.drafts[atRet].nextAll(nums)
}

// settleQueued is settle for what only Queued have.
func (c *blockEncoder) settleQueued(p *pendingRows) {
	queued := p.queued.at[:p.queued.n]
	nums, more := p.nums[:len(queued)], p.more[:len(queued)]
	for j, i := range queued {
		k, r := p.of[i&rowMask], &p.lives[i&rowMask]
		nums[j] = after(&c.keyed[keyedQueue].vals[k.num[keyedQueue]], int64(r.SynQueue))
		more[j] = after(&c.keyed[keyedQueued].vals[k.num[keyedQueued]], int64(r.HandshakeUS))
		c.last[atSynQueue], c.last[atHandshake] = int64(r.SynQueue), int64(r.HandshakeUS)
	}
	c.drafts[atSynQueue].nextAll(nums)
	c.drafts[atHandshake].nextAll(more)
}

// settleClosed is settle for what only Closed have.
func (c *blockEncoder) settleClosed(p *pendingRows) {
	closed := p.closed.at[:p.closed.n]
	if len(closed) == 0 {
		return
	}
	nums, cells := p.nums[:len(closed)], p.more[:len(closed)]
	for j, i := range closed {
		k := p.of[i&rowMask]
		cells[j] = int64(len(encoding.closed)) * int64(k.num[keyedClosed])
		nums[j] = after(&c.keyed[keyedState].vals[k.num[keyedState]], k.values[atOldState])
		c.last[atOldState] = k.values[atOldState]
	}
	c.drafts[atOldState].nextAll(nums)
	for n, f := range encoding.closed { // in the order of Fields
		vals := c.keyed[keyedClosed].vals[n:]
		switch f.size {
		case 8:
			settleLife[int64](nums, p, vals, f.at)
		case 4:
			settleLife[uint32](nums, p, vals, f.at)
		case 2:
			settleLife[uint16](nums, p, vals, f.at)
		default:
			for j, i := range closed {
				nums[j] = after(&vals[cells[j]], p.of[i&rowMask].values[f.place])
			}
		}
		c.drafts[f.place].nextAll(nums)
		c.last[f.place] = vals[cells[len(cells)-1]]
	}
}

// settleLife makes the numbers of a column of Closed, of a member of LifeRow at an offset.
func settleLife[T int64 | uint32 | uint16](nums []int64, p *pendingRows, vals []int64, at uintptr) {
	closed, cells := p.closed.at[:len(nums)], p.more[:len(nums)]
	member := unsafe.Add(unsafe.Pointer(&p.lives), at)
	for j, i := range closed {
		n := *(*T)(unsafe.Add(member, uintptr(i&rowMask)*unsafe.Sizeof(LifeRow{})))
		nums[j] = after(&vals[cells[j]], int64(n))
	}
}

// after gives the difference of n to what it is after, and makes it that.
func after(before *int64, n int64) int64 {
	d := n - *before
	*before = n
	return d
}
