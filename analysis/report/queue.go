package report

// This file says how long accept queues were, their limits, and when a listener stopped.

import (
	"fmt"
	"strings"

	"github.com/acc-project/acc/analysis/listeners"

	"github.com/acc-project/acc/analysis/humanize"
)

// queueHigh is the longest that an accept queue was, with the limit that it had then, and whether it was full.
func queueHigh(l *listeners.ListenerInfo) string {
	of := func(n, limit uint32) string { return fmt.Sprintf("%d of %d", n, limit) }
	switch {
	case l.FullHigh > 0 && l.FullHigh == l.QueueHigh:
		return of(l.FullHigh, l.FullHighMax) + " FULL"
	case l.FullHigh > 0: // it was longer when it had another limit
		return of(l.QueueHigh, l.QueueHighMax) + ", FULL " + of(l.FullHigh, l.FullHighMax)
	case l.QueueHigh == 0 && l.QueueMax > 0:
		return of(0, l.QueueMax)
	case l.QueueHighMax == 0:
		return fmt.Sprint(l.QueueHigh) // the limit is 0, or not known
	}
	return of(l.QueueHigh, l.QueueHighMax)
}

// stopped says when a listener stopped, who did it and how; "" if it did not.
func (t *text) stopped(l *listeners.ListenerInfo) string {
	s := l.Stopped
	if s == nil {
		return ""
	}
	text := s.Text + " at " + t.when(s.Time, s.BootNS, "15:04:05.000")
	if s.Queue > 0 {
		text += ", with " + many(uint64(s.Queue), "connection") + " in its accept queue"
	}
	switch {
	case s.ListensAgain && l.Stops > 1:
		text += fmt.Sprintf(", and listens again (it stopped %d times)", l.Stops)
	case s.ListensAgain:
		text += ", and listens again"
	case l.Stops > 1:
		text += fmt.Sprintf(" (it stopped %d times)", l.Stops)
	}
	return text
}

// limits says which limits a queue had, if it had several, and when the queue was longest.
func (t *text) limits(l *listeners.ListenerInfo) {
	if len(l.Limits) < 2 {
		return
	}
	list := make([]string, len(l.Limits))
	for i, x := range l.Limits {
		list[i] = fmt.Sprint(x.Max)
		if x.Seq != 0 {
			list[i] += " (" + t.when(x.Time, x.BootNS, "15:04:05.000") + ")"
		}
	}
	more := ""
	if l.MoreLimits > 0 {
		more = " and " + humanize.Plural(l.MoreLimits, "more change")
	}
	t.indent("", " ", "    ", fmt.Sprintf("the queue of %s had the limit %s%s", l.Addr, strings.Join(list, ", then "),
		more))
}
