package report

// This file says in words what one event means.

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/acc-project/acc/analysis/listeners"

	"github.com/acc-project/acc/analysis/conntrack"

	"github.com/acc-project/acc/analysis/crosscheck"
	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/format"
)

// Explain says in words what one event means, and then every field that it has
// and that is not empty, with its meaning. Nothing in it can steer a terminal.
//
// p is the record of the event's process, nil if there is none; listener what the event's
// listener is bound to, if that is known; h the capture's header.
// Lines fit the width; 0: they are as long as they are.
func Explain(e *format.Event, p *format.Process, listener netip.AddrPort, h *format.Header, clocks *format.Clocks,
	zone *time.Location, width int) string {
	var b strings.Builder
	at := clocks.AppendMoment(nil, e.BootNS, zone, "2006-01-02 15:04:05.000000000 -07:00")
	head := fmt.Sprintf("event %d: %s of %s at %s on cpu%d", e.Seq, e.Kind, e.Hook, at, e.CPU)
	list := append([]string{head}, sentences(e)...)
	if accepted := e.Kind == format.Return && e.Accepted(); accepted || e.Kind == format.Queued {
		list = append(list, steered(e.Local(), listener))
	}
	for _, s := range list {
		if s == "" {
			continue
		}
		b.WriteString(strings.Join(wrap(s, width), "\n") + "\n")
	}
	b.WriteByte('\n')
	rows := [][]string{}
	for i := range format.Fields {
		f := &format.Fields[i]
		if s := f.Text(e); !f.Has(e) || f.Name == "mark" || s == "" || s == "null" || s == "0" && noneIfZero[f.Name] ||
			s == "-1" && f.Name == "sockfd" {
			continue // the sentences explain marks
		}
		rows = append(rows, []string{"  " + f.Name, f.Text(e), f.Doc})
	}
	b.WriteString(Paragraphs(width, rows))
	if p != nil {
		b.WriteString("\n" + Fold(ProcessText(p, h, zone), width, processIndent))
	}
	return b.String()
}

// noneIfZero are fields of which 0 says that there is none.
var noneIfZero = map[string]bool{"inode": true, "told_family": true, "told_port": true, "cookie": true, "uring": true,
	"user_data":  true,
	"task_netns": true, "uring_end": true, "peer_pid": true, "peer_uid": true, "proc": true, "addrlen_out": true,
	"sock_err": true}

// sentences say what happened.
func sentences(e *format.Event) []string {
	var list []string
	say := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	switch e.Kind {
	case format.Enter:
		say("%s calls %s on %s (%s).", task(e), e.Via, e.ListenerFD(), where(e))
		say("%s", queueWords(e))
	case format.Return:
		returned(e, say)
	case format.Listen:
		if e.Hook == format.HookInetListen {
			say("%s calls listen again on %s: its accept queue takes %s from now on, and holds %d.", task(e), where(e),
				many(uint64(e.BacklogMax)+1, "connection"), e.Backlog)
			break
		}
		say("%s begins to listen on %s; its accept queue takes %s.", task(e), where(e),
			many(uint64(e.BacklogMax)+1, "connection"))
	case format.Stop:
		say("The listener %s %s. Its accept queue held %s then.", where(e),
			e.Cause.StopWords(fmt.Sprintf("%s[%d]", cmp.Or(format.Quote(e.Comm), "?"), e.PID)),
			many(uint64(e.Backlog), "connection"))
	case format.Queued:
		say("%s The connection now waits for the program to accept it.", cameWords(e))
		say("%s", queueWords(e))
	case format.State:
		say("The connection from %s to %s went from %s to %s%s.", e.Peer(), e.Bound(), format.StateName(e.OldState),
			format.StateName(e.State), stateWords(e))
	case format.Closed:
		if crosscheck.Discarded(e) {
			say("Two CPUs ended the handshake of %s with %s at the same time. Both made a socket, and this is the "+
				"one that was dropped: no connection, the other one lives on.", e.Peer(), e.Bound())
			break
		}
		c := conntrack.EndOf(e)
		say("The connection from %s to %s has ended: %s (it was %s).", e.Peer(), e.Bound(), c,
			format.StateName(e.OldState))
		if e.FinUS != 0 {
			say("The client had sent FIN %s before.", Duration(int64(e.FinUS)*1000))
		}
		if e.ClosingUS != 0 {
			say("The server had closed it %s before.", Duration(int64(e.ClosingUS)*1000))
		}
		in, out := e.StreamBytes()
		say("The client sent %s and got %s; %s had to be sent again.", Bytes(int64(in)), Bytes(int64(out)),
			humanize.Plural(uint64(e.Retransmits), "segment"))
		if e.SockErr != 0 {
			say("The program gets the error %s when it uses the socket.", format.ErrnoName(int32(e.SockErr)))
		}
	case format.Drop:
		dropped(e, say)
	}
	if e.TaskNetNS != 0 && e.Via != format.ViaKernel {
		say("The task is in network namespace %d; the socket is in another network namespace, %d.", e.TaskNetNS,
			e.NetNS)
	}
	if e.UringEnd != format.UringGoesOn {
		say("The multishot accept ended (%s): no more connections are accepted by this request.", e.UringEnd.Words())
	}
	for i, w := range format.MarkNames(^uint16(0)) {
		if e.Mark&(1<<i) != 0 && markWords[i] != "" && (e.Why() == 0 || 1<<i&causeMarks == 0) {
			say("[%s] %s", w, markWords[i])
		}
	}
	return list
}

// causeMarks are marks of which an event's cause says more.
const causeMarks = format.MarkSynCookie | format.MarkFastOpen | format.MarkDeferred | format.MarkSynQueue

// markWords explain the marks of an event, by bit.
var markWords = [16]string{
	"The entry of this attempt was not written: how long it took is not known.",
	"The return of this thread's previous attempt is not recorded.",
	"Which socket was made is not recorded in this event.",
	"Nothing was there to accept: the io_uring request waits. That is no failure.",
	"The attempt failed after it had taken a connection, which the kernel then destroyed: a client was cut off.",
	"The attempt began before the recording.",
	"The new descriptor is not known, or there is none.",
	"The call was refused before it reached accept, by seccomp.",
	"The connection was made from a SYN cookie; why one was sent is not recorded.",
	"The connection was queued at its SYN, before the handshake was complete (TCP fast open).",
	"The listener had let the connection wait for its first data (TCP_DEFER_ACCEPT). Whether data came, the client " +
		"closed or the time ran out is not recorded.",
	"It was the SYN queue that was full.",
	"The program's buffer was too short for the peer's address, which was cut, as accept(2) says.",
	"The address in the program's buffer, or its length, was not the peer's when the call returned.",
}

func task(e *format.Event) string {
	s := fmt.Sprintf("%s[%d]", cmp.Or(format.Quote(e.Comm), "?"), e.PID)
	if e.TID != e.PID {
		s += fmt.Sprintf(", thread %d,", e.TID)
	}
	return s
}

func where(e *format.Event) string {
	return cmp.Or(e.Bound(), e.Family.String(), "what it is, is not known")
}

func queueWords(e *format.Event) string {
	if e.Listener == 0 {
		return "The listener is not known."
	}
	n, full := uint64(e.Backlog), ""
	if e.Kind == format.Queued { // which comes before it is put in
		n++
	}
	if n > uint64(e.BacklogMax) {
		full = ": it is full, the next client is refused"
		if e.Family == format.FamilyUnix {
			full = ": it is full, the next connect waits, or fails with EAGAIN if it is non-blocking"
		}
	}
	return fmt.Sprintf("The accept queue holds %d, its limit is %d%s.", n, e.BacklogMax, full)
}

// cameWords says how a connection came to be queued.
func cameWords(e *format.Event) string {
	client := fmt.Sprintf("A client, %s, ", e.Peer())
	switch e.Why() {
	case format.CauseDeferData:
		return client + fmt.Sprintf("has sent its first data to %s%s; its handshake was complete before, and the "+
			"listener waits for data (TCP_DEFER_ACCEPT).", e.Bound(), took(e))
	case format.CauseDeferClosed:
		return client + fmt.Sprintf("has closed its connection to %s without data%s; the listener had waited for "+
			"data (TCP_DEFER_ACCEPT).", e.Bound(), took(e))
	case format.CauseDeferRanOut:
		return client + fmt.Sprintf("has sent no data to %s%s, and TCP_DEFER_ACCEPT ran out.", e.Bound(), took(e))
	case format.CauseCookieAlways:
		return client + fmt.Sprintf("has completed its handshake with %s, by a SYN cookie (tcp_syncookies is 2: "+
			"always).", e.Bound())
	case format.CauseCookieFull:
		return client + fmt.Sprintf("has completed its handshake with %s, by a SYN cookie (net.ipv4.tcp_syncookies "+
			"was 1 then: the kernel sends cookies when the SYN queue is full).", e.Bound())
	case format.CauseFastOpen:
		return client + fmt.Sprintf("has begun a connection to %s by TCP fast open: it is queued at its SYN, before "+
			"the handshake is complete.", e.Bound())
	case format.CauseMoved:
		return fmt.Sprintf("The connection from %s to %s was in the queue of a listener that stopped; the kernel "+
			"moved it to this one (tcp_migrate_req).", e.Peer(), e.Bound())
	case format.CauseMovedHandshake:
		return client + fmt.Sprintf("has completed its handshake with %s%s, at another listener than it began with, "+
			"which stopped (tcp_migrate_req).", e.Bound(), took(e))
	}
	if e.Mark&format.MarkDeferred != 0 {
		return client + fmt.Sprintf("is connected to %s%s.", e.Bound(), took(e))
	}
	return client + fmt.Sprintf("has completed its handshake with %s%s.", e.Bound(), took(e))
}

func took(e *format.Event) string {
	if e.HandshakeUS == 0 {
		return ""
	}
	return " in " + Duration(int64(e.HandshakeUS)*1000)
}

func stateWords(e *format.Event) string {
	if e.State == format.StateCloseWait {
		return ": the client has sent FIN"
	}
	return ""
}

func dropped(e *format.Event, say func(string, ...any)) {
	switch {
	case e.Hook == format.HookChildForget:
		end := "the kernel resets it, the client sees its connection break"
		if e.State == format.StateCloseWait {
			end = "the client had sent FIN already"
		}
		say("The listener %s while the connection from %s to %s was in its accept queue: %s.", e.Cause.StopWords(""),
			e.Peer(), e.Bound(), end)
	case e.Cause == format.CauseAborted:
		say("The last ACK of the handshake of %s to %s was answered with a reset: the accept queue is full, and "+
			"tcp_abort_on_overflow was 1.", e.Peer(), e.Bound())
	case e.Cause == format.CauseCookieDropped:
		say("The last ACK of the handshake of %s to %s, by a SYN cookie, was dropped: the accept queue is full. The "+
			"client believes that it is connected.", e.Peer(), e.Bound())
	case e.Hook == format.HookSynRecv && e.Cause == 0:
		say("The last ACK of the handshake of %s to %s was refused: the accept queue is full.", e.Peer(), e.Bound())
	case e.Mark&format.MarkSynQueue != 0:
		say("A SYN of %s to %s was dropped: the SYN queue is full (%s). A client that still wants the connection "+
			"sends it again: Linux after about a second.", e.Peer(), e.Bound(), many(uint64(e.SynQueue), "request"))
	case e.Hook == format.HookSynRecv:
		say("The last ACK of the handshake of %s to %s was dropped: the accept queue is full. The client believes "+
			"that it is connected.", e.Peer(), e.Bound())
	default:
		say("A SYN of %s to %s was dropped: the accept queue is full. A client that still wants the connection sends "+
			"it again: Linux after about a second.", e.Peer(), e.Bound())
	}
	if e.Hook != format.HookChildForget {
		say("%s", queueWords(e))
	}
}

func returned(e *format.Event, say func(string, ...any)) {
	switch {
	case e.Armed():
		say("%s asked io_uring to accept on %s (%s); nothing is there yet.", task(e), e.ListenerFD(), where(e))
	case e.Accepted():
		what := fmt.Sprintf("descriptor %d", e.Ret)
		if e.Mark&format.MarkNoFD != 0 {
			what = "a socket"
		}
		say("%s got a connection by %s: %s, from %s to %s.", task(e), e.Via, what,
			cmp.Or(e.Peer(), "a peer that is not known"), where(e))
		switch e.State {
		case format.StateClosed:
			say("It was dead on arrival: the client had reset it while it was in the queue.")
		case format.StateCloseWait:
			say("The client had sent FIN already; what it sent can still be read.")
		}
		if e.Mark&format.MarkAddrDiffers != 0 {
			if e.ToldAddr == e.RAddr && e.ToldPort == e.RPort && e.RAddr.IsValid() {
				say("The peer's address was returned to the program with a wrong length: %d.", e.AddrLenOut)
			} else {
				say("The peer address returned to the program is %s %s port %d; the peer is %s.", e.ToldFamily,
					e.ToldAddr, e.ToldPort, e.Peer())
			}
		}
	default:
		say("%s of %s on %s (%s) failed with %s: %s.", e.Via, task(e), e.ListenerFD(), where(e),
			format.ErrnoName(e.Errno()),
			cmp.Or(listeners.Meaning(e.Errno()), "accept(2) says more"))
		if e.Mark&format.MarkClientLost != 0 {
			say("The client that was cut off is %s.", e.Peer())
		}
	}
	if e.Listener != 0 {
		say("%s", queueWords(e))
	}
}
