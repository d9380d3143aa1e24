package report

// This file draws connections as lanes.

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/acc-project/acc/analysis/conntrack"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/format"
)

// maxLanes bounds the listeners that a Timeline tells apart.
const maxLanes = 256

// Timeline draws connections as lanes, for each listener. It keeps a few of each,
// so that its memory does not grow with the capture.
type Timeline struct {
	rows   int
	groups map[lane]*group
	others uint64 // connections of listeners beyond the bound
}

// lane names a listener; the inode number is 0 if only the local end is known.
type lane struct {
	inode uint64
	name  string
}

type group struct {
	name  string
	netns uint32
	inode uint64
	owner string
	total uint64
	kept  []conntrack.Connection // the most telling ones, worst first
}

// NewTimeline begins a timeline with at most rows connections of each listener.
func NewTimeline(rows int) *Timeline { return &Timeline{rows: rows, groups: map[lane]*group{}} }

// Add takes a connection, which is copied.
func (tl *Timeline) Add(c *conntrack.Connection) {
	k := lane{c.Listener, c.ListenAddr}
	if k.inode == 0 {
		k.name = c.Local.String()
	}
	g := tl.groups[k]
	if g == nil {
		if len(tl.groups) >= maxLanes {
			tl.others++
			return
		}
		g = &group{name: k.name, inode: k.inode, netns: c.NetNS}
		tl.groups[k] = g
	}
	g.owner = cmp.Or(g.owner, c.ListenOwner)
	g.total++
	if len(g.kept) == tl.rows && (tl.rows == 0 || telling(c, &g.kept[len(g.kept)-1]) >= 0) {
		return
	}
	at, _ := slices.BinarySearchFunc(g.kept, c, func(x conntrack.Connection,
		c *conntrack.Connection) int {
		return telling(&x, c)
	})
	if len(g.kept) == tl.rows {
		g.kept = g.kept[:tl.rows-1]
	}
	g.kept = slices.Insert(g.kept, at, *c)
}

// telling orders connections: what went wrong first, then the longest in the
// queue, then the longest alive.
func telling(a, b *conntrack.Connection) int {
	return cmp.Or(-cmp.Compare(trouble(a), trouble(b)), -cmp.Compare(a.QueueWaitNS, b.QueueWaitNS),
		-cmp.Compare(a.AliveNS, b.AliveNS), cmp.Compare(a.ID, b.ID))
}

// Trouble reports whether a connection was refused, was dead when it was accepted, or was never accepted.
func Trouble(c *conntrack.Connection) bool {
	return c.Dead || c.RefusedPackets > 0 || !c.AcceptUnknown && c.QueuedSeq != 0 && c.AcceptedSeq == 0 && c.End.Known()
}

func trouble(c *conntrack.Connection) int {
	if Trouble(c) {
		return 1
	}
	return 0
}

// The phases of a lane, and what a cell of each looks like.
const (
	phaseNone = iota
	phaseHandshake
	phaseQueued
	phaseServed
	phaseUnknown
	phaseClosing
	numPhases
)

var (
	phaseSigns = [numPhases]string{" ", "╌", "░", "█", "▒", "─"}
	cellColors = [numPhases]string{"", "36", amber, "32", "", ""}
)

const endClosed, endBad, endOpen = "┤", "✗", "▸"

// marks are what a legend explains.
var marks = []struct{ sign, means string }{
	{phaseSigns[phaseHandshake], "handshake"}, {phaseSigns[phaseQueued], "queued"},
	{phaseSigns[phaseServed], "served"}, {phaseSigns[phaseUnknown], "queued or served"},
	{phaseSigns[phaseClosing], "closing"},
	{endClosed, "closed"}, {endBad, "reset or lost"}, {endOpen, "still open"},
}

// Write draws what was added, with what the result tells of each listener. Lines
// fit the width, 80 if it is 0. Nothing in it can steer a terminal.
func (tl *Timeline) Write(w io.Writer, r *analysis.Result, clocks *format.Clocks, o TextOptions) error {
	o.Width = cmp.Or(o.Width, 80)
	t := newText(r, o)
	groups := make([]*group, 0, len(tl.groups))
	for _, g := range tl.groups {
		groups = append(groups, g)
	}
	slices.SortFunc(groups, func(a, b *group) int {
		return cmp.Or(cmp.Compare(b.total, a.total), cmp.Compare(a.name, b.name), cmp.Compare(a.inode, b.inode))
	})
	fromNS, toNS, ok := window(groups)
	if !ok {
		none := "no connections"
		if !r.Connections.Recorded {
			none += " were accepted, and others are not recorded"
		}
		t.line("", "", none)
		_, err := w.Write(t.Bytes())
		return err
	}
	d := drawing{text: t, used: map[string]bool{}, fromNS: fromNS, toNS: max(toNS, fromNS+1), clocks: clocks}
	d.lane = t.o.Width - labelWidth
	for _, g := range groups {
		d.group(g)
	}
	if tl.others > 0 {
		t.line("", "", "… and "+many(tl.others, "connection")+" of other listeners")
	}
	var legend []string
	for _, x := range marks {
		if d.used[x.sign] {
			legend = append(legend, x.sign+" "+x.means)
		}
	}
	var threads []string
	for _, k := range kindSigns {
		if d.used[k.sign] {
			threads = append(threads, k.sign+" "+k.means)
		}
	}
	head := newText(r, o)
	head.line("", "", strings.Join(legend, "  "))
	if len(threads) > 0 {
		head.fold("", "threads while clients waited:", strings.Join(threads, ", ")+"; · not looked at")
	}
	head.marks()
	_, err := w.Write(append(head.Bytes(), t.Bytes()...))
	return err
}

// window is the time that the kept connections span.
func window(groups []*group) (fromNS, toNS int64, ok bool) {
	for _, g := range groups {
		for i := range g.kept {
			c := &g.kept[i]
			from, to := began(c), max(began(c), c.EndNS, c.ClosedNS, c.AcceptedNS)
			if !ok {
				fromNS, toNS, ok = from, to, true
			}
			fromNS, toNS = min(fromNS, from), max(toNS, to)
		}
	}
	return fromNS, toNS, ok
}

// labelWidth is what stands left of a lane: id and client.
const labelWidth = 33

type drawing struct {
	*text
	fromNS, toNS int64
	lane         int // cells
	clocks       *format.Clocks
	used         map[string]bool // signs that are to be explained
}

// sign draws one.
func (d *drawing) sign(code, s string) string {
	d.used[s] = true
	return d.style(code, s)
}

func (d *drawing) group(g *group) {
	if len(g.kept) == 0 {
		return
	}
	shown := ""
	if g.total > uint64(len(g.kept)) {
		shown = fmt.Sprintf(", %d shown, the worst (--top)", len(g.kept))
	}
	d.WriteByte('\n')
	d.line(bold, cut(g.name+d.owner(g), d.o.Width-24), "  "+many(g.total, "connection")+shown)
	from, to := d.clockAt(d.fromNS), d.clockAt(d.toNS)
	span := fmt.Sprintf(" %s ", Duration(d.toNS-d.fromNS))
	if room := d.lane - len(from) - len(to) - len([]rune(span)); room >= 0 {
		d.line("", "", strings.Repeat(" ", labelWidth)+from+strings.Repeat("─", room/2)+span+strings.Repeat("─",
			room-room/2)+to)
	}
	d.queue(g)
	d.threads(g)
	for i := range d.r.Listeners {
		if l := &d.r.Listeners[i]; l.Listener == g.inode && g.inode != 0 && l.Addr == g.name && l.Stopped != nil {
			d.fold("", "", "the listener "+d.stopped(l))
		}
	}
	slices.SortFunc(g.kept, func(a, b conntrack.Connection) int {
		return cmp.Or(cmp.Compare(began(&a), began(&b)), cmp.Compare(a.ID, b.ID))
	})
	for i := range g.kept {
		c := &g.kept[i]
		id := "-"
		if c.ID != 0 {
			id = fmt.Sprint(c.ID)
		}
		d.WriteString(fmt.Sprintf("%9s  %-21s ", id, cut(plain(c.Remote), 21)) + d.draw(c) + "\n")
	}
}

// owner says whose the listener of a group is.
func (d *drawing) owner(g *group) string {
	for i := range d.r.Listeners {
		if l := &d.r.Listeners[i]; g.inode != 0 && l.Listener == g.inode && l.Owner != "" {
			return " (" + l.Owner + ")"
		}
	}
	if g.owner != "" {
		return " (" + g.owner + ")"
	}
	return ""
}

func (d *drawing) clockAt(ns int64) string {
	return string(d.clocks.AppendMoment(nil, ns, d.zone, "15:04:05.000"))
}

// queue draws the length of the accept queue.
func (d *drawing) queue(g *group) {
	for i := range d.r.Listeners {
		l := &d.r.Listeners[i]
		if l.Listener != g.inode || g.inode == 0 || l.Addr != g.name || l.QueueHigh == 0 || len(l.Timeline.Depth) == 0 {
			continue
		}
		label := fmt.Sprintf("queue, up to %d of %d", l.QueueHigh, l.QueueHighMax)
		if l.QueueHighMax == 0 { // or not known
			label = fmt.Sprintf("queue, up to %d", l.QueueHigh)
		}
		if l.Life != nil && l.Life.FullNS > 0 {
			label += " FULL " + Duration(l.Life.FullNS)
		}
		if 2*l.Timeline.DepthNS > d.toNS-d.fromNS { // too coarse to be drawn
			d.line("", "", label)
			return
		}
		start := d.r.Capture.StartNS
		var b strings.Builder
		for x := range d.lane {
			from, to := d.at(x), d.at(x+1)
			high := uint64(0)
			for n, q := range l.Timeline.Depth {
				at := start + int64(n)*l.Timeline.DepthNS
				if at < to && at+l.Timeline.DepthNS > from {
					high = max(high, q)
				}
			}
			switch {
			case high == 0:
				b.WriteRune('·')
			default:
				b.WriteRune([]rune("▁▂▃▄▅▆▇█")[(high*8-1)/uint64(l.QueueHigh)])
			}
		}
		d.WriteString(fmt.Sprintf("%-*s", labelWidth, cut(label, labelWidth-1)) + b.String() + "\n")
		return
	}
}

// at is when a cell begins.
func (d *drawing) at(cell int) int64 {
	return d.fromNS + int64(float64(d.toNS-d.fromNS)*float64(cell)/float64(d.lane))
}

// cellOf is the cell of a time.
func (d *drawing) cellOf(ns int64) int {
	x := int(float64(ns-d.fromNS) / float64(d.toNS-d.fromNS) * float64(d.lane))
	return min(max(x, 0), d.lane-1)
}

// draw makes the lane of a connection: each cell shows the phase that took most
// of it, the last one how it ended.
func (d *drawing) draw(c *conntrack.Connection) string {
	end := max(c.EndNS, began(c))
	var phases [numPhases][2]int64
	next := func(ns ...int64) int64 {
		for _, t := range ns {
			if t != 0 {
				return t
			}
		}
		return end
	}
	if from := began(c); c.SynNS != 0 || len(c.Refusals) > 0 {
		phases[phaseHandshake] = [2]int64{from, next(c.QueuedNS)}
	}
	switch {
	case c.QueuedNS != 0 && c.AcceptUnknown && c.QueueWaitNS < 0:
		phases[phaseUnknown] = [2]int64{c.QueuedNS, end}
	case c.QueuedNS != 0:
		phases[phaseQueued] = [2]int64{c.QueuedNS, next(c.AcceptedNS)}
	}
	switch {
	case c.AcceptedNS != 0:
		done := max(cmp.Or(c.ServerEndNS, end), c.AcceptedNS)
		phases[phaseServed] = [2]int64{c.AcceptedNS, done}
		if c.ServerEndNS != 0 {
			phases[phaseClosing] = [2]int64{done, max(end, done)}
		}
	case c.QueuedNS == 0 && c.WaitedNS > 0:
	case c.QueuedNS == 0 && !c.End.Refused():
		phases[phaseServed] = [2]int64{d.fromNS, end} // it was there before
	}
	if c.Dead { // nobody was there to be served
		phases[phaseServed] = [2]int64{}
		end = max(c.AcceptedNS, end)
	}
	if c.WaitedNS > 0 {
		phases[phaseQueued] = [2]int64{d.fromNS, next(c.AcceptedNS)}
	}
	first, last := d.cellOf(began(c)), d.cellOf(end)
	if c.Before && c.QueuedNS == 0 || c.QueuedNS == 0 && c.AcceptedNS == 0 && !c.End.Refused() {
		first = 0
	}
	var b strings.Builder
	b.WriteString(strings.Repeat(" ", first))
	for x := first; x <= last; x++ {
		b.WriteString(d.cell(c, x, x == last, &phases))
	}
	return b.String()
}

func (d *drawing) cell(c *conntrack.Connection, x int, last bool, phases *[numPhases][2]int64) string {
	if last {
		switch c.End {
		case conntrack.EndOpen, conntrack.EndWaiting, conntrack.EndOpenCut, conntrack.EndWaitingCut:
			return d.sign(bold, endOpen)
		case conntrack.EndByServer, conntrack.EndByClient, conntrack.EndByBoth, conntrack.EndWriteRefused:
			if !c.Dead {
				return d.sign(bold, endClosed)
			}
			return d.sign(red, endBad)
		case conntrack.EndNotRecorded, conntrack.EndGone:
		default:
			return d.sign(red, endBad)
		}
	}
	if c.Dead && c.ClosedNS != 0 && x == d.cellOf(c.ClosedNS) {
		return d.sign(red, endBad) // it was reset, and then waited to be accepted
	}
	from, to := d.at(x), d.at(x+1)
	if x == d.lane-1 {
		to++ // what is at its very end
	}
	best, most := phaseNone, int64(-1)
	for p := phaseHandshake; p < numPhases; p++ {
		if phases[p] == [2]int64{} || phases[p][0] >= to || phases[p][1] < from {
			continue
		}
		if n := min(phases[p][1], to) - max(phases[p][0], from); n > most {
			best, most = p, n
		}
	}
	return d.sign(cellColors[best], phaseSigns[best])
}
