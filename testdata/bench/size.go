package main

// This file measures sizes of captures.

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const files = ".vm-cache/bench"

// size measures what each recorder wrote of the same connections. The load lasts as
// long as load says; if that is "-", it takes the files of the run before.
func size(vm, acc, load string) error {
	if err := os.MkdirAll(files, 0o755); err != nil {
		return err
	}
	if load != "-" {
		if _, err := guest(vm, []string{"-icount", "-timeout", "60m", "-mem", "3072", "-in", acc + ":/in/acc", "-in", "testdata/demo/nginx.conf", "-in", "testdata/demo/load.sh",
			"-bin", "nginx,wrk,trace-cmd,perf,strace,tcpdump", "-out", files}, "size.sh", load); err != nil {
			return err
		}
	}
	accepted, err := acceptedIn(acc, filepath.Join(files, "accept.acc"))
	if err != nil {
		return err
	}
	each := func(n float64) string { return fmt.Sprintf("%.1f", n/float64(accepted)) }
	t := newTable("", "bytes", "each", "of acc's", "after zstd -19", "each", "of acc's")
	base, made := map[string]float64{}, ""
	for _, f := range []struct{ name, file, as string }{
		{"acc, accept only", "accept.acc", "accept.acc"}, {"trace-cmd record", "trace.dat", "accept.acc"}, {"perf record", "perf.data", "accept.acc"},
		{"strace", "strace.txt", "accept.acc"}, {"acc, whole life", "life.acc", "life.acc"}, {"tcpdump, 96 bytes a packet", "tcpdump.pcap", "life.acc"},
	} {
		raw, packed, err := sizes(filepath.Join(files, f.file))
		if err != nil {
			t.row(f.name, "did not run", "", "", "", "", "")
			continue
		}
		if f.file == f.as {
			base[f.as] = float64(raw)
		}
		t.row(f.name, count(raw), each(float64(raw)), ratio(float64(raw), base[f.as]), count(packed), each(float64(packed)), ratio(float64(packed), base[f.as]))
		if f.file != f.as {
			continue
		}
		least, by, err := bound(filepath.Join(files, f.file))
		if err != nil {
			return err
		}
		made += fmt.Sprintf("Bytes of %s, ideally coded:", f.name)
		names := slices.SortedFunc(maps.Keys(by), func(a, b string) int { return cmp.Or(cmp.Compare(by[b], by[a]), cmp.Compare(a, b)) })
		for _, name := range names[:10] {
			made += fmt.Sprintf(" %s %s,", name, each(by[name]))
		}
		made = strings.TrimSuffix(made, ",") + ".\n"
		t.row("&nbsp; its columns, ideally coded", count(int64(least)), each(least), ratio(least, base[f.as]), "", "", "")
	}
	return section("size", fmt.Sprintf("%s accepted connections, all recorders at once on one CPU of an instruction a nanosecond; each: bytes by accepted connection.\n\n%s\n%s", count(accepted), t.String(), made))
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
