package meanwhile

// This file has what the results say, and what they say of a part of the time.

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/acc-project/acc/format"
)

// Seen is what was seen of the threads of one listener's server while clients waited there.
type Seen struct {
	NetNS    uint32 `json:"netns"`    // network namespace of the listener
	Listener uint64 `json:"listener"` // its inode number
	FromNS   int64  `json:"from_ns"`  // CLOCK_BOOTTIME of the first look
	ToNS     int64  `json:"to_ns"`    // of the last one that is known
	Watches  int    `json:"watches"`  // how often looking began
	Looks    uint64 `json:"looks"`    // how often it was looked
	// how long the clients waited, summed up over them, of those that waited for 100 ms or longer
	WaitsNS int64 `json:"waits_ns"`
	// for how much of that no look says what the threads did
	UnseenNS int64                  `json:"unseen_ns"`
	Threads  []format.WatchedThread `json:"threads"` // that were looked at
	// further threads, which were not looked at
	MoreThreads uint64 `json:"more_threads"`
	// nobody is known to accept, or who did has ended: the threads are those of processes that have the listener open
	Owners bool                  `json:"owners"`
	Ended  []uint32              `json:"ended"`  // threads that had accepted there and have ended, at most 8
	Cannot []string              `json:"cannot"` // what could not be looked at, and why
	Groups []format.WatchedGroup `json:"groups"` // cgroups whose tasks had to wait meanwhile
	Peers  []format.SilentPeer   `json:"peers"`  // servers that were asked and had not answered
	// what the waiting goroutines of the servers that are Go programs waited for
	Goroutines []Goroutines `json:"goroutines"`
	Places     []Place      `json:"places"` // what the threads did, the most blamed first
	Rows       []Row        `json:"rows"`   // when they did it, by thread and time
	Cut        bool         `json:"cut"`    // there was more than acc keeps: the figures are too small
}

// Place is what threads did for a part of that time.
type Place struct {
	Did  Where    `json:"did"`  // what they did
	TIDs []uint32 `json:"tids"` // the threads, at most 8
	NS   int64    `json:"ns"`   // for how long, summed up over the threads
	// of the time that clients waited, summed up over them; of several threads each counts for its part
	BlameNS   int64  `json:"blame_ns"`
	Samples   uint64 `json:"samples"`    // of a thread that ran: how often it was sampled
	SamplesIn uint64 `json:"samples_in"` // how often it was in, or below, the functions of did.at
	counted   map[[2]uint32]bool
	num       uint32  // of the stack
	sampled   []Frame // of a thread that ran, instead
	// where in its program a thread was, innermost first: one stack of those that did.at has the names of; empty: not
	// known
	Stack []Frame `json:"stack"`
}

// Goroutines are the waiting ones of a Go program, as they were found when they were looked at.
type Goroutines struct {
	PID   uint32 `json:"pid"`
	Looks uint64 `json:"looks"` // how often they were looked at
	Total uint32 `json:"total"` // most that there were; of more than 10,000 a part was looked at
	// those that waited at one place together: what is found most often first; not those of Go's own
	Groups []GoroutineGroup `json:"groups"`
	partly bool             // there may be others
}

// GoroutineGroup are goroutines that waited for the same reason at the same place.
type GoroutineGroup struct {
	Wait  string  `json:"wait"`  // the reason, in the words of Go's own stack traces
	At    string  `json:"at"`    // the functions that called one another, innermost first
	N     uint32  `json:"n"`     // most at once
	Looks uint64  `json:"looks"` // that found any
	Stack []Frame `json:"stack"` // one stack of those that at has the names of, innermost first
}

// Row is what one thread did between two times.
type Row struct {
	TID    uint32  `json:"tid"`     // the thread
	FromNS int64   `json:"from_ns"` // boot clock, from which on it was so at times
	ToNS   int64   `json:"to_ns"`   // and until when
	NS     int64   `json:"ns"`      // for how long in all
	Place  int     `json:"place"`   // which of the places, from 0; -1: one that the list leaves out
	Kind   Kind    `json:"kind"`    // what kind of wait that is
	share  float64 // of it, what counts for the accepting thread
}

// Where is what a thread did.
type Where struct {
	Kind   Kind   `json:"kind"`   // what kind of wait that is
	State  string `json:"state"`  // state of the thread
	Call   string `json:"call"`   // system call, "" none
	Of     string `json:"of"`     // what the call was about: file, pipe, socket, unix or other; "" nothing
	Target string `json:"target"` // its path or address
	WChan  string `json:"wchan"`  // kernel function, "" not known
	Among  string `json:"among"`  // whether the listener was among what it waited for
	Owner  uint32 `json:"owner"`  // thread that held the lock, 0 not known
	// it was looked at because it held a lock; for that it is not blamed
	Holder bool `json:"holder"`
	// another thread of the Go program did it, and nothing shows that the goroutine that accepts ran there: not blamed
	Beside bool `json:"beside"`
	// where in its program: the functions that called one another, innermost first; "" not known
	At string `json:"at"`
}

// Acceptors is how many threads were looked at because they accept; of several each did its part of the blame.
func (s *Seen) Acceptors() int { return int(accepting(s.Threads)) }

// Part is what the threads did for a part of some time.
type Part struct {
	Place int // one of the places, or Beyond or NotSeen
	NS    int64
}

// What a part can be beside one of the places.
const (
	Beyond  = -1 // one that the list leaves out
	NotSeen = -2
)

// During says what the accepting threads did between two times, the longest first, as parts of that time: what several
// threads did counts for each its part.
func (s *Seen) During(from, to int64) (parts []Part) {
	n := int64(s.Acceptors())
	if n == 0 || to <= from {
		return nil
	}
	rest := to - from
	for _, r := range s.Rows {
		over := min(r.ToNS, to) - max(r.FromNS, from)
		if over <= 0 || r.share == 0 {
			continue
		}
		ns := int64(r.share*float64(over)*min(float64(r.NS)/float64(r.ToNS-r.FromNS), 1)) / n
		rest -= ns
		i := slices.IndexFunc(parts, func(p Part) bool { return p.Place == r.Place })
		if i < 0 {
			i = len(parts)
			parts = append(parts, Part{Place: r.Place})
		}
		parts[i].NS += ns
	}
	if rest > 0 {
		parts = append(parts, Part{NotSeen, rest})
	}
	slices.SortStableFunc(parts, func(a, b Part) int { return cmp.Compare(b.NS, a.NS) })
	return parts
}

// Counts reports whether anything that a thread did counts as what accepting threads did.
func (s *Seen) Counts(tid uint32) bool {
	return slices.ContainsFunc(s.Rows, func(r Row) bool { return r.TID == tid && r.share > 0 })
}

// HolderOf gives what the thread did that held the lock which others waited for at a place, and its name; nil: not known.
func (s *Seen) HolderOf(p *Place) (name string, did *Where) {
	i := slices.IndexFunc(s.Places, func(q Place) bool { return q.Did.Holder && slices.Contains(q.TIDs, p.Did.Owner) })
	if i < 0 || p.Did.Kind != Lock {
		return "", nil
	}
	name = fmt.Sprint("thread ", p.Did.Owner)
	for _, t := range s.Threads {
		if t.TID == p.Did.Owner {
			name = format.Quote(t.Comm) + "[" + fmt.Sprint(t.TID) + "]"
		}
	}
	return name, &s.Places[i].Did
}

// OneGoes reports whether one Go program accepts, whose threads count as one.
func (s *Seen) OneGoes() bool {
	return s.Acceptors() == 1 && slices.ContainsFunc(s.Threads, func(t format.WatchedThread) bool { return t.Beside })
}
