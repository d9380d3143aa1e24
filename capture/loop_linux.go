//go:build amd64 || arm64

package capture

// This file has the loop of a recording: it takes what is in the ring, and does what is due by time.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cilium/ebpf/ringbuf"

	"github.com/acc-project/acc/format"
)

// read takes batches of events from the ring until it is time to stop.
func (s *session) read(stop context.Context) error {
	for more := false; stop.Err() == nil && (s.o.MaxEvents == 0 || s.events() < s.o.MaxEvents); {
		var err error
		if !more {
			s.ring.SetDeadline(s.nextTick())
			if err = s.ring.ReadInto(&s.record); err == nil {
				if err := s.takeRecord(); err != nil {
					return err
				}
			}
		}
		switch {
		case err == nil:
			if more, err = s.batch(stop); err != nil {
				return err
			}
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, ringbuf.ErrFlushed):
			if err := s.drain(); err != nil { // nothing, mostly; and all is known up to now
				return err
			}
		default:
			return fmt.Errorf("read ring buffer: %w", err)
		}
		if err := s.tick(); err != nil {
			return err
		}
	}
	return nil
}

// manyBytes in a batch: the next one is not waited for by the kernel's telling that it has begun. Each waking takes
// some 50,000 instructions, of the kernel and of Go's scheduler.
const manyBytes = 8 << 10

// batch lets events gather, so that the kernel wakes this process once for many, and takes those that are there then.
// The more it finds, the shorter it waits the next time; not at all where the last batch has left much. More: there
// were many.
func (s *session) batch(stop context.Context) (more bool, err error) {
	if s.ring.AvailableBytes() <= s.ringLen/4 {
		select {
		case <-time.After(s.wait):
		case <-stop.Done():
		}
	}
	used := s.ring.AvailableBytes()
	switch {
	case used > s.ringLen/4:
		s.wait = max(s.wait/4, time.Millisecond)
	case used < s.ringLen/16:
		s.wait = min(s.wait*2, batchWait)
	}
	return used >= manyBytes, s.drain()
}

var past = time.Unix(1, 0)

// drain takes what is in the ring by now.
func (s *session) drain() error {
	s.queues.knownNS = bootNS()
	began, written := time.Now(), s.writer.Bytes()
	err := s.mapped.drain(s, (*session).takeNext)
	if s.writer.Bytes() != written { // what is in the frame now has come since
		s.framed = began
	}
	return err
}

// nextTick is when tick has something to do.
func (s *session) nextTick() time.Time {
	if s.isHolding() {
		return time.Now().Add(batchWait) // nothing else is due until the lists are there
	}
	next := s.clocked.Add(clockEvery)
	if s.writer.Pending() || s.guard.counts() {
		for _, since := range []time.Time{s.framed, s.booked} {
			if due := since.Add(flushEvery); due.Before(next) {
				next = due
			}
		}
	}
	if until := s.watcher.until; s.ticked.Before(until) && until.Before(next) {
		next = until
	}
	for _, due := range []time.Time{s.calls.look, s.queues.due} {
		if !due.IsZero() && due.Before(next) {
			next = due
		}
	}
	if due := s.nextRotation(); !due.IsZero() && due.Before(next) {
		next = due
	}
	if renew := s.renewed.Add(renewEvery); s.renewer != nil && renew.Before(next) {
		next = renew
	}
	if measure := s.budget.measured.Add(measureEvery); s.o.limited() && measure.Before(next) {
		next = measure
	}
	if told := s.told.Add(statusEvery); s.o.Status != nil && told.Before(next) {
		next = told
	}
	return next
}

// tick does what is due by time: losses, clock pairs, the end of a frame, status.
func (s *session) tick() error {
	now := time.Now()
	s.ticked = now
	s.o.Control.answer(s)
	if err := s.rotate(now); err != nil {
		return err
	}
	if s.isHolding() { // nothing is written meanwhile
		return nil
	}
	if err := s.watcher.update(now); err != nil {
		return err
	}
	if err := errors.Join(s.lookForWaiting(now), s.keepBudget(now)); err != nil {
		return err
	}
	if s.renewer != nil && now.Sub(s.renewed) >= renewEvery {
		s.renewed = now
		s.o.Select.Cgroups = s.renewer.look()
	}
	if !s.writer.Pending() && !s.guard.counts() {
		s.framed, s.booked = now, now // a frame lives from its first event
	}
	if now.Sub(s.booked) >= flushEvery {
		s.booked = now
		records := s.writer.Records()
		if err := errors.Join(s.writeLosses(), s.counted(false)); err != nil {
			return err
		}
		if s.writer.Records() != records {
			s.framed = time.Time{} // what is lost does not wait for a frame to be full
		}
	}
	if now.Sub(s.framed) >= flushEvery {
		s.framed = now
		if err := s.writer.Flush(); err != nil {
			return err
		}
	}
	if err := s.noteStep(); err != nil {
		return err
	}
	if err := s.look(now); err != nil {
		return err
	}
	if now.Sub(s.clocked) >= clockEvery {
		s.clocked = now
		clock, err := readClock()
		if err != nil {
			return err
		}
		s.clock = clock
		s.lookOff()
		if err := errors.Join(s.writer.Clock(clock), s.readCounters()); err != nil {
			return err
		}
		if err := s.writer.Flush(); err != nil {
			return err
		}
	}
	if !s.isEnding() && s.witness.watch.changed() {
		if err := s.readCounters(); err != nil {
			return err
		}
	}
	if s.o.Status != nil && now.Sub(s.told) >= statusEvery {
		s.told = now
		s.o.Status(s.status())
	}
	return nil
}

// readCounters records the kernel's counters, but not while those of the file's end are being read: they would be
// written after newer ones.
func (s *session) readCounters() error {
	if s.isEnding() {
		return nil
	}
	return s.witness.read(false, false)
}

// status is how the recording stands.
func (s *session) status() Status {
	return Status{Elapsed: time.Since(s.started), Events: s.events(),
		Lost: s.ledger.lostBefore(bootNS() - int64(flushEvery)), Bytes: s.bytes()}
}

// mark writes a mark.
func (s *session) mark(text string, uid uint32) error {
	if len(text) > MaxMark {
		return fmt.Errorf("a mark of %d bytes: at most %d fit", len(text), MaxMark)
	}
	return s.writer.Mark(format.Mark{BootNS: bootNS(), Text: text, UID: uid})
}

// events is how many events were recorded by now.
func (s *session) events() uint64 {
	if s.rotation != nil {
		return s.rotation.before.events + s.writer.Events()
	}
	return s.writer.Events()
}

// bytes is how many bytes were written by now.
func (s *session) bytes() int64 {
	if s.rotation != nil {
		return s.rotation.before.bytes + s.writer.Bytes()
	}
	return s.writer.Bytes()
}

// writeLosses writes what is lost for good. The entry of a call that waits is not: it is written now.
func (s *session) writeLosses() error {
	before := bootNS() - int64(flushEvery)
	if s.ledger.missing(probeEnter, before) {
		if _, err := s.writeWaiting(before + int64(flushEvery-callsAge)); err != nil {
			return err
		}
	}
	return s.ledger.losses(before, s.writer.Loss)
}
