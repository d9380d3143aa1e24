package conntrack

// This file tells how accepted connections fared: who was served, turned away, or left without an answer.

import (
	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/format"
)

// Outcome says how an accepted connection fared, in words for people that are stable; "" if nothing of
// these kinds is known of it.
type Outcome string

// The outcomes.
const (
	// the server ended it within a second, and no byte was read or sent
	OutcomeTurnedAway Outcome = "turned away"
	// the same, but it had sent something: why, or all that it has to say
	OutcomeUnread     Outcome = "closed unread"
	OutcomeUnanswered Outcome = "left unanswered"     // the client had sent something, and left before a byte came back
	OutcomeProbe      Outcome = "left without a byte" // the client left, and neither side had sent anything
)

var outcomeIDs = map[Outcome]string{OutcomeTurnedAway: "turned-away", OutcomeUnanswered: "unanswered",
	OutcomeProbe: "probe", OutcomeUnread: "closed-unread"}

// ID is the outcome as one word, for programs, "" for none.
func (o Outcome) ID() string { return outcomeIDs[o] }

// Outcome says how the connection fared, of one that was accepted and seen to end.
func (c *Connection) Outcome() Outcome {
	if c.AcceptedSeq == 0 || c.ClosedSeq == 0 || c.Dead || c.DropSeq != 0 {
		return ""
	}
	switch c.End {
	case EndByServer, EndResetByServer, EndByBoth:
		if c.Read == format.ReadNothing && c.ServedNS <= findings.TurnedNS {
			if c.BytesOut > 0 || c.Unacked {
				return OutcomeUnread
			}
			return OutcomeTurnedAway
		}
	case EndByClient, EndResetByClient, EndWriteRefused:
		switch {
		case c.BytesOut > 0:
		case c.BytesIn > 0:
			return OutcomeUnanswered
		default:
			return OutcomeProbe
		}
	}
	return ""
}
