package analysis

import (
	"fmt"

	"github.com/acc-project/acc/format"
)

// sit takes the tasks that sat in accept when recording ended.
func (ps *places) sit(tasks []format.Blocked) {
	if len(tasks) == 0 {
		return
	}
	at := make(map[uint64]*listener, len(ps.all))
	for _, l := range ps.all {
		at[l.key.inode] = l
	}
	delete(at, 0)
	for _, b := range tasks {
		if l := at[b.Listener]; l != nil {
			l.snap.sits++
			l.snap.sitter = b
		}
	}
}

// stands says what a process does that leaves connections in the queue at the end, and what
// to do about it; "" if it is not known.
func (l *listener) stands(ps *places) (text, next string) {
	s, who := &l.snap, l.snap.halted
	switch {
	case who.Halted == format.HaltedStopped:
		return nameOf(who.Comm, who.PID) + " is stopped, by a signal or a debugger",
			fmt.Sprintf("kill -CONT %d lets it go on; who stopped it: TracerPid in /proc/%d/status, the terminal that it runs in, or its parent (ps -o pid,ppid,tty,stat,cmd -p %d)", who.PID, who.PID, who.PID)
	case who.Halted == format.HaltedFrozen:
		return nameOf(who.Comm, who.PID) + " is frozen with its cgroup",
			fmt.Sprintf("thaw the cgroup that /proc/%d/cgroup names (docker unpause, systemctl thaw, or 0 into its cgroup.freeze)", who.PID)
	case s.sits > 0:
		return l.ownerOr(fmt.Sprintf("process %d", s.sitter.PID), ps) + " sits in accept and takes none",
			fmt.Sprintf("see why thread %d of process %d does not run: ps -L -o tid,stat,wchan -p %d, /proc/%d/task/%d/stack", s.sitter.TID, s.sitter.PID, s.sitter.PID, s.sitter.PID, s.sitter.TID)
	}
	return l.shot.stands(ps)
}
