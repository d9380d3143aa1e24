package format

// A predictor finds, for each row of a block, the earlier row that a keyed
// column writes the difference to. Its memory is reused from block to block.
type predictor struct {
	table []slot // open addressing; a slot of an older round is empty
	round uint32
}

type slot struct {
	a, b  uint64
	row   int32
	round uint32
}

const noRow = -1

// begin makes the predictor forget all keys, for a block of up to n rows.
func (p *predictor) begin(n int) {
	size := 64
	for size < 2*n {
		size *= 2
	}
	if len(p.table) < size {
		p.table = make([]slot, size)
		p.round = 0
	}
	p.round++
	if p.round == 0 { // wrapped: old slots would look new
		clear(p.table)
		p.round = 1
	}
}

// prev gives the last row with key (a, b), or noRow, and makes row the last one.
func (p *predictor) prev(a, b uint64, row int32) int32 {
	mask := uint64(len(p.table) - 1)
	i := (a*0x9E3779B97F4A7C15 ^ b*0xC2B2AE3D27D4EB4F) >> 17
	for {
		s := &p.table[i&mask]
		if s.round != p.round {
			*s = slot{a: a, b: b, row: row, round: p.round}
			return noRow
		}
		if s.a == a && s.b == b {
			last := s.row
			s.row = row
			return last
		}
		i++
	}
}

// keyKind is the handful of keys that columns use.
type keyKind uint8

const (
	byPlain keyKind = iota // the value itself
	byPrev                 // the last row that has the field
	byErrno
	byCPU
	byProbe
	byTask
	numKeys
)

// keyOf recognises a field's key.
func keyOf(names []string) (keyKind, bool) {
	if names == nil {
		return byPlain, true
	}
	for k, known := range map[keyKind][]string{byPrev: keyPrev, byErrno: keyErrno, byCPU: keyCPU, byProbe: keyProbe, byTask: keyTask} {
		if equal(names, known) {
			return k, true
		}
	}
	return 0, false
}

func equal(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// key packs what a row's key consists of into two words.
func key(k keyKind, e *Event) (a, b uint64) {
	switch k {
	case byErrno:
		return uint64(uint32(e.Errno())), 0
	case byCPU:
		return uint64(e.CPU), 0
	case byProbe:
		return uint64(e.CPU), uint64(e.Hook)<<8 | uint64(e.Kind)
	case byTask:
		return uint64(e.TID), uint64(uint32(e.Errno()))<<8 | uint64(e.Kind)
	}
	return 0, 0
}

// onKind is the handful of sets of rows that have a field.
type onKind uint8

const (
	onAllRows onKind = iota
	onEnterRows
	onReturnRows
	onAcceptedRows
	numOn
)

// onOf recognises a field's condition.
func onOf(on map[string]int64) (onKind, bool) {
	kind, hasKind := on["kind"]
	errno, hasErrno := on["errno"]
	switch {
	case len(on) == 0:
		return onAllRows, true
	case len(on) == 1 && hasKind && kind == int64(Enter):
		return onEnterRows, true
	case len(on) == 1 && hasKind && kind == int64(Return):
		return onReturnRows, true
	case len(on) == 2 && hasKind && kind == int64(Return) && hasErrno && errno == 0:
		return onAcceptedRows, true
	}
	return 0, false
}

// rowSets lists the rows of a block that each condition holds for. The sets are
// known once the kind and errno of all rows are.
type rowSets [numOn][]int32

func (r *rowSets) fill(events []Event) {
	r.all(len(events))
	for i := range events {
		e, row := &events[i], int32(i)
		switch {
		case e.Kind == Enter:
			r[onEnterRows] = append(r[onEnterRows], row)
		case e.Kind == Return && e.Ret >= 0:
			r[onAcceptedRows] = append(r[onAcceptedRows], row)
			fallthrough
		case e.Kind == Return:
			r[onReturnRows] = append(r[onReturnRows], row)
		}
	}
}

// all makes the set of all n rows and empties the others.
func (r *rowSets) all(n int) {
	for i := range r {
		r[i] = r[i][:0]
	}
	for i := range n {
		r[onAllRows] = append(r[onAllRows], int32(i))
	}
}
