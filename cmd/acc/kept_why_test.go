package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// keptWhy are recordings of servers whose acceptors were kept from accepting, each by something else, and what acc must
// say: why, where in the program, and what to do (TestVMWhy on Linux 6.1; cpu-go and mutex-go on 7).
var keptWhy = []struct{ file, why, at, next, lane string }{
	{"nginx", "access.log, which was full", "nginx+0x7701b < ", "find who should read that pipe", "W full pipe"},
	{"mutex-inside", "(the holder, compactor[", "called from admit < handle", "which holds the lock", "L lock"},
	{"quota", "the CPU quota of its cgroup was used up (/why was throttled 40 times)", "hash_password", "raise cpu.max",
		"Q CPU quota"},
	{"fsync-stripped", "in fsync of the file /dev/nbd4", "why-stripped+0x184c < ", "iostat", "D disk"},
	{"backend-python", "in recvfrom from 127.0.0.1:39177, which had been asked", "Python code",
		"the other side of that connection", "B backend"},
	{"mutex-go", "in sync.Mutex.Lock, called from main.(*store).admit < main.serve", "main.(*store).query",
		"look at 127.0.0.1:", "I idle"},
	{"cpu-go", "with other threads to which Go moved its goroutine, on a CPU", "in main.hashPassword < main.serve",
		"make main.hashPassword cheaper (perf top -p ", "C on a CPU"},
}

// Every command that shows what servers did shows it of recordings that are kept; a redacted one gives no name away.
func TestKeptWhy(t *testing.T) {
	unconfined(t)
	for _, k := range keptWhy {
		t.Run(k.file, func(t *testing.T) {
			path := "../../testdata/captures/why-" + k.file + ".acc"
			var a struct {
				Findings []struct {
					Next      string
					Meanwhile *struct {
						Because bool
						Text    string
					}
				}
			}
			if err := json.Unmarshal([]byte(runHere(t, "analyze", "--json", "--top", "0", path).out), &a); err != nil {
				t.Fatal(err)
			}
			found := false
			for _, f := range a.Findings {
				if m := f.Meanwhile; m != nil {
					found = found || m.Because && strings.Contains(m.Text, k.why) && strings.Contains(m.Text, k.at) &&
						strings.Contains(f.Next, k.next)
				}
			}
			if !found {
				t.Errorf("no finding says %q: %+v", k, a.Findings)
			}
			page, safe := filepath.Join(t.TempDir(), "page.html"), filepath.Join(t.TempDir(), "safe.acc")
			outs := map[string]string{}
			for _, args := range [][]string{{"report", path, "-o", page}, {"redact", path, "-o", safe},
				{"redact", "--check", path, safe}, {"analyze", "--timeline", path}, {"analyze", path}, {"verify", path}} {
				ran := runHere(t, args...)
				if outs[strings.Join(args[:2], " ")] = ran.out; ran.code != 0 {
					t.Errorf("acc %s: exit code %d\n%s%s", args[0], ran.code, ran.out, ran.err)
				}
			}
			if !strings.Contains(outs["analyze --timeline"], k.lane) {
				t.Errorf("the timeline has no %q:\n%s", k.lane, outs["analyze --timeline"])
			}
			// The first five lines, which is what one sees first, have it.
			if lines := strings.SplitN(outs["analyze "+path], "\n", 6); len(lines) < 6 ||
				!strings.Contains(strings.Join(lines[:5], "\n"), "\n  because: ") {
				t.Errorf("the screen begins with\n%s", outs["analyze "+path])
			}
			if b, err := os.ReadFile(page); err != nil || !strings.Contains(string(b), "because") {
				t.Errorf("the page does not say why: %v", err)
			}
			text := strings.Join(strings.Fields(runHere(t, "analyze", "--top", "0", safe).out), " ")
			for _, name := range []string{"access.log", "compactor", "admit", "why-stripped", "hashPassword", "nbd4"} {
				if strings.Contains(text, name) {
					t.Errorf("the redacted capture has %q", name)
				}
			}
			if !strings.Contains(text, "because: ") {
				t.Error("the redacted capture does not say why")
			}
		})
	}
}
