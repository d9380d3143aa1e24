package report

// This file says why a connection was queued, refused or lost.

import (
	"fmt"
	"strings"

	"github.com/acc-project/acc/analysis/conntrack"

	"github.com/acc-project/acc/format"
)

// queuedWords says why a connection was queued. What is not known is left open.
func queuedWords(c *conntrack.Connection) string {
	switch c.Cause {
	case format.CauseDeferData:
		return "its first data came: queued at the listener (TCP_DEFER_ACCEPT)"
	case format.CauseDeferClosed:
		return "the client sent FIN without data: queued at the listener (TCP_DEFER_ACCEPT)"
	case format.CauseDeferRanOut:
		after := ""
		if c.SynNS != 0 {
			after = " after " + Duration(max(c.QueuedNS-c.SynNS, 0))
		}
		return "TCP_DEFER_ACCEPT ran out" + after + ", no data had come: queued at the listener"
	case format.CauseCookieAlways:
		return "handshake complete by a SYN cookie (tcp_syncookies is 2: always): queued at the listener"
	case format.CauseCookieFull:
		return "handshake complete by a SYN cookie (tcp_syncookies is 1: sent when the SYN queue is full): queued at " +
			"the listener"
	case format.CauseFastOpen:
		return "queued at its SYN (TCP fast open)"
	case format.CauseMovedHandshake:
		return "handshake complete: queued at another listener than it began with, which stopped (tcp_migrate_req)"
	}
	switch {
	case c.Mark&format.MarkSynCookie != 0:
		return "handshake complete by a SYN cookie: queued at the listener"
	case c.Mark&format.MarkDeferred != 0:
		return "queued at the listener, which had let it wait for data (TCP_DEFER_ACCEPT); whether data came is not " +
			"recorded"
	}
	return "handshake complete: queued at the listener"
}

// refusalWords says why a packet was refused.
func refusalWords(r *conntrack.Refusal) string {
	switch {
	case r.Cause == format.CauseAborted:
		return "the last ACK of its handshake is answered with a reset: the accept queue is full " +
			"(tcp_abort_on_overflow was 1)"
	case r.Cause == format.CauseCookieDropped:
		return "the last ACK of its handshake, by a SYN cookie, is dropped: the accept queue is full; the client " +
			"believes that it is connected"
	case r.ACK && r.Cause == 0:
		return "the last ACK of its handshake is refused: the accept queue is full"
	case r.ACK:
		return "the last ACK of its handshake is dropped: the accept queue is full; the client believes that it is " +
			"connected"
	case r.SYNQueue:
		return "its SYN is dropped: the SYN queue is full"
	}
	return "its SYN is dropped: the accept queue is full"
}

// aborted reports whether a connection that was refused was reset in the end.
func aborted(c *conntrack.Connection) bool {
	n := len(c.Refusals)
	return n > 0 && c.RefusedPackets == uint64(n) && c.Refusals[n-1].Cause == format.CauseAborted
}

// stopsWords says what becomes of a listener with which a connection is lost, and who does it.
func stopsWords(c *conntrack.Connection) string {
	if is, ok := strings.CutPrefix(c.Lost.StopWords(c.LostBy), "was "); ok {
		return "is " + is
	}
	return "stops listening"
}

func times(n uint32) string {
	if n > 1 {
		return fmt.Sprintf(", its move number %d", n)
	}
	return ""
}
