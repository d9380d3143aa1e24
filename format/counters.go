package format

// This file holds the record of the kernel's own counters and settings.

import "github.com/vmihailenco/msgpack/v5"

// Counters is what the kernel's own counters of one network namespace said at one
// moment, a second witness beside the events, and the settings there. They were read between BootNS and
// UntilNS: what happened before is in them, what happened after is not. There is a
// set for each namespace that a process is in when the recording begins, one every
// ten seconds if any of it changed, one after a setting was written, and, with Final, one when it ends, before the
// probes are detached.
type Counters struct {
	BootNS  int64 `msgpack:"boot_ns" json:"boot_ns"`   // CLOCK_BOOTTIME
	UntilNS int64 `msgpack:"until_ns" json:"until_ns"` // CLOCK_BOOTTIME
	Final   bool  `msgpack:"final" json:"final"`
	// inode number of the namespace
	NetNS uint32 `msgpack:"netns" json:"netns"`
	// connections in the accept queues of its TCP listeners
	Queued uint32 `msgpack:"queued" json:"queued"`
	// no connection was added while Queued was read, and all listeners were seen
	QueuedKnown bool `msgpack:"queued_known" json:"queued_known"`
	// how many connections the kernel made while Queued was read, if that is why it is not known
	QueuedMoved uint32 `msgpack:"queued_moved,omitempty" json:"queued_moved,omitempty"`
	// by name as nstat(8) prints it, of CounterNames; absent: this kernel has it not
	Values CounterValues `msgpack:"values" json:"values"`
	// of that namespace by name as sysctl(8) spells it, of SettingNames; absent: this kernel has it not; all absent:
	// they could not be read
	Settings SettingValues `msgpack:"settings,omitempty" json:"settings,omitempty"`
	// the process by which the reading before was made is not in it any more: it may be another namespace, which got
	// the number of one that ended
	Parted bool `msgpack:"parted,omitempty" json:"parted,omitempty"`
}

// CounterValues are the kernel's counters by name, and SettingValues its settings. They are written in the order
// of their names, so that two writes of the same capture are equal byte for byte.
type (
	CounterValues map[string]uint64
	SettingValues map[string]int64
)

// EncodeMsgpack writes the map, smallest name first.
func (v CounterValues) EncodeMsgpack(e *msgpack.Encoder) error {
	return encodeByName(e, v, e.EncodeUint)
}

// EncodeMsgpack writes the map, smallest name first.
func (v SettingValues) EncodeMsgpack(e *msgpack.Encoder) error {
	return encodeByName(e, v, e.EncodeInt)
}

// The counters that accept can be held against.
const (
	CounterPassiveOpens = "TcpPassiveOpens"              // connections that the kernel made of a request to a listener
	CounterMPJoins      = "MPTcpExtMPJoinAckRx"          // those that joined an MPTCP connection, and are never accepted
	CounterMPJoinMACs   = "MPTcpExtMPJoinAckHMacFailure" // those that were to join one, and were reset
	CounterOverflows    = "TcpExtListenOverflows"        // requests and handshakes that found the accept queue full
	CounterDrops        = "TcpExtListenDrops"            // requests and connections that a listener dropped, whatever the reason
	CounterSYNQueueFull = "TcpExtTCPReqQFullDrop"        // requests that found the SYN queue full, and got no cookie
)

// CounterNames are the kernel's counters that a capture holds, from /proc/net/snmp
// and /proc/net/netstat (include/uapi/linux/snmp.h, net/mptcp/mib.h).
var CounterNames = []string{
	CounterPassiveOpens, "TcpActiveOpens", "TcpAttemptFails", "TcpEstabResets", "TcpInErrs", "TcpOutRsts",
	CounterOverflows, CounterDrops, "TcpExtEmbryonicRsts", "TcpExtSyncookiesSent", "TcpExtSyncookiesRecv",
	"TcpExtSyncookiesFailed",
	"TcpExtTCPReqQFullDoCookies", CounterSYNQueueFull, "TcpExtTCPDeferAcceptDrop", "TcpExtTCPBacklogDrop",
	"TcpExtTCPTimeWaitOverflow",
	"TcpExtTCPFastOpenPassive", "TcpExtTCPFastOpenPassiveFail", "TcpExtTCPFastOpenListenOverflow",
	"TcpExtTCPMigrateReqSuccess",
	"TcpExtTCPMigrateReqFailure", "MPTcpExtMPCapableSYNRX", "MPTcpExtMPCapableACKRX", "MPTcpExtMPCapableFallbackACK",
	CounterMPJoins,
	CounterMPJoinMACs,
}

// The settings that explain what a listener refuses.
const (
	SettingSomaxconn       = "net.core.somaxconn"
	SettingAbortOnOverflow = "net.ipv4.tcp_abort_on_overflow"
	SettingSyncookies      = "net.ipv4.tcp_syncookies"
	SettingSYNBacklog      = "net.ipv4.tcp_max_syn_backlog"
	SettingMigrate         = "net.ipv4.tcp_migrate_req"
	SettingFastOpen        = "net.ipv4.tcp_fastopen"
	SettingTimeWaitBuckets = "net.ipv4.tcp_max_tw_buckets"
	SettingMPTCP           = "net.mptcp.enabled"
)

// SettingNames are the kernel's settings that a capture holds for each network
// namespace (Documentation/networking/ip-sysctl.rst, mptcp-sysctl.rst).
var SettingNames = []string{
	SettingSomaxconn, SettingAbortOnOverflow, SettingSyncookies, SettingSYNBacklog, SettingMigrate, SettingFastOpen,
	"net.ipv4.tcp_synack_retries", SettingTimeWaitBuckets, SettingMPTCP,
}
