package format

import (
	"net/netip"
	"strconv"
)

// Kind says which side of a kernel function an event was taken on.
type Kind uint8

// The kinds of event. The zero value is no kind and never valid in a capture.
const (
	Enter  Kind = 1 // the function was entered: an attempt begins
	Return Kind = 2 // the function returned: an attempt ends
)

// Hook names the kernel function an event was taken at.
type Hook uint8

// The hooked functions. The zero value is no hook and never valid in a capture.
const (
	HookSysAccept4 Hook = 1 // __sys_accept4: every accept system call, whatever its ABI
	HookDoAccept   Hook = 2 // do_accept: a new socket made outside such a call, or whose call is unknown
)

// NumHooks is one more than the largest Hook.
const NumHooks = 3

// Via says by which way the kernel was asked to accept.
type Via uint8

// The ways into the kernel's accept path.
const (
	ViaUnknown    Via = 0
	ViaAccept     Via = 1 // accept(2)
	ViaAccept4    Via = 2 // accept4(2)
	ViaSocketcall Via = 3 // socketcall(2), the way of 32-bit x86 programs
	ViaIOUring    Via = 4 // an io_uring request
	ViaKernel     Via = 5 // the kernel itself, for a socket of its own
)

// Event marks, the bits of [Event.Mark].
const (
	// MarkEnterLost: the entry of this attempt was not written: the ring was full,
	// or its probe did not run. Set on returns.
	MarkEnterLost = 1 << iota
	// MarkPrevMissed: when this attempt began, the return of the task's previous
	// attempt had not been seen. Set on entries: the kernel had no kretprobe
	// instance left, or skipped the probe.
	MarkPrevMissed
	// MarkNoFacts: the call succeeded, but what do_accept returned was not seen
	// by this event, so that the socket's columns are empty. Set on returns.
	MarkNoFacts
)

// Event is one hit of one probe, as the kernel saw it. It is flat and comparable
// with ==. What does not apply to an event is the zero value; [Fields] says what
// applies to which events, the units, and where each value comes from.
//
// On an entry and on a return that failed, the socket columns (Family to State)
// describe the listener; on a return that succeeded they describe the accepted
// socket.
type Event struct {
	Seq        uint64 // position in the capture, from 1
	BootNS     int64  // nanoseconds of CLOCK_BOOTTIME
	Kind       Kind
	Hook       Hook
	Via        Via
	Mark       uint8
	CPU        uint32
	CPUSeq     uint64 // hits of this hook and kind on this CPU so far, from 1
	PID        uint32 // thread group id, in the initial pid namespace
	TID        uint32 // thread id, in the initial pid namespace
	UID        uint32 // real user id, in the initial user namespace
	Comm       string // the thread's name, up to 15 bytes, as the kernel has it
	Proc       uint32 // number of the Process record, 0 if there is none
	Cgroup     uint64 // cgroup v2 id
	NetNS      uint32 // inode number of the task's network namespace
	SockFD     int32  // the listening descriptor that the program passed
	Flags      uint32 // accept4 flags
	HasAddr    bool   // the program passed an address buffer
	HasAddrLen bool   // the program passed a pointer to the buffer's length

	Ret        int32  // new descriptor, or a negative errno; kernel-internal numbers (-512) are kept
	Listener   uint64 // inode number of the listening socket, 0 if it is not a socket or unknown
	Backlog    uint32 // length of the accept queue
	BacklogMax uint32 // its limit: the queue is full when Backlog > BacklogMax

	Family Family
	Type   uint8 // SOCK_STREAM ...
	Proto  uint16
	State  uint8 // TCP state number
	LAddr  netip.Addr
	LPort  uint16
	RAddr  netip.Addr
	RPort  uint16
	Inode  uint64 // inode number of the accepted socket
	Cookie uint64 // socket cookie of the accepted socket, 0 if the kernel had given it none
}

// Accepted reports whether the event is the return of an attempt that made a socket.
func (e *Event) Accepted() bool { return e.Kind == Return && e.Ret >= 0 }

// Failed reports whether the event is the return of an attempt that made none.
func (e *Event) Failed() bool { return e.Kind == Return && e.Ret < 0 }

// Errno gives the positive error number of a failed return, 0 otherwise.
func (e *Event) Errno() int32 {
	if e.Failed() {
		return -e.Ret
	}
	return 0
}

// Local is the local address and port of the socket that the event describes.
func (e *Event) Local() netip.AddrPort { return netip.AddrPortFrom(e.LAddr, e.LPort) }

// Remote is the peer's address and port; invalid if there is no peer.
func (e *Event) Remote() netip.AddrPort { return netip.AddrPortFrom(e.RAddr, e.RPort) }

// Family is a socket address family by Linux's numbers.
type Family uint16

// The address families that have a name here.
const (
	FamilyUnix  Family = 1
	FamilyIPv4  Family = 2
	FamilyIPv6  Family = 10
	FamilyVSock Family = 40
	FamilySMC   Family = 43
)

var (
	kindNames   = map[int64]string{1: "enter", 2: "return"}
	hookNames   = map[int64]string{1: "__sys_accept4", 2: "do_accept"}
	viaNames    = map[int64]string{0: "unknown", 1: "accept", 2: "accept4", 3: "socketcall", 4: "io_uring", 5: "kernel"}
	familyNames = map[int64]string{0: "", 1: "unix", 2: "ipv4", 10: "ipv6", 40: "vsock", 43: "smc"}
	typeNames   = map[int64]string{0: "", 1: "stream", 2: "dgram", 3: "raw", 5: "seqpacket"}
	protoNames  = map[int64]string{0: "", 6: "tcp", 17: "udp", 132: "sctp", 262: "mptcp"}
	stateNames  = map[int64]string{
		0: "", 1: "established", 2: "syn-sent", 3: "syn-recv", 4: "fin-wait-1", 5: "fin-wait-2", 6: "time-wait",
		7: "closed", 8: "close-wait", 9: "last-ack", 10: "listen", 11: "closing", 12: "new-syn-recv",
	}
)

// name gives a number's word, or the number in decimal if it has none.
func name(names map[int64]string, v int64) string {
	if s, ok := names[v]; ok {
		return s
	}
	return strconv.FormatInt(v, 10)
}

func (k Kind) String() string   { return name(kindNames, int64(k)) }
func (h Hook) String() string   { return name(hookNames, int64(h)) }
func (v Via) String() string    { return name(viaNames, int64(v)) }
func (f Family) String() string { return name(familyNames, int64(f)) }

// StateName is the lower-case word that ss(8) uses for a TCP state number.
func StateName(state uint8) string { return name(stateNames, int64(state)) }
