package pairing

// This file keeps what is known of each thread in accept.

import "github.com/acc-project/acc/format"

// maxIdle bounds the threads without an open attempt that are remembered, and
// maxHeld those of which more than the entry is.
const (
	maxIdle = 1 << 16
	maxHeld = 1 << 14
)

// Entry is what is kept of an entry until its return comes: a part of
// format.Event, because a million of them may be open.
type Entry struct {
	Seq        uint64
	NS         int64
	inode      uint64
	comm       string
	pid, uid   uint32
	proc       uint32
	netns      uint32
	taskNetNS  uint32
	flags      uint32
	backlog    uint32
	backlogMax uint32
	SockFD     int32
	family     format.Family
	via        format.Via
}

func (n *Entry) set(e *format.Event) {
	*n = Entry{
		Seq: e.Seq, NS: e.BootNS, inode: e.Listener, comm: e.Comm, pid: e.PID, uid: e.UID, proc: e.Proc, netns: e.NetNS,
		taskNetNS: e.TaskNetNS,
		flags:     e.Flags, backlog: e.Backlog, backlogMax: e.BacklogMax, SockFD: e.SockFD, family: e.Family,
		via: e.Via,
	}
}

// extra is what few threads need: a pair or an event that waits for the thread's next event.
type extra struct {
	held  bool // pair was interrupted: the next event tells what became of it
	pair  Pair
	noted bool // facts is an event of do_accept: the next event tells whether a call's
	facts format.Event
}

// Task is what is known of one thread.
type Task struct {
	TID        uint32
	attempt    uint32 // number of the open attempt in its call
	Skips      uint32 // of pairs, when the thread's last event came
	Open       bool   // entry is an attempt whose return has not come
	known      bool   // an event of this thread came before
	Entry      Entry
	extra      *extra // nil: nothing waits
	prev, next *Task  // in the list of idle tasks
	Place      any    // what whoever follows the threads keeps with this one; pairs of it have it, too
}

func (t *Task) held() bool  { return t.extra != nil && t.extra.held }
func (t *Task) noted() bool { return t.extra != nil && t.extra.noted }

// Tasks holds the threads by id. Those without an open attempt stand in a list,
// longest idle first, and are forgotten when they are many: every operation takes
// the same time, whatever order hostile input comes in.
type Tasks struct {
	index  map[uint32]*Task
	max    int
	last   *Task // of the event before
	idle   Task  // head of the list
	idles  int
	free   []*Task
	block  []Task // not yet used
	forget func(*Task) error
	Forgot bool // some thread was forgotten, or not followed
}

// NewTasks makes an empty one for at most max threads; forget is called with each that is forgotten.
func NewTasks(max int, forget func(*Task) error) *Tasks {
	ts := &Tasks{index: map[uint32]*Task{}, max: max, forget: forget}
	ts.idle.prev, ts.idle.next = &ts.idle, &ts.idle
	return ts
}

// Get gives a thread's task, out of the list of idle ones; nil if there are too many.
func (ts *Tasks) Get(tid uint32) (*Task, error) {
	if t := ts.last; t != nil && t.TID == tid {
		ts.unlink(t)
		return t, nil
	}
	t := ts.index[tid]
	if t == nil {
		if len(ts.index) >= ts.max || ts.idles >= maxIdle {
			if ts.idles == 0 {
				ts.Forgot = true
				return nil, nil
			}
			if err := ts.drop(ts.idle.next); err != nil {
				return nil, err
			}
		}
		t = ts.alloc()
		t.TID = tid
		ts.index[tid] = t
	}
	ts.unlink(t)
	ts.last = t
	return t, nil
}

// Put takes a task back after its event.
func (ts *Tasks) Put(t *Task) {
	if t.Open {
		return
	}
	t.prev, t.next = ts.idle.prev, &ts.idle
	t.prev.next, t.next.prev = t, t
	ts.idles++
}

func (ts *Tasks) unlink(t *Task) {
	if t.next == nil {
		return
	}
	t.prev.next, t.next.prev = t.next, t.prev
	t.prev, t.next = nil, nil
	ts.idles--
}

func (ts *Tasks) drop(t *Task) error {
	ts.unlink(t)
	ts.Forgot = true
	err := ts.forget(t)
	delete(ts.index, t.TID)
	if ts.last == t {
		ts.last = nil
	}
	*t = Task{}
	ts.free = append(ts.free, t)
	return err
}

func (ts *Tasks) alloc() *Task {
	if n := len(ts.free); n > 0 {
		t := ts.free[n-1]
		ts.free = ts.free[:n-1]
		return t
	}
	if len(ts.block) == 0 {
		ts.block = make([]Task, 256)
	}
	t := &ts.block[0]
	ts.block = ts.block[1:]
	return t
}
