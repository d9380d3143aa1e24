package report

// This file gives the keys of JSON lines as columns, for tables that other programs read.

import (
	"slices"

	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/filter"
	"github.com/acc-project/acc/analysis/pairing"
)

// Column is one column of a table of Ts: a key of JSON lines, or a field that only conditions know.
type Column[T any] struct {
	Field filter.Field[T] // its name and its value; a Time is one of the boot clock
	Unit  string          // "ns", "µs", "B", "" for others
	Wide  bool            // an integer of 64 bits without a sign
	Key   bool            // it is a key of JSON lines
	Of    Of[T]           // the same as Field's functions where that needs no environment
}

// Of is how a column is got of a value alone: by one of these, or by none.
type Of[T any] struct {
	Int  func(*T) (int64, bool)
	Text func(*T) (string, bool)
	Yes  func(*T) (yes, known bool)
}

// ConnectionColumns are the keys of AppendConnectionJSON in their order; behind them times of day, and who accepted.
func ConnectionColumns() []Column[conntrack.Connection] {
	return columnsOf(connectionKeys, ConnectionFields())
}

// PairColumns are the keys of AppendPairJSON in their order; behind them times of day, and who called accept.
func PairColumns() []Column[pairing.Pair] { return columnsOf(pairKeys, PairFields()) }

func columnsOf[T any](keys []lineKey[T], fields []filter.Field[T]) (list []Column[T]) {
	for i := range keys {
		k := &keys[i]
		f := k.ask
		f.Name, f.Doc, f.Words = k.Name, k.Doc, k.Values
		list = append(list, Column[T]{Field: f, Unit: k.Unit, Wide: k.wide, Key: true, Of: k.of})
	}
	for _, f := range fields {
		key := slices.ContainsFunc(keys, func(k lineKey[T]) bool { return k.Name == f.Name })
		if !key && (f.Kind == filter.Time || slices.Contains(filter.ProcessNames(), f.Name)) {
			list = append(list, Column[T]{Field: f})
		}
	}
	return list
}
