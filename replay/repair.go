package replay

// This file repairs damaged captures.

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/acc-project/acc/format"
)

// ErrWhole says that a capture needs no repair.
var ErrWhole = errors.New("the capture is whole: nothing is to be repaired")

// RepairOptions are settings of Repair; the zero value will do.
type RepairOptions struct {
	Tool string // "acc VERSION", for the new header
}

// survey is what a first reading of a damaged capture says.
type survey struct {
	sum     [32]byte
	header  format.Header
	end     *format.End
	clock   format.Clock // the newest
	lastNS  int64        // boot time of the last event
	counts  map[probe]uint64
	losses  map[probe]uint64
	skipped []format.Skip
	stops   error // ErrTruncated, or nil
	atByte  int64 // where what can be read ends
}

type probe struct {
	hook format.Hook
	kind format.Kind
}

// Repair writes a new capture to w of all that can be read of the damaged one in
// the first size bytes of src: its frames byte for byte and with their numbers of
// events, a Gap where something is missing, a header that says from what it was
// made, and an END of its own whose account is of what is there. It reads src
// twice, and never writes to it. The error is ErrWhole (errors.Is) if there is
// nothing to repair; then and for input that is no capture nothing is written.
func Repair(w io.Writer, src io.ReaderAt, size int64, o RepairOptions) (*format.Repaired, *format.End, error) {
	s, err := look(src, size)
	if err != nil {
		return nil, nil, err
	}
	note := s.note(size, o.Tool)
	if note == nil {
		return nil, nil, ErrWhole
	}
	h := s.header
	h.Repaired = note
	out, err := format.NewCopy(w, h)
	if err != nil {
		return nil, nil, err
	}
	if err := s.copy(out, src, size); err != nil {
		return nil, nil, err
	}
	end := s.account()
	if err := out.Close(end); err != nil {
		return nil, nil, err
	}
	end.Events = out.Events()
	return note, &end, nil
}

// look reads the capture and counts.
func look(src io.ReaderAt, size int64) (*survey, error) {
	s := &survey{counts: map[probe]uint64{}, losses: map[probe]uint64{}}
	sum := sha256.New()
	in := io.TeeReader(io.NewSectionReader(src, 0, size), sum)
	r, err := format.NewReader(in, format.ReaderOptions{Salvage: true, Ahead: true})
	if err != nil {
		return nil, fmt.Errorf("open capture: %w", err)
	}
	s.header = *r.Header()
	s.clock, s.lastNS = s.header.Clock, math.MinInt64
	for {
		var b *format.Batch
		if b, err = r.Next(); err != nil {
			break
		}
		s.atByte = b.Offset + b.Bytes
		for _, c := range b.Clocks {
			s.clock = c
		}
		for _, l := range b.Losses {
			s.losses[probe{l.Hook, l.Kind}] += l.Count
		}
		for i := range b.Events {
			s.counts[probe{b.Events[i].Hook, b.Events[i].Kind}]++
			s.lastNS = max(s.lastNS, b.Events[i].BootNS)
		}
		if b.End != nil {
			e := *b.End
			s.end = &e
		}
	}
	s.skipped = append(s.skipped, r.Skipped()...)
	switch {
	case errors.Is(err, format.ErrTruncated):
		s.stops = err
	case !errors.Is(err, io.EOF):
		return nil, err
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		return nil, fmt.Errorf("read capture: %w", err)
	}
	s.sum = [32]byte(sum.Sum(nil))
	return s, nil
}

// note is what the header says of the original, nil if that is whole.
func (s *survey) note(size int64, tool string) *format.Repaired {
	n := &format.Repaired{SHA256: hex.EncodeToString(s.sum[:]), Bytes: size, Tool: tool, Ended: s.end != nil,
		Places: len(s.skipped), Notes: []string{}}
	for _, k := range s.skipped {
		n.Lost += k.Bytes
		n.Events += k.Events
	}
	switch {
	case len(s.skipped) > 0:
		n.Events = max(n.Events, s.gone())
		bad := format.CorruptError{Offset: s.skipped[0].Offset, Reason: s.skipped[0].Reason}
		n.Verdict, n.Why = "corrupt", bad.Error()
	case s.stops != nil:
		n.Verdict, n.Why = "truncated", s.stops.Error()
		n.Lost = size - s.atByte
	default:
		return nil
	}
	if s.header.ID == "" {
		n.Notes = append(n.Notes, "the header is lost: host and clocks are not known, the columns are taken for "+
			"those of this version")
	}
	if p := s.header.Repaired; p != nil {
		n.Notes = append(n.Notes, "the original is itself repaired, from SHA-256 "+p.SHA256)
	}
	return n
}

// copy writes all frames but the header's and END's, and the gaps between them.
func (s *survey) copy(out *format.Writer, src io.ReaderAt, size int64) error {
	sum := sha256.New()
	in := io.TeeReader(io.NewSectionReader(src, 0, size), sum)
	r, err := format.NewReader(in, format.ReaderOptions{Salvage: true, Ahead: true})
	if err != nil {
		return fmt.Errorf("open capture: %w", err)
	}
	seen, last := 0, format.Skip{} // of what was left out
	next := uint64(1)              // Seq of the event that follows
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) || errors.Is(err, format.ErrTruncated) {
			break
		}
		if err != nil {
			return err
		}
		g := format.Gap{Next: b.FirstSeq}
		if n := len(r.Skipped()); n > 0 {
			for _, k := range r.Skipped()[max(seen-1, 0):] {
				g.Bytes, g.Events, g.Reason = g.Bytes+k.Bytes, g.Events+k.Events, k.Reason
			}
			g.Bytes, g.Events = g.Bytes-last.Bytes, g.Events-last.Events
			seen, last = n, r.Skipped()[n-1]
		}
		g.Offset = b.Offset - g.Bytes
		if g.Bytes > 0 || g.Events > 0 || g.Next != next {
			if err := out.Gap(g); err != nil {
				return err
			}
		}
		next = b.FirstSeq + uint64(len(b.Events))
		for _, g := range b.Gaps {
			next = g.Next
		}
		if b.Header != nil || b.End != nil {
			continue
		}
		if err := out.Copy(b); err != nil {
			return err
		}
	}
	if s.stops != nil && size > s.atByte || s.end == nil {
		g := format.Gap{Next: next, Offset: s.atByte, Bytes: size - s.atByte, Reason: "nothing behind this can be read"}
		if n := len(s.skipped); n > 0 && s.skipped[n-1].Offset+s.skipped[n-1].Bytes == size {
			g.Reason = s.skipped[n-1].Reason
		}
		if err := out.Gap(g); err != nil {
			return err
		}
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		return fmt.Errorf("read capture: %w", err)
	}
	if !bytes.Equal(sum.Sum(nil), s.sum[:]) {
		return errors.New("read capture: it changed while it was read")
	}
	return nil
}

// gone is how many events the original recorded, by its END, that can't be read.
func (s *survey) gone() (gone uint64) {
	if s.end == nil {
		return 0
	}
	for _, t := range s.end.Totals {
		n := s.counts[probe{t.Hook, t.Kind}]
		gone += max(t.Recorded, n) - n
	}
	return gone
}

// account is the new END: what the probes saw is either in the capture or lost. How the
// recording ended, and whether in order, is as the original says; what is wrong with that
// stands in the header.
func (s *survey) account() format.End {
	if s.end == nil {
		end := format.End{Reason: "repaired", Detail: "the original has no end: how many events followed is not known",
			Clock: s.until()}
		for hook := range 256 { // one that this version does not know counts, too
			for kind := range format.NumKinds {
				p := probe{format.Hook(hook), format.Kind(kind)}
				if n, lost := s.counts[p], s.losses[p]; n+lost > 0 {
					end.Totals = append(end.Totals,
						format.ProbeTotal{Hook: p.hook, Kind: p.kind, Seen: n + lost, Recorded: n, Lost: lost})
					end.Lost += lost
				}
			}
		}
		return end
	}
	end := *s.end
	end.Lost, end.Totals = 0, slices.Clone(end.Totals)
	for i := range end.Totals {
		t := &end.Totals[i]
		n := s.counts[probe{t.Hook, t.Kind}]
		t.Recorded = n
		t.Lost = max(t.Seen, n) - n
		end.Lost += t.Lost
	}
	return end
}

// until is the time of the last thing that is known, on the clocks of the newest pair.
func (s *survey) until() format.Clock {
	c := s.clock
	// by wraps only for times that no clock has
	if by := s.lastNS - c.BootNS; c.Known() && s.lastNS > c.BootNS && by > 0 {
		c.BootNS, c.MonoNS, c.RealNS = s.lastNS, c.MonoNS+by, c.RealNS+by
	}
	return c
}
