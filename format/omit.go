package format

// This file passes over columns that a reader does not want.

import "slices"

// omit marks the columns that need not be decoded: those of the named fields whose
// values are never wrong, so that a capture is as whole or corrupt as if all were.
func omit(cols []column, names []string) {
	for i := range cols {
		f := cols[i].field
		cols[i].omitted = f != nil && f.size == 8 && (f.Type == Int || f.Type == Uint) && !f.isKey() &&
			slices.Contains(names, f.Name)
	}
}

// passColumn gives what follows the column of n numbers at the head of b, which it
// holds against the format as parseColumn does.
func passColumn(b []byte, n int) ([]byte, error) {
	if len(b) == 0 {
		return nil, errColumn
	}
	if c := b[0]; c&0xf0 == 0x80 || c == 0xde || c == 0xdf {
		return eachSparse(b, n, func(int64, int64) {})
	}
	return eachPlane(b, n, func([]byte, int, bool) {})
}
