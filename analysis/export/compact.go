package export

// This file writes Thrift's compact protocol, as Parquet's metadata has it, without reflection: the library's is 0.4 MB
// of every acc. https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md

import "encoding/binary"

// Types of fields and of elements of lists.
const (
	compactTrue, compactFalse                 = 1, 2
	compactI32, compactI64                    = 5, 6
	compactBinary, compactList, compactStruct = 8, 9, 12
)

// compact is a structure that is being written. Fields are written in the order of their numbers.
type compact struct {
	b    []byte
	last int // number of the field before
}

func (c *compact) field(number int, kind byte) {
	c.b = append(c.b, byte(number-c.last)<<4|kind) // no structure of Parquet leaves out more than 15
	c.last = number
}

func (c *compact) int(n int64) { c.b = binary.AppendVarint(c.b, n) }

func (c *compact) bytes(s []byte) { c.b = append(binary.AppendUvarint(c.b, uint64(len(s))), s...) }

func (c *compact) i32(number int, n int64) {
	c.field(number, compactI32)
	c.int(n)
}

func (c *compact) i64(number int, n int64) {
	c.field(number, compactI64)
	c.int(n)
}

func (c *compact) text(number int, s string) { c.binary(number, []byte(s)) }

func (c *compact) binary(number int, s []byte) {
	c.field(number, compactBinary)
	c.bytes(s)
}

func (c *compact) flag(number int, yes bool) {
	if yes {
		c.field(number, compactTrue)
	} else {
		c.field(number, compactFalse)
	}
}

// structure writes a member that is a structure; nil: an empty one.
func (c *compact) structure(number int, members func(*compact)) {
	c.field(number, compactStruct)
	c.element(members)
}

// element writes a structure in a list.
func (c *compact) element(members func(*compact)) {
	in := compact{b: c.b}
	if members != nil {
		members(&in)
	}
	c.b = append(in.b, 0)
}

// list begins a list of so many elements.
func (c *compact) list(number int, kind byte, n int) {
	c.field(number, compactList)
	if n < 15 {
		c.b = append(c.b, byte(n)<<4|kind)
	} else {
		c.b = binary.AppendUvarint(append(c.b, 0xf0|kind), uint64(n))
	}
}
