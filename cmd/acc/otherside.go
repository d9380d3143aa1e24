package main

// This file finds, in captures of several hosts, the other side of a connection whose story is printed: the same
// connection as another recorder saw it, and what the server waited for meanwhile on another host.

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/evidence"
	"github.com/acc-project/acc/format"
)

const (
	maxTold   = 20   // stories whose other side is looked for
	maxOwn    = 1000 // addresses of a host
	maxListed = 5    // connections of an other side that are listed
)

// told is a connection whose story was printed.
type told struct {
	unit  int // number of its capture
	name  string
	host  string
	c     conntrack.Connection
	from  time.Time // of its life
	until time.Time
	zone  *time.Location
	slack time.Duration // by how much these can be wrong; -1: not known
	own   map[netip.Addr]bool
	asked []asked
	same  []string // other captures that have it, too
}

// asked is a server that a thread waited for while the connection lived.
type asked struct {
	who    string
	server netip.AddrPort
	from   time.Time
	until  time.Time
	found  []*answered
}

// answered are the connections of one capture at a server that was asked.
type answered struct {
	name, host string
	by         string
	all, own   int // connections that were there then: all, and those of the host that asked
	first      []conntrack.Connection
	clocked    bool // the clocks of both hosts are known to be synchronised
	self       bool // it is the capture of the host that asked
}

// asked finds what the server of a connection waited for meanwhile, of what acc looked at.
func (v *viewer) asked(c *conntrack.Connection, r *analysis.Result) (list []asked) {
	from, until := report.BeganNS(c), report.ListedNS(c)
	add := func(who string, server netip.AddrPort, fromNS, toNS int64) {
		server = netip.AddrPortFrom(server.Addr().Unmap(), server.Port())
		if toNS < from || fromNS > until || !server.IsValid() {
			return
		}
		a := asked{who: who, server: server, from: v.clocks.Time(fromNS), until: v.clocks.Time(toNS)}
		i := slices.IndexFunc(list, func(x asked) bool { return x.who == who && x.server == server })
		if i < 0 {
			list = append(list, a)
			return
		}
		if a.from.Before(list[i].from) {
			list[i].from = a.from
		}
		if a.until.After(list[i].until) {
			list[i].until = a.until
		}
	}
	for i := range r.Meanwhile {
		s := &r.Meanwhile[i]
		if s.Listener != c.Listener || s.NetNS != c.NetNS || c.Listener == 0 {
			continue
		}
		named := func(pid, tid uint32) string {
			for _, t := range s.Threads {
				if t.TID == tid || tid == 0 && t.PID == pid {
					return fmt.Sprintf("%s[%d]", format.Quote(t.Comm), t.PID)
				}
			}
			return fmt.Sprintf("process %d", max(pid, tid))
		}
		for _, x := range s.Rows {
			if x.Place < 0 || x.Place >= len(s.Places) || s.Places[x.Place].Did.Of != format.TargetSocket {
				continue
			}
			if server, err := netip.ParseAddrPort(s.Places[x.Place].Did.Target); err == nil {
				add(named(0, x.TID), server, x.FromNS, x.ToNS)
			}
		}
		for _, p := range s.Peers {
			if addr, err := netip.ParseAddr(p.RAddr); err == nil {
				add(named(p.PID, 0), netip.AddrPortFrom(addr, p.RPort), p.AtNS-p.WaitingNS, p.AtNS)
			}
		}
	}
	return list
}

// tell keeps a connection whose story was printed.
func (v *viewer) tell(c *conntrack.Connection, r *analysis.Result) {
	if v.o.told == nil || len(*v.o.told) == maxTold {
		return
	}
	from, until := report.BeganNS(c), report.ListedNS(c)
	t := &told{unit: v.o.source, name: v.o.name, host: v.o.host, c: *c, from: v.clocks.Time(from),
		until: v.clocks.Time(until), zone: v.zone, slack: slackOf(v.clocks, until), own: v.own, asked: v.asked(c, r)}
	*v.o.told = append(*v.o.told, t)
}

// slackOf is by how much a wall time can be wrong, -1 if that is not known.
func slackOf(clocks *format.Clocks, ns int64) time.Duration {
	if within, ok := clocks.At(ns).Within(ns); ok {
		return within
	}
	return -1
}

// otherSides finds and prints the other sides of connections, in captures that are opened anew.
func otherSides(ctx context.Context, out io.Writer, again []*input,
	stories []*told, width int) error {
	for _, in := range again {
		if in == nil || len(stories) == 0 {
			continue
		}
		if err := in.searchOther(ctx, stories); err != nil {
			return err
		}
	}
	var b strings.Builder
	for _, t := range stories {
		t.text(&b)
	}
	_, err := io.WriteString(textOut(out), report.Fold(b.String(), width, 6))
	return err
}

// searchOther reads a capture for the other sides of connections.
func (in *input) searchOther(ctx context.Context, stories []*told) error {
	in.opts, in.inside = format.ReaderOptions{Parts: true, Omit: []string{"cgroup"}}, true
	if err := in.begin(in.source, false); err != nil {
		return nil // it was said when its own stories were looked for
	}
	var x *evidence.Examination
	opts := analysis.Options{Top: -1}
	opts.Connection = func(c *conntrack.Connection) error {
		for _, t := range stories {
			t.compare(in, c, x.Clocks())
		}
		return nil
	}
	x = evidence.Examine(in.Start(), opts)
	readErr := feed(ctx, in, x)
	if ctx.Err() != nil {
		return readErr
	}
	_, err := x.Finish(readErr, in.Skipped()) // which gives those that are open
	return err
}

// compare looks at whether a connection of a capture is the other side of the told one.
func (t *told) compare(in *input, c *conntrack.Connection, clocks *format.Clocks) {
	from, until := clocks.Time(report.BeganNS(c)), clocks.Time(report.ListedNS(c))
	slack := slackOf(clocks, report.ListedNS(c))
	clocked := slack >= 0 && t.slack >= 0
	sum := slack + t.slack
	if !clocked {
		sum = time.Second // by their wall times, which is said
	}
	there := func(a, b time.Time) bool { return !until.Add(sum).Before(a) && !from.Add(-sum).After(b) }
	if in.number != t.unit && c.Local == t.c.Local && c.Remote == t.c.Remote && there(t.from, t.until) {
		name := fileName(in.name)
		if !slices.Contains(t.same, name) {
			t.same = append(t.same, name)
		}
	}
	local := netip.AddrPortFrom(c.Local.Addr().Unmap(), c.Local.Port())
	for i := range t.asked {
		a := &t.asked[i]
		if local != a.server || !there(a.from, a.until) || local.Addr().IsLoopback() && in.number != t.unit {
			continue
		}
		k := slices.IndexFunc(a.found, func(x *answered) bool { return x.name == in.name })
		if k < 0 {
			k = len(a.found)
			a.found = append(a.found, &answered{name: in.name, host: in.Header().Host, self: in.number == t.unit,
				clocked: clocked || in.number == t.unit})
		}
		found := a.found[k]
		found.all++
		if c.TID != 0 {
			found.by = fmt.Sprintf("%s[%d]", format.Quote(c.Comm), c.PID)
		}
		if in.number != t.unit && !t.own[c.Remote.Addr().Unmap()] {
			continue
		}
		if found.own++; len(found.first) < maxListed {
			found.first = append(found.first, *c)
		}
	}
}

// text says what is on the other side.
func (t *told) text(b *strings.Builder) {
	if len(t.same)+len(t.asked) == 0 {
		return
	}
	fmt.Fprintf(b, "\nthe other side of connection %d of %s (%s)\n", t.c.ID, fileName(t.name), format.Quote(t.host))
	if len(t.same) > 0 {
		fmt.Fprintf(b, "  %s recorded it, too: the same addresses and ports at the same time\n", strings.Join(t.same, ", "))
	}
	for _, a := range t.asked {
		fmt.Fprintf(b, "  %s waited for %s, from %s for %s\n", a.who, a.server, a.from.In(t.zone).Format(fromLayout),
			report.Duration(int64(a.until.Sub(a.from))))
		if len(a.found) == 0 {
			fmt.Fprintf(b, "    none of these captures has connections there at that time\n")
		}
		for _, f := range a.found {
			by := ""
			if f.by != "" {
				by = ": " + f.by
			}
			fmt.Fprintf(b, "    on %s (%s)%s; %s then, %s of them from %s\n", format.Quote(f.host), fileName(f.name), by,
				humanize.Plural(uint64(f.all), "connection"), humanize.Count(uint64(f.own)), format.Quote(t.host))
			if !f.clocked {
				fmt.Fprintf(b, "    the clocks are not known to be synchronised: the time is compared by the second\n")
			}
			for i := range f.first {
				c := &f.first[i]
				fmt.Fprintf(b, "      %d  %s  %s: acc analyze --connection %d %s\n", c.ID, c.Remote, otherText(c), c.ID,
					fileName(f.name))
			}
		}
	}
}

// otherText says of a connection how long it waited, and what became of it.
func otherText(c *conntrack.Connection) string {
	text, queued := "not accepted", ""
	if ns, atLeast := c.InQueue(); ns >= 0 {
		if queued = report.Duration(ns); atLeast {
			queued = "≥ " + queued
		}
	}
	switch {
	case c.TID != 0 && queued != "":
		text = "accepted after " + queued
	case c.TID != 0:
		text = "accepted"
	case queued != "":
		text += ", queued for " + queued
	}
	return text + ", " + string(c.End)
}
