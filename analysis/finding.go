package analysis

import (
	"cmp"
	"fmt"
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
	Next     string     `json:"next"`     // what to look at
	Listener uint64     `json:"listener"` // inode number of the one that it is about, 0: of several or none
	NetNS    uint32     `json:"netns"`    // network namespace of that listener
	More     int        `json:"more"`     // findings of this kind at other listeners of the same process that are left out behind it (--top 0 has them)
	Owner    string     `json:"owner"`    // whose listener that is: name[pid], empty if it is not known
}

// Evidence is one event that shows a finding.
type Evidence struct {
	Seq    uint64     `json:"seq"`     // number of the event, which acc explain takes
	Time   *time.Time `json:"ts"`      // its time
	BootNS int64      `json:"boot_ns"` // its time
}

// The findings. Of the same severity, those before others are told first.
const (
	crossCheck = iota
	queueOverflow
	listenDrops
	fdExhausted
	slowAccept
	queueFull
	clientLost
	deadOnArrival
	acceptAborted
	addressMismatch
	incomplete
	herd
	unevenWorkers
	newAcceptor
	newListener
	ioUringAccept
	numFindings
)

var findingIDs = [numFindings]string{
	"cross-check", "queue-overflow", "listen-drops", "fd-exhausted", "slow-accept", "queue-full", "client-lost", "dead-on-arrival",
	"accept-aborted", "address-mismatch",
	"incomplete", "herd", "uneven-workers", "new-acceptor", "new-listener", "io-uring-accept",
}

// FindingIDs are the ids that a finding can have.
func FindingIDs() []string { return slices.Clone(findingIDs[:]) }

// marks are a listener's, by finding.
type marks [numFindings]*stats.Mark

func (ms *marks) note(finding int, seq uint64, ns, value int64) {
	m := ms[finding]
	if m == nil {
		m = &stats.Mark{FirstNS: ns, LastNS: ns, High: value}
		ms[finding] = m
	}
	m.Note(seq, ns, value)
}

// found is a finding with what it is sorted by.
type found struct {
	Finding
	kind   int
	weight uint64
}

// findings collects what was found.
type findings struct {
	a    *Analyzer
	at   *listener // that is being judged, nil: several
	say  stats.Figures
	list []found
}

func (fs *findings) add(kind int, s Severity, weight uint64, evidence []stats.Sample, next, text string, args ...any) {
	f := found{Finding{ID: findingIDs[kind], Severity: s, Text: fmt.Sprintf(text, args...), Next: next, Evidence: []Evidence{}}, kind, weight}
	if fs.at != nil {
		f.Listener, f.NetNS, f.Owner = fs.at.key.inode, fs.at.key.netns, fs.at.ownerOr("", &fs.a.places)
	}
	for _, e := range evidence {
		if e.Seq == 0 {
			continue // before the first event
		}
		f.Evidence = append(f.Evidence, Evidence{e.Seq, fs.a.at(e.NS), e.NS})
	}
	fs.list = append(fs.list, f)
}

// perOwner is how many findings of a kind are shown for the listeners of one process, so that
// they don't hide those of others.
const perOwner = 3

// sorted gives them worst first, at most keep of each kind, and perOwner of one process;
// negative: all.
func (fs *findings) sorted(keep int) (list []Finding, left int) {
	slices.SortStableFunc(fs.list, func(x, y found) int {
		return cmp.Or(cmp.Compare(slices.Index(Severities, x.Severity), slices.Index(Severities, y.Severity)), cmp.Compare(x.kind, y.kind),
			cmp.Compare(y.weight, x.weight), cmp.Compare(x.Text, y.Text))
	})
	type group struct {
		kind     int
		severity Severity
		owner    string
	}
	list = []Finding{}
	var of [numFindings]int
	last := map[group]int{} // in list
	shown := map[group]int{}
	for _, f := range fs.list {
		g := group{f.kind, f.Severity, f.Owner}
		switch {
		case keep < 0:
		case f.Owner != "" && shown[g] == perOwner:
			list[last[g]].More++
			left++
			continue
		case of[f.kind] == keep:
			left++
			continue
		}
		of[f.kind]++
		shown[g]++
		last[g] = len(list)
		list = append(list, f.Finding)
	}
	return list, left
}

// counts is how many there are of each severity, in the list or not.
func (fs *findings) counts() (c FindingCounts) {
	for _, f := range fs.list {
		switch f.Severity {
		case Critical:
			c.Critical++
		case Warning:
			c.Warning++
		default:
			c.Notice++
		}
	}
	return c
}
