package looks

// This file has the goroutines of watched Go programs looked at.

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/acc-project/acc/capture/stacks"
	"github.com/acc-project/acc/format"
)

const (
	goEvery   = time.Second            // between two looks at goroutines, at first,
	goMost    = 16 * time.Second       // and then at longer intervals up to this
	goFor     = 300 * time.Millisecond // one look takes at most
	maxGroups = 32                     // recorded of one program
)

// goroutinesOf has the goroutines of a process looked at, if it is a Go program.
func (f *finder) goroutinesOf(pid uint32) {
	f.do(func() {
		if err := f.lookAtGoroutines(pid); err != nil && !errors.Is(err, stacks.ErrNotGo) && !gone(err) {
			f.can(pid, fmt.Sprintf("goroutines of %d: %s", pid, reason(err)))
		}
	})
}

func (f *finder) lookAtGoroutines(pid uint32) error {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return err
	}
	p, _ := f.process(pid)
	if p == nil {
		return nil
	}
	b := newBudget(findFor)
	open := f.opener(pid, p, b)
	i := slices.IndexFunc(p.maps, func(m stacks.Mapping) bool { return p.files[m.Num].path == exe })
	if i < 0 {
		return stacks.ErrNotGo
	}
	m := p.maps[i]
	file := open(m.Num)
	if file == nil {
		return nil // what is in the way is noted
	}
	if file.GoVersion() != "" {
		f.mu.Lock()
		if len(f.isGo) >= maxPrograms {
			clear(f.isGo)
		}
		known := f.isGo[pid]
		f.isGo[pid] = true
		f.mu.Unlock()
		if !known { // its other threads are to be looked at, and the next look can be far
			f.wake()
		}
	}
	base, ok := file.Addr(m.Off)
	if !ok {
		base, ok = file.Addr(m.Off + 0xfff) // the first page is not all code
		base -= 0xfff
	}
	if !ok {
		return stacks.ErrNotGo
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return err
	}
	defer mem.Close()
	until := time.Now().Add(goFor)
	late := func() bool { return time.Now().After(until) || b.spent() }
	list, total, err := stacks.Goroutines(mem, p.maps, open, file, m.From-base, late)
	if err != nil {
		return err
	}
	out := format.Goroutines{PID: pid, AtNS: bootNS(), Total: uint32(min(total, 1<<31)), Groups: []format.GoroutineGroup{}}
	for _, w := range list {
		num := int32(-1)
		if len(out.Groups) < maxGroups {
			num = f.name(pid, p, w.Stack)
		}
		if num <= 0 {
			out.MoreGroups++
			continue
		}
		out.Groups = append(out.Groups, format.GoroutineGroup{Wait: w.Reason, Stack: uint32(num), N: uint32(w.N), Looks: 1})
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.gos) >= maxPrograms {
		clear(f.gos) // most are of processes that are gone; the others are looked at again
	}
	f.gos[pid] = &out
	return nil
}

// addGoroutines adds a look to those before it.
func addGoroutines(sum, now format.Goroutines) format.Goroutines {
	now.Groups, now.Looks = slices.Clone(now.Groups), sum.Looks+1
	for _, g := range sum.Groups {
		same := func(h format.GoroutineGroup) bool { return h.Stack == g.Stack && h.Wait == g.Wait }
		if i := slices.IndexFunc(now.Groups, same); i >= 0 {
			h := &now.Groups[i]
			h.N, h.Looks = max(h.N, g.N), g.Looks+1
		} else if len(now.Groups) < maxGroups {
			now.Groups = append(now.Groups, g)
		} else {
			now.MoreGroups++
		}
	}
	return now
}

// findGoroutines has the goroutines of the watched programs looked at, at longer and longer intervals.
func (w *watch) findGoroutines(nowNS int64) {
	if w.stacks == nil || nowNS < w.goNS {
		return
	}
	w.goPause = min(max(2*w.goPause, goEvery), goMost)
	w.goNS = nowNS + int64(w.goPause)
	clear(w.beside)
	asked := map[uint32]bool{}
	for _, t := range w.threads {
		if !t.ended && !asked[t.PID] && len(asked) < 4 {
			asked[t.PID] = true
			w.stacks.goroutinesOf(t.PID)
		}
	}
}

// followBeside begins to look at the other threads of Go programs, among which Go moves the goroutine that accepts; and
// anew whenever goroutines are looked at, as there may be more.
func (w *watch) followBeside(nowNS int64) {
	if w.stacks == nil || w.Owners {
		return
	}
	for _, t := range slices.Clone(w.threads) {
		if t.ended || w.beside[t.PID] || !w.stacks.goProgram(t.PID) {
			continue
		}
		if w.beside == nil {
			w.beside = map[uint32]bool{}
		}
		w.beside[t.PID] = true
		for tid := range numbersIn(fmt.Sprintf("/proc/%d/task", t.PID)) {
			if len(w.threads) >= maxThreads {
				break
			}
			if !w.follows(tid) {
				w.follow(format.WatchedThread{PID: t.PID, TID: tid, Beside: true}, nowNS)
			}
		}
	}
}

// goProgram reports whether a process is known to be a Go program.
func (f *finder) goProgram(pid uint32) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.isGo[pid]
}

// noteGoroutines notes what was found of the watched programs.
func (w *watch) noteGoroutines() {
	for _, t := range w.threads {
		w.stacks.mu.Lock()
		now := w.stacks.gos[t.PID]
		w.stacks.mu.Unlock()
		i := slices.IndexFunc(w.Goroutines, func(g format.Goroutines) bool { return g.PID == t.PID })
		switch {
		case now == nil || now.AtNS < w.FromNS:
		case i < 0:
			w.Goroutines, w.again = append(w.Goroutines, addGoroutines(format.Goroutines{}, *now)), true
		case now.AtNS > w.Goroutines[i].AtNS:
			w.Goroutines[i], w.again = addGoroutines(w.Goroutines[i], *now), true
		}
	}
}

// recordStacks has the stacks recorded that the watch refers to, if it is to be recorded.
func (w *watch) recordStacks(write func(any)) {
	if !w.again {
		return
	}
	for _, g := range w.Goroutines {
		for _, x := range g.Groups {
			w.stacks.record(x.Stack, write)
		}
	}
	for _, c := range w.OnCPU {
		for _, x := range c.Stacks {
			w.stacks.record(x.Stack, write)
		}
	}
}
