//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/acc-project/acc/capture"
)

// What --ring and those beside it mean, and what is refused before anything is attached.
func TestRingFlags(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		o       ringOptions
		out     string
		rotates bool
		want    string // "": it is accepted
	}{
		{ringOptions{ring: []string{"10m"}}, dir, false, ""},
		{ringOptions{ring: []string{"10m", "256MB"}, on: []string{"queue-overflow"}}, dir, false, ""},
		{ringOptions{ring: []string{"10"}}, dir, false, "neither a time nor a size with a unit"},
		{ringOptions{ring: []string{"1MB"}}, dir, false, "--ring has less than 8MiB"},
		{ringOptions{ring: []string{"1s"}}, dir, false, "--ring has less than 10s"},
		{ringOptions{ring: []string{"10m"}, on: []string{"overflow"}}, dir, false, `--on "overflow" is no finding`},
		{ringOptions{ring: []string{"10m"}}, filepath.Join(dir, "x.acc"), false, "is not there: --ring keeps its files there"},
		{ringOptions{ring: []string{"10m", "5m"}}, dir, false, "--ring has two times: 10m and 5m"},
		{ringOptions{ring: []string{"64MB", "5m", "32MB"}}, dir, false, "--ring has two sizes"},
		{ringOptions{ring: []string{"10m"}}, "-", false, "can't write to standard output"},
		{ringOptions{ring: []string{"10m"}}, dir, true, "keeps and removes files itself"},
	} {
		c.o.after, c.o.cooldown, c.o.most = "30s", "30s", 20
		l, files, err := c.o.read(func(string) bool { return false }, c.out, c.rotates)
		if got := fmt.Sprint(err); (err == nil) != (c.want == "") || err != nil && !strings.Contains(got, c.want) {
			t.Errorf("%+v: %v, %+v, want %q", c.o, err, l, c.want)
		}
		if err == nil &&
			(files.every != time.Minute || l.bytes > 0 && (files.size > l.bytes/8 || files.total != l.bytes)) {
			t.Errorf("%+v: %+v", c.o, files)
		}
	}
	if _, _, err := (&ringOptions{}).read(func(f string) bool { return f == "on" }, dir, false); err == nil {
		t.Error("--on without --ring is accepted")
	}
}

func globOf(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.acc"))
	must(t, err)
	return names
}

// A finding dumps once, until it does not show any more; a dump has the files before it and those that end until it is
// complete, by links.
func TestFlightRecorderEpisodes(t *testing.T) {
	dir := t.TempDir()
	s, err := newFileSet(dir, io.Discard)
	must(t, err)
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	s.now = func() time.Time { return now }
	var said shared
	r := newFlightRecorder(
		s,
		ringLimits{age: time.Minute, after: time.Hour, on: []trigger{{text: "queue-overflow", finding: "queue-overflow"}, {text: "fd-exhausted", finding: "fd-exhausted"}}, most: 2},
		&capture.Control{},
		&said,
	)
	file := func() string { // one ends when the next one is there
		t.Helper()
		o, err := s.next()
		must(t, err)
		for w, x := range s.open {
			if x != o {
				must(t, s.end(w, true))
			}
		}
		now = now.Add(5 * time.Second)
		return o.base
	}
	var names []string
	for range 4 {
		names = append(names, file())
	}
	overflow, other := reason{"queue-overflow", "full"}, reason{"slow-accept", ""}
	r.found([]reason{other})
	if r.dump != nil {
		t.Fatal("a finding that was not asked for dumps")
	}
	r.found([]reason{other, overflow})
	d := r.dump
	if d == nil {
		t.Fatal("no dump")
	}
	r.found([]reason{overflow}) // the same episode
	if d.more != 0 || r.dumps != 1 {
		t.Errorf("%+v, %d dumps", d, r.dumps)
	}
	if _, err := r.begin("SIGUSR2", 0, 0); !errors.Is(err, errDumps) || d.more != 1 {
		t.Errorf("%v, %+v", err, d)
	}
	names = append(names, file())
	d.timer.Stop()
	r.finish(d)
	// Files of 5 s began 25, 20, 15 and 10 s ago; the one that is written 5 s ago.
	for _, c := range []struct {
		from, until time.Duration
		want        []string
		err         string
	}{
		{17 * time.Second, 12 * time.Second, names[1:3], ""},
		{0, 18 * time.Second, names[:2], ""}, // from the oldest on
		{time.Hour, 30 * time.Second, nil, "the oldest file began 25s ago"},
	} {
		now = now.Add(time.Millisecond) // another folder
		folder, err := r.begin("asked", c.from, c.until)
		var kept []string
		if r.dump != nil {
			r.dump.timer.Stop()
			r.finish(r.dump)
			for _, name := range globOf(t, folder) {
				kept = append(kept, filepath.Base(name))
			}
		}
		if !slices.Equal(kept, c.want) || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("from %v until %v ago: %q, %v; want %q", c.from, c.until, kept, err, c.want)
		}
	}
	var got []string
	must(t, filepath.WalkDir(filepath.Join(dir, d.folder), func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			got = append(got, filepath.Base(path))
			a, _ := os.Stat(path)
			b, _ := os.Stat(filepath.Join(dir, filepath.Base(path)))
			if !os.SameFile(a, b) {
				t.Errorf("%s is a copy", path)
			}
		}
		return err
	}))
	if !slices.Equal(got, names[:4]) {
		t.Errorf("the dump has %q, want %q", got, names[:4])
	}
	if r.dump != nil || !strings.Contains(said.String(), "the dump is complete: 4 files") {
		t.Errorf("%s", &said)
	}
	r.found(nil) // the episode is over
	r.limits.cooldown = time.Hour
	r.found([]reason{overflow})
	if r.dump != nil || r.suppressed != 1 {
		t.Errorf("a dump within the cooldown: %+v", r.dump)
	}
	r.limits.cooldown = 0
	r.found(nil)
	now = now.Add(time.Second)
	r.found([]reason{overflow})
	if r.dump == nil || r.suppressed != 0 {
		t.Error("no second dump")
	}
	r.dump.timer.Stop()
	r.close(names[4])
	if r.dumps != 2 {
		t.Errorf("%d dumps", r.dumps)
	}
	s.onEnd = nil
	now = now.Add(5 * time.Minute) // all is too old now
	file()
	left, _ := filepath.Glob(filepath.Join(dir, "*.acc"))
	kept, _ := filepath.Glob(filepath.Join(dir, d.folder, "*.acc"))
	if len(left) != 2 || len(kept) != 4 { // the one that ended just now, and the one that is written
		t.Errorf("%q and %q are left", left, kept)
	}
}

// shared is what several goroutines say.
type shared struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *shared) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(b)
}

func (s *shared) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}
