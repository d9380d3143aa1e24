package conntrack

// This file has a connection as it is given, and how connections end.

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/acc-project/acc/format"
)

// Connection is one TCP connection of a listener, as far as the capture tells.
// Times are of the boot clock, 0 if they are not known; durations are never
// negative, -1 if they are not known.
type Connection struct {
	// ID is the sequence number of the first event that tells of the connection, 0 if
	// it was there all the time and nothing happened to it.
	ID            uint64
	NetNS         uint32
	Local, Remote netip.AddrPort
	Cookie        uint64
	Inode         uint64 // of the accepted socket
	Before        bool   // it was there when recording began
	// a part of the capture is missing before its first event: it began there, or before the recording
	BeginUnknown bool
	StartNS      int64 // which was then

	SynNS         int64 // its first SYN was answered
	EstablishedNS int64
	QueuedNS      int64
	GoneNS        int64 // the peer had sent FIN, before it was accepted
	MovedNS       int64 // tcp_migrate_req had moved it to another listener, the last time
	AcceptedNS    int64
	ClosedNS      int64
	ServerEndNS   int64 // the server closed it, before its end
	ClientEndNS   int64 // the client's FIN came, where it closed first
	EnterNS       int64 // the program had called accept
	EndNS         int64 // the connection closed, or was lost, or recording ended

	HandshakeNS int64 // from its first SYN's answer to the queue
	QueueWaitNS int64 // from the queue to the return of accept
	AliveNS     int64 // from the queue, or accept, to its end
	// from accept to the server's own close, or to the end where there is none, or when is not known
	ServedNS int64

	// WaitedNS is at least how long it was in the queue, if it was when recording began.
	WaitedNS int64

	TID      uint32 // who accepted it
	Via      format.Via
	Ret      int32           // descriptor or slot
	SockFD   int32           // what the program named the listener by: a descriptor, or a registered file, see Uring
	Uring    uint8           // format.Uring..., kind of the io_uring request that accepted it
	UringEnd format.UringEnd // why that request does not go on, if it is multishot

	// TaskNetNS is the network namespace of the task that accepted it, where that is
	// another one than the socket's; else 0.
	TaskNetNS uint32

	Mark   uint16       // of its events
	Cause  format.Cause // why it was queued, 0 not known
	Lost   format.Cause // why it was lost with its listener, 0 not known
	LostBy string       // who stopped the listener then, name[pid], "" not known
	Moves  uint32       // how often it was moved from one listener to another

	StateAtAccept uint8 // TCP state number, valid with AcceptedSeq
	// whether it was accepted is not known: accepts are not recorded, or it can be in a part that is missing
	AcceptUnknown bool
	Holders       []format.Holder // processes that had it open when recording ended, if it was open
	MoreHolders   uint32          // further ones
	HoldersKnown  bool            // the descriptors of all processes were looked at
	LeftState     uint8           // TCP state number when recording ended, 0 unknown
	Dead          bool            // dead on arrival: it was closed when accept returned it
	DeadNS        int64           // and had been for so long

	End         End
	OldState    uint8          // TCP state before it closed
	Read        format.Reading // what the program had read of what came, valid with ClosedSeq
	SockErr     uint16
	Counted     bool   // the next four are known: it closed, or was looked at when recording ended
	BytesIn     uint64 // FINs are taken off
	BytesOut    uint64
	Retransmits uint32
	Unacked     bool // the server had written bytes that the client had not acknowledged when it ended
	SRTTUS      uint32
	SegsIn      uint32 // these are valid with ClosedSeq
	SegsOut     uint32
	MinRTTUS    uint32

	// Refusals are its packets that were dropped before it was queued, the first few of
	// RefusedPackets.
	Refusals       []Refusal
	RefusedPackets uint64
	RefusedNS      int64 // when the last of them was dropped

	// Sequence numbers of its events, 0 if they are not there.
	QueuedSeq, EnterSeq, GoneSeq, MovedSeq, AcceptedSeq, DropSeq, ClosedSeq uint64

	refusedSeq uint64 // the last of them

	ListenerRef, ProcessRef, MovedFromRef Ref // its listener, who accepted it, and where it was moved from last
	Names
}

// Names are what those who keep listeners and processes call those of a connection. The Tracker leaves them empty.
type Names struct {
	Listener    uint64 // inode number, 0 unknown
	ListenAddr  string // what the listener is called in tables, "" unknown
	ListenOwner string // who began to listen, name[pid], "" unknown
	MovedFrom   string // the listener that it was moved from last, "" not known

	PID  uint32 // who accepted it
	Proc uint32 // number of the process record
	Comm string
	// Process is the record of who accepted it, nil if there is none. It is not to be changed.
	Process *format.Process
}

// InQueue is how long it was in the accept queue, -1 if that is not known. atLeast: it
// was there before the recording, which saw that much of it.
func (c *Connection) InQueue() (ns int64, atLeast bool) {
	if c.QueueWaitNS < 0 && c.WaitedNS > 0 {
		return c.WaitedNS, true
	}
	return c.QueueWaitNS, false
}

// ServerDone is when the server closed the connection, or when it ended.
func (c *Connection) ServerDone() int64 { return cmp.Or(c.ServerEndNS, c.EndNS) }

// HandedOver reports whether another process than the one that accepted the connection
// had it open when recording ended: it got the descriptor, or is a child.
func (c *Connection) HandedOver() bool {
	other := func(h format.Holder) bool { return h.PID != c.PID }
	return c.End.Open() && c.AcceptedSeq != 0 && (c.MoreHolders > 0 || slices.ContainsFunc(c.Holders, other))
}

// Has reports whether one of the connection's events has a sequence number.
func (c *Connection) Has(seq uint64) bool {
	if slices.ContainsFunc(c.Refusals, func(r Refusal) bool { return r.Seq == seq }) || seq != 0 &&
		seq == c.refusedSeq {
		return true
	}
	return seq != 0 && (seq == c.ID || seq == c.QueuedSeq || seq == c.EnterSeq || seq == c.GoneSeq ||
		seq == c.MovedSeq || seq == c.AcceptedSeq || seq == c.DropSeq || seq == c.ClosedSeq)
}

// End says how a connection ended, in words for people that are stable.
type End string

// The ends. "Client" is the peer, "server" the program on the recorded host.
const (
	EndByServer      End = "closed by the server"
	EndByClient      End = "closed by the client"
	EndByBoth        End = "closed by both at once"
	EndWriteRefused  End = "closed by the client; what the server sent after that was refused"
	EndResetByClient End = "reset by the client"
	EndResetByServer End = "reset by the server"
	EndTimeout       End = "timed out"
	EndKilled        End = "killed on the server" // ss -K, a policy
	EndError         End = "network error"
	EndListener      End = "lost, its listener stopped listening"
	EndAccept        End = "lost, accept failed after it took it"
	EndRefused       End = "refused, never queued"
	EndOpen          End = "open at the end"
	EndWaiting       End = "in the accept queue at the end"
	EndGone          End = "gone by the end, its end was not seen"
	// only accept was recorded, the connection could not be followed, or its end can be in a part that is missing
	EndNotRecorded End = "not recorded"

	// Of a capture that stops before its end, where nobody knows what came then.
	EndOpenCut    End = "open where the capture stops"
	EndWaitingCut End = "in the accept queue where the capture stops"
	EndRefusedCut End = "refused, not queued where the capture stops"
)

// endIDs are the ends as words for programs, those that are usual first.
var endIDs = []struct {
	end End
	id  string
}{
	{EndByServer, "closed-by-server"}, {EndByClient, "closed-by-client"}, {EndResetByClient, "reset-by-client"},
	{EndByBoth, "closed-by-both"}, {EndWriteRefused, "closed-by-client-write-refused"},
	{EndResetByServer, "reset-by-server"}, {EndOpen, "open"}, {EndNotRecorded, "not-recorded"}, {EndRefused, "refused"},
	{EndWaiting, "waiting"}, {EndGone, "gone"}, {EndTimeout, "timed-out"}, {EndKilled, "killed"},
	{EndError, "network-error"}, {EndListener, "lost-with-listener"}, {EndAccept, "lost-in-accept"},
	{EndOpenCut, "open-so-far"}, {EndWaitingCut, "waiting-so-far"}, {EndRefusedCut, "refused-so-far"},
}

// Ends are all ways in which a connection can end.
func Ends() (list []End) {
	for i := range endIDs {
		list = append(list, endIDs[i].end)
	}
	slices.SortFunc(list, func(a, b End) int { return cmp.Compare(a.ID(), b.ID()) })
	return list
}

// ID is the end as one word, for programs.
func (e End) ID() string {
	for i := range endIDs { // a map takes ten times as long where the first is the one
		if x := &endIDs[i]; x.end == e {
			return x.id
		}
	}
	return ""
}

// Known reports whether it is known when the connection ended, or that it did not.
func (e End) Known() bool { return e != EndNotRecorded && e != EndGone }

// Open reports whether the connection was open, and accepted, when the capture ended.
func (e End) Open() bool { return e == EndOpen || e == EndOpenCut }

// Waiting reports whether the connection was in the accept queue when the capture ended.
func (e End) Waiting() bool { return e == EndWaiting || e == EndWaitingCut }

// Refused reports whether the connection was refused and not queued until the capture ended.
func (e End) Refused() bool { return e == EndRefused || e == EndRefusedCut }

// SoFar reports whether the end is only that of what is known: the capture stops there.
func (e End) SoFar() bool { return e == EndOpenCut || e == EndWaitingCut || e == EndRefusedCut }

// Told reports whether events tell how the connection ended. How others did follows from
// what the capture does not hold.
func (e End) Told() bool {
	return !e.Open() && !e.Waiting() && !e.Refused() && e.Known()
}

// endOf says who closed a connection. An RST from the peer leaves an error in the
// socket, EPIPE if the peer had sent a FIN before (tcp_reset). Who sends a FIN
// first goes through FIN-WAIT, the other one through CLOSE-WAIT and LAST-ACK. A
// socket that closes out of ESTABLISHED or CLOSE-WAIT without an error was closed
// with data unread or without lingering, by an RST (tcp_close, tcp_disconnect).
//
// A peer that has closed in the ordinary way, by a FIN, answers what is written to it
// after that with an RST (RFC 9293, 3.10.7.1). Where no program had the connection, served
// false, nobody can have written, and the peer reset it by itself.
//
// A server that has closed in both directions answers what still comes with an RST, and the kernel leaves ECONNRESET
// in its socket as if the peer had reset it (tcp_rcv_state_process). The server closed; a peer's own RST at that time
// changes nothing for it. After shutdown(SHUT_WR) alone the server still reads, and the peer's RST ends that.
func endOf(oldState uint8, sockErr uint16, shutdown uint8, served bool) End {
	switch sockErr {
	case errnoReset, errnoPipe, errnoConnRefused:
		if shutdown&shutReceiving != 0 && (oldState == format.StateFinWait1 || oldState == format.StateFinWait2) {
			return EndByServer
		}
		if served && (oldState == format.StateCloseWait || oldState == format.StateLastAck) {
			return EndWriteRefused
		}
		return EndResetByClient
	case errnoTimedOut:
		return EndTimeout
	case errnoAborted:
		return EndKilled
	case 0:
	default:
		return EndError
	}
	switch oldState {
	case format.StateFinWait1, format.StateFinWait2:
		return EndByServer
	case format.StateLastAck:
		return EndByClient
	case format.StateClosing:
		return EndByBoth
	}
	return EndResetByServer
}

// Errors that a connection ends with, as Linux numbers them.
const (
	errnoPipe        = 32  // EPIPE
	errnoAborted     = 103 // ECONNABORTED
	errnoReset       = 104 // ECONNRESET
	errnoTimedOut    = 110 // ETIMEDOUT
	errnoConnRefused = 111 // ECONNREFUSED
)

// shutReceiving is the bit of an event's Shutdown that the server reads no more (RCV_SHUTDOWN).
const shutReceiving = 1

// EndOf says who closed the connection of a Closed event.
func EndOf(e *format.Event) End {
	served := e.Inode != 0 || e.OldState == format.StateLastAck // a program has it open, or had and closed it
	return endOf(e.OldState, e.SockErr, e.Shutdown, served)
}
