// Package capture records accept on a Linux host: it chooses, loads and attaches
// the probes of package bpf, turns what they write into events, adds what user
// space knows (processes, clocks, losses), and writes a capture.
//
// Nothing is pinned: when the recorder dies, the kernel removes its probes.
//
// Exported names may change until version 1; CHANGELOG.md says which changed.
package capture

import (
	"errors"
	"io"
	"os"
	"time"

	"github.com/acc-project/acc/format"
)

// Mode is the kind of probes that record.
type Mode string

// The modes. Fentry sees every return; a kretprobe misses those for which the
// kernel has no instance left, one being held by every blocked call.
const (
	ModeAuto   Mode = "auto"   // fentry where the kernel has it, else kprobe
	ModeKprobe Mode = "kprobe" // kprobes and kretprobes: every kernel from 5.10
	ModeFentry Mode = "fentry" // trampolines: fentry and fexit
)

// Events is how much is recorded.
type Events string

// What is recorded. The zero value is EventsAll.
const (
	EventsAll    Events = "all"    // accept calls, and the life of TCP connections before and after
	EventsAccept Events = "accept" // accept calls
	// the life of TCP connections: queued, ended, dropped; who accepts them is not seen
	EventsLifecycle Events = "lifecycle"
)

// FailedRate is how many failed calls of a process a second are recorded by default.
const FailedRate = 1000

// Options say what to record and for how long. The zero value records with
// ModeAuto until the context is cancelled.
type Options struct {
	Mode      Mode
	Events    Events
	RingBytes int // ring buffer, a power of two of at least a page; 0: 8 MiB
	MaxActive int // kretprobe instances of each probe; 0: 4096, the most that kernels allow
	// stop when so many events are recorded; 0: no limit. What was in flight then is recorded too
	MaxEvents  uint64
	Duration   time.Duration // stop after so long; 0: no limit
	Denied     bool          // also record accepts that seccomp refuses: every system call of the host pays for it
	NoCauses   bool          // don't look at what servers do while clients wait for them
	Command    []string      // run this while recording and stop when it ends
	CommandOut *os.File      // its standard output; nil: the recorder's own
	FailedRate int           // failed calls of a process a second that are recorded one by one; 0: 1000, below: all are
	Select     Selection     // what is recorded; the zero value: everything
	MaxCPU     float64       // part of one CPU that the recorder may use: beyond, it leaves out a part; 0: no bound
	MaxMemory  int64         // bytes of memory that it may have: the same; 0: no bound
	Confine    bool          // when it records, give up for the whole process, for good, what recording needs no longer
	Args       []string      // the recorder's command line, for the header
	Tool       string        // "acc VERSION", for the header

	// called with what the recorder does before it is ready and after it has stopped, in a few words
	Phase  func(string)
	Ready  func(Started) // called once, when all probes are live, before Command starts
	Warn   func(string)  // called with what changes while it records, a sentence; nil: only the capture says so
	Status func(Status)  // called about once a second by the recording goroutine

	Control *Control // asks the running recording; nil: nobody does
	Rotate  *Rotate  // goes on in other files; nil: the recording is one file

	// Seal makes of an output the writer that encrypts to it, in whole writes; nil: nothing is encrypted.
	Seal func(io.Writer) io.Writer

	// Checkpoint is called by the recording goroutine with the capture's id after
	// each frame that was written, and after its end.
	Checkpoint func(id string, c format.Checkpoint)

	preempted   bool // the kernel preempts programs; startProbes sets it
	fullAtLimit bool // as the function says; startProbes sets it

	stall      func()        // test: called before the ring is read, to make it overflow
	startWatch time.Duration // test: instead of the constant
	calm       time.Duration // test: instead of calmFor
}

// Started says how the recording began.
type Started struct {
	Mode   Mode // ModeKprobe or ModeFentry
	Probes []format.Probe
	Note   string // why the recording is not what was asked for or best, "" otherwise

	// What listened when it began, of a selection: how many that it fits, and, if none, the TCP ports of all.
	Listeners int
	Ports     []string
}

// Status is the state of a running recording.
type Status struct {
	Elapsed time.Duration
	Events  uint64
	Lost    uint64 // as far as is known by now
	Bytes   int64  // written
}

// Result is how a recording ended.
type Result struct {
	Mode        Mode
	End         format.End // as written; of a recording in several files with the sums of all
	Files       int        // how many there are
	Last        io.Writer  // the one with END
	Elapsed     time.Duration
	Bytes       int64
	Kept        error // what Confine could not give up, nil if nothing
	CommandExit int   // exit status of Command, 128 + signal if one ended it; -1 without a command
}

// ErrNotBegun is the error of Record where its context ends before anything is recorded.
var ErrNotBegun = errors.New("interrupted before the recording began")

// PhaseStopping is what Options.Phase is called with when the recording ends.
const PhaseStopping = "stopping"

// phase tells what is done now.
func (o *Options) phase(what string) {
	if o.Phase != nil {
		o.Phase(what)
	}
}

// EnvError says that this machine or these privileges can't record.
type EnvError struct {
	Cause string // one line: what is in the way
	Hint  string // one line: what to do about it
}

func (e *EnvError) Error() string { return e.Cause }

// EndedError as the cause of the context of Record says why the recording ends, in order: END has both.
type EndedError struct{ Reason, Detail string }

func (e *EndedError) Error() string { return e.Detail }

// OutputError as the cause of the context of Record (context.WithCancelCause) says that the recording
// ends because its output is lost. END then gives it as an error, and Record returns it.
type OutputError struct{ Err error }

func (e *OutputError) Error() string { return e.Err.Error() }

func (e *OutputError) Unwrap() error { return e.Err }
