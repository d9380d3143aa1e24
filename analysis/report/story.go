package report

// This file tells the story of one connection.

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/conntrack"

	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/format"
)

// Story tells the whole of one connection in words and times: its events in the
// order of the clock, each with how long after the one before it. Nothing in it
// can steer a terminal. Lines fit the width; 0: they are as long as they are.
func Story(c *conntrack.Connection, r *analysis.Result, h *format.Header, clocks *format.Clocks, zone *time.Location,
	width int) string {
	s := &story{c: c, header: h}
	s.tell()
	slices.SortStableFunc(s.steps, func(a, b step) int { return cmp.Compare(a.ns, b.ns) })
	var b strings.Builder
	name := "connection"
	if c.ID != 0 {
		name += fmt.Sprintf(" %d", c.ID)
	}
	fmt.Fprintf(&b, "%s: %s -> %s", name, plain(c.Remote), plain(c.Local))
	if c.ListenAddr != "" {
		fmt.Fprintf(&b, ", listener %s", c.ListenAddr)
		if c.ListenOwner != "" {
			fmt.Fprintf(&b, " (%s)", c.ListenOwner)
		}
		if c.Listener != 0 {
			fmt.Fprintf(&b, ", socket %d in network namespace %d", c.Listener, c.NetNS)
		}
	}
	fmt.Fprintf(&b, "\n%s%s\n", s.refused(), s.verdict())
	listener, _ := netip.ParseAddrPort(c.ListenAddr) // else it has none
	if text := steered(c.Local, listener); text != "" {
		b.WriteString(text + "\n")
	}
	b.WriteByte('\n')
	if len(s.steps) > 0 && clocks.Known(s.steps[0].ns) {
		fmt.Fprintf(&b, "%s\n", clocks.Time(s.steps[0].ns).In(zone).Format("2006-01-02 -07:00"))
	}
	last := int64(0)
	for i, x := range s.steps {
		after := ""
		if i > 0 {
			after = "+" + Duration(max(x.ns-last, 0))
		}
		event := ""
		if x.seq != 0 {
			event = fmt.Sprintf("  (event%s%d)", together, x.seq)
		}
		fmt.Fprintf(&b, "  %s  %-9s  %s%s\n", clocks.AppendMoment(nil, x.ns, zone, "15:04:05.000000"), after, x.text,
			event)
		last = x.ns
	}
	if c.Counted {
		fmt.Fprintf(&b, "\n  in %s, out %s", Bytes(int64(c.BytesIn)), Bytes(int64(c.BytesOut)))
		if c.ClosedSeq != 0 {
			fmt.Fprintf(&b, "; segments in %s, out %s", Count(uint64(c.SegsIn)), Count(uint64(c.SegsOut)))
		}
		fmt.Fprintf(&b, ", %s sent again", Count(uint64(c.Retransmits)))
		if c.SRTTUS != 0 {
			fmt.Fprintf(&b, "; round trip %s", Duration(int64(c.SRTTUS)*1000))
		}
		if c.MinRTTUS != 0 {
			fmt.Fprintf(&b, ", least %s", Duration(int64(c.MinRTTUS)*1000))
		}
		b.WriteByte('\n')
	}
	text := strings.ReplaceAll(Fold(b.String(), width, stepIndent), together, " ")
	if r != nil {
		text += Meanwhile(c, r, width)
	}
	if c.Process != nil {
		text += "\n" + Fold(ProcessText(c.Process, h, zone), width, processIndent)
	}
	return text
}

const (
	stepIndent    = 30 // where the text of a step begins
	processIndent = 19 // and that of a line of a process record

	together = "\u00a0" // a space at which no line is broken; no name has one, as it is not printable
)

// Fold breaks the lines of a text so that they fit the width. What begins with a space goes on
// at the indent, other lines at their beginning.
func Fold(text string, width, indent int) string {
	var folded []byte
	for line := range strings.Lines(text) {
		line, newline := strings.CutSuffix(line, "\n")
		margin := 0
		if strings.HasPrefix(line, " ") {
			margin = indent
		}
		if folded = AppendFolded(folded, []byte(line), width, margin); newline {
			folded = append(folded, '\n')
		}
	}
	return string(folded)
}

// refused says, of a connection that was refused at first, for how long.
func (s *story) refused() string {
	c := s.c
	if c.RefusedPackets == 0 || c.QueuedSeq == 0 {
		return ""
	}
	return fmt.Sprintf("Refused at first: %s from the first packet that was dropped until it was queued. ",
		Duration(max(c.QueuedNS-c.Refusals[0].NS, 0)))
}

type step struct {
	ns   int64
	seq  uint64
	text string
}

type story struct {
	c      *conntrack.Connection
	header *format.Header
	steps  []step
}

func (s *story) add(ns int64, seq uint64, text string, args ...any) {
	if ns != 0 {
		s.steps = append(s.steps, step{ns, seq, fmt.Sprintf(text, args...)})
	}
}

// verdict is the answer, first.
func (s *story) verdict() string {
	c := s.c
	wait := ""
	if c.QueueWaitNS >= 0 {
		wait = " after " + Duration(c.QueueWaitNS) + " in the accept queue"
	} else if c.WaitedNS > 0 {
		wait = " after at least " + Duration(c.WaitedNS) + " in the accept queue, where it was " + s.header.Began()
	}
	switch {
	case c.Dead && c.DeadNS >= 0:
		return fmt.Sprintf("Dead on arrival: %s got it%s, %s after the client had reset it.", s.who(), wait,
			Duration(c.DeadNS))
	case c.Dead:
		return fmt.Sprintf("Dead on arrival: it was closed when %s got it%s.", s.who(), wait)
	case c.End == conntrack.EndAccept:
		return fmt.Sprintf("Lost: accept of %s took it from the queue and failed, the client was cut off.", s.who())
	case c.End == conntrack.EndListener:
		return "Lost: its listener " + c.Lost.StopWords(c.LostBy) + " while it was in the accept queue" + s.inQueue() +
			"."
	case c.End == conntrack.EndWaiting:
		if c.WaitedNS > 0 {
			return "Not accepted: it was in the accept queue " + s.header.Began() + " and when it ended" + s.inQueue() + "."
		}
		return "Not accepted: it was in the accept queue " + s.header.Ended() + s.inQueue() + "."
	case c.End == conntrack.EndWaitingCut:
		return "Not accepted so far: it was in the accept queue where the capture stops" + s.inQueue() + "."
	case c.End == conntrack.EndRefusedCut:
		return fmt.Sprintf("Not queued so far: %s dropped because a queue was full, and then the capture stops.",
			packets(c.RefusedPackets))
	case c.End == conntrack.EndRefused && aborted(c):
		return "Never queued: the client was reset because the accept queue was full (tcp_abort_on_overflow was 1)."
	case c.End == conntrack.EndRefused:
		return fmt.Sprintf("Never queued: %s dropped because a queue was full.", packets(c.RefusedPackets))
	case c.AcceptUnknown:
		return fmt.Sprintf("Whether it was accepted is not recorded; %s.", c.End)
	case c.AcceptedSeq == 0 && !c.Before && c.End == conntrack.EndNotRecorded:
		return "What became of it is not recorded."
	case c.AcceptedSeq == 0 && c.QueuedSeq != 0:
		return fmt.Sprintf("Never accepted: %s%s.", c.End, wait)
	case c.AcceptedSeq == 0:
		return fmt.Sprintf("It was there %s; %s.", s.header.Began(), c.End)
	}
	alive := ""
	if c.ServerEndNS != 0 && c.ServedNS >= 0 {
		alive = ", served for " + Duration(c.ServedNS)
	}
	if c.AliveNS >= 0 && c.End.Known() {
		alive += ", lived " + Duration(c.AliveNS)
	}
	end := string(c.End)
	if c.End == conntrack.EndNotRecorded {
		end = "what became of it is not recorded"
	}
	fared := ""
	if o := c.Outcome(); o != "" {
		fared = ", " + string(o)
	}
	text := fmt.Sprintf("Accepted by %s%s%s; %s%s%s.", s.who(), wait, alive, end, goneWords(c), fared)
	if c.HandedOver() {
		text += " At the end " + holderWords(c) + "."
	}
	return text
}

func packets(n uint64) string {
	if n == 1 {
		return "its only packet was"
	}
	return Count(n) + " of its packets were"
}

// inQueue is ", for" as long as it was in the queue, if that is known.
func (s *story) inQueue() string {
	switch ns, atLeast := s.c.InQueue(); {
	case ns < 0:
		return ""
	case atLeast:
		return ", for at least " + Duration(ns)
	default:
		return ", for " + Duration(ns)
	}
}

func (s *story) who() string {
	if s.c.TID == 0 {
		return "a process that is not known"
	}
	return fmt.Sprintf("%s[%d]", cmp.Or(format.Quote(s.c.Comm), "?"), s.c.PID)
}

func (s *story) tell() {
	c := s.c
	for _, r := range c.Refusals {
		s.add(r.NS, r.Seq, "%s", refusalWords(&r))
	}
	if n := c.RefusedPackets - uint64(len(c.Refusals)); n > 0 {
		s.add(c.Refusals[len(c.Refusals)-1].NS, 0, "and %s dropped", humanize.Plural(n, "more packet"))
	}
	if c.Before {
		what := "recording"
		if s.header.BeginsLate() {
			what = "the cut"
		}
		s.add(c.StartNS, 0, "%s begins: it is there already", what)
	}
	if c.BeginUnknown {
		s.add(began(c), 0, "the first that is known of it: its beginning is in a part of the capture that is "+
			"missing, or was %s", s.header.Before())
	}
	s.add(c.SynNS, 0, "the client's SYN is answered: the handshake begins")
	if c.QueuedSeq != 0 {
		s.add(c.QueuedNS, c.QueuedSeq, "%s", queuedWords(c))
	}
	if c.EstablishedNS != 0 && c.EstablishedNS != c.QueuedNS {
		s.add(c.EstablishedNS, 0, "established")
	}
	if c.MovedSeq != 0 {
		from := ""
		if c.MovedFrom != "" {
			from = " of " + c.MovedFrom
		}
		s.add(c.MovedNS, c.MovedSeq, "the listener%s stops; the kernel moves it to the queue of socket %d "+
			"(tcp_migrate_req)%s", from, c.Listener, times(c.Moves))
	}
	s.add(c.GoneNS, c.GoneSeq, "the client sends FIN, before it is accepted")
	s.tellAccept()
	s.tellEnd()
}

// tellAccept tells of the call that accepted the connection.
func (s *story) tellAccept() {
	c := s.c
	if c.EnterSeq != 0 {
		text := "%s calls %s"
		if c.QueuedSeq != 0 && c.EnterNS > c.QueuedNS {
			text = "%s calls %s (it was not waiting in accept)"
		} else if c.QueuedSeq != 0 {
			text = "%s calls %s and waits for a client"
		}
		s.add(c.EnterNS, c.EnterSeq, text, s.who(), c.Via)
	}
	if c.AcceptedSeq == 0 {
		return
	}
	what := fmt.Sprintf("descriptor %d", c.Ret)
	if c.Mark&format.MarkNoFD != 0 {
		what = "a socket"
	}
	state := ""
	if c.StateAtAccept != format.StateEstablished {
		state = ", in state " + format.StateName(c.StateAtAccept)
	}
	through := c.Via.String()
	if c.Via == format.ViaIOUring {
		through += " (" + format.UringName(c.Uring&^format.UringRegistered)
		if c.Uring&format.UringRegistered != 0 {
			through += "," + string(format.AppendSockFD(nil, c.Via, c.Uring, c.SockFD))
		}
		through += ")"
	}
	foreign := ""
	if c.TaskNetNS != 0 && c.Via != format.ViaKernel {
		foreign = fmt.Sprintf(", accepted from another network namespace (%d)", c.TaskNetNS)
	}
	s.add(c.AcceptedNS, c.AcceptedSeq, "accepted by %s through %s: %s%s%s", s.who(), through, what, state, foreign)
	if c.UringEnd != format.UringGoesOn {
		s.add(c.AcceptedNS, c.AcceptedSeq, "the multishot accept ended (%s)", c.UringEnd.Words())
	}
	if c.Mark&format.MarkAddrDiffers != 0 {
		s.add(c.AcceptedNS, c.AcceptedSeq, "the peer address returned to the program, or its length, is not the "+
			"client's")
	}
}

// tellEnd tells how it ended, or was at the end.
func (s *story) tellEnd() {
	c := s.c
	switch c.End {
	case conntrack.EndAccept:
		s.add(c.EndNS, c.DropSeq, "accept of %s fails after it took the connection, which is destroyed", s.who())
	case conntrack.EndListener:
		s.add(c.EndNS, c.DropSeq, "the listener %s: the kernel resets the connection", stopsWords(c))
	case conntrack.EndOpenCut:
		s.add(c.EndNS, 0, "the capture stops: it is open")
	case conntrack.EndWaitingCut:
		s.add(c.EndNS, 0, "the capture stops: it is in the accept queue")
	case conntrack.EndOpen, conntrack.EndWaiting:
		state := ""
		if c.LeftState != 0 {
			state = ", in state " + format.StateName(c.LeftState)
		}
		s.add(c.EndNS, 0, "recording ends: %s%s", c.End, state)
		if c.HandedOver() {
			s.add(c.EndNS, 0, "%s", holderWords(c))
		}
	}
	if c.ClientEndNS != 0 && c.ClientEndNS >= c.AcceptedNS { // else its own event has it
		s.add(c.ClientEndNS, 0, "the client sends FIN")
	}
	if c.ServerEndNS != 0 {
		served := ""
		if c.ServedNS >= 0 {
			served = ", " + Duration(c.ServedNS) + " after it accepted"
		}
		s.add(c.ServerEndNS, 0, "the server closes it%s", served)
	}
	if c.ClosedSeq != 0 {
		err := ""
		if c.SockErr != 0 {
			err = ", " + format.ErrnoName(int32(c.SockErr))
		}
		s.add(c.ClosedNS, c.ClosedSeq, "%s: %s -> closed%s", closeWords(c), format.StateName(c.OldState), err)
	}
}

// closeWords says how it closed, which after a loss is not how it ended.
func closeWords(c *conntrack.Connection) string {
	if c.End == conntrack.EndAccept || c.End == conntrack.EndListener {
		return "closed"
	}
	return string(c.End)
}
