package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// The capture that README names for a first try is whole, and of servers that are well.
func TestExampleCapture(t *testing.T) {
	const name = "testdata/examples/demo.acc"
	readme, err := os.ReadFile("../../README.md")
	must(t, err)
	if !strings.Contains(string(readme), "acc analyze "+name) {
		t.Errorf("README does not name %s", name)
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
