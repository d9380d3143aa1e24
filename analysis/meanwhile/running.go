package meanwhile

// This file finds the function in which a thread spent its time on a CPU.

import (
	"slices"
)

// sampled is what samples of a thread say.
type sampled struct {
	at      string // the functions that most samples have in common, innermost first
	stack   []Frame
	in, all uint64 // samples that have them, and all
}

// running gives what was sampled, by thread.
func (c *Collector) running(w *watch) map[uint32]sampled {
	by := map[uint32]sampled{}
	for _, x := range w.OnCPU {
		s := sampled{all: uint64(x.Samples)}
		type counted struct {
			stack []Frame // outermost first, without what started the thread
			n     uint64
		}
		var list []counted
		for _, y := range x.Stacks {
			stack := trim(c.stackOf(y.Stack), "")
			slices.Reverse(stack)
			list = append(list, counted{stack, uint64(y.N)})
		}
		// From the outermost function on, the one below that half of the samples or more have.
		for depth := 0; ; depth++ {
			counts := map[Frame]uint64{}
			var most Frame
			for _, y := range list {
				if len(y.stack) > depth {
					f := y.stack[depth]
					if counts[f] += y.n; counts[f] > counts[most] {
						most = f
					}
				}
			}
			if counts[most] == 0 || 2*counts[most] < s.all {
				break
			}
			s.stack, s.in = append(s.stack, most), counts[most]
			list = slices.DeleteFunc(list, func(y counted) bool { return len(y.stack) <= depth || y.stack[depth] != most })
		}
		slices.Reverse(s.stack)
		s.at = placeOf(s.stack, true, "")
		by[x.TID] = s
	}
	return by
}

// count adds the samples of a thread in a watch, once.
func (p *Place) count(watch, tid uint32, s *sampled) {
	if s.all == 0 || p.counted[[2]uint32{watch, tid}] {
		return
	}
	if p.counted == nil {
		p.counted = map[[2]uint32]bool{}
	}
	p.counted[[2]uint32{watch, tid}] = true
	p.Samples, p.SamplesIn = p.Samples+s.all, p.SamplesIn+s.in
}
