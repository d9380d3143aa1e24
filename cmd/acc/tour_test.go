package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
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
