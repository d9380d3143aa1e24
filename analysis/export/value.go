package export

// This file has the cells of tables.

import (
	"net/netip"
	"strconv"

	"github.com/acc-project/acc/format"
)

// Kind is the type of a column.
type Kind uint8

// The kinds of columns.
const (
	Int  Kind = iota // of 64 bits
	Uint             // the same without a sign
	Flag             // true or false
	Text             // bytes, which need not be UTF-8
	Addr             // an IP address
	Time             // on the wall clock, Unix nanoseconds
)

var kindNames = [...]string{Int: "integer", Uint: "integer", Flag: "boolean", Text: "string", Addr: "address",
	Time: "time"}

// String is the kind's name.
func (k Kind) String() string { return kindNames[k] }

// Value is one cell. What it holds is said by the kind of its column; the rest may be what the cell had before.
type Value struct {
	Known bool
	N     int64 // of Int, Uint (its bits), Flag (0 or 1), Time
	S     string
	A     netip.Addr
}

func (v *Value) flag(yes, known bool) {
	if v.N, v.Known = 0, known; yes {
		v.N = 1
	}
}

// AppendText appends a value as text without quotes or escapes: what is not known is empty.
func (v *Value) AppendText(dst []byte, k Kind) []byte {
	if !v.Known {
		return dst
	}
	switch k {
	case Int:
		return strconv.AppendInt(dst, v.N, 10)
	case Uint:
		return strconv.AppendUint(dst, uint64(v.N), 10)
	case Flag:
		if v.N != 0 {
			return append(dst, "true"...)
		}
		return append(dst, "false"...)
	case Addr:
		return v.A.AppendTo(dst)
	case Time:
		return appendTime(dst, v.N)
	}
	return append(dst, v.S...)
}

// appendTime appends a time as RFC 3339 has it, in UTC, with all nanoseconds.
func appendTime(dst []byte, unixNS int64) []byte {
	return format.AppendTime(dst, unixNS, format.Clock{BootNS: 1, RealNS: 1})
}

// AppendJSON appends it as JSON that is safe on a terminal, too.
func (v *Value) AppendJSON(dst []byte, k Kind) []byte {
	switch {
	case !v.Known:
		return append(dst, "null"...)
	case k == Text:
		return format.AppendJSONString(dst, v.S)
	case k == Addr, k == Time:
		return append(v.AppendText(append(dst, '"'), k), '"')
	}
	return v.AppendText(dst, k)
}
