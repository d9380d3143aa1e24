package meanwhile

// This file sums up what goroutines waited for.

import (
	"cmp"
	"slices"
	"strings"

	"github.com/acc-project/acc/format"
)

// maxGroups is how many places of goroutines are listed of one program.
const maxGroups = 32

// addGoroutines adds what a watch found of goroutines.
func (c *Collector) addGoroutines(s *Seen, w *watch) {
	for _, g := range w.Watch.Goroutines {
		i := slices.IndexFunc(s.Goroutines, func(x Goroutines) bool { return x.PID == g.PID })
		if i < 0 {
			if !c.lists(len(s.Goroutines), 0) {
				continue
			}
			i = len(s.Goroutines)
			s.Goroutines = append(s.Goroutines, Goroutines{PID: g.PID, Groups: []GoroutineGroup{}})
		}
		x := &s.Goroutines[i]
		x.Looks += uint64(g.Looks)
		x.Total = max(x.Total, g.Total)
		x.partly = x.partly || g.MoreGroups > 0 || g.Total == 0 || g.Total > format.MaxGoroutines
		for _, group := range g.Groups {
			stack := c.stackOf(group.Stack)
			x.partly = x.partly || !named(stack)
			at := placeOf(stack, c.whole(group.Stack), "")
			if at == "" { // one of Go's own
				continue
			}
			k := slices.IndexFunc(x.Groups, func(y GoroutineGroup) bool { return y.Wait == group.Wait && y.At == at })
			if k < 0 {
				if !c.takes(minPlace + len(at) + len(group.Wait)) {
					x.partly = true
					continue
				}
				x.Groups = append(x.Groups, GoroutineGroup{Wait: group.Wait, At: at, Stack: c.listed(stack)})
				k = len(x.Groups) - 1
			}
			y := &x.Groups[k]
			y.N, y.Looks = max(y.N, group.N), y.Looks+uint64(group.Looks)
		}
		slices.SortStableFunc(x.Groups, func(a, b GoroutineGroup) int {
			return cmp.Or(cmp.Compare(b.Looks, a.Looks), cmp.Compare(rank(a.Wait), rank(b.Wait)), cmp.Compare(b.N, a.N),
				cmp.Compare(a.At, b.At))
		})
		x.partly = x.partly || len(x.Groups) > maxGroups
		x.Groups = x.Groups[:min(len(x.Groups), maxGroups)]
	}
}

// named reports whether a goroutine's stack has the names of functions, not pseudonyms: one that waits is in Go's
// runtime.
func named(stack []Frame) bool {
	return slices.ContainsFunc(stack, func(f Frame) bool { return strings.HasPrefix(f.Func, "runtime.") })
}

// ranks order the reasons: locks first, which one goroutine alone keeps from others.
var ranks = []string{"sync.Mutex.Lock", "sync.RWMutex.Lock", "sync.RWMutex.RLock", "semacquire", "sync.Cond.Wait",
	"sync.WaitGroup.Wait", "chan send", "IO wait", "chan receive", "select", "sleep"}

func rank(wait string) int {
	if i := slices.Index(ranks, wait); i >= 0 {
		return i
	}
	return len(ranks)
}

// NoneAccepts reports whether all goroutines were looked at and none of them waited in accept: that which accepts is
// elsewhere, or has ended.
func (g *Goroutines) NoneAccepts() bool {
	return g.Looks > 0 && !g.partly && !slices.ContainsFunc(g.Groups, func(x GoroutineGroup) bool {
		return len(x.Stack) == 0 || slices.ContainsFunc(x.Stack, func(f Frame) bool {
			return strings.HasSuffix(strings.ToLower(f.Func), ".accept")
		})
	})
}
