//go:build linux && amd64

package capture

// This file compares what acc says about why clients waited with what the servers measured.

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// whyResult is what acc analyze --json says.
type whyResult struct {
	Meanwhile []struct {
		lookedAt
		FromNS  int64 `json:"from_ns"`
		ToNS    int64 `json:"to_ns"`
		Watches int
		Rows    []struct {
			Kind   string
			TID    uint32
			NS     int64
			FromNS int64 `json:"from_ns"`
			ToNS   int64 `json:"to_ns"`
		}
		Cannot  []string
		Threads []struct {
			TID    uint32
			Beside bool
		}
		Groups []struct {
			ThrottledNS int64 `json:"throttled_ns"`
		}
	}
	Findings  []lookedFinding
	Listeners []struct {
		Listener uint64
		LPort    int
	}
}

// analyzeWhy has acc analyze a capture.
func analyzeWhy(t *testing.T, path string) (a whyResult) {
	t.Helper()
	out, err := exec.Command("/in/acc", "analyze", "--json", "--top", "0", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// check compares what acc says with what the server measured.
func (c *whyCase) check(t *testing.T, path string, s *whyServer, truth []whySpan, waited int64) {
	screen, err := exec.Command("/in/acc", "analyze", path).CombinedOutput()
	t.Logf("%v\n%s", err, screen)
	a := analyzeWhy(t, path)
	if s.inode == 0 {
		i := slices.IndexFunc(a.Listeners, func(l struct {
			Listener uint64
			LPort    int
		}) bool {
			return l.LPort == s.port
		})
		if i < 0 {
			t.Fatalf("port %d is not among the listeners", s.port)
		}
		s.inode = a.Listeners[i].Listener
	}
	at := -1
	for i := range a.Meanwhile {
		if a.Meanwhile[i].Listener == s.inode {
			at = i
		}
	}
	if c.kind == "" {
		if at >= 0 {
			t.Errorf("a server whose clients don't wait for 100 ms was looked at: %+v", a.Meanwhile[at])
		}
		return
	}
	if at < 0 {
		t.Fatalf("nobody looked: %+v", a.Meanwhile)
	}
	m := a.Meanwhile[at]
	// While acc looked, for how long it took by the server, and by acc.
	var want, all, got int64
	for _, x := range truth {
		ns := x.to - x.from
		part := float64(1)
		if c.kind == "cpu" {
			part = float64(x.cpu) / float64(ns)
		} else if c.kind == "quota" {
			part = float64(ns-x.cpu) / float64(ns)
		}
		all += int64(float64(ns) * part)
		want += int64(float64(max(min(x.to, m.ToNS)-max(x.from, m.FromNS), 0)) * part)
	}
	for _, p := range m.Places {
		if p.Did.Kind == c.kind && !p.Did.Holder { // of Go, with its own threads, as the server counts
			got += p.NS
		}
		t.Logf("%+v", p)
	}
	beside := map[uint32]bool{}
	for _, x := range m.Threads {
		beside[x.TID] = x.Beside
	}
	// Before and behind, it waits for clients, which looks the same, or is throttled while it serves them.
	if c.kind == "idle" || c.kind == "quota" {
		got = 0
		for _, r := range m.Rows {
			for _, x := range truth {
				over := min(r.ToNS, x.to) - max(r.FromNS, x.from)
				if r.Kind == c.kind && over > 0 && !beside[r.TID] {
					got += int64(float64(r.NS) * float64(over) / float64(r.ToNS-r.FromNS))
				}
			}
		}
	}
	t.Logf("figures: %s | server %d ms, %d of them while acc looked | acc %d ms | clients %d ms, acc %d ms, "+
		"not seen %d ms | %d looks", c.name, all/1e6, want/1e6, got/1e6, waited/1e6, m.WaitsNS/1e6, m.UnseenNS/1e6, m.Looks)
	within := func(what string, got, want int64) {
		t.Helper()
		if got < want-want/10 || got > want+want/10 {
			t.Errorf("%s: acc says %d ms, the truth is %d ms", what, got/1e6, want/1e6)
		}
	}
	within("what kept the acceptor", got, want)
	within("waits of the clients", m.WaitsNS, waited)
	if want < all/2 {
		t.Errorf("acc looked for %d of %d ms", want/1e6, all/1e6)
	}
	if m.Watches != 1 || len(m.Cannot) > 0 {
		t.Errorf("%d watches; could not be looked at: %q", m.Watches, m.Cannot)
	}
	if len(m.Places) == 0 || m.Places[0].Did.Kind != c.kind {
		t.Errorf("most blamed is not %s", c.kind)
	}
	c.checkFinding(t, a.Findings, s)
}

// checkFinding checks the sentences.
func (c *whyCase) checkFinding(t *testing.T, list []lookedFinding, s *whyServer) {
	for _, f := range list {
		for _, p := range f.Parts {
			p.Next = f.Next
			list = append(list, p)
		}
	}
	i := slices.IndexFunc(list, func(f lookedFinding) bool { return f.Listener == s.inode && f.Meanwhile != nil })
	if i < 0 {
		t.Fatalf("no finding says why: %+v", list)
	}
	f := list[i]
	t.Logf("says: %s | %s | next: %s", c.name, f.Meanwhile.Text, f.Next)
	if !f.Meanwhile.Because {
		t.Error("it does not say because")
	}
	for _, part := range c.says {
		if !strings.Contains(f.Meanwhile.Text, part) {
			t.Errorf("it does not say %q", part)
		}
	}
	if !strings.Contains(f.Next, c.next) {
		t.Errorf("next does not say %q", c.next)
	}
}
