//go:build amd64 || arm64

package capture

// This file adds up what recording costs.

import (
	"cmp"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

// cost is what this process and its programs took by now.
func (a *attached) cost() *format.Cost {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return nil
	}
	c := &format.Cost{CPUNS: u.Utime.Nano() + u.Stime.Nano(), PeakBytes: u.Maxrss << 10}
	for name, p := range a.collection.Programs {
		if stats, err := p.Stats(); err == nil && stats.RunCount > 0 {
			c.Programs = append(
				c.Programs,
				format.ProgramCost{Name: name, Runs: stats.RunCount, NS: int64(stats.Runtime)},
			)
		}
	}
	slices.SortFunc(
		c.Programs,
		func(x, y format.ProgramCost) int { return cmp.Or(cmp.Compare(y.NS, x.NS), cmp.Compare(x.Name, y.Name)) },
	)
	return c
}
