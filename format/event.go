package format

// This file has the event, and its kinds, hooks and marks.

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Kind says which side of a kernel function an event was taken on.
type Kind uint8

// The kinds of event. The zero value is no kind and never valid in a capture.
// Enter and Return are the two ends of an attempt to accept, taken on the task
// that accepts. The others are of the life of TCP connections and listeners; but
// for Listen and Stop they come on whatever task the CPU runs, which is not recorded.
const (
	Enter  Kind = 1 // the function was entered: an attempt begins
	Return Kind = 2 // the function returned: an attempt ends
	Queued Kind = 3 // a connection was put into a listener's accept queue
	Closed Kind = 4 // a connection that a listener got has ended: its totals
	Drop   Kind = 5 // a listener refused or lost a connection; Hook says how
	State  Kind = 6 // a connection that a listener got changed its state, in a way that matters
	Listen Kind = 7 // a socket began to listen, or was told to listen again
	Stop   Kind = 8 // a socket stopped listening; Cause says how
)

// NumKinds is one more than the largest Kind.
const NumKinds = 9

// Hook names the kernel function an event was taken at.
type Hook uint8

// The hooked functions. The zero value is no hook and never valid in a capture.
const (
	HookSysAccept4 Hook = 1 // __sys_accept4: every accept system call, whatever its ABI
	HookDoAccept   Hook = 2 // do_accept: an attempt of an io_uring request, or one whose call is unknown
	HookIOAccept   Hook = 3 // io_accept: an attempt of an io_uring request that ended before do_accept
	// io_uring_complete: a request that ended without an attempt: cancelled, or its descriptor was bad
	HookIOComplete   Hook = 4
	HookKernelAccept Hook = 5 // kernel_accept: the kernel accepted for a socket of its own
	HookSysExit      Hook = 6 // the end of an accept system call whose own return was not seen
	// fd_install: the same, of a call that began before the recording; only those that succeed
	HookFDInstall Hook = 7

	HookHashdance   Hook = 8  // inet_csk_complete_hashdance: the handshake is complete, the child is queued
	HookQueueAdd    Hook = 9  // inet_csk_reqsk_queue_add: the same by a SYN cookie or with TCP fast open
	HookSetState    Hook = 10 // inet_sock_set_state: Closed and State that no other probe tells of
	HookConnRequest Hook = 11 // tcp_conn_request: Drop at the SYN, a queue is full
	// tcp_v4_syn_recv_sock, tcp_v6_syn_recv_sock: Drop at the last ACK, the accept queue is full
	HookSynRecv     Hook = 12
	HookChildForget Hook = 13 // inet_child_forget: Drop of a queued connection, its listener stopped listening
	HookListenStart Hook = 14 // inet_csk_listen_start: Listen
	HookTCPDone     Hook = 15 // tcp_done: Closed, by a packet or a timer
	HookTCPFin      Hook = 16 // tcp_fin: State
	HookInetListen  Hook = 17 // inet_listen: Listen of a socket that listens already: its queue gets another limit
	HookMigrateSock Hook = 18 // reuseport_migrate_sock: a connection in a queue is moved to another one, Queued
	HookListenStop  Hook = 19 // inet_csk_listen_stop: Stop
)

// NumHooks is one more than the largest Hook.
const NumHooks = 20

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
	// MarkArmed: nothing was there to accept, and the io_uring request waits for a
	// connection: no failure. Set on returns with EAGAIN.
	MarkArmed
	// MarkClientLost: the attempt failed after it had taken a connection from the
	// queue, which the kernel then destroyed: the socket's columns say whose. Set on returns.
	MarkClientLost
	// MarkBefore: the attempt began before the recording. Set on returns.
	MarkBefore
	// MarkNoFD: the new descriptor is not known, or there is none: an accept of the
	// kernel's own, or of an io_uring request before its descriptor was watched. Set on returns.
	MarkNoFD
	// MarkDenied: the call was refused before it reached accept, by seccomp. Set on returns.
	MarkDenied
	// MarkSynCookie: the connection was made from a SYN cookie. Set on Queued.
	MarkSynCookie
	// MarkFastOpen: the connection was queued at its SYN (TCP fast open), before the
	// handshake was complete. Set on Queued.
	MarkFastOpen
	// MarkDeferred: the connection was queued only when its first data came
	// (TCP_DEFER_ACCEPT). Set on Queued.
	MarkDeferred
	// MarkSynQueue: it was the SYN queue that was full, not the accept queue. Set on Drop.
	MarkSynQueue
	// MarkAddrShort: the program's buffer was too short for the peer's address, which
	// was cut, as accept(2) says. Set on returns.
	MarkAddrShort
	// MarkAddrDiffers: the address in the program's buffer was not the peer's when the
	// call returned: TCP knows another one, or something wrote over it. Set on returns.
	MarkAddrDiffers
	// MarkEnterLeftOut: the entry of this attempt was not recorded, by design: whether it is selected shows at the
	// return, and it was too long ago to come in order then. Set on returns.
	MarkEnterLeftOut
)

// Cause says why a connection was queued, or dropped, or a listener stopped.
type Cause uint8

// The causes. The zero value says that it is not known: captures before acc recorded causes have
// no other, and of MPTCP not all can be told apart.
const (
	CauseHandshake    Cause = 1 // Queued: the last ACK of its handshake came
	CauseDeferData    Cause = 2 // Queued, TCP_DEFER_ACCEPT: its first data came
	CauseDeferClosed  Cause = 3 // Queued, TCP_DEFER_ACCEPT: the client's FIN came, and no data
	CauseDeferRanOut  Cause = 4 // Queued, TCP_DEFER_ACCEPT: no data came in time
	CauseCookieAlways Cause = 5 // Queued, by a SYN cookie: tcp_syncookies is 2
	// Queued, by a SYN cookie: tcp_syncookies was 1 when its ACK came, which sends them when the SYN queue is full
	CauseCookieFull      Cause = 6
	CauseFastOpen        Cause = 7  // Queued at its SYN, by TCP fast open
	CauseMoved           Cause = 8  // Queued again: tcp_migrate_req moved it from a listener that stopped
	CauseMovedHandshake  Cause = 9  // Queued: its handshake began with another listener, which stopped
	CauseAcceptQueueFull Cause = 10 // Drop: the accept queue is full
	CauseSynQueueFull    Cause = 11 // Drop at the SYN: the SYN queue is full
	// Drop at the last ACK: the accept queue is full, and tcp_abort_on_overflow has the client reset
	CauseAborted       Cause = 12
	CauseCookieDropped Cause = 13 // Drop at the last ACK, of a SYN cookie: the accept queue is full

	// The rest are of Stop, and of Drop of a connection that was in the queue then.

	CauseListenerClosed Cause = 14 // the listener was closed
	// it was not closed; shutdown(2), connect(2) with AF_UNSPEC, or ss -K stopped it
	CauseListenerStopped      Cause = 15
	CauseListenerShut         Cause = 16 // shutdown(2)
	CauseListenerDisconnected Cause = 17 // connect(2) with AF_UNSPEC
	CauseListenerDestroyed    Cause = 18 // a message to sock_diag, as ss -K sends it
	CauseListenerExited       Cause = 19 // it was closed because its last process ended
)

// The bits of [Event.Uring].
const (
	UringMultishot  = 1 << iota // the request goes on accepting
	UringDirect                 // it puts sockets into the ring's own table: Ret is a slot
	UringRegistered             // its listener is a file that is registered with the ring: SockFD is its number there
)

// UringEnd says why a multishot request of io_uring does not go on.
type UringEnd uint8

// The ends of a multishot request. It can be armed again.
const (
	UringGoesOn      UringEnd = 0 // it goes on, or is not multishot
	UringQueueFull   UringEnd = 1 // the completion queue had no room for one more that says that the request goes on
	UringFailed      UringEnd = 2 // the attempt failed
	UringCancelled   UringEnd = 3 // the program cancelled it
	UringRingClosed  UringEnd = 4 // the ring was closed
	UringThreadEnded UringEnd = 5 // the thread that had asked for it ended
)

// NumUringEnds is one more than the largest UringEnd.
const NumUringEnds = 6

// Event is one hit of one probe, as the kernel saw it. It is flat and comparable
// with ==. What does not apply to an event is the zero value; [Fields] says what
// applies to which events, the units, and where each value comes from.
//
// On an entry, a return that failed, a Listen and a Stop, the socket columns (Family to
// State) describe the listener; on a return that succeeded, or lost a client, and
// on all others they describe the connection's socket on this host. All events of
// one connection have the same Cookie, where the kernel has cookies for probes
// (from 5.12), and the same NetNS, addresses and ports.
type Event struct {
	Seq       uint64 // position in the capture, from 1
	BootNS    int64  // nanoseconds of CLOCK_BOOTTIME
	Kind      Kind
	Hook      Hook
	Via       Via
	Mark      uint16 // Mark...
	Uring     uint8  // Uring..., of a request
	CPU       uint32
	CPUSeq    uint64 // hits of this hook and kind on this CPU so far, from 1
	PID       uint32 // thread group id, in the initial pid namespace
	TID       uint32 // thread id, in the initial pid namespace
	UID       uint32 // real user id, in the initial user namespace
	Comm      string // the thread's name, up to 15 bytes, as the kernel has it
	Proc      uint32 // number of the Process record, 0 if there is none
	Cgroup    uint64 // cgroup v2 id
	NetNS     uint32 // inode number of the socket's network namespace; of the task's, where there is no socket
	TaskNetNS uint32 // of the task's, where that is another one; else 0
	// the listening descriptor that the program passed, or the number of a registered file, see Uring; -1 not known
	SockFD     int32
	Flags      uint32 // accept4 flags
	HasAddr    bool   // the program passed an address buffer
	HasAddrLen bool   // the program passed a pointer to the buffer's length
	AddrLenIn  int32  // the buffer's length that it passed, 0 without

	UserData uint64   // what the program named the io_uring request
	UringEnd UringEnd // why it does not go on after this event, if it is multishot

	Ret      int32  // new descriptor, or slot, or a negative errno; kernel-internal numbers (-512) are kept
	Listener uint64 // inode number of the listening socket, 0 if it is not a socket or unknown
	Backlog  uint32 // length of the accept queue
	// its limit: the queue is full when Backlog > BacklogMax; of Closed, its listener's limit when it was made
	BacklogMax uint32

	Family Family
	Type   uint8 // SOCK_STREAM ...
	Proto  uint16
	State  uint8 // TCP state number
	LAddr  netip.Addr
	LPort  uint16
	RAddr  netip.Addr
	RPort  uint16
	Inode  uint64 // inode number of the accepted socket
	Cookie uint64 // socket cookie of the connection, 0 if the kernel had given it none

	// what the listener is bound to where that is no IP address: a path, @ and an abstract name, cid:port
	LName   string
	RName   string // the peer's cid:port
	PeerPID uint32 // process that connected, of a socket in the UNIX domain; thread group id, initial pid namespace
	PeerUID uint32 // its effective user id, initial user namespace

	// What the program was told, read from its memory when the call returned.
	AddrLenOut int32      // the length of the peer's address, 0 if it did not ask
	ToldFamily Family     // the address there, if it is not the peer's (MarkAddrDiffers)
	ToldAddr   netip.Addr // "
	ToldPort   uint16     // "

	// The life of a TCP connection.
	OldState uint8 // TCP state before State
	// error number that the socket was left with, of Closed: 104 reset by the peer, 110 timed out ...
	SockErr     uint16
	Shutdown    uint8  // directions that were shut down, of Closed, and what the program read: see Read
	SynQueue    uint32 // requests in the listener's SYN queue
	Cause       Cause  // why a connection was queued or dropped, of Queued and Drop
	HandshakeUS uint32 // microseconds from the SYN that began the connection to here, of Queued; 0 not known
	BytesIn     uint64 // received in order; a FIN counts as one
	BytesOut    uint64 // sent and acknowledged; SYN is not counted, a FIN counts as one
	SegsIn      uint32
	SegsOut     uint32
	Retransmits uint32 // segments sent again
	SRTTUS      uint32 // smoothed round trip time, microseconds; 0 not measured
	MinRTTUS    uint32 // the least one of the kernel's window, microseconds; 0 not measured
	// microseconds from the server's close, or shutdown for sending, to here, of Closed; 0: it did neither before, or
	// when is not known
	ClosingUS uint64
	FinUS     uint64 // the same of the client's FIN, where the client closed first
}

// Why is the event's cause; of captures before acc recorded causes, as far as a mark tells it.
func (e *Event) Why() Cause {
	switch {
	case e.Cause != 0:
		return e.Cause
	case e.Mark&MarkFastOpen != 0:
		return CauseFastOpen
	case e.Mark&MarkSynQueue != 0:
		return CauseSynQueueFull
	}
	return 0
}

// Accepted reports whether the event is the return of an attempt that made a socket.
func (e *Event) Accepted() bool { return e.Kind == Return && e.Ret >= 0 }

// Failed reports whether the event is the return of an attempt that made none;
// an io_uring request that begins to wait has not failed.
func (e *Event) Failed() bool { return e.Kind == Return && e.Ret < 0 && e.Mark&MarkArmed == 0 }

// Armed reports whether the event is an io_uring request that begins to wait:
// neither an accepted connection nor a failure.
func (e *Event) Armed() bool { return e.Kind == Return && e.Ret < 0 && e.Mark&MarkArmed != 0 }

// Errno gives the positive error number of a return, 0 on success and on entries.
func (e *Event) Errno() int32 {
	if e.Kind == Return && e.Ret < 0 {
		return -e.Ret
	}
	return 0
}

// Local is the local address and port of the socket that the event describes.
func (e *Event) Local() netip.AddrPort { return netip.AddrPortFrom(e.LAddr, e.LPort) }

// Remote is the peer's address and port; invalid if there is no peer.
func (e *Event) Remote() netip.AddrPort { return netip.AddrPortFrom(e.RAddr, e.RPort) }

// Bound is what the event's local end is bound to, for people: address and port,
// or a name with what is not printable escaped; "" if it is not known.
func (e *Event) Bound() string {
	if e.LAddr.IsValid() {
		return e.Local().String()
	}
	return Quote(e.LName)
}

// Peer is who connected, for people, "" if it is not known.
func (e *Event) Peer() string {
	switch {
	case e.RAddr.IsValid():
		return e.Remote().String()
	case e.RName != "":
		return Quote(e.RName)
	case e.PeerPID != 0:
		return "pid " + strconv.FormatUint(uint64(e.PeerPID), 10) + " uid " + strconv.FormatUint(uint64(e.PeerUID), 10)
	}
	return ""
}

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

// Protocols whose number the code asks for; the others are in the table of fields.
const (
	ProtoTCP   uint16 = 6
	ProtoMPTCP uint16 = 262 // IPPROTO_MPTCP
)

// TCP state numbers, from the kernel's include/net/tcp_states.h.
const (
	StateEstablished uint8 = 1
	StateSynRecv     uint8 = 3
	StateFinWait1    uint8 = 4
	StateFinWait2    uint8 = 5
	StateClosed      uint8 = 7
	StateCloseWait   uint8 = 8
	StateLastAck     uint8 = 9
	StateListen      uint8 = 10
	StateClosing     uint8 = 11
)

var (
	kindNames = map[int64]string{1: "enter", 2: "return", 3: "queued", 4: "closed", 5: "drop", 6: "state", 7: "listen",
		8: "stop"}
	hookNames = map[int64]string{
		1: "__sys_accept4", 2: "do_accept", 3: "io_accept", 4: "io_uring_complete", 5: "kernel_accept", 6: "sys_exit",
		7: "fd_install",
		8: "inet_csk_complete_hashdance", 9: "inet_csk_reqsk_queue_add", 10: "inet_sock_set_state",
		11: "tcp_conn_request",
		12: "tcp_syn_recv_sock", 13: "inet_child_forget", 14: "inet_csk_listen_start",
		15: "tcp_done", 16: "tcp_fin", 17: "inet_listen", 18: "reuseport_migrate_sock", 19: "inet_csk_listen_stop",
	}
	causeNames = map[int64]string{
		0: "", 1: "handshake", 2: "defer-data", 3: "defer-closed", 4: "defer-ran-out", 5: "cookie-always",
		6: "cookie-syn-queue-full", 7: "fast-open",
		8: "moved", 9: "moved-in-handshake", 10: "accept-queue-full", 11: "syn-queue-full", 12: "aborted",
		13: "cookie-dropped",
		14: "listener-closed", 15: "listener-stopped", 16: "listener-shut-down", 17: "listener-disconnected",
		18: "listener-destroyed", 19: "listener-exited",
	}
	uringNames = map[int64]string{0: "", 1: "multishot", 2: "direct", 3: "multishot direct", 4: "registered",
		5: "multishot registered",
		6: "direct registered", 7: "multishot direct registered"}
	uringEndNames = map[int64]string{0: "", 1: "completion-queue-full", 2: "failed", 3: "cancelled", 4: "ring-closed",
		5: "thread-ended"}
	viaNames    = map[int64]string{0: "unknown", 1: "accept", 2: "accept4", 3: "socketcall", 4: "io_uring", 5: "kernel"}
	familyNames = map[int64]string{0: "", 1: "unix", 2: "ipv4", 10: "ipv6", 40: "vsock", 43: "smc"}
	typeNames   = map[int64]string{0: "", 1: "stream", 2: "dgram", 3: "raw", 5: "seqpacket"}
	protoNames  = map[int64]string{0: "", 6: "tcp", 17: "udp", 132: "sctp", 262: "mptcp"}
	stateNames  = map[int64]string{
		0: "", 1: "established", 2: "syn-sent", 3: "syn-recv", 4: "fin-wait-1", 5: "fin-wait-2", 6: "time-wait",
		7: "closed", 8: "close-wait", 9: "last-ack", 10: "listen", 11: "closing", 12: "new-syn-recv",
	}
)

// The same of those that are asked for once an event.
var (
	kindNamed, hookNamed, viaNamed = numberedOf(kindNames), numberedOf(hookNames), numberedOf(viaNames)
	causeNamed, stateNamed         = numberedOf(causeNames), numberedOf(stateNames)
)

// numbered are the names of the lowest numbers.
type numbered [32]string

func numberedOf(names map[int64]string) (w numbered) {
	for i := range w {
		w[i] = name(names, int64(i))
	}
	return w
}

func (w *numbered) of(n uint8) string {
	if int(n) < len(w) {
		return w[n]
	}
	return strconv.Itoa(int(n))
}

// name gives a number's word, or the number in decimal if it has none.
func name(names map[int64]string, v int64) string {
	if s, ok := names[v]; ok {
		return s
	}
	return strconv.FormatInt(v, 10)
}

// MarshalJSON gives the word.
func (k Kind) MarshalJSON() ([]byte, error) { return word(k), nil }

// MarshalJSON gives the word.
func (h Hook) MarshalJSON() ([]byte, error) { return word(h), nil }

// MarshalJSON gives the word.
func (f Family) MarshalJSON() ([]byte, error) { return word(f), nil }

func word(s fmt.Stringer) []byte { return strconv.AppendQuote(nil, s.String()) }

func (k Kind) String() string   { return kindNamed.of(uint8(k)) }
func (h Hook) String() string   { return hookNamed.of(uint8(h)) }
func (v Via) String() string    { return viaNamed.of(uint8(v)) }
func (f Family) String() string { return name(familyNames, int64(f)) }
func (c Cause) String() string  { return causeNamed.of(uint8(c)) }

// String is a word for an end of a multishot request, "" if it goes on.
func (u UringEnd) String() string { return name(uringEndNames, int64(u)) }

// Words is why a multishot request ended, for people.
func (u UringEnd) Words() string {
	switch u {
	case UringFailed:
		return "an error"
	case UringThreadEnded:
		return "the thread that armed it has ended"
	}
	return strings.ReplaceAll(u.String(), "-", " ")
}

// ListenerFD is what the program named the listener by, for people.
func (e *Event) ListenerFD() string {
	switch {
	case e.Uring&UringRegistered != 0 && e.SockFD < 0:
		return "a registered file"
	case e.Uring&UringRegistered != 0:
		return "registered file " + strconv.Itoa(int(e.SockFD))
	case e.SockFD < 0:
		return "a descriptor that is not known"
	}
	return "descriptor " + strconv.Itoa(int(e.SockFD))
}

// UringName is the words for the bits of [Event.Uring]; "single" for none.
func UringName(uring uint8) string { return cmp.Or(name(uringNames, int64(uring)), "single") }

// StateName is the lower-case word that ss(8) uses for a TCP state number.
func StateName(state uint8) string { return stateNamed.of(state) }
