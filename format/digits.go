package format

// This file writes decimal numbers, of which a line of JSON has thirty.

import (
	"math/bits"
	"slices"
)

// pairs are the numbers of two digits.
const pairs = "0001020304050607080910111213141516171819" +
	"2021222324252627282930313233343536373839" +
	"4041424344454647484950515253545556575859" +
	"6061626364656667686970717273747576777879" +
	"8081828384858687888990919293949596979899"

// powers are those of ten, the first one 1.
var powers = func() (list [20]uint64) {
	n := uint64(1)
	for i := range list {
		list[i], n = n, n*10
	}
	return list
}()

// appendDecimal appends n as strconv.AppendUint does, in place and so in half the time.
func appendDecimal(dst []byte, n uint64) []byte {
	if n < 10 {
		return append(dst, byte('0'+n))
	}
	digits := bits.Len64(n) * 1233 >> 12 // log10(2) is 1233/4096, or one less than needed
	if n >= powers[digits] {
		digits++
	}
	at := len(dst)
	dst = slices.Grow(dst, digits)[:at+digits]
	for i := at + digits; ; {
		if n < 10 {
			if i--; i >= at {
				dst[i] = byte('0' + n)
			}
			return dst
		}
		pair := n % 100 * 2
		n /= 100
		i -= 2
		dst[i], dst[i+1] = pairs[pair], pairs[pair+1]
		if i == at {
			return dst
		}
	}
}

// appendSigned does so with a number that can be negative.
func appendSigned(dst []byte, n int64) []byte {
	if n < 0 {
		return appendDecimal(append(dst, '-'), -uint64(n))
	}
	return appendDecimal(dst, uint64(n))
}
