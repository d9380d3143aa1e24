package export

// This file has what all formats have in common.

import (
	"time"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/filter"
	"github.com/acc-project/acc/analysis/pairing"
	"github.com/acc-project/acc/format"
)

// Sink writes one or several captures in one format. It is for one goroutine, and does not keep its arguments. After
// an error only Close may be called.
type Sink interface {
	Begin(s *Source) error                    // a capture begins
	Connection(c *conntrack.Connection) error // has ended, or the capture has; nil: none is wanted
	Attempt(p *pairing.Pair) error            // is over, or the capture is
	// the capture has ended; r is nil of one that could not be read, which does not begin
	End(s *Source, r *analysis.Result) error
	Close() error                        // all captures have ended
	Wants() (connections, attempts bool) // what it is to be given
}

// Source is a capture that is exported.
type Source struct {
	File   string         // its name
	Header *format.Header // nil if it could not be read
	Env    *filter.Env    // its clocks and processes
	End    *format.End    // set when it has ended, nil if END is missing
	Failed string         // what is wrong with it, "" if nothing is; set when it has ended

	Clock Clock

	connections, attempts uint64 // that were exported
	silent                int64  // connections without an event so far
}

// Clock is what a capture's clock pairs say of its wall clock.
type Clock struct {
	Keeping   format.Keeping // free if any pair says so
	MaxErrNS  int64          // by how much it was wrong at most, the largest; 0: not known
	StepNS    int64          // the largest change between two pairs against the boot clock
	Steps     int            // changes of more than a second
	offsetNS  int64
	something bool
}

// clockStep is a change of the wall clock that nobody slews.
const clockStep = int64(time.Second)

// Add takes the clock pairs of a batch, and that of END.
func (c *Clock) Add(pairs ...format.Clock) {
	for _, p := range pairs {
		if !p.Known() {
			continue
		}
		if p.Keeping == format.KeepingFree || c.Keeping == format.KeepingUnknown {
			c.Keeping = p.Keeping
		}
		c.MaxErrNS = max(c.MaxErrNS, p.MaxErrNS)
		offset := p.RealNS - p.BootNS
		if c.something {
			by := max(offset-c.offsetNS, c.offsetNS-offset)
			c.StepNS = max(c.StepNS, by)
			if by > clockStep {
				c.Steps++
			}
		}
		c.offsetNS, c.something = offset, true
	}
}

// ID is the capture's id, "" if it is lost.
func (s *Source) ID() string {
	if s.Header == nil {
		return ""
	}
	return s.Header.ID
}

// Host is the name of the host that was recorded, "" if it is not known.
func (s *Source) Host() string {
	if s.Header == nil {
		return ""
	}
	return s.Header.Host
}

// Count takes each connection of the capture, also those that are not exported: some have no other number.
func (s *Source) Count(c *conntrack.Connection) {
	if c.ID == 0 {
		s.silent++
	}
}

// Exported is how many connections and attempts were exported.
func (s *Source) Exported() (connections, attempts uint64) { return s.connections, s.attempts }

// wall is when a boot time was, in Unix nanoseconds.
func (s *Source) wall(bootNS int64) (ns int64, known bool) {
	return s.Env.Clocks.Wall(bootNS)
}
