package evidence

// This file has what acc info says of a capture.

import (
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/audit"
	"github.com/acc-project/acc/analysis/crosscheck"
	"github.com/acc-project/acc/format"
)

// Info is what a capture says of itself. What only its events and records tell is
// nil if they were not read.
type Info struct {
	Schema int    `json:"schema"` // as in analyze
	File   string `json:"file"`   // as it was named
	// intact, unclean, truncated, corrupt or unreadable (by the input); unchecked: closed cleanly, by the index alone
	Verdict   string          `json:"verdict"`
	Why       string          `json:"why"`       // what is wrong, "" if nothing
	Integrity audit.File      `json:"integrity"` // whether the file is as its recorder wrote it
	Recording audit.Recording `json:"recording"` // whether what happened is in it
	Read      string          `json:"read"`      // all, or index: beginning, end and index
	Bytes     int64           `json:"bytes"`     // of the file, or that were read of a pipe
	// bytes of the complete frames: without what can't be read, the index and the tail
	InFrames  int64    `json:"frame_bytes"`
	Frames    int      `json:"frames"`           // that are complete
	Events    uint64   `json:"events"`           // in the capture
	Returns   *uint64  `json:"returns"`          // of attempts, events
	Accepted  *uint64  `json:"accepted"`         // connections
	PerAccept *float64 `json:"bytes_per_accept"` // bytes of complete frames a connection, 0 without any
	// time of the first event; null, too, if only the index was read: the clock pairs are in what lies between
	First     *time.Time     `json:"first"`
	Last      *time.Time     `json:"last"`        // time of the last event
	Lost      uint64         `json:"lost"`        // events, while recording: without what a repair left out
	Processes *int           `json:"processes"`   // records of processes
	Steps     []ClockStep    `json:"clock_steps"` // the first hundred times that the wall clock was set
	Skipped   []format.Skip  `json:"skipped"`     // what is corrupt and was left out
	Header    *format.Header `json:"header"`      // of the capture
	End       *format.End    `json:"end"`         // null if it is missing
	Losses    []format.Loss  `json:"losses"`      // the first hundred
	// the first hundred that were noted while it was recorded; null: not read
	Marks      []analysis.Mark        `json:"marks"`
	Start      *Inventory             `json:"at_start"`    // what was there when recording began
	Finish     *Inventory             `json:"at_end"`      // what was there when it ended; the tasks are also in end
	CrossCheck *crosscheck.Comparison `json:"cross_check"` // what the kernel's own counters say
	Head       string                 `json:"head"`        // chain head: of the last frame that was read, hexadecimal
	// of a recording in several files, whether the file before it is here, too: first (there is none before it), yes,
	// no, or differs (it is another one than the header names, or it was changed); "" of other captures
	Follows string       `json:"follows"`
	Clock   format.Clock `json:"-"` // see [Capture.Clock]

	noted []format.Mark
}

// What Info.Follows can be.
const (
	FollowsFirst   = "first"
	FollowsYes     = "yes"
	FollowsNo      = "no"
	FollowsDiffers = "differs"
)

// Chain says of each of these captures whether the file before it in its recording is among them.
func Chain(list []*Info) {
	type place struct {
		id   string
		file uint32
	}
	at := map[place]*Info{}
	for _, i := range list {
		if s := i.Header.Set; s != nil {
			at[place{s.ID, s.File}] = i
		}
	}
	for _, i := range list {
		s := i.Header.Set
		if s == nil {
			continue
		}
		before := at[place{s.ID, s.File - 1}]
		switch {
		case s.File <= 1:
			i.Follows = FollowsFirst
		case before == nil:
			i.Follows = FollowsNo
		case before.Header.ID != s.Previous, before.Head != s.PreviousHead && i.Header.Redacted == nil:
			i.Follows = FollowsDiffers
		default:
			i.Follows = FollowsYes
		}
	}
}

// What is read of a capture to describe it.
const (
	ReadAll   = "all"   // all of it
	ReadIndex = "index" // beginning, END and index
)

// ClockStep is a wall clock that was set while recording.
type ClockStep struct {
	At time.Time `json:"at"`    // by the new time, when it was seen
	By int64     `json:"by_ns"` // forwards, if positive
}

// leastStep is less than what slewing moves a clock by between two pairs.
const leastStep = int64(100 * time.Millisecond)

// step takes the next clock pair, and notes if the clock was set since the last one.
func (i *Info) step(clock *format.Clock, next format.Clock) {
	if !next.Known() { // as in an END of acc repair
		return
	}
	if !clock.Known() {
		*clock = next
		return
	}
	by := (next.RealNS - next.BootNS) - (clock.RealNS - clock.BootNS)
	if (by >= leastStep || by <= -leastStep) && len(i.Steps) < maxNamed {
		i.Steps = append(i.Steps, ClockStep{next.Time(next.BootNS), by})
	}
	*clock = next
}

// Inventory is what was there when the recording began or ended.
type Inventory struct {
	Listeners int `json:"listeners_count"` // sockets that listened
	// it is all of them, of the families that are looked at
	ListenersKnown   bool                  `json:"listeners_known"`
	FirstListeners   []format.ListenSocket `json:"listeners"`         // the first hundred
	Connections      int                   `json:"connections_count"` // TCP connections of theirs
	ConnectionsKnown bool                  `json:"connections_known"` // it is all of them
	Blocked          int                   `json:"blocked_count"`     // tasks that sat in accept
	BlockedKnown     bool                  `json:"blocked_known"`     // it is all of them
	FirstBlocked     []format.Blocked      `json:"blocked"`           // the first hundred
}

// maxNamed is how many things of a kind are named, the others counted.
const maxNamed = 100

// maxHolders is how many processes are named that have a listener open. A recorder names four.
const maxHolders = 8

func newInventory() *Inventory {
	return &Inventory{FirstListeners: []format.ListenSocket{}, FirstBlocked: []format.Blocked{}}
}

func (s *Inventory) add(x *format.Snapshot) {
	s.ListenersKnown, s.ConnectionsKnown, s.BlockedKnown = x.ListenersKnown, x.ConnectionsKnown, x.BlockedKnown
	s.Listeners += len(x.Listeners)
	s.Connections += len(x.Connections)
	s.Blocked += len(x.Blocked)
	for i := range x.Listeners[:min(len(x.Listeners), maxNamed-len(s.FirstListeners))] {
		l := x.Listeners[i]
		n := min(len(l.Holders), maxHolders)
		l.MoreHolders, l.Holders = l.MoreHolders+uint32(len(l.Holders)-n), slices.Clone(l.Holders[:n])
		s.FirstListeners = append(s.FirstListeners, l)
	}
	s.FirstBlocked = append(s.FirstBlocked, x.Blocked[:min(len(x.Blocked), maxNamed-len(s.FirstBlocked))]...)
}

// Describe reads a capture to its end. The verdict is what is wrong with it, nil if nothing is
// (see [Capture.Verdict]); the Info says it in words, too. Bytes is for the caller to set, who
// knows the file.
func Describe(c *Capture) (i *Info, verdict, err error) {
	i = &Info{Schema: analysis.SchemaVersion, Read: ReadAll, Losses: []format.Loss{}, Steps: []ClockStep{},
		Marks: []analysis.Mark{},
		Start: newInventory(), Finish: newInventory(),
		Returns: new(uint64), Accepted: new(uint64), PerAccept: new(float64), Processes: new(int)}
	var readErr error
	clock := c.Clock()
	x := Examine(c.Start(), analysis.Options{VerdictOnly: true})
	for {
		var b *format.Batch
		if b, readErr = c.Next(); readErr != nil {
			break
		}
		i.add(b, &clock)
		if err := x.Add(b, len(c.Skipped())); err != nil {
			return nil, nil, err
		}
	}
	r, err := x.Finish(readErr, c.Skipped())
	if err != nil {
		return nil, nil, err
	}
	*i.Returns, *i.Accepted = x.Events(format.Return), r.Totals.Accepted
	if *i.Accepted > 0 {
		*i.PerAccept = float64(i.InFrames) / float64(*i.Accepted)
	}
	i.Events, i.Lost, i.First, i.Last = r.Capture.Events, r.Recording.Lost, r.Capture.First, r.Capture.Last
	for _, m := range i.noted {
		mark := analysis.Mark{BootNS: m.BootNS, Text: m.Text, UID: m.UID}
		if x.Clocks().Known(m.BootNS) {
			at := x.Clocks().Time(m.BootNS)
			mark.At = &at
		}
		i.Marks = append(i.Marks, mark)
	}
	i.CrossCheck, i.Integrity, i.Recording = &r.CrossCheck, r.Integrity, r.Recording
	verdict = c.Verdict(readErr, x.End(), r)
	i.judge(c, verdict)
	return i, verdict, nil
}

// judge puts the verdict into words.
func (i *Info) judge(c *Capture, verdict error) {
	i.Clock = c.Clock()
	i.File, i.Header, i.Skipped = c.name, c.Header(), append([]format.Skip{}, c.Skipped()...)
	var corrupt *format.CorruptError
	switch {
	case verdict == nil && i.Read == ReadIndex:
		i.Verdict = "unchecked"
	case verdict == nil:
		i.Verdict = "intact"
	case errors.As(verdict, new(*UncleanError)):
		i.Verdict = Unclean
	case errors.As(verdict, &corrupt), errors.As(verdict, new(*MismatchError)):
		i.Verdict = "corrupt"
	case errors.Is(verdict, format.ErrTruncated):
		i.Verdict = "truncated"
	default: // an error of reading
		i.Verdict = "unreadable"
	}
	if verdict != nil {
		i.Why = verdict.Error()
	}
}

func (i *Info) add(b *format.Batch, clock *format.Clock) {
	i.Frames++
	i.InFrames += b.Bytes
	i.Head = hex.EncodeToString(b.Chain[:])
	i.noted = append(i.noted, b.Marks[:min(len(b.Marks), maxNamed-len(i.noted))]...)
	*i.Processes += len(b.Processes)
	for _, c := range b.Clocks {
		i.step(clock, c)
	}
	for _, l := range b.Losses {
		if len(i.Losses) < maxNamed {
			i.Losses = append(i.Losses, l)
		}
	}
	for n := range b.Snapshots {
		if x := &b.Snapshots[n]; x.Final {
			i.Finish.add(x)
		} else {
			i.Start.add(x)
		}
	}
	if b.End != nil {
		e := *b.End
		i.End = &e
		i.step(clock, e.Clock)
	}
}
