package format

import "time"

// Version is the capture format version that this package writes.
const Version = 1

// Header is the first record of a capture: where, when and how it was taken.
type Header struct {
	Format    int         `msgpack:"format"`   // format version, 1
	Compat    []string    `msgpack:"compat"`   // features that a reader may ignore
	Incompat  []string    `msgpack:"incompat"` // features that a reader must know, or refuse the file
	ID        string      `msgpack:"id"`       // capture id, a random UUID
	Tool      string      `msgpack:"tool"`     // "acc VERSION"
	Host      string      `msgpack:"host"`     // node name
	MachineID string      `msgpack:"machine"`  // keyed hash of /etc/machine-id, hexadecimal
	BootID    string      `msgpack:"boot_id"`  // /proc/sys/kernel/random/boot_id
	Kernel    string      `msgpack:"kernel"`   // release, as uname -r
	Build     string      `msgpack:"build"`    // build, as uname -v
	Arch      string      `msgpack:"arch"`     // machine, as uname -m
	CPUs      int         `msgpack:"cpus"`     // possible CPUs
	Command   []string    `msgpack:"command"`  // the recorder's command line
	StartNS   int64       `msgpack:"start_ns"` // start, CLOCK_REALTIME in Unix nanoseconds
	Zone      string      `msgpack:"zone"`     // time zone name of the host
	ZoneSec   int         `msgpack:"zone_s"`   // its offset at the start, seconds east of UTC
	Mode      string      `msgpack:"mode"`     // "kprobe" or "fentry"
	Probes    []Probe     `msgpack:"probes"`   // what was attached
	Filters   []string    `msgpack:"filters"`  // what the recorder left out on purpose; empty: nothing
	Sysctls   []Sysctl    `msgpack:"sysctls"`  // settings that bear on accept
	Limits    []string    `msgpack:"limits"`   // what this kernel could not show, a sentence each
	Clock     Clock       `msgpack:"clock"`    // the first clock pair
	Fields    []FieldSpec `msgpack:"fields"`   // the columns of a block, in order; see [Fields]
}

// Probe is one attached probe.
type Probe struct {
	Hook      Hook   `msgpack:"hook"`
	Kind      Kind   `msgpack:"kind"`
	How       string `msgpack:"how"`                  // "kprobe", "kretprobe", "fentry", "fexit", "tracepoint" or "raw_tp"
	Symbol    string `msgpack:"symbol"`               // what it is attached to
	MaxActive int    `msgpack:"max_active,omitempty"` // kretprobe instances, 0 if it has no limit
}

// Sysctl is one kernel setting at the start of the recording.
type Sysctl struct {
	Name  string `msgpack:"name"`  // as sysctl(8) spells it
	Value string `msgpack:"value"` // as read, without the newline
}

// Clock is one moment on three clocks, in nanoseconds. RealNS - BootNS places
// events in time. Err is half of the time that taking the reading took.
type Clock struct {
	BootNS int64 `msgpack:"boot_ns"` // CLOCK_BOOTTIME
	MonoNS int64 `msgpack:"mono_ns"` // CLOCK_MONOTONIC
	RealNS int64 `msgpack:"real_ns"` // CLOCK_REALTIME, Unix
	ErrNS  int64 `msgpack:"err_ns"`
}

// Process is one process as it was when the recorder first saw it. A process
// that calls exec gets a new record.
type Process struct {
	Num       uint32 `msgpack:"num"`      // its number in this capture, from 1
	PID       uint32 `msgpack:"pid"`      // thread group id, initial pid namespace
	StartNS   int64  `msgpack:"start_ns"` // start time, CLOCK_BOOTTIME; 0 unknown
	Comm      string `msgpack:"comm"`     // name of the group leader
	Exe       string `msgpack:"exe"`      // path of the executable, "" if it was gone before it could be read
	UID       uint32 `msgpack:"uid"`
	CgroupID  uint64 `msgpack:"cgroup_id"`
	Cgroup    string `msgpack:"cgroup"`    // cgroup path
	Container string `msgpack:"container"` // container id from that path, "" if none
	Runtime   string `msgpack:"runtime"`   // who made the container, from that path: "docker", "containerd", "cri-o", "podman" ..., "" if it does not tell
	Unit      string `msgpack:"unit"`      // systemd unit from that path, "" if none
	Pod       string `msgpack:"pod"`       // Kubernetes pod as namespace/name, from the kubelet's links to logs, "" if there is none
	PodUID    string `msgpack:"pod_uid"`   // its id, from the cgroup path
	NetNS     uint64 `msgpack:"netns"`     // inode numbers of the namespaces, 0 unknown
	PIDNS     uint64 `msgpack:"pidns"`
	MntNS     uint64 `msgpack:"mntns"`
	NSPID     uint32 `msgpack:"ns_pid"` // its id in its own pid namespace, 0 unknown
	Late      bool   `msgpack:"late"`   // the process had ended before /proc could be read: what is there comes from the kernel's events
}

// Snapshot is what was there when the recording began or, with Final, ended:
// sockets that listened, connections of theirs, and tasks that sat in accept,
// whose return may come without an entry. It can be several records.
type Snapshot struct {
	BootNS           int64          `msgpack:"boot_ns"` // CLOCK_BOOTTIME, after the probes were live
	Final            bool           `msgpack:"final"`   // it is of the end
	Listeners        []ListenSocket `msgpack:"listeners"`
	ListenersKnown   bool           `msgpack:"listeners_known"` // the list is complete, of the families that it has
	Connections      []Connection   `msgpack:"connections"`
	ConnectionsKnown bool           `msgpack:"connections_known"` // the list is complete
	Blocked          []Blocked      `msgpack:"blocked"`
	BlockedKnown     bool           `msgpack:"blocked_known"` // the list is complete
}

// Connection is one TCP connection of a listener in a snapshot.
type Connection struct {
	NetNS  uint32 `msgpack:"netns"` // inode number of its network namespace
	LAddr  string `msgpack:"laddr"`
	LPort  uint16 `msgpack:"lport"`
	RAddr  string `msgpack:"raddr"`
	RPort  uint16 `msgpack:"rport"`
	State  uint8  `msgpack:"state"`  // TCP state number
	Inode  uint64 `msgpack:"inode"`  // 0: it was not accepted yet, or its descriptor is closed
	Cookie uint64 `msgpack:"cookie"` // 0 unknown
}

// ListenSocket is one listening socket at the start of the recording.
type ListenSocket struct {
	NetNS      uint32 `msgpack:"netns"` // inode number of its network namespace
	Listener   uint64 `msgpack:"listener"`
	Family     Family `msgpack:"family"`
	Proto      uint16 `msgpack:"proto"`
	LAddr      string `msgpack:"laddr"` // IP address, "" for other families
	LPort      uint16 `msgpack:"lport"`
	LName      string `msgpack:"lname"`       // as [Event.LName]
	Backlog    uint32 `msgpack:"backlog"`     // length of the accept queue
	BacklogMax uint32 `msgpack:"backlog_max"` // its limit, 0 unknown
}

// Loss says that hits of one probe on one CPU were not written: the ring was
// full. They happened after FromNS and before ToNS.
type Loss struct {
	CPU    uint32 `msgpack:"cpu"`
	Hook   Hook   `msgpack:"hook"`
	Kind   Kind   `msgpack:"kind"`
	Count  uint64 `msgpack:"count"`
	FromNS int64  `msgpack:"from_ns"` // CLOCK_BOOTTIME of the last event before them
	ToNS   int64  `msgpack:"to_ns"`   // CLOCK_BOOTTIME of the first event after them
}

// ProbeTotal is the account of one probe over the whole recording:
// Recorded + Lost = Seen.
type ProbeTotal struct {
	Hook     Hook   `msgpack:"hook"`
	Kind     Kind   `msgpack:"kind"`
	Seen     uint64 `msgpack:"seen"`     // hits counted in the kernel
	Recorded uint64 `msgpack:"recorded"` // events in the capture
	Lost     uint64 `msgpack:"lost"`     // hits for which the ring had no room, counted in the kernel on their own
	Missed   uint64 `msgpack:"missed"`   // calls that the kernel did not run the probe for, as far as it tells
}

// Blocked is a task that sat in accept when recording began or ended.
type Blocked struct {
	PID    uint32 `msgpack:"pid"`
	TID    uint32 `msgpack:"tid"`
	SockFD int32  `msgpack:"sockfd"`
}

// End is the last record of a capture that was closed in order.
type End struct {
	Reason       string       `msgpack:"reason"` // "signal", "count", "duration", "command", "error", "disk full" ...
	Detail       string       `msgpack:"detail"` // more about it, "" if there is no more to say
	Clean        bool         `msgpack:"clean"`  // everything that was seen was written or counted as lost
	Events       uint64       `msgpack:"events"` // events in the capture
	Lost         uint64       `msgpack:"lost"`   // sum of Totals[].Lost
	Totals       []ProbeTotal `msgpack:"totals"`
	Blocked      []Blocked    `msgpack:"blocked"`       // who sat in accept at the end
	BlockedKnown bool         `msgpack:"blocked_known"` // the list is complete
	Clock        Clock        `msgpack:"clock"`         // the last clock pair
}

// Time converts a boot time of this pair's host to wall clock time in UTC.
func (c Clock) Time(bootNS int64) time.Time {
	return time.Unix(0, c.RealNS+(bootNS-c.BootNS)).UTC()
}
