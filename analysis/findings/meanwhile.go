package findings

// This file says of clients that waited what the server's threads did meanwhile.

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/analysis/meanwhile"
	"github.com/acc-project/acc/format"
)

// explained are the kinds of findings that what the threads did can explain.
var explained = []Kind{ConcurrencyLimit, SlowAccept, QueueFull, QueueOverflow}

// patient are what a thread does that serves a client.
var patient = []meanwhile.Kind{meanwhile.Client, meanwhile.Idle, meanwhile.NotAsked, meanwhile.InAccept,
	meanwhile.OtherCall, meanwhile.Sleep, meanwhile.NotVisible, meanwhile.Child}

// Meanwhile is what a server's threads did while the clients of a finding waited.
type Meanwhile struct {
	// one thing takes half of the time that clients waited, or more: that is why they waited
	Because bool    `json:"because"`
	Text    string  `json:"text"`  // what, for how long, in a sentence
	Share   float64 `json:"share"` // of the time that clients waited, 0 to 1, of what the sentence names first
}

// explain adds to a finding what was seen of the threads.
func (l *Listener) explain(f *Finding) {
	s := l.Seen
	if s == nil || s.WaitsNS <= 0 {
		return
	}
	if len(s.Places) == 0 {
		if words := limits(s); words != "" {
			f.Meanwhile = &Meanwhile{Text: "acc saw no thread of the server; " + words}
		}
		return
	}
	groups := byWait(s.Places)
	top := groups[0]
	share := min(float64(top.BlameNS)/float64(s.WaitsNS), 1)
	alike := int64(0) // what is of one kind has one remedy
	for _, p := range groups {
		if p.Did.Kind == top.Did.Kind {
			alike += p.BlameNS
		}
	}
	m := &Meanwhile{Because: 2*alike >= s.WaitsNS, Share: share}
	m.Text = nobodyAccepts(s) + l.threads(&top.Place) + " " + l.wasOrWere(&top.Place) + " " +
		top.words(l.more(&top.Place)) + ", for " + percent(share) + " of the time that clients waited"
	var rest []string
	for _, p := range groups[1:min(len(groups), 3)] {
		if part := float64(p.BlameNS) / float64(s.WaitsNS); part >= 0.05 {
			rest = append(rest, percent(part)+" "+p.words(""))
		}
	}
	if part := float64(s.UnseenNS) / float64(s.WaitsNS); part >= 0.05 {
		rest = append(rest, percent(part)+" not seen")
	}
	if len(rest) > 0 {
		m.Text += "; " + strings.Join(rest, ", ")
	}
	if words := besides(s, groups); words != "" && top.Did.Kind == meanwhile.Idle {
		m.Text += "; " + words
	}
	if words := limits(s); words != "" {
		m.Text += "; " + words
	}
	f.Meanwhile = m
	// Of a server that serves as many as it may, the finding says what to do, unless each is served slowly for a reason
	// of its own.
	limit := f.ID == ids[ConcurrencyLimit]
	asked := top.Did.Kind == meanwhile.Idle && len(s.Peers) > 0
	patience := limit && !gave(s) && !asked && slices.Contains(patient, top.Did.Kind)
	if limit && m.Because && top.Did.Call == "futex" && top.Did.Kind == meanwhile.Idle && len(top.TIDs) > 1 {
		f.Next = behindOneLock
	} else if next := l.remedy(&top.Place); m.Because && next != "" && !patience {
		f.Next = next
	}
}

// besides says what other threads of a Go program ran for long while that which accepts was idle, "" nothing.
func besides(s *meanwhile.Seen, groups []wait) string {
	i := slices.IndexFunc(groups, func(w wait) bool {
		return w.Did.Beside && w.Did.Kind == meanwhile.OnCPU && 2*w.NS > s.ToNS-s.FromNS
	})
	if i < 0 {
		return ""
	}
	return "other threads of the program were " + groups[i].words("") + ", for " + humanize.Duration(groups[i].NS)
}

// gave reports whether the threads that accepted there have ended, and acc knows of no other.
func gave(s *meanwhile.Seen) bool { return s.Owners && len(s.Ended) > 0 }

// nobodyAccepts says that the threads that accepted have ended, "" if it is not so.
func nobodyAccepts(s *meanwhile.Seen) string {
	switch {
	case !gave(s):
		return ""
	case len(s.Ended) == 1:
		return fmt.Sprintf("thread %d, which accepted here, has ended, and no other one does; ", s.Ended[0])
	}
	return fmt.Sprintf("%d threads that accepted here, like %d, have ended, and no other one does; ", len(s.Ended),
		s.Ended[0])
}

// behindOneLock is what to do where several threads that serve a client each wait: one alone may wait for the limit.
const behindOneLock = "see what these threads wait for while they serve their clients, a lock or one another (gdb -p " +
	"PID, py-spy dump, jstack): if it is one lock, more threads would only wait there, too, and so would a longer queue"

// wait is what threads did at several places of their program together: as that of the most blamed one.
type wait struct {
	meanwhile.Place
	mostly bool // there are others
}

// byWait puts together what is the same but for the place in the program, the most blamed first.
func byWait(places []meanwhile.Place) (list []wait) {
	for _, p := range places {
		p.TIDs = slices.Clone(p.TIDs)
		same := func(w wait) bool {
			did := w.Did
			did.At = p.Did.At
			return did == p.Did
		}
		i := slices.IndexFunc(list, same)
		if i < 0 {
			list = append(list, wait{Place: p})
			continue
		}
		w := &list[i]
		w.mostly = w.mostly || p.BlameNS*10 > w.BlameNS
		w.BlameNS, w.NS = w.BlameNS+p.BlameNS, w.NS+p.NS
		w.Samples, w.SamplesIn = w.Samples+p.Samples, w.SamplesIn+p.SamplesIn
		for _, tid := range p.TIDs {
			if !slices.Contains(w.TIDs, tid) {
				w.TIDs = append(w.TIDs, tid)
			}
		}
		w.Did.At = cmp.Or(w.Did.At, p.Did.At)
	}
	slices.SortStableFunc(list, func(a, b wait) int { return cmp.Compare(b.BlameNS, a.BlameNS) })
	return list
}

// words say what it was, with what is known beside it, and where in the program.
func (w *wait) words(more string) string {
	caller := w.Did.Caller()
	if w.mostly {
		caller = strings.Replace(caller, ", ", ", mostly ", 1)
	}
	if w.Did.Kind == meanwhile.OnCPU { // of which it is how often it was found there
		return w.Did.What() + caller + more
	}
	return w.Did.What() + more + caller
}

// threads names the threads that were somewhere.
func (l *Listener) threads(p *meanwhile.Place) string {
	s := l.Seen
	name := func(tid uint32) string {
		for _, t := range s.Threads {
			if t.TID == tid {
				return format.Quote(t.Comm) + "[" + fmt.Sprint(tid) + "]"
			}
		}
		return fmt.Sprint(tid)
	}
	n := s.Acceptors()
	switch moved := l.moved(p); {
	case n == 1 && s.MoreThreads == 0 && (len(p.TIDs) == 1 || moved):
		return "thread " + name(p.TIDs[0])
	case len(p.TIDs) == 1 || moved:
		return fmt.Sprintf("thread %s of %d", name(p.TIDs[0]), uint64(n)+s.MoreThreads)
	}
	return fmt.Sprintf("%d of %d threads, like %s,", len(p.TIDs), uint64(n)+s.MoreThreads, name(p.TIDs[0]))
}

// moved reports whether threads of one Go program were there, or one that was not seen to accept: Go moved the goroutine
// that accepts from one to another.
func (l *Listener) moved(p *meanwhile.Place) bool {
	there := map[uint32]int{} // threads by program
	for _, t := range l.Seen.Threads {
		if slices.Contains(p.TIDs, t.TID) {
			there[t.PID]++
			if t.Beside {
				return true
			}
		}
	}
	return slices.ContainsFunc(l.Seen.Threads, func(t format.WatchedThread) bool { return t.Beside && there[t.PID] > 1 })
}

func (l *Listener) wasOrWere(p *meanwhile.Place) string {
	if l.moved(p) {
		return "was, with other threads to which Go moved its goroutine,"
	}
	return were(uint64(len(p.TIDs)))
}

// percent writes a share.
func percent(share float64) string { return fmt.Sprintf("%.0f %%", 100*share) }

// more says what belongs to what a thread did: who holds the lock, which server has not answered, what the quota did.
func (l *Listener) more(p *meanwhile.Place) string {
	s := l.Seen
	switch p.Did.Kind {
	case meanwhile.OnCPU:
		if p.Samples > 0 && p.Did.At != "" {
			return fmt.Sprintf(" (or below: %s of %s samples)", humanize.Count(p.SamplesIn), humanize.Count(p.Samples))
		}
	case meanwhile.Throttled:
		if g := throttled(s); g != nil {
			return fmt.Sprintf(" (%s was throttled %s)", format.Quote(g.Cgroup), times(g.Throttled))
		}
	case meanwhile.NoCPU, meanwhile.Paging, meanwhile.Disk:
		return pressure(s, p.Did.Kind)
	case meanwhile.Lock:
		if name, did := s.HolderOf(p); did != nil {
			return fmt.Sprintf(" (the holder, %s, was %s)", name, did.Words())
		}
	case meanwhile.Idle, meanwhile.NotAsked, meanwhile.NotVisible, meanwhile.Peer:
		if words := l.goroutines(p); words != "" {
			return words
		}
		if len(s.Peers) > 0 {
			q := s.Peers[0]
			if hostPort(q.RAddr, q.RPort) == p.Did.Target {
				return fmt.Sprintf(", which had been asked %s before, and had not answered", humanize.Duration(q.WaitingNS))
			}
			return fmt.Sprintf(" (%s had been asked %s before, and had not answered)", hostPort(q.RAddr, q.RPort),
				humanize.Duration(q.WaitingNS))
		}
	}
	return ""
}

// throttled is the cgroup whose CPU quota was used up, nil if none was.
func throttled(s *meanwhile.Seen) *format.WatchedGroup {
	i := slices.IndexFunc(s.Groups, func(g format.WatchedGroup) bool { return g.Throttled > 0 })
	if i < 0 {
		return nil
	}
	return &s.Groups[i]
}

// pressure says for how long tasks of the threads' cgroup waited for the same, if that was long.
func pressure(s *meanwhile.Seen, kind meanwhile.Kind) string {
	for _, g := range s.Groups { // the innermost first
		what, ns := "a CPU", g.CPUWaitNS
		switch kind {
		case meanwhile.Paging:
			if what, ns = "memory", g.MemoryWaitNS; ns < g.IOWaitNS {
				what, ns = "disks", g.IOWaitNS
			}
		case meanwhile.Disk:
			what, ns = "disks", g.IOWaitNS
		}
		if ns >= int64(100*time.Millisecond) {
			return fmt.Sprintf(" (tasks of the cgroup %s waited for %s for %s)", format.Quote(g.Cgroup), what,
				humanize.Duration(ns))
		}
	}
	return ""
}

// limits says what was not looked at.
func limits(s *meanwhile.Seen) string {
	var words []string
	if s.MoreThreads > 0 {
		words = append(words, humanize.Plural(s.MoreThreads, "more thread")+" not looked at")
	}
	if s.Owners && len(s.Ended) == 0 {
		words = append(words, "no thread had accepted there: these are of processes that have the listener open")
	}
	if len(s.Cannot) > 0 {
		more := ""
		if n := len(s.Cannot) - 1; n > 0 {
			more = " and " + humanize.Plural(uint64(n), "more reason")
		}
		words = append(words, "could not be looked at: "+format.Quote(s.Cannot[0])+more)
	}
	return strings.Join(words, "; ")
}

// maxGoroutines is how many places of goroutines are named.
const maxGoroutines = 3

// goroutines says what the goroutines of a Go program whose threads are idle waited for, and which server has not
// answered.
func (l *Listener) goroutines(p *meanwhile.Place) string {
	s := l.Seen
	if p.Did.Kind == meanwhile.Peer {
		return ""
	}
	var words []string
	for _, g := range s.Goroutines {
		if !slices.ContainsFunc(s.Threads, func(t format.WatchedThread) bool {
			return t.PID == g.PID && slices.Contains(p.TIDs, t.TID)
		}) {
			continue
		}
		for _, x := range g.Groups[:min(len(g.Groups), maxGoroutines)] {
			words = append(words, fmt.Sprintf("%s in %s, called from %s", humanize.Count(uint64(x.N)), x.Wait, x.At))
		}
		if more := len(g.Groups) - maxGoroutines; more > 0 {
			words = append(words, fmt.Sprintf("others in %s", humanize.Plural(uint64(more), "more place")))
		}
		if len(words) > 0 && g.NoneAccepts() {
			words = append(words, "none in Accept")
		}
		break
	}
	if len(words) == 0 {
		return ""
	}
	if len(s.Peers) > 0 {
		q := s.Peers[0]
		words = append(words, fmt.Sprintf("%s had been asked %s before, and had not answered", hostPort(q.RAddr, q.RPort),
			humanize.Duration(q.WaitingNS)))
	}
	return " (its goroutines: " + strings.Join(words, "; ") + ")"
}

// remedy is what to do, by the kind of what the threads did.
func (l *Listener) remedy(p *meanwhile.Place) string {
	s := l.Seen
	pid := uint32(0)
	for _, t := range s.Threads {
		if slices.Contains(p.TIDs, t.TID) {
			pid = t.PID
			break
		}
	}
	if gave(s) {
		return "the part of the program that accepts has ended: its log may say why, and a restart helps"
	}
	switch p.Did.Kind {
	case meanwhile.FullPipe:
		return "find who should read that pipe, and does not (lsof, or ls -l /proc/*/fd); then let the program write " +
			"its log without waiting"
	case meanwhile.EmptyPipe:
		return "find who should write to that pipe (lsof, or ls -l /proc/*/fd), and let another thread wait for it"
	case meanwhile.Disk:
		return "see how busy the disk of that file is (iostat -x 1), and let another thread than the accepting one " +
			"write or sync"
	case meanwhile.Paging:
		return "the program's memory comes from disk: see the memory limit of its cgroup and memory.pressure, and how " +
			"busy the disk is (iostat -x 1)"
	case meanwhile.Peer, meanwhile.SlowPeer:
		return "look at the other side of that connection, give such calls a time limit, and let another thread than " +
			"the accepting one wait for it"
	case meanwhile.Client:
		return "the thread waits for a client before it takes the next: give slow clients a time limit, or let more " +
			"threads or processes accept"
	case meanwhile.Lock:
		return fmt.Sprintf("see what thread %d does, which holds the lock (gdb -p %d, /proc/%d/task/%d/syscall)", p.Did.Owner,
			pid, pid, p.Did.Owner)
	case meanwhile.OnCPU:
		of := fmt.Sprint("-t ", first(p.TIDs))
		if l.moved(p) {
			of = fmt.Sprint("-p ", pid)
		}
		if p.Did.InOther() {
			return fmt.Sprintf("see in which function of the program it is (perf top %s, or what its language has, like "+
				"py-spy top --pid %d), and let a thread of its own accept", of, pid)
		}
		if f, _, _ := strings.Cut(p.Did.At, " < "); f != "" {
			return fmt.Sprintf("make %s cheaper (perf top %s has more), or let a thread of its own accept", f, of)
		}
		return fmt.Sprintf("see in which function it is (perf top %s), and let a thread of its own accept", of)
	case meanwhile.Throttled:
		if g := throttled(s); g != nil {
			return "raise cpu.max of the cgroup " + format.Quote(g.Cgroup) + ", or make the program use less CPU"
		}
	case meanwhile.NoCPU:
		return "see who uses the CPUs (top, /proc/pressure/cpu), and give this program more of them (cpu.weight, nice)"
	case meanwhile.Stopped:
		return fmt.Sprintf("find who stopped it (a debugger, a shell's job control), or let it go on: kill -CONT %d", pid)
	case meanwhile.Frozen:
		return "find who froze its cgroup (docker pause, cgroup.freeze), and thaw it"
	case meanwhile.NotAsked:
		return "the program does not wait for clients now: it paused accepting at a limit of its own (worker_connections, " +
			"maxconn), or what accepts has ended; its log says why, and a restart helps"
	case meanwhile.Child:
		return fmt.Sprintf("the program accepts again when one of its child processes has ended: see what these do (ps "+
			"--ppid %d), or raise how many it may have (of this kind is socat max-children)", pid)
	case meanwhile.Idle:
		if len(s.Peers) > 0 {
			return fmt.Sprintf("look at %s, which does not answer, and give such requests a time limit; or see what else the "+
				"program waits for before it accepts (its stack traces)", hostPort(s.Peers[0].RAddr, s.Peers[0].RPort))
		}
		for _, g := range s.Goroutines {
			if g.PID == pid && g.NoneAccepts() {
				return "none of its goroutines is in Accept: the one that accepts waits elsewhere, or has ended; " +
					"/debug/pprof/goroutine?debug=2 lists all, if the program has that (SIGQUIT does, too, and ends it)"
			}
			if g.PID == pid && len(g.Groups) > 0 {
				return fmt.Sprintf("see in %s what the goroutine that accepts waits for: no thread of the program is busy",
					format.Quote(g.Groups[0].At))
			}
		}
		return "its threads wait for something else before they accept: take its stack traces (gdb -p, jstack, py-spy " +
			"dump) and see what"
	case meanwhile.Sleep:
		return "the program sleeps before it accepts again: see why in its source or log (many do so after an error)"
	}
	return ""
}

// hostPort writes where a server is.
func hostPort(addr string, port uint16) string {
	return net.JoinHostPort(format.Quote(addr), strconv.Itoa(int(port)))
}

func first(tids []uint32) uint32 {
	if len(tids) == 0 {
		return 0
	}
	return tids[0]
}

func times(n uint64) string {
	if n == 1 {
		return "once"
	}
	return humanize.Count(n) + " times"
}
