// Package findings holds the rules by which acc analyze finds what is wrong in a capture. A rule
// is a function of a summary: it needs no capture, keeps nothing, and says what it found as a
// Finding. docs/FINDINGS.md explains each.
//
// Exported names may change until version 1; CHANGELOG.md says which changed. The JSON of a
// Finding is stable by docs/JSON.md.
package findings

import (
	"slices"
	"time"

	"github.com/acc-project/acc/analysis/stats"
)

// Severity says how bad a finding is.
type Severity string

// The severities, worst first. docs/FINDINGS.md says which finding has which, and when.
const (
	Critical Severity = "critical" // clients are refused, lost or kept waiting now
	Warning  Severity = "warning"  // something is wrong, or will be
	Notice   Severity = "notice"   // worth knowing; alone it is no fault
)

// Severities are all of them, worst first.
var Severities = []Severity{Critical, Warning, Notice}

// AtLeast reports whether s is as bad as t or worse.
func (s Severity) AtLeast(t Severity) bool {
	return slices.Index(Severities, s) <= slices.Index(Severities, t)
}

// Finding is one thing that is wrong, or worth knowing.
type Finding struct {
	ID       string     `json:"id"`       // stable: queue-full, queue-overflow, slow-accept ... of docs/FINDINGS.md
	Severity Severity   `json:"severity"` // how bad it is
	Text     string     `json:"text"`     // what, where, and how much, in a sentence
	Evidence []Evidence `json:"evidence"` // the first and the last events that show it, at most 8
	// what the server's threads did while clients waited; not there if nobody looked
	Meanwhile *Meanwhile `json:"meanwhile,omitempty"`
	Next      string     `json:"next"` // what to look at
	// since when it was so: the first event that shows it, or before (a client began to wait, a queue was full); null if
	// that is not known, or the clock is lost
	Since     *time.Time `json:"since"`
	Until     *time.Time `json:"until"`     // until when: the last one, or after it; the end of the capture if it goes on
	Parts     []Part     `json:"parts"`     // what else this caused, or the same at several listeners or sockets
	Listener  uint64     `json:"listener"`  // inode number of the one that it is about, 0: of several or none
	NetNS     uint32     `json:"netns"`     // network namespace of that listener, 0 if they are in several
	Listeners int        `json:"listeners"` // how many it is about: alike findings of one program's are one
	// of those, how many are not in parts; or findings of this kind at other listeners of the same process that are
	// left out behind it (--top 0 has them)
	More int `json:"more"`
	// whose listener that is: name[pid], or a name if it is about several processes of that name; empty if it is not
	// known
	Owner string `json:"owner"`

	general string // next, without the id of a process
	members []Finding
}

// Part is what would be a finding of its own, if another one were not its cause, or were not alike. Of alike findings
// of several listeners, each is followed by what it caused.
type Part struct {
	ID       string     `json:"id"`       // as of findings; the finding's own: it is one of several
	Severity Severity   `json:"severity"` // alone; the finding has the worst of its parts
	Text     string     `json:"text"`     // what, where, and how much, in a sentence
	Evidence []Evidence `json:"evidence"` // the first and the last events that show it, at most 8
	// what the server's threads did while these clients waited; not there if nobody looked
	Meanwhile *Meanwhile `json:"meanwhile,omitempty"`
	Listener  uint64     `json:"listener"` // inode number of its listener
	NetNS     uint32     `json:"netns"`    // network namespace of that
}

// Evidence is one event that shows a finding.
type Evidence struct {
	Seq    uint64     `json:"seq"`     // number of the event, which acc explain takes
	Time   *time.Time `json:"ts"`      // its time
	BootNS int64      `json:"boot_ns"` // its time
}

// The kinds of findings. Of the same severity, a finding of a kind before others stands first.
const (
	CrossCheck Kind = iota
	QueueOverflow
	ListenDrops
	Abandon
	LimitZero
	FDExhausted
	UringEnded
	ConcurrencyLimit
	TurnedAway
	Unanswered
	SlowAccept
	QueueFull
	ClientLost
	DeadOnArrival
	AcceptAborted
	AddressMismatch
	Incomplete
	Herd
	UnevenWorkers
	NewAcceptor
	NewListener
	IOUringAccept
	ClockFree
	NumKinds
)

var ids = [NumKinds]string{
	"cross-check", "queue-overflow", "listen-drops", "abandoned", "limit-zero", "fd-exhausted", "io-uring-ended",
	"concurrency-limit",
	"turned-away", "unanswered", "slow-accept", "queue-full", "client-lost", "dead-on-arrival",
	"accept-aborted", "address-mismatch",
	"incomplete", "herd", "uneven-workers", "new-acceptor", "new-listener", "io-uring-accept", "clock-unsynchronised",
}

// IDs are the ids that a finding can have.
func IDs() []string { return slices.Clone(ids[:]) }

// Kind is a kind of finding.
type Kind int

// ID is the kind's id in text and JSON.
func (k Kind) ID() string { return ids[k] }

// Marks are the events of a listener that show a finding, by its kind.
type Marks [NumKinds]*stats.Mark

// Note takes an event that shows a finding, with a value.
func (ms *Marks) Note(finding Kind, seq uint64, ns, value int64) {
	m := ms[finding]
	if m == nil {
		m = &stats.Mark{FirstNS: ns, LastNS: ns, High: value}
		ms[finding] = m
	}
	m.Note(seq, ns, value)
}

// Counts count findings by severity.
type Counts struct {
	Critical int `json:"critical"` // clients are refused, lost or kept waiting now
	Warning  int `json:"warning"`  // something is wrong, or will be
	Notice   int `json:"notice"`   // worth knowing; alone it is no fault
}

// Add counts a finding.
func (c *Counts) Add(s Severity) {
	switch s {
	case Critical:
		c.Critical++
	case Warning:
		c.Warning++
	default:
		c.Notice++
	}
}
