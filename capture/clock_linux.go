package capture

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

func clockNS(id int32) (int64, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(id, &ts); err != nil {
		return 0, fmt.Errorf("read clock %d: %w", id, err)
	}
	return ts.Nano(), nil
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
	return best, nil
}
