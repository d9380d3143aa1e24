package analysis

import "github.com/acc-project/acc/format"

// maxIdle bounds the threads without an open attempt that are remembered, and
// maxHeld those of which more than the entry is.
const (
	maxIdle = 1 << 16
	maxHeld = 1 << 14
)

// entry is what is kept of an entry until its return comes: a part of
// format.Event, because a million of them may be open.
type entry struct {
	seq        uint64
	ns         int64
	inode      uint64
	comm       string
	pid, uid   uint32
	proc       uint32
	netns      uint32
	taskNetNS  uint32
	flags      uint32
	backlog    uint32
	backlogMax uint32
	sockfd     int32
	family     format.Family
	via        format.Via
}

func (n *entry) set(e *format.Event) {
	*n = entry{
		seq: e.Seq, ns: e.BootNS, inode: e.Listener, comm: e.Comm, pid: e.PID, uid: e.UID, proc: e.Proc, netns: e.NetNS, taskNetNS: e.TaskNetNS,
		flags: e.Flags, backlog: e.Backlog, backlogMax: e.BacklogMax, sockfd: e.SockFD, family: e.Family, via: e.Via,
	}
}

// extra is what few threads need: a pair or an event that waits for the thread's next event.
type extra struct {
	held  bool // pair was interrupted: the next event tells what became of it
	pair  Pair
	noted bool // facts is an event of do_accept: the next event tells whether a call's
	facts format.Event
}

// task is what is known of one thread.
type task struct {
	tid        uint32
	attempt    uint32 // number of the open attempt in its call
	skips      uint32 // of pairs, when the thread's last event came
	open       bool   // entry is an attempt whose return has not come
	known      bool   // an event of this thread came before
	entry      entry
	extra      *extra // nil: nothing waits
	prev, next *task  // in the list of idle tasks
	listener   *listener
	process    *process
	share      *share // of process in listener; nil: not found yet, or there is none
}

func (t *task) held() bool  { return t.extra != nil && t.extra.held }
func (t *task) noted() bool { return t.extra != nil && t.extra.noted }

// tasks holds the threads by id. Those without an open attempt stand in a list,
// longest idle first, and are forgotten when they are many: every operation takes
// the same time, whatever order hostile input comes in.
type tasks struct {
	index  map[uint32]*task
	max    int
	last   *task // of the event before
	idle   task  // head of the list
	idles  int
	free   []*task
	block  []task // not yet used
	forget func(*task) error
	forgot bool // some thread was forgotten, or not followed
}

func newTasks(max int, forget func(*task) error) *tasks {
	ts := &tasks{index: map[uint32]*task{}, max: max, forget: forget}
	ts.idle.prev, ts.idle.next = &ts.idle, &ts.idle
	return ts
}

// get gives a thread's task, out of the list of idle ones; nil if there are too many.
func (ts *tasks) get(tid uint32) (*task, error) {
	if t := ts.last; t != nil && t.tid == tid {
		ts.unlink(t)
		return t, nil
	}
	t := ts.index[tid]
	if t == nil {
		if len(ts.index) >= ts.max || ts.idles >= maxIdle {
			if ts.idles == 0 {
				ts.forgot = true
				return nil, nil
			}
			if err := ts.drop(ts.idle.next); err != nil {
				return nil, err
			}
		}
		t = ts.alloc()
		t.tid = tid
		ts.index[tid] = t
	}
	ts.unlink(t)
	ts.last = t
	return t, nil
}

// put takes a task back after its event.
func (ts *tasks) put(t *task) {
	if t.open {
		return
	}
	t.prev, t.next = ts.idle.prev, &ts.idle
	t.prev.next, t.next.prev = t, t
	ts.idles++
}

func (ts *tasks) unlink(t *task) {
	if t.next == nil {
		return
	}
	t.prev.next, t.next.prev = t.next, t.prev
	t.prev, t.next = nil, nil
	ts.idles--
}

func (ts *tasks) drop(t *task) error {
	ts.unlink(t)
	ts.forgot = true
	err := ts.forget(t)
	delete(ts.index, t.tid)
	if ts.last == t {
		ts.last = nil
	}
	*t = task{}
	ts.free = append(ts.free, t)
	return err
}

func (ts *tasks) alloc() *task {
	if n := len(ts.free); n > 0 {
		t := ts.free[n-1]
		ts.free = ts.free[:n-1]
		return t
	}
	if len(ts.block) == 0 {
		ts.block = make([]task, 256)
	}
	t := &ts.block[0]
	ts.block = ts.block[1:]
	return t
}
