package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// A kept recording of a part of a host: acc record --unit web, while the unit's server accepted 20 connections, was started
// again and accepted 20 more, by its own count, and another server accepted 9 (TestVMSelectGroups on Linux 6.1).
func TestKeptSelection(t *testing.T) {
	unconfined(t)
	const path = "../../testdata/captures/selected.acc"
	for args, want := range map[string]string{
		"info":    "complete of what was selected (unit web): nothing of that was lost or missed",
		"verify":  "complete of what was selected",
		"analyze": "complete of what was selected",
	} {
		ran := runHere(t, args, path)
		if text := strings.Join(strings.Fields(ran.out), " "); ran.code != 0 || !strings.Contains(text, want) {
			t.Errorf("acc %s: exit code %d, without %q:\n%s%s", args, ran.code, want, ran.out, ran.err)
		}
	}
	var a struct {
		Recording struct{ State, Selected string }
		Totals    struct{ Accepted, Failed int }
		Listeners []struct {
			LPort    uint16 `json:"lport"`
			Accepted int
		}
	}
	if err := json.Unmarshal([]byte(runHere(t, "analyze", "--json", path).out), &a); err != nil {
		t.Fatal(err)
	}
	if a.Totals.Accepted != 40 || a.Recording.State != "complete" || a.Recording.Selected != "unit web" {
		t.Errorf("%+v", a)
	}
	for _, l := range a.Listeners {
		if l.LPort != 7011 {
			t.Errorf("another server's listener: %+v", l)
		}
	}
	var i struct {
		End struct {
			Totals []struct {
				Hook, Kind                     string
				Seen, Recorded, Lost, Filtered int
			}
		}
	}
	if err := json.Unmarshal([]byte(runHere(t, "info", "--json", path).out), &i); err != nil {
		t.Fatal(err)
	}
	queued := 0
	for _, x := range i.End.Totals {
		if x.Seen != x.Recorded+x.Lost+x.Filtered {
			t.Errorf("%+v: it does not add up", x)
		}
		if x.Kind == "queued" {
			queued += x.Filtered
		}
	}
	if queued < 9 || queued > 10 { // the first one of the unit that was started again may have come to an unknown listener
		t.Errorf("%d queued were filtered, of 9 of the other server", queued)
	}
	waited := runHere(t, "replay", "--json", "--speed", "max", "-f", `"entry-left-out" in mark`, path)
	if n := strings.Count(waited.out, "\n"); waited.code != 0 || n > 1 {
		t.Errorf("exit code %d, %d returns without an entry: the server waited once when its unit was not known yet\n%s", waited.code, n,
			waited.out)
	}
}
