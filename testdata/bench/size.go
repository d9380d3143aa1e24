package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

const files = ".vm-cache/bench"

// size measures what each recorder wrote of the same connections.
func size(vm, acc string) error {
	if err := os.MkdirAll(files, 0o755); err != nil {
		return err
	}
	if _, err := guest(vm, []string{"-mem", "2048", "-in", acc + ":/in/acc", "-in", "testdata/demo/nginx.conf", "-in", "testdata/demo/load.sh",
		"-bin", "nginx,wrk,trace-cmd,perf,strace,tcpdump", "-out", files}, "size.sh", "60s"); err != nil {
		return err
	}
	accepted, err := acceptedIn(acc, filepath.Join(files, "accept.acc"))
	if err != nil {
		return err
	}
	t := newTable("file", "bytes", "bytes an accept", "after zstd -19", "bytes an accept", "of acc's")
	base := 0.0
	for _, f := range []struct{ name, file string }{
		{"acc, accept only", "accept.acc"}, {"acc, whole life", "life.acc"}, {"trace-cmd record", "trace.dat"}, {"perf record", "perf.data"},
		{"strace", "strace.txt"}, {"tcpdump, 96 bytes a packet", "tcpdump.pcap"},
	} {
		raw, packed, err := sizes(filepath.Join(files, f.file))
		if err != nil {
			t.row(f.name, "did not run", "", "", "", "")
			continue
		}
		best := min(raw, packed)
		if base == 0 {
			base = float64(raw)
		}
		per := func(n int64) string { return fmt.Sprintf("%.1f", float64(n)/float64(accepted)) }
		t.row(f.name, count(raw), per(raw), count(packed), per(packed), ratio(float64(best), base))
	}
	return section("size", fmt.Sprintf("%s accepted connections, all recorders at once.\n\n%s", count(accepted), t.String()))
}

// sizes gives a file's size, and that after the best compression.
func sizes(path string) (raw, packed int64, err error) {
	st, err := os.Stat(path)
	if err != nil {
		return 0, 0, err
	}
	out := path + ".zst"
	if err := exec.Command("zstd", "-q", "-f", "-19", path, "-o", out).Run(); err != nil {
		return 0, 0, fmt.Errorf("compress %s: %w", path, err)
	}
	defer os.Remove(out)
	z, err := os.Stat(out)
	if err != nil {
		return 0, 0, err
	}
	return st.Size(), z.Size(), nil
}

// acceptedIn is how many accepted connections a capture has.
func acceptedIn(acc, path string) (int64, error) {
	out, err := exec.Command(acc, "info", "--full", "--json", path).Output()
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", path, err)
	}
	var info struct {
		Accepted json.Number `json:"accepted"`
	}
	if err := json.Unmarshal(out, &info); err != nil {
		return 0, fmt.Errorf("read %s: %w", path, err)
	}
	return strconv.ParseInt(info.Accepted.String(), 10, 64)
}
