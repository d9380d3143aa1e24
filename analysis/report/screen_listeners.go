package report

// This file has the table of listeners.

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/acc-project/acc/analysis/listeners"

	"github.com/acc-project/acc/analysis/stats"
	"github.com/acc-project/acc/format"
)

// listeners shows the listening sockets, a row each.
func (t *text) listeners() {
	if len(t.r.Listeners) == 0 {
		return
	}
	columns := []column{
		{head: "listener", yield: 1, least: 23}, {head: "by", yield: 3, least: 6}, {head: "accepted"}, {head: "failed"},
		{head: "queue high"}, {head: "p99 in call"}, {head: "in accept", yield: 4}, {yield: 9},
	}
	if t.r.Connections.Recorded {
		columns[5].head = "p99 queued"
	}
	var rows [][]string
	shown := uint64(0) // of those of one accept, which are a row together
	for i := range t.r.Listeners {
		if t.r.Listeners[i].OneAccept {
			shown++
			continue
		}
		rows = append(rows, t.listenerRow(&t.r.Listeners[i]))
	}
	for i := range t.r.OneAccept {
		rows = append(rows, t.oneAcceptRow(&t.r.OneAccept[i]))
	}
	t.WriteByte('\n')
	t.print(layout(t.o.Width, columns, rows))
	for i := range t.r.Listeners {
		l := &t.r.Listeners[i]
		if l.OneAccept {
			continue
		}
		t.limits(l)
		if words := t.stopped(l); words != "" {
			t.indent("", " ", "    ", l.Addr+t.space(l)+" "+words)
		}
	}
	beyond := t.r.Others.Listeners
	for _, x := range t.r.OneAccept {
		beyond -= int(x.Sockets)
	}
	t.more(beyond+int(shown), "listener")
	for _, l := range t.r.Listeners {
		if len(l.TaskNetNS) > 0 {
			t.fold(
				amber,
				"  "+l.Addr+t.space(&l)+":",
				fmt.Sprintf(
					"accepted from another network namespace (%s); the socket is in %d",
					joinNumbers(l.TaskNetNS),
					l.NetNS,
				),
			)
		}
	}
}

// oneAcceptRow is the row of sockets that listened for one connection each.
func (t *text) oneAcceptRow(x *listeners.OneAccept) []string {
	name := cut(fmt.Sprintf("%s: %d sockets of one accept", format.Quote(x.Program), x.Sockets), 40)
	return []string{"  " + name, cut(format.Quote(x.Program), 20), t.outcomes(x.Accepted), t.outcomes(x.Failed), "", "",
		"", ""}
}

// listenerRow is the row of one of them.
func (t *text) listenerRow(l *listeners.ListenerInfo) []string {
	d, recorded := &t.r.Doubts, t.r.Connections.Recorded
	more, waits, q := mark(false, d.Attempts || d.Outcomes || d.Connections), d.Waits, l.Wait
	if recorded {
		waits, q = d.Connections, stats.Quantiles{}
		if l.Life != nil {
			q = l.Life.QueueWait
		}
	}
	wait := "-"
	if q.Count > 0 {
		wait = mark(waits, q.AtLeast > 0) + Duration(q.P99)
	}
	accepted, failed, waiting := t.outcomes(l.Accepted), t.outcomes(l.Failed-l.Restarted), t.open(l.Waiting)
	if d.Span && l.Waiting == 0 && t.cut() { // who was is told at the end
		waiting = "?"
	}
	if recorded && !t.r.Connections.AcceptsRecorded {
		accepted, failed, waiting = "-", "-", "-"
	}
	return []string{
		"  " + cut(l.Addr, 30) + t.space(l),
		acceptors(l),
		accepted,
		failed,
		more + queueHigh(l),
		wait,
		waiting,
		Spark(l.Timeline.Accepted, 16),
	}
}

// acceptors names who accepts from a listener.
func acceptors(l *listeners.ListenerInfo) string {
	comms := make([]string, min(len(l.Comms), 2))
	for i := range comms {
		comms[i] = cut(format.Quote(l.Comms[i]), 15)
	}
	by := strings.Join(comms, ", ")
	if n := len(l.PIDs); n > 1 {
		by += fmt.Sprintf(" (%d)", n)
	}
	if by == "" {
		by = cut(l.Owner, 21)
	}
	return by
}

// space tells a listener from others at its address: by its network namespace, by its socket.
func (t *text) space(l *listeners.ListenerInfo) string {
	netns, socket := "", ""
	for i := range t.r.Listeners {
		o := &t.r.Listeners[i]
		switch {
		case l.LPort == 0 && !strings.HasPrefix(l.Addr, "@"), o.Addr != l.Addr, o == l:
		case o.NetNS != l.NetNS:
			netns = fmt.Sprintf(" netns %d", l.NetNS)
		case o.Listener != l.Listener && l.Listener != 0:
			socket = fmt.Sprintf(" socket %d", l.Listener)
		}
	}
	return netns + socket
}

func joinNumbers(list []uint32) string {
	words := make([]string, len(list))
	for i, n := range list {
		words[i] = strconv.FormatUint(uint64(n), 10)
	}
	return strings.Join(words, ", ")
}
