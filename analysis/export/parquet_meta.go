package export

// This file writes the footer of Parquet files. Numbers of fields and enums are those of parquet.thrift:
// https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift

const (
	typeBoolean, typeInt64, typeByteArray = 0, 2, 6

	encodingPlain, encodingRLE, encodingDelta, encodingDictionary = 0, 3, 5, 8

	dataPage, dictionaryPage = 0, 2

	codecZstd = 6

	optional = 1

	convertedUTF8, convertedTimestampMicros = 0, 10
)

// physical is how values of a kind are stored.
func physical(k Kind) int64 {
	switch k {
	case Flag:
		return typeBoolean
	case Text, Addr:
		return typeByteArray
	}
	return typeInt64
}

// footer writes FileMetaData.
func (f *parquetFile) footer(m *compact) {
	rows := int64(0)
	for i := range f.groups {
		rows += f.groups[i].rows
	}
	m.i32(1, 1) // version
	m.list(2, compactStruct, len(f.table.Columns)+1)
	m.element(func(e *compact) {
		e.text(4, f.table.Name)
		e.i32(5, int64(len(f.table.Columns)))
	})
	for i := range f.table.Columns {
		m.element(f.table.Columns[i].schema)
	}
	m.i64(3, rows)
	m.list(4, compactStruct, len(f.groups))
	for i := range f.groups {
		m.element(func(g *compact) { f.group(g, i) })
	}
	m.list(5, compactStruct, len(f.notes))
	for _, n := range f.notes {
		m.element(func(kv *compact) {
			kv.text(1, n[0])
			kv.text(2, n[1])
		})
	}
	m.text(6, "acc")
	m.list(7, compactStruct, len(f.table.Columns)) // statistics are in the order of the types
	for range f.table.Columns {
		m.element(func(o *compact) { o.structure(1, nil) })
	}
}

// schema writes SchemaElement.
func (c *Column) schema(e *compact) {
	e.i32(1, physical(c.Kind))
	e.i32(3, optional)
	e.text(4, c.Name)
	switch c.Kind {
	case Text, Addr:
		e.i32(6, convertedUTF8)
		e.structure(10, func(l *compact) { l.structure(1, nil) }) // STRING
	case Time:
		e.i32(6, convertedTimestampMicros)
		e.structure(10, func(l *compact) {
			l.structure(8, func(t *compact) { // TIMESTAMP
				t.flag(1, true) // in UTC
				t.structure(2, func(u *compact) { u.structure(2, nil) })
			})
		})
	}
}

// group writes RowGroup.
func (f *parquetFile) group(g *compact, number int) {
	of := &f.groups[number]
	plain, size := int64(0), int64(0)
	g.list(1, compactStruct, len(of.columns))
	for i := range of.columns {
		c := &of.columns[i]
		plain, size = plain+c.plain, size+c.size
		g.element(func(m *compact) {
			m.i64(2, 0) // a copy of the metadata beside the pages: none
			m.structure(3, func(m *compact) { f.column(m, c, &f.table.Columns[i], of.rows) })
		})
	}
	g.i64(2, plain)
	g.i64(3, of.rows)
	if f.time >= 0 && of.columns[f.time].nulls == 0 { // else they are not sorted
		g.list(4, compactStruct, 1)
		g.element(func(s *compact) {
			s.i32(1, int64(f.time))
			s.flag(2, false) // descending
			s.flag(3, false) // nulls first
		})
	}
	g.i64(5, of.at)
	g.i64(6, size)
}

// column writes ColumnMetaData.
func (f *parquetFile) column(m *compact, c *placed, of *Column, rows int64) {
	m.i32(1, physical(of.Kind))
	encodings := []int64{encodingRLE, c.encoding}
	if c.hasDict {
		encodings = append(encodings, encodingPlain)
	}
	m.list(2, compactI32, len(encodings))
	for _, e := range encodings {
		m.int(e)
	}
	m.list(3, compactBinary, 1)
	m.bytes([]byte(of.Name))
	m.i32(4, codecZstd)
	m.i64(5, rows)
	m.i64(6, c.plain)
	m.i64(7, c.size)
	m.i64(9, c.dataAt)
	if c.hasDict {
		m.i64(11, c.begin)
	}
	m.structure(12, func(s *compact) {
		s.i64(3, c.nulls)
		if c.min != nil {
			s.binary(5, c.max)
			s.binary(6, c.min)
		}
	})
}
