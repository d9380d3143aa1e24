package meanwhile

// This file tells kinds of waits apart.

import (
	"slices"
	"strings"

	"github.com/acc-project/acc/format"
)

// Kind is what kind of thing a thread did.
type Kind string

// The kinds.
const (
	OnCPU      Kind = "cpu"         // it ran
	Throttled  Kind = "quota"       // it could have run, but the CPU quota of its cgroup was used up
	NoCPU      Kind = "no-cpu"      // it could have run, and had no CPU
	Stopped    Kind = "stopped"     // by a signal, or a debugger
	Frozen     Kind = "frozen"      // with its cgroup
	Paging     Kind = "paging"      // for a page of its memory
	Disk       Kind = "disk"        // for a file
	FullPipe   Kind = "full-pipe"   // until somebody reads from a pipe
	EmptyPipe  Kind = "empty-pipe"  // until somebody writes to a pipe
	Peer       Kind = "peer"        // for what another program sends
	SlowPeer   Kind = "slow-peer"   // until another program reads
	Client     Kind = "client"      // for a client of the listener, to send or to read
	Lock       Kind = "lock"        // for a lock that another thread holds
	NotAsked   Kind = "not-asked"   // for other descriptors than the listener
	Child      Kind = "child"       // until a process that it has started ends
	Idle       Kind = "idle"        // for something that is to happen
	Sleep      Kind = "sleep"       // for a time
	InAccept   Kind = "accept"      // in accept itself
	OtherCall  Kind = "other"       // in another system call
	NotVisible Kind = "not-visible" // it slept, and where could not be seen
)

var (
	acceptCalls = []string{"accept", "accept4"}
	writeCalls  = []string{"write", "writev", "pwrite64", "pwritev", "sendto", "sendmsg", "sendmmsg", "sendfile", "splice"}
	readCalls   = []string{"read", "readv", "pread64", "preadv", "recvfrom", "recvmsg", "recvmmsg", "connect"}
	waitCalls   = []string{"epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "select", "pselect6",
		"futex", "pause", "rt_sigtimedwait", "rt_sigsuspend", "io_uring_enter", "io_getevents", "semop", "semtimedop",
		"msgrcv"}
	childCalls = []string{"wait4", "waitid", "waitpid"}
	sleepCalls = []string{"nanosleep", "clock_nanosleep", "restart_syscall"}
	fullPipes  = []string{"pipe_write", "anon_pipe_write"} // functions of the kernel, by its version
	emptyPipes = []string{"pipe_read", "anon_pipe_read"}
	diskCalls  = []string{"fsync", "fdatasync", "sync", "msync", "sync_file_range", "ftruncate", "fallocate"}
)

// kindOf is the kind of what a thread did. throttled: the quota of a cgroup was used up meanwhile.
func kindOf(d *format.Doing, throttled bool) Kind {
	is := func(list []string) bool { return slices.Contains(list, d.Call) }
	switch d.State {
	case format.DoingCPU:
		return OnCPU
	case format.DoingRunnable:
		if throttled {
			return Throttled
		}
		return NoCPU
	case format.DoingStopped:
		return Stopped
	case format.DoingFrozen:
		return Frozen
	case format.DoingFault:
		return Paging
	case format.DoingUnseen:
		switch { // that tells even without the system call
		case slices.Contains(fullPipes, d.WChan):
			return FullPipe
		case slices.Contains(emptyPipes, d.WChan):
			return EmptyPipe
		}
		return NotVisible
	}
	switch socket := d.Kind == format.TargetSocket || d.Kind == format.TargetUnix; {
	case is(acceptCalls):
		return InAccept
	case is(diskCalls), d.State == format.DoingDisk && d.Kind == format.TargetFile:
		return Disk
	case d.Kind == format.TargetPipe && is(writeCalls):
		return FullPipe
	case d.Kind == format.TargetPipe && is(readCalls):
		return EmptyPipe
	case d.Kind == format.TargetClient:
		return Client
	case socket && is(writeCalls):
		return SlowPeer
	case socket && is(readCalls):
		return Peer
	case d.Owner != 0:
		return Lock
	case d.Among == format.AmongAbsent, d.Among == format.AmongDisarmed:
		return NotAsked
	case is(childCalls):
		return Child
	case is(waitCalls):
		return Idle
	case is(sleepCalls):
		return Sleep
	case d.State == format.DoingDisk:
		return Disk
	}
	return OtherCall
}

// whereOf is what a row says of its thread.
func whereOf(d *format.Doing, throttled bool) Where {
	w := Where{Kind: kindOf(d, throttled), State: d.State, Call: d.Call, Of: d.Kind, Target: d.Target, WChan: d.WChan,
		Among: d.Among, Owner: d.Owner}
	if w.Kind == Disk || w.Kind == Paging { // several functions of the kernel make one wait
		w.State, w.WChan = format.DoingDisk, ""
	}
	return w
}

// Words say what a thread did, and where in its program: "in write to the pipe /tmp/log, which was full, called from
// access_log < handle < main".
func (p *Where) Words() string { return p.What() + p.Caller() }

// Caller says where in its program a thread was: ", called from access_log < handle < main"; "" if that is not known.
func (p *Where) Caller() string {
	switch {
	case p.At == "":
		return ""
	case p.Call == "":
		return ", in " + p.At
	}
	return ", called from " + p.At
}

// What says what a thread did: "in write to the pipe /tmp/log, which was full".
func (p *Where) What() string {
	switch p.Kind {
	case OnCPU:
		return "on a CPU"
	case Throttled:
		return "ready to run, and the CPU quota of its cgroup was used up"
	case NoCPU:
		return "ready to run, and others had the CPUs"
	case Stopped:
		return "stopped by a signal or a debugger"
	case Frozen:
		return "frozen with its cgroup"
	case Paging:
		return "waiting for a page of its memory to be read from disk"
	case NotVisible:
		if p.WChan != "" {
			return "asleep in the kernel's " + quote(p.WChan) + ", and its system call is not known"
		}
		return "asleep, and where is not known"
	case InAccept:
		return "in " + p.Call + " itself"
	}
	words, of := "in "+p.Call, " of "
	if p.State == format.DoingUnseen { // of a pipe, by the kernel's function
		what := "a write to a pipe"
		if p.Kind == EmptyPipe {
			what = "a read from a pipe"
		}
		words = "asleep in the kernel's " + quote(p.WChan) + ", " + what
	}
	switch {
	case slices.Contains(writeCalls, p.Call), p.Call == "connect":
		of = " to "
	case slices.Contains(readCalls, p.Call):
		of = " from "
	}
	if p.Call == "" && p.State != format.DoingUnseen {
		words = "asleep outside of system calls"
	}
	switch p.Of {
	case format.TargetFile:
		words += of + "the file " + quote(p.Target)
	case format.TargetPipe:
		words += of + "the pipe " + quote(p.Target)
	case format.TargetClient:
		words += of + "its client " + quote(p.Target)
	case format.TargetSocket, format.TargetUnix:
		what := "a socket"
		if p.Of == format.TargetUnix {
			what = "a UNIX socket"
		}
		if p.Target != "" {
			what = quote(p.Target)
		}
		words += of + what
	case format.TargetOther:
		words += of + quote(p.Target)
	}
	switch p.Kind {
	case FullPipe:
		words += ", which was full"
	case EmptyPipe:
		words += ", which was empty"
	case SlowPeer:
		words += ", from which nobody read"
	case Lock:
		words += ": a lock that another thread held"
	case NotAsked:
		if p.Among == format.AmongDisarmed {
			words += ", and had switched the listener off in its epoll set"
		} else {
			words += ", and the listener was not among what it waited for"
		}
	case Child:
		words += ", until one of its child processes ended"
	case Idle:
		if p.Among == format.AmongArmed {
			words += ", though the listener was among what it waited for"
		}
	case Sleep:
		words += ", for a time that the program chose"
	}
	return words
}

// quote makes a name safe to print.
func quote(s string) string {
	if strings.ContainsRune(s, ' ') {
		return `"` + format.Quote(s) + `"`
	}
	return format.Quote(s)
}
