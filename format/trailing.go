package format

// This file handles what follows a capture in its file: another capture, or other bytes.

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// foreign reports whether a link is of the header of another capture.
func (r *Reader) foreign(l *link) bool {
	return l.frame == 0 && r.frame > 0 && (r.start == nil || *r.start != l.chain)
}

// anotherOne says that another capture begins at the current place.
func (r *Reader) anotherOne() string {
	return fmt.Sprintf("another capture begins at byte %d: nothing from there on is taken", r.src.at)
}

// foreignHere reports whether a link of another capture's header stands at the current place.
func (r *Reader) foreignHere() bool {
	b, _ := r.src.peek(8 + linkSize)
	l := link{}
	return len(b) == 8+linkSize && bytes.HasPrefix(b, linkHead) && l.parse(b[8:]) && r.foreign(&l)
}

// skipRest discards the remaining input, which does not belong to this capture,
// and notes where another one begins in it. The error is never nil.
func (r *Reader) skipRest(reason string) error {
	if _, err := r.drain(reason); err != nil {
		return err
	}
	return r.truncated(io.EOF)
}

// trailing leaves out what stands behind the tail. It gives io.EOF: nothing is missing.
func (r *Reader) trailing() error {
	const follows = "something follows the tail, which ends a capture"
	reason := follows
	if r.another = r.foreignHere(); r.another {
		reason = r.anotherOne()
	}
	note, err := r.drain(reason)
	if err != nil {
		return err
	}
	switch {
	case note.Reason != follows:
	case note.Bytes == 1:
		note.Reason = "a byte follows the tail, which ends a capture"
	default:
		note.Reason = fmt.Sprintf("%d bytes follow the tail, which ends a capture", note.Bytes)
	}
	return io.EOF
}

// drain takes the rest of the input and notes it as left out: in one part, or in two
// if another capture begins in it. It gives the first.
func (r *Reader) drain(reason string) (*Skip, error) {
	r.drained = true
	from := r.src.at
	first := len(r.skipped)
	if first == maxSkips {
		first--
	}
	r.part(from, reason)
	for {
		if r.maxSkip > 0 && r.src.at-from > r.maxSkip {
			return nil, &CorruptError{Offset: from,
				Reason: fmt.Sprintf("%d bytes and more stand where the capture has ended, and no more are looked at",
					r.src.at-from)}
		}
		b, err := r.src.peek(64 << 10)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read capture: %w", err)
		}
		n, found := len(b), false
		if !r.another {
			i := bytes.Index(b, linkHead)
			switch {
			case i == 0 && r.foreignHere():
				r.another = true
				r.part(r.src.at, r.anotherOne())
			case i == 0:
				n = 1
			case i != -1:
				n, found = i, true
			case err == nil:
				n -= mayBegin(b)
			}
		}
		note := &r.skipped[len(r.skipped)-1]
		r.src.take(n)
		hole := r.src.at
		if err == nil {
			if err := r.src.skipHole(); err != nil {
				return nil, fmt.Errorf("read capture: %w", err)
			}
		}
		note.Bytes += int64(n) + r.src.at - hole
		r.skipEnd = r.src.at
		if err != nil && !found && n == len(b) {
			return &r.skipped[first], nil
		}
	}
}

// part begins a note of its own of what is left out from at on.
func (r *Reader) part(at int64, reason string) {
	if len(r.skipped) == maxSkips {
		r.skipped[maxSkips-1].Reason = "and other places behind this one"
	} else {
		r.skipped = append(r.skipped, Skip{Offset: at, Reason: reason})
	}
	r.skipEnd = at
}
