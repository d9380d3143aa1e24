package export

// This file makes rows of tables.

import (
	"errors"
	"slices"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/pairing"
)

// Rows is where rows of tables go. A row is overwritten afterwards.
type Rows interface {
	Begin(s *Source) error            // rows of a capture begin
	Row(table int, row []Value) error // of one of the tables that it was made for, by its number
	End(s *Source) error              // all rows of the capture have been given
	Close() error                     // there are no further ones
}

// rowsOf makes rows of Ts.
type rowsOf[T any] struct {
	table   int // -1: nobody wants them
	columns []column[T]
	row     []Value

	to   *parquetFile // which takes them column by column; nil: they go row by row
	kept []T          // that it has not taken yet
}

// of fills the row of a value.
func (r *rowsOf[T]) of(v *T, s *Source) []Value {
	for i := range r.columns {
		r.columns[i].get(v, s, &r.row[i])
	}
	return r.row
}

// keptRows is how many are taken at once: as many as stay in the caches near a CPU.
const keptRows = 32

// give passes the row of a value on: at once, or, where columns take many rows together, by settle at the latest.
func (r *rowsOf[T]) give(v *T, s *Source, rows Rows) error {
	if r.to == nil {
		return rows.Row(r.table, r.of(v, s))
	}
	if r.kept = append(r.kept, *v); len(r.kept) < keptRows {
		return nil
	}
	return r.settle(s)
}

// settle has the file take all that is kept.
func (r *rowsOf[T]) settle(s *Source) error {
	rest := r.kept
	r.kept = r.kept[:0]
	for len(rest) > 0 {
		now := rest[:min(len(rest), r.to.room())]
		rest = rest[len(now):]
		for i := range r.columns {
			r.columns[i].fill(now, s, &r.to.vectors[i])
		}
		if err := r.to.took(len(now)); err != nil {
			return err
		}
	}
	return nil
}

// want chooses the columns of a table if it is one of those that are wanted.
func (r *rowsOf[T]) want(name string, all []column[T], t *tables, fields []string, parquet bool) error {
	r.table = -1
	if !slices.Contains(t.names, name) {
		return nil
	}
	columns, err := choose(name, all, fields, parquet)
	if err != nil {
		return err
	}
	r.table, r.columns, r.row = len(t.list), columns, make([]Value, len(columns))
	t.list = append(t.list, Table{name, infos(columns)})
	return nil
}

// tables is the Sink of formats that have rows.
type tables struct {
	rows  Rows
	names []string
	list  []Table

	source      *Source
	connections rowsOf[conntrack.Connection]
	attempts    rowsOf[pairing.Pair]
	captures    rowsOf[capture]
	findings    rowsOf[finding]
}

// newTables makes the tables of these names, with the columns of these names; without any, with those that a format has
// by itself.
func newTables(names, fields []string, parquet bool) (*tables, error) {
	t := &tables{names: names}
	err := errors.Join(
		t.connections.want(Connections, connectionColumns, t, fields, parquet),
		t.attempts.want(Attempts, attemptColumns, t, fields, parquet),
		t.captures.want(Captures, captureColumns, t, fields, parquet),
		t.findings.want(Findings, findingColumns, t, fields, parquet),
	)
	return t, err
}

func (t *tables) Wants() (connections, attempts bool) {
	return t.connections.table >= 0, t.attempts.table >= 0
}

// RowsAlone reports whether the result of the analysis is asked for nothing but its verdict: there are rows of
// connections, and no others.
func (t *tables) RowsAlone() bool {
	return t.attempts.table < 0 && t.captures.table < 0 && t.findings.table < 0
}

func (t *tables) Begin(s *Source) error {
	t.source = s
	return t.rows.Begin(s)
}

func (t *tables) Connection(c *conntrack.Connection) error {
	t.source.connections++
	return t.connections.give(c, t.source, t.rows)
}

func (t *tables) Attempt(p *pairing.Pair) error {
	t.source.attempts++
	return t.attempts.give(p, t.source, t.rows)
}

// Settle takes what was given so far. It comes before anything changes that [Source] has.
func (t *tables) Settle() error {
	return errors.Join(t.connections.settle(t.source), t.attempts.settle(t.source))
}

func (t *tables) End(s *Source, r *analysis.Result) error {
	if r == nil {
		if err := t.rows.Begin(s); err != nil {
			return err
		}
	}
	if err := t.Settle(); err != nil {
		return err
	}
	if t.findings.table >= 0 && r != nil {
		for i := range r.Findings {
			if err := t.rows.Row(t.findings.table, t.findings.of(&finding{r.Findings[i], int64(i + 1)}, s)); err != nil {
				return err
			}
		}
	}
	if t.captures.table >= 0 {
		if err := t.rows.Row(t.captures.table, t.captures.of(&capture{r}, s)); err != nil {
			return err
		}
	}
	return t.rows.End(s)
}

func (t *tables) Close() error { return t.rows.Close() }
