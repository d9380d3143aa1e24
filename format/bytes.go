package format

// This file says how many bytes a connection carried, without the FIN.

// What a Closed event's shutdown says beside the kernel's own two bits.
const (
	finCame     = 4
	finAcked    = 8
	readKnown   = 16
	leftUnread  = 32
	nothingRead = 64
	unacked     = 128
)

// StreamBytes are the bytes of a Closed event's connection, as programs count them: without the
// FINs, which the kernel counts. Captures of before acc
// recorded them tell by the states only, where a FIN that came in the same segment as
// the acknowledgement of ours is not told apart from none: bytes in then can be 1 high.
func (e *Event) StreamBytes() (in, out uint64) {
	in, out = e.BytesIn, e.BytesOut
	came, acked := e.Shutdown&finCame != 0, e.Shutdown&finAcked != 0
	switch e.OldState {
	case StateFinWait2:
		acked = true
	case StateClosing, StateLastAck:
		if !came { // it must have
			came, acked = true, e.SockErr == 0
		}
	case StateCloseWait:
		came = true
	}
	if came {
		in = max(in, 1) - 1
	}
	if acked {
		out = max(out, 1) - 1
	}
	return in, out
}

// StreamBytes are the bytes of a connection in a snapshot so far, without the FINs, by its state.
func (c *Connection) StreamBytes() (in, out uint64) {
	in, out = c.BytesIn, c.BytesOut
	switch c.State {
	case StateCloseWait, StateLastAck, StateClosing:
		in = max(in, 1) - 1
	case StateFinWait2:
		out = max(out, 1) - 1
	}
	return in, out
}

// Reading is what the program read of what a connection brought.
type Reading uint8

// The readings.
const (
	ReadUnknown Reading = iota
	ReadAll             // all that came
	ReadPart            // bytes were left unread
	ReadNothing         // no byte was read: none came, or all were left
)

// Readings are the words for readings, ReadUnknown has none.
var readings = [...]string{ReadAll: "all", ReadPart: "part", ReadNothing: "nothing"}

// String is the reading as one word, "" if it is not known.
func (r Reading) String() string { return readings[min(int(r), len(readings)-1)] }

// Unacked reports whether the server had written bytes that the client had not acknowledged when the connection of a
// Closed event ended. Captures of before acc recorded it never say so.
func (e *Event) Unacked() bool { return e.Shutdown&unacked != 0 }

// Read tells what the program had read of the bytes of a Closed event. Captures of before acc recorded it tell only
// that nothing was read where nothing came.
func (e *Event) Read() Reading {
	in, _ := e.StreamBytes()
	switch {
	case in == 0 || e.Shutdown&nothingRead != 0:
		return ReadNothing
	case e.Shutdown&readKnown == 0:
		return ReadUnknown
	case e.Shutdown&leftUnread != 0:
		return ReadPart
	}
	return ReadAll
}
