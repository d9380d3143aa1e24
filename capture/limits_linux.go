//go:build amd64 || arm64

package capture

// This file keeps the recorder within the bounds that it was given (Options.MaxCPU, Options.MaxMemory).

import (
	"cmp"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/bpf"
	"github.com/acc-project/acc/format"
)

const (
	measureEvery = time.Second
	measureOver  = 5                // measures: CPU time is the mean over so many
	calmFor      = 30 * time.Second // under half of the bounds, until what was left out is recorded again
)

// The steps of leaving out.
const (
	shedNothing = iota
	shedLife
	shedFailures // and the life of connections
)

// shedSays is what each step leaves out, in words.
var shedSays = [...]string{
	"everything is recorded again",
	"the life of connections is not recorded any more: its events are counted as lost",
	"failed calls are counted instead of recorded, too; accepted connections are recorded all the same",
}

// budget is what the recorder may take, and what it does.
type budget struct {
	step     int
	measured time.Time
	cpu      [measureOver + 1]sample // the newest last
	full     int
	calm     time.Time // since when it takes less than half; zero: it does not
	changed  time.Time
	said     bool // that nothing more can be left out
	why      string
}

type sample struct {
	at  time.Time
	cpu time.Duration
}

// limited reports whether there are bounds.
func (o *Options) limited() bool { return o.MaxCPU > 0 || o.MaxMemory > 0 }

// startBudget has Go's memory stay below the bound, if it can.
func (s *session) startBudget() {
	if s.o.MaxMemory > 0 {
		debug.SetMemoryLimit(s.o.MaxMemory - s.o.MaxMemory/4)
	}
}

// keepBudget measures what the recorder takes, and leaves out more of what happens, or less.
func (s *session) keepBudget(now time.Time) error {
	b := &s.budget
	if !s.o.limited() || now.Sub(b.measured) < measureEvery {
		return nil
	}
	b.measured = now
	share, memory := b.measure(now)
	over, half := "", true
	if s.o.MaxCPU > 0 && b.full > measureOver {
		half = share < s.o.MaxCPU/2
		if share > s.o.MaxCPU {
			over = fmt.Sprintf("acc used %.1f %% of a CPU, more than --max-cpu %g%%", 100*share, 100*s.o.MaxCPU)
		}
	}
	if s.o.MaxMemory > 0 {
		half = half && memory < s.o.MaxMemory-s.o.MaxMemory/8 // what was taken once is not all given back
		if memory > s.o.MaxMemory {
			over = fmt.Sprintf("acc used %d MiB of memory, more than --max-memory %d MiB", memory>>20, s.o.MaxMemory>>20)
			debug.FreeOSMemory()
		}
	}
	switch {
	case over != "":
		b.calm = time.Time{}
		if now.Sub(b.changed) < measureOver*measureEvery { // the last step does not show yet
			return nil
		}
		if b.step == shedFailures {
			if !b.said {
				b.said = true
				return s.say(over + ": there is nothing more that acc leaves out")
			}
			return nil
		}
		return s.shed(b.step+1, over, now)
	case !half || b.step == shedNothing:
		b.calm = time.Time{}
	case b.calm.IsZero():
		b.calm = now
	case now.Sub(b.calm) >= cmp.Or(s.o.calm, calmFor):
		b.calm = time.Time{}
		return s.shed(b.step-1, "acc uses less again", now)
	}
	return nil
}

// measure gives the part of a CPU that this process used, and its memory.
func (b *budget) measure(now time.Time) (share float64, memory int64) {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) == nil {
		copy(b.cpu[:], b.cpu[1:])
		b.cpu[measureOver] = sample{now, time.Duration(u.Utime.Nano() + u.Stime.Nano())}
		b.full++
	}
	first, last := b.cpu[0], b.cpu[measureOver]
	if d := last.at.Sub(first.at); b.full > measureOver && d > 0 {
		share = float64(last.cpu-first.cpu) / float64(d)
	}
	statm, _ := os.ReadFile("/proc/self/statm")
	if f := strings.Fields(string(statm)); len(f) > 1 {
		pages, _ := strconv.ParseInt(f[1], 10, 64)
		memory = pages * int64(os.Getpagesize())
	}
	return share, memory
}

// shed goes to a step.
func (s *session) shed(step int, why string, now time.Time) error {
	b, v := &s.budget, s.a.collection.Variables
	bits, until := uint32(0), uint64(bootNS())
	if step >= shedLife {
		bits |= uint32(bpf.AccShedSHED_LIFE)
		s.queues.stop()
	}
	if step >= shedFailures {
		bits, until = bits|uint32(bpf.AccShedSHED_FAILURES), ^uint64(0)
	}
	if err := v["shedding"].Set(bits); err != nil {
		return fmt.Errorf("leave out what costs too much: %w", err)
	}
	if step >= shedFailures || b.step >= shedFailures {
		if err := v["guard_until"].Set(until); err != nil {
			return fmt.Errorf("leave out what costs too much: %w", err)
		}
	}
	says := shedSays[step]
	switch {
	case step == shedLife && b.step > step:
		says = "failed calls are recorded again; the life of connections is not"
	case step == shedNothing && s.o.causes():
		says = "all events are recorded again; what servers do while clients wait is not looked at any more"
	}
	b.step, b.changed, b.said, b.why = step, now, false, says
	return s.say(why + ": " + says)
}

// say tells the caller, and everyone who reads the capture.
func (s *session) say(text string) error {
	if s.o.Warn != nil {
		s.o.Warn(text)
	}
	return s.writer.Mark(format.Mark{BootNS: bootNS(), Text: text, UID: uint32(os.Getuid())})
}

// sayAgain says in another file what is left out.
func (s *session) sayAgain() error {
	if s.budget.step == shedNothing {
		return nil
	}
	return s.writer.Mark(format.Mark{BootNS: bootNS(), Text: "still: " + s.budget.why, UID: uint32(os.Getuid())})
}
