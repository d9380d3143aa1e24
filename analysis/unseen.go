package analysis

import (
	"github.com/acc-project/acc/analysis/pairing"
	"github.com/acc-project/acc/format"
)

// This file tells of returns of accept that no probe saw and nobody counted. When another tracer
// is attached to a function, or removed, the kernel replaces the trampoline of that function, and
// programs on its return are not run any more for the calls that wait in it (bpf_tramp_image_put).

// inAccept is who sat in accept shortly before the end, while returns were still recorded.
type inAccept struct {
	known bool
	ns    int64 // when the recorder began to look
	tasks map[uint32]bool
}

// take notes the list of the end; a capture can have several parts of it.
func (in *inAccept) take(s *format.Snapshot) {
	if !s.BlockedKnown && len(s.Blocked) == 0 {
		return
	}
	if in.tasks == nil {
		in.tasks = map[uint32]bool{}
	}
	in.known, in.ns = s.BlockedKnown, s.BootNS
	for _, b := range s.Blocked {
		in.tasks[b.TID] = true
	}
}

// left reports whether a task that began an attempt before was no longer in accept then. A task that
// was on a CPU at that moment is not in the list either.
func (in *inAccept) left(tid uint32, enterNS int64) bool {
	return in.known && enterNS < in.ns && !in.tasks[tid]
}

// unseenReturns is how many returns were missed without being counted: the next entry of
// the task says that its return had not been seen.
func (a *Analyzer) unseenReturns(g *gaps) uint64 {
	return max(a.unpaired[pairing.WhyMissed], g.missedOut) - g.missedOut
}
