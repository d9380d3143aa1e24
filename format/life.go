package format

// This file has why connections were queued, dropped and ended, and writes their lines.

import (
	"cmp"
	"strconv"
	"strings"
)

// causeList is the causes and their numbers, for the specification.
func causeList() string {
	var list []string
	for n := int64(0); n < int64(len(causeNames)); n++ {
		list = append(list, strconv.FormatInt(n, 10)+" "+cmp.Or(causeNames[n], "not known"))
	}
	return strings.Join(list, ", ")
}

// causeWords say what an event of a cause is, of those that are not told by the event's kind and hook.
var causeWords = map[Cause]string{
	CauseDeferData: "deferred, data came", CauseDeferClosed: "deferred, closed without data",
	CauseDeferRanOut:  "deferral ran out",
	CauseCookieAlways: "SYN cookie (always)", CauseCookieFull: "SYN cookie (sent when the SYN queue is full)",
	CauseFastOpen: "fast open",
	CauseMoved:    "moved from another listener", CauseMovedHandshake: "handshake moved from another listener",
	CauseSynQueueFull:  "SYN refused, the SYN queue is full",
	CauseAborted:       "last ACK answered with a reset, the accept queue is full",
	CauseCookieDropped: "last ACK of a SYN cookie refused, the accept queue is full",
}

// dropWords say what a Drop of a hook is, unless its cause says more.
var dropWords = map[Hook]string{
	HookConnRequest: "SYN refused, the accept queue is full",
	HookSynRecv:     "last ACK refused, the accept queue is full",
}

// stopWords say how a listener stopped: what was done to it, and by which way.
var stopWords = map[Cause][2]string{
	CauseListenerClosed:       {"was closed"},
	CauseListenerStopped:      {"was stopped", ", not closed (shutdown(2), connect(2) with AF_UNSPEC, or ss -K)"},
	CauseListenerShut:         {"was shut down", " (shutdown(2))"},
	CauseListenerDisconnected: {"was disconnected", " (connect(2) with AF_UNSPEC)"},
	CauseListenerDestroyed:    {"was destroyed", " (a message to sock_diag, as ss -K sends it)"},
	CauseListenerExited:       {"was closed", ", because the process ended"},
}

// StopWords says how a listener stopped, of the cause of a Stop, or of a Drop of a connection that was lost
// with it: it "stopped listening" if no more is known. by is who did it, "" if that is not known.
func (c Cause) StopWords(by string) string {
	words, known := stopWords[c]
	if !known {
		return "stopped listening"
	}
	if by != "" {
		by = " by " + by
	}
	return words[0] + by + words[1]
}

// appendLife appends what an event of a connection's life says: no task did it.
func appendLife(dst []byte, e *Event) []byte {
	number := func(before string, v uint64, after string) {
		dst = append(strconv.AppendUint(append(dst, before...), v, 10), after...)
	}
	dst = append(append(dst, e.Kind.String()...), "  "...)
	if r := e.Peer(); r != "" {
		dst = append(append(dst, "from "...), r...)
	}
	if l := e.Bound(); l != "" {
		dst = append(append(dst, " to "...), l...)
	}
	switch e.Kind {
	case Queued:
		if e.HandshakeUS != 0 && e.Cause != CauseMoved {
			number("  handshake ", uint64(e.HandshakeUS), " µs")
		}
		if word := causeWords[e.Why()]; word != "" {
			dst = append(append(dst, "  "...), word...)
		}
	case State, Closed:
		dst = append(append(append(append(dst, "  "...), StateName(e.OldState)...), " -> "...), StateName(e.State)...)
	case Drop:
		word := cmp.Or(causeWords[e.Why()], dropWords[e.Hook])
		if e.Hook == HookChildForget {
			word = "lost in the queue, its listener " + e.Cause.StopWords("")
		}
		dst = append(append(dst, "  "...), word...)
	}
	if e.Kind == Closed {
		if e.SockErr != 0 {
			dst = append(append(dst, ' '), ErrnoName(int32(e.SockErr))...)
		}
		in, out := e.StreamBytes()
		number("  in ", in, " B")
		number(" out ", out, " B")
		if e.Retransmits != 0 {
			number(" retransmits ", uint64(e.Retransmits), "")
		}
	}
	if e.Listener != 0 && (e.Kind == Queued || e.Kind == Drop) {
		n := uint64(e.Backlog)
		if e.Kind == Queued { // which comes before it is put in
			n++
		}
		number("  queue ", n, "")
		number("/", uint64(e.BacklogMax), "")
	}
	return dst
}
