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
		{format.Doing{State: "asleep", Call: "wait4"}, false, Child, "in wait4, until one of its child processes ended"},
		{format.Doing{State: "asleep", Call: "clock_nanosleep"}, false, Sleep,
			"in clock_nanosleep, for a time that the program chose"},
		{format.Doing{State: "asleep", Call: "accept4", Kind: "socket"}, false, InAccept, "in accept4 itself"},
		{format.Doing{State: "asleep", Call: "syscall 999"}, false, OtherCall, "in syscall 999"},
		{format.Doing{State: "asleep", Call: "write", Kind: "pipe", Target: "\x1b[2J"}, false, FullPipe,
			`in write to the pipe \x1b[2J, which was full`},
		{format.Doing{State: "unseen"}, false, NotVisible, "asleep, and where is not known"},
		{format.Doing{State: "unseen", WChan: "do_epoll_wait"}, false, NotVisible,
			"asleep in the kernel's do_epoll_wait, and its system call is not known"},
		{format.Doing{State: "unseen", WChan: "anon_pipe_write"}, false, FullPipe,
			"asleep in the kernel's anon_pipe_write, a write to a pipe, which was full"},
		{format.Doing{State: "unseen", WChan: "pipe_read"}, false, EmptyPipe,
			"asleep in the kernel's pipe_read, a read from a pipe, which was empty"},
	} {
		w := whereOf(&c.d, c.throttled)
		if got := w.Words(); w.Kind != c.kind || got != c.words {
			t.Errorf("%+v: %s, %q; want %s, %q", c.d, w.Kind, got, c.kind, c.words)
		}
	}
}

// A place is written without what any program has at both ends, and says where it goes on.
func TestPlaceOf(t *testing.T) {
	f := func(image string, offset uint64, name string) Frame {
		return Frame{Image: image, Offset: offset, Func: name}
	}
	lib, srv := "/usr/lib/libc.so.6", "/usr/sbin/srv"
	start := []Frame{f(lib, 1, ""), f(lib, 2, "__libc_start_main"), f(srv, 9, "")}
	for _, c := range []struct {
		name  string
		stack []Frame
		whole bool
		call  string
		want  string
	}{
		{"C", append([]Frame{f(lib, 5, "write"), f(srv, 1, "access_log"), f(srv, 2, "handle"), f(srv, 3, "main")}, start...),
			true, "write", "access_log < handle < main"},
		{"stripped", append([]Frame{f(lib, 5, "fsync"), f(srv, 0x1617, ""), f(srv, 0x1886, "")}, start...), true, "fsync",
			"srv+0x1617 < srv+0x1886"},
		{"static", []Frame{f(srv, 5, "__libc_read"), f(srv, 1, "handle"), f(srv, 3, "main"), f(srv, 4, "__libc_start_call_main"),
			f(srv, 4, "_start")}, true, "read", "handle < main"},
		{"Go", []Frame{f(srv, 1, "internal/runtime/syscall/linux.Syscall6"), f(srv, 1, "syscall.write"),
			f(srv, 1, "internal/poll.(*FD).Write"), f(srv, 1, "os.(*File).Write"), f(srv, 1, "example.com/a/b/store.(*DB).Log"),
			f(srv, 1, "main.main"), f(srv, 1, "runtime.main"), f(srv, 1, "runtime.goexit")}, true, "write",
			"os.(*File).Write < store.(*DB).Log < main.main"},
		{"Python", []Frame{f(lib, 5, "recv"), f("/usr/bin/python3", 1, ""), f("/usr/bin/python3", 2, "_PyEval_EvalFrameDefault"),
			f("/usr/bin/python3", 3, "main")}, true, "recvfrom", "Python code"},
		{"a module of Python", []Frame{f(lib, 5, "recv"), f("/x/_psycopg.so", 1, "pq_read"), f("/usr/bin/python3", 1, ""),
			f("/usr/bin/python3", 2, "_PyEval_EvalFrameDefault")}, false, "recvfrom", "pq_read < Python code"},
		{"cut", []Frame{f(lib, 5, "write"), f(srv, 1, "a")}, false, "write", "a < …"},
		{"long", append([]Frame{f(srv, 1, "a"), f(srv, 1, "b"), f(srv, 1, "c"), f(srv, 1, "d"), f(srv, 1, "e"), f(srv, 1, "f"),
			f(srv, 1, "g")}, start...), true, "", "a < b < c < d < e < f < …"},
		{"names that steer", []Frame{f(srv, 1, "a\x1b[2J")}, true, "", `a\x1b[2J`},
		{"nothing", nil, false, "write", ""},
		{"the library alone", []Frame{f(lib, 5, "write")}, true, "write", ""},
	} {
		if got := placeOf(c.stack, c.whole, c.call); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// What the threads did while one client waited adds up to its wait: by hand, of two threads, of which one is seen for
// half of the time.
func TestDuring(t *testing.T) {
	var c Collector
	c.Batch(&format.Batch{
		Images:  []format.Image{{Num: 1, Path: "/srv"}},
		Stacks:  []format.Stack{{Num: 1, Whole: true, Frames: []format.StackFrame{{Image: 1, Offset: 7, Func: "log"}}}},
		Watches: []format.Watch{{Num: 1, NetNS: 1, Listener: 10, Threads: []format.WatchedThread{{TID: 5}, {TID: 6}}}},
		Doings: []format.Doing{
			{Watch: 1, Row: 1, TID: 5, FromNS: 0, ToNS: 1000, NS: 1000, State: format.DoingAsleep, Call: "fsync", Stack: 1},
			{Watch: 1, Row: 2, TID: 6, FromNS: 500, ToNS: 1500, NS: 500, State: format.DoingCPU},
		}})
	s := c.Results()[0]
	if p := s.Places[s.Rows[0].Place]; p.Did.At != "log" || len(p.Stack) != 1 || p.Stack[0] != (Frame{"/srv", "", 7, "log"}) {
		t.Errorf("%+v", p)
	}
	got := s.During(0, 1000) // of 2,000 of both: 1,000 in fsync, 250 on the CPU
	want := []Part{{s.Rows[0].Place, 500}, {NotSeen, 375}, {s.Rows[1].Place, 125}}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// What the recorder could not name is named by who can, by file and place.
func TestNames(t *testing.T) {
	c := Collector{Names: func(image *format.Image, offsets []uint64) (names []string) {
		for _, o := range offsets {
			names = append(names, map[uint64]string{7: "log"}[o]+image.BuildID)
		}
		return names
	}}
	c.Batch(&format.Batch{
		Images:  []format.Image{{Num: 1, Path: "/srv", BuildID: "!"}},
		Stacks:  []format.Stack{{Num: 1, Frames: []format.StackFrame{{Image: 1, Offset: 7}, {Image: 1, Offset: 8, Func: "main"}}}},
		Watches: []format.Watch{{Num: 1, NetNS: 1, Listener: 10, Threads: []format.WatchedThread{{TID: 5}}}},
		Doings:  []format.Doing{{Watch: 1, Row: 1, TID: 5, ToNS: 9, NS: 9, State: format.DoingAsleep, Call: "fsync", Stack: 1}}})
	if at := c.Results()[0].Places[0].Did.At; at != "log! < main < …" {
		t.Error(at)
	}
}

// Go moves the goroutine that accepts from thread 5 to thread 6, where it is known by what both ran; what thread 7 runs
// is something else's. By hand: it ran for 900 of the 1,000 ms that one client waited, and for 100 nothing did.
func TestMoved(t *testing.T) {
	stack := func(num, offset uint32, name string) format.Stack {
		return format.Stack{Num: num, Whole: true, Frames: []format.StackFrame{{Image: 1, Offset: uint64(offset), Func: name}}}
	}
	var c Collector
	c.Wait(Key{1, 10}, 0, 1000*ms)
	on := func(tid, stack uint32) format.OnCPU {
		return format.OnCPU{TID: tid, Samples: 10, Stacks: []format.StackCount{{Stack: stack, N: 10}}}
	}
	c.Batch(&format.Batch{
		Images: []format.Image{{Num: 1, Path: "/srv"}},
		Stacks: []format.Stack{stack(1, 7, "main.hash"), stack(2, 8, "main.compact")},
		Watches: []format.Watch{{Num: 1, NetNS: 1, Listener: 10, ToNS: 1000 * ms,
			OnCPU:   []format.OnCPU{on(5, 1), on(6, 1), on(7, 2)},
			Threads: []format.WatchedThread{{PID: 5, TID: 5}, {PID: 5, TID: 6, Beside: true}, {PID: 5, TID: 7, Beside: true}}}},
		Doings: []format.Doing{
			{Watch: 1, Row: 1, TID: 5, FromNS: 0, ToNS: 400 * ms, NS: 400 * ms, State: format.DoingCPU},
			{Watch: 1, Row: 2, TID: 5, FromNS: 400 * ms, ToNS: 1000 * ms, NS: 600 * ms, State: format.DoingAsleep, Call: "futex"},
			{Watch: 1, Row: 3, TID: 6, FromNS: 0, ToNS: 400 * ms, NS: 400 * ms, State: format.DoingAsleep, Call: "futex"},
			{Watch: 1, Row: 4, TID: 6, FromNS: 400 * ms, ToNS: 900 * ms, NS: 500 * ms, State: format.DoingCPU},
			{Watch: 1, Row: 5, TID: 7, FromNS: 0, ToNS: 1000 * ms, NS: 1000 * ms, State: format.DoingCPU},
		}})
	s := c.Results()[0]
	blame := map[string]int64{}
	for _, p := range s.Places {
		blame[p.Did.At+string(p.Did.Kind)] += p.BlameNS / ms
	}
	if s.Acceptors() != 1 || blame["main.hashcpu"] != 900 || blame["idle"] != 100 || blame["main.compactcpu"] != 0 ||
		s.UnseenNS != 0 {
		t.Errorf("%d acceptors, %v, not seen %d", s.Acceptors(), blame, s.UnseenNS)
	}
	if got := s.During(0, 1000*ms); len(got) != 2 || got[0].NS != 900*ms || got[1].NS != 100*ms {
		t.Errorf("%v", got)
	}
	if !s.Counts(6) || s.Counts(7) {
		t.Error("thread 6 has the goroutine, thread 7 has not")
	}
}

// No sample shows where the accepting thread ran before Go moved its goroutine. None of the program's goroutines waits, so
// it runs where the only thread that runs does. If one waits, is in a system call that waits, or may wait, or threads
// ran at two places, that is not known.
func TestMovedUnsampled(t *testing.T) {
	for _, x := range []struct {
		waiting, places int
		unnamed, total  uint32 // goroutines
		call            string
		want            int64
	}{
		{places: 1, total: 7, call: "futex", want: 900}, {waiting: 1, places: 1, total: 7, call: "futex"},
		{places: 2, total: 7, call: "futex"}, {places: 1, total: 7, call: "fsync"},
		{places: 1, total: 7, unnamed: 1, call: "futex"}, {places: 1, call: "futex"},
	} {
		var c Collector
		c.Wait(Key{1, 10}, 0, 1000*ms)
		w := format.Watch{Num: 1, NetNS: 1, Listener: 10, ToNS: 1000 * ms,
			Threads: []format.WatchedThread{{PID: 5, TID: 5}, {PID: 5, TID: 6, Beside: true},
				{PID: 5, TID: 7, Beside: true}},
			Goroutines: []format.Goroutines{{PID: 5, Looks: 2, Total: x.total, MoreGroups: x.unnamed,
				Groups: make([]format.GoroutineGroup, x.waiting)}}}
		b := &format.Batch{Images: []format.Image{{Num: 1, Path: "/srv"}}}
		for i := range x.places {
			num := uint32(i + 1)
			b.Stacks = append(b.Stacks, format.Stack{Num: num, Whole: true,
				Frames: []format.StackFrame{{Image: 1, Offset: uint64(num), Func: "main.hash" + string(rune('0'+i))}}})
			w.OnCPU = append(w.OnCPU, format.OnCPU{TID: 6 + uint32(i), Samples: 10, Stacks: []format.StackCount{{Stack: num, N: 10}}})
		}
		b.Watches = []format.Watch{w}
		b.Doings = []format.Doing{
			{Watch: 1, Row: 1, TID: 5, FromNS: 0, ToNS: 1000 * ms, NS: 1000 * ms, State: format.DoingAsleep, Call: x.call},
			{Watch: 1, Row: 2, TID: 6, FromNS: 0, ToNS: 900 * ms, NS: 900 * ms, State: format.DoingCPU},
			{Watch: 1, Row: 3, TID: 7, FromNS: 0, ToNS: 900 * ms, NS: 900 * ms, State: format.DoingCPU},
		}
		c.Batch(b)
		blame := int64(0)
		for _, p := range c.Results()[0].Places {
			if p.Did.Kind == OnCPU {
				blame += p.BlameNS / ms
			}
		}
		if blame != x.want {
			t.Errorf("%+v: on a CPU for %d ms", x, blame)
		}
	}
}

// That no goroutine is in Accept is said only if all that wait were seen, and by name.
func TestNoneAccepts(t *testing.T) {
	group := func(stack uint32) format.GoroutineGroup {
		return format.GoroutineGroup{Wait: "IO wait", Stack: stack, N: 1, Looks: 1}
	}
	stack := func(num uint32, in, by string) format.Stack {
		return format.Stack{Num: num, Whole: true, Frames: []format.StackFrame{{Image: 1, Offset: uint64(num), Func: in},
			{Image: 1, Offset: uint64(num), Func: by}}}
	}
	for _, x := range []struct {
		is    format.Goroutines
		wants bool
	}{
		{format.Goroutines{Total: 7, Groups: []format.GoroutineGroup{group(1)}}, true},
		{format.Goroutines{Total: 7, Groups: []format.GoroutineGroup{group(1), group(2)}}, false},
		{format.Goroutines{Total: 7, Groups: []format.GoroutineGroup{group(1)}, MoreGroups: 1}, false},
		{format.Goroutines{Total: 7, Groups: []format.GoroutineGroup{group(1), group(3)}}, false}, // its stack is missing
		{format.Goroutines{Total: 7, Groups: []format.GoroutineGroup{group(4)}}, false},           // redacted
		{format.Goroutines{Total: 10_001, Groups: []format.GoroutineGroup{group(1)}}, false},
		{format.Goroutines{Total: 0}, false}, // they could not be read
	} {
		x.is.PID, x.is.Looks = 5, 1
		var c Collector
		c.Batch(&format.Batch{
			Images: []format.Image{{Num: 1, Path: "/srv"}},
			Stacks: []format.Stack{stack(1, "runtime.gopark", "main.(*store).query"),
				stack(2, "runtime.gopark", "net.(*TCPListener).Accept"), stack(4, "function-1", "function-2")},
			Watches: []format.Watch{{Num: 1, NetNS: 1, Listener: 10, Threads: []format.WatchedThread{{PID: 5, TID: 5}},
				Goroutines: []format.Goroutines{x.is}}}})
		if g := c.Results()[0].Goroutines; len(g) != 1 || g[0].NoneAccepts() != x.wants {
			t.Errorf("%+v: %+v", x.is, g)
		}
	}
}
