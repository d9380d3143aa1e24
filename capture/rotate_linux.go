//go:build amd64 || arm64

package capture

// This file changes the file that a recording writes. What takes time is done by goroutines beside the one that
// takes events: opening the next file, and listing what listens before and after the change.

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/acc-project/acc/format"
)

const (
	maxHeld     = 16 << 20    // bytes of records that wait for the lists of a new file
	retryRotate = time.Minute // after a file could not be opened
)

// rotation changes files.
type rotation struct {
	set     format.Set // of the file that is written
	w       io.Writer  // that file
	space   *room
	began   time.Time // when it did
	asked   bool      // another one is wanted now
	notTill time.Time // when the next file may be opened
	next    chan *nextFile
	lists   chan *lists
	held    []byte // records that came since the file began, each at a multiple of 8 bytes
	heldAt  []int  // where each begins and ends
	before  accounted
	ending  sync.WaitGroup
}

// accounted is what the files before have in their ENDs.
type accounted struct {
	totals       [numProbes]format.ProbeTotal
	lost         uint64
	noAttempt    uint64
	shed         uint64
	simultaneous []format.SimultaneousOpens
	refused      []format.UnixRefused
	unseen       uint64
	events       uint64
	bytes        int64
}

// nextFile is a file that is open, and what the one before it ends with.
type nextFile struct {
	w        io.Writer
	err      error // why there is none
	space    *room
	header   format.Header
	shot     format.Snapshot
	readings map[uint32]format.Counters
}

// lists are what a file begins with.
type lists struct {
	shot     format.Snapshot
	readings map[uint32]format.Counters
}

// askRotation has the next file opened as soon as possible.
func (s *session) askRotation() error {
	if s.rotation == nil {
		return errors.New("this recording is one file: it was begun without --rotate-size, --rotate-every or --ring")
	}
	s.rotation.asked, s.rotation.notTill = true, time.Time{}
	return nil
}

// rotate goes a step on the way to the next file, if there is one to go.
func (s *session) rotate(now time.Time) error {
	r := s.rotation
	switch {
	case r == nil:
	case r.lists != nil:
		select {
		case l := <-r.lists:
			return s.beginFile(l)
		default:
			if len(r.held) > maxHeld {
				return s.beginFile(nil)
			}
		}
	case r.next != nil:
		select {
		case n := <-r.next:
			r.next = nil
			return s.changeFile(n)
		default:
		}
	case s.rotationDue(now):
		s.prepareFile()
	}
	return nil
}

func (s *session) rotationDue(now time.Time) bool {
	r, o := s.rotation, s.o.Rotate
	return (r.asked || o.Bytes > 0 && s.writer.Bytes() >= o.Bytes || o.Every > 0 && now.Sub(r.began) >= o.Every) &&
		!now.Before(r.notTill)
}

// nextRotation is when a file is due by its age, zero if that is no reason.
func (s *session) nextRotation() (at time.Time) {
	if r := s.rotation; r != nil && r.next == nil && r.lists == nil && s.o.Rotate.Every > 0 {
		at = r.began.Add(s.o.Rotate.Every)
		if at.Before(r.notTill) {
			at = r.notTill
		}
	}
	return at
}

// prepareFile begins to open the next file, and to list what the one that is written ends with.
func (s *session) prepareFile() {
	done := make(chan *nextFile, 1)
	s.rotation.next = done
	procs := maps.Clone(s.witness.procs)
	go func() {
		done <- s.openNext(procs)
		_ = s.ring.Flush()
	}()
}

// openNext is what prepareFile does meanwhile.
func (s *session) openNext(procs map[uint32]string) *nextFile {
	n := &nextFile{}
	if n.w, n.err = s.o.Rotate.Next(); n.err != nil {
		return n
	}
	if n.space, n.err = newRoom(n.w); n.err == nil {
		n.err = describeHost(&n.header)
	}
	if n.err != nil {
		return n
	}
	soon := time.Now().Add(500 * time.Millisecond)
	n.shot = s.a.snapshot(true, func() bool { return time.Now().After(soon) })
	soon = time.Now().Add(time.Second)
	findHolders(&n.shot, func() bool { return time.Now().After(soon) })
	soon = time.Now().Add(500 * time.Millisecond)
	n.shot.Blocked, n.shot.BlockedKnown = s.a.blocked(func() bool { return time.Now().After(soon) })
	n.readings = readSpaces(procs)
	time.Sleep(lastCalls)
	return n
}

// giveBack leaves a file that nothing is written to.
func (s *session) giveBack(n *nextFile) {
	if n.w == nil {
		return
	}
	if n.space != nil {
		n.space.release()
	}
	s.o.Rotate.Ended(n.w, nil)
}

// changeFile ends the file that is written, and begins the next one. What comes then waits until that has its lists.
func (s *session) changeFile(n *nextFile) error {
	r := s.rotation
	if n.err != nil {
		r.asked, r.notTill = false, time.Now().Add(retryRotate)
		r.ending.Go(func() { s.giveBack(n) })
		s.o.Rotate.Failed(fmt.Errorf("begin the next file: %w", n.err))
		return nil
	}
	if err := s.endFile(n); err != nil {
		r.ending.Go(func() { s.giveBack(n) })
		return err
	}
	clock, err := readClock()
	if err != nil {
		return err
	}
	h := s.header
	h.ID, h.Sysctls, h.Zone, h.ZoneSec = n.header.ID, n.header.Sysctls, n.header.Zone, n.header.ZoneSec
	set := r.set
	h.Clock, h.StartNS, h.Set = clock, clock.RealNS, &set
	h.Probes, h.Limits = s.a.describe(s.o)
	if s.writer, err = format.NewWriter(s.o.sealed(n.w), h, writerOptions(s.o, h.ID, n.space)); err != nil {
		return err
	}
	now := time.Now()
	r.w, r.space, r.began, r.asked = n.w, n.space, now, false
	s.header, s.clock, s.framed, s.booked, s.clocked = h, clock, now, now, now
	s.repeats, s.lives = repeats{}, lives{} // they name events of the other file
	s.calls.nextFile()
	s.processes.nextFile()
	s.queues.nextFile()
	if err := s.sayAgain(); err != nil {
		return err
	}
	done := make(chan *lists, 1)
	r.lists = done
	procs := maps.Clone(s.witness.procs)
	go func() {
		l := &lists{}
		deadline := time.Now().Add(2 * time.Second)
		late := func() bool { return time.Now().After(deadline) }
		blocked, known := s.a.blocked(late)
		l.shot = s.a.snapshot(false, late)
		l.shot.Blocked, l.shot.BlockedKnown = blocked, known
		l.readings = readSpaces(procs)
		done <- l
		_ = s.ring.Flush()
	}()
	return nil
}

// endFile writes the end of the file that is written, and notes what the next one says of it.
func (s *session) endFile(n *nextFile) error {
	r := s.rotation
	if err := errors.Join(s.drain(), s.writeLosses()); err != nil {
		return err
	}
	for _, ns := range slices.Sorted(maps.Keys(n.readings)) {
		c := n.readings[ns]
		c.Final = true
		if err := s.writer.Counters(c); err != nil {
			return err
		}
	}
	if err := errors.Join(s.a.choose(&s.o.Select, &n.shot), s.writer.Snapshot(n.shot), s.queues.record(s.writer),
		s.writer.Flush()); err != nil {
		return err
	}
	clock, err := readClock()
	if err != nil {
		return err
	}
	s.lookOff()
	end := format.End{Reason: format.EndRotation, Clean: true, Clock: clock, Blocked: n.shot.Blocked,
		BlockedKnown: n.shot.BlockedKnown, Unread: s.witness.unreadSpaces(), Numbers: s.ledger.numbers(),
		Cost: s.a.cost()}
	if s.off != "" {
		end.Detail, end.Clean = s.off, false
	}
	missed, unseen := s.a.missedNow()
	hits, _, more, err := s.a.counters()
	if err != nil {
		return err
	}
	filtered, err := s.a.filteredHits()
	if err != nil {
		return err
	}
	notMissed(&missed, s.watcher.counted(hits))
	if err := s.counted(true); err != nil {
		return err
	}
	settled := s.ledger.settled()
	for i := range probes {
		s.total(&end, i, counts{settled[i], s.ledger.written[i], filtered[i], s.guard.sums[i], missed[i]})
	}
	s.rest(&end, more, unseen)
	if end.SimultaneousOpens, err = s.a.simultaneousOpens(); err == nil {
		end.UnixRefused, err = s.a.unixRefused()
	}
	if err != nil { // more come meanwhile: a later file has them
		end.SimultaneousOpens, end.UnixRefused = r.before.simultaneous, r.before.refused
	}
	end.SimultaneousOpens, end.UnixRefused = s.sinceBefore(end.SimultaneousOpens, end.UnixRefused)
	if err := s.writer.Close(end); err != nil {
		return err
	}
	end.Events = s.writer.Events()
	r.before.events += end.Events
	r.before.bytes += s.writer.Bytes()
	r.before.lost += end.Lost
	s.witness.unread, s.witness.seen = nil, 0
	head := s.writer.Head()
	r.set.File++
	r.set.Previous, r.set.PreviousHead, r.set.Numbers = s.header.ID, hex.EncodeToString(head[:]), end.Numbers
	w, space := r.w, r.space
	r.ending.Go(func() {
		space.release()
		s.o.Rotate.Ended(w, &end)
	})
	return nil
}

// sum is END of the last file with the sums of all.
func (s *session) sum(end format.End) format.End {
	if r := s.rotation; r != nil {
		end.Lost += r.before.lost
		end.Shed = r.before.shed
		end.Totals = append([]format.ProbeTotal{}, r.before.totals[:]...)
		for i, p := range probes {
			end.Totals[i].Hook, end.Totals[i].Kind, end.Totals[i].Own = p.hook, p.kind, s.a.own[i]
		}
	}
	end.Events = s.events()
	return end
}

// counts are those of a probe since the recording began.
type counts struct{ seen, lost, filtered, counted, missed uint64 }

// total adds what a file has of a probe to its END: of all by now, what no file before it has.
func (s *session) total(end *format.End, i int, now counts) {
	before, p := &format.ProbeTotal{}, probes[i]
	own := s.a.own[i]
	if s.rotation != nil {
		before = &s.rotation.before.totals[i]
	}
	t := format.ProbeTotal{Hook: p.hook, Kind: p.kind, Seen: now.seen + now.filtered + now.counted - own - before.Seen,
		Recorded: s.ledger.recorded(i) - own - before.Recorded, Lost: now.lost - before.Lost,
		Filtered: now.filtered - before.Filtered, Counted: now.counted - before.Counted,
		Missed: now.missed - min(now.missed, before.Missed)}
	if s.rotation == nil || s.rotation.set.File == 1 {
		t.Own = own
	}
	end.Lost += t.Lost
	if t.Seen != t.Recorded+t.Lost+t.Filtered+t.Counted {
		end.Clean = false
		end.Detail = fmt.Sprintf("the account of %s %s does not add up: %d seen, %d recorded, %d lost, %d filtered",
			p.hook, p.kind, t.Seen, t.Recorded, t.Lost, t.Filtered)
	}
	end.Totals = append(end.Totals, t)
	before.Seen, before.Recorded, before.Lost = before.Seen+t.Seen, before.Recorded+t.Recorded, before.Lost+t.Lost
	before.Missed, before.Filtered = before.Missed+t.Missed, before.Filtered+t.Filtered
	before.Counted += t.Counted
}

// rest adds counts that are of no event to a file's END.
func (s *session) rest(end *format.End, more moreCounts, unseen uint64) {
	before := &accounted{}
	if s.rotation != nil {
		before = &s.rotation.before
	}
	if n := more.noAttempt - before.noAttempt; n > 0 {
		end.Detail = fmt.Sprintf("for %d attempts the kernel gave no memory to note them", n)
	}
	if end.UnixCounted = s.a.has(noUnixRefused); end.UnixCounted {
		end.UnixUnseen = unseen - min(unseen, before.unseen)
	}
	end.Shed = min(more.shed-before.shed, end.Lost)
	before.noAttempt, before.shed, before.unseen = more.noAttempt, before.shed+end.Shed, max(unseen, before.unseen)
}

// sinceBefore leaves out of counts what the files before have told of them.
func (s *session) sinceBefore(
	opens []format.SimultaneousOpens,
	refused []format.UnixRefused,
) (newOpens []format.SimultaneousOpens,
	newRefused []format.UnixRefused) {
	if s.rotation == nil {
		return opens, refused
	}
	before := &s.rotation.before
	for _, x := range opens {
		all := x.Count
		if i := slices.IndexFunc(before.simultaneous,
			func(y format.SimultaneousOpens) bool { return x.NetNS == y.NetNS }); i >= 0 {
			x.Count -= min(x.Count, before.simultaneous[i].Count)
		}
		if x.Count > 0 && all > 0 {
			newOpens = append(newOpens, x)
		}
	}
	for _, x := range refused {
		if i := slices.IndexFunc(before.refused,
			func(y format.UnixRefused) bool { return x.NetNS == y.NetNS && x.Name == y.Name }); i >= 0 {
			x.Count -= min(x.Count, before.refused[i].Count)
		}
		if x.Count > 0 {
			newRefused = append(newRefused, x)
		}
	}
	before.simultaneous, before.refused = opens, refused
	return newOpens, newRefused
}

// isEnding reports whether what the file ends with is being read.
func (s *session) isEnding() bool { return s.rotation != nil && s.rotation.next != nil }

// isHolding reports whether records wait until the new file has its lists.
func (s *session) isHolding() bool { return s.rotation != nil && s.rotation.lists != nil }

// hold keeps a record until the new file has its lists; false if there is nothing to wait for.
func (s *session) hold(record []byte) bool {
	r := s.rotation
	if r.lists == nil {
		return false
	}
	from := (len(r.held) + 7) &^ 7
	r.held = append(append(r.held, make([]byte, from-len(r.held))...), record...)
	r.heldAt = append(r.heldAt, from, len(r.held))
	return true
}

// beginFile writes what a file begins with, and then what came since the one before it ended. l is nil if there was
// no time to list it.
func (s *session) beginFile(l *lists) error {
	r := s.rotation
	if l == nil {
		l = &lists{shot: format.Snapshot{BootNS: bootNS()}}
	} else if err := s.drain(); err != nil { // whoever has entered by then has an event of it
		return err
	}
	held, at := r.held, r.heldAt
	r.lists, r.held, r.heldAt = nil, nil, nil
	record := func(i int) []byte { return held[at[i]:at[i+1]] }
	inside := map[uint32]bool{}
	for i := 0; i < len(at); i += 2 {
		if e, ok := eventIn(record(i)); ok {
			inside[e.Tid] = e.Kind == uint8(format.Enter)
		}
	}
	l.shot.Blocked = slices.DeleteFunc(l.shot.Blocked, func(b format.Blocked) bool { return inside[b.TID] })
	if err := errors.Join(s.a.choose(&s.o.Select, &l.shot), s.writer.Snapshot(l.shot)); err != nil {
		return err
	}
	if l.readings != nil {
		for ns := range s.witness.procs {
			if _, ok := l.readings[ns]; !ok {
				delete(s.witness.procs, ns)
			}
		}
		s.witness.last = l.readings
	}
	for _, ns := range slices.Sorted(maps.Keys(l.readings)) {
		if err := s.writer.Counters(l.readings[ns]); err != nil {
			return err
		}
	}
	for i := 0; i < len(at); i += 2 {
		if err := s.take(record(i), false); err != nil {
			return err
		}
	}
	return nil
}

// settle comes to the end of a change of files, before the recording ends.
func (s *session) settle() error {
	r := s.rotation
	if r == nil {
		return nil
	}
	if r.next != nil {
		next := r.next
		r.next = nil
		r.ending.Go(func() { s.giveBack(<-next) })
	}
	if r.lists != nil {
		return s.beginFile(<-r.lists)
	}
	return nil
}

// readSpaces reads the counters of network namespaces, of those that the processes are still in.
func readSpaces(procs map[uint32]string) map[uint32]format.Counters {
	found := map[uint32]format.Counters{}
	visit(procs, func(ns uint32, proc string, inside bool) {
		if c, ok := readCounters(proc, ns, inside, true); ok {
			if inside {
				c.Settings = settings()
			}
			found[ns] = c
		}
	})
	return found
}
