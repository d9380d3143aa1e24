package report

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/format"
)

func TestNumbers(t *testing.T) {
	for got, want := range map[string]string{
		Count(0): "0", Count(999): "999", Count(1234567): "1,234,567",
		Duration(0): "0 ns", Duration(999): "999 ns", Duration(1500): "1.50 µs", Duration(12_345_678): "12.3 ms", Duration(3_200_000_000): "3.20 s",
		Duration(200 * 1e9): "3m20s", Bytes(999): "999 B", Bytes(2048): "2.00 KiB", Bytes(1 << 30): "1.00 GiB",
		Spark([]uint64{0, 1, 4, 8}, 40): "·▁▄█", Spark([]uint64{1, 8, 8, 1, 0, 0}, 3): "██·", Spark([]uint64{5}, 3): "",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// A pair as JSON parses, says null for what is not known, and keeps names.
func TestPairJSON(t *testing.T) {
	p := analysis.Pair{EnterSeq: 1, EnterNS: 1000, WaitNS: -1, PID: 1, TID: 2, Comm: "a\"\x1b\u202e", Listener: 3, QueueEnter: 4, QueueMax: 5,
		ListenAddr: netip.MustParseAddrPort("[::1]:80"), Attempt: 1, Why: analysis.WhyBlocked}
	line := AppendPairJSON(nil, &p, format.Clock{RealNS: 1_700_000_000_000_000_000})
	var m map[string]any
	if err := json.Unmarshal(line, &m); err != nil {
		t.Fatalf("%v\n%s", err, line)
	}
	for key, want := range map[string]any{"ts": "2023-11-14T22:13:20.000001000Z", "return_seq": nil, "ret": nil, "wait_ns": nil, "raddr": nil, "errno": nil,
		"comm": "a\"\x1b\u202e", "listen_addr": "::1", "listen_port": 80.0, "why": "blocked-at-end", "backlog_enter": 4.0} {
		if got, ok := m[key]; !ok || got != want {
			t.Errorf("%s is %v, want %v", key, got, want)
		}
	}
	if bytes.ContainsAny(line, "\x1b\u202e") {
		t.Errorf("a control character is left: %q", line)
	}
	text := string(AppendPairText(nil, &p, format.Clock{}, time.UTC))
	if strings.ContainsAny(text, "\x1b\u202e") || !strings.Contains(text, "on [::1]:80") || !strings.Contains(text, "[blocked-at-end]") {
		t.Errorf("%q", text)
	}
}
