package format

// This file has the records of a capture: header, processes, clocks, snapshots, END.

import (
	"math"
	"slices"
	"strings"
	"time"
)

// Version is the capture format version that this package writes.
const Version = 1

// Header is the first record of a capture: where, when and how it was taken.
type Header struct {
	Format int      `msgpack:"format" json:"format"` // format version, 1
	Compat []string `msgpack:"compat" json:"compat"` // features that a reader may ignore
	// features that a reader must know, or refuse the file
	Incompat  []string `msgpack:"incompat" json:"incompat"`
	ID        string   `msgpack:"id" json:"id"`             // capture id, a random UUID
	Tool      string   `msgpack:"tool" json:"tool"`         // "acc VERSION"
	Host      string   `msgpack:"host" json:"host"`         // node name
	MachineID string   `msgpack:"machine" json:"machine"`   // keyed hash of /etc/machine-id, hexadecimal
	BootID    string   `msgpack:"boot_id" json:"boot_id"`   // /proc/sys/kernel/random/boot_id
	Kernel    string   `msgpack:"kernel" json:"kernel"`     // release, as uname -r
	Build     string   `msgpack:"build" json:"build"`       // build, as uname -v
	Arch      string   `msgpack:"arch" json:"arch"`         // machine, as uname -m
	CPUs      int      `msgpack:"cpus" json:"cpus"`         // possible CPUs
	Command   []string `msgpack:"command" json:"command"`   // the recorder's command line
	StartNS   int64    `msgpack:"start_ns" json:"start_ns"` // start, CLOCK_REALTIME in Unix nanoseconds
	// inode number of the mount namespace of process 1, else of the recorder; 0 unknown
	MntNS    uint64  `msgpack:"mntns" json:"mntns"`
	ExeDev   string  `msgpack:"exe_dev" json:"exe_dev"` // the recorder's, as in process records
	ExeInode uint64  `msgpack:"exe_ino" json:"exe_ino"` // its inode number, 0 unknown
	Zone     string  `msgpack:"zone" json:"zone"`       // time zone name of the host
	ZoneSec  int     `msgpack:"zone_s" json:"zone_s"`   // its offset at the start, seconds east of UTC
	Mode     string  `msgpack:"mode" json:"mode"`       // "kprobe" or "fentry"
	Probes   []Probe `msgpack:"probes" json:"probes"`   // what was attached
	// what the recorder left out on purpose; empty: nothing
	Filters []string `msgpack:"filters" json:"filters"`
	// what was recorded, where that was not everything; nil: everything but Filters
	Selection *Selection `msgpack:"selection,omitempty" json:"selection"`
	// failed calls of a process a second that are recorded one by one, of its user five times as many: of further ones
	// the recorder counted how many there were ([Counted]); 0: all are recorded
	FailedRate uint32   `msgpack:"failed_rate,omitempty" json:"failed_rate"`
	Sysctls    []Sysctl `msgpack:"sysctls" json:"sysctls"` // settings that bear on accept, in the network namespace of process 1
	// what this kernel could not show, a sentence each
	Limits []string `msgpack:"limits" json:"limits"`
	Clock  Clock    `msgpack:"clock" json:"clock"` // the first clock pair
	// the columns of a block, in order; see [Fields]
	Fields   []FieldSpec `msgpack:"fields" json:"fields"`
	Repaired *Repaired   `msgpack:"repaired,omitempty" json:"repaired"` // nil: this is the capture that was recorded
	Redacted *Redacted   `msgpack:"redacted,omitempty" json:"redacted"` // nil: names and addresses are the original ones
	Set      *Set        `msgpack:"set,omitempty" json:"set"`           // nil: the recording is one file
	// how this capture was cut out of another one, the first cut first; empty: it is whole
	Cuts []Cut `msgpack:"cuts,omitempty" json:"cuts,omitempty"`
}

// Set says which part of a recording in several files a capture is. Each file is a capture by itself; numbers of
// hits and processes go on from file to file.
type Set struct {
	ID       string `msgpack:"id" json:"id"`             // of the recording: the capture id of its first file
	File     uint32 `msgpack:"file" json:"file"`         // number of this file, from 1
	Previous string `msgpack:"previous" json:"previous"` // capture id of the file before it, "" of the first
	// chain head of the file before it, hexadecimal
	PreviousHead string `msgpack:"previous_head" json:"previous_head"`
	// what hits had taken before this file: as in END of the file before it
	Numbers []Numbers `msgpack:"numbers" json:"numbers"`
}

// Numbers are those that the hits of one probe on one CPU took, up to the end of a file that others follow.
type Numbers struct {
	CPU  uint32 `msgpack:"cpu" json:"cpu"`
	Hook Hook   `msgpack:"hook" json:"hook"`
	Kind Kind   `msgpack:"kind" json:"kind"`
	Last uint64 `msgpack:"last" json:"last"` // the largest that had come
	// smaller ones that had neither come nor were lost: their events, or losses, are in a later file
	Open []NumberRange `msgpack:"open,omitempty" json:"open,omitempty"`
}

// NumberRange is numbers from First to Last.
type NumberRange struct {
	First uint64 `msgpack:"first" json:"first"` // the smallest
	Last  uint64 `msgpack:"last" json:"last"`   // the largest
}

// Opened is how many numbers are open.
func (n *Numbers) Opened() (count uint64) {
	for _, r := range n.Open {
		if r.First <= r.Last && count <= math.MaxUint64/2 { // others no recorder writes
			count += r.Last - r.First + 1
		}
	}
	return count
}

// Selection is what a recording is of: events that every criterion with values fits, of each one of its values. What
// did not fit was counted: [ProbeTotal.Filtered]. The life of a connection follows its listener, or the process that
// accepted it.
type Selection struct {
	Words    []string `msgpack:"words" json:"words"`                           // in words, a criterion each
	Ports    []string `msgpack:"ports,omitempty" json:"ports,omitempty"`       // local: "443", "8000-8099"
	Families []string `msgpack:"families,omitempty" json:"families,omitempty"` // of sockets: "ipv4" ...
	NetNS    []uint32 `msgpack:"netns,omitempty" json:"netns,omitempty"`       // inode numbers, of the sockets
	Addrs    []string `msgpack:"addrs,omitempty" json:"addrs,omitempty"`       // of the local or the peer's address
	LAddrs   []string `msgpack:"laddrs,omitempty" json:"laddrs,omitempty"`     // of the local one
	RAddrs   []string `msgpack:"raddrs,omitempty" json:"raddrs,omitempty"`     // of the peer's
	PIDs     []uint32 `msgpack:"pids,omitempty" json:"pids,omitempty"`         // processes, initial pid namespace
	Follow   bool     `msgpack:"follow,omitempty" json:"follow,omitempty"`     // and what they start
	// the command that acc ran, and what that started
	OnlyCommand bool             `msgpack:"only_command,omitempty" json:"only_command,omitempty"`
	Comms       []string         `msgpack:"comms,omitempty" json:"comms,omitempty"`     // names of threads or processes
	UIDs        []uint32         `msgpack:"uids,omitempty" json:"uids,omitempty"`       // real user ids
	Cgroups     []SelectedCgroup `msgpack:"cgroups,omitempty" json:"cgroups,omitempty"` // of the processes
	// accept calls that failed, and connections that were dropped
	FailedOnly bool `msgpack:"failed_only,omitempty" json:"failed_only,omitempty"`
	// a condition, or a list, chose it when the capture was cut: see [Cut]
	Cut bool `msgpack:"cut,omitempty" json:"cut,omitempty"`
}

// String is what was selected, in words; "" of a recording of everything.
func (s *Selection) String() string {
	switch {
	case s == nil:
		return ""
	case len(s.Words) == 0:
		return "a part that this capture does not name"
	}
	return strings.Join(s.Words, " and ")
}

// WholeListeners reports whether of each listener all is selected or nothing; so it is where s is nil. Else a listener
// can have connections of which no accept call is recorded: it depends on who accepts, of whom, or with what outcome.
func (s *Selection) WholeListeners() bool {
	return s == nil || len(s.Words) > 0 && !s.OnlyCommand && !s.FailedOnly && !s.Cut &&
		len(s.PIDs)+len(s.Comms)+len(s.UIDs)+len(s.Cgroups)+len(s.Addrs)+len(s.LAddrs)+len(s.RAddrs) == 0
}

// Countable reports whether all connections of a network namespace are selected or none, so that they can be compared
// with the kernel's counters; so they can where s is nil.
func (s *Selection) Countable() bool {
	return s == nil || s.WholeListeners() && len(s.Ports)+len(s.Families) == 0
}

// HasNetNS reports whether it has, or can have, connections of a network namespace.
func (s *Selection) HasNetNS(netns uint32) bool {
	return s == nil || len(s.NetNS) == 0 || slices.Contains(s.NetNS, netns)
}

// SelectedCgroup is a cgroup of version 2, with those below it.
type SelectedCgroup struct {
	ID   uint64 `msgpack:"id" json:"id"`     // when the recording began
	Path string `msgpack:"path" json:"path"` // one that is made anew at this path is selected, too
}

// Probe is one attached probe.
type Probe struct {
	Hook Hook `msgpack:"hook" json:"hook"`
	Kind Kind `msgpack:"kind" json:"kind"`
	// "kprobe", "kretprobe", "fentry", "fexit", "tracepoint" or "raw_tp"
	How    string `msgpack:"how" json:"how"`
	Symbol string `msgpack:"symbol" json:"symbol"` // what it is attached to
	// kretprobe instances, 0 if it has no limit
	MaxActive int `msgpack:"max_active,omitempty" json:"max_active,omitempty"`
}

// Sysctl is one kernel setting at the start of the recording.
type Sysctl struct {
	Name  string `msgpack:"name" json:"name"`   // as sysctl(8) spells it
	Value string `msgpack:"value" json:"value"` // as read, without the newline
}

// Clock is one moment on three clocks, in nanoseconds. RealNS - BootNS places
// events in time. Err is half of the time that taking the reading took.
type Clock struct {
	BootNS int64 `msgpack:"boot_ns" json:"boot_ns"` // CLOCK_BOOTTIME
	MonoNS int64 `msgpack:"mono_ns" json:"mono_ns"` // CLOCK_MONOTONIC
	RealNS int64 `msgpack:"real_ns" json:"real_ns"` // CLOCK_REALTIME, Unix
	ErrNS  int64 `msgpack:"err_ns" json:"err_ns"`

	// How the host keeps CLOCK_REALTIME, by adjtimex(2).

	// whether it is synchronised, 0 not known
	Keeping  Keeping `msgpack:"keeping,omitempty" json:"keeping,omitempty"`
	OffsetNS int64   `msgpack:"offset_ns,omitempty" json:"offset_ns,omitempty"`   // by what it is being corrected
	MaxErrNS int64   `msgpack:"max_err_ns,omitempty" json:"max_err_ns,omitempty"` // by how much it is wrong at most
	EstErrNS int64   `msgpack:"est_err_ns,omitempty" json:"est_err_ns,omitempty"` // by how much it is wrong, estimated
}

// Keeping says whether a host's wall clock is synchronised.
type Keeping uint8

// The keepings.
const (
	KeepingUnknown Keeping = 0
	KeepingSynced  Keeping = 1
	KeepingFree    Keeping = 2 // nothing synchronises it
)

// Process is one process as it was when the recorder first saw it. A process
// that calls exec gets a new record.
type Process struct {
	Num     uint32 `msgpack:"num" json:"num"`           // its number in this capture, from 1
	PID     uint32 `msgpack:"pid" json:"pid"`           // thread group id, initial pid namespace
	StartNS int64  `msgpack:"start_ns" json:"start_ns"` // start time, CLOCK_BOOTTIME; 0 unknown
	Comm    string `msgpack:"comm" json:"comm"`         // name of the group leader
	// path of the executable in the process's mount namespace, "" if it was gone before it could be read
	Exe string `msgpack:"exe" json:"exe"`
	// device of the executable's file system as major:minor, "" unknown
	ExeDev    string `msgpack:"exe_dev" json:"exe_dev"`
	ExeInode  uint64 `msgpack:"exe_ino" json:"exe_ino"` // inode number of the executable there, 0 unknown
	UID       uint32 `msgpack:"uid" json:"uid"`
	CgroupID  uint64 `msgpack:"cgroup_id" json:"cgroup_id"`
	Cgroup    string `msgpack:"cgroup" json:"cgroup"`       // cgroup path
	Container string `msgpack:"container" json:"container"` // container id from that path, "" if none
	// who made the container, from that path: "docker", "containerd", "cri-o", "podman" ..., "" if it does not tell
	Runtime string `msgpack:"runtime" json:"runtime"`
	Unit    string `msgpack:"unit" json:"unit"` // systemd unit from that path, "" if none
	// Kubernetes pod as namespace/name, from the kubelet's links to logs, "" if there is none
	Pod    string `msgpack:"pod" json:"pod"`
	PodUID string `msgpack:"pod_uid" json:"pod_uid"` // its id, from the cgroup path
	NetNS  uint64 `msgpack:"netns" json:"netns"`     // inode numbers of the namespaces, 0 unknown
	PIDNS  uint64 `msgpack:"pidns" json:"pidns"`
	MntNS  uint64 `msgpack:"mntns" json:"mntns"`
	NSPID  uint32 `msgpack:"ns_pid" json:"ns_pid"` // its id in its own pid namespace, 0 unknown
	// the process had ended before /proc could be read: what is there comes from the kernel's events
	Late bool `msgpack:"late" json:"late"`
}

// OtherMounts reports whether the process is in another mount namespace than the
// host's first process: whoever has a user namespace of his own can put any file at any path there, so
// that its executable's path says nothing about the file that has it here.
func (p *Process) OtherMounts(h *Header) bool {
	return p.MntNS != 0 && h.MntNS != 0 && p.MntNS != h.MntNS
}

// Snapshot is what was there when the recording began or, with Final, ended:
// sockets that listened, connections of theirs, and tasks that sat in accept,
// whose return may come without an entry. It can be several records.
type Snapshot struct {
	BootNS    int64          `msgpack:"boot_ns" json:"boot_ns"` // CLOCK_BOOTTIME, after the probes were live
	Final     bool           `msgpack:"final" json:"final"`     // it is of the end
	Listeners []ListenSocket `msgpack:"listeners" json:"listeners"`
	// the list is complete, of the families that it has
	ListenersKnown   bool         `msgpack:"listeners_known" json:"listeners_known"`
	Connections      []Connection `msgpack:"connections" json:"connections"`
	ConnectionsKnown bool         `msgpack:"connections_known" json:"connections_known"` // the list is complete
	Blocked          []Blocked    `msgpack:"blocked" json:"blocked"`
	BlockedKnown     bool         `msgpack:"blocked_known" json:"blocked_known"` // the list is complete

	// NetNS are the network namespaces whose sockets were looked at: those that a process was in. Without any, as
	// in a capture of an older recorder, all that there were count as looked at.
	NetNS []uint32 `msgpack:"netns,omitempty" json:"netns,omitempty"`
}

// Connection is one TCP connection of a listener in a snapshot.
type Connection struct {
	NetNS  uint32 `msgpack:"netns" json:"netns"` // inode number of its network namespace
	LAddr  string `msgpack:"laddr" json:"laddr"`
	LPort  uint16 `msgpack:"lport" json:"lport"`
	RAddr  string `msgpack:"raddr" json:"raddr"`
	RPort  uint16 `msgpack:"rport" json:"rport"`
	State  uint8  `msgpack:"state" json:"state"`   // TCP state number
	Inode  uint64 `msgpack:"inode" json:"inode"`   // 0: it was not accepted yet, or its descriptor is closed
	Cookie uint64 `msgpack:"cookie" json:"cookie"` // 0 unknown

	// Up to now, if Counted, which those at the end are.
	Counted     bool   `msgpack:"counted,omitempty" json:"counted,omitempty"`
	BytesIn     uint64 `msgpack:"bytes_in,omitempty" json:"bytes_in,omitempty"`   // as in a Closed event
	BytesOut    uint64 `msgpack:"bytes_out,omitempty" json:"bytes_out,omitempty"` // as in a Closed event
	Retransmits uint32 `msgpack:"retransmits,omitempty" json:"retransmits,omitempty"`
	SRTTUS      uint32 `msgpack:"srtt_us,omitempty" json:"srtt_us,omitempty"` // 0 not measured

	// At the end, of one with an inode number.

	// processes that had it open, in the order of /proc
	Holders     []Holder `msgpack:"holders,omitempty" json:"holders,omitempty"`
	MoreHolders uint32   `msgpack:"more_holders,omitempty" json:"more_holders,omitempty"` // further ones
	// the descriptors of all processes were looked at
	HoldersKnown bool `msgpack:"holders_known,omitempty" json:"holders_known,omitempty"`
}

// Holder is a process that had a connection, or a listener, open when recording ended.
type Holder struct {
	PID  uint32 `msgpack:"pid" json:"pid"`   // initial pid namespace
	Comm string `msgpack:"comm" json:"comm"` // name of the group leader
}

// What can keep a process from running.
const (
	HaltedStopped = "stopped" // by a signal, or by a debugger
	HaltedFrozen  = "frozen"  // with its cgroup
)

// ListenSocket is one listening socket when recording began or ended.
type ListenSocket struct {
	NetNS    uint32 `msgpack:"netns" json:"netns"` // inode number of its network namespace
	Listener uint64 `msgpack:"listener" json:"listener"`
	// of a process that had it open, 0 not known; at the end only one that was stopped or frozen, where connections
	// waited
	PID  uint32 `msgpack:"pid,omitempty" json:"pid,omitempty"`
	Comm string `msgpack:"comm,omitempty" json:"comm,omitempty"`
	// Halted..., "" if the process runs or it is not known
	Halted     string `msgpack:"halted,omitempty" json:"halted,omitempty"`
	Family     Family `msgpack:"family" json:"family"`
	Proto      uint16 `msgpack:"proto" json:"proto"`
	LAddr      string `msgpack:"laddr" json:"laddr"` // IP address, "" for other families
	LPort      uint16 `msgpack:"lport" json:"lport"`
	LName      string `msgpack:"lname" json:"lname"`             // as [Event.LName]
	Backlog    uint32 `msgpack:"backlog" json:"backlog"`         // length of the accept queue
	BacklogMax uint32 `msgpack:"backlog_max" json:"backlog_max"` // its limit, 0 unknown

	// At the end, of one with connections in its queue.

	// processes that had it open, in the order of /proc
	Holders     []Holder `msgpack:"holders,omitempty" json:"holders,omitempty"`
	MoreHolders uint32   `msgpack:"more_holders,omitempty" json:"more_holders,omitempty"` // further ones
	// the descriptors of all processes were looked at
	HoldersKnown bool `msgpack:"holders_known,omitempty" json:"holders_known,omitempty"`
}

// Loss says that hits of one probe on one CPU were not written: the ring was
// full. They happened after FromNS and before ToNS.
type Loss struct {
	CPU    uint32 `msgpack:"cpu" json:"cpu"`
	Hook   Hook   `msgpack:"hook" json:"hook"`
	Kind   Kind   `msgpack:"kind" json:"kind"`
	Count  uint64 `msgpack:"count" json:"count"`
	FromNS int64  `msgpack:"from_ns" json:"from_ns"` // CLOCK_BOOTTIME of the last event before them
	ToNS   int64  `msgpack:"to_ns" json:"to_ns"`     // CLOCK_BOOTTIME of the first event after them
}

// Mark is what somebody noted while it was recorded: acc ctl mark.
type Mark struct {
	BootNS int64  `msgpack:"boot_ns" json:"boot_ns"` // when, CLOCK_BOOTTIME
	Text   string `msgpack:"text" json:"text"`       // as it was given
	UID    uint32 `msgpack:"uid" json:"uid"`         // who did
}

// Counted says how many accept calls of one process failed in the same way at one listener beyond the rate at which
// each is recorded ([Header.FailedRate]). They have no events and no numbers. A recorder writes one about each second
// while there are any.
type Counted struct {
	FromNS int64 `msgpack:"from_ns" json:"from_ns"` // CLOCK_BOOTTIME of the first
	ToNS   int64 `msgpack:"to_ns" json:"to_ns"`     // CLOCK_BOOTTIME of the last
	Hook   Hook  `msgpack:"hook" json:"hook"`       // that saw their returns
	// calls of which neither event is recorded, or, of hooks other than sys_accept4 and sys_exit, the only one
	Calls uint64 `msgpack:"calls" json:"calls"`
	// entries that are not recorded: those of Calls, and of calls that waited and whose return is recorded
	Entries uint64 `msgpack:"entries" json:"entries"`
	Ret     int32  `msgpack:"ret" json:"ret"` // what they returned, a negative errno; 1: several errors; 0: no calls
	// the process, initial pid namespace; 0: several processes of UID
	PID     uint32 `msgpack:"pid,omitempty" json:"pid"`
	StartNS int64  `msgpack:"start_ns,omitempty" json:"start_ns"` // its start, CLOCK_BOOTTIME
	Comm    string `msgpack:"comm,omitempty" json:"comm"`         // name of the thread that was counted first
	UID     uint32 `msgpack:"uid" json:"uid"`                     // real user id; 4294967295: of several users
	NetNS   uint32 `msgpack:"netns,omitempty" json:"netns"`       // inode number of the socket's network namespace
	// inode number of the listening socket; 0: none, or several
	Listener uint64 `msgpack:"listener,omitempty" json:"listener"`
	Family   Family `msgpack:"family,omitempty" json:"family"`
	LAddr    string `msgpack:"laddr,omitempty" json:"laddr"` // its IP address, "" for other families
	LPort    uint16 `msgpack:"lport,omitempty" json:"lport"`
	LName    string `msgpack:"lname,omitempty" json:"lname"` // as [Event.LName], where it is known
}

// SeveralUsers is the UID of Counted where that is not known.
const SeveralUsers = 1<<32 - 1

// ProbeTotal is the account of one probe over the whole recording:
// Recorded + Lost + Filtered + Counted = Seen.
type ProbeTotal struct {
	Hook     Hook   `msgpack:"hook" json:"hook"`
	Kind     Kind   `msgpack:"kind" json:"kind"`
	Seen     uint64 `msgpack:"seen" json:"seen"`         // hits counted in the kernel
	Recorded uint64 `msgpack:"recorded" json:"recorded"` // events in the capture
	// hits for which the ring had no room, counted in the kernel on their own
	Lost uint64 `msgpack:"lost" json:"lost"`
	// hits that the recording's selection left out, which have no number ([Event.CPUSeq])
	Filtered uint64 `msgpack:"filtered,omitempty" json:"filtered"`
	// hits beyond the rate of failed calls, which the records of them tell ([Counted]) and which have no number
	Counted uint64 `msgpack:"counted,omitempty" json:"counted"`
	// hits by the recorder itself, at its start, which are in no other figure
	Own uint64 `msgpack:"own" json:"own"`
	// calls that the kernel did not run the probe for, as far as it tells, and that no other probe saw
	Missed uint64 `msgpack:"missed" json:"missed"`
}

// Blocked is a task that sat in accept when recording began or ended.
type Blocked struct {
	PID    uint32 `msgpack:"pid" json:"pid"`
	TID    uint32 `msgpack:"tid" json:"tid"`
	SockFD int32  `msgpack:"sockfd" json:"sockfd"`

	// inode number of the socket that this is, 0 not known
	Listener uint64 `msgpack:"listener,omitempty" json:"listener,omitempty"`
}

// What End.Reason can be, and readers look for.
const (
	EndDiskFull = "disk full" // there was no more room
	EndRotation = "rotation"  // the recording goes on in another file
	EndCut      = "cut"       // the part ends here, the recording went on
)

// End is the last record of a capture that was closed in order.
type End struct {
	// "signal", "count", "duration", "command", "error", "disk full", "rotation" ...
	Reason string `msgpack:"reason" json:"reason"`
	Detail string `msgpack:"detail" json:"detail"` // more about it, "" if there is no more to say
	// everything that was seen was written or counted as lost
	Clean  bool   `msgpack:"clean" json:"clean"`
	Events uint64 `msgpack:"events" json:"events"` // events in the capture
	Lost   uint64 `msgpack:"lost" json:"lost"`     // sum of Totals[].Lost
	// of Lost, events that were left out to keep the recorder within bounds: acc record --max-cpu, --max-memory
	Shed         uint64       `msgpack:"shed,omitempty" json:"shed"`
	Totals       []ProbeTotal `msgpack:"totals" json:"totals"`
	Blocked      []Blocked    `msgpack:"blocked" json:"blocked"`             // who sat in accept at the end
	BlockedKnown bool         `msgpack:"blocked_known" json:"blocked_known"` // the list is complete
	Clock        Clock        `msgpack:"clock" json:"clock"`                 // the last clock pair

	// SimultaneousOpens are connections without a listener, so without accept. A capture
	// without probes of connections, and one of an older recorder, has none.
	SimultaneousOpens []SimultaneousOpens `msgpack:"simultaneous_opens,omitempty" json:"simultaneous_opens,omitempty"`

	// network namespaces whose counters could not be read
	Unread []UnreadNetNS `msgpack:"unread_netns,omitempty" json:"unread_netns,omitempty"`

	// Connects to UNIX sockets that a full queue refused (EAGAIN). A capture without probes of
	// connections, and one of an older recorder, has none of these and UnixCounted is false.
	UnixCounted bool `msgpack:"unix_counted,omitempty" json:"unix_counted,omitempty"` // they were counted
	// by what the clients connected to
	UnixRefused []UnixRefused `msgpack:"unix_refused,omitempty" json:"unix_refused,omitempty"`
	// connects, refused or not, that the kernel did not run the probe for
	UnixUnseen uint64 `msgpack:"unix_unseen,omitempty" json:"unix_unseen,omitempty"`

	// what recording cost since it began; nil: not known
	Cost *Cost `msgpack:"cost,omitempty" json:"cost"`

	// what hits had taken by the end of a file that another one follows; that one's header says the same
	Numbers []Numbers `msgpack:"numbers,omitempty" json:"numbers,omitempty"`
}

// Cost is what a recording took of the host, from its beginning.
type Cost struct {
	CPUNS     int64 `msgpack:"cpu_ns" json:"cpu_ns"`         // CPU time of the recorder's process
	PeakBytes int64 `msgpack:"peak_bytes" json:"peak_bytes"` // most memory that it had (ru_maxrss)
	// of the programs in the kernel, where that counts it (kernel.bpf_stats_enabled)
	Programs []ProgramCost `msgpack:"programs,omitempty" json:"programs,omitempty"`
}

// ProgramCost is what one program in the kernel took.
type ProgramCost struct {
	Name string `msgpack:"name" json:"name"`     // of the program
	Runs uint64 `msgpack:"runs" json:"runs"`     // how often it ran
	NS   int64  `msgpack:"run_ns" json:"run_ns"` // and for how long
}

// UnreadNetNS is a network namespace with sockets that have events, of which no counters could be read, nor a list
// of what listens there.
type UnreadNetNS struct {
	NetNS uint32 `msgpack:"netns" json:"netns"`
	Why   string `msgpack:"why" json:"why"` // a sentence: "no process was in it when acc looked" ...
}

// UnixRefused counts connects that a full accept queue refused.
type UnixRefused struct {
	// of the clients, 0: what follows is of those beyond the first 256 names
	NetNS uint32 `msgpack:"netns" json:"netns"`
	Name  string `msgpack:"name" json:"name"`   // what they connected to, as they gave it; written as [Event.LName]
	Count uint64 `msgpack:"count" json:"count"` // connects
}

// SimultaneousOpens counts the TCP sockets of a network namespace that received a SYN while
// they connected themselves: two connected to each other at once, or one to itself.
type SimultaneousOpens struct {
	NetNS uint32 `msgpack:"netns" json:"netns"` // of the network namespace, 0: of those beyond the first 1,024
	Count uint64 `msgpack:"count" json:"count"` // sockets
}

// Time converts a boot time of this pair's host to wall clock time in UTC.
func (c Clock) Time(bootNS int64) time.Time {
	return time.Unix(0, c.RealNS+(bootNS-c.BootNS)).UTC()
}
