package format

// This file has the link between frames, the tail, and skippable frames.

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
)

// A link is the skippable zstd frame before each data frame. All integers are
// little-endian; offsets are from the start of the payload.
//
//	 0  4  "acc\x01"
//	 4  1  1: link
//	 5  3  zero
//	 8  4  number of the frame, from 0
//	12  4  length of the zstd frame that follows
//	16  4  length of its content
//	20  4  events in it
//	24  8  Seq of its first event, or of the next one if it has none
//	32  8  smallest BootNS of its events, 0 if it has none
//	40  8  largest BootNS of its events, 0 if it has none
//	48 32  chain: SHA-256 of the previous link's chain (32 zero bytes before the
//	       first), bytes 0 to 47 of this payload, and the zstd frame
//	80  4  CRC-32C of the zstd frame
//	84  4  CRC-32C of bytes 0 to 83
type link struct {
	frame        uint32
	size         uint32
	content      uint32
	events       uint32
	firstSeq     uint64
	minNS, maxNS int64
	chain        [32]byte
	sum          uint32
	payload      [linkSize]byte
}

const (
	skippableMagic = 0x184D2A5C // one of the 16 that zstd (RFC 8878, 3.1.2) sets aside
	linkSize       = 88
	tailSize       = 80
	typeLink       = 1
	typeIndex      = 2
	typeTail       = 3

	maxFrame       = 16 << 20 // bytes of one compressed frame
	maxContent     = 32 << 20 // bytes of one frame's content
	maxEvents      = 1 << 16  // events of one frame
	maxIndex       = 16 << 20 // bytes of the index
	maxIndexFrames = 1 << 20  // entries of the index
	maxRecord      = 1 << 20  // bytes of one record other than a block
	maxRecords     = 1 << 14  // records of one frame
	maxSkips       = 10_000   // places that salvaging tells apart
)

var (
	mark       = [4]byte{'a', 'c', 'c', 1}
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	// linkHead begins every link: the skippable frame's magic and length, mark and type.
	linkHead = skippable(linkSize, typeLink)
)

// skippable gives the first 16 bytes of one of our skippable frames.
func skippable(size uint32, typ byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, skippableMagic)
	b = binary.LittleEndian.AppendUint32(b, size)
	b = append(b, mark[:]...)
	return append(b, typ, 0, 0, 0)
}

// seal fills in the sums of l for the zstd frame and appends the link to dst.
func (l *link) seal(dst []byte, prev [32]byte, frame []byte) []byte {
	le := binary.LittleEndian
	p := l.payload[:0]
	p = append(p, linkHead[8:]...)
	for _, v := range []uint32{l.frame, l.size, l.content, l.events} {
		p = le.AppendUint32(p, v)
	}
	p = le.AppendUint64(p, l.firstSeq)
	p = le.AppendUint64(p, uint64(l.minNS))
	p = le.AppendUint64(p, uint64(l.maxNS))
	l.chain = chain(prev, p, frame)
	p = append(p, l.chain[:]...)
	p = le.AppendUint32(p, crc32.Checksum(frame, castagnoli))
	p = le.AppendUint32(p, crc32.Checksum(p, castagnoli))
	dst = append(dst, linkHead[:8]...)
	return append(dst, p...)
}

// parse reads a link from its whole payload and reports whether it is one.
func (l *link) parse(p []byte) bool {
	le := binary.LittleEndian
	if len(p) != linkSize || !bytes.Equal(p[:8], linkHead[8:]) ||
		le.Uint32(p[84:]) != crc32.Checksum(p[:84], castagnoli) {
		return false
	}
	copy(l.payload[:], p)
	l.frame, l.size, l.content, l.events = le.Uint32(p[8:]), le.Uint32(p[12:]), le.Uint32(p[16:]), le.Uint32(p[20:])
	l.firstSeq = le.Uint64(p[24:])
	l.minNS, l.maxNS = int64(le.Uint64(p[32:])), int64(le.Uint64(p[40:]))
	l.chain = [32]byte(p[48:80])
	l.sum = le.Uint32(p[80:])
	return l.size <= maxFrame && l.content <= maxContent && l.events <= maxEvents
}

// chain is the hash that ties a frame to all frames before it.
func chain(prev [32]byte, head, frame []byte) [32]byte {
	h := sha256.New()
	h.Write(prev[:])
	h.Write(head[:48])
	h.Write(frame)
	return [32]byte(h.Sum(nil))
}

// A tail is the last skippable frame of a capture that was closed in order. It
// has a fixed size, so that a reader can begin at a file's end.
//
//	 0  4  "acc\x01"
//	 4  1  3: tail
//	 5  3  zero
//	 8  8  offset of the index frame in the file
//	16  8  offset of this frame in the file
//	24  4  number of frames
//	28  4  zero
//	32  8  number of events
//	40 32  chain of the last link
//	72  4  CRC-32C of the index frame's payload
//	76  4  CRC-32C of bytes 0 to 75
type tail struct {
	indexAt, at uint64
	frames      uint32
	events      uint64
	chain       [32]byte
	indexSum    uint32
}

func (t *tail) append(dst []byte) []byte {
	le := binary.LittleEndian
	p := append([]byte(nil), skippable(tailSize, typeTail)[8:]...)
	p = le.AppendUint64(p, t.indexAt)
	p = le.AppendUint64(p, t.at)
	p = le.AppendUint32(p, t.frames)
	p = le.AppendUint32(p, 0)
	p = le.AppendUint64(p, t.events)
	p = append(p, t.chain[:]...)
	p = le.AppendUint32(p, t.indexSum)
	p = le.AppendUint32(p, crc32.Checksum(p, castagnoli))
	return append(append(dst, skippable(tailSize, typeTail)[:8]...), p...)
}

func (t *tail) parse(p []byte) bool {
	le := binary.LittleEndian
	if len(p) != tailSize || !bytes.Equal(p[:8], skippable(tailSize, typeTail)[8:]) ||
		le.Uint32(p[28:]) != 0 || le.Uint32(p[76:]) != crc32.Checksum(p[:76], castagnoli) {
		return false
	}
	t.indexAt, t.at, t.frames, t.events = le.Uint64(p[8:]), le.Uint64(p[16:]), le.Uint32(p[24:]), le.Uint64(p[32:])
	t.chain = [32]byte(p[40:])
	t.indexSum = le.Uint32(p[72:])
	return true
}
