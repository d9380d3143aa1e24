package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/acc-project/acc/format"
)

// Every reader shows a mark, none of its bytes steers a terminal, and it stands in its order of time.
func TestMarks(t *testing.T) {
	unconfined(t)
	var out bytes.Buffer
	clock := format.Clock{BootNS: 1e9, MonoNS: 1e9, RealNS: 1.7e18}
	w, err := format.NewWriter(&out, format.Header{StartNS: clock.RealNS, Clock: clock}, format.WriterOptions{})
	must(t, err)
	for i := range 4 {
		must(
			t,
			w.Event(
				&format.Event{
					BootNS: int64(i+1) * 1e9,
					Kind:   format.Return,
					Hook:   format.HookSysAccept4,
					CPUSeq: uint64(i + 1),
					Ret:    7,
				},
			),
		)
		if i == 1 {
			must(t, w.Mark(format.Mark{BootNS: 2.5e9, Text: "deploy \x1b[31mstarted", UID: 7}))
		}
	}
	must(t, w.Mark(format.Mark{BootNS: 9e9, Text: "over"}))
	end := format.Clock{BootNS: 9e9, RealNS: 1.7e18 + 8e9}
	must(t, w.Close(format.End{Reason: "stop", Clean: true, Clock: end, Totals: []format.ProbeTotal{
		{Hook: format.HookSysAccept4, Kind: format.Return, Seen: 4, Recorded: 4}}}))
	file := writeFile(t, "marked.acc", out.Bytes())
	const text = `deploy \x1b[31mstarted`
	for _, args := range [][]string{{"analyze"}, {"info"}, {"replay", "--speed", "max"}} {
		got := runHere(t, append(args, file)...)
		if got.code != 0 || strings.Count(got.out, text) != 1 || strings.Contains(got.out, "\x1b") {
			t.Errorf("%q: %d\n%s%s", args, got.code, got.out, got.err)
		}
	}
	lines := strings.Split(strings.TrimSpace(runHere(t, "replay", "--speed", "max", "--json", file).out), "\n")
	if len(lines) != 6 || !strings.Contains(lines[2], `"kind":"mark","text":"deploy \u001b[31mstarted","uid":7`) ||
		!strings.Contains(lines[2], `"ts":"2023-11-14T22:13:21.5Z"`) || !strings.Contains(lines[5], "over") {
		t.Errorf("%q", lines)
	}
	for _, args := range [][]string{{"analyze", "--json"}, {"info", "--json"}} {
		got := runHere(t, append(args, file)...)
		if got.code != 0 || !strings.Contains(got.out, `"text": "over"`) {
			t.Errorf("%q: %d\n%s%s", args, got.code, got.out, got.err)
		}
	}
	if got := runHere(t, "analyze", "--timeline", writeFile(t, "life.acc", lifeSample())); strings.Contains(
		got.out,
		"mark ",
	) {
		t.Errorf("a mark that there is not: %s", got.out)
	}
}
