package analysis

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/format"
)

// Clients that had hung up by themselves are not told as lost by the server.
func TestHungUp(t *testing.T) {
	forgets := func(m *maker, n int, state uint8) {
		m.conn(n, format.Event{Kind: format.Drop, Hook: format.HookChildForget, State: state})
	}
	for _, c := range []struct {
		name     string
		make     func(m *maker)
		severity findings.Severity
		says     string
	}{
		{"all of many", func(m *maker) {
			for i := range 12 {
				m.script(fmt.Sprintf("q%d g%d", 3000+i, 3000+i))
				forgets(m, 3000+i, 8)
			}
		}, findings.Notice, "12 clients were in the queue when the listener stopped listening; all of them had sent FIN before"},
		{"one of two", func(m *maker) {
			m.script("q3000 q3001 g3000")
			forgets(m, 3000, 8)
			forgets(m, 3001, 1)
		}, findings.Warning, "2 clients were in the queue when the listener stopped listening, and were reset; 1 of them had sent FIN before"},
		{"none", func(m *maker) {
			m.script("q3000")
			forgets(m, 3000, 1)
		}, findings.Warning, "1 client was in the queue when the listener stopped listening, and was reset"},
	} {
		m := newMaker(t, true)
		m.serves(1, 100, 5)
		c.make(m)
		found := false
		_, r := m.analyze(Options{}, m.listening())
		for _, f := range r.Findings {
			found = found || f.ID == "client-lost" && f.Severity == c.severity && strings.HasSuffix(f.Text, c.says)
		}
		if !found {
			t.Errorf("%s: %+v", c.name, r.Findings)
		}
	}
	for _, c := range []struct{ script, says string }{
		{"q3000 w6000 q3001 w6000", "2 were still in the queue at the end, the oldest for 12.0 s"},
		{"q3000 w3000 g3000 q3001 w9000", "the oldest for 12.0 s, and 1 of them had sent FIN by then"},
		{"q3000 w3000 g3000 q3001 w9000 g3001", "the oldest for 12.0 s, and all had sent FIN by then"},
	} {
		m := newMaker(t, true)
		m.serves(1, 100, 5)
		m.script(c.script)
		_, r := m.analyze(Options{}, m.listening())
		if len(r.Findings) != 1 || !strings.HasSuffix(r.Findings[0].Text, c.says) {
			t.Errorf("%s: %+v", c.script, r.Findings)
		}
	}
}

// How long clients were refused is told of the half of them, too.
func TestRefusedFor(t *testing.T) {
	m := newMaker(t, true)
	m.serves(1, 100, 5)
	for i, wait := range []string{"w1000", "w3000", "w7000"} {
		m.drop(3000+i, format.HookConnRequest, 0)
		m.script(wait)
		m.queued(3000 + i)
	}
	_, r := m.analyze(Options{}, m.listening())
	says := func(f findings.Finding) bool {
		return strings.Contains(f.Text, "3 were refused for up to 7.00 s before they were queued, half of them for 3.00 s or longer")
	}
	if !slices.ContainsFunc(flat(r.Findings), says) {
		t.Errorf("%+v", r.Findings)
	}
}
