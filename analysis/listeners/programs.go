package listeners

// This file keeps what each process did at a listener.

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/acc-project/acc/analysis/findings"
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
func (reg *Registry) arrived(l *listener, p *process, seq uint64, ns int64) {
	rec := reg.recordOf(p.key.num)
	prog := program(cmp.Or(rec.Exe, rec.Comm, p.comm))
	if rec.OtherMounts(reg.header) { // where any file can have any path
		prog += program(" (in another mount namespace, " + rec.ExeDev + " inode " +
			strconv.FormatUint(rec.ExeInode, 10) + ")")
	}
	others := len(l.programs) > 0
	known := slices.Contains(l.programs, prog)
	if !known && len(l.programs) < maxPrograms {
		l.programs = append(l.programs, prog)
	}
	young := rec != &noRecord && rec.StartNS > reg.header.Clock.BootNS &&
		(l.began == 0 || rec.StartNS > l.beganNS+deployNS)
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
