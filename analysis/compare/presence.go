package compare

// This file has what is in one capture alone, and what makes captures hard to compare.

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"

	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/format"
)

// doubts says what makes the comparison doubtful.
func (d *Diff) doubts(a, b *Profile) {
	say := func(yes bool, format string, args ...any) {
		if yes {
			d.Why = append(d.Why, fmt.Sprintf(format, args...))
		}
	}
	x, y := a.Header, b.Header
	say(x.ID == y.ID && x.ID != "", "both are the same recording (%s)", format.Quote(x.ID))
	say(x.ID != y.ID && overlap(d), "they are of the same host, and of the same time in part")
	for i, p := range []*Profile{a, b} {
		say(!p.Result.Complete, "the %s capture is not complete: %s", []string{"first", "second"}[i], incomplete(p))
	}
	say(x.Selection.String() != y.Selection.String(), "they recorded different selections: %s, and %s",
		selected(x), selected(y))
	say(a.Result.Connections.Recorded != b.Result.Connections.Recorded ||
		a.Result.Connections.AcceptsRecorded != b.Result.Connections.AcceptsRecorded,
		"they recorded different events (--events)")
	say(x.Tool != y.Tool, "they were recorded by different versions: %s, and %s", format.Quote(x.Tool),
		format.Quote(y.Tool))
	say((x.Redacted == nil) != (y.Redacted == nil) || x.Redacted != nil &&
		(x.Redacted.Key == "" || x.Redacted.Key != y.Redacted.Key),
		"they are redacted in different ways: names and addresses of one can't be compared with those of the other one")
	say(a.missed || b.missed, "a capture has more than %d listeners, processes or errors, or more than %s addresses: the "+
		"others are compared in the sums alone", maxSubjects, humanize.Count(maxPeers))
}

func selected(h *format.Header) string {
	if s := h.Selection.String(); s != "" {
		return format.Quote(s)
	}
	return "everything"
}

func incomplete(p *Profile) string {
	if why := p.Result.Recording.Why; len(why) > 0 {
		return why[0]
	}
	return "parts of the file are missing"
}

// overlap reports whether both are of the same host and have a part of time in common.
func overlap(d *Diff) bool {
	a, b := &d.A, &d.B
	return a.Host == b.Host && a.StartNS != 0 && b.StartNS != 0 && a.StartNS < b.StartNS+b.DurationNS &&
		b.StartNS < a.StartNS+a.DurationNS
}

// presence adds what one capture alone has, more often than chance explains.
func (d *Diff) presence(a, b *Profile) {
	spanA, spanB := math.Max(float64(d.A.DurationNS), 1), math.Max(float64(d.B.DurationNS), 1)
	var candidates []Difference
	add := func(kind, name string, inA, inB float64) {
		x := Difference{Kind: kind, Subject: name, Figure: "accepted", Unit: "count", A: inA, B: inB}
		switch {
		case inA == 0:
			x.What, x.P = "new", math.Exp(-inB*spanA/spanB)
		case inB == 0:
			x.What, x.P = "gone", math.Exp(-inA*spanB/spanA)
		default:
			return
		}
		candidates = append(candidates, x)
	}
	kinds := func(kind string, x, y map[string]*subject) {
		count := func(list map[string]*subject, name string) float64 {
			if s := list[name]; s != nil {
				return total(s.accepted)
			}
			return 0
		}
		names := maps.Clone(x)
		maps.Copy(names, y)
		for _, name := range slices.Sorted(maps.Keys(names)) {
			add(kind, name, count(x, name), count(y, name))
		}
	}
	kinds("listener", a.listeners, b.listeners)
	kinds("process", a.processes, b.processes)
	for _, errno := range errnosOf(a, b) {
		x, y := a.errors[errno], b.errors[errno]
		switch {
		case x == nil && lasts(*y):
			add("error", errorName(errno), 0, total(*y))
		case y == nil && lasts(*x):
			add("error", errorName(errno), total(*x), 0)
		}
	}
	addrs := slices.Collect(maps.Keys(a.peers))
	for addr := range b.peers {
		if a.peers[addr] == nil {
			addrs = append(addrs, addr)
		}
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	for _, addr := range addrs {
		x, y := a.peers[addr], b.peers[addr]
		switch {
		case x == nil && y.buckets >= 3: // one that came once need not come again
			add("peer", addr.String(), 0, float64(y.accepted))
		case y == nil && x.buckets >= 3:
			add("peer", addr.String(), float64(x.accepted), 0)
		}
	}
	for _, x := range candidates {
		if x.P*float64(len(addrs)+len(a.listeners)+len(a.processes)) > falseAlarms || x.A+x.B < leastCount {
			continue
		}
		what := "accepted"
		if x.Kind == "error" {
			x.Figure, what = "failed", "failed calls"
			x.Worse = x.What == "new" && x.Subject != errorName(againErrno)
		}
		x.Text = fmt.Sprintf("%s %s: %s: %s %s", x.What, x.Kind, x.Subject, humanize.Count(uint64(x.A+x.B)), what)
		if x.What == "gone" {
			x.Text += " in the first capture"
		}
		d.Differences = append(d.Differences, x)
	}
}

// lasts reports whether something is in three buckets or more: what came once need not come again.
func lasts(s series) bool {
	n := 0
	for _, v := range s {
		if v > 0 {
			n++
		}
	}
	return n >= 3
}

// errnosOf are the errors of either.
func errnosOf(a, b *Profile) []int32 {
	errnos := maps.Clone(a.errors)
	maps.Copy(errnos, b.errors)
	return slices.Sorted(maps.Keys(errnos))
}

// findingKey names a finding across captures.
type findingKey struct{ id, where string }

// findings are new, gone, or of another severity.
func (d *Diff) findings(a, b *Profile) {
	x, y := findingsOf(a), findingsOf(b)
	keys := maps.Clone(x)
	maps.Copy(keys, y)
	order := slices.SortedFunc(maps.Keys(keys), func(p, q findingKey) int {
		return cmp.Or(cmp.Compare(p.id, q.id), cmp.Compare(p.where, q.where))
	})
	level := func(f *findings.Finding) int {
		return len(findings.Severities) - slices.Index(findings.Severities, f.Severity)
	}
	for _, k := range order {
		f, g := x[k], y[k]
		z := Difference{Kind: "finding", Subject: cmp.Or(k.where, "all"), Figure: k.id}
		switch {
		case f == nil:
			z.What, z.B, z.Worse = "new", float64(level(g)), g.Severity.AtLeast(findings.Warning)
			z.Text = fmt.Sprintf("new finding: %s %s: %s", g.Severity, k.id, g.Text)
		case g == nil:
			z.What, z.A = "gone", float64(level(f))
			z.Text = fmt.Sprintf("gone: %s %s: %s", f.Severity, k.id, f.Text)
		case f.Severity != g.Severity:
			z.What, z.A, z.B, z.Worse = "changed", float64(level(f)), float64(level(g)), level(g) > level(f)
			z.Text = fmt.Sprintf("was %s, is %s: %s: %s", f.Severity, g.Severity, k.id, g.Text)
		default:
			continue
		}
		d.Differences = append(d.Differences, z)
	}
}

// findingsOf are those of a capture by their id and listener. What a finding caused at its listener counts, too: it can
// have another cause in the other capture.
func findingsOf(p *Profile) map[findingKey]*findings.Finding {
	names := map[[2]uint64]string{}
	for i := range p.Result.Listeners {
		l := &p.Result.Listeners[i]
		names[[2]uint64{l.Listener, uint64(l.NetNS)}] = l.Addr
	}
	list := map[findingKey]*findings.Finding{}
	for i := range p.Result.Findings {
		f := &p.Result.Findings[i]
		if f.ID == findings.Incomplete.ID() || f.ID == findings.ClockFree.ID() {
			continue // these are about the recording; the host is no worse by them
		}
		where := names[[2]uint64{f.Listener, uint64(f.NetNS)}]
		add := func(id string, x *findings.Finding) {
			k := findingKey{id, where}
			if old := list[k]; old == nil || x.Severity != old.Severity && x.Severity.AtLeast(old.Severity) {
				list[k] = x
			}
		}
		add(f.ID, f)
		for _, part := range f.Parts {
			add(part.ID, &findings.Finding{ID: part.ID, Severity: part.Severity, Text: part.Text})
		}
	}
	return list
}
