package format

// This file has the index of a file.

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/zstd"
)

// Frame is what a capture's index says of one frame.
type Frame struct {
	At           int64  // offset of its link in the file
	Events       uint32 // events in it
	FirstSeq     uint64 // Seq of its first event, or of the next one if it has none
	MinNS, MaxNS int64  // its events' boot times, 0 without events
}

// ErrNoIndex says that a file does not end as a capture that was closed in
// order does; only reading all of it tells what it holds.
var ErrNoIndex = errors.New("capture has no index at its end")

// entry is the index's entry for the link's frame at an offset.
func (l *link) entry(at int64) Frame {
	return Frame{At: at, Events: l.events, FirstSeq: l.firstSeq, MinNS: l.minNS, MaxNS: l.maxNS}
}

// hash adds the entry to a sum.
func (f Frame) hash(h hash.Hash) {
	var b [40]byte
	for i, v := range []uint64{uint64(f.At), uint64(f.Events), f.FirstSeq, uint64(f.MinNS), uint64(f.MaxNS)} {
		binary.LittleEndian.PutUint64(b[8*i:], v)
	}
	h.Write(b[:])
}

// indexColumns are the columns of the index, in order.
var indexColumns = []struct {
	name string
	get  func(f *Frame) int64
	set  func(f *Frame, v int64)
}{
	{"at", func(f *Frame) int64 { return f.At }, func(f *Frame, v int64) { f.At = v }},
	{"events", func(f *Frame) int64 { return int64(f.Events) }, func(f *Frame, v int64) { f.Events = uint32(v) }},
	{"seq", func(f *Frame) int64 { return int64(f.FirstSeq) }, func(f *Frame, v int64) { f.FirstSeq = uint64(v) }},
	{"min_ns", func(f *Frame) int64 { return f.MinNS }, func(f *Frame, v int64) { f.MinNS = v }},
	{"max_ns", func(f *Frame) int64 { return f.MaxNS }, func(f *Frame, v int64) { f.MaxNS = v }},
}

// packIndex gives the payload of the index frame. A capture of too many frames
// gets an empty index.
func packIndex(enc *zstd.Encoder, frames []Frame) ([]byte, error) {
	if len(frames) > maxIndexFrames {
		frames = nil
	}
	b := append([]byte{0x92, 0xa5}, "index"...)
	b = appendMapLen(b, 1+len(indexColumns))
	b = appendInt(append(append(b, 0xa0|6), "frames"...), int64(len(frames)))
	nums := make([]int64, len(frames))
	for _, c := range indexColumns {
		last := int64(0)
		for i := range frames {
			v := c.get(&frames[i])
			nums[i], last = v-last, v
		}
		b = appendColumn(append(append(b, 0xa0|byte(len(c.name))), c.name...), nums, statsOf(nums), nil)
	}
	payload := enc.EncodeAll(b, skippable(0, typeIndex)[8:])
	if len(payload) > maxIndex || len(b) > maxContent {
		return nil, fmt.Errorf("write index: %d bytes, more than the format allows", len(payload))
	}
	return payload, nil
}

var errIndex = errors.New("the index does not have the form that the format gives it")

// unpackIndex reads the payload of the index frame.
func unpackIndex(dec *zstd.Decoder, payload []byte) ([]Frame, error) {
	b, err := dec.DecodeAll(payload[8:], nil)
	if err != nil {
		return nil, fmt.Errorf("decompress index: %w", err)
	}
	if size, err := check(b); err != nil || size != len(b) {
		return nil, errIndex
	}
	head := append([]byte{0x92, 0xa5}, "index\x86\xa6frames"...)
	if !bytes.HasPrefix(b, head) {
		return nil, errIndex
	}
	n, b, ok := parseInt(b[len(head):])
	if !ok || n < 0 || n > maxIndexFrames {
		return nil, errIndex
	}
	frames, nums := make([]Frame, n), make([]int64, n)
	for _, c := range indexColumns {
		var name []byte
		if name, b, ok = parseBin(b); !ok || string(name) != c.name {
			return nil, errIndex
		}
		if b, err = parseColumn(b, nums); err != nil {
			return nil, errIndex
		}
		last := int64(0)
		for i := range frames {
			last += nums[i]
			c.set(&frames[i], last)
		}
	}
	return frames, nil
}

// checkIndex holds the index against the frames that were read.
func (r *Reader) checkIndex(payload []byte) error {
	frames, err := unpackIndex(r.decoder.zstd, payload)
	if err != nil {
		return r.corrupt("%v", err)
	}
	if len(frames) == 0 && r.frame > maxIndexFrames {
		return nil
	}
	h := sha256.New()
	for _, f := range frames {
		f.hash(h)
	}
	if !bytes.Equal(h.Sum(nil), r.index.Sum(nil)) {
		return r.corrupt("the index does not match the frames")
	}
	return nil
}

// ReadIndex reads the index of a capture of size bytes without reading its
// frames. The error is ErrNoIndex (errors.Is) if there is none, or none that
// fits its sums. An index can be forged: what it says is proven by reading.
func ReadIndex(r io.ReaderAt, size int64) ([]Frame, error) {
	var t tail
	end := make([]byte, 8+tailSize)
	at := size - int64(len(end))
	if at < 0 {
		return nil, ErrNoIndex
	}
	if _, err := r.ReadAt(end, at); err != nil {
		return nil, fmt.Errorf("read tail: %w", err)
	}
	if !bytes.Equal(end[:8], skippable(tailSize, typeTail)[:8]) || !t.parse(end[8:]) || t.at != uint64(at) ||
		t.indexAt > t.at || // equal is refused by what follows: mutate: ignore
		t.at-t.indexAt < 16 || t.at-t.indexAt > maxIndex+8 {
		return nil, ErrNoIndex
	}
	payload := make([]byte, t.at-t.indexAt-8)
	if _, err := r.ReadAt(payload, int64(t.indexAt)+8); err != nil {
		return nil, fmt.Errorf("read index: %w", err)
	}
	if crc32.Checksum(payload, castagnoli) != t.indexSum {
		return nil, ErrNoIndex
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxContent)) // one CPU or more, mutate: ignore
	if err != nil {
		return nil, fmt.Errorf("set up decompression: %w", err)
	}
	defer dec.Close()
	frames, err := unpackIndex(dec, payload)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoIndex, err)
	}
	if len(frames) == 0 {
		return nil, ErrNoIndex
	}
	return frames, nil
}
