package export

// This file writes folders of Parquet files: TABLE/date=DAY/host=HOST/CAPTURE.parquet.

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"
)

// Folder is where a format makes files.
type Folder interface {
	// Create makes a file of this name, whose parts / joins, and the folders in which it lies. The file has its name
	// when it is committed. The error is an [ExistsError] if it is there, and may not be replaced.
	Create(name string) (File, error)
}

// File is a file that has its name when it is committed.
type File interface {
	io.Writer
	Commit() error
	Discard() // what is not committed
}

// ExistsError says that a capture was exported into the folder before.
type ExistsError struct {
	Name        string
	Interrupted bool // the table of captures has no row of it yet, which comes last
}

func (e *ExistsError) Error() string {
	if e.Interrupted {
		return e.Name + " exists, but no row of " + Captures + ": an export of this capture was interrupted"
	}
	return e.Name + " exists: this capture was exported before"
}

// NewLake gives the Sink of a format that is a folder of files.
func (f *Format) NewLake(to Folder, o Options) (Sink, error) {
	if len(o.Tables) == 0 {
		o.Tables = TableNames
	}
	t, err := newTables(o.Tables, o.Fields, true)
	if err != nil {
		return nil, err
	}
	l := &lake{to: to}
	for _, table := range t.list {
		p, err := newParquet(table)
		if err != nil {
			return nil, err
		}
		l.tables = append(l.tables, p)
		switch table.Name {
		case Connections:
			t.connections.to = p
		case Attempts:
			t.attempts.to = p
		}
	}
	t.rows = l
	return t, nil
}

// lake writes one file of each table for each capture.
type lake struct {
	to     Folder
	tables []*parquetFile
	files  []File
}

func (l *lake) Begin(s *Source) error {
	for _, t := range l.tables {
		f, err := l.to.Create(path.Join(t.table.Name, partition(s)))
		if err != nil {
			l.discard()
			return l.interrupted(err, s)
		}
		l.files = append(l.files, f)
		if err := t.begin(f, [2]string{"acc.capture_id", s.ID()}, [2]string{"acc.host", s.Host()}); err != nil {
			l.discard()
			return err
		}
	}
	return nil
}

// interrupted marks the error of a file that exists, if that of the table of captures does not.
func (l *lake) interrupted(err error, s *Source) error {
	var exists *ExistsError
	ours := slices.ContainsFunc(l.tables, func(t *parquetFile) bool { return t.table.Name == Captures })
	if !ours || !errors.As(err, &exists) {
		return err
	}
	if f, free := l.to.Create(path.Join(Captures, partition(s))); free == nil {
		f.Discard()
		exists.Interrupted = true
	}
	return err
}

func (l *lake) Row(table int, row []Value) error { return l.tables[table].row(row) }

// End gives the files their names: that of the table of captures last, so that what it says is there, is.
func (l *lake) End(*Source) error {
	defer l.discard()
	for _, t := range l.tables {
		if err := t.end(); err != nil {
			return err
		}
	}
	last := len(l.files)
	for i, t := range l.tables {
		if t.table.Name == Captures {
			last = i
			continue
		}
		if err := l.files[i].Commit(); err != nil {
			return err
		}
	}
	if last < len(l.files) {
		return l.files[last].Commit()
	}
	return nil
}

func (l *lake) Close() error {
	l.discard()
	return nil
}

func (l *lake) discard() {
	for _, f := range l.files {
		f.Discard()
	}
	l.files = l.files[:0]
}

// unknownDay is the day of captures whose start is not known, so that all are days.
const unknownDay = "1970-01-01"

// partition is where the rows of a capture go: by the day on which it began by its own clock, and its host.
func partition(s *Source) string {
	day, host, id := unknownDay, "unknown", ""
	if h := s.Header; h != nil {
		if start := time.Unix(0, h.StartNS).UTC(); h.StartNS > 0 {
			day = start.Format(time.DateOnly)
		}
		if h.Host != "" {
			host = h.Host
		}
		id = h.ID
	}
	if id == "" {
		// files of two folders can have one name: the whole name tells them apart, and comes first, as ends are cut off
		name := path.Clean(strings.ReplaceAll(s.File, `\`, "/"))
		id = fmt.Sprintf("unreadable-%.4x-%s", sha256.Sum256([]byte(name)), strings.TrimSuffix(path.Base(name), ".acc"))
	}
	return fmt.Sprintf("date=%s/host=%s/%s.parquet", day, segment(host), segment(id))
}

// maxSegment is how long a part of a name may be.
const maxSegment = 120

// segment makes text a part of a name: other characters than letters, digits, -, _ and dots within are %XX.
func segment(s string) string {
	var b strings.Builder
	for i := 0; i < len(s) && b.Len() < maxSegment; i++ {
		c := s[i]
		plain := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' ||
			c == '.' && i > 0
		if plain {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// asLake refuses what needs a folder where there is none.
func asLake(io.Writer, Options) (Sink, error) {
	return nil, errors.New("this format is a folder of files, not one file")
}
