package format

// This file keeps rows of repeated events until the block is made.

import (
	"net/netip"
	"unsafe"
)

// maxPending is how many rows wait for their columns: so many that a loop for each column pays, and few enough to
// stay in a cache.
const maxPending = 512

// pendingRows are repeats whose numbers are not in the columns yet.
type pendingRows struct {
	n     int
	rows  [maxPending]RepeatRow
	lives [maxPending]LifeRow // of the rows of Queued and Closed
	alive int                 // of lives, those that are used

	tasks [maxPending]*known // of each row
	nums  [maxPending]int64  // of a column
	more  [maxPending]int64  // of another one

	outcome, conn, queued, closed rowList // the rows that have the fields of a condition
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

	cpu   uint32
	task  int32 // place in known
	life  int16 // place in pendingRows.lives
	class rowClass
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
	at [maxPending]int16
}

func (l *rowList) add(row int) {
	l.at[l.n&(maxPending-1)] = int16(row)
	l.n++
}

// A LifeRow is what Queued and Closed events have beside that.
type LifeRow struct {
	BytesIn     uint64 // of Closed, as are those below
	BytesOut    uint64
	SegsIn      uint32
	SegsOut     uint32
	Retransmits uint32
	SRTTUS      uint32
	MinRTTUS    uint32
	SynQueue    uint32 // of Queued
	HandshakeUS uint32
	SockErr     uint16 // of Closed
}

// Repeat records an event on a CPU that is like the last one of its task, kind and errno, which before names, and has
// the same errno. The caller fills in all else of the row before it calls another method. Nil: nothing was recorded,
// and the event is to be recorded by [Writer.Event].
func (w *Writer) Repeat(before Row, cpu uint32) *RepeatRow {
	if !w.takes(before, 1) {
		return nil
	}
	return w.row(before.task, cpu)
}

// RepeatLife is Repeat for Queued and Closed.
func (w *Writer) RepeatLife(before Row, cpu uint32) (*RepeatRow, *LifeRow) {
	if !w.takes(before, 1) {
		return nil, nil
	}
	r, p := w.row(before.task, cpu), &w.block.pending
	r.life = int16(p.alive)
	life := &p.lives[p.alive&(maxPending-1)]
	p.alive++
	return r, life
}

// RepeatCall is Repeat for both events of a call on these CPUs: an Enter, and a Return.
func (w *Writer) RepeatCall(enter, ret Row, enterCPU, cpu uint32) (in, out *RepeatRow) {
	c := &w.block
	if !w.takes(enter, 2) || !w.Has(ret) {
		return nil, nil
	}
	class, k := rowClass(Return), &c.known[ret.task]
	if k.values[atErrno] != 0 {
		class = classFailed
	}
	named := class == rowClass(Return) && k.values[atRName] != c.last[atRName]
	if c.unlike != 0 || c.pending.n+2 > maxPending || named {
		c.unusual(rowClass(Enter), &c.known[enter.task])
		c.unusual(class, k) // now, since it puts rows that are not filled in into the columns
	}
	in, out = c.pending.two()
	in.task, in.cpu, in.class = enter.task, enterCPU, rowClass(Enter)
	out.task, out.cpu, out.class = ret.task, cpu, class
	c.rows += 2
	w.seq += 2
	w.count += 2
	return in, out
}

// two gives the next two rows.
func (p *pendingRows) two() (a, b *RepeatRow) {
	a, b = &p.rows[p.n&(maxPending-1)], &p.rows[(p.n+1)&(maxPending-1)]
	p.n += 2
	return a, b
}

// takes reports whether n more rows like another one can be recorded, and the frame is not full then.
func (w *Writer) takes(before Row, n int) bool {
	return w.Has(before) && w.block.rows+n < w.max && !w.closed && w.err == nil && !w.copies
}

// row gives the next row, of a task on a CPU.
func (w *Writer) row(task int32, cpu uint32) *RepeatRow {
	c := &w.block
	p, k := &c.pending, &c.known[task]
	v := &k.values
	class := rowClass(v[atKind])
	if v[atErrno] != 0 {
		class = classFailed
	}
	if c.unlike != 0 || p.n+2 > maxPending || class == rowClass(Return) && v[atRName] != c.last[atRName] {
		c.unusual(class, k)
	}
	r := &p.rows[p.n&(maxPending-1)]
	p.n++
	r.task, r.cpu, r.class = task, cpu, class
	c.rows++
	w.seq++
	w.count++
	return r
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

// settle puts the rows that wait into the columns.
func (c *blockEncoder) settle() {
	if p := &c.pending; p.n > 0 {
		c.settleAll(p)
		c.settleOutcomes(p)
		c.settleConns(p)
		if p.alive > 0 {
			c.settleLives(p)
		}
		p.n, p.alive = 0, 0
	}
}

// settleAll is settle for what all kinds of events have, and tid.
func (c *blockEncoder) settleAll(p *pendingRows) {
	rows := p.rows[:p.n]
	p.outcome.n, p.conn.n, p.queued.n, p.closed.n = 0, 0, 0, 0
	nums, tasks := p.nums[:len(rows)], p.tasks[:len(rows)]
	oneCPU := true
	last := [numClasses]int{}
	for i := range rows {
		r := &rows[i]
		class := r.class % numClasses
		tasks[i] = &c.known[r.task]
		oneCPU = oneCPU && r.cpu == rows[0].cpu
		c.lag[class]++
		last[class] = i + 1
		nums[i] = int64(class)
		switch {
		case class == rowClass(Enter):
			continue
		case class == rowClass(Return):
			p.conn.add(i)
		case class == classFailed:
			nums[i] = int64(Return)
		case class == rowClass(Queued):
			p.conn.add(i)
			p.queued.add(i)
		default:
			p.conn.add(i)
			p.closed.add(i)
		}
		p.outcome.add(i)
	}
	c.drafts[atKind].nextAll(nums)
	for class, n := range last {
		if n > 0 {
			c.newest[class] = newest{c.rows - len(rows) + n, rows[n-1].task}
		}
	}
	if oneCPU {
		c.drafts[atCPU].nextSame(int64(rows[0].cpu), int32(len(rows)))
	} else {
		for i := range rows {
			nums[i] = int64(rows[i].cpu)
		}
		c.drafts[atCPU].nextAll(nums)
	}
	for i, k := range tasks {
		nums[i] = k.values[atHook]
	}
	c.drafts[atHook].nextAll(nums)

	seq, tid, ofTask := c.last[atSeq], c.last[atTID], 0
	for i, k := range tasks {
		r, v := &rows[i], &k.values
		if v[atCPU] != int64(r.cpu) {
			v[atCPU], c.last[atSeq], c.last[atTID] = int64(r.cpu), seq, tid
			if v[atKind] <= int64(Return) {
				c.key(keyedCPU, k)
			}
			c.key(keyedProbe, k)
		}
		seq = int64(r.CPUSeq)
		nums[i] = after(&c.keyed[keyedProbe].vals[k.num[keyedProbe]], seq)
		if v[atKind] <= int64(Return) {
			tid = v[atTID]
			p.more[ofTask&(maxPending-1)] = after(&c.keyed[keyedCPU].vals[k.num[keyedCPU]], tid)
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
	for i, k := range tasks {
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
			nums[j] = p.tasks[i&(maxPending-1)].values[atErrno]
		}
		c.drafts[atErrno].nextAll(nums)
	}
	addrs, before := &c.addrs[atRAddr], &RepeatRow{}
	place, port := c.last[atRAddr], c.last[atRPort]
	for j, i := range list {
		k, r := p.tasks[i&(maxPending-1)], &p.rows[i&(maxPending-1)]
		if v := &k.values; v[atCookie] != int64(r.Cookie) { // its key has the task's errno beside that
			v[atCookie], c.last[atRAddr], c.last[atRPort] = int64(r.Cookie), place, port
			c.key(keyedConn, k)
		}
		port = int64(r.RPort)
		if j == 0 || r.Addr != before.Addr || r.RAddr != before.RAddr {
			place, before = addrs.number(r.addr()), r
		}
		peer := c.keyed[keyedConn].vals[numPeer*k.num[keyedConn]:][:numPeer] // in the order of Fields
		nums[j], ports[j] = after(&peer[0], place), after(&peer[1], port)
	}
	c.drafts[atRAddr].nextAll(nums)
	c.drafts[atRPort].nextAll(ports)
	c.last[atRAddr], c.last[atRPort] = place, port
	for j, i := range list {
		nums[j] = after(&p.tasks[i&(maxPending-1)].values[atInode], int64(p.rows[i&(maxPending-1)].Inode))
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
	list := p.conn.at[:p.conn.n]
	nums, ok := p.nums[:len(list)], 0
	last := c.last[atCookie]
	for j, i := range list {
		r := &p.rows[i&(maxPending-1)]
		nums[j], last = int64(r.Cookie)-last, int64(r.Cookie)
		if r.class == rowClass(Return) {
			p.more[ok&(maxPending-1)] = after(&p.tasks[i&(maxPending-1)].values[atRet], int64(r.Ret))
			ok++
		}
	}
	c.drafts[atCookie].nextAll(nums)
	c.last[atCookie] = last
	c.drafts[atRet].nextAll(p.more[:ok])
}

// settleLives is settle for what only Queued and Closed have.
func (c *blockEncoder) settleLives(p *pendingRows) {
	queued, closed := p.queued.at[:p.queued.n], p.closed.at[:p.closed.n]
	nums, more := p.nums[:len(queued)], p.more[:len(queued)]
	for j, i := range queued {
		k, r := p.tasks[i&(maxPending-1)], &p.lives[p.rows[i&(maxPending-1)].life&(maxPending-1)]
		nums[j] = after(&c.keyed[keyedQueue].vals[k.num[keyedQueue]], int64(r.SynQueue))
		more[j] = after(&c.keyed[keyedQueued].vals[k.num[keyedQueued]], int64(r.HandshakeUS))
		c.last[atSynQueue], c.last[atHandshake] = int64(r.SynQueue), int64(r.HandshakeUS)
	}
	c.drafts[atSynQueue].nextAll(nums)
	c.drafts[atHandshake].nextAll(more)
	if len(closed) == 0 {
		return
	}
	nums = p.nums[:len(closed)]
	for j, i := range closed {
		k := p.tasks[i&(maxPending-1)]
		nums[j] = after(&c.keyed[keyedState].vals[k.num[keyedState]], k.values[atOldState])
		c.last[atOldState] = k.values[atOldState]
	}
	c.drafts[atOldState].nextAll(nums)
	for n, f := range closedFields {
		vals, v := c.keyed[keyedClosed].vals[n:], int64(0)
		for j, i := range closed {
			k := p.tasks[i&(maxPending-1)]
			switch at := unsafe.Add(unsafe.Pointer(&p.lives[p.rows[i&(maxPending-1)].life&(maxPending-1)]),
				f.at); f.size {
			case 8:
				v = *(*int64)(at)
			case 4:
				v = int64(*(*uint32)(at))
			case 2:
				v = int64(*(*uint16)(at))
			default:
				v = k.values[f.place]
			}
			nums[j] = after(&vals[numClosed*k.num[keyedClosed]], v)
		}
		c.drafts[f.place].nextAll(nums)
		c.last[f.place] = v
	}
}

var noLife LifeRow

// closedFields are the fields of keyedClosed, in the order of Fields, and where they are in a LifeRow; size 0: they
// are as in the event before.
var closedFields = [numClosed]struct {
	place
	at, size uintptr
}{
	{atSockErr, unsafe.Offsetof(noLife.SockErr), unsafe.Sizeof(noLife.SockErr)},
	{atShutdown, 0, 0},
	{atBytesIn, unsafe.Offsetof(noLife.BytesIn), unsafe.Sizeof(noLife.BytesIn)},
	{atBytesOut, unsafe.Offsetof(noLife.BytesOut), unsafe.Sizeof(noLife.BytesOut)},
	{atSegsIn, unsafe.Offsetof(noLife.SegsIn), unsafe.Sizeof(noLife.SegsIn)},
	{atSegsOut, unsafe.Offsetof(noLife.SegsOut), unsafe.Sizeof(noLife.SegsOut)},
	{atRetransmits, unsafe.Offsetof(noLife.Retransmits), unsafe.Sizeof(noLife.Retransmits)},
	{atSRTT, unsafe.Offsetof(noLife.SRTTUS), unsafe.Sizeof(noLife.SRTTUS)},
	{atMinRTT, unsafe.Offsetof(noLife.MinRTTUS), unsafe.Sizeof(noLife.MinRTTUS)},
}

// after gives the difference of n to what it is after, and makes it that.
func after(before *int64, n int64) int64 {
	d := n - *before
	*before = n
	return d
}
