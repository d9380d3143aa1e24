package report

import (
	"slices"
	"testing"
	"time"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/analysis/stats"
)

// Findings of several captures of a host stand worst first, each once, and its longest wait is that of all of them.
func TestHostOfSeveralCaptures(t *testing.T) {
	result := func(longest time.Duration, list ...findings.Finding) *analysis.Result {
		r := &analysis.Result{Findings: list}
		r.Connections.QueueWait = stats.Quantiles{Count: 1, Max: int64(longest)}
		return r
	}
	f := func(id string, severity findings.Severity, parts ...findings.Part) findings.Finding {
		return findings.Finding{ID: id, Severity: severity, Parts: parts}
	}
	var h Host
	h.Add("a", result(time.Second, f("new-listener", findings.Notice), f("slow-accept", findings.Warning)))
	h.Add("b", result(time.Minute, f("fd-exhausted", findings.Critical, findings.Part{ID: "turned-away"}), f("slow-accept", findings.Critical)))
	h.Add("c", result(time.Millisecond, f("slow-accept", findings.Notice), f("queue-full", findings.Warning)))
	if want := []string{"fd-exhausted", "turned-away", "slow-accept", "queue-full", "new-listener"}; !slices.Equal(h.Findings, want) {
		t.Errorf("%q, want %q", h.Findings, want)
	}
	if *h.QueuedMax != int64(time.Minute) || h.Worst != findings.Critical || h.from != "b" {
		t.Errorf("%d ns, %s of %s", *h.QueuedMax, h.Worst, h.from)
	}
}
