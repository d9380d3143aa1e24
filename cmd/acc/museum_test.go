//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/acc-project/acc/testdata/figures"
	"github.com/acc-project/acc/testdata/museum"
)

// maxPeakKiB is what acc may take for any file.
const maxPeakKiB = 256 << 10

func init() { programs["peak"] = peak }

// peak runs a program and leaves its peak memory in the file that $PEAK names. It
// is a process of its own as the kernel counts the memory of whoever calls exec
// for the program's.
func peak() {
	cmd := exec.Command(os.Args[1], os.Args[2:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	if cmd.ProcessState == nil {
		fmt.Fprintln(os.Stderr, "peak:", err)
		os.Exit(125)
	}
	used := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	_ = os.WriteFile(os.Getenv("PEAK"), fmt.Append(nil, used.Maxrss), 0o600)
	if s, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		os.Exit(128 + int(s.Signal()))
	}
	os.Exit(cmd.ProcessState.ExitCode())
}

// buildAcc builds the command as users get it.
func buildAcc(t testing.TB) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "acc.bin")
	cmd := exec.Command("go", "build", "-trimpath", "-o", bin, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build acc: %v\n%s", err, out)
	}
	return bin
}

// runPeak gives what a program said, its exit code and its peak memory.
func runPeak(t testing.TB, args ...string) (stdout, stderr []byte, code, peakKiB int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "peak", args...)
	note := filepath.Join(t.TempDir(), "peak")
	cmd.Env = append(os.Environ(), "PEAK="+note)
	var out, errs capped
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if ctx.Err() != nil {
		t.Errorf("%q hangs", args)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	text, err := os.ReadFile(note)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Sscan(string(text), &peakKiB)
	return out.Bytes(), errs.Bytes(), cmd.ProcessState.ExitCode(), peakKiB
}

// capped keeps the beginning of what is written, and looks at all of it for
// bytes that would steer a terminal.
type capped struct {
	bytes.Buffer
	control string
}

func (c *capped) Write(p []byte) (int, error) {
	if i := bytes.IndexFunc(p, func(r rune) bool { return r < 0x20 && r != '\n' || r == 0x7f }); i >= 0 && c.control == "" {
		c.control = fmt.Sprintf("%q", p[max(0, i-40):min(len(p), i+40)])
	}
	if room := 1<<20 - c.Len(); room > 0 {
		c.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// Every command takes every hostile file with an exit code of its own, no crash,
// no control byte on its outputs, and bounded memory.
func TestMuseum(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a minute")
	}
	bin := buildAcc(t)
	dir := t.TempDir()
	commands := [][]string{{"verify"}, {"analyze", "--salvage"}}
	made := filepath.Join(dir, "made") // what commands write
	recordsOnly := [][]string{{"replay", "--speed", "max", "--json"}, {"export", "--format", "jsonl", "-o", made}}
	if figures.Torture() {
		recordsOnly = append(recordsOnly, [][]string{
			{"export", "--format", "jsonl", "--salvage", "-f", `exe != "x"`, "-o", made}, {"report", "-o", made}, {"redact", "-o", made},
			{"cut", "--from", "0s", "-o", made}, {"diff", filepath.Join(dir, "x.acc")}, {"analyze", "-f", `exe != "x"`},
		}...)
		commands = append(commands, [][]string{
			{"verify", "--json"}, {"info"}, {"info", "--json"}, {"analyze"}, {"analyze", "--json", "--top", "0"}, {"analyze", "--salvage", "--pairs", "--json"},
			{"analyze", "--salvage", "--connections"}, {"analyze", "--salvage", "--timeline"}, {"explain", "1"},
			{"analyze", "--salvage", "--connections", "-f", `pod == nil or "queue-full" in findings`},
			{"replay", "--speed", "max", "-f", `ts > 1s and (pid >= 0 or "armed" in mark) or raddr in "::/0"`},
			{"replay", "--speed", "max"}, {"replay", "--speed", "max", "--json", "--salvage"}, {"repair", "-o", made},
		}...)
	}
	exhibits := museum.Exhibits()
	if len(exhibits) < 60 {
		t.Fatalf("the museum has %d exhibits", len(exhibits))
	}
	runs, worst, worstName := 0, 0, ""
	for _, e := range exhibits {
		if !strings.Contains(e.Name, os.Getenv("ACC_EXHIBIT")) {
			continue
		}
		if e.Long && !figures.Torture() {
			continue
		}
		name := filepath.Join(dir, "x.acc")
		if err := writeExhibit(name, e); err != nil {
			t.Fatalf("%s: %v", e.Name, err)
		}
		before, _ := os.Stat(name)
		of := commands
		if e.Records {
			of = append(slices.Clone(commands), recordsOnly...)
		}
		for _, c := range of {
			os.Remove(made)
			stdout, stderr, code, kib := runPeak(t, append([]string{bin}, append(slices.Clone(c), name)...)...)
			what := strings.ReplaceAll(fmt.Sprintf("%s: acc %s", e.Name, strings.Join(c, " ")), dir+string(filepath.Separator), "")
			runs++
			if kib > worst {
				worst, worstName = kib, what
			}
			if kib > maxPeakKiB {
				t.Errorf("%s: takes %d MiB", what, kib>>10)
			}
			if allowed := []int{exitOK, exitError, exitTruncated, exitCorrupt, exitLimit}; !slices.Contains(allowed, code) {
				t.Errorf("%s: exit code %d", what, code)
			}
			if c[0] == "verify" && code != e.Verify {
				t.Errorf("%s: exit code %d, want %d: %.300s%.300s", what, code, e.Verify, stdout, stderr)
			}
			if all := string(stderr) + string(stdout); strings.Contains(all, "goroutine ") || strings.Contains(string(stderr), "fatal error") || strings.Contains(string(stderr), "panic:") {
				t.Errorf("%s: crashes: %.2000s", what, stderr)
			}
			if code != exitOK && code != exitCorrupt && len(stderr) == 0 && c[0] != "verify" {
				t.Errorf("%s: exit code %d without a word", what, code)
			}
		}
		if after, err := os.Stat(name); err != nil || !after.ModTime().Equal(before.ModTime()) || after.Size() != before.Size() {
			t.Errorf("%s: the file was changed", e.Name)
		}
	}
	figures.Tell(t, "C2 museum of hostile files", "%d files, %d runs: exit codes as they must be, no crash, at most %d MiB (%s)", len(exhibits), runs, worst>>10, worstName)
}

func writeExhibit(name string, e museum.Exhibit) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	w := io.Writer(f)
	return errors.Join(e.Write(w), f.Close())
}
