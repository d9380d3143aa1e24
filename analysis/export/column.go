package export

// This file has the columns of tables, and rows.

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/filter"
	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/analysis/pairing"
	"github.com/acc-project/acc/analysis/report"
)

// Column is one column of a table.
type Column struct {
	Name  string
	Kind  Kind
	Unit  string   // "ns", "µs", "B", "" for others
	Words []string // all that a Text can be; nil: anything
	Doc   string
	// Derived: others say the same. Parquet has it only by --fields.
	Derived bool
	// Asked: it is there only by --fields.
	Asked bool
}

// Table says which rows there are of what.
type Table struct {
	Name    string
	Columns []Column
}

// The names of tables.
const (
	Connections = "connections" // TCP connections
	Attempts    = "attempts"    // to accept
	Captures    = "captures"    // one row each
	Findings    = "findings"
)

// Tables are all tables, with all columns. Each row has the key (capture_id, seq).
func Tables() []Table {
	return []Table{
		{Connections, infos(connectionColumns)}, {Attempts, infos(attemptColumns)},
		{Captures, infos(captureColumns)}, {Findings, infos(findingColumns)},
	}
}

// column is a column of rows that are made of Ts. Of the functions it has the one of its kind; each says whether the
// value is known.
type column[T any] struct {
	Column
	number func(*T, *Source) (int64, bool) // of Int, Uint, Time
	yes    func(*T, *Source) (yes, known bool)
	text   func(*T, *Source) (string, bool)
	addr   func(*T, *Source) (netip.Addr, bool)

	alone report.Of[T] // the same as one of these, where the Source is not asked
}

// get sets what the column's kind has of a value, and Known.
func (c *column[T]) get(v *T, s *Source, x *Value) {
	switch c.Kind {
	case Flag:
		x.flag(c.yes(v, s))
	case Text:
		x.S, x.Known = c.text(v, s)
	case Addr:
		x.A, x.Known = c.addr(v, s)
	default:
		x.N, x.Known = c.number(v, s)
	}
}

// fill adds the cells of rows: keptRows at most.
func (c *column[T]) fill(list []T, s *Source, to *vector) {
	var x cells
	switch {
	case c.alone.Int != nil:
		for i := range list {
			n, known := c.alone.Int(&list[i])
			x.set(i, n, known)
		}
	case c.alone.Text != nil:
		for i := range list {
			text, known := c.alone.Text(&list[i])
			x.text(i, text, known, to)
		}
	case c.alone.Yes != nil:
		for i := range list {
			yes, known := c.alone.Yes(&list[i])
			x.flag(i, yes, known)
		}
	case c.Kind == Flag:
		for i := range list {
			yes, known := c.yes(&list[i], s)
			x.flag(i, yes, known)
		}
	case c.Kind == Text:
		for i := range list {
			text, known := c.text(&list[i], s)
			x.text(i, text, known, to)
		}
	case c.Kind == Addr:
		for i := range list {
			a, known := c.addr(&list[i], s)
			x.addr(i, a, known, to)
		}
	case c.Kind == Time:
		for i := range list {
			ns, known := c.number(&list[i], s)
			x.set(i, floorMicros(ns), known)
		}
	default:
		for i := range list {
			n, known := c.number(&list[i], s)
			x.set(i, n, known)
		}
	}
	to.take(&x, len(list))
}

func infos[T any](list []column[T]) (columns []Column) {
	for i := range list {
		columns = append(columns, list[i].Column)
	}
	return columns
}

func intColumn[T any](name, doc string, of func(*T, *Source) (int64, bool)) column[T] {
	c := column[T]{Column: Column{Name: name, Kind: Int, Doc: doc}, number: of}
	if strings.HasSuffix(name, "_ns") {
		c.Unit = "ns"
	}
	return c
}

func textColumn[T any](name, doc string, of func(*T, *Source) string) column[T] {
	return column[T]{Column: Column{Name: name, Kind: Text, Doc: doc}, text: func(v *T, s *Source) (string, bool) {
		text := of(v, s)
		return text, text != ""
	}}
}

func flagColumn[T any](name, doc string, of func(*T, *Source) (yes, known bool)) column[T] {
	return column[T]{Column: Column{Name: name, Kind: Flag, Doc: doc}, yes: of}
}

func timeColumn[T any](name, doc string, of func(*T, *Source) (unixNS int64, known bool)) column[T] {
	return column[T]{Column: Column{Name: name, Kind: Time, Doc: doc}, number: of}
}

// identity are the columns with which all tables begin.
func identity[T any](seq func(*T, *Source) int64, doc string) []column[T] {
	return []column[T]{
		textColumn("capture_id", "id of the capture", func(_ *T, s *Source) string { return s.ID() }),
		textColumn("host", "name of the host that was recorded; of Parquet: in the name of the folder",
			func(_ *T, s *Source) string { return s.Host() }),
		intColumn("seq", doc, func(v *T, s *Source) (int64, bool) { return seq(v, s), true }),
	}
}

// columnsOf makes columns of those of package report.
func columnsOf[T any](begin []column[T], list []report.Column[T], derived ...string) []column[T] {
	for i := range list {
		r := &list[i]
		f := r.Field
		c := column[T]{alone: r.Of, Column: Column{Name: f.Name, Unit: r.Unit, Doc: f.Doc, Words: f.Words,
			Derived: slices.Contains(derived, f.Name), Asked: !r.Key && f.Kind == filter.Time}}
		switch f.Kind {
		case filter.Flag:
			c.Kind, c.yes = Flag, func(v *T, s *Source) (bool, bool) { return f.Yes(v, s.Env) }
		case filter.Text:
			c.Kind, c.text = Text, func(v *T, s *Source) (string, bool) { return f.Text(v, s.Env) }
		case filter.Address:
			c.Kind, c.addr = Addr, func(v *T, s *Source) (netip.Addr, bool) { return f.Addr(v, s.Env) }
		case filter.Time:
			c.Kind, c.number = Time, func(v *T, s *Source) (int64, bool) {
				if ns, known := f.Int(v, s.Env); known {
					return s.wall(ns)
				}
				return 0, false
			}
		default:
			if c.Kind = Int; r.Wide {
				c.Kind = Uint
			}
			c.number = func(v *T, s *Source) (int64, bool) { return f.Int(v, s.Env) }
		}
		begin = append(begin, c)
		if f.Name == "ts" {
			begin = append(begin, column[T]{Column: Column{Name: "ts_ns", Kind: Int, Unit: "ns",
				Doc: "the same, nanoseconds since 1970"}, number: c.number})
		}
	}
	return begin
}

// choose gives the columns of a table by their names; without names those that a format has by itself.
func choose[T any](table string, all []column[T], names []string, parquet bool) ([]column[T], error) {
	var list []column[T]
	if len(names) == 0 {
		for _, c := range all {
			if !c.Asked && !(parquet && (c.Derived || c.Name == "host")) {
				list = append(list, c)
			}
		}
		return list, nil
	}
	for _, name := range names {
		i := slices.IndexFunc(all, func(c column[T]) bool { return c.Name == name })
		if i < 0 {
			return nil, &FieldError{Name: name, Table: table}
		}
		if !slices.ContainsFunc(list, func(c column[T]) bool { return c.Name == name }) {
			list = append(list, all[i])
		}
	}
	return list, nil
}

// FieldError says that a table has no column of a name.
type FieldError struct{ Name, Table string }

func (e *FieldError) Error() string { return fmt.Sprintf("%s have no field %q", e.Table, e.Name) }

// Check reports whether a table has columns of these names.
func Check(table string, names []string) error {
	i := slices.IndexFunc(Tables(), func(t Table) bool { return t.Name == table })
	for _, name := range names {
		if !slices.ContainsFunc(Tables()[i].Columns, func(c Column) bool { return c.Name == name }) {
			return &FieldError{Name: name, Table: table}
		}
	}
	return nil
}

var connectionColumns = columnsOf(
	identity(func(c *conntrack.Connection, s *Source) int64 {
		if c.ID != 0 {
			return int64(c.ID)
		}
		return -s.silent
	}, "of its first event, which acc explain takes; less than 0 if it was there all the time without an event"),
	report.ConnectionColumns(),
	"id", "end_reason", "community_id", "established_ns", "queued_ns", "accepted_ns", "closed_ns", "end_ns",
	"server_closed_ns", "began_ns", "alive_ns")

var attemptColumns = columnsOf(
	identity(func(p *pairing.Pair, _ *Source) int64 {
		if p.EnterSeq != 0 {
			return int64(p.EnterSeq)
		}
		return int64(p.ReturnSeq)
	}, "of its first event, which acc explain takes"),
	report.PairColumns(), "community_id", "enter_seq", "enter_boot_ns", "return_boot_ns")

// finding is a row of the table of findings.
type finding struct {
	findings.Finding
	seq int64
}

var findingColumns = append(
	identity(func(f *finding, _ *Source) int64 { return f.seq }, "rank in its capture, 1 is the worst"),
	textColumn("id", "docs/FINDINGS.md explains each", func(f *finding, _ *Source) string { return f.ID }),
	textColumn("severity", "critical, warning or notice",
		func(f *finding, _ *Source) string { return string(f.Severity) }),
	textColumn("text", "what, where, and how much", func(f *finding, _ *Source) string { return f.Text }),
	textColumn("next", "what to look at", func(f *finding, _ *Source) string { return f.Next }),
	timeColumn("since", "since when it was so", func(f *finding, _ *Source) (int64, bool) {
		if f.Since == nil {
			return 0, false
		}
		return f.Since.UnixNano(), true
	}),
	timeColumn("until", "until when", func(f *finding, _ *Source) (int64, bool) {
		if f.Until == nil {
			return 0, false
		}
		return f.Until.UnixNano(), true
	}),
	intColumn("listener", "inode number of the listener, if it is about one",
		func(f *finding, _ *Source) (int64, bool) { return int64(f.Listener), f.Listener != 0 }),
	intColumn("netns", "network namespace of that listener",
		func(f *finding, _ *Source) (int64, bool) { return int64(f.NetNS), f.Listener != 0 }),
	textColumn("owner", "whose listener that is, name[pid]", func(f *finding, _ *Source) string { return f.Owner }),
	textColumn("parts", "ids of what else this caused, with commas", func(f *finding, _ *Source) string {
		var ids []string
		for _, p := range f.Parts {
			ids = append(ids, p.ID)
		}
		return strings.Join(ids, ",")
	}),
	intColumn("first_event", "number of the first event that shows it", func(f *finding, _ *Source) (int64, bool) {
		if len(f.Evidence) == 0 {
			return 0, false
		}
		return int64(f.Evidence[0].Seq), true
	}),
)

// capture is a row of the table of captures; the result is nil if it could not be read.
type capture struct{ *analysis.Result }
