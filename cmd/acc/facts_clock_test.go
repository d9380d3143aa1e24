package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// An event's time is by the newest clock pair that is not later, in all commands; the pair of latePair
// comes in the file before an event that is earlier than it.
func TestClockRule(t *testing.T) {
	unconfined(t)
	file := writeFile(t, "x", latePair())
	times := []string{"2023-11-14T22:13:21.000000000Z", "2023-11-14T22:13:23.000000000Z", "2023-11-14T23:13:20.000000000Z", "2023-11-14T23:13:21.000000000Z"}
	events := strings.Split(runHere(t, "replay", "--speed", "max", "--json", file).out, "\n")
	pairs := strings.Split(runHere(t, "analyze", "--pairs", "--json", file).out, "\n")
	for i, want := range times {
		pair := slices.IndexFunc(pairs, func(s string) bool { return strings.Contains(s, fmt.Sprintf(`"return_seq":%d,`, i+1)) })
		for _, line := range []string{events[i], pairs[pair], strings.ReplaceAll(runHere(t, "explain", fmt.Sprint(i+1), file).out, " ", "T")} {
			if clock := strings.TrimSuffix(want, "Z"); !strings.Contains(line, clock) {
				t.Errorf("event %d is not at %s: %s", i+1, clock, line)
			}
		}
	}
	for command, says := range map[string][]string{
		"analyze --json": {`"start": "2023-11-14T22:13:20Z"`, `"end": "2023-11-14T23:13:24Z"`, `"first_event": "2023-11-14T22:13:21Z"`, `"last_event": "2023-11-14T23:13:21Z"`},
		"info --json":    {`"first": "2023-11-14T22:13:21Z"`, `"last": "2023-11-14T23:13:21Z"`},
		"analyze":        {"2023-11-14 22:13:20 – 23:13:24 +00:00 (8.00 s)"},
	} {
		got := runHere(t, append(strings.Fields(command), file)...).out
		for _, want := range says {
			if !strings.Contains(got, want) {
				t.Errorf("%s does not say %s: %s", command, want, got)
			}
		}
	}
}
