package export

// This file writes Parquet files of flat tables. All columns can be null. Packages of parquet-go encode the values.
// Its own writer takes one value at a time, which gave 200,000 rows a second, and would make acc 8.6 MB larger.

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/zstd"
)

// rowGroup is how many rows are sorted and written together.
const rowGroup = 120_000

// parquetFile writes the rows of one table, in groups that are sorted by time where every row has one.
type parquetFile struct {
	w       io.Writer
	at      int64
	table   Table
	vectors []vector
	rows    int
	groups  []group
	time    int // number of the column by which rows are sorted, -1: none
	encoder encoder
	zstd    *zstd.Encoder
	packed  []byte
	order   []int32
	notes   [][2]string // of the file, as pairs of key and value
}

func newParquet(t Table) (*parquetFile, error) {
	f := &parquetFile{table: t, vectors: make([]vector, len(t.Columns)),
		time: slices.IndexFunc(t.Columns, func(c Column) bool { return c.Name == "ts_ns" })}
	for i := range f.vectors {
		f.vectors[i].kind = t.Columns[i].Kind
	}
	var err error
	f.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault),
		zstd.WithAllLitEntropyCompression(true))
	return f, err
}

// begin begins a new file.
func (f *parquetFile) begin(w io.Writer, notes ...[2]string) error {
	f.w, f.at, f.rows, f.groups, f.notes = w, 0, 0, nil, notes
	for i := range f.vectors {
		f.vectors[i].reset()
	}
	return f.write([]byte("PAR1"))
}

func (f *parquetFile) write(b []byte) error {
	n, err := f.w.Write(b)
	f.at += int64(n)
	return err
}

func (f *parquetFile) row(row []Value) error {
	for i := range row {
		f.vectors[i].add(&row[i])
	}
	return f.took(1)
}

// took counts rows whose values all vectors have taken: as many as there is room for, at most.
func (f *parquetFile) took(rows int) error {
	if f.rows += rows; f.rows < rowGroup {
		return nil
	}
	return f.flush()
}

// room is how many rows the row group takes yet.
func (f *parquetFile) room() int { return rowGroup - f.rows }

// sorted gives the order of the rows by time, nil if it is that in which they came.
func (f *parquetFile) sorted() []int32 {
	if f.time < 0 {
		return nil
	}
	v := &f.vectors[f.time]
	if v.known < v.rows || !v.vary || slices.IsSorted(v.ints) {
		return nil
	}
	f.order = f.order[:0]
	for i := range int32(v.rows) {
		f.order = append(f.order, i)
	}
	slices.SortStableFunc(f.order, func(a, b int32) int {
		switch x, y := v.ints[a], v.ints[b]; {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	return f.order
}

// flush writes a row group.
func (f *parquetFile) flush() error {
	if f.rows == 0 {
		return nil
	}
	order := f.sorted()
	g := group{rows: int64(f.rows), at: f.at}
	for i := range f.vectors {
		c, err := f.encoder.encode(&f.vectors[i], order)
		if err != nil {
			return fmt.Errorf("encode %s: %w", f.table.Columns[i].Name, err)
		}
		m := placed{begin: f.at, chunk: c, hasDict: c.encoding == encodingDictionary}
		if m.hasDict {
			err = f.page(&m, c.dict, dictionaryPage, func(h *compact) {
				h.structure(7, func(d *compact) {
					d.i32(1, int64(c.words))
					d.i32(2, encodingPlain)
				})
			})
		}
		if m.dataAt = f.at; err == nil {
			err = f.page(&m, c.data, dataPage, func(h *compact) {
				h.structure(5, func(d *compact) {
					d.i32(1, int64(f.rows))
					d.i32(2, c.encoding)
					d.i32(3, encodingRLE) // of definition levels
					d.i32(4, encodingRLE) // of repetition levels: flat tables have none
				})
			})
		}
		if err != nil {
			return err
		}
		m.size = f.at - m.begin
		m.dict, m.data = nil, nil
		g.columns = append(g.columns, m)
		f.vectors[i].reset()
	}
	f.groups = append(f.groups, g)
	f.rows = 0
	return nil
}

// group is a row group that was written, and placed is a column in it.
type (
	group struct {
		rows, at int64
		columns  []placed
	}
	placed struct {
		chunk
		begin, dataAt int64
		size, plain   int64 // bytes, and bytes before compression
		hasDict       bool
	}
)

// page compresses and writes one page.
func (f *parquetFile) page(m *placed, data []byte, kind int64, rest func(*compact)) error {
	f.packed = f.zstd.EncodeAll(data, f.packed[:0])
	var h compact
	h.i32(1, kind)
	h.i32(2, int64(len(data)))
	h.i32(3, int64(len(f.packed)))
	rest(&h)
	head := append(h.b, 0)
	m.plain += int64(len(head) + len(data))
	if err := f.write(head); err != nil {
		return err
	}
	return f.write(f.packed)
}

// end writes the last row group and the footer.
func (f *parquetFile) end() error {
	if err := f.flush(); err != nil {
		return err
	}
	var foot compact
	f.footer(&foot)
	foot.b = append(foot.b, 0)
	return f.write(append(binary.LittleEndian.AppendUint32(foot.b, uint32(len(foot.b))), "PAR1"...))
}
