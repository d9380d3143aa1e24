package format

// This file has the records of what servers did while clients waited for them.

// Watch tells that the recorder looked at the threads of a server, again and again, while clients waited in the accept
// queue of its listener. It is written when the looking begins and again when it ends; the later record of a number
// replaces the earlier. Where clients waited and there is none, nobody looked.
type Watch struct {
	Num      uint32 `msgpack:"num" json:"num"` // from 1
	NetNS    uint32 `msgpack:"netns" json:"netns"`
	Listener uint64 `msgpack:"listener" json:"listener"` // inode number
	FromNS   int64  `msgpack:"from_ns" json:"from_ns"`   // CLOCK_BOOTTIME of the first look
	ToNS     int64  `msgpack:"to_ns" json:"to_ns"`       // of the last one, 0: it goes on
	EveryNS  int64  `msgpack:"every_ns" json:"every_ns"` // between two looks; longest, if they were slowed down
	Looks    uint32 `msgpack:"looks" json:"looks"`

	Threads []WatchedThread `msgpack:"threads" json:"threads"`
	// further ones that accept there, or have it open, and were not looked at
	MoreThreads uint32 `msgpack:"more_threads,omitempty" json:"more_threads,omitempty"`
	// nobody is known to accept there, or who did has ended: the threads are those of processes that have the listener
	// open
	Owners bool `msgpack:"owners,omitempty" json:"owners,omitempty"`
	// threads that had accepted there and have ended, at most 8; with owners: all of them
	Ended []uint32 `msgpack:"ended,omitempty" json:"ended,omitempty"`
	// what could not be looked at, and why: a sentence each
	Cannot []string `msgpack:"cannot,omitempty" json:"cannot,omitempty"`
	// cgroups of the threads whose tasks had to wait, and those above them: for the CPU quota, or other resources
	Groups []WatchedGroup `msgpack:"groups,omitempty" json:"groups,omitempty"`
	// where in their programs threads were that ran
	OnCPU []OnCPU `msgpack:"on_cpu,omitempty" json:"on_cpu,omitempty"`
	// what the goroutines of those that are Go programs waited for
	Goroutines []Goroutines `msgpack:"goroutines,omitempty" json:"goroutines,omitempty"`
	// connections of these processes to others: something was sent, and no answer came
	Peers []SilentPeer `msgpack:"peers,omitempty" json:"peers,omitempty"`
}

// WatchedThread is a thread that was looked at.
type WatchedThread struct {
	PID  uint32 `msgpack:"pid" json:"pid"` // initial pid namespace, as in events
	TID  uint32 `msgpack:"tid" json:"tid"`
	Comm string `msgpack:"comm" json:"comm"`
	// it was looked at because it held a lock that another one waited for
	Holder bool `msgpack:"holder,omitempty" json:"holder,omitempty"`
	// it was not seen to accept, and is of a Go program in which one that does is: Go moves work between threads
	Beside bool `msgpack:"beside,omitempty" json:"beside,omitempty"`
}

// WatchedGroup is what a cgroup's tasks had to wait for while it was watched: the CPU quota by cpu.stat, the rest by
// its pressure files, of which a kernel may have none.
type WatchedGroup struct {
	Cgroup      string `msgpack:"cgroup" json:"cgroup"`             // its path
	Throttled   uint64 `msgpack:"throttled" json:"throttled"`       // periods in which the quota was used up
	ThrottledNS int64  `msgpack:"throttled_ns" json:"throttled_ns"` // for how long it did not run, of all CPUs
	// for how long some of its tasks waited for a CPU, by its pressure files
	CPUWaitNS int64 `msgpack:"cpu_wait_ns,omitempty" json:"cpu_wait_ns,omitempty"`
	// for memory
	MemoryWaitNS int64 `msgpack:"memory_wait_ns,omitempty" json:"memory_wait_ns,omitempty"`
	// for disks
	IOWaitNS int64 `msgpack:"io_wait_ns,omitempty" json:"io_wait_ns,omitempty"`
}

// OnCPU is where a thread was while it ran: it was interrupted 99 times a second.
type OnCPU struct {
	TID      uint32 `msgpack:"tid" json:"tid"`
	Samples  uint32 `msgpack:"samples" json:"samples"`
	InKernel uint32 `msgpack:"in_kernel" json:"in_kernel"` // of them; their stacks are those of the program's calls
	// that were not taken, or not read, for want of room
	Lost   uint32       `msgpack:"lost,omitempty" json:"lost,omitempty"`
	Stacks []StackCount `msgpack:"stacks" json:"stacks"` // the most frequent first; of a sample it may not be known
}

// StackCount is a stack, and how often it was found.
type StackCount struct {
	Stack uint32 `msgpack:"stack" json:"stack"` // its number
	N     uint32 `msgpack:"n" json:"n"`
}

// MaxGoroutines is how many goroutines of a program are looked at; of more, a part of them.
const MaxGoroutines = 10_000

// Goroutines are the waiting ones of a Go program.
type Goroutines struct {
	PID   uint32 `msgpack:"pid" json:"pid"`
	AtNS  int64  `msgpack:"at_ns" json:"at_ns"` // CLOCK_BOOTTIME of when they were looked at last
	Looks uint32 `msgpack:"looks" json:"looks"` // how often they were looked at
	Total uint32 `msgpack:"total" json:"total"` // how many there were then; of more than 10,000 a part was looked at
	// those that wait at one place together
	Groups []GoroutineGroup `msgpack:"groups" json:"groups"`
	// further ones that were not recorded
	MoreGroups uint32 `msgpack:"more_groups,omitempty" json:"more_groups,omitempty"`
}

// GoroutineGroup are goroutines that waited for the same reason at the same place.
type GoroutineGroup struct {
	Wait  string `msgpack:"wait" json:"wait"`   // the reason, in the words of Go's own stack traces
	Stack uint32 `msgpack:"stack" json:"stack"` // number of their stack
	N     uint32 `msgpack:"n" json:"n"`         // most at once
	Looks uint32 `msgpack:"looks" json:"looks"` // that found any
}

// SilentPeer is a TCP connection to another server that had been sent something last, by tcp_info.
type SilentPeer struct {
	PID       uint32 `msgpack:"pid" json:"pid"`
	RAddr     string `msgpack:"raddr" json:"raddr"`
	RPort     uint16 `msgpack:"rport" json:"rport"`
	AtNS      int64  `msgpack:"at_ns" json:"at_ns"`           // CLOCK_BOOTTIME of when it was looked at last
	WaitingNS int64  `msgpack:"waiting_ns" json:"waiting_ns"` // since the last byte was sent, then
}

// Doing is what a thread did for some time while it was watched. Looks that find the same make one record; a
// later record of the same row replaces the earlier.
type Doing struct {
	Watch  uint32 `msgpack:"watch" json:"watch"`     // number of the watch
	Row    uint32 `msgpack:"row" json:"row"`         // from 1, in the watch
	TID    uint32 `msgpack:"tid" json:"tid"`         // the thread
	FromNS int64  `msgpack:"from_ns" json:"from_ns"` // CLOCK_BOOTTIME between which it was so at times
	ToNS   int64  `msgpack:"to_ns" json:"to_ns"`
	NS     int64  `msgpack:"ns" json:"ns"`       // for how long in all
	State  string `msgpack:"state" json:"state"` // Doing...
	// the system call that it was in, "" none or not known: its name, or "syscall N"
	Call string `msgpack:"call,omitempty" json:"call,omitempty"`
	// what that call was about: Target..., "" if it is about no descriptor
	Kind   string `msgpack:"kind,omitempty" json:"kind,omitempty"`
	Target string `msgpack:"target,omitempty" json:"target,omitempty"` // its path, or address
	// kernel function that it slept in, "" not known
	WChan string `msgpack:"wchan,omitempty" json:"wchan,omitempty"`
	// of a thread that waits for descriptors: whether the listener is among them, Among..., "" not known
	Among string `msgpack:"among,omitempty" json:"among,omitempty"`
	// of a thread that waits for a lock: the thread that holds it, 0 not known
	Owner uint32 `msgpack:"owner,omitempty" json:"owner,omitempty"`
	Looks uint32 `msgpack:"looks" json:"looks"` // that found it so
	// of a thread that slept: number of the stack that it had then, 0 not known
	Stack uint32 `msgpack:"stack,omitempty" json:"stack,omitempty"`
}

// Image is a file from which a watched process had code.
type Image struct {
	Num     uint32 `msgpack:"num" json:"num"`           // from 1
	Path    string `msgpack:"path" json:"path"`         // in the process's mount namespace
	BuildID string `msgpack:"build_id" json:"build_id"` // GNU build id in hexadecimal, "" it has none
}

// Stack is where in its program a thread was. It says nothing of the memory of a process: its frames are places in
// files.
type Stack struct {
	Num    uint32       `msgpack:"num" json:"num"`       // from 1
	Frames []StackFrame `msgpack:"frames" json:"frames"` // innermost first
	// the frames end where the thread began; else there were more, which could not be found
	Whole bool `msgpack:"whole,omitempty" json:"whole,omitempty"`
}

// StackFrame is a place in a file.
type StackFrame struct {
	Image uint32 `msgpack:"image" json:"image"` // number of the image
	// address in the image's own numbering, which addr2line(1) takes; of a caller, that of the call's last byte; of a
	// thread that ran, where the function begins
	Offset uint64 `msgpack:"offset" json:"offset"`
	Func   string `msgpack:"func" json:"func"` // the function whose symbol covers it, "" not known
}

// The states of a thread. Of the first two the time is exact; of the others it is what is left of the time between
// two looks.
const (
	DoingCPU      = "cpu"      // it ran
	DoingRunnable = "runnable" // it could have run, and had no CPU
	DoingAsleep   = "asleep"   // it waited, and a signal can wake it
	DoingDisk     = "disk"     // it waited, and no signal can: for a disk, mostly
	DoingFault    = "fault"    // it waited for a page of its memory
	DoingStopped  = "stopped"  // by a signal, or by a debugger
	DoingFrozen   = "frozen"   // with its cgroup
	DoingUnseen   = "unseen"   // it slept, and where could not be seen
)

// What a call can be about.
const (
	TargetFile   = "file"
	TargetPipe   = "pipe"   // path of a named pipe, or its number
	TargetSocket = "socket" // address of its peer, if it has one: another server's
	TargetClient = "client" // address of a client of the listener
	TargetUnix   = "unix"   // its own name, if it has one
	TargetOther  = "other"  // what /proc/PID/fd says
)

// Whether a listener is among the descriptors that a thread waits for.
const (
	AmongArmed    = "armed"    // it is: a client wakes the thread
	AmongDisarmed = "disarmed" // it is in the epoll set, and not asked for
	AmongAbsent   = "absent"   // it is not
)
