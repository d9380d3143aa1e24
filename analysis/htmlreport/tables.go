package htmlreport

// This file has the tables of the page.

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/analysis/stats"
	"github.com/acc-project/acc/format"
)

// latency has the quantiles of all durations.
func (v *view) latency() {
	r, c := v.r, &v.r.Connections
	t := table{Head: heads("time in", "what that is", "#how many", "#p50", "#p90", "#p99", "#longest")}
	add := func(name, what string, q *stats.Quantiles, doubt bool) {
		if q.Count > 0 {
			m, most := mark("~", doubt), mark("≥", doubt || q.AtLeast > 0)
			t.add(plain(name, what, report.Count(q.Count), m+report.Duration(q.P50), m+report.Duration(q.P90),
				m+report.Duration(q.P99), most+report.Duration(q.Max))...)
		}
	}
	d := &r.Doubts
	add("refused", "from the first packet that was dropped to the queue", &c.RefusedFor, d.Connections)
	add("handshake", "from the answer to the first SYN to the queue", &c.Handshake, d.Connections)
	add("accept queue", "from the queue to the return of accept", &c.QueueWait, d.Connections)
	add("queue, never accepted", "from the queue to the end", &c.NeverWait, d.Connections || d.Ends)
	add("served", "from accept to the server's own close", &c.Served, d.Connections)
	add("closing", "from there to the end", &c.Closing, d.Connections)
	add("accept, accepted", "from the call to its return", &r.Wait, d.Waits)
	add("accept, failed", "the same", &r.FailedWait, d.Waits)
	v.Latency = t
}

func (v *view) listeners() {
	r := v.r
	t := table{Caption: "Listeners", Head: heads("listener", "accepted by", "#accepted", "#failed", "#queue at most",
		"#limit", "#full for", "#p99 in the queue", "accepted over time")}
	for i := range r.Listeners[:min(len(r.Listeners), maxRows)] {
		l := &r.Listeners[i]
		by := l.Owner
		if len(l.Comms) > 0 {
			by = format.Quote(l.Comms[0])
			if n := len(l.PIDs); n > 1 {
				by += fmt.Sprintf(" (%d)", n)
			}
		}
		limit, full, wait := "?", "", "-"
		if l.QueueMax > 0 || l.QueueHighMax > 0 {
			limit = report.Count(uint64(cmp.Or(l.QueueHighMax, l.QueueMax)))
		}
		high := cell{Text: report.Count(uint64(l.QueueHigh))}
		if l.FullHigh > 0 {
			high.Class = "n bad"
		}
		if l.Life != nil {
			if l.Life.FullNS > 0 {
				full = report.Duration(l.Life.FullNS)
			}
			if l.Life.QueueWait.Count > 0 {
				wait = mark("~", r.Doubts.Connections) + report.Duration(l.Life.QueueWait.P99)
			}
		}
		t.add(long(l.Addr), long(by), cell{Text: bound(l.Accepted, r.Doubts.Outcomes)},
			cell{Text: bound(l.Failed-l.Restarted, r.Doubts.Outcomes)}, high, cell{Text: limit}, cell{Text: full},
			cell{Text: wait}, cell{Text: report.Spark(l.Timeline.Accepted, 16), Class: "spark"})
	}
	t.More = more(r.Others.Listeners+max(len(r.Listeners)-maxRows, 0), "listeners")
	v.Listeners = t
	p := table{Caption: "Processes", Head: heads("process", "#pid", "#accepted", "#failed", "executable",
		"unit, pod or container")}
	for i := range r.Processes[:min(len(r.Processes), maxRows)] {
		x := &r.Processes[i]
		p.add(long(format.Quote(x.Comm)), cell{Text: fmt.Sprint(x.PID)},
			cell{Text: bound(x.Accepted, r.Doubts.Outcomes)}, cell{Text: bound(x.Failed-x.Restarted, r.Doubts.Outcomes)},
			long(format.Quote(x.Exe)), long(format.Quote(cmp.Or(x.Pod, x.Unit, x.Container))))
	}
	p.More = more(r.Others.Processes+max(len(r.Processes)-maxRows, 0), "processes")
	v.Processes = p
	q := table{Caption: "Clients", Head: heads("address", "#accepted")}
	for _, x := range r.Peers[:min(len(r.Peers), 20)] {
		q.add(plain(x.Addr, bound(x.Accepted, r.Doubts.Outcomes))...)
	}
	q.More = more(r.Others.Peers+max(len(r.Peers)-20, 0), "addresses")
	v.Peers = q
}

func more(n int, what string) string {
	if n <= 0 {
		return ""
	}
	return "and " + report.Count(uint64(n)) + " more " + what
}

func (v *view) outcomes() {
	r := v.r
	e := table{Caption: "Failed calls", Head: heads("#calls", "error", "what it means")}
	for _, x := range r.Errors {
		e.add(plain(bound(x.Count, r.Doubts.Outcomes), cmp.Or(x.Name, fmt.Sprint(x.Errno)), x.Meaning)...)
	}
	v.Errors = e
	t := table{Caption: "How connections ended", Head: heads("#connections", "end")}
	for _, x := range r.Connections.Ends {
		sign := ""
		switch {
		case r.Doubts.Ends:
			sign = "~"
		case r.Doubts.Connections:
			sign = "≥"
		}
		t.add(plain(sign+report.Count(x.Count), string(x.Reason))...)
	}
	v.Ends = t
}

// endWords say how a connection ended, and what went wrong before.
func endWords(c *conntrack.Connection) string {
	words := string(c.End)
	if c.RefusedPackets > 0 && c.QueuedSeq != 0 {
		words += "; refused at first"
	}
	if c.Dead {
		words += "; dead on arrival"
	}
	return words
}

// worst is the table of connections for those who have no script.
func (v *view) worst(clocks *format.Clocks) {
	order := make([]*conntrack.Connection, len(v.rows))
	for i := range v.rows {
		order[i] = &v.rows[i]
	}
	slices.SortFunc(order, func(a, b *conntrack.Connection) int { return worse(b, a) })
	order = order[:min(len(order), maxWorst)]
	t := table{Head: heads("#id", "began", "client", "listener", "process", "#queued", "#served", "#in", "#out", "end")}
	known := func(ns int64, sign string) string {
		if ns < 0 {
			return "-"
		}
		return sign + report.Duration(ns)
	}
	size := func(c *conntrack.Connection, n uint64) string {
		if !c.Counted {
			return "-"
		}
		return report.Bytes(int64(n))
	}
	for _, c := range order {
		id, by := "-", "-"
		if c.ID != 0 {
			id = fmt.Sprint(c.ID)
		}
		if c.TID != 0 {
			by = fmt.Sprintf("%s[%d]", format.Quote(c.Comm), c.PID)
		}
		wait, atLeast := c.InQueue()
		end := cell{Text: endWords(c)}
		if badEnd(c) || report.Trouble(c) {
			end.Class = "bad"
		}
		t.add(cell{Text: id}, cell{Text: string(clocks.AppendMoment(nil, report.BeganNS(c), v.zone, "15:04:05.000000")),
			Class: "w"},
			cell{Text: c.Remote.String(), Class: "w"}, long(cmp.Or(c.ListenAddr, c.Local.String())), long(by),
			cell{Text: known(wait, mark("≥", atLeast))}, cell{Text: known(c.ServedNS, "")}, cell{Text: size(c, c.BytesIn)},
			cell{Text: size(c, c.BytesOut)}, end)
	}
	v.Worst, v.WorstCount = t, report.Count(uint64(len(order)))
}
