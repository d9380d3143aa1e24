//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// bashCompletion is Debian's and Fedora's, which the script of acc completion bash needs.
const bashCompletion = "/usr/share/bash-completion/bash_completion"

// A real bash in a real terminal: what a person sees who types a part of a line and TAB twice.
func TestTab(t *testing.T) {
	if _, err := os.Stat(bashCompletion); err != nil || testing.Short() {
		t.Skip("bash-completion is not installed")
	}
	for _, name := range []string{"tmux", "bash"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skip(name + " is not installed")
		}
	}
	dir := t.TempDir()
	script, err := exec.Command("acc", "completion", "bash").Output()
	if err != nil {
		t.Fatal(err)
	}
	rc := fmt.Sprintf("PS1='ready> '; . %s; . %s/acc.bash; cd %s/here; bind 'set bell-style none'\n", bashCompletion, dir, dir)
	for name, text := range map[string]string{"acc.bash": string(script), "rc": rc, "here/incident.acc": "x", "here/notes.txt": "x"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	server := 0 // each line has a tmux of its own
	tmux := func(args ...string) string {
		t.Helper()
		socket := filepath.Join(dir, fmt.Sprintf("tmux-%d", server))
		out, err := exec.Command("tmux", append([]string{"-f", "/dev/null", "-S", socket}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("tmux %q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	defer func() {
		if t.Failed() {
			_ = exec.Command("tmux", "-S", filepath.Join(dir, fmt.Sprintf("tmux-%d", server)), "kill-server").Run()
		}
	}()
	for _, c := range []struct {
		line       string
		want, lack []string
	}{
		{"acc re", []string{"record ", "repair ", "replay "}, []string{"analyze"}},
		{"acc record --probe ", []string{"auto ", "kprobe ", "fentry "}, []string{"incident.acc"}},
		{"acc analyze --fail-on ", []string{"critical", "warning", "notice"}, []string{"incident.acc"}},
		{"acc analyze in", []string{"acc analyze incident.acc"}, []string{"notes.txt"}},
		{"acc help ex", []string{"exit-codes ", "explain "}, []string{"record "}},
	} {
		tmux("new-session", "-d", "-x", "100", "-y", "40", "bash", "--rcfile", filepath.Join(dir, "rc"), "-i")
		screen := ""
		shows := func(all ...string) bool {
			screen = tmux("capture-pane", "-p")
			for _, w := range all {
				if !strings.Contains(screen, w) {
					return false
				}
			}
			return true
		}
		wait := func(all ...string) {
			t.Helper()
			for deadline := time.Now().Add(time.Minute); !shows(all...); time.Sleep(50 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("%q: no %q\n%s", c.line, all, screen)
				}
			}
		}
		wait("ready>")
		tmux("send-keys", c.line, "Tab", "Tab")
		wait(c.want...)
		for _, w := range c.lack {
			if strings.Contains(screen, w) {
				t.Errorf("%q: %q is offered\n%s", c.line, w, screen)
			}
		}
		tmux("kill-server")
		server++
	}
}
