package redact

// This file writes a redacted capture.

import (
	"errors"
	"fmt"
	"io"

	"github.com/acc-project/acc/format"
)

// Options are the settings of Write.
type Options struct {
	Tool      string   // "acc VERSION", for the header
	Key       []byte   // of KeySize bytes
	KeyGiven  bool     // it is one that is kept: the header has its fingerprint
	Addresses string   // Prefix, Opaque or Kinds
	Keep      []string // classes and fields that stay
}

// Write writes to w the capture that src has, of which revealed is what Reveal said, without what it gives
// away. A capture that stops early makes one that stops early. Anything that can't be redacted is an error; what was
// written then is no capture to give away.
func Write(w io.Writer, src io.Reader, revealed *Revealed, o Options) (*format.Redacted, error) {
	x, err := NewRedactor(o.Key, o.Addresses, o.Keep)
	if err != nil {
		return nil, err
	}
	r, err := format.NewReader(src, format.ReaderOptions{Parts: true})
	if err != nil {
		return nil, err
	}
	note := &format.Redacted{SHA256: revealed.SHA256, Bytes: revealed.Bytes, Head: revealed.Head, Tool: o.Tool,
		Addresses: o.Addresses, Keep: append([]string{}, o.Keep...), Counts: []format.RedactedCount{}}
	if o.KeyGiven {
		note.Key = Fingerprint(o.Key)
	}
	for _, c := range revealed.Classes {
		if c.Places > 0 {
			note.Counts = append(note.Counts, format.RedactedCount{Class: c.Class, Values: c.Values, Places: c.Places})
		}
	}
	h := *r.Header()
	if err := x.Record(&h); err != nil {
		return nil, err
	}
	h.Redacted = note
	out, err := format.NewWriter(w, h, format.WriterOptions{FrameEvents: 1 << 16})
	if err != nil {
		return nil, err
	}
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) || errors.Is(err, format.ErrTruncated) {
			return note, out.Flush()
		}
		if err != nil {
			return nil, err
		}
		if err := x.batch(out, b); err != nil {
			return nil, fmt.Errorf("frame %d: %w", b.Frame, err)
		}
	}
}

// batch writes what a frame has as a frame.
func (x *Redactor) batch(out *format.Writer, b *format.Batch) error {
	err := eachRecord(b, func(v any) error {
		if err := x.Record(v); err != nil {
			return err
		}
		switch v := v.(type) {
		case *format.Process:
			return out.Process(*v)
		case *format.Clock:
			return out.Clock(*v)
		case *format.Loss:
			return out.Loss(*v)
		case *format.Counted:
			return out.Counted(*v)
		case *format.Mark:
			return out.Mark(*v)
		case *format.Snapshot:
			return out.Snapshot(*v)
		case *format.Counters:
			return out.Counters(*v)
		case *format.Watch:
			return out.Watch(*v)
		case *format.Doing:
			return out.Doing(*v)
		case *format.Image:
			return out.Image(*v)
		case *format.Stack:
			return out.Stack(*v)
		case *format.Gap:
			return out.Gap(*v)
		case *format.End:
			return out.Close(*v)
		}
		return fmt.Errorf("a record of type %T has no rule", v)
	})
	if err != nil || b.End != nil {
		return err
	}
	for events := range b.Parts() {
		for i := range events {
			e, err := x.Event(&events[i])
			if err != nil {
				return fmt.Errorf("event %d: %w", events[i].Seq, err)
			}
			e.Seq = events[i].Seq
			if err := out.Event(&e); err != nil {
				return err
			}
			if e.Seq != events[i].Seq {
				return fmt.Errorf("event %d became event %d", events[i].Seq, e.Seq)
			}
		}
	}
	return out.Flush()
}
