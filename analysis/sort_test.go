package analysis

import (
	"fmt"
	"testing"

	"github.com/acc-project/acc/analysis/listeners"
)

// The tables are in the order that is asked for before they are cut.
func TestSort(t *testing.T) {
	m := newMaker(t, true)
	for i, fails := range []int{1, 5, 3} {
		m.inode, m.addr = uint64(i+10), fmt.Sprintf("0.0.0.0:%d", 8000+i)
		for range fails {
			m.enter(5)
			m.fails(5, 24)
		}
	}
	for sort, want := range map[listeners.Sort]string{listeners.SortFailed: "0.0.0.0:8001", listeners.SortName: "0.0.0.0:8000"} {
		if _, r := m.analyze(Options{Top: 1, Sort: sort}); len(r.Listeners) != 1 || r.Listeners[0].Addr != want || r.Others.Listeners != 2 {
			t.Errorf("%s: %+v", sort, r.Listeners)
		}
	}
}
