package analysis

import (
	"fmt"
	"slices"
	"testing"

	"github.com/acc-project/acc/analysis/stats"
	"github.com/acc-project/acc/format"
)

// The length of a queue stays what it was until the next event, from the snapshot at
// the start to the one at the end; where not all that changes it is recorded, it is
// the least that it was.
func TestQueueOverTime(t *testing.T) {
	for _, c := range []struct {
		name       string
		start, end uint32 // in the snapshots
		blind      bool
		make       func(m *maker)
		want       []uint64 // a second each
	}{
		{"carried on", 0, 1, false, func(m *maker) { m.script("q1 q2 w3500 e5 a5.1 w2000") }, []uint64{2, 2, 2, 2, 1, 1}},
		{"from the start", 5, 5, false, func(m *maker) {
			m.queue, m.limit = 5, 4
			m.script("w2500")
			m.drop(9, format.HookConnRequest, 0)
			m.script("w1000")
		}, []uint64{5, 5, 5, 5}},
		{"empty in between", 0, 0, false, func(m *maker) { m.script("q1 e5 a5.1 w3000 q2 e5 a5.2 w2000") }, []uint64{1, 0, 0, 1, 0, 0}},
		{"lost with the listener", 0, 0, false, func(m *maker) {
			m.script("q1 w2500")
			m.queue = 0
			m.script("f1 w2000")
		}, []uint64{1, 1, 1, 0, 0}},
		{"without accepts", 0, 1, true, func(m *maker) {
			m.script("q1 q2 q3 w2500")
			m.queue = 1
			m.script("q4 w2000")
		}, []uint64{3, 1, 2, 1, 1}},
	} {
		m := newMaker(t, true)
		start := m.listening()
		c.make(m)
		start.Snapshots[0].Listeners[0].BacklogMax, start.Snapshots[0].Listeners[0].Backlog = m.limit, c.start
		final := m.listening().Snapshots[0]
		final.Final, final.BootNS, final.Listeners[0].Backlog = true, m.ns, c.end
		h := &format.Header{Probes: []format.Probe{{Hook: format.HookSetState, Kind: format.Closed}}}
		if c.blind {
			h.Filters = []string{"--events lifecycle"}
		}
		m.batch.End = m.end()
		a := New(h, Options{})
		for _, b := range []*format.Batch{start, &m.batch, {Snapshots: []format.Snapshot{final}}} {
			if err := a.Add(b, false); err != nil {
				t.Fatal(err)
			}
		}
		r, err := a.Finish(Completeness{})
		if err != nil {
			t.Fatal(err)
		}
		x := r.Listeners[0].Timeline
		got := append(x.Queue, make([]uint64, max(len(c.want)-len(x.Queue), 0))...)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		wide := stats.NewSeries(0, x.DepthNS, 1<<20)
		wide.Peak, wide.Counts = true, slices.Clone(x.Depth)
		for wide.WidthNS < x.BucketNS {
			wide.Halve()
		}
		if len(x.Depth) > 512 || x.DepthNS > 16e6 || fmt.Sprint(slices.Max(wide.Counts)) != fmt.Sprint(slices.Max(c.want)) {
			t.Errorf("%s: %d buckets of %d ns, %v", c.name, len(x.Depth), x.DepthNS, wide.Counts)
		}
	}
}
