package analysis

import (
	"cmp"
	"fmt"
	"slices"
	"time"
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

// seen is an event of a mark.
type seen struct {
	seq uint64
	ns  int64
}

// keepSeen is how many of the first and of the last events of a mark are kept.
const keepSeen = 4

// mark is what is kept of the events that show a finding.
type mark struct {
	count           uint64
	firstNS, lastNS int64
	high            int64 // the largest value that came with one
	first, last     [keepSeen]seen
}

// marks are a listener's, by finding.
type marks [numFindings]*mark

func (ms *marks) note(finding int, seq uint64, ns, value int64) {
	m := ms[finding]
	if m == nil {
		m = &mark{firstNS: ns, lastNS: ns, high: value}
		ms[finding] = m
	}
	m.note(seq, ns, value)
}

func (m *mark) note(seq uint64, ns, value int64) {
	if m.count == 0 {
		m.firstNS, m.lastNS, m.high = ns, ns, value
	}
	if m.count < keepSeen {
		m.first[m.count] = seen{seq, ns}
	} else {
		m.last[m.count%keepSeen] = seen{seq, ns}
	}
	m.count++
	m.firstNS, m.lastNS, m.high = min(m.firstNS, ns), max(m.lastNS, ns), max(m.high, value)
}

// seen gives the events, in the order of the capture.
func (m *mark) seen() []seen {
	if m == nil {
		return nil
	}
	list := slices.Clone(m.first[:min(m.count, keepSeen)])
	for i := range min(m.count-min(m.count, keepSeen), keepSeen) {
		list = append(list, m.last[i])
	}
	slices.SortFunc(list, func(a, b seen) int { return cmp.Compare(a.seq, b.seq) })
	return list
}

// n is how many events were noted, none of a nil mark.
func (m *mark) n() uint64 {
	if m == nil {
		return 0
	}
	return m.count
}

// worst keeps the events with the largest values.
type worst struct {
	list []seen
	ns   []int64
}

func (w *worst) add(seq uint64, ns, value int64) {
	const keep = 2 * keepSeen
	if len(w.list) == keep && value <= w.ns[keep-1] {
		return
	}
	i, _ := slices.BinarySearchFunc(w.ns, value, func(a, b int64) int { return cmp.Compare(b, a) })
	if len(w.list) == keep {
		w.list, w.ns = w.list[:keep-1], w.ns[:keep-1]
	}
	w.list, w.ns = slices.Insert(w.list, i, seen{seq, ns}), slices.Insert(w.ns, i, value)
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
	say  figures
	list []found
}

func (fs *findings) add(kind int, s Severity, weight uint64, evidence []seen, next, text string, args ...any) {
	f := found{Finding{ID: findingIDs[kind], Severity: s, Text: fmt.Sprintf(text, args...), Next: next, Evidence: []Evidence{}}, kind, weight}
	if fs.at != nil {
		f.Listener, f.NetNS, f.Owner = fs.at.key.inode, fs.at.key.netns, fs.at.ownerOr("", &fs.a.places)
	}
	for _, e := range evidence {
		if e.seq == 0 {
			continue // before the first event
		}
		f.Evidence = append(f.Evidence, Evidence{e.seq, fs.a.at(e.ns), e.ns})
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
