package format

import "strconv"

// dropWords say what a Drop of a hook is.
var dropWords = map[Hook]string{
	HookConnRequest: "SYN refused, the accept queue is full",
	HookSynRecv:     "last ACK refused, the accept queue is full",
	HookChildForget: "lost in the queue, its listener was closed",
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
		if e.HandshakeUS != 0 {
			number("  handshake ", uint64(e.HandshakeUS), " µs")
		}
	case State, Closed:
		dst = append(append(append(append(dst, "  "...), StateName(e.OldState)...), " -> "...), StateName(e.State)...)
	case Drop:
		word := dropWords[e.Hook]
		if e.Mark&MarkSynQueue != 0 {
			word = "SYN refused, the SYN queue is full"
		}
		dst = append(append(dst, "  "...), word...)
	}
	if e.Kind == Closed {
		if e.SockErr != 0 {
			dst = append(append(dst, ' '), ErrnoName(int32(e.SockErr))...)
		}
		number("  in ", e.BytesIn, " B")
		number(" out ", e.BytesOut, " B")
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
