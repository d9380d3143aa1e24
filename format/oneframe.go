package format

// This file says whether bytes are exactly one zstd frame.

import "github.com/klauspost/compress/zstd"

// oneFrame reports whether b is one zstd frame (RFC 8878, 3.1.1) and nothing behind it:
// decoders take several for one content.
func oneFrame(b []byte) bool {
	var h zstd.Header
	if err := h.Decode(b); err != nil || h.Skippable || h.HeaderSize > len(b) {
		return false
	}
	b = b[h.HeaderSize:]
	for {
		if len(b) < 3 {
			return false
		}
		head := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16
		last, kind, size := head&1 != 0, head>>1&3, int(head>>3)
		switch kind {
		case 1: // one byte, repeated
			size = 1
		case 3: // reserved
			return false
		}
		if b = b[3:]; len(b) < size {
			return false
		}
		if b = b[size:]; last {
			break
		}
	}
	if h.HasCheckSum {
		return len(b) == 4
	}
	return len(b) == 0
}
