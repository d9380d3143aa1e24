package listeners

// This file keeps how listeners stopped, and who stopped them.

import (
	"time"

	"github.com/acc-project/acc/format"
)

// stop is how a listener stopped listening.
type stop struct {
	seq   uint64
	ns    int64
	times uint64       // that it did
	by    string       // who did it, name[pid]
	left  uint32       // in its queue then
	cause format.Cause // how
	again bool         // it listens again
}

// stopped takes the event that tells of it.
func (l *listener) stopped(e *format.Event) {
	times := uint64(1)
	if l.stop != nil {
		times += l.stop.times
	}
	l.stop = &stop{seq: e.Seq, ns: e.BootNS, times: times, by: nameOf(e.Comm, e.PID), left: e.Backlog, cause: e.Cause}
	if l.life != nil && !l.life.Blind {
		l.life.depth(e.BootNS, false)
	}
}

// who is who stopped a listener so; "" if that is not recorded.
func (s *stop) who(c format.Cause) string {
	if s == nil || s.cause != c {
		return ""
	}
	return s.by
}

// Stop is how a listener stopped listening.
type Stop struct {
	Seq          uint64     `json:"seq"`           // number of the event
	Time         *time.Time `json:"ts"`            // when that was, null if the clock is lost
	BootNS       int64      `json:"boot_ns"`       // the same by the boot clock
	Cause        string     `json:"cause"`         // as of events
	Text         string     `json:"text"`          // the same in words for people
	By           string     `json:"by"`            // who did it, name[pid]
	Queue        uint32     `json:"queue"`         // connections in the accept queue then
	ListensAgain bool       `json:"listens_again"` // listen() was called on the socket again after that
}

func (reg *Registry) stopInfo(s *stop) *Stop {
	return &Stop{
		Seq: s.seq, Time: reg.o.Time(s.ns), BootNS: s.ns, Cause: s.cause.String(), Text: s.cause.StopWords(s.by), By: s.by,
		Queue: s.left, ListensAgain: s.again,
	}
}
