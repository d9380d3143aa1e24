//go:build linux

package main

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/testdata/fleet"
)

// On a disk that is full, each format says so by its exit code and leaves nothing under the name of its output; of Parquet,
// whole files alone: those of captures for which there was room.
func TestExportFullDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("runs acc for each format")
	}
	disk, made, small := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "small.acc")
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=96k"); err != nil {
		t.Skipf("no disk of one's own: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(disk, 0) })
	must(t, os.WriteFile(small, lifeSample(), 0o600))
	_, err := fleet.Make(made, 1, 3000, 1, time.Date(2026, 11, 28, 14, 0, 0, 0, time.UTC))
	must(t, err)
	list, _ := filepath.Glob(filepath.Join(made, "host-0000-20261128*.acc"))
	big := list[0]
	export := func(args ...string) (code int, said string) {
		cmd := exec.Command("acc", append([]string{"export"}, args...)...)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return cmd.ProcessState.ExitCode(), string(out)
	}
	files := func() (list []string) {
		must(t, filepath.WalkDir(disk, func(name string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				list = append(list, name)
			}
			return err
		}))
		return list
	}
	for _, format := range []string{"csv", "tsv", "jsonl", "zeek", "perfetto", "otlp", "ecs", "ocsf"} {
		code, said := export("--format", format, big, "-o", filepath.Join(disk, "out"))
		if code != exitLimit || !strings.Contains(said, "no space left on device\nhint: make room") || len(files()) > 0 {
			t.Errorf("%s: exit code %d, %q: %s", format, code, files(), said)
		}
	}
	code, said := export("--format", "parquet", small, big, "-o", filepath.Join(disk, "lake"))
	if code != exitLimit || !strings.Contains(said, "no space left on device\nhint: make room") {
		t.Errorf("parquet: exit code %d: %s", code, said)
	}
	list = files()
	for _, name := range list {
		b, err := os.ReadFile(name)
		if err != nil || !bytes.HasPrefix(b, []byte("PAR1")) || !bytes.HasSuffix(b, []byte("PAR1")) || filepath.Ext(name) != ".parquet" {
			t.Errorf("%s: %d bytes, not a whole file (%v)", name, len(b), err)
		}
	}
	if len(list) != 4 {
		t.Errorf("files: %q", list)
	}
}
