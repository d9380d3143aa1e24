package format

// This file decodes the content of a frame.

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/klauspost/compress/zstd"
	"github.com/vmihailenco/msgpack/v5"
)

// frameDecoder turns one frame after another into batches. Its memory is reused.
// The capture's header is shared by all decoders of a capture; once it is known,
// they do not change it, and can run at the same time.
type frameDecoder struct {
	salvage bool
	usual   bool    // refuse what takes much memory, by errLarge
	fromNS  int64   // blocks of frames whose events are all before it are passed over
	header  *Header // Format 0: not known yet
	omit    []string
	parts   bool
	rows    int // events in the frame's block
	left    int // elements of lists that its records may still have
	zstd    *zstd.Decoder
	content []byte
	block   blockDecoder
	batch   Batch
	end     End
}

// maxUsual bounds the bytes of records other than blocks in a usual frame.
const maxUsual = 64 << 10

// errLarge says that a frame is one that is to be decoded alone.
var errLarge = errors.New("frame takes much memory")

func newFrameDecoder(header *Header, o ReaderOptions) (*frameDecoder, error) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(maxContent), zstd.WithDecoderMaxWindow(maxContent))
	if err != nil {
		return nil, fmt.Errorf("set up decompression: %w", err)
	}
	return &frameDecoder{header: header, salvage: o.Salvage, omit: o.Omit, parts: o.Parts, fromNS: math.MinInt64,
		zstd: dec}, nil
}

// forget gives memory back.
func (d *frameDecoder) forget() {
	*d = frameDecoder{header: d.header, salvage: d.salvage, omit: d.omit, parts: d.parts, fromNS: d.fromNS,
		zstd: d.zstd, block: blockDecoder{cols: d.block.cols}}
}

// decode fills d.batch from a frame. Its error is a *VersionError, or says what is
// wrong with the frame.
func (d *frameDecoder) decode(l *link, frame []byte) error {
	content, err := d.zstd.DecodeAll(frame, d.content[:0])
	if err != nil {
		return fmt.Errorf("frame %d: decompress: %w", l.frame, err)
	}
	d.content = content
	if !oneFrame(frame) {
		return fmt.Errorf("frame %d: behind its link there is more than one zstd frame", l.frame)
	}
	if len(content) == 0 {
		return fmt.Errorf("frame %d holds nothing", l.frame)
	}
	if len(content) != int(l.content) {
		return fmt.Errorf("frame %d holds %d bytes, its link says %d", l.frame, len(content), l.content)
	}
	b := &d.batch
	*b = Batch{Processes: b.Processes[:0], Clocks: b.Clocks[:0], Losses: b.Losses[:0], Snapshots: b.Snapshots[:0],
		Counters: b.Counters[:0], Marks: b.Marks[:0], Counted: b.Counted[:0], Gaps: b.Gaps[:0],
		Watches: b.Watches[:0], Doings: b.Doings[:0], Images: b.Images[:0], Stacks: b.Stacks[:0], Events: b.Events[:0]}
	d.rows, d.left = 0, maxElements
	n, other := 0, 0
	for ; len(content) > 0; n++ {
		size, err := check(content)
		if err != nil {
			return fmt.Errorf("frame %d: %w", l.frame, err)
		}
		if n == maxRecords+1 {
			return fmt.Errorf("frame %d holds more than %d records", l.frame, maxRecords)
		}
		isBlock, err := d.record(l, content[:size], maxUsual-other)
		if err == errLarge {
			return err
		}
		if err != nil {
			if _, newer := err.(*VersionError); newer {
				return err
			}
			return fmt.Errorf("frame %d: %w", l.frame, err)
		}
		if !isBlock {
			other += size
		}
		if other > maxOther {
			return fmt.Errorf("frame %d has more than %d bytes of records beside its block", l.frame, maxOther)
		}
		content = content[size:]
	}
	if d.rows != int(l.events) && !d.passes(l) {
		return fmt.Errorf("frame %d holds %d events, its link says %d", l.frame, d.rows, l.events)
	}
	if n > 1 && (b.Header != nil || b.End != nil) {
		return fmt.Errorf("frame %d holds more than the record that stands alone", l.frame)
	}
	return nil
}

// record decodes one record: an array of its tag and its body. Of a usual frame,
// one other than a block has no more than room bytes.
func (d *frameDecoder) record(l *link, b []byte, room int) (isBlock bool, err error) {
	n, b, ok := parseLen(b, 0x90, 0xdc)
	tag, b, okTag := parseBin(b)
	if !ok || n != 2 || !okTag {
		return false, fmt.Errorf("a record is not a pair of a tag and a body")
	}
	if string(tag) == "block" {
		return true, d.readBlock(l, b)
	}
	if d.usual && len(b) > room {
		return false, errLarge
	}
	if len(b) > maxRecord {
		return false, fmt.Errorf("a record has %d bytes", len(b))
	}
	if err := inRange(string(tag), b, &d.left); err != nil {
		return false, fmt.Errorf("decode %s: %w", tag, err)
	}
	batch := &d.batch
	switch string(tag) {
	case "header":
		var h Header
		if err = msgpack.Unmarshal(b, &h); err == nil {
			return false, d.begin(&h)
		}
	case "process":
		var p Process
		err = msgpack.Unmarshal(b, &p)
		batch.Processes = append(batch.Processes, p)
	case "clock":
		var c Clock
		err = msgpack.Unmarshal(b, &c)
		batch.Clocks = append(batch.Clocks, c)
	case "loss":
		var x Loss
		err = msgpack.Unmarshal(b, &x)
		batch.Losses = append(batch.Losses, x)
	case "snapshot":
		var x Snapshot
		err = msgpack.Unmarshal(b, &x)
		batch.Snapshots = append(batch.Snapshots, x)
	case "counters":
		var x Counters
		err = msgpack.Unmarshal(b, &x)
		batch.Counters = append(batch.Counters, x)
	case "watch":
		var x Watch
		err = msgpack.Unmarshal(b, &x)
		batch.Watches = append(batch.Watches, x)
	case "doing":
		var x Doing
		err = msgpack.Unmarshal(b, &x)
		batch.Doings = append(batch.Doings, x)
	case "image":
		var x Image
		err = msgpack.Unmarshal(b, &x)
		batch.Images = append(batch.Images, x)
	case "stack":
		var x Stack
		err = msgpack.Unmarshal(b, &x)
		batch.Stacks = append(batch.Stacks, x)
	case "mark":
		var x Mark
		err = msgpack.Unmarshal(b, &x)
		batch.Marks = append(batch.Marks, x)
	case "counted":
		var x Counted
		err = msgpack.Unmarshal(b, &x)
		batch.Counted = append(batch.Counted, x)
	case "gap":
		var x Gap
		err = msgpack.Unmarshal(b, &x)
		batch.Gaps = append(batch.Gaps, x)
	case "end":
		d.end = End{}
		err = msgpack.Unmarshal(b, &d.end)
		batch.End = &d.end
	}
	if err != nil {
		return false, fmt.Errorf("decode %s: %w", tag, err)
	}
	return false, nil
}

// begin takes the header and refuses what needs a newer reader.
func (d *frameDecoder) begin(h *Header) error {
	if d.header.Format != 0 {
		return fmt.Errorf("a second header")
	}
	if h.Format != Version || len(h.Incompat) > 1 || len(h.Incompat) == 1 && h.Incompat[0] != FeatureCut {
		return &VersionError{Format: h.Format, Features: h.Incompat}
	}
	if (len(h.Incompat) > 0) != (len(h.Cuts) > 0) || len(h.Cuts) > MaxCuts {
		return fmt.Errorf("a cut is not named as one, or cut more than %d times", MaxCuts)
	}
	cols, err := plan(h.Fields)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(cols, func(c column) bool { return c.numbers }) != (len(h.Cuts) > 0) {
		return fmt.Errorf("a cut has a column of the events' numbers, and no other capture does")
	}
	omit(cols, d.omit)
	*d.header, d.block.cols = *h, cols
	d.batch.Header = d.header
	return nil
}

// assume takes the columns for those of this version, where the header is lost.
func (d *frameDecoder) assume() error {
	err := d.begin(&Header{Format: Version, Fields: specs()})
	d.batch.Header = nil // the frame holds none
	return err
}

// passes reports whether the frame's events are passed over.
func (d *frameDecoder) passes(l *link) bool { return l.maxNS < d.fromNS }

// readBlock decodes a block of events: a map of seq, rows and cols, in this order.
func (d *frameDecoder) readBlock(l *link, b []byte) error {
	n, b, ok := parseLen(b, 0x80, 0xde)
	if !ok || n != 3 {
		return fmt.Errorf("a block is not a map of seq, rows and cols")
	}
	var nums [2]int64
	for i, want := range []string{"seq", "rows", "cols"} {
		var name []byte
		if name, b, ok = parseBin(b); !ok || string(name) != want {
			return fmt.Errorf("a block is not a map of seq, rows and cols")
		}
		if want == "cols" {
			break
		}
		if nums[i], b, ok = parseInt(b); !ok {
			return fmt.Errorf("a block's %s is not an integer", want)
		}
	}
	if d.block.cols == nil {
		if !d.salvage {
			return fmt.Errorf("a block stands before the header")
		}
		if err := d.assume(); err != nil {
			return err
		}
	}
	rows := nums[1]
	if uint64(nums[0]) != l.firstSeq || rows != int64(l.events) || d.rows != 0 {
		return fmt.Errorf("a block does not hold the events that its link says")
	}
	if d.passes(l) {
		return nil
	}
	if err := d.block.decode(b, int(rows)); err != nil {
		return err
	}
	d.rows, d.batch.times = int(rows), &d.block
	if d.parts {
		d.batch.block = &d.block
		return nil
	}
	if cap(d.batch.Events) < d.rows {
		d.batch.Events = make([]Event, max(d.rows, 2*cap(d.batch.Events)))
	}
	d.batch.Events = d.batch.Events[:d.rows]
	d.block.storeAll(d.batch.Events, l.firstSeq)
	return nil
}
