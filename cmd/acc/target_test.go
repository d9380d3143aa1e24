//go:build linux

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A command that fails, or is killed, leaves the file that it was to replace as it was. One that succeeds leaves its
// output and nothing else.
func TestForceReplacesWhole(t *testing.T) {
	bin, dir := buildAcc(t), t.TempDir()
	from := filepath.Join(dir, "from.acc")
	whole := sample("")
	must(t, os.WriteFile(from, whole, 0o600))
	cut := filepath.Join(dir, "short.acc")
	must(t, os.WriteFile(cut, whole[:len(whole)-len(whole)/4], 0o600))
	spoiled := filepath.Join(dir, "spoiled.acc") // nothing behind its header can be read
	must(t, os.WriteFile(spoiled, append(bytes.Clone(whole[:40]), make([]byte, len(whole))...), 0o600))
	for _, c := range []struct {
		args, from string
		fails      bool // of what can't be read
	}{
		{"cut --from +0s --until +1h", from, true},
		{"merge", from, true},
		{"redact", from, true},
		{"repair", cut, true},
		{"share", from, true},
		{"report", from, true},
		{"report --markdown", from, true},
		{"export --format csv", from, false}, // exported as far as it goes
	} {
		t.Run(c.args, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out")
			must(t, os.WriteFile(out, []byte("old"), 0o600))
			command := strings.Fields(c.args)
			args := append(append([]string{command[0], c.from}, command[1:]...), "--force", "-o", out)
			run := func(shell string, args ...string) (string, error) {
				cmd := exec.Command("sh", append([]string{"-c", shell + ` exec "$0" "$@"`, bin}, args...)...)
				said, err := cmd.CombinedOutput()
				return string(said), err
			}
			kept := func(when string) {
				t.Helper()
				if is, err := os.ReadFile(out); err != nil || string(is) != "old" {
					t.Errorf("%s: the old file is gone: %v, %d bytes", when, err, len(is))
				}
			}
			if said, err := run("ulimit -f 0;", args...); err == nil { // any write to a file kills
				t.Errorf("it succeeded without a byte of space: %s", said)
			}
			kept("killed")
			if c.fails {
				args[1] = spoiled
				if said, err := run("", args...); err == nil || strings.Contains(said, "out.") {
					t.Errorf("of what can't be read: %v: %s", err, said)
				}
				kept("failed")
				args[1] = c.from
			}
			drafts, _ := filepath.Glob(filepath.Join(filepath.Dir(out), ".*"))
			for _, name := range drafts { // of the killed one
				os.Remove(name)
			}
			said, err := run("", args...)
			if exit, is := err.(*exec.ExitError); err != nil && (!is || exit.ExitCode() != exitVerify) {
				t.Errorf("%v: %s", err, said)
			}
			if is, err := os.ReadFile(out); err != nil || string(is) == "old" {
				t.Errorf("it is not replaced: %v: %s", err, said)
			}
			if list, _ := os.ReadDir(filepath.Dir(out)); len(list) != 1 || len(drafts) > 1 {
				t.Errorf("the folder holds %v; drafts: %v", list, drafts)
			}
		})
	}
}

// A file that is being written is not replaced, nor one that somebody made meanwhile.
func TestTargetReplacesNothingElse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.acc")
	recording, err := createOutput(path, false, nil)
	must(t, err)
	if _, err := newTarget(os.Stdout, path, true); err == nil || !strings.Contains(err.Error(), errWritten.Error()) {
		t.Errorf("of a recording: %v", err)
	}
	must(t, recording.close())
	to, err := newTarget(os.Stdout, path, true)
	must(t, err)
	must(t, os.Remove(path))
	must(t, os.WriteFile(path, []byte("another"), 0o600))
	if err := to.commit(); err == nil || !strings.Contains(err.Error(), "exists") {
		t.Errorf("somebody made it: %v", err)
	}
	to.discard()
	if list, _ := os.ReadDir(filepath.Dir(path)); len(list) != 1 {
		t.Errorf("the folder holds %v", list)
	}
}
