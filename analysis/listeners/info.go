package listeners

// This file has listeners, processes and peers as they are given, and as JSON prints them.

import (
	"time"

	"github.com/acc-project/acc/analysis/stats"
)

// ListenerInfo is one listening socket.
type ListenerInfo struct {
	Listener uint64 `json:"listener"` // inode number
	NetNS    uint32 `json:"netns"`
	Addr     string `json:"addr"`  // address:port, or the name or family of others
	LAddr    string `json:"laddr"` // "" if it has none or it is not known
	LPort    uint16 `json:"lport"`
	Family   string `json:"family"`
	Proto    string `json:"proto"`
	Attempts uint64 `json:"attempts"` // to accept
	Accepted uint64 `json:"accepted"` // attempts that gave a connection
	Failed   uint64 `json:"failed"`   // attempts that gave an error
	// of the failed, those that a signal interrupted and after which the same call began anew: no failures for the
	// program, and not in the column of the screen
	Restarted uint64       `json:"restarted"`
	Waiting   uint64       `json:"waiting"` // attempts that were still blocked at the end
	Errors    []ErrorCount `json:"errors"`  // of failed attempts, most frequent first
	// longest accept queue seen, at an event or at the start or the end
	QueueHigh    uint32 `json:"queue_high"`
	QueueHighMax uint32 `json:"queue_high_max"` // limit of the queue then, 0 if it is not known
	// when that was, null if the clock is lost, or the queue was always empty
	QueueHighAt  *time.Time `json:"queue_high_ts"`
	QueueHighSeq uint64     `json:"queue_high_seq"` // event that says so, 0: a list of the start or the end
	// longest accept queue seen while it was longer than its limit, 0: it never was
	FullHigh    uint32 `json:"full_high"`
	FullHighMax uint32 `json:"full_high_max"` // limit of the queue then
	// limit of the accept queue that was seen last; it is full when it is longer
	QueueMax uint32 `json:"queue_max"`
	// limits that the queue had, in their order, at most 16; more than one: listen(2) was called again
	Limits     []Limit `json:"limits"`
	MoreLimits uint64  `json:"more_limits"` // changes of the limit beyond those
	// it listened for one connection, as several others of its program did at other ports, like those of FTP's passive
	// mode: one_accept of the result counts them
	OneAccept bool `json:"one_accept"`
	// connections that came to another local port than the listener's: sk_lookup, TPROXY, bpf_sk_assign
	Steered uint64          `json:"steered"`
	Full    uint64          `json:"full"`    // events that found the queue full
	Wait    stats.Quantiles `json:"wait_ns"` // from entry to return of accepted attempts, exact to 1 %
	// time of the first connection that was accepted; null: none, or the clock is lost
	First     *time.Time `json:"first_accept"`
	Last      *time.Time `json:"last_accept"` // time of the last one
	Owner     string     `json:"owner"`       // who listened or accepts, name[pid], "" not known
	Processes []uint32   `json:"processes"`   // numbers of the records of the processes that called accept
	PIDs      []uint32   `json:"pids"`        // process ids of them
	Comms     []string   `json:"comms"`       // names of them
	// network namespaces, other than its own, of tasks that called accept on it; the first eight
	TaskNetNS []uint32 `json:"task_netns"`
	Timeline  Timeline `json:"timeline"` // its history
	// connects to a UNIX listener that its full queue refused (EAGAIN); 0, too, where acc did not count them
	UnixRefused uint64 `json:"unix_refused"`
	// how it stopped listening, the last time; null: it did not, or that is not recorded
	Stopped *Stop  `json:"stopped"`
	Stops   uint64 `json:"stops"` // how often it stopped
	Life    *Life  `json:"life"`  // what became of its connections; null: only accept was recorded
}

// Life is what the events of a listener's connections tell.
type Life struct {
	Queued        uint64          `json:"queued"`          // connections put into the accept queue
	QueueWait     stats.Quantiles `json:"queue_wait_ns"`   // of the accepted, exact to 1 %
	FullNS        int64           `json:"full_ns"`         // how long the accept queue was full
	FullLongestNS int64           `json:"full_longest_ns"` // the longest of it without a break
	RefusedSYN    uint64          `json:"refused_syn"`     // packets refused: SYNs, the accept queue was full
	// packets refused: last ACKs of handshakes, the accept queue was full
	RefusedACK      uint64 `json:"refused_ack"`
	RefusedSYNQueue uint64 `json:"refused_syn_queue"` // packets refused: SYNs, the SYN queue was full
	// connections that were refused at least once; the first 65,536 of all listeners are counted by themselves
	RefusedClients uint64 `json:"refused_connections"`
	ClosedInQueue  uint64 `json:"closed_in_queue"` // ended before any accept
	// of the accepted, those that the server ended within a second without reading or sending a byte
	TurnedAway uint64 `json:"turned_away"`
	// of the accepted, those that the server ended within a second: it had read no byte, but had sent something
	Unread uint64 `json:"closed_unread"`
	// of the accepted, those whose client sent something and left before a byte came back
	Unanswered    uint64          `json:"unanswered"`
	UnansweredFor stats.Quantiles `json:"unanswered_ns"` // from accept to when they left
	// of the accepted, those whose client left when neither side had sent a byte
	Probes  uint64 `json:"probes"`
	Waiting uint64 `json:"waiting"`            // in the queue at the end
	Lost    uint64 `json:"lost_with_listener"` // connections in the queue when the listener stopped listening
}

// Timeline is a listener's history in equal buckets from the start of the
// recording. The lists have the same length; the busiest listeners of a capture
// with very many may have none.
type Timeline struct {
	BucketNS int64    `json:"bucket_ns"` // how long a bucket is
	Accepted []uint64 `json:"accepted"`  // connections accepted in each
	Failed   []uint64 `json:"failed"`    // attempts that failed in each
	Queue    []uint64 `json:"queue"`     // longest accept queue in each; between two events it is what it was

	// The same in smaller buckets, for a drawing.
	DepthNS int64    `json:"-"`
	Depth   []uint64 `json:"-"`
}

// ProcessInfo is one process that called accept.
type ProcessInfo struct {
	Proc     uint32 `json:"proc"` // number of its record, 0 without one
	PID      uint32 `json:"pid"`
	Comm     string `json:"comm"`
	UID      uint32 `json:"uid"`
	Exe      string `json:"exe"`     // path of the executable in the process's mount namespace, "" if not known
	ExeDev   string `json:"exe_dev"` // device of the executable's file system as major:minor, "" unknown
	ExeInode uint64 `json:"exe_ino"` // inode number of the executable there, 0 unknown
	MntNS    uint64 `json:"mntns"`   // inode number of its mount namespace, 0 unknown
	// that is another one than the recorder's: exe is a path there, exe_dev and exe_ino say which file it is
	OtherMounts bool   `json:"other_mounts"`
	Cgroup      string `json:"cgroup"`    // path of its cgroup
	Container   string `json:"container"` // id, "" without one
	Runtime     string `json:"runtime"`   // who made the container
	Unit        string `json:"unit"`      // systemd unit, "" without one
	Pod         string `json:"pod"`       // Kubernetes pod, namespace/name, "" without one
	NSPID       uint32 `json:"ns_pid"`    // its id in its own pid namespace
	NetNS       uint64 `json:"netns"`     // inode number of its network namespace, 0 unknown
	PIDNS       uint64 `json:"pidns"`     // inode number of its pid namespace, 0 unknown
	Attempts    uint64 `json:"attempts"`  // to accept
	Accepted    uint64 `json:"accepted"`  // attempts that gave a connection
	Failed      uint64 `json:"failed"`    // attempts that gave an error
	// of the failed, those that a signal interrupted and after which the same call began anew: no failures for the
	// program, and not in the column of the screen
	Restarted uint64 `json:"restarted"`
}

// OneAccept are sockets that one program opened for one connection each, three or more, and closed again. The program
// serves others at another listener.
type OneAccept struct {
	Addr     string `json:"addr"`     // IP address that they listened on
	NetNS    uint32 `json:"netns"`    // their network namespace
	Program  string `json:"program"`  // name of the program
	Sockets  uint64 `json:"sockets"`  // how many there were
	Accepted uint64 `json:"accepted"` // connections that were accepted, one of a socket at most
	// attempts that gave an error, without those that a signal interrupted and that began anew
	Failed uint64 `json:"failed"`
}

// PeerInfo is one remote address.
type PeerInfo struct {
	Addr     string `json:"addr"`     // IP address; an IPv4 one is the same on an IPv6 listener
	Accepted uint64 `json:"accepted"` // connections of it that were accepted
}

// ErrorCount is how often attempts failed with an error.
type ErrorCount struct {
	Errno     int32           `json:"errno"`     // number of the error
	Name      string          `json:"name"`      // its name, like EAGAIN
	Count     uint64          `json:"count"`     // attempts
	Meaning   string          `json:"meaning"`   // what it means, in words
	Listeners []ErrorListener `json:"listeners"` // where, most frequent first; empty in a listener's own list
}

// ErrorListener is a listener's share of an error.
type ErrorListener struct {
	Listener uint64 `json:"listener"`
	NetNS    uint32 `json:"netns"`
	Addr     string `json:"addr"`  // what the listener is called in tables
	Count    uint64 `json:"count"` // attempts
}
