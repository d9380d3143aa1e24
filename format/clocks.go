package format

// This file places boot times by the nearest clock pair.

import (
	"slices"
	"time"
)

// maxPairs bounds the clock pairs that are kept: those of half a month.
const maxPairs = 1 << 17

// Clocks are the clock pairs of a capture, as far as it was read. An event's wall clock time
// is by the newest pair that is not later than the event, else by the header's; docs/FORMAT.md has
// the rule. Everything that acc prints of a time is by At. It is for one goroutine.
type Clocks struct {
	pairs []Clock // the header's, then later ones in order of time
	last  int     // the pair that At gave last
}

// NewClocks begins with the header's pair, which need not be known.
func NewClocks(header Clock) *Clocks { return &Clocks{pairs: []Clock{header}} }

// Add takes the pairs of the next batch. One that is earlier than another before it in the
// capture, which no recorder writes, does not count.
func (c *Clocks) Add(pairs []Clock) {
	for _, p := range pairs {
		if n := len(c.pairs); p.Known() && (n == 1 || p.BootNS >= c.pairs[n-1].BootNS) {
			c.pairs = append(c.pairs, p)
		}
	}
	if len(c.pairs) > maxPairs { // every second one of the older half goes
		kept := c.pairs[:1]
		for i := 2; i < len(c.pairs); i++ {
			if i%2 == 0 || i > maxPairs/2 {
				kept = append(kept, c.pairs[i])
			}
		}
		c.pairs = kept
	}
}

// At is the pair that places a boot time on the wall clock.
func (c *Clocks) At(bootNS int64) Clock {
	return c.pairs[c.at(bootNS)]
}

// at is the number of that pair: mostly the one that it was before.
func (c *Clocks) at(bootNS int64) int {
	if n := c.last; n > 0 && n < len(c.pairs)-1 && c.pairs[n].BootNS <= bootNS && bootNS < c.pairs[n+1].BootNS {
		return n
	}
	last := len(c.pairs) - 1
	if last == 0 || c.pairs[last].BootNS <= bootNS {
		return last
	}
	n, _ := slices.BinarySearchFunc(c.pairs[1:], bootNS, func(p Clock, ns int64) int {
		if p.BootNS <= ns {
			return -1
		}
		return 1
	})
	c.last = n
	return n
}

// Wall is when a boot time was, in nanoseconds since 1970; false: that is not known.
func (c *Clocks) Wall(bootNS int64) (unixNS int64, known bool) {
	p := &c.pairs[c.at(bootNS)]
	return p.RealNS + (bootNS - p.BootNS), p.Known()
}

// All are the pairs that are kept but for the header's, the earliest first.
func (c *Clocks) All() []Clock { return c.pairs[1:] }

// From is the first boot time of which the wall clock says that it was at t or later.
func (c *Clocks) From(t time.Time) int64 {
	for i, p := range c.pairs {
		boot := bootAt(p, t)
		if i > 0 {
			boot = max(boot, p.BootNS)
		}
		if i == len(c.pairs)-1 || boot < c.pairs[i+1].BootNS {
			return boot
		}
	}
	return 0 // there is always the header's
}

// Until is the last boot time of which the wall clock says that it was at t or earlier.
func (c *Clocks) Until(t time.Time) int64 {
	for i := len(c.pairs) - 1; i > 0; i-- {
		boot := bootAt(c.pairs[i], t)
		if i < len(c.pairs)-1 {
			boot = min(boot, c.pairs[i+1].BootNS-1)
		}
		if boot >= c.pairs[i].BootNS {
			return boot
		}
	}
	boot := bootAt(c.pairs[0], t)
	if len(c.pairs) > 1 {
		boot = min(boot, c.pairs[1].BootNS-1)
	}
	return boot
}

// bootAt is when a wall clock that goes on from a pair comes to a time.
func bootAt(p Clock, t time.Time) int64 { return p.BootNS + int64(t.Sub(time.Unix(0, p.RealNS))) }

// Known reports whether a boot time has a place on the wall clock.
func (c *Clocks) Known(bootNS int64) bool { return c.At(bootNS).Known() }

// Time is when a boot time was; the clock must be known.
func (c *Clocks) Time(bootNS int64) time.Time { return c.At(bootNS).Time(bootNS) }

// AppendMoment is Clock.AppendMoment by the pair of the time.
func (c *Clocks) AppendMoment(dst []byte, bootNS int64, zone *time.Location, layout string) []byte {
	return c.At(bootNS).AppendMoment(dst, bootNS, zone, layout)
}

// skew is how fast the error of a synchronised clock can grow, as the kernel reckons it: 500 µs a second.
const skew = 2000

// Within is by how much the wall time of a boot time can be wrong at most, by a pair that places it: what adjtimex(2)
// gave then, and how far it may have gone wrong since. False: the clock was not synchronised, or that is not known.
func (c Clock) Within(bootNS int64) (time.Duration, bool) {
	if !c.Known() || c.Keeping != KeepingSynced {
		return 0, false
	}
	since := uint64(bootNS - c.BootNS)
	if bootNS < c.BootNS {
		since = uint64(c.BootNS - bootNS)
	}
	within := uint64(max(c.MaxErrNS, 0)) + uint64(max(c.ErrNS, 0)) + since/skew
	return time.Duration(min(within, 1<<61)), true
}
