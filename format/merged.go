package format

// This file has merged files: several captures one behind another, each as it was.

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// Source is a capture in a merged file. Before each stands a skippable frame; all integers are little-endian, offsets
// are from the start of its payload.
//
//	 0  4  "acc\x01"
//	 4  1  6: source
//	 5  3  zero
//	 8  4  number of the capture, from 1
//	12  4  number of captures in the file
//	16  8  length of the capture, which follows the frame
//	24 32  SHA-256 of the capture
//	56  4  CRC-32C of bytes 0 to 55
type Source struct {
	Number int
	Count  int      // of captures in the file
	Offset int64    // of the capture in the file
	Bytes  int64    // of it that are in the file
	Length int64    // that it had when it was merged; -1: not known
	SHA256 [32]byte // of it as it was merged
	// what is wrong with the frame before it, or with what is behind the last one; nil: nothing
	Damage error
}

// MaxSources is how many captures a merged file can have.
const MaxSources = 10_000

const (
	sourceSize = 60
	typeSource = 6
)

var sourceHead = skippable(sourceSize, typeSource)

// IsMerged reports whether a file that begins so is a merged one. It takes 16 bytes.
func IsMerged(head []byte) bool { return bytes.HasPrefix(head, sourceHead) }

// Append appends the frame that stands before the capture.
func (s *Source) Append(dst []byte) []byte {
	le := binary.LittleEndian
	p := append([]byte(nil), sourceHead...)
	p = le.AppendUint32(p, uint32(s.Number))
	p = le.AppendUint32(p, uint32(s.Count))
	p = le.AppendUint64(p, uint64(s.Length))
	p = append(p, s.SHA256[:]...)
	return append(dst, le.AppendUint32(p, crc32.Checksum(p[8:], castagnoli))...)
}

func (s *Source) parse(b []byte) bool {
	le := binary.LittleEndian
	if len(b) != 8+sourceSize || !IsMerged(b) || le.Uint32(b[64:]) != crc32.Checksum(b[8:64], castagnoli) {
		return false
	}
	number, count, length := le.Uint32(b[16:]), le.Uint32(b[20:]), le.Uint64(b[24:])
	s.Number, s.Count, s.Length, s.SHA256 = int(number), int(count), int64(length), [32]byte(b[32:])
	return number >= 1 && number <= count && count <= MaxSources && length < 1<<62
}

// FindSources finds the captures in a merged file of so many bytes. It gives one for each number: where the file
// stops before a capture, or does not have it, Bytes is 0 and Damage says why. Where the frame of a capture is
// damaged, its length is what lies before the next one.
func FindSources(r io.ReaderAt, size int64) ([]Source, error) {
	var list []Source
	for at := int64(0); at < size && (len(list) == 0 || len(list) < list[0].Count); {
		s := Source{Offset: at + 8 + sourceSize}
		b := make([]byte, 8+sourceSize)
		n, err := r.ReadAt(b, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read merged file: %w", err)
		}
		count := 0
		if len(list) > 0 {
			count = list[0].Count
		}
		if s.parse(b[:n]) && s.Number == len(list)+1 && (count == 0 || s.Count == count) {
			s.Bytes = min(s.Length, size-s.Offset)
			list = append(list, s)
			at = s.Offset + s.Length
			continue
		}
		if n < len(b) { // the file stops within it
			break
		}
		damage := &CorruptError{Offset: at, Reason: fmt.Sprintf(
			"the frame before capture %d of the merged file is damaged", len(list)+1)}
		next, to, err := nextSource(r, at+1, size, len(list)+1, count)
		if err != nil {
			return nil, err
		}
		if count = max(count, next.Count, len(list)+1); next.Number == 0 {
			next.Number = len(list) + 2
		}
		for len(list) < next.Number-1 { // of several, the first has all that lies there
			s = Source{Number: len(list) + 1, Count: count, Offset: s.Offset, Length: -1, Damage: damage}
			s.Bytes = max(to-s.Offset, 0)
			list = append(list, s)
			s.Offset = to
		}
		at = to
	}
	if len(list) == 0 {
		return nil, &CorruptError{Reason: "the frame before capture 1 of the merged file is incomplete"}
	}
	last := &list[len(list)-1]
	if end := last.Offset + last.Bytes; len(list) == last.Count && end < size && last.Damage == nil {
		last.Damage = &CorruptError{Offset: end, Reason: fmt.Sprintf("%d bytes follow the last capture", size-end)}
	}
	for count := last.Count; len(list) < count; {
		list = append(list, Source{Number: len(list) + 1, Count: count, Offset: size, Length: -1,
			Damage: fmt.Errorf("%w: the merged file stops before capture %d of %d", ErrTruncated, len(list)+1, count)})
	}
	return list, nil
}

// nextSource finds the next frame of a capture that can follow capture number-1, and where it is: the end of the file
// if there is none, and the number is 0 then.
func nextSource(r io.ReaderAt, at, size int64, number, count int) (Source, int64, error) {
	buf := make([]byte, 1<<20)
	for at < size {
		n, err := r.ReadAt(buf[:min(int64(len(buf)), size-at)], at)
		if err != nil && !errors.Is(err, io.EOF) || n == 0 {
			return Source{}, 0, fmt.Errorf("read merged file: %w", err)
		}
		last := at+int64(n) >= size
		from := 0
		for {
			i := bytes.Index(buf[from:n], sourceHead)
			if i < 0 || !last && from+i+8+sourceSize > n { // its rest is in what is read next
				break
			}
			from += i
			var s Source
			if s.parse(buf[from:min(from+8+sourceSize, n)]) && s.Number >= number && (count == 0 || s.Count == count) {
				return s, at + int64(from), nil
			}
			from++
		}
		if last {
			break
		}
		at += int64(max(from, n-8-sourceSize+1))
	}
	return Source{}, size, nil
}
