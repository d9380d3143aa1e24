package report

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/acc-project/acc/analysis/conntrack"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/pairing"
	"github.com/acc-project/acc/format"
)

// JSON says what the line for people says: when and how often a client was refused, that its
// side was closed, that it was dead; and has a name for what no event tells of: none.
func TestConnectionJSONTells(t *testing.T) {
	clock := format.NewClocks(format.Clock{BootNS: 1e9, RealNS: time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC).UnixNano()})
	refusals := []conntrack.Refusal{{Seq: 4, NS: 2e9}, {Seq: 5, NS: 3e9}}
	base := conntrack.Connection{ID: 4, QueueWaitNS: -1, AliveNS: -1, HandshakeNS: -1, DeadNS: -1}
	for _, x := range []struct {
		what string
		make func(*conntrack.Connection)
		line string // in the text
		want string
	}{
		{"refused", func(c *conntrack.Connection) {
			c.End, c.Refusals, c.RefusedPackets, c.RefusedNS, c.EndNS = conntrack.EndRefused, refusals, 3, 5e9, 5e9
		}, "03:00:01.000000 .* refused, never queued, refused 3×",
			`id=4 ts="2026-03-01T03:00:01.000000000Z" began_ns=2000000000 end="refused" end_ns=5000000000 accepted=false refused_packets=3 first_refused_ns=2000000000 last_refused_ns=5000000000 refused_ns=null`},
		{"refused and queued later", func(c *conntrack.Connection) {
			c.End, c.Refusals, c.RefusedPackets, c.RefusedNS, c.QueuedSeq, c.QueuedNS, c.AcceptedSeq, c.AcceptedNS, c.QueueWaitNS = conntrack.EndByServer, refusals, 2, 3e9, 6, 9e9, 7, 9.5e9, 5e8
		}, "closed by the server, refused 2×", `end="closed-by-server" accepted=true refused_packets=2 last_refused_ns=3000000000 refused_ns=7000000000 queue_wait_ns=500000000 gone_before_accept=false`},
		{"half closed", func(c *conntrack.Connection) {
			c.End, c.QueuedSeq, c.AcceptedSeq, c.GoneNS, c.StateAtAccept = conntrack.EndByClient, 1, 2, 4e9, format.StateCloseWait
		}, "the client sent FIN before it was accepted", `gone_before_accept=true gone_ns=4000000000 dead_on_arrival=false dead_ns=null refused_packets=0 first_refused_ns=null`},
		{"half closed before the recording", func(c *conntrack.Connection) {
			c.End, c.Before, c.StartNS, c.AcceptedSeq, c.StateAtAccept = conntrack.EndOpen, true, 1e9, 2, format.StateCloseWait
		}, "the client sent FIN before it was accepted", `before=true began_ns=1000000000 gone_before_accept=true gone_ns=null`},
		{"dead", func(c *conntrack.Connection) {
			c.End, c.QueuedSeq, c.AcceptedSeq, c.StateAtAccept, c.Dead, c.DeadNS = conntrack.EndResetByClient, 1, 2, 7, true, 6e8
		}, "dead on arrival", `end="reset-by-client" dead_on_arrival=true dead_ns=600000000 accepted=true gone_before_accept=false`},
		{"reset by the server", func(c *conntrack.Connection) {
			c.End, c.QueuedSeq, c.AcceptedSeq, c.StateAtAccept, c.ClosedSeq, c.OldState = conntrack.EndResetByServer, 1, 2, 1, 3, format.StateCloseWait
		}, "reset by the server, after the client had sent FIN", `end="reset-by-server" old_state="close-wait" left_state=null gone_before_accept=false`},
		{"never accepted", func(c *conntrack.Connection) { c.End, c.QueuedSeq = conntrack.EndResetByClient, 1 }, "never accepted", `accepted=false`},
		{"not known", func(c *conntrack.Connection) {
			c.End, c.QueuedSeq, c.AcceptUnknown = conntrack.EndResetByClient, 1, true
		}, "reset by the client$", `accepted=null`},
		{"there all the time", func(c *conntrack.Connection) {
			c.ID, c.End, c.Before, c.StartNS, c.WaitedNS, c.LeftState = 0, conntrack.EndWaiting, true, 1e9, 8e9, format.StateCloseWait
		}, "^ +-  .*03:00:00.000000 .* ≥8.00 s .*in the accept queue at the end",
			`id=null ts="2026-03-01T03:00:00.000000000Z" end="waiting" before=true accepted=false queue_wait_ns=null queue_wait_at_least_ns=8000000000 gone_before_accept=true left_state="close-wait" old_state=null`},
	} {
		c := base
		x.make(&c)
		var got map[string]json.RawMessage
		if err := json.Unmarshal(AppendConnectionJSON(nil, &c, clock), &got); err != nil {
			t.Fatal(err)
		}
		for _, w := range strings.Fields(x.want) {
			if key, v, _ := strings.Cut(w, "="); string(got[key]) != v {
				t.Errorf("%s: %s is %s, want %s", x.what, key, got[key], v)
			}
		}
		if line := string(NewConnectionList(0).Append(nil, &c, clock, time.UTC)); !regexp.MustCompile(x.line).MatchString(line) {
			t.Errorf("%s: %s", x.what, line)
		}
	}
}

// All lines have the keys that are told, of the type that is told, with the words that are told.
func TestKeysTellOfLines(t *testing.T) {
	hold := func(line []byte, keys []Key) {
		var got map[string]any
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatal(err)
		}
		if len(got) != len(keys) {
			t.Errorf("%d keys, told are %d: %s", len(got), len(keys), line)
		}
		for _, k := range keys {
			v, there := got[k.Name]
			is := map[string]string{"<nil>": "null", "bool": "boolean", "float64": "integer", "string": "string"}[fmt.Sprintf("%T", v)]
			s, _ := v.(string)
			if !there || !slices.Contains(strings.Split(k.Type, " or "), is) || is == "string" && k.Values != nil && !slices.Contains(k.Values, s) || k.Doc == "" {
				t.Errorf("%s is %v, told is %+v", k.Name, v, k)
			}
			if _, ns, ok := strings.Cut(k.Name, "_ns"); ok && ns == "" && k.Unit != "ns" {
				t.Errorf("%s has the unit %q", k.Name, k.Unit)
			}
		}
	}
	lines := 0
	slowServer(t, analysis.Options{Connection: func(c *conntrack.Connection) error {
		lines++
		hold(AppendConnectionJSON(nil, c, format.NewClocks(format.Clock{})), ConnectionKeys())
		return nil
	}, Pair: func(p *pairing.Pair) error {
		lines++
		hold(AppendPairJSON(nil, p, format.NewClocks(format.Clock{RealNS: 1})), PairKeys())
		return nil
	}})
	for _, c := range []conntrack.Connection{{End: conntrack.EndGone}, {End: conntrack.EndError, TID: 1, Via: format.ViaIOUring, AcceptedSeq: 1, Counted: true}} {
		hold(AppendConnectionJSON(nil, &c, format.NewClocks(format.Clock{})), ConnectionKeys())
	}
	for _, p := range []pairing.Pair{{}, {EnterSeq: 1, ReturnSeq: 2, Via: format.ViaIOUring, Uring: 3, UserData: 1 << 63, Armed: true, Why: pairing.WhyNoCall, Family: format.FamilyIPv6}} {
		hold(AppendPairJSON(nil, &p, format.NewClocks(format.Clock{})), PairKeys())
	}
	if lines < 20 {
		t.Errorf("%d lines", lines)
	}
}
