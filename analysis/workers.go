package analysis

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/analysis/stats"
	"github.com/acc-project/acc/format"
)

// program is an executable that accepted at a listener, or a thread's name where
// the executable is not known.
type program string

// deployNS is how long after a listener began the processes that start are its first ones.
const deployNS = 10e9

// maxPrograms bounds the programs of a listener.
const maxPrograms = 8

// arrived looks at the first accept of a process at a listener: is it one that
// never did before, when others have?
func (a *Analyzer) arrived(l *listener, p *process, seq uint64, ns int64) {
	rec := a.places.recordOf(p.key.num)
	prog := program(cmp.Or(rec.Exe, rec.Comm, p.comm))
	if rec.OtherMounts(&a.header) { // where any file can have any path
		prog += program(" (in another mount namespace, " + rec.ExeDev + " inode " + strconv.FormatUint(rec.ExeInode, 10) + ")")
	}
	others := len(l.programs) > 0
	known := slices.Contains(l.programs, prog)
	if !known && len(l.programs) < maxPrograms {
		l.programs = append(l.programs, prog)
	}
	young := rec != &noRecord && rec.StartNS > a.header.Clock.BootNS && (l.began == 0 || rec.StartNS > l.beganNS+deployNS)
	switch {
	case others && !known:
		l.marks.note(newAcceptor, seq, ns, 1)
	case young && (others || l.snap.before):
		l.marks.note(newAcceptor, seq, ns, 0)
	default:
		return
	}
	l.came = p
}

func (fs *findings) acceptors(all []*listener) {
	for _, l := range all {
		m := l.marks[newAcceptor]
		if m == nil {
			continue
		}
		fs.at = l
		who := fs.a.places.who(l.came)
		if m.High > 0 {
			var names []string
			for _, p := range l.programs {
				names = append(names, format.Quote(string(p)))
			}
			fs.add(newAcceptor, Warning, m.Count, m.Samples(), "a listener that another program accepts from was handed over, or taken: see that the change was meant (who started it: acc analyze --json, processes)",
				"%s: another program accepts from it than before: %s (last %s)", l.label(&fs.a.places), strings.Join(names, ", "), who)
			continue
		}
		fs.add(newAcceptor, Notice, m.Count, m.Samples(), "a deploy or a worker that was started again; if nobody did that, see why the old ones died (dmesg, journal)",
			"%s: %s started during the recording and now accepting from it (last %s)", l.label(&fs.a.places), fs.say.CallsOf(m.Count, "process"), who)
	}
}

// listening collects Listen events.
type listening struct {
	mark  stats.Mark
	names []string
}

func (ln *listening) note(l *listener, e *format.Event) {
	ln.mark.Note(e.Seq, e.BootNS, 0)
	l.owned, l.beganNS = nameOf(e.Comm, e.PID), e.BootNS
	const names = 5
	if len(ln.names) < names {
		ln.names = append(ln.names, l.name()+" by "+l.owned)
	}
}

func (fs *findings) listeners(all []*listener) {
	ln := &fs.a.listening
	if fs.a.startKnown { // those whose Listen event is not recorded, or was lost
		for _, l := range all {
			if l.began == 0 && !l.snap.before && l.attempts > 0 && l.seq != 0 && (l.proto == 6 && l.addr.IsValid() || l.family == format.FamilyUnix && l.bound != "") {
				ln.mark.Note(l.seq, l.seenNS, 0)
				if len(ln.names) < 5 {
					ln.names = append(ln.names, l.name()+" by "+l.by(&fs.a.places))
				}
			}
		}
	}
	if n := ln.mark.Count; n > 0 {
		names := strings.Join(ln.names, ", ")
		if n > uint64(len(ln.names)) {
			names += fmt.Sprintf(" and %s more", fs.say.Sockets(n-uint64(len(ln.names)), Count))
		}
		fs.add(newListener, Notice, n, ln.mark.Samples(), "a deploy, or a restart; if nobody did that, find out who started the process", "%s began to listen: %s", fs.say.Sockets(n, func(n uint64) string { return humanize.Plural(n, "socket") }), names)
	}
}

// worker is a process of a group that accepts at one address.
type worker struct {
	who             string
	accepted        uint64
	firstNS, lastNS int64
}

// place is where a group of workers accepts: one listener of many processes, or a
// listener each with SO_REUSEPORT.
type place struct {
	netns uint32
	addr  netip.AddrPort
}

// uneven looks at how evenly the workers of each group accept.
func (fs *findings) uneven(all []*listener) {
	groups := map[place][]*listener{}
	var order []place
	for _, l := range all {
		if l.addr.IsValid() {
			at := place{l.key.netns, l.addr}
			if groups[at] == nil {
				order = append(order, at)
			}
			groups[at] = append(groups[at], l)
		}
	}
	for _, at := range order {
		fs.group(at, groups[at])
	}
}

// group judges one group. Workers that were there for less than half of its time
// are left out: they are new, or were stopped.
func (fs *findings) group(at place, ls []*listener) {
	byProcess := map[*process]*worker{}
	var workers []*worker
	fromNS, toNS := int64(math.MaxInt64), int64(0)
	suffers := false
	for _, l := range ls {
		for _, s := range l.shares {
			w := byProcess[s.p]
			if w == nil {
				w = &worker{who: fs.a.places.who(s.p), firstNS: math.MaxInt64}
				byProcess[s.p] = w
				workers = append(workers, w)
			}
			w.accepted += s.accepted
			w.firstNS, w.lastNS = min(w.firstNS, s.firstNS), max(w.lastNS, s.lastNS)
			fromNS, toNS = min(fromNS, s.firstNS), max(toNS, s.lastNS)
		}
		if len(l.shares) == 0 && l.snap.before && l.snap.ended {
			workers = append(workers, &worker{who: fmt.Sprintf("the owner of listener %d", l.key.inode), firstNS: math.MinInt64 / 2, lastNS: math.MaxInt64 / 2})
		}
		suffers = suffers || l.marks[queueOverflow] != nil || l.life != nil && l.life.slow >= 3
	}
	workers = slices.DeleteFunc(workers, func(w *worker) bool { return (w.lastNS-w.firstNS)/2 < (toNS-fromNS)/4 })
	total := uint64(0)
	for _, w := range workers {
		total += w.accepted
	}
	n := uint64(len(workers))
	if n < 2 || total < unevenAll || total < unevenEach*n {
		return
	}
	slices.SortFunc(workers, func(x, y *worker) int { return cmp.Or(cmp.Compare(y.accepted, x.accepted), cmp.Compare(x.who, y.who)) })
	mean, chi := float64(total)/float64(n), 0.0
	for _, w := range workers {
		d := float64(w.accepted) - mean
		chi += d * d / mean
	}
	most, least := workers[0], workers[n-1]
	free := float64(n - 1)
	if chi < free+6*math.Sqrt(2*free) || float64(most.accepted) < 2*mean && float64(least.accepted) > mean/4 {
		return
	}
	s := Notice
	if suffers {
		s = Warning
	}
	var evidence []stats.Sample
	for _, l := range ls {
		if l.seq != 0 && len(evidence) < stats.KeepSamples {
			evidence = append(evidence, stats.Sample{Seq: l.seq, NS: l.seenNS})
		}
	}
	fs.add(unevenWorkers, s, total, evidence, "see what the idle ones do, and whether each has its connections to itself (SO_REUSEPORT) or all wait for one listener (epoll wakes the last that waits)",
		"%s: of %d workers %s took %s of %s connections, %s took %s", at.addr, n, most.who, fs.say.Calls(most.accepted), fs.say.Calls(total), least.who, fs.say.Calls(least.accepted))
}
