package format

// This file walks msgpack before it is decoded, and holds each length against what is there.

import (
	"encoding/binary"
	"errors"
)

// maxDepth is how deep records nest: record, body, list, element, and some room.
const maxDepth = 8

var (
	errShort = errors.New("msgpack is cut short")
	errDeep  = errors.New("msgpack nests too deep")
	errType  = errors.New("msgpack holds a type that captures do not use")
)

// check walks one msgpack value at the head of b without recursion and without
// decoding it, and gives its length in bytes. It proves what decoding relies on:
// no length goes beyond b, nothing nests deeper than maxDepth, and there are no
// extension types. Libraries allocate and recurse by what lengths say; only
// checked bytes may reach them.
func check(b []byte) (int, error) {
	var left [maxDepth]uint64 // values still to come on each level
	depth := 0
	left[0] = 1
	at := 0
	for {
		for left[depth] == 0 {
			if depth == 0 {
				return at, nil
			}
			depth--
		}
		for at < len(b) && b[at] <= 0x7f && left[depth] > 1 { // small integers, the bulk of a block
			at++
			left[depth]--
		}
		left[depth]--
		if at >= len(b) {
			return 0, errShort
		}
		size, inner, err := shape(b[at:])
		if err != nil {
			return 0, err
		}
		if uint64(len(b)-at) < size || inner > uint64(len(b)-at) {
			return 0, errShort
		}
		at += int(size)
		if inner > 0 {
			if depth++; depth == maxDepth {
				return 0, errDeep
			}
			left[depth] = inner
		}
	}
}

// shape gives the bytes that the value at the head of b takes, without the
// values inside it, and the number of those.
func shape(b []byte) (size, inner uint64, err error) {
	c := b[0]
	switch {
	case c <= 0x7f || c >= 0xe0 || c == 0xc0 || c == 0xc2 || c == 0xc3:
		return 1, 0, nil
	case c <= 0x8f: // an empty list is as long as an empty map: mutate: ignore
		return 1, 2 * uint64(c&0x0f), nil
	case c <= 0x9f:
		return 1, uint64(c & 0x0f), nil
	case c <= 0xbf:
		return 1 + uint64(c&0x1f), 0, nil
	case c >= 0xcc && c <= 0xd3:
		return 1 + 1<<(c&3), 0, nil // 0xcc and 0xd0 are of one byte
	case c == 0xca:
		return 5, 0, nil
	case c == 0xcb:
		return 9, 0, nil
	}
	width := 0 // of the length
	switch c {
	case 0xc4, 0xd9:
		width = 1
	case 0xc5, 0xda, 0xdc, 0xde:
		width = 2
	case 0xc6, 0xdb, 0xdd, 0xdf:
		width = 4
	default:
		return 0, 0, errType
	}
	if len(b) < 1+width {
		return 0, 0, errShort
	}
	var wide [4]byte
	copy(wide[4-width:], b[1:1+width])
	n := uint64(binary.BigEndian.Uint32(wide[:]))
	head := 1 + uint64(width)
	switch {
	case c <= 0xdb:
		return head + n, 0, nil
	case c <= 0xdd:
		return head, n, nil
	}
	return head, 2 * n, nil
}
