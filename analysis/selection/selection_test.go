package selection

import (
	"strings"
	"testing"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/analysis/pairing"
)

// Of a finding about several listeners, those stay that are selected as a whole; what is about none of them is left out.
func TestFindingsOfSeveralListeners(t *testing.T) {
	at := func(id string, listener uint64) findings.Finding {
		return findings.Finding{ID: id, Severity: findings.Critical, Text: id, Owner: "srv[7]", NetNS: 1, Listener: listener,
			Listeners: 1}
	}
	r := &analysis.Result{Findings: findings.Alike([]findings.Finding{at("fd-exhausted", 1), at("fd-exhausted", 2),
		at("fd-exhausted", 3), at("queue-full", 4), at("queue-full", 5)}, -1)}
	for _, x := range []struct {
		selected    []uint64
		text, parts string
		left        int
	}{
		{[]uint64{1, 2, 3, 4, 5}, "3 listeners of srv[7], the worst: fd-exhausted", "123", 0},
		{[]uint64{2, 3}, "2 listeners of srv[7], the worst: fd-exhausted", "23", 1},
		{[]uint64{3}, "fd-exhausted", "", 1},
		{nil, "", "", 2},
	} {
		s := New()
		for l := uint64(1); l < 6; l++ {
			selected := false
			for _, y := range x.selected {
				selected = selected || y == l
			}
			s.Pair(&pairing.Pair{NetNS: 1, Listener: l}, selected)
		}
		f := s.Figures("x", r, true, true, 10)
		text, parts := "", ""
		if len(f.Findings) > 0 {
			text = f.Findings[0].Text
			for _, p := range f.Findings[0].Parts {
				parts += string(rune('0' + p.Listener))
			}
		}
		if text != x.text || parts != x.parts || f.FindingsLeftOut != x.left {
			t.Errorf("%v: %q with parts at %s, %d left out; want %+v", x.selected, text, parts, f.FindingsLeftOut, x)
		}
	}
	if !strings.Contains(r.Findings[0].Text, "3 listeners") {
		t.Errorf("%+v", r.Findings)
	}
}
