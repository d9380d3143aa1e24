package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/acc-project/acc/testdata/fleet"
)

// The commands of README's "Five minutes" that read a capture do what they say, with the names, clients and times of a
// capture that is there. Those that record need root and a kernel to trace: the VM tests run their flags.
func TestTour(t *testing.T) {
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no shell")
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, tour, _ := strings.Cut(string(readme), "\n## Five minutes\n")
	tour, _, _ = strings.Cut(tour, "\n## ")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "incident.acc"), sampleOf("life", 1000, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	hosts := t.TempDir()
	if _, err := fleet.Make(hosts, 3, 20, 1, time.Date(2026, 11, 28, 14, 0, 0, 0, time.UTC)); err != nil {
		t.Fatal(err)
	}
	for host, name := range []string{"web-1.acc", "web-2.acc", "db-1.acc"} {
		list, _ := filepath.Glob(filepath.Join(hosts, fmt.Sprintf("host-%04d-*.acc", host)))
		if err := os.Rename(list[0], filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	run := func(line string) string {
		cmd := exec.Command(shell, "-c", line)
		cmd.Dir = dir
		var said strings.Builder
		cmd.Stderr = &said
		out, err := cmd.Output()
		if err != nil {
			t.Errorf("%s: %v\n%s", line, err, said.String())
		}
		return string(out)
	}
	var one struct {
		Remote string    `json:"raddr"`
		Port   int       `json:"rport"`
		At     time.Time `json:"ts"`
	}
	first, _, _ := strings.Cut(run("acc analyze --connections --json incident.acc"), "\n")
	if err := json.Unmarshal([]byte(first), &one); err != nil {
		t.Fatalf("%v: %s", err, first)
	}
	there := strings.NewReplacer("192.0.2.1:40000", one.Remote+":"+strconv.Itoa(one.Port),
		"14:03:20", one.At.Add(-time.Second).UTC().Format(time.TimeOnly), "14:03:25", one.At.Add(time.Hour).UTC().Format(time.TimeOnly))
	n := 0
	for _, m := range regexp.MustCompile(`(?m)^    (acc .+)$`).FindAllStringSubmatch(tour, -1) {
		n++
		line := there.Replace(m[1])
		if out := run(line); out == "" && !strings.Contains(line, " -f ") && !strings.Contains(line, " -o ") { // a filter can leave nothing
			t.Errorf("%s prints nothing", line)
		}
	}
	if n < 15 {
		t.Errorf("%d commands", n)
	}
}
