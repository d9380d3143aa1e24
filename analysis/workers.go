package analysis

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/acc-project/acc/analysis/findings"
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
		l.marks.Note(findings.NewAcceptor, seq, ns, 1)
	case young && (others || l.snap.before):
		l.marks.Note(findings.NewAcceptor, seq, ns, 0)
	default:
		return
	}
	l.came = p
}

// listening collects Listen events.
type listening struct {
	mark  stats.Mark
	names []string
}

// note takes a Listen event. Test: the process may be a recorder that tries its probes, which is found out
// in the end.
func (ln *listening) note(l *listener, e *format.Event, test bool) {
	l.owned, l.beganNS = nameOf(e.Comm, e.PID), e.BootNS
	if test {
		l.opener = e.Proc
		return
	}
	ln.opened(l)
}

// opened tells of a listener.
func (ln *listening) opened(l *listener) {
	ln.mark.Note(l.began, l.beganNS, 0)
	const names = 5
	if len(ln.names) < names {
		ln.names = append(ln.names, l.name()+" by "+l.owned)
	}
}

// all are the sockets that began to listen, and the first of them with who did that; also those
// whose Listen event is not recorded, or was lost.
func (ln *listening) all(a *Analyzer, listeners []*listener) (stats.Mark, []string) {
	if !a.startKnown {
		return ln.mark, ln.names
	}
	for _, l := range listeners {
		named := l.proto == format.ProtoTCP && l.addr.IsValid() || l.family == format.FamilyUnix && l.bound != ""
		if a.startSpaces != nil && !a.startSpaces[l.key.netns] { // it may have listened there before
			continue
		}
		if l.began == 0 && !l.snap.before && l.attempts > 0 && l.seq != 0 && named {
			ln.mark.Note(l.seq, l.seenNS, 0)
			if len(ln.names) < 5 {
				ln.names = append(ln.names, l.name()+" by "+l.by(&a.places))
			}
		}
	}
	return ln.mark, ln.names
}
