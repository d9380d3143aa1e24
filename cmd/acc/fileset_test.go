//go:build linux

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Files of a recording sort by time, also when the clock goes back; the oldest ones go, also those of recordings
// before, but none that another acc writes, and nothing else.
func TestFileSet(t *testing.T) {
	dir := t.TempDir()
	host, _ := os.Hostname()
	old := func(name string, size int) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, bytes.Repeat([]byte("x"), size), 0o600))
		return path
	}
	prefix := "acc-" + host + "-"
	first := old(prefix+"20240101T000000Z-000001.acc", 1000)
	busy := old(prefix+"20240101T000000Z-000002.acc", 1000)
	other := []string{
		old("acc-"+host+"-x.acc", 9999),
		old("web-20240101T000000Z-000001.acc", 9999),
		old("notes.txt", 9999),
	}
	writer, err := os.Open(busy)
	must(t, err)
	defer writer.Close()
	if lockFile(writer) {
		t.Fatal("not locked")
	}
	s, err := newFileSet(dir, io.Discard)
	must(t, err)
	s.files, s.total, s.reserve = 4, 5000, 1000
	at := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	s.now = func() time.Time { return at }
	var names []string
	for i := range 6 {
		o, err := s.next()
		must(t, err)
		if _, err := o.file.Write(bytes.Repeat([]byte("y"), 1000)); err != nil {
			t.Fatal(err)
		}
		names = append(names, o.base)
		if i > 0 { // the one before it ends when this one is there
			for w, x := range s.open {
				if x != o {
					must(t, s.end(w, true))
				}
			}
		}
		at = at.Add([]time.Duration{time.Second, -time.Hour, 0, 2 * time.Hour, 0, 0}[i])
	}
	if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != 6 ||
		names[0] != prefix+"20261129T120000Z-000001.acc" {
		t.Errorf("%q", names)
	}
	left, err := filepath.Glob(filepath.Join(dir, prefix+"2*.acc"))
	must(t, err)
	want := []string{busy} // which is not ours to remove
	for _, n := range names[2:] {
		want = append(want, filepath.Join(dir, n))
	}
	if !slices.Equal(left, want) {
		t.Errorf("left: %q, want %q (%d removed)", left, want, s.gone)
	}
	for _, path := range append(other, busy) {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(first); err == nil {
		t.Error("the oldest file is there")
	}
	// A file that nothing was written to leaves nothing.
	o, err := s.next()
	must(t, err)
	must(t, s.end(o.file, false))
	if _, err := os.Stat(filepath.Join(dir, o.base)); err == nil {
		t.Error("an empty file is left")
	}
}

// Two recordings that begin in one second do not take each other's names.
func TestFileSetCollision(t *testing.T) {
	dir := t.TempDir()
	at := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	seen := map[string]bool{}
	for range 3 {
		s, err := newFileSet(filepath.Join(dir, "web.acc"), io.Discard)
		must(t, err)
		s.now = func() time.Time { return at }
		for range 2 {
			o, err := s.next()
			must(t, err)
			if seen[o.base] || !strings.HasPrefix(o.base, "web-20261129T120000Z-") {
				t.Errorf("%s", o.base)
			}
			seen[o.base] = true
		}
	}
	if len(seen) != 6 {
		t.Error(seen)
	}
}

// Sizes and times need a unit, and limits that can't be kept are refused.
func TestRotateFlags(t *testing.T) {
	for _, c := range []struct {
		o    rotateOptions
		out  string
		want string // "": it is accepted
	}{
		{rotateOptions{size: "64MB"}, "", ""},
		{rotateOptions{size: "64MiB", every: "1h", files: "16", total: "1GB"}, "x", ""},
		{rotateOptions{total: "1GB"}, "", ""},
		{rotateOptions{files: "4"}, "", ""},
		{rotateOptions{size: "64"}, "", "--rotate-size 64 has no unit"},
		{rotateOptions{size: "big"}, "", `--rotate-size "big" is not a size`},
		{rotateOptions{size: "-1MB"}, "", "is not a size"},
		{rotateOptions{size: "NaNMB"}, "", "is not a size"},
		{rotateOptions{size: "10kB"}, "", "less than 1MiB"},
		{rotateOptions{every: "60"}, "", "--rotate-every 60 has no unit"},
		{rotateOptions{every: "1ms"}, "", "less than a second"},
		{rotateOptions{files: "1"}, "", "not a number from 2 on"},
		{rotateOptions{size: "64MB", total: "100MB"}, "", "has no room for three files of"},
		{rotateOptions{size: "64MB"}, "-", "standard output can't go on"},
	} {
		l, err := c.o.read(c.out, false)
		if got := fmt.Sprint(err); (err == nil) != (c.want == "") || err != nil && !strings.Contains(got, c.want) {
			t.Errorf("%+v: %v, %+v, want %q", c.o, err, l, c.want)
		}
	}
	if _, err := (&rotateOptions{size: "64MB"}).read("", true); err == nil {
		t.Error("--force is accepted")
	}
	l, err := (&rotateOptions{total: "1GB"}).read("", false)
	if err != nil || l.size < leastFile || l.size > 333e6 ||
		l.says() != "another file at 64.0 MiB; the newest are kept, within 954 MiB" {
		t.Errorf("%+v %v %q", l, err, l.says())
	}
}
