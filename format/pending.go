package format

// This file takes repeated events: of each column it keeps the numbers until there are enough for a loop.

// maxPending is how many rows wait for their columns: so many that a loop for each column pays, and few enough to
// stay in a cache.
const (
	maxPending = 512
	rowMask    = maxPending - 1
)

// pendingRows are the numbers of repeats that are not in the columns yet.
type pendingRows struct {
	n, tasks, outcomes, conns, returns int // rows that have the fields of a condition

	kinds, hooks                [maxPending]byte
	cpus, seqs, times, backlogs waitingNums
	tids                        waitingNums // of tasks' events; 0 but for what is put
	inodes, ports               waitingNums // of outcomes
	places, errnos              waitingNums // too; 0 but for what is put
	cookies                     waitingNums // of connections
	rets                        waitingNums // of returns
	queued, closed              lifeRows    // what these have besides
	nums                        waitingNums // of one of those columns

	beforeNS int64 // time of the row before the first one
	fell     int64 // negative: times do not only rise
	peer     peer  // of the row before
	conn     conn  // that was queued last: the next rows are often of it, too
}

// waitingNums are the numbers of a column.
type waitingNums struct {
	of   [maxPending]int64
	low  [maxPending]byte // of each
	wide uint64           // wideOf them
}

func (w *waitingNums) put(at int, num int64) { w.wide |= w.set(at, num) }

// set is put for one that adds to wide, later, what it gives.
func (w *waitingNums) set(at int, num int64) (wide uint64) {
	w.of[at&rowMask], w.low[at&rowMask] = num, byte(num)
	return uint64(num ^ num<<1)
}

// lifeRows are the rows of a kind.
type lifeRows struct {
	n    int
	k    *known // all of them repeat it
	rows [maxPending]LifeRow
}

// A peer is an address, and its number in the column of them.
type peer struct {
	ip    [16]byte
	form  AddrForm
	known bool
	num   int64
}

// A conn is a connection, which has no errno, and the number of its key.
type conn struct {
	cookie uint64
	num    int32 // negative: none
}

// Repeat records an event that is like the last one of its task, kind and errno, which before names, and has
// the same errno, but for what r says. False: nothing was recorded, and the event is to be recorded by [Writer.Event].
func (w *Writer) Repeat(before Row, r *RepeatRow) bool {
	if !w.takes(before, 1) {
		return false
	}
	k, class, c := before.k, before.k.class(), &w.block
	if c.isUnusual(k) {
		c.unusual(class, k)
	}
	w.seq++
	w.count++
	c.row(k, r.CPU, r.CPUSeq, r.Backlog, r.BootNS)
	c.task(k)
	c.came(class, k, c.rows)
	if class == rowClass(Enter) {
		return true
	}
	c.outcome(k, r.Inode, r.Cookie, &r.RAddr, r.Addr, r.RPort)
	if class == rowClass(Return) {
		c.accepted(k, r.Ret)
	}
	return true
}

// RepeatLife is Repeat for Queued and Closed.
func (w *Writer) RepeatLife(before Row, l *LifeRow, addr AddrForm) bool {
	if !w.takes(before, 1) {
		return false
	}
	k, class, c := before.k, rowClass(Closed), &w.block
	list := &c.pending.closed
	if k.values[atKind] == int64(Queued) {
		class, list = rowClass(Queued), &c.pending.queued
	}
	if c.isUnusual(k) {
		c.unusual(class, k)
	}
	if list.k != k {
		c.settle()
		list.k = k
	}
	w.seq++
	w.count++
	c.row(k, l.CPU, l.CPUSeq, l.Backlog, l.BootNS)
	c.came(class, k, c.rows)
	c.outcome(k, l.Inode, l.Cookie, &l.RAddr, addr, l.RPort)
	if class == rowClass(Queued) {
		c.pending.conn = conn{l.Cookie, k.num[keyedConn]}
	}
	list.rows[list.n&rowMask] = *l
	list.n++
	return true
}

// RepeatCall is Repeat for both events of a call, an Enter and a Return; of one that failed nothing is said of the
// connection.
func (w *Writer) RepeatCall(enter, ret Row, call *CallRow, addr AddrForm) bool {
	if w.Steady() > 0 && w.RepeatCalls(enter, ret, []*CallRow{call}, addr) == 1 {
		return true
	}
	if !w.takes(enter, 2) || !w.Has(ret) {
		return false
	}
	c, in, out := &w.block, enter.k, ret.k
	if c.isUnusual(out) {
		c.unusual(rowClass(Enter), in)
		c.unusual(out.class(), out) // now, since it puts rows that are not counted into the columns
	}
	w.seq += 2
	w.count += 2
	c.row(in, call.EnterCPU, call.EnterSeq, call.EnterBacklog, call.EnterNS)
	c.task(in)
	c.came(rowClass(Enter), in, c.rows)
	c.row(out, call.CPU, call.CPUSeq, call.Backlog, call.BootNS)
	if call.CPU == call.EnterCPU && out.values[atTID] == in.values[atTID] {
		c.pending.tasks++ // as the row before
	} else {
		c.task(out)
	}
	if out.values[atErrno] != 0 {
		c.came(classFailed, out, c.rows)
		c.outcome(out, 0, 0, &call.RAddr, NoAddr, 0)
		return true
	}
	c.came(rowClass(Return), out, c.rows)
	c.outcome(out, call.Inode, call.Cookie, &call.RAddr, addr, call.RPort)
	c.accepted(out, call.Ret)
	if c.steady.streak++; c.steady.streak >= steadyAfter {
		c.maybeSteady(w.most, enter, ret, call, addr)
	}
	return true
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

// came notes that a row of a class came last.
func (c *blockEncoder) came(class rowClass, k *known, row int) {
	last := &c.newest[class%maxClasses]
	if last.row = row; last.k != k {
		last.k = k
	}
}

// row takes what all kinds of events have.
func (c *blockEncoder) row(k *known, cpu uint32, seq uint64, backlog uint32, ns int64) {
	p, v := &c.pending, &k.values
	if v[atCPU] != int64(cpu) {
		v[atCPU] = int64(cpu)
		if v[atKind] <= int64(Return) {
			c.key(keyedCPU, k)
		}
		c.key(keyedProbe, k)
	}
	at, d := p.n, ns-c.last[atBootNS]
	if at == 0 {
		p.beforeNS = c.last[atBootNS]
	}
	p.kinds[at&rowMask], p.hooks[at&rowMask] = byte(v[atKind]), byte(v[atHook])
	p.cpus.put(at, int64(cpu))
	p.times.put(at, d)
	p.fell |= d
	p.seqs.put(at, after(&c.keyed[keyedProbe].vals[k.num[keyedProbe]], int64(seq)))
	p.backlogs.put(at, after(&v[atBacklog], int64(backlog)))
	c.last[atBootNS], c.last[atSeq] = ns, int64(seq)
	p.n++
	c.rows++
}

// task takes what tasks' events have, the row's: tid, which is mostly that of its CPU's event before.
func (c *blockEncoder) task(k *known) {
	p, tid := &c.pending, k.values[atTID]
	c.last[atTID] = tid
	if before := &c.keyed[keyedCPU].vals[k.num[keyedCPU]]; *before != tid {
		p.tids.put(p.tasks, after(before, tid))
	}
	p.tasks++
}

// outcome takes what all but entries have.
func (c *blockEncoder) outcome(k *known, inode, cookie uint64, ip *[16]byte, form AddrForm, port uint16) {
	p, v, at := &c.pending, &k.values, c.pending.outcomes
	p.inodes.put(at, after(&v[atInode], int64(inode)))
	if v[atErrno] != 0 {
		p.errnos.put(at, v[atErrno])
	} else { // a connection
		p.cookies.put(p.conns, after(&c.last[atCookie], int64(cookie)))
		p.conns++
	}
	if p.peer.ip != *ip || p.peer.form != form || !p.peer.known {
		p.peer = peer{*ip, form, true, c.addrs[atRAddr].number(addrOf(ip, form))}
	}
	place, num := c.last[atRAddr], c.last[atRPort]
	c.last[atRAddr], c.last[atRPort] = p.peer.num, int64(port)
	conns, isNew := &c.keyed[keyedConn], false
	if v[atCookie] != int64(cookie) { // its key has the task's errno beside that
		v[atCookie] = int64(cookie)
		if p.conn.num >= 0 && p.conn.cookie == cookie && v[atErrno] == 0 {
			k.num[keyedConn] = p.conn.num
		} else {
			of, known := conns.keys.number(uint64(v[atErrno]), cookie)
			k.num[keyedConn], isNew = of, !known
		}
	}
	if isNew { // its peer is the difference to that of the row before
		conns.vals = append(conns.vals, p.peer.num, int64(port)) // in the order of Fields
	} else {
		of := (*[numPeer]int64)(conns.vals[numPeer*k.num[keyedConn]:])
		place, num = of[0], of[1]
		of[0], of[1] = p.peer.num, int64(port)
	}
	if place != p.peer.num {
		p.places.put(at, p.peer.num-place)
	}
	p.ports.put(at, int64(port)-num)
	p.outcomes++
}

// accepted takes what returns have that did not fail.
func (c *blockEncoder) accepted(k *known, ret int32) {
	p := &c.pending
	p.rets.put(p.returns, after(&k.values[atRet], int64(ret)))
	p.returns++
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

// after gives the difference of n to what it is after, and makes it that.
func after(before *int64, n int64) int64 {
	d := n - *before
	*before = n
	return d
}
