package format

import (
	"fmt"

	"github.com/vmihailenco/msgpack/v5"
)

// decode fills r.batch from a frame.
func (r *Reader) decode(l *link, frame []byte) error {
	content, err := r.zstd.DecodeAll(frame, r.content[:0])
	if err != nil {
		return r.corrupt("frame %d: decompress: %v", l.frame, err)
	}
	r.content = content
	if len(content) == 0 {
		return r.corrupt("frame %d holds nothing", l.frame)
	}
	if len(content) != int(l.content) {
		return r.corrupt("frame %d holds %d bytes, its link says %d", l.frame, len(content), l.content)
	}
	b := &r.batch
	*b = Batch{Processes: b.Processes[:0], Clocks: b.Clocks[:0], Losses: b.Losses[:0], Snapshots: b.Snapshots[:0],
		Counters: b.Counters[:0], Gaps: b.Gaps[:0], Events: b.Events[:0]}
	n := 0
	for ; len(content) > 0; n++ {
		size, err := check(content)
		if err != nil {
			return r.corrupt("frame %d: %v", l.frame, err)
		}
		if n == maxRecords+1 {
			return r.corrupt("frame %d holds more than %d records", l.frame, maxRecords)
		}
		if err := r.record(l, content[:size]); err != nil {
			if _, newer := err.(*VersionError); newer {
				return err
			}
			return r.corrupt("frame %d: %v", l.frame, err)
		}
		content = content[size:]
	}
	if len(b.Events) != int(l.events) {
		return r.corrupt("frame %d holds %d events, its link says %d", l.frame, len(b.Events), l.events)
	}
	if n > 1 && (b.Header != nil || b.End != nil) {
		return r.corrupt("frame %d holds more than the record that stands alone", l.frame)
	}
	if b.Header == nil && r.frame == 0 && r.header.Format == 0 {
		if !r.salvage {
			return r.corrupt("frame %d holds no header", l.frame)
		}
		r.skip(r.src.at, "the header is missing here")
		return r.begin(&Header{Format: Version, Fields: specs()})
	}
	return nil
}

// record decodes one record: an array of its tag and its body.
func (r *Reader) record(l *link, b []byte) error {
	n, b, ok := parseLen(b, 0x90, 0xdc)
	tag, b, okTag := parseBin(b)
	if !ok || n != 2 || !okTag {
		return fmt.Errorf("a record is not a pair of a tag and a body")
	}
	if string(tag) == "block" {
		return r.readBlock(l, b)
	}
	if len(b) > maxRecord {
		return fmt.Errorf("a record has %d bytes", len(b))
	}
	batch := &r.batch
	var err error
	switch string(tag) {
	case "header":
		var h Header
		if err = msgpack.Unmarshal(b, &h); err == nil {
			return r.begin(&h)
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
	case "gap":
		var x Gap
		err = msgpack.Unmarshal(b, &x)
		batch.Gaps = append(batch.Gaps, x)
	case "end":
		r.end = End{}
		err = msgpack.Unmarshal(b, &r.end)
		batch.End = &r.end
		r.ended = true
	}
	if err != nil {
		return fmt.Errorf("decode %s: %w", tag, err)
	}
	return nil
}

// begin takes the header and refuses what needs a newer reader.
func (r *Reader) begin(h *Header) error {
	if r.header.Format != 0 {
		return fmt.Errorf("a second header")
	}
	if h.Format != Version || len(h.Incompat) > 0 {
		return &VersionError{Format: h.Format, Features: h.Incompat}
	}
	cols, err := plan(h.Fields)
	if err != nil {
		return err
	}
	r.header, r.block.cols = *h, cols
	r.batch.Header = &r.header
	return nil
}

// readBlock decodes a block of events: a map of seq, rows and cols, in this order.
func (r *Reader) readBlock(l *link, b []byte) error {
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
	if r.block.cols == nil {
		if !r.salvage {
			return fmt.Errorf("a block stands before the header")
		}
		if err := r.begin(&Header{Format: Version, Fields: specs()}); err != nil {
			return err
		}
	}
	rows := nums[1]
	if uint64(nums[0]) != l.firstSeq || rows != int64(l.events) || len(r.batch.Events) != 0 {
		return fmt.Errorf("a block does not hold the events that its link says")
	}
	if int64(cap(r.batch.Events)) < rows {
		r.batch.Events = make([]Event, max(rows, 2*int64(cap(r.batch.Events))))
	}
	r.batch.Events = r.batch.Events[:rows]
	return r.block.decode(b, r.batch.Events, l.firstSeq)
}
