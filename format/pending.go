package format

import "net/netip"

// maxPending is how many rows wait for their columns: so many that a loop for each column pays, and few enough to
// stay in a cache.
const maxPending = 512

// pendingRows are repeats whose numbers are not in the columns yet. They are of tasks whose last event is known, on the
// CPU of that.
type pendingRows struct {
	rows  []pendingRow
	lives []LifeRepeat // of the rows of Queued and Closed

	tasks [maxPending]*known // of each row
	nums  [maxPending]int64  // of a column
	more  [maxPending]int64  // of another one

	ofTask, outcome, conn, queued, closed rowList // the rows that have the fields of a condition
}

type pendingRow struct {
	task    int32 // place in known
	class   rowClass
	rport   uint16
	backlog uint32
	ret     int32
	bootNS  int64
	seq     int64
	inode   int64
	cookie  int64
	raddr   netip.Addr
}

// A rowList is places in pendingRows.rows.
type rowList struct {
	n  int
	at [maxPending]int16
}

func (l *rowList) add(row int) {
	l.at[l.n&(maxPending-1)] = int16(row)
	l.n++
}

// CallRepeat is the repeats of an entry and of the return behind it.
type CallRepeat struct {
	Enter  EnterRepeat
	Return Repeat
}

// An EnterRepeat is an Enter event that is like the last one of its task, but for this.
type EnterRepeat struct {
	BootNS  int64
	CPUSeq  uint64
	CPU     uint32
	Backlog uint32
}

// RepeatCall records both events of a call, each like the last one of its task, kind and errno, which enter and ret
// name: [Writer.Has] must have said so of both. False: the frame has no room for both, and nothing was recorded.
func (w *Writer) RepeatCall(enter, ret Row, r *CallRepeat) (bool, error) {
	if err := w.writable(); err != nil {
		return false, err
	}
	if w.block.rows+2 > w.max {
		return false, nil
	}
	w.block.repeatEnter(enter.task, &r.Enter)
	w.block.repeat(ret.task, &r.Return)
	w.seq++
	w.count++
	return true, w.added()
}

// repeatEnter is repeat for Enter.
func (c *blockEncoder) repeatEnter(task int32, r *EnterRepeat) {
	c.ready(rowClass(Enter), task, r.CPU)
	c.pending.rows = append(c.pending.rows, pendingRow{
		task: task, class: rowClass(Enter), backlog: r.Backlog, bootNS: r.BootNS, seq: int64(r.CPUSeq),
	})
	c.rows++
}

// repeat adds an event that is like the last one of a task, kind and errno.
func (c *blockEncoder) repeat(task int32, r *Repeat) {
	v := &c.known[task].values
	class := rowClass(v[atKind])
	if v[atErrno] != 0 {
		class = classFailed
	}
	c.ready(class, task, r.CPU)
	c.pending.rows = append(c.pending.rows, pendingRow{
		task: task, class: class, rport: r.RPort, backlog: r.Backlog, ret: r.Ret, bootNS: r.BootNS, seq: int64(r.CPUSeq),
		inode: int64(r.Inode), cookie: int64(r.Cookie), raddr: r.RAddr,
	})
	c.rows++
}

// repeatLife is repeat for Queued and Closed.
func (c *blockEncoder) repeatLife(task int32, r *LifeRepeat) {
	class := rowClass(c.known[task].values[atKind])
	c.ready(class, task, r.CPU)
	p := &c.pending
	p.lives = append(p.lives, *r)
	p.rows = append(p.rows, pendingRow{
		task: task, class: class, rport: r.RPort, backlog: r.Backlog, bootNS: r.BootNS, seq: int64(r.CPUSeq),
		inode: int64(r.Inode), cookie: int64(r.Cookie), raddr: r.RAddr,
	})
	c.rows++
}

// ready makes room for a row of a task, and sees to what is not a number of its own.
func (c *blockEncoder) ready(class rowClass, task int32, cpu uint32) {
	k := &c.known[task]
	v := &k.values
	has := encoding.of[class%numClasses].has
	named := has>>atRName&1 != 0 && v[atRName] != c.last[atRName]
	if v[atCPU] == int64(cpu) && c.unlike&has == 0 && len(c.pending.rows) < maxPending && !named {
		return
	}
	c.settle()
	if named { // the peer's name is the difference to that of the row before, whosever that is
		c.unlike |= 1 << atRName
	}
	c.quieten(class, k)
	if v[atCPU] != int64(cpu) {
		v[atCPU] = int64(cpu)
		if v[atKind] <= int64(Return) {
			c.key(keyedCPU, k)
		}
		c.key(keyedProbe, k)
	}
}

// settle puts the rows that wait into the columns.
func (c *blockEncoder) settle() {
	if p := &c.pending; len(p.rows) > 0 {
		c.settleAll(p)
		c.settleTasks(p)
		c.settleOutcomes(p)
		c.settleConns(p)
		if len(p.lives) > 0 {
			c.settleLives(p)
		}
		p.rows, p.lives = p.rows[:0], p.lives[:0]
	}
}

// settleAll is settle for what all kinds of events have.
func (c *blockEncoder) settleAll(p *pendingRows) {
	rows := p.rows[:min(len(p.rows), maxPending)]
	p.ofTask.n, p.outcome.n, p.conn.n, p.queued.n, p.closed.n = 0, 0, 0, 0, 0
	row := c.rows - len(rows)
	for i := range rows {
		r := &rows[i]
		p.tasks[i] = &c.known[r.task]
		row++
		c.lag[r.class%numClasses]++
		c.newest[r.class%numClasses] = newest{row, r.task}
		if r.class == rowClass(Enter) {
			p.ofTask.add(i)
			continue
		}
		p.outcome.add(i)
		switch r.class {
		case rowClass(Return):
			p.ofTask.add(i)
			p.conn.add(i)
		case classFailed:
			p.ofTask.add(i)
		case rowClass(Queued):
			p.conn.add(i)
			p.queued.add(i)
		default:
			p.conn.add(i)
			p.closed.add(i)
		}
	}
	nums := p.nums[:len(rows)]
	for _, f := range [...]place{atKind, atCPU, atHook} {
		for i := range nums {
			nums[i] = p.tasks[i].values[f]
		}
		c.drafts[f].nextAll(nums)
	}
	for i := range rows {
		k, n := p.tasks[i], rows[i].seq
		k.values[atSeq] = n
		nums[i] = after(&c.keyed[keyedProbe].vals[k.num[keyedProbe]], n)
	}
	c.drafts[atSeq].nextAll(nums)
	c.last[atSeq] = rows[len(rows)-1].seq
	last, first, latest := c.last[atBootNS], c.firstNS, c.lastNS
	for i := range rows {
		n := rows[i].bootNS
		p.tasks[i].values[atBootNS] = n
		nums[i], last = n-last, n
		first, latest = min(first, n), max(latest, n)
	}
	c.drafts[atBootNS].nextAll(nums)
	c.last[atBootNS], c.firstNS, c.lastNS = last, first, latest
	for i := range rows {
		nums[i] = after(&p.tasks[i].values[atBacklog], int64(rows[i].backlog))
	}
	c.drafts[atBacklog].nextAll(nums)
}

// settleTasks is settle for what the events of tasks have.
func (c *blockEncoder) settleTasks(p *pendingRows) {
	list := p.ofTask.at[:p.ofTask.n]
	nums := p.nums[:len(list)]
	for j, i := range list {
		k := p.tasks[i&(maxPending-1)]
		nums[j] = after(&c.keyed[keyedCPU].vals[k.num[keyedCPU]], k.values[atTID])
		c.last[atTID] = k.values[atTID]
	}
	c.drafts[atTID].nextAll(nums)
}

// settleOutcomes is settle for what all but entries have.
func (c *blockEncoder) settleOutcomes(p *pendingRows) {
	list := p.outcome.at[:p.outcome.n]
	nums, ports := p.nums[:len(list)], p.more[:len(list)]
	for j, i := range list {
		nums[j] = p.tasks[i&(maxPending-1)].values[atErrno]
	}
	c.drafts[atErrno].nextAll(nums)
	for j, i := range list {
		nums[j] = after(&p.tasks[i&(maxPending-1)].values[atInode], p.rows[i].inode)
	}
	c.drafts[atInode].nextAll(nums)
	for j, i := range list {
		k, r := p.tasks[i&(maxPending-1)], &p.rows[i]
		v := &k.values
		if v[atCookie] != r.cookie { // its key has the task's errno beside that
			v[atCookie] = r.cookie
			c.key(keyedConn, k)
		}
		v[atRPort], v[atRAddr] = int64(r.rport), c.addrs[atRAddr].number(r.raddr)
		peer := c.keyed[keyedConn].vals[numPeer*k.num[keyedConn]:][:numPeer] // in the order of Fields
		nums[j], ports[j] = after(&peer[0], v[atRAddr]), after(&peer[1], v[atRPort])
		c.last[atRAddr], c.last[atRPort] = v[atRAddr], v[atRPort]
	}
	c.drafts[atRAddr].nextAll(nums)
	c.drafts[atRPort].nextAll(ports)
}

// settleConns is settle for what accepted connections have, and their lives.
func (c *blockEncoder) settleConns(p *pendingRows) {
	list := p.conn.at[:p.conn.n]
	nums, rets, ok := p.nums[:len(list)], &p.more, 0
	last := c.last[atCookie]
	for j, i := range list {
		r := &p.rows[i]
		nums[j], last = r.cookie-last, r.cookie
		if r.class == rowClass(Return) {
			rets[ok&(maxPending-1)] = after(&p.tasks[i&(maxPending-1)].values[atRet], int64(r.ret))
			ok++
		}
	}
	c.drafts[atCookie].nextAll(nums)
	c.last[atCookie] = last
	c.drafts[atRet].nextAll(rets[:ok])
}

// settleLives is settle for what only Queued and Closed have.
func (c *blockEncoder) settleLives(p *pendingRows) {
	queued, closed := p.queued.at[:p.queued.n], p.closed.at[:p.closed.n]
	life, at := 0, [maxPending]int16{} // of each row
	for i := range p.rows {
		if class := p.rows[i].class; class == rowClass(Queued) || class == rowClass(Closed) {
			at[i&(maxPending-1)] = int16(life)
			life++
		}
	}
	nums, more := p.nums[:len(queued)], p.more[:len(queued)]
	for j, i := range queued {
		k, r := p.tasks[i&(maxPending-1)], &p.lives[at[i&(maxPending-1)]]
		nums[j] = after(&c.keyed[keyedQueue].vals[k.num[keyedQueue]], int64(r.SynQueue))
		more[j] = after(&c.keyed[keyedQueued].vals[k.num[keyedQueued]], int64(r.HandshakeUS))
		c.last[atSynQueue], c.last[atHandshake] = int64(r.SynQueue), int64(r.HandshakeUS)
	}
	c.drafts[atSynQueue].nextAll(nums)
	c.drafts[atHandshake].nextAll(more)
	for j, i := range closed {
		k := p.tasks[i&(maxPending-1)]
		p.nums[j] = after(&c.keyed[keyedState].vals[k.num[keyedState]], k.values[atOldState])
		c.last[atOldState] = k.values[atOldState]
	}
	c.drafts[atOldState].nextAll(p.nums[:len(closed)])
	for n, f := range closedFields { // in the order of Fields
		d := &c.drafts[f]
		for j, i := range closed {
			k, r := p.tasks[i&(maxPending-1)], &p.lives[at[i&(maxPending-1)]]
			v := k.values[f]
			switch f {
			case atSockErr:
				v = int64(r.SockErr)
			case atBytesIn:
				v = int64(r.BytesIn)
			case atBytesOut:
				v = int64(r.BytesOut)
			case atSegsIn:
				v = int64(r.SegsIn)
			case atSegsOut:
				v = int64(r.SegsOut)
			case atRetransmits:
				v = int64(r.Retransmits)
			case atSRTT:
				v = int64(r.SRTTUS)
			case atMinRTT:
				v = int64(r.MinRTTUS)
			}
			p.nums[j] = after(&c.keyed[keyedClosed].vals[int32(n)+numClosed*k.num[keyedClosed]], v)
			c.last[f] = v
		}
		d.nextAll(p.nums[:len(closed)])
	}
}

// closedFields are the fields of keyedClosed.
var closedFields = [numClosed]place{
	atSockErr, atShutdown, atBytesIn, atBytesOut, atSegsIn, atSegsOut, atRetransmits, atSRTT, atMinRTT,
}

// after gives the difference of n to what it is after, and makes it that.
func after(before *int64, n int64) int64 {
	d := n - *before
	*before = n
	return d
}
