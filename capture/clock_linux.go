package capture

// This file reads the kernel's clocks.

import (
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

// clockNS reads a clock. It never waits, so Go's scheduler is not told of the call: after a sleep, that wakes sysmon.
func clockNS(id int32) (int64, error) {
	var ts unix.Timespec
	_, _, errno := unix.RawSyscall(unix.SYS_CLOCK_GETTIME, uintptr(id), uintptr(unsafe.Pointer(&ts)), 0)
	if errno != 0 {
		return 0, fmt.Errorf("read clock %d: %w", id, errno)
	}
	return ts.Nano(), nil
}

// stepNS is by how much the wall clock must have moved against the boot clock to
// have been set. Slewing moves it by 5 ms in ten seconds at most (500 ppm).
const stepNS = int64(100 * time.Millisecond)

// stepped reports whether the wall clock was set since a clock pair was read.
func stepped(since format.Clock) bool {
	real, err := clockNS(unix.CLOCK_REALTIME)
	moved := real - since.RealNS - (bootNS() - since.BootNS)
	return err == nil && (moved >= stepNS || moved <= -stepNS)
}

// noteStep records a clock pair when the wall clock was set, in front of the events
// that are taken from now on.
func (s *session) noteStep() error {
	if !stepped(s.clock) {
		return nil
	}
	if err := s.writer.Flush(); err != nil {
		return err
	}
	clock, err := readClock()
	if err != nil {
		return err
	}
	s.clock = clock
	return s.writer.Clock(clock)
}

func bootNS() int64 {
	ns, _ := clockNS(unix.CLOCK_BOOTTIME) // present since 2.6.39; the first readClock reports what is wrong
	return ns
}

// readClock reads all clocks between two readings of the boot clock and takes
// the middle of the narrowest of a few attempts.
func readClock() (format.Clock, error) {
	best := format.Clock{ErrNS: 1 << 62}
	for range 5 {
		before, err := clockNS(unix.CLOCK_BOOTTIME)
		if err != nil {
			return best, err
		}
		mono, err := clockNS(unix.CLOCK_MONOTONIC)
		if err != nil {
			return best, err
		}
		real, err := clockNS(unix.CLOCK_REALTIME)
		if err != nil {
			return best, err
		}
		after, err := clockNS(unix.CLOCK_BOOTTIME)
		if err != nil {
			return best, err
		}
		if half := (after - before + 1) / 2; half < best.ErrNS {
			best = format.Clock{BootNS: before + half, MonoNS: mono, RealNS: real, ErrNS: half}
		}
	}
	best.Keeping, best.OffsetNS, best.MaxErrNS, best.EstErrNS = keeping()
	return best, nil
}

// keeping asks the kernel how well the wall clock is kept, adjtimex(2).
func keeping() (k format.Keeping, offsetNS, maxNS, estNS int64) {
	const unsynchronised, nano = 0x40, 0x2000 // STA_UNSYNC, STA_NANO
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return format.KeepingUnknown, 0, 0, 0
	}
	offsetNS = t.Offset
	if t.Status&nano == 0 {
		offsetNS *= 1000
	}
	if k = format.KeepingSynced; state == unix.TIME_ERROR || t.Status&unsynchronised != 0 {
		k = format.KeepingFree
	}
	return k, offsetNS, t.Maxerror * 1000, t.Esterror * 1000
}
