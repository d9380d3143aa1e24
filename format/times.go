package format

// This file gives the times of a batch alone.

import "iter"

// Count is how many events the frame has, even where they are passed over.
func (b *Batch) Count() uint32 {
	if b.link == nil {
		return uint32(len(b.Events))
	}
	return b.link.events
}

// AppendTimes appends the boot times of the batch's events in their order. It does not
// look at the events where they are those of the frame.
func (b *Batch) AppendTimes(dst []int64) []int64 {
	if b.times != nil {
		return b.times.appendTimes(dst)
	}
	for i := range b.Events {
		dst = append(dst, b.Events[i].BootNS)
	}
	return dst
}

// appendTimes appends the column of boot times.
func (d *blockDecoder) appendTimes(dst []int64) []int64 {
	for i, c := range d.cols {
		if c.field != nil && c.field.Name == "boot_ns" && d.held[i].vary {
			return append(dst, d.held[i].nums...)
		}
	}
	for range d.row {
		dst = append(dst, d.same[0].BootNS)
	}
	return dst
}

// WithParts gives a copy of the batch whose Parts are these instead of its events.
func (b *Batch) WithParts(parts iter.Seq[[]Event]) *Batch {
	c := *b
	c.Events, c.block, c.times, c.replaced = nil, nil, nil, parts
	return &c
}
