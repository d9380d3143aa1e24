package format

// This file puts the numbers that wait into the columns, each column in one loop.

import "unsafe"

// settle puts the rows that wait into the columns.
func (c *blockEncoder) settle() {
	p := &c.pending
	if p.n == 0 {
		return
	}
	if c.steady.left > 0 || c.steady.n > 0 {
		c.settleSteady()
	} else {
		c.settleRows()
	}
	if p.n > 0 {
		c.span(p)
	}
	for class, n := range [...]int{Enter: p.n - p.outcomes, classFailed: p.outcomes - p.conns, Return: p.returns,
		Queued: p.queued.n, Closed: p.closed.n} {
		c.lag[class] += int32(n)
	}
	p.n, p.tasks, p.outcomes, p.conns, p.returns, p.queued.n, p.closed.n, p.fell = 0, 0, 0, 0, 0, 0, 0, 0
}

// settleRows is settle for rows that were taken one by one.
func (c *blockEncoder) settleRows() {
	p := &c.pending
	c.drafts[atKind].nextBytes(p.kinds[:p.n])
	c.drafts[atHook].nextBytes(p.hooks[:p.n])
	c.drafts[atCPU].nextWide(&p.cpus, p.n)
	c.drafts[atSeq].nextWide(&p.seqs, p.n)
	c.drafts[atBootNS].nextWide(&p.times, p.n)
	c.drafts[atBacklog].nextWide(&p.backlogs, p.n)
	c.drafts[atTID].nextRare(&p.tids, p.tasks)
	c.drafts[atInode].nextWide(&p.inodes, p.outcomes)
	c.drafts[atRPort].nextWide(&p.ports, p.outcomes)
	c.drafts[atRAddr].nextRare(&p.places, p.outcomes)
	c.drafts[atErrno].nextRare(&p.errnos, p.outcomes)
	c.drafts[atCookie].nextWide(&p.cookies, p.conns)
	c.drafts[atRet].nextWide(&p.rets, p.returns)
	c.settleQueued(p)
	c.settleClosed(p)
}

// span widens the time of the block's events by that of the rows.
func (c *blockEncoder) span(p *pendingRows) {
	first, latest := p.beforeNS+p.times.of[0], c.last[atBootNS]
	if p.fell < 0 {
		ns := p.beforeNS
		for _, d := range p.times.of[:p.n] {
			ns += d
			first, latest = min(first, ns), max(latest, ns)
		}
	}
	c.firstNS, c.lastNS = min(c.firstNS, first), max(c.lastNS, latest)
}

// settleQueued is settle for what only Queued have.
func (c *blockEncoder) settleQueued(p *pendingRows) {
	l := &p.queued
	if l.n == 0 {
		return
	}
	settleLife[uint32](c, l, lifeField{atSynQueue, keyedQueue, 1, 0}, unsafe.Offsetof(l.rows[0].SynQueue))
	settleLife[uint32](c, l, lifeField{atHandshake, keyedQueued, 1, 0}, unsafe.Offsetof(l.rows[0].HandshakeUS))
}

// settleClosed is settle for what only Closed have.
func (c *blockEncoder) settleClosed(p *pendingRows) {
	l := &p.closed
	if l.n == 0 {
		return
	}
	c.settleSame(l, lifeField{atOldState, keyedState, 1, 0})
	for n, m := range encoding.closed { // in the order of Fields
		f := lifeField{m.place, keyedClosed, len(encoding.closed), n}
		switch m.size {
		case 8:
			settleLife[int64](c, l, f, m.at)
		case 4:
			settleLife[uint32](c, l, f, m.at)
		case 2:
			settleLife[uint16](c, l, f, m.at)
		default:
			c.settleSame(l, f)
		}
	}
}

// A lifeField is the n-th of the fields of a group.
type lifeField struct {
	place
	group, fields, n int
}

// before is where the field's value in the row before is.
func (f *lifeField) before(c *blockEncoder, k *known) *int64 {
	return &c.keyed[f.group&keyedMask].vals[f.fields*int(k.num[f.group&keyedMask])+f.n]
}

// settleLife is settle for a field that is a member of LifeRow at an offset.
func settleLife[T int64 | uint32 | uint16](c *blockEncoder, l *lifeRows, f lifeField, at uintptr) {
	d, nums, before := &c.drafts[f.place&fieldMask], &c.pending.nums, f.before(c, l.k)
	last, member, same := *before, unsafe.Add(unsafe.Pointer(&l.rows), at), 0
	for same < l.n && int64(*(*T)(member)) == last {
		same++
		member = unsafe.Add(member, unsafe.Sizeof(LifeRow{}))
	}
	c.last[f.place&fieldMask] = last
	if d.nextSame(0, int32(same)); same == l.n {
		return
	}
	nums.wide = 0
	for i := range l.n - same {
		n := int64(*(*T)(member))
		nums.put(i, n-last)
		last, member = n, unsafe.Add(member, unsafe.Sizeof(LifeRow{}))
	}
	d.nextWide(nums, l.n-same)
	*before, c.last[f.place&fieldMask] = last, last
}

// settleSame is settle for a field that is as in the event before.
func (c *blockEncoder) settleSame(l *lifeRows, f lifeField) {
	d, num := &c.drafts[f.place&fieldMask], l.k.values[f.place&fieldMask]
	d.nextSame(after(f.before(c, l.k), num), 1)
	d.nextSame(0, int32(l.n-1))
	c.last[f.place&fieldMask] = num
}
