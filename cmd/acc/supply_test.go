package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// docs/LICENSES.md lists every module that is compiled into acc, in its version
// of today, and no other.
func TestLicenses(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}| {{.Path}} | {{.Version}} |{{end}}{{end}}", ".")
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile("../../docs/LICENSES.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(data)
	want := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSpace(line); line != "" {
			want[line] = true
		}
	}
	for line := range want {
		if !strings.Contains(doc, line) {
			t.Errorf("docs/LICENSES.md lacks %s; make licenses writes it", line)
		}
	}
	if n := strings.Count(doc, "\n| ") - 1; n != len(want) {
		t.Errorf("docs/LICENSES.md has %d modules, acc %d; make licenses writes it", n, len(want))
	}
}
