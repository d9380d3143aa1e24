package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A kept recording of five servers whose acceptors were kept from accepting, each by something else: a stripped program in
// C that wrote to a full pipe, one whose other thread held a mutex, one whose CPU quota was used up; a Go server whose
// goroutine waited for a lock, and one in Python that waited for a backend (TestVMWhyKept on Linux 6.1).
func TestKeptWhy(t *testing.T) {
	unconfined(t)
	const path = "../../testdata/captures/why.acc"
	var a struct {
		Findings []struct {
			Owner, Next string
			Meanwhile   *struct {
				Because bool
				Text    string
			}
		}
	}
	if err := json.Unmarshal([]byte(runHere(t, "analyze", "--json", "--top", "0", path).out), &a); err != nil {
		t.Fatal(err)
	}
	why := map[string]string{} // by what it says
	for _, f := range a.Findings {
		if f.Meanwhile != nil && f.Meanwhile.Because {
			why[f.Meanwhile.Text] = f.Next
		}
	}
	wants := [][3]string{
		{"access.log, which was full", "why-stripped+0x", "find who should read that pipe"},
		{"(the holder, compactor[", "called from admit < handle", "which holds the lock"},
		{"the CPU quota of its cgroup was used up", "/why was throttled", "raise cpu.max of the cgroup /why"},
		{"in sync.Mutex.Lock, called from main.(*store).admit", "and had not answered", "look at 127.0.0.1:"},
		{"in recvfrom from 127.0.0.1:", "Python code", "the other side of that connection"},
	}
	for _, want := range wants {
		found := false
		for text, next := range why {
			found = found || strings.Contains(text, want[0]) && strings.Contains(text, want[1]) && strings.Contains(next, want[2])
		}
		if !found {
			t.Errorf("no finding says %q: %q", want, why)
		}
	}
	page := filepath.Join(t.TempDir(), "page.html")
	safe := filepath.Join(t.TempDir(), "safe.acc")
	for _, args := range [][]string{{"report", path, "-o", page}, {"redact", path, "-o", safe}, {"redact", "--check", path, safe},
		{"analyze", "--timeline", path}, {"verify", path}} {
		if ran := runHere(t, args...); ran.code != 0 {
			t.Errorf("acc %s: exit code %d\n%s%s", args[0], ran.code, ran.out, ran.err)
		}
	}
	b, err := os.ReadFile(page)
	if err != nil || !strings.Contains(string(b), "access.log, which was full") {
		t.Errorf("the page does not say why: %v", err)
	}
	// Pseudonyms stand for the names; the rest of the sentence is the same.
	text := strings.Join(strings.Fields(runHere(t, "analyze", "--top", "0", safe).out), " ")
	for _, name := range []string{"access.log", "compactor", "admit", "why-stripped"} {
		if strings.Contains(text, name) {
			t.Errorf("the redacted capture has %q", name)
		}
	}
	if n := strings.Count(text, "because: "); n < len(wants) || !strings.Contains(text, "which was full") {
		t.Errorf("the redacted capture says why %d times", n)
	}
}
