package format

// Counters is what the kernel's own counters of one network namespace said at one
// moment, a second witness beside the events. They were read between BootNS and
// UntilNS: what happened before is in them, what happened after is not. There is a
// set for each namespace that a process is in when the recording begins, one every
// ten seconds if anything changed, and, with Final, one when it ends, before the
// probes are detached.
type Counters struct {
	BootNS      int64             `msgpack:"boot_ns" json:"boot_ns"`   // CLOCK_BOOTTIME
	UntilNS     int64             `msgpack:"until_ns" json:"until_ns"` // CLOCK_BOOTTIME
	Final       bool              `msgpack:"final" json:"final"`
	NetNS       uint32            `msgpack:"netns" json:"netns"`               // inode number of the namespace
	Queued      uint32            `msgpack:"queued" json:"queued"`             // connections in the accept queues of its TCP listeners
	QueuedKnown bool              `msgpack:"queued_known" json:"queued_known"` // no connection was added while Queued was read, and all listeners were seen
	Values      map[string]uint64 `msgpack:"values" json:"values"`             // by name as nstat(8) prints it, of CounterNames; absent: this kernel has it not
}

// The counters that accept can be held against.
const (
	CounterPassiveOpens = "TcpPassiveOpens"       // connections that the kernel made of a request to a listener
	CounterMPJoins      = "MPTcpExtMPJoinAckRx"   // those that joined an MPTCP connection, and are never accepted
	CounterOverflows    = "TcpExtListenOverflows" // requests and handshakes that found the accept queue full
	CounterDrops        = "TcpExtListenDrops"     // requests and connections that a listener dropped, whatever the reason
)

// CounterNames are the kernel's counters that a capture holds, from /proc/net/snmp
// and /proc/net/netstat (include/uapi/linux/snmp.h, net/mptcp/mib.h).
var CounterNames = []string{
	CounterPassiveOpens, "TcpActiveOpens", "TcpAttemptFails", "TcpEstabResets", "TcpInErrs", "TcpOutRsts",
	CounterOverflows, CounterDrops, "TcpExtEmbryonicRsts", "TcpExtSyncookiesSent", "TcpExtSyncookiesRecv", "TcpExtSyncookiesFailed",
	"TcpExtTCPReqQFullDoCookies", "TcpExtTCPReqQFullDrop", "TcpExtTCPDeferAcceptDrop", "TcpExtTCPBacklogDrop", "TcpExtTCPTimeWaitOverflow",
	"TcpExtTCPFastOpenPassive", "TcpExtTCPFastOpenPassiveFail", "TcpExtTCPFastOpenListenOverflow", "TcpExtTCPMigrateReqSuccess",
	"TcpExtTCPMigrateReqFailure", "MPTcpExtMPCapableSYNRX", "MPTcpExtMPCapableACKRX", "MPTcpExtMPCapableFallbackACK", CounterMPJoins,
}
