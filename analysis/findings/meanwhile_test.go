package findings

import (
	"testing"

	"github.com/acc-project/acc/analysis/meanwhile"
	"github.com/acc-project/acc/format"
)

// All threads of a Go program that accept are one acceptor: Go moves its goroutine from one to another.
func TestThreadsOfGo(t *testing.T) {
	accepts := func(pid, tid uint32) format.WatchedThread {
		return format.WatchedThread{PID: pid, TID: tid, Comm: "srv"}
	}
	beside := accepts(5, 9)
	beside.Beside = true
	for _, c := range []struct {
		threads []format.WatchedThread
		tids    []uint32
		want    string
	}{
		{[]format.WatchedThread{accepts(5, 5), accepts(5, 6), accepts(5, 7), beside}, []uint32{5, 6, 7},
			"thread srv[5] was, with other threads to which Go moved its goroutine,"},
		{[]format.WatchedThread{accepts(5, 5), accepts(5, 6), beside}, []uint32{6}, "thread srv[6] was"},
		{[]format.WatchedThread{accepts(5, 5), beside}, []uint32{5, 9},
			"thread srv[5] was, with other threads to which Go moved its goroutine,"},
		{[]format.WatchedThread{accepts(5, 5), accepts(5, 6), accepts(5, 7)}, []uint32{5, 6},
			"2 of 3 threads, like srv[5], were"},
		{[]format.WatchedThread{accepts(5, 5), beside, accepts(8, 8)}, []uint32{5, 8}, "2 of 2 threads, like srv[5], were"},
	} {
		l := Listener{Seen: &meanwhile.Seen{Threads: c.threads}}
		p := meanwhile.Place{TIDs: c.tids}
		if got := l.threads(&p) + " " + l.wasOrWere(&p); got != c.want {
			t.Errorf("%v of %v: %q, want %q", c.tids, c.threads, got, c.want)
		}
	}
}
