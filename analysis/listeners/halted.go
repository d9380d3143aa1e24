package listeners

// This file finds out why a process did not accept at the end.

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/format"
)

// sit takes the tasks that sat in accept when recording ended.
func (reg *Registry) sit(tasks []format.Blocked) {
	if len(tasks) == 0 {
		return
	}
	at := make(map[uint64]*listener, len(reg.all))
	for _, l := range reg.all {
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
func (l *listener) stands(reg *Registry) (text, next string) {
	s, who := &l.snap, l.snap.halted
	switch {
	case who.Halted == format.HaltedStopped:
		return nameOf(who.Comm, who.PID) + " is stopped, by a signal or a debugger",
			fmt.Sprintf("kill -CONT %d lets it go on; who stopped it: TracerPid in /proc/%d/status, the terminal "+
				"that it runs in, or its parent (ps -o pid,ppid,tty,stat,cmd -p %d)", who.PID, who.PID, who.PID)
	case who.Halted == format.HaltedFrozen:
		return nameOf(who.Comm, who.PID) + " is frozen with its cgroup",
			fmt.Sprintf("thaw the cgroup that /proc/%d/cgroup names (docker unpause, systemctl thaw, or 0 into its "+
				"cgroup.freeze)", who.PID)
	case s.sits > 0:
		return l.ownerOr(fmt.Sprintf("process %d", s.sitter.PID), reg) + " sits in accept and takes none",
			fmt.Sprintf("see why thread %d of process %d does not run: ps -L -o tid,stat,wchan -p %d, "+
				"/proc/%d/task/%d/stack", s.sitter.TID, s.sitter.PID, s.sitter.PID, s.sitter.PID, s.sitter.TID)
	}
	return "", ""
}

// abandoned tells who alone has a listener open at the end, if none of them ever accepted at it, or opened it.
func (l *listener) abandoned(reg *Registry) *findings.Abandoned {
	s := &l.snap
	if !s.held || len(s.holders) == 0 || s.more > 0 || s.sits > 0 || l.uring != nil {
		return nil
	}
	x := &findings.Abandoned{One: len(s.holders) == 1}
	var names, ids []string
	for _, h := range s.holders {
		if strings.HasSuffix(l.owned, fmt.Sprintf("[%d]", h.PID)) ||
			slices.ContainsFunc(l.shares, func(s *share) bool { return s.p.key.pid == h.PID }) {
			return nil
		}
		names, ids = append(names, nameOf(h.Comm, h.PID)), append(ids, strconv.FormatUint(uint64(h.PID), 10))
	}
	x.By, x.Kill = strings.Join(names, ", "), strings.Join(ids, " ")
	if x.Gone = l.owned; len(l.shares) > 0 {
		x.Gone = l.by(reg)
	}
	if x.Gone == "" { // nothing says that another process served it
		return nil
	}
	return x
}
