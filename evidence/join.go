package evidence

// This file reads the files of one recording as one capture.

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/acc-project/acc/format"
)

// maxJoined bounds the processes that are known to have a record.
const maxJoined = 1 << 20

// joined is what reading further files of the recording needs.
type joined struct {
	next    []func() (*Capture, error) // opens the files that follow
	current *Capture                   // the file that is read
	first   bool                       // it is the first one
	seq     uint64                     // events of the files before it
	end     *format.End                // with the sums of the files that ended
	procs   map[uint32]bool            // that have a record
	skipped []format.Skip              // of the files before it
}

// Join has a capture go on with the files that follow it in its recording (format.Set), in their order, each of
// which is opened when the one before it has been read. Events are numbered through; the lists of what there was
// are those of the beginning of the first and the end of the last file; END has the sums of all. It is called
// before the first batch is read.
func (c *Capture) Join(next ...func() (*Capture, error)) {
	if len(next) > 0 {
		c.joined = &joined{next: next, current: c, first: true, procs: map[uint32]bool{}}
	}
}

// Skipped is all that a salvaging reader left out so far.
func (c *Capture) Skipped() []format.Skip {
	if c.joined == nil {
		return c.Reader.Skipped()
	}
	return slices.Concat(c.joined.skipped, c.joined.current.Reader.Skipped())
}

// read gives the next batch of the file that is read.
func (c *Capture) read() (*format.Batch, error) {
	if b := c.taken; b != nil {
		c.taken = nil
		return b, nil
	}
	return c.Reader.Next()
}

// Next gives the next batch, as format.Reader does.
func (c *Capture) Next() (*format.Batch, error) {
	j := c.joined
	if j == nil {
		return c.read()
	}
	b, err := j.current.read()
	for errors.Is(err, io.EOF) && len(j.next) > 0 {
		if err := j.follow(); err != nil {
			return nil, err
		}
		b, err = j.current.read()
	}
	if err != nil {
		return nil, err
	}
	return j.fit(b), nil
}

// follow goes on with the next file.
func (j *joined) follow() error {
	before := j.current
	j.skipped = append(j.skipped, before.Reader.Skipped()...)
	next, err := j.next[0]()
	if err != nil {
		return fmt.Errorf("go on in the next file: %w", err)
	}
	if !Follows(before.Header().Set, next.Header().Set) || next.Header().Set.Previous != before.Header().ID {
		return fmt.Errorf("%s does not follow %s", next.name, before.name)
	}
	j.current, j.first, j.next = next, false, j.next[1:]
	return nil
}

// Follows reports whether a file is the next one of a recording.
func Follows(before, next *format.Set) bool {
	return before != nil && next != nil && next.ID == before.ID && next.File == before.File+1
}

// fit makes a batch one of the whole recording.
func (j *joined) fit(b *format.Batch) *format.Batch {
	last := len(j.next) == 0
	if seq := j.seq; seq > 0 {
		b.FirstSeq += seq // by which Parts numbers them
		for i := range b.Events {
			b.Events[i].Seq += seq
		}
	}
	if !j.first {
		b.Header = nil
	}
	b.Snapshots = slices.DeleteFunc(
		b.Snapshots,
		func(s format.Snapshot) bool { return s.Final != last && (s.Final || !j.first) },
	)
	b.Processes = slices.DeleteFunc(b.Processes, func(p format.Process) bool {
		known := j.procs[p.Num]
		if len(j.procs) < maxJoined {
			j.procs[p.Num] = true
		}
		return known
	})
	for i := range b.Counters {
		b.Counters[i].Final = b.Counters[i].Final && last
	}
	if b.End != nil {
		events := b.End.Events
		j.end = addEnd(j.end, b.End)
		b.End = nil
		if last {
			b.End = j.end
		} else {
			b.Clocks = append(b.Clocks, j.end.Clock)
		}
		j.seq += events
	}
	return b
}

// addEnd adds the END of a file to the sums of those before it, nil if it is the first.
func addEnd(sum, end *format.End) *format.End {
	next := *end
	if sum == nil {
		return &next
	}
	next.Events += sum.Events
	next.Lost += sum.Lost
	next.Shed += sum.Shed
	next.UnixUnseen += sum.UnixUnseen
	if !sum.Clean {
		next.Clean, next.Detail = false, sum.Detail
	}
	next.Totals = slices.Clone(sum.Totals)
	for _, t := range end.Totals {
		i := slices.IndexFunc(
			next.Totals,
			func(x format.ProbeTotal) bool { return x.Hook == t.Hook && x.Kind == t.Kind },
		)
		if i < 0 {
			next.Totals = append(next.Totals, t)
			continue
		}
		x := &next.Totals[i]
		x.Seen, x.Recorded, x.Lost = x.Seen+t.Seen, x.Recorded+t.Recorded, x.Lost+t.Lost
		x.Own, x.Missed, x.Filtered = x.Own+t.Own, x.Missed+t.Missed, x.Filtered+t.Filtered
		x.Counted += t.Counted
	}
	next.SimultaneousOpens = slices.Clone(sum.SimultaneousOpens)
	for _, o := range end.SimultaneousOpens {
		if i := slices.IndexFunc(next.SimultaneousOpens,
			func(x format.SimultaneousOpens) bool { return x.NetNS == o.NetNS }); i >= 0 {
			next.SimultaneousOpens[i].Count += o.Count
		} else {
			next.SimultaneousOpens = append(next.SimultaneousOpens, o)
		}
	}
	next.UnixRefused = slices.Clone(sum.UnixRefused)
	for _, o := range end.UnixRefused {
		if i := slices.IndexFunc(next.UnixRefused,
			func(x format.UnixRefused) bool { return x.NetNS == o.NetNS && x.Name == o.Name }); i >= 0 {
			next.UnixRefused[i].Count += o.Count
		} else {
			next.UnixRefused = append(next.UnixRefused, o)
		}
	}
	next.Unread = slices.Clone(sum.Unread)
	for _, u := range end.Unread {
		if !slices.Contains(next.Unread, u) {
			next.Unread = append(next.Unread, u)
		}
	}
	return &next
}
