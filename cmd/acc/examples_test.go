package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// The capture that README names for a first try is whole, and of servers that are well; README shows what acc prints.
func TestExampleCapture(t *testing.T) {
	const name = "testdata/examples/demo.acc"
	readme, err := os.ReadFile("../../README.md")
	must(t, err)
	before, rest, found := strings.Cut(string(readme), "\n```\n")
	shown, after, _ := strings.Cut(rest, "```\n")
	if !found || !strings.Contains(before, "acc analyze "+name) {
		t.Errorf("README does not name %s", name)
	}
	screen, err := exec.Command("acc", "analyze", "../../"+name).Output()
	must(t, err)
	if shown != string(screen) && *update {
		must(t, os.WriteFile("../../README.md", []byte(before+"\n```\n"+string(screen)+"```\n"+after), 0o644))
	} else if shown != string(screen) {
		t.Errorf("README's screen is not what acc analyze prints; go test ./cmd/acc -run ExampleCapture -update:\n%s", screen)
	}
	out, err := exec.Command("acc", "analyze", "--json", "--fail-on", "warning", "../../"+name).Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var r struct {
		Complete   bool
		CrossCheck struct{ Verdict string } `json:"cross_check"`
		Totals     struct{ Accepted int }
	}
	must(t, json.Unmarshal(out, &r))
	if !r.Complete || r.CrossCheck.Verdict != "agrees" || r.Totals.Accepted < 100 {
		t.Errorf("%+v", r)
	}
	if out, err := exec.Command("acc", "verify", "../../"+name).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
