package main

// This file prints what analyze is asked for: the screen, lists, a story, a drawing.

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/filter"
	"github.com/acc-project/acc/analysis/pairing"
	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/analysis/selection"
	"github.com/acc-project/acc/format"
)

// view is what analyze prints.
type view int

const (
	viewScreen view = iota
	viewBrief
	viewPairs
	viewConnections
	viewConnection
	viewTimeline
)

// view finds the one that the flags ask for.
func (o *analyzeOptions) view() (view, error) {
	v, n := viewScreen, 0
	for want, asked := range map[view]bool{
		viewBrief: o.brief, viewPairs: o.pairs, viewConnections: o.connections,
		viewConnection: o.connection != "", viewTimeline: o.timeline,
	} {
		if asked {
			v = want
			n++
		}
	}
	switch {
	case n > 1:
		return 0, &usageError{
			errors.New("--brief, --pairs, --connections, --connection and --timeline are different views"),
			"ask for one at a time",
		}
	case v == viewBrief && o.json:
		return 0, &usageError{
			errors.New("--brief is not for --json"),
			"acc analyze --json has the findings, and all of what they are about",
		}
	case v == viewTimeline && o.json:
		return 0, &usageError{errors.New("a timeline is no JSON"), "acc analyze --connections --json has what it draws"}
	}
	return v, nil
}

// which reads the name of a connection.
func (o *analyzeOptions) which() (func(*conntrack.Connection) bool, error) {
	if seq, err := strconv.ParseUint(o.connection, 10, 64); err == nil && seq > 0 {
		return func(c *conntrack.Connection) bool { return c.Has(seq) }, nil
	}
	peer, err := netip.ParseAddrPort(o.connection)
	if err != nil {
		return nil, &usageError{
			fmt.Errorf("--connection %q is neither the number of an event nor an address and port", o.connection),
			"like --connection 12, or --connection 192.0.2.1:40000",
		}
	}
	return func(c *conntrack.Connection) bool {
		return c.Remote.Port() == peer.Port() && c.Remote.Addr().Unmap() == peer.Addr().Unmap()
	}, nil
}

// viewer prints what is asked for, much of it while the capture is read.
type viewer struct {
	o        *analyzeOptions
	w        *bufio.Writer
	view     view
	header   *format.Header
	clocks   *format.Clocks
	zone     *time.Location
	file     bool // the input is one, not a pipe
	width    int  // of lines, 0: they are as long as they are
	line     []byte
	folded   []byte
	lines    int
	stories  []conntrack.Connection
	own      map[netip.Addr]bool // addresses at which the host accepted
	list     *report.ConnectionList
	timeline *report.Timeline
	ordered  timedLines
	shown    window
	env      *filter.Env // of -f; nil: without it
	chosen   selected    // by -f

	selection *selection.Selection // of -f, for the screen
}

// what is what the view lists.
func (v *viewer) what() string {
	if v.view == viewPairs {
		return "attempt"
	}
	return "connection"
}

// lists reports whether a connection is one that the view is of.
func (v *viewer) lists(c *conntrack.Connection) bool {
	yes := v.shown.has(v.clocks, report.BeganNS(c), report.ListedNS(c))
	if f := v.o.connectionFilter; f != nil {
		yes = v.chosen.is(yes && f.Match(c, v.env))
	}
	return yes
}

// listen makes the analysis tell what the view lists.
func (v *viewer) listen(o *analysis.Options) error {
	v.ordered.w, v.ordered.all = v.w, v.file
	if v.o.filter != "" && v.view == viewScreen {
		v.countSelected(o)
		return nil
	}
	if !v.o.json && v.view != viewScreen && v.view != viewBrief {
		if _, err := v.w.WriteString(notices(v.header)); err != nil {
			return err
		}
	}
	if v.o.filter != "" && !v.o.json {
		if _, err := v.w.WriteString(filteredLine(v.o.filter)); err != nil {
			return err
		}
	}
	if !v.o.json {
		v.ordered.day = func(ns int64) string { return dayOf(ns, v.clocks.At(ns), v.zone) }
	}
	switch v.view {
	case viewPairs:
		o.Pair = v.pair
	case viewConnections:
		o.Connection = v.connection
	case viewConnection:
		is, err := v.o.which()
		if err != nil {
			return err
		}
		v.own = map[netip.Addr]bool{}
		o.Connection = func(c *conntrack.Connection) error {
			if len(v.own) < maxOwn {
				v.own[c.Local.Addr().Unmap()] = true
			}
			if !is(c) {
				return nil
			}
			return v.story(c)
		}
	case viewTimeline:
		v.timeline = report.NewTimeline(cmp.Or(max(v.o.top, 0), 1000))
		o.Connection = func(c *conntrack.Connection) error {
			if v.lists(c) {
				v.timeline.Add(c)
			}
			return nil
		}
	}
	return nil
}

// countSelected counts what -f selects, for the screen.
func (v *viewer) countSelected(o *analysis.Options) {
	v.selection = selection.New()
	if f := v.o.pairFilter; f != nil {
		o.Pair = func(p *pairing.Pair) error {
			v.selection.Pair(p, f.Match(p, v.env))
			return nil
		}
	}
	if f := v.o.connectionFilter; f != nil {
		o.Connection = func(c *conntrack.Connection) error {
			v.selection.Connection(c, f.Match(c, v.env))
			return nil
		}
	}
}

// selected prints what -f selected, with so many rows in each list.
func (v *viewer) selected(r *analysis.Result, o report.TextOptions) error {
	s := v.selection.Figures(v.o.filter, r, v.o.pairFilter != nil, v.o.connectionFilter != nil, cmp.Or(v.o.top, -1))
	if v.o.json {
		return encodeJSON(v.w, s)
	}
	return report.Selection(v.w, s, r, o)
}

// write ends the line, which is of a time.
func (v *viewer) write(ns int64) error {
	v.lines++
	if !v.o.json {
		v.folded = report.AppendFolded(v.folded[:0], v.line, v.width, 10)
		v.line, v.folded = v.folded, v.line
	} else if v.o.source > 0 {
		v.folded = append(appendSourceJSON(v.folded[:0], v.o.source, v.o.host), v.line[1:]...)
		v.line, v.folded = v.folded, v.line
	}
	v.line = append(v.line, '\n')
	return v.ordered.add(ns, v.line)
}

func (v *viewer) pair(p *pairing.Pair) error {
	began, ended := p.EnterNS, p.ReturnNS
	yes := v.shown.has(v.clocks, cmp.Or(began, ended), cmp.Or(ended, began))
	if f := v.o.pairFilter; f != nil {
		yes = v.chosen.is(yes && f.Match(p, v.env))
	}
	if !yes {
		return nil
	}
	if v.o.json {
		v.line = report.AppendPairJSON(v.line[:0], p, v.clocks)
	} else {
		v.line = report.AppendPairText(v.line[:0], p, v.clocks, v.zone)
	}
	return v.write(p.ReturnNS)
}

func (v *viewer) connection(c *conntrack.Connection) error {
	if !v.lists(c) {
		return nil
	}
	if v.o.json {
		v.line = report.AppendConnectionJSON(v.line[:0], c, v.clocks)
		return v.write(report.ListedNS(c))
	}
	if v.list == nil {
		v.lines++
		v.list = report.NewConnectionList(v.width)
		if _, err := v.w.WriteString(v.list.Head() + "\n"); err != nil {
			return err
		}
	}
	v.line = v.list.Append(v.line[:0], c, v.clocks, v.zone)
	return v.write(report.ListedNS(c))
}

// maxStories is how many stories wait for the end, where it is known what the server did meanwhile.
const maxStories = 1000

func (v *viewer) story(c *conntrack.Connection) error {
	if v.o.json {
		return v.connection(c)
	}
	if v.lines++; len(v.stories) < maxStories {
		kept := *c
		kept.Refusals, kept.Holders = slices.Clone(c.Refusals), slices.Clone(c.Holders)
		v.stories = append(v.stories, kept)
		return nil
	}
	_, err := v.w.WriteString(report.Story(c, nil, v.header, v.clocks, v.zone, v.width) + "\n")
	return err
}

// tellStories prints the stories of connections, and what the server did while each waited.
func (v *viewer) tellStories(r *analysis.Result) error {
	for i := range v.stories {
		c := &v.stories[i]
		text := report.Story(c, r, v.header, v.clocks, v.zone, v.width)
		if i > 0 {
			text = "\n" + text
		} else {
			text = v.o.head + text
		}
		if _, err := v.w.WriteString(text); err != nil {
			return err
		}
		v.tell(c, r)
	}
	return nil
}

// result prints what is known at the end.
func (v *viewer) result(r *analysis.Result, o report.TextOptions) error {
	if err := v.ordered.flush(); err != nil {
		return err
	}
	switch {
	case v.view == viewTimeline:
		return v.timeline.Write(v.w, r, v.clocks, o)
	case v.view == viewConnection:
		return v.tellStories(r)
	case v.view == viewBrief:
		return report.Brief(v.w, r, o)
	case v.view != viewScreen:
		return nil
	case v.selection != nil:
		return v.selected(r, o)
	case v.o.json:
		return encodeJSON(v.w, r)
	}
	return report.Text(v.w, r, o)
}
