package meanwhile

import (
	"slices"
	"testing"

	"github.com/acc-project/acc/format"
)

const ms = int64(1e6)

// Blame is the time that clients waited while a thread did something: by hand, of three clients.
func TestBlame(t *testing.T) {
	var c Collector
	at := Key{1, 10}
	for _, w := range [][2]int64{{0, 1000}, {200, 1000}, {500, 1000}} { // 1, 2, then 3 wait: 2,300 in all
		c.Wait(at, w[0]*ms, w[1]*ms)
	}
	c.Wait(Key{1, 11}, 0, 5000*ms) // at another listener
	c.Batch(&format.Batch{
		Watches: []format.Watch{{Num: 1, NetNS: 1, Listener: 10, FromNS: 100 * ms, Looks: 3,
			Threads: []format.WatchedThread{{PID: 5, TID: 5, Comm: "srv"}}}},
		Doings: []format.Doing{
			{Watch: 1, Row: 1, TID: 5, FromNS: 100 * ms, ToNS: 500 * ms, NS: 400 * ms, State: format.DoingDisk, Call: "fsync",
				Kind: format.TargetFile, Target: "/j"},
			{Watch: 1, Row: 2, TID: 5, FromNS: 500 * ms, ToNS: 700 * ms, NS: 100 * ms, State: format.DoingCPU},
		},
	})
	c.Batch(&format.Batch{ // the second row grew
		Watches: []format.Watch{{Num: 1, NetNS: 1, Listener: 10, FromNS: 100 * ms, ToNS: 1000 * ms, Looks: 18,
			Threads: []format.WatchedThread{{PID: 5, TID: 5, Comm: "srv"}}}},
		Doings: []format.Doing{
			{Watch: 1, Row: 2, TID: 5, FromNS: 500 * ms, ToNS: 900 * ms, NS: 200 * ms, State: format.DoingCPU},
		},
	})
	list := c.Results()
	if len(list) != 1 || list[0].Looks != 18 || list[0].ToNS != 1000*ms || list[0].WaitsNS != 2300*ms {
		t.Fatalf("%+v", list)
	}
	s := list[0]
	// fsync: 100 ms with one client and 300 with two; the CPU: half of 400 ms with three.
	blames := []int64{}
	for _, p := range s.Places {
		blames = append(blames, p.BlameNS/ms)
	}
	if !slices.Equal(blames, []int64{700, 600}) || s.Places[0].Did.Kind != Disk || s.Places[1].Did.Kind != OnCPU ||
		s.UnseenNS != 1000*ms {
		t.Errorf("%+v", s)
	}
}

// Of several acceptors each is blamed for its part; who holds a lock is not.
func TestBlameShared(t *testing.T) {
	var c Collector
	c.Wait(Key{1, 10}, 0, 1000*ms)
	row := func(n, tid uint32, call string) format.Doing {
		return format.Doing{Watch: 1, Row: n, TID: tid, ToNS: 1000 * ms, NS: 1000 * ms, State: format.DoingAsleep, Call: call}
	}
	c.Batch(&format.Batch{
		Watches: []format.Watch{{Num: 1, NetNS: 1, Listener: 10, ToNS: 1000 * ms, Threads: []format.WatchedThread{
			{TID: 5}, {TID: 6}, {TID: 7, Holder: true}}}},
		Doings: []format.Doing{row(1, 5, "nanosleep"), row(2, 6, "nanosleep"), row(3, 7, "nanosleep")},
	})
	s := c.Results()[0]
	if len(s.Places) != 2 || s.Places[0].BlameNS != 1000*ms || len(s.Places[0].TIDs) != 2 || !s.Places[1].Did.Holder ||
		s.Places[1].BlameNS != 0 || s.UnseenNS != 0 {
		t.Errorf("%+v", s)
	}
}

// A watch whose own record is missing says nothing; hostile numbers don't crash.
func TestDamaged(t *testing.T) {
	var c Collector
	c.Wait(Key{}, 5, 1)
	c.Batch(&format.Batch{Doings: []format.Doing{{Watch: 7, Row: 1, FromNS: 1 << 62, ToNS: -1 << 62, NS: -1}}})
	if list := c.Results(); len(list) != 0 {
		t.Errorf("%+v", list)
	}
	c.Batch(&format.Batch{Watches: []format.Watch{{Num: 7, FromNS: 1 << 62, ToNS: -5, Threads: []format.WatchedThread{{}}}}})
	if list := c.Results(); len(list) != 1 || list[0].UnseenNS < 0 {
		t.Errorf("%+v", list)
	}
}

func TestKind(t *testing.T) {
	for _, c := range []struct {
		d         format.Doing
		throttled bool
		kind      Kind
		words     string
	}{
		{format.Doing{State: "cpu"}, false, OnCPU, "on a CPU"},
		{format.Doing{State: "runnable"}, false, NoCPU, "ready to run, and others had the CPUs"},
		{format.Doing{State: "runnable"}, true, Throttled, "ready to run, and the CPU quota of its cgroup was used up"},
		{format.Doing{State: "asleep", Call: "write", Kind: "pipe", Target: "/l"}, false, FullPipe,
			"in write to the pipe /l, which was full"},
		{format.Doing{State: "asleep", Call: "read", Kind: "pipe", Target: "pipe:[5]"}, false, EmptyPipe,
			"in read from the pipe pipe:[5], which was empty"},
		{format.Doing{State: "asleep", Call: "recvfrom", Kind: "socket", Target: "192.0.2.1:5432"}, false, Peer,
			"in recvfrom from 192.0.2.1:5432"},
		{format.Doing{State: "asleep", Call: "sendto", Kind: "socket", Target: "192.0.2.1:514"}, false, SlowPeer,
			"in sendto to 192.0.2.1:514, from which nobody read"},
		{format.Doing{State: "asleep", Call: "read", Kind: "client", Target: "192.0.2.1:40000"}, false, Client,
			"in read from its client 192.0.2.1:40000"},
		{format.Doing{State: "disk", Call: "fsync", Kind: "file", Target: "/a b"}, false, Disk,
			`in fsync of the file "/a b"`},
		{format.Doing{State: "disk", Call: "openat"}, false, Disk, "in openat"},
		{format.Doing{State: "asleep", Call: "futex", Owner: 5}, false, Lock,
			"in futex: a lock that another thread held"},
		{format.Doing{State: "asleep", Call: "futex"}, false, Idle, "in futex"},
		{format.Doing{State: "asleep", Call: "epoll_wait", Among: "armed"}, false, Idle,
			"in epoll_wait, though the listener was among what it waited for"},
		{format.Doing{State: "asleep", Call: "epoll_wait", Among: "absent"}, false, NotAsked,
			"in epoll_wait, and the listener was not among what it waited for"},
		{format.Doing{State: "asleep", Call: "clock_nanosleep"}, false, Sleep,
			"in clock_nanosleep, for a time that the program chose"},
		{format.Doing{State: "asleep", Call: "accept4", Kind: "socket"}, false, InAccept, "in accept4 itself"},
		{format.Doing{State: "asleep", Call: "syscall 999"}, false, OtherCall, "in syscall 999"},
		{format.Doing{State: "asleep", Call: "write", Kind: "pipe", Target: "\x1b[2J"}, false, FullPipe,
			`in write to the pipe \x1b[2J, which was full`},
		{format.Doing{State: "unseen"}, false, NotVisible, "asleep, and where is not known"},
	} {
		w := whereOf(&c.d, c.throttled)
		if got := w.Words(); w.Kind != c.kind || got != c.words {
			t.Errorf("%+v: %s, %q; want %s, %q", c.d, w.Kind, got, c.kind, c.words)
		}
	}
}
