package compare

// This file compares two profiles.

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/format"
)

// Limits of what counts as a difference.
const (
	leastWindows = 8    // of each capture, for a figure to be compared
	mostWindows  = 32   // of the shorter capture
	falseAlarms  = 0.01 // chance of one in all figures together, if nothing differs
	relative     = 0.10 // a difference is at least so large, of the first capture's
	noiseTimes   = 2    // and so much larger than what one of the captures differs from itself
	leastRate    = 0.1  // a second, for rates
	leastTime    = 50e3 // nanoseconds, for durations
	leastCount   = 10   // events in both, for rates
)

// Diff is what differs between two captures.
type Diff struct {
	Schema int  `json:"schema"` // as in analyze
	A      Side `json:"a"`      // the first capture
	B      Side `json:"b"`      // the second one
	// nothing speaks against comparing them: see why
	Comparable bool     `json:"comparable"`
	Why        []string `json:"why"`       // what makes the comparison doubtful, a sentence each
	WindowNS   int64    `json:"window_ns"` // length of the windows in which figures are compared; 0: too short for that
	// what differs, the surest first
	Differences []Difference `json:"differences"`
	// figures that were compared and do not differ by more than the captures' own noise
	Same int `json:"same"`
	// figures that are in both, but too rarely to be compared
	TooFew     int  `json:"too_few"`
	Regression bool `json:"regression"` // a difference is for the worse, or a finding of warning or worse is new
}

// Side is one of the two captures.
type Side struct {
	File       string `json:"file"`        // as it was named
	ID         string `json:"id"`          // capture id
	Host       string `json:"host"`        // node name
	Tool       string `json:"tool"`        // acc and its version
	StartNS    int64  `json:"start_ns"`    // when it began, nanoseconds since 1970; 0: not known
	DurationNS int64  `json:"duration_ns"` // how long it was recorded
	Events     uint64 `json:"events"`      // in the capture
	Accepted   uint64 `json:"accepted"`    // connections
	Complete   bool   `json:"complete"`    // file and recording are
	Windows    int    `json:"windows"`     // in which figures are compared
}

// Difference is one thing that differs.
type Difference struct {
	What    string `json:"what"`    // new, gone or changed
	Kind    string `json:"kind"`    // figure, finding, listener, process, peer or error
	Subject string `json:"subject"` // whose it is: a listener, a process, an error; "all"
	Figure  string `json:"figure"`  // which: accepted, queue-wait-p99 ..., or the finding's id
	Unit    string `json:"unit"`    // per_second, ns or count; "" of findings
	// of the first capture, and of the second: means of rates, medians over windows of quantiles, or counts
	A float64 `json:"a"`
	B float64 `json:"b"` // the same of the second capture
	// the largest difference of one of the captures from itself, between alternating windows, in the same unit
	Noise float64 `json:"noise"`
	// chance of such a difference if nothing differs: of figures by a Mann-Whitney U test, corrected for the correlation
	// of neighbouring windows; of what is new or gone by its number
	P     float64 `json:"p"`
	Worse bool    `json:"worse"` // it is for the worse
	Text  string  `json:"text"`  // in a sentence
}

// figure is a figure of both captures, by window.
type figure struct {
	kind, subject, name, unit string
	a, b                      []float64 // by window, NaN: none there
	mean                      bool      // compare means, not medians
	up                        int       // 1: more is worse, -1: less is worse, 0: neither
	total                     float64   // events of it in both
}

// Compare says what differs from a to b.
func Compare(a, b *Profile) *Diff {
	d := &Diff{Schema: 1, A: side(a), B: side(b), Comparable: true, Why: []string{}, Differences: []Difference{}}
	d.doubts(a, b)
	width := windowOf(a, b)
	if width == 0 {
		d.Why = append(d.Why, fmt.Sprintf("a capture is too short, or much shorter than the other one: with fewer than %d "+
			"windows its noise is not known, and figures are not compared", leastWindows))
	}
	d.WindowNS = width
	if width > 0 {
		d.A.Windows, d.B.Windows = a.windows(width), b.windows(width)
		d.figures(figuresOf(a, b, width))
	}
	d.presence(a, b)
	d.findings(a, b)
	d.Comparable = len(d.Why) == 0
	slices.SortStableFunc(d.Differences, func(x, y Difference) int {
		return cmp.Or(cmp.Compare(rank(&x), rank(&y)), cmp.Compare(x.P, y.P), -cmp.Compare(effect(&x), effect(&y)),
			cmp.Compare(x.Subject, y.Subject), cmp.Compare(x.Figure, y.Figure))
	})
	for _, x := range d.Differences {
		d.Regression = d.Regression || x.Worse
	}
	return d
}

// rank puts findings first, because they are the surest, and clients last, because they are many.
func rank(x *Difference) int {
	switch x.Kind {
	case "finding":
		return 0
	case "peer":
		return 2
	}
	return 1
}

// effect gives a difference as a multiple of its noise.
func effect(x *Difference) float64 { return math.Abs(x.B-x.A) / math.Max(x.Noise, 1e-9) }

func side(p *Profile) Side {
	c := &p.Result.Capture
	s := Side{ID: c.ID, Host: c.Host, Tool: c.Tool, DurationNS: c.DurationNS, Events: c.Events,
		Accepted: p.Result.Totals.Accepted, Complete: p.Result.Complete}
	if c.Start != nil {
		s.StartNS = c.Start.UnixNano()
	}
	return s
}

// windowOf gives the length of the windows, a multiple of both captures' buckets: the shorter capture has at most 32
// of them. It is 0 if the shorter capture would have fewer than 8.
func windowOf(a, b *Profile) int64 {
	shorter := min(a.Result.Capture.DurationNS, b.Result.Capture.DurationNS)
	for _, p := range []*Profile{a, b} { // a capture may be idle at its end
		p.fit(p.Result.Capture.DurationNS)
	}
	width := max(a.widthNS, b.widthNS)
	for shorter/width > mostWindows {
		width *= 2
	}
	if shorter/width < leastWindows {
		return 0
	}
	return width
}

// windows is how many whole windows a capture has.
func (p *Profile) windows(width int64) int { return int(p.Result.Capture.DurationNS / width) }

// rates are a series' events a second in each window.
func (p *Profile) rates(s series, width int64) []float64 {
	list := make([]float64, p.windows(width))
	each := int(width / p.widthNS)
	for i, n := range s {
		if w := i / each; w < len(list) {
			list[w] += n / (float64(width) / 1e9)
		}
	}
	return list
}

// quantiles are those of durations in each window.
func (p *Profile) quantiles(l latencies, part float64, least uint64, width int64) []float64 {
	each := int(width / p.widthNS)
	list := make([]float64, p.windows(width))
	for w := range list {
		var all *[latencyBins]uint32
		for i := w * each; i < min((w+1)*each, len(l)); i++ {
			if l[i] != nil {
				h := *l[i]
				all = sum(all, &h)
			}
		}
		list[w] = quantile(all, part, least)
	}
	return list
}

func total(s series) (n float64) {
	for _, v := range s {
		n += v
	}
	return n
}

// figuresOf gives all figures that both captures can have.
func figuresOf(a, b *Profile, width int64) (list []figure) {
	rate := func(kind, subject, name string, x, y series, up int) {
		if n := total(x) + total(y); n > 0 {
			list = append(list, figure{kind, subject, name, "per_second", a.rates(x, width), b.rates(y, width), true, up, n})
		}
	}
	subjects := func(kind, name string, x, y *subject, life bool) {
		rate(kind, name, "accepted", x.accepted, y.accepted, 0)
		rate(kind, name, "failed", x.failed, y.failed, 1)
		if !life {
			return
		}
		rate(kind, name, "queued", x.arrived, y.arrived, 0)
		rate(kind, name, "refused-packets", x.refused, y.refused, 1)
		rate(kind, name, "lost-connections", x.lost, y.lost, 1)
		for i, what := range []string{"queue-wait", "in-accept", "served", "handshake"} {
			up := 1
			if i == inAccept { // a call that waits longer has less to do
				up = 0
			}
			for _, q := range []struct {
				name  string
				part  float64
				least uint64
			}{{"p50", 0.5, 5}, {"p99", 0.99, 30}} {
				list = append(list, figure{kind, name, what + "-" + q.name, "ns",
					a.quantiles(x.latency[i], q.part, q.least, width), b.quantiles(y.latency[i], q.part, q.least, width),
					false, up, 1e9})
			}
		}
	}
	subjects("figure", "all", &a.all, &b.all, true)
	if max(len(a.listeners), len(b.listeners)) > 1 { // else it has the figures of all
		for _, name := range both(a.listeners, b.listeners) {
			subjects("listener", name, a.listeners[name], b.listeners[name], true)
		}
	}
	if max(len(a.processes), len(b.processes)) > 1 {
		for _, name := range both(a.processes, b.processes) {
			subjects("process", name, a.processes[name], b.processes[name], false)
		}
	}
	for _, errno := range errnosOf(a, b) {
		x, y := a.errors[errno], b.errors[errno]
		if x == nil || y == nil { // new, or gone
			continue
		}
		up := 1
		if errno == againErrno {
			up = 0
		}
		rate("error", errorName(errno), "failed", *x, *y, up)
	}
	return list
}

func errorName(errno int32) string { return cmp.Or(format.ErrnoName(errno), fmt.Sprint(errno)) }

// both gives the names that are in both, in order.
func both(a, b map[string]*subject) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(a)) {
		if b[name] != nil {
			names = append(names, name)
		}
	}
	return names
}

// word gives a figure in words.
func word(name string) string {
	if w := words[name]; w != "" {
		return w
	}
	return name
}

var words = map[string]string{
	"accepted": "accepted", "failed": "failed calls", "queued": "new clients", "refused-packets": "packets refused",
	"lost-connections": "connections reset, refused, timed out or lost",
	"queue-wait-p50":   "median time in the accept queue", "queue-wait-p99": "p99 time in the accept queue",
	"in-accept-p50": "median time in accept", "in-accept-p99": "p99 time in accept",
	"served-p50": "median time served", "served-p99": "p99 time served",
	"handshake-p50": "median handshake", "handshake-p99": "p99 handshake",
}

// value writes a figure with its unit.
func value(v float64, unit string) string {
	switch unit {
	case "ns":
		return humanize.Duration(int64(v))
	case "per_second":
		if v >= 1000 {
			return humanize.Count(uint64(v+0.5)) + "/s"
		}
		return humanize.Digits(v) + "/s"
	}
	return humanize.Count(uint64(v))
}
