package meanwhile

// This file works out which part of what a thread did is what the accepting one did: Go moves a goroutine from thread to
// thread.

import (
	"cmp"
	"maps"
	"slices"

	"github.com/acc-project/acc/format"
)

// row is what a thread did, as it counts.
type row struct {
	*format.Doing
	did     Where
	sampled sampled
	share   float64 // of its time, what the accepting thread did; of a Go program, the goroutine
}

// rowsOf are the rows of a watch, by number.
func (c *Collector) rowsOf(w *watch) []row {
	threads := map[uint32]format.WatchedThread{}
	for _, t := range w.Threads {
		threads[t.TID] = t
	}
	throttled := slices.ContainsFunc(w.Groups, func(g format.WatchedGroup) bool { return g.Throttled > 0 })
	running := c.running(w)
	own := map[uint32][]string{} // where threads were that accept, by process
	for tid, x := range running {
		if t := threads[tid]; x.at != "" && !t.Beside && !t.Holder {
			own[t.PID] = append(own[t.PID], x.at)
		}
	}
	for i := range w.Goroutines {
		g := &w.Goroutines[i]
		if at := w.onlyPlace(running, g.PID); len(own[g.PID]) == 0 && w.allRun(g) && at != "" {
			own[g.PID] = []string{at} // the one that accepts runs, and only there does one
		}
	}
	var list []row
	var programs []uint32 // that have threads beside
	for _, num := range slices.Sorted(maps.Keys(w.rows)) {
		d := w.rows[num]
		t := threads[d.TID]
		x := row{Doing: d, did: whereOf(d, throttled), share: 1}
		if x.did.Kind == OnCPU {
			x.sampled = running[d.TID]
			x.did.At = x.sampled.at
		} else {
			x.did.At = placeOf(c.stackOf(d.Stack), c.whole(d.Stack), d.Call)
		}
		x.did.Holder = t.Holder
		if t.Beside {
			if !slices.Contains(programs, t.PID) {
				programs = append(programs, t.PID)
			}
			// The goroutine that accepts is there if the thread runs what an accepting one ran.
			x.did.Beside = !slices.Contains(own[t.PID], running[d.TID].at) || idle(x.did.Kind)
		}
		if x.did.Holder || x.did.Beside {
			x.share = 0
		}
		list = append(list, x)
	}
	for _, pid := range programs {
		var of []*row
		for i := range list {
			if x := &list[i]; x.share > 0 && threads[x.TID].PID == pid {
				of = append(of, x)
			}
		}
		divide(of)
	}
	return list
}

// onlyPlace is where threads of a Go program ran that were not seen to accept, if all that is known is one place; else "".
func (w *watch) onlyPlace(running map[uint32]sampled, pid uint32) (at string) {
	for _, t := range w.Threads {
		switch x := running[t.TID].at; {
		case t.PID != pid || !t.Beside || x == "" || x == at:
		case at != "":
			return ""
		default:
			at = x
		}
	}
	return at
}

// allRun reports whether a Go program's goroutines were looked at, none of them waited, and no thread of it waited in a
// system call of a goroutine's own: the goroutine that accepts can be there.
func (w *watch) allRun(g *format.Goroutines) bool {
	if g.Looks == 0 || g.Total == 0 || len(g.Groups) > 0 || g.MoreGroups > 0 {
		return false
	}
	for _, d := range w.rows {
		of := func(t format.WatchedThread) bool { return t.TID == d.TID && t.PID == g.PID }
		if d.Call != "" && !idle(kindOf(d, false)) && slices.ContainsFunc(w.Threads, of) {
			return false
		}
	}
	return true
}

// idle reports whether a thread of a Go program that does so has nothing to do.
func idle(k Kind) bool { return k == Idle || k == Sleep || k == NotVisible }

// divide gives the rows of one program their shares: at no time more is counted than what the threads did that have
// something to do, and where there are such, not the time of those that have not.
func divide(rows []*row) {
	var times []int64
	for _, x := range rows {
		times = append(times, x.FromNS, x.ToNS)
	}
	slices.Sort(times)
	times = slices.Compact(times)
	slices.SortFunc(rows, func(a, b *row) int { return cmp.Compare(a.FromNS, b.FromNS) })
	counts := make([]float64, len(rows)) // ns
	first := 0
	for i := 1; i < len(times); i++ {
		from, to := times[i-1], times[i]
		busy, calm := 0.0, 0.0
		each := func(add func(k int, part float64)) {
			for k := first; k < len(rows) && rows[k].FromNS <= from; k++ {
				if x := rows[k]; x.ToNS >= to {
					add(k, min(float64(x.NS)/float64(x.ToNS-x.FromNS), 1))
				}
			}
		}
		each(func(k int, part float64) {
			if idle(rows[k].did.Kind) {
				calm += part
			} else {
				busy += part
			}
		})
		rest := max(1-busy, 0)
		each(func(k int, part float64) {
			if idle(rows[k].did.Kind) {
				part *= min(rest/calm, 1)
			} else {
				part /= max(busy, 1)
			}
			counts[k] += part * float64(to-from)
		})
		for first < len(rows) && rows[first].ToNS <= to {
			first++
		}
	}
	for k, x := range rows {
		if x.NS > 0 {
			x.share = min(counts[k]/float64(x.NS), 1)
		}
	}
}

// accepting is how many threads of a watch accept; of a Go program with threads beside, what all do is that of one.
func (w *watch) accepting() (n int64) { return accepting(w.Threads) }

func accepting(list []format.WatchedThread) (n int64) {
	var programs []uint32
	for _, t := range list {
		if t.Beside && !slices.Contains(programs, t.PID) {
			programs = append(programs, t.PID)
		}
	}
	for _, t := range list {
		if !t.Holder && !t.Beside && !slices.Contains(programs, t.PID) {
			n++
		}
	}
	return n + int64(len(programs))
}
