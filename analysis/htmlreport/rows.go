package htmlreport

// This file writes what the page's script reads: one object of JSON, and the connections as columns of numbers.

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/listeners"
	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/analysis/stats"
	"github.com/acc-project/acc/format"
)

const (
	maxStories = 300 // connections whose whole story is in the page, the worst ones
	maxQueues  = 8   // listeners whose queue is drawn
)

// pageData is what the script draws. Times are seconds since the recording began, or lists of a number for each
// bucket.
type pageData struct {
	Start  *float64    `json:"start"` // seconds since 1970, null: the clock is lost
	Zone   int         `json:"zone"`  // seconds east of UTC
	Span   float64     `json:"span"`
	Width  float64     `json:"width"` // of the buckets of rates
	Rates  []pageRate  `json:"rates"`
	Waits  *pageWaits  `json:"waits"` // null: nobody waited
	Losses [][3]any    `json:"losses"`
	More   uint64      `json:"more_lost"` // events that were lost beside these
	Marks  [][2]any    `json:"marks"`
	Queues []pageQueue `json:"queues"`
	Hidden int         `json:"hidden"` // listeners whose queue is not drawn

	Rows      int               `json:"rows"`
	Clients   []string          `json:"clients"`
	Listeners []string          `json:"listeners"`
	Processes []string          `json:"processes"`
	Ends      [][2]any          `json:"ends"` // words, and whether it is a bad one (1), or open (2)
	Stories   map[string]string `json:"stories"`
}

// pageRate is a line of the chart of rates: how many in each bucket.
type pageRate struct {
	Name string   `json:"name"`
	Kind string   `json:"kind"` // accepted, arrived, refused, failed
	N    []uint64 `json:"n"`
}

// pageWaits are waits in the queue, microseconds; null: nobody.
type pageWaits struct {
	Width float64  `json:"width"`
	P50   []*int64 `json:"p50"`
	P99   []*int64 `json:"p99"`
	Max   []*int64 `json:"max"`
}

// pageQueue is the length of an accept queue over time.
type pageQueue struct {
	Name   string       `json:"name"`
	Width  float64      `json:"width"`
	Depth  []uint64     `json:"depth"`
	Limits [][2]float64 `json:"limits"` // since when, how much
	Full   string       `json:"full"`   // how long it was full, ""
}

// badEnd reports whether a connection ended otherwise than it should.
func badEnd(c *conntrack.Connection) bool {
	switch c.End {
	case conntrack.EndByServer, conntrack.EndByClient, conntrack.EndByBoth, conntrack.EndWriteRefused:
		return c.Dead
	}
	return c.End.Known() && !c.End.Open() && !c.End.Waiting()
}

// numbering gives each text a number, in the order in which they come.
type numbering struct {
	at   map[string]int
	list []string
}

func (n *numbering) of(s string) int64 {
	i, ok := n.at[s]
	if !ok {
		if n.at == nil {
			n.at = map[string]int{}
		}
		i = len(n.list)
		n.at[s] = i
		n.list = append(n.list, s)
	}
	return int64(i)
}

// data makes what the script reads of the result.
func (c *Collector) data(r *analysis.Result, h *format.Header, clocks *format.Clocks, zone *time.Location,
	rows []conntrack.Connection) (*pageData, []byte) {
	d := &pageData{Zone: r.Capture.ZoneSec, Span: float64(r.Capture.DurationNS) / 1e9, Stories: map[string]string{},
		Losses: [][3]any{}, More: c.moreLosses, Marks: [][2]any{}, Queues: []pageQueue{}, Rows: len(rows)}
	if s := r.Capture.Start; s != nil {
		at := float64(s.UnixNano()) / 1e9
		d.Start = &at
	}
	c.rates(d)
	c.waitsOverTime(d)
	since := func(ns int64) float64 { return float64(ns-c.startNS) / 1e9 }
	for _, l := range c.losses {
		d.Losses = append(d.Losses, [3]any{since(l.FromNS), since(l.ToNS), l.Count})
	}
	for _, m := range r.Marks {
		d.Marks = append(d.Marks, [2]any{since(m.BootNS), format.Quote(m.Text)})
	}
	d.queues(r, since)
	columns := c.columns(d, rows)
	d.stories(rows, r, h, clocks, zone)
	return d, columns
}

func (c *Collector) rates(d *pageData) {
	list := []*stats.Series{&c.accepted, &c.arrived, &c.refused, &c.failedAll}
	var errnos []int32
	for errno, s := range c.failed {
		errnos = append(errnos, errno)
		list = append(list, s)
	}
	stats.Align(list...)
	total := func(s *stats.Series) (n uint64) {
		for _, v := range s.Counts {
			n += v
		}
		return n
	}
	d.Width = float64(c.accepted.WidthNS) / 1e9
	add := func(name, kind string, s *stats.Series) {
		if total(s) > 0 {
			d.Rates = append(d.Rates, pageRate{name, kind, s.Counts})
		}
	}
	add("accepted", "accepted", &c.accepted)
	add("queued", "arrived", &c.arrived)
	add("packets refused", "refused", &c.refused)
	slices.SortFunc(errnos, func(a, b int32) int {
		return cmp.Or(cmp.Compare(total(c.failed[b]), total(c.failed[a])), cmp.Compare(a, b))
	})
	rest := slices.Clone(c.failedAll.Counts)
	for i, errno := range errnos {
		if i >= 4 {
			break
		}
		s := c.failed[errno]
		add(cmp.Or(format.ErrnoName(errno), strconv.Itoa(int(errno))), "failed", s)
		for j, n := range s.Counts {
			rest[j] -= n
		}
	}
	if slices.Max(append(rest, 0)) > 0 {
		d.Rates = append(d.Rates, pageRate{"other errors", "failed", rest})
	}
}

func (c *Collector) waitsOverTime(d *pageData) {
	if len(c.queueWaits.buckets) == 0 {
		return
	}
	w := &pageWaits{Width: float64(c.queueWaits.widthNS) / 1e9}
	us := func(ns int64) *int64 {
		if ns < 0 {
			return nil
		}
		ns = max(ns/1000, 1)
		return &ns
	}
	for i := range c.queueWaits.buckets {
		b := &c.queueWaits.buckets[i]
		longest := b.max
		if b.n == 0 {
			longest = -1
		}
		w.P50, w.P99 = append(w.P50, us(b.quantile(0.5))), append(w.P99, us(b.quantile(0.99)))
		w.Max = append(w.Max, us(longest))
	}
	d.Waits = w
}

// queues takes those that were fullest against their limits.
func (d *pageData) queues(r *analysis.Result, since func(int64) float64) {
	var list []*listeners.ListenerInfo
	for i := range r.Listeners {
		if l := &r.Listeners[i]; l.QueueHigh > 0 && len(l.Timeline.Depth) > 1 {
			list = append(list, l)
		}
	}
	full := func(l *listeners.ListenerInfo) float64 { return float64(l.QueueHigh) / float64(max(l.QueueHighMax, 1)) }
	slices.SortStableFunc(list, func(a, b *listeners.ListenerInfo) int { return cmp.Compare(full(b), full(a)) })
	d.Hidden = max(len(list)-maxQueues, 0)
	for _, l := range list[:min(len(list), maxQueues)] {
		q := pageQueue{Name: listenerName(l), Width: float64(l.Timeline.DepthNS) / 1e9, Depth: l.Timeline.Depth,
			Limits: [][2]float64{}}
		for _, x := range l.Limits {
			q.Limits = append(q.Limits, [2]float64{max(since(x.BootNS), 0), float64(x.Max)})
		}
		if l.Life != nil && l.Life.FullNS > 0 {
			q.Full = report.Duration(l.Life.FullNS)
		}
		d.Queues = append(d.Queues, q)
	}
}

// listenerName is what a listener is called, with who listens.
func listenerName(l *listeners.ListenerInfo) string {
	by := l.Owner
	if by == "" && len(l.Comms) > 0 {
		by = format.Quote(l.Comms[0])
	}
	if by == "" {
		return l.Addr
	}
	return l.Addr + " (" + by + ")"
}

// columns writes connections as numbers, one column after the other. Each number is a varint; page/data.js reads
// them. Times are microseconds; a phase that is not known is 0, others are one more than they took.
func (c *Collector) columns(d *pageData, rows []conntrack.Connection) []byte {
	var clients, addrs, processes, ends numbering
	var out []byte
	column := func(value func(*conntrack.Connection) int64) {
		for i := range rows {
			out = binary.AppendUvarint(out, uint64(max(value(&rows[i]), 0)))
		}
	}
	us := func(ns int64) int64 { return max(ns-c.startNS, 0) / 1000 }
	phase := func(from, to int64) int64 { // the sum of phases is as exact as each
		if from == 0 || to == 0 {
			return 0
		}
		return max(us(to)-us(from), 0) + 1
	}
	last := int64(0)
	column(func(x *conntrack.Connection) int64 { // began: they are in this order
		at := us(report.BeganNS(x))
		step := max(at-last, 0)
		last += step
		return step
	})
	before := int64(0)
	column(func(x *conntrack.Connection) int64 { // id, as zigzag of the step
		step := int64(x.ID) - before
		before = int64(x.ID)
		return int64(uint64(step)<<1 ^ uint64(step>>63))
	})
	column(func(x *conntrack.Connection) int64 { return phase(report.BeganNS(x), x.QueuedNS) })
	column(func(x *conntrack.Connection) int64 {
		return phase(cmp.Or(x.QueuedNS, report.BeganNS(x)), x.AcceptedNS)
	})
	column(func(x *conntrack.Connection) int64 { return phase(x.AcceptedNS, x.ServerEndNS) })
	column(func(x *conntrack.Connection) int64 {
		return phase(cmp.Or(x.ServerEndNS, x.AcceptedNS, x.QueuedNS, report.BeganNS(x)), x.EndNS)
	})
	column(func(x *conntrack.Connection) int64 { wait, _ := x.InQueue(); return wait/1000 + min(wait+1, 1) })
	column(func(x *conntrack.Connection) int64 { return clients.of(x.Remote.Addr().Unmap().String()) })
	column(func(x *conntrack.Connection) int64 { return int64(x.Remote.Port()) })
	column(func(x *conntrack.Connection) int64 {
		return addrs.of(cmp.Or(x.ListenAddr, x.Local.String()))
	})
	column(func(x *conntrack.Connection) int64 {
		if x.TID == 0 {
			return 0
		}
		return 1 + processes.of(fmt.Sprintf("%s[%d]", format.Quote(x.Comm), x.PID))
	})
	column(func(x *conntrack.Connection) int64 { return ends.of(string(x.End)) })
	column(func(x *conntrack.Connection) int64 { return counted(x, x.BytesIn) })
	column(func(x *conntrack.Connection) int64 { return counted(x, x.BytesOut) })
	column(func(x *conntrack.Connection) int64 { return int64(x.RefusedPackets) })
	column(func(x *conntrack.Connection) int64 { return counted(x, uint64(x.Retransmits)) })
	column(flags)
	column(func(x *conntrack.Connection) int64 { // the client's FIN
		return phase(report.BeganNS(x), cmp.Or(x.GoneNS, x.ClientEndNS))
	})
	d.Clients, d.Listeners, d.Processes = texts(clients), texts(addrs), texts(processes)
	d.Ends = [][2]any{}
	for _, e := range ends.list {
		kind := 0
		x := conntrack.Connection{End: conntrack.End(e)}
		switch {
		case badEnd(&x):
			kind = 1
		case x.End.Open() || x.End.Waiting():
			kind = 2
		}
		d.Ends = append(d.Ends, [2]any{e, kind})
	}
	return out
}

func texts(n numbering) []string { return append([]string{}, n.list...) }

func counted(c *conntrack.Connection, n uint64) int64 {
	if !c.Counted {
		return 0
	}
	return int64(min(n, 1<<52)) + 1
}

// flags are what else the script wants to know, a bit each.
func flags(c *conntrack.Connection) (bits int64) {
	_, atLeast := c.InQueue()
	for i, yes := range []bool{c.Dead, c.Before, report.Trouble(c), atLeast, c.AcceptUnknown, c.QueuedNS != 0} {
		if yes {
			bits |= 1 << i
		}
	}
	return bits
}

// stories are those of the worst connections, as acc analyze --connection prints them.
func (d *pageData) stories(rows []conntrack.Connection, r *analysis.Result, h *format.Header, clocks *format.Clocks,
	zone *time.Location) {
	order := make([]*conntrack.Connection, len(rows))
	for i := range rows {
		order[i] = &rows[i]
	}
	slices.SortFunc(order, func(a, b *conntrack.Connection) int { return worse(b, a) })
	for _, x := range order[:min(len(order), maxStories)] {
		if x.ID != 0 {
			d.Stories[strconv.FormatUint(x.ID, 10)] = strings.TrimRight(report.Story(x, r, h, clocks, zone, 100), "\n")
		}
	}
}

// packed compresses and writes as base64.
func packed(b []byte) (string, error) {
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return "", err
	}
	if _, err := z.Write(b); err != nil {
		return "", err
	}
	if err := z.Close(); err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(out.Bytes()), nil
}

func packedJSON(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	return packed(b)
}
