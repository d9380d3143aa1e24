package format

// This file finds for each row the earlier row that it is predicted from.

import (
	"math/bits"
	"math/rand/v2"
	"slices"
	"unsafe"
)

// rowKey is what other columns' keys and conditions need of a row.
type rowKey struct {
	cookie   uint64
	tid, cpu uint32
	errno    int32 // of a return
	lport    uint16
	kind     Kind
	hook     Hook
}

// keys are the rows of a block that is being decoded, and for each kind of key and
// condition which earlier row each row is the difference to; see predictions.
type keys struct {
	row   []rowKey
	rows  rowSets
	table []int32 // open addressing: place in a list of rows, from 1
	seed  [2]uint64
	prev  [numKeys][maxSets][]int32
	made  [numKeys][maxSets]bool
	at    []int32 // place of each row in a list of rows
}

// begin is for a block of n rows of which nothing is known.
func (k *keys) begin(n int) {
	k.made = [numKeys][maxSets]bool{}
	k.row = slices.Grow(k.row[:0], n)[:n]
	clear(k.row)
	k.rows.all(n) // the other sets are right after kind and errno
}

// isKey reports whether other columns' keys and conditions need the field.
func (f *Field) isKey() bool {
	switch f.at {
	case unsafe.Offsetof(ev.Kind), unsafe.Offsetof(ev.Hook), unsafe.Offsetof(ev.CPU), unsafe.Offsetof(ev.TID),
		unsafe.Offsetof(ev.LPort),
		unsafe.Offsetof(ev.Cookie):
		return true
	}
	return f.size == 0 // errno; Seq, at 0, is no field
}

// keep takes the values of a field that keys need.
func (k *keys) keep(f *Field, rows []int32, nums []int64) error {
	bad := int64(0)
	switch f.at {
	case unsafe.Offsetof(ev.Kind):
		for i, row := range rows {
			if v := nums[i]; v < int64(Enter) || v >= NumKinds {
				return errRange
			}
			k.row[row].kind = Kind(nums[i])
		}
	case unsafe.Offsetof(ev.Hook):
		for i, row := range rows {
			bad |= nums[i] &^ 0xff
			k.row[row].hook = Hook(nums[i])
		}
	case unsafe.Offsetof(ev.CPU):
		for i, row := range rows {
			bad |= nums[i] &^ 0xffffffff
			k.row[row].cpu = uint32(nums[i])
		}
	case unsafe.Offsetof(ev.TID):
		for i, row := range rows {
			bad |= nums[i] &^ 0xffffffff
			k.row[row].tid = uint32(nums[i])
		}
	case unsafe.Offsetof(ev.LPort):
		for i, row := range rows {
			bad |= nums[i] &^ 0xffff
			k.row[row].lport = uint16(nums[i])
		}
	case unsafe.Offsetof(ev.Cookie):
		for i, row := range rows {
			k.row[row].cookie = uint64(nums[i])
		}
	default: // errno
		for i, row := range rows {
			bad |= nums[i] &^ 0x7fffffff
			if r := &k.row[row]; r.kind == Return {
				r.errno = int32(nums[i])
			}
		}
	}
	if bad != 0 {
		return errRange
	}
	if f.size == 0 || f.at == unsafe.Offsetof(ev.Kind) {
		k.classes()
	}
	return nil
}

// classes makes the sets of rows anew.
func (k *keys) classes() {
	k.rows.all(len(k.row))
	k.rows.classes = slices.Grow(k.rows.classes[:0], len(k.row))[:len(k.row)]
	var present onMask
	for i := range k.row {
		class := rowClass(k.row[i].kind)
		if k.row[i].errno > 0 {
			class = classFailed
		}
		k.rows.classes[i] = class
		present |= 1 << class
	}
	k.rows.split(present)
}

// key packs what the row's key consists of into two words, as the function key does.
func (r *rowKey) key(k keyKind) (a, b uint64) {
	switch k {
	case byConn:
		return uint64(uint32(r.errno)), r.cookie
	case byPort:
		return uint64(r.lport), 0
	case byCPU:
		return uint64(r.cpu), 0
	case byProbe:
		return uint64(r.cpu), uint64(r.hook)<<8 | uint64(r.kind)
	case byTask:
		return uint64(r.tid), uint64(uint32(r.errno))<<8 | uint64(r.kind)
	}
	return 0, 0
}

// of gives, for the rows of on, the index in that list of the row before by kind: the
// last one with the same key, else the last one; -1 for the first.
func (k *keys) of(kind keyKind, on onSet) []int32 {
	if k.made[kind][on] {
		return k.prev[kind][on]
	}
	k.made[kind][on] = true
	rows := k.rows.of[on]
	prev := slices.Grow(k.prev[kind][on][:0], len(rows))[:len(rows)]
	k.prev[kind][on] = prev
	if kind == byTask && on != onAllRows {
		k.amongTask(rows, prev)
		return prev
	}
	k.last(kind, rows, prev)
	return prev
}

// last finds, for each of the rows, the last one before with the same key, else the one
// before.
func (k *keys) last(kind keyKind, rows, prev []int32) {
	if k.seed[0] == 0 { // so that nobody can choose keys that collide
		k.seed = [2]uint64{rand.Uint64() | 1, rand.Uint64() | 1}
	}
	width := bits.Len(uint(len(rows) + 64)) // any size that does not get full will do: mutate: ignore
	k.table = slices.Grow(k.table[:0], 1<<width)[:1<<width]
	clear(k.table)
	mask := 1<<width - 1
	for i, row := range rows {
		a, b := k.row[row].key(kind)
		at := int((a*k.seed[0] + b*k.seed[1]) >> (64 - width)) // any place will do: mutate: ignore
		prev[i] = int32(i) - 1
		for ; k.table[at] != 0; at = (at + 1) & mask {
			before := k.table[at] - 1
			if x, y := k.row[rows[before]].key(kind); x == a && y == b {
				prev[i] = before
				break
			}
		}
		k.table[at] = int32(i) + 1
	}
}

// amongTask is of for byTask and part of the rows: those of one task, kind and errno
// are all among them or none.
func (k *keys) amongTask(rows, prev []int32) {
	all := k.of(byTask, onAllRows)
	k.at = slices.Grow(k.at[:0], len(k.row))[:len(k.row)]
	for i, row := range rows {
		k.at[row] = int32(i)
		prev[i] = int32(i) - 1
		if before := all[row]; before >= 0 {
			if a, b := &k.row[before], &k.row[row]; a.tid == b.tid && a.kind == b.kind && a.errno == b.errno {
				prev[i] = k.at[before]
			}
		}
	}
}
