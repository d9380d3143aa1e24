package analysis

import (
	"strings"
	"testing"

	"github.com/acc-project/acc/format"
)

// What a capture can't hold a reason for is not accounted for: one CPU counts no
// handshake twice, and connections that nobody took are missing only where no probe sees them.
func TestWitnessExcuses(t *testing.T) {
	accept := []format.Probe{{Hook: format.HookSysAccept4, Kind: format.Return}}
	life := append([]format.Probe{{Hook: format.HookChildForget, Kind: format.Drop}}, accept...)
	const twice, forgotten = "1 may have been counted twice", "connections that waited when their listener was closed are not recorded here"
	for _, c := range []struct {
		cpus    int
		probes  []format.Probe
		verdict string
		says    string
		not     string
	}{
		{0, nil, WitnessExplained, twice, forgotten},
		{2, accept, WitnessExplained, twice, forgotten},
		{1, accept, WitnessDiffers, "1 NOT accounted for (" + forgotten + ")", "twice"},
		{1, life, WitnessDiffers, "1 NOT accounted for", "("},
		{1, nil, WitnessDiffers, "1 NOT accounted for", "("},
	} {
		w := NewWitness(&format.Header{CPUs: c.cpus, Probes: c.probes})
		w.Add(&format.Batch{Counters: []format.Counters{reading(95, 105, 10, 0)}, Events: []format.Event{takenAt(150)}})
		w.Add(&format.Batch{Counters: []format.Counters{reading(200, 210, 12, 0)}, End: &format.End{Clean: true}})
		if r := w.Finish(); r.Verdict != c.verdict || !strings.Contains(r.Text, c.says) || strings.Contains(r.Text, c.not) {
			t.Errorf("%d CPUs, %d probes: %s: %s", c.cpus, len(c.probes), r.Verdict, r.Text)
		}
	}
}
