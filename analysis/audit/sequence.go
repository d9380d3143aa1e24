package audit

// This file checks the numbers of events: each hit of a probe on a CPU has the next one.

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/format"
)

// numbers checks that each number of a probe on a CPU is there once, or lost, or one of
// the recorder's own hits.
type numbers struct {
	beganNS int64       // of the header: all of the recorder's own hits were before
	near    [][]*number // of the first CPUs, by place
	far     map[hitOn]*number
	gaps    int // that are kept, of all
	again   []hitAgain
	doubled uint64 // events with a number that another one has
	without uint64 // that have none
	unsure  uint64 // of which it could not be found out whether another one has it
	full    bool   // there were too many CPUs to look at all
	back    uint64 // events whose time goes back, on their CPU and of their hook
	backOne hitAgain
	backBy  int64
}

// A number is what is known of those of a hook and kind on a CPU.
type number struct {
	count  uint64   // events
	most   uint64   // the largest
	gaps   []absent // below most, the lowest first: which did not come
	forgot uint64   // gaps up to here are not kept

	// A hit takes its number before its time, and may be preempted between them: only
	// when settling events came from behind the recording's begin are all numbers above
	// theirs certain to be from behind it, too.
	settling int
	newestNS int64
	own      uint64 // numbers up to here may be of the recorder's own hits
	behind   uint64 // events with larger ones, from when own was known
}

// absent is a run of numbers that did not come.
type absent struct{ first, last uint64 }

type hitOn struct {
	cpu  uint32
	hook format.Hook
	kind format.Kind
}

// hitAgain is an event whose number another one before it has.
type hitAgain struct {
	seq, number uint64
	on          hitOn
}

const (
	nearCPUs   = 1 << 8
	hooks      = 32
	maxFar     = 1 << 16
	maxGaps    = 1 << 12 // of a hook and kind on a CPU
	maxAllGaps = 1 << 20
	maxAgain   = 5
	settled    = 16
)

func (s *numbers) add(e *format.Event) {
	if e.Hook >= hooks || e.Kind >= format.NumKinds {
		return // not known
	}
	n := s.of(hitOn{e.CPU, e.Hook, e.Kind})
	if n == nil {
		s.full = true
		return
	}
	n.count++
	switch {
	case n.count == 1 || e.BootNS > n.newestNS:
		n.newestNS = e.BootNS
	case e.BootNS < n.newestNS-backNS:
		if s.back++; s.back == 1 {
			s.backOne, s.backBy = hitAgain{e.Seq, e.CPUSeq, hitOn{e.CPU, e.Hook, e.Kind}}, n.newestNS-e.BootNS
		}
	}
	switch {
	case e.CPUSeq > n.most:
		if e.CPUSeq > n.most+1 {
			s.gap(n, absent{n.most + 1, e.CPUSeq - 1})
		}
		n.most = e.CPUSeq
	case e.CPUSeq == 0:
		s.without++
	case s.fill(n, e.CPUSeq):
	case e.CPUSeq <= n.forgot:
		s.unsure++
	default:
		if s.doubled++; len(s.again) < maxAgain {
			s.again = append(s.again, hitAgain{e.Seq, e.CPUSeq, hitOn{e.CPU, e.Hook, e.Kind}})
		}
	}
	switch {
	case n.settling < settled:
		if e.BootNS > s.beganNS {
			n.settling++
		}
		n.own = n.most
	case e.CPUSeq > n.own:
		n.behind++
	}
}

// goOn begins behind the numbers that hits took before this file.
func (s *numbers) goOn(list []format.Numbers) {
	for i := range list {
		x := &list[i]
		if x.Hook >= hooks || x.Kind >= format.NumKinds {
			continue
		}
		n := s.of(hitOn{x.CPU, x.Hook, x.Kind})
		if n == nil {
			s.full = true
			return
		}
		n.most, n.own, n.settling = x.Last, x.Last, settled
		n.count = x.Last - min(x.Last, x.Opened())
		for _, r := range x.Open {
			s.gap(n, absent{r.First, r.Last})
		}
	}
}

// of gives what is known of a hook and kind on a CPU; nil if there are too many.
func (s *numbers) of(on hitOn) *number {
	if on.cpu < nearCPUs {
		if s.near == nil {
			s.near = make([][]*number, nearCPUs)
		}
		if s.near[on.cpu] == nil {
			s.near[on.cpu] = make([]*number, hooks*format.NumKinds)
		}
		n := &s.near[on.cpu][placeIn(on.hook, on.kind)]
		if *n == nil {
			*n = &number{}
		}
		return *n
	}
	n := s.far[on]
	if n == nil && len(s.far) < maxFar {
		if s.far == nil {
			s.far = map[hitOn]*number{}
		}
		n = &number{}
		s.far[on] = n
	}
	return n
}

func placeIn(hook format.Hook, kind format.Kind) int { return int(hook)*format.NumKinds + int(kind) }

// gap notes numbers that did not come. The oldest are forgotten when they are many.
func (s *numbers) gap(n *number, g absent) {
	if drop := len(n.gaps) / 2; drop > 0 && (len(n.gaps) >= maxGaps || s.gaps >= maxAllGaps) {
		n.forgot = n.gaps[drop-1].last
		n.gaps = slices.Delete(n.gaps, 0, drop)
		s.gaps -= drop
	}
	if s.gaps >= maxAllGaps {
		s.gaps -= len(n.gaps)
		n.gaps, n.forgot = nil, g.last
		return
	}
	n.gaps = append(n.gaps, g)
	s.gaps++
}

// fill takes a number that came late out of the gaps; false if it is in none.
func (s *numbers) fill(n *number, number uint64) bool {
	i, _ := slices.BinarySearchFunc(n.gaps, number, func(g absent, number uint64) int {
		if g.last < number {
			return -1
		}
		return 1
	})
	if i == len(n.gaps) || number < n.gaps[i].first {
		return false
	}
	switch g := &n.gaps[i]; {
	case g.first == g.last:
		n.gaps = slices.Delete(n.gaps, i, i+1)
		s.gaps--
	case number == g.first:
		g.first++
	case number == g.last:
		g.last--
	default:
		left := absent{g.first, number - 1}
		g.first = number + 1
		if len(n.gaps) >= maxGaps || s.gaps >= maxAllGaps {
			n.forgot = left.last
			n.gaps = slices.Delete(n.gaps, 0, i)
			s.gaps -= i
			break
		}
		n.gaps = slices.Insert(n.gaps, i, left)
		s.gaps++
	}
	return true
}

// missing adds up, over the CPUs, the numbers below the largest one that no event of p
// has. behind gives, by CPU, how many of them the recorder's own hits can't have.
func (s *numbers) missing(p counted) (missing uint64, behind map[uint32]uint64) {
	if p.hook >= hooks || p.kind >= format.NumKinds {
		return 0, nil
	}
	behind = map[uint32]uint64{}
	one := func(cpu uint32, n *number) {
		missing = sum(missing, n.most-min(n.most, n.count))
		if above := n.most - n.own; above > n.behind {
			behind[cpu] = above - n.behind
		}
	}
	for cpu, of := range s.near {
		if of == nil {
			continue
		}
		if n := of[placeIn(p.hook, p.kind)]; n != nil {
			one(uint32(cpu), n)
		}
	}
	for on, n := range s.far {
		if on.hook == p.hook && on.kind == p.kind {
			one(on.cpu, n)
		}
	}
	return missing, behind
}

// sum adds up; what is too much is the most that there is.
func sum(a, b uint64) uint64 {
	if a > math.MaxUint64-b {
		return math.MaxUint64
	}
	return a + b
}

// backwards says that times go back.
func (s *numbers) backwards() string {
	a := &s.backOne
	text := fmt.Sprintf("event %d, %s of %s on CPU %d, is of %v before one that came earlier there", a.seq, a.on.kind,
		a.on.hook, a.on.cpu, time.Duration(s.backBy))
	if s.back > 1 {
		text += fmt.Sprintf("; %s in all", humanize.Plural(s.back, "event"))
	}
	return text
}

// twice says which events have a number that another one has, a sentence each.
func (s *numbers) twice() (list []string) {
	for _, a := range s.again {
		list = append(list, fmt.Sprintf("event %d has number %d of %s of %s on CPU %d, which an event before it has: "+
			"one is a copy",
			a.seq, a.number, a.on.kind, a.on.hook, a.on.cpu))
	}
	if more := s.doubled - uint64(len(s.again)); more > 0 {
		list = append(list, humanize.Plural(more, "more event")+" with the number of an earlier one")
	}
	return list
}
