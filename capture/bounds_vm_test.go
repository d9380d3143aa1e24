//go:build linux && (amd64 || arm64)

package capture

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

// A recorder that takes more than it may leaves out the life of connections first, then failed calls; what it leaves out
// is counted, accepted connections are all there, and when it takes less all is recorded again.
func TestVMBounds(t *testing.T) {
	needVM(t)
	if os.Getenv("ACC_TORTURE") == "" {
		t.Skip("takes a minute: ACC_TORTURE")
	}
	p := newPingPong(t)
	idle, _ := listen(t, unix.AF_INET, 1)
	defer unix.Close(idle)
	if err := unix.SetNonblock(idle, true); err != nil {
		t.Fatal(err)
	}
	failed := 0
	fail := func() {
		for range 20 {
			if _, _, err := unix.Accept(idle); err == unix.EAGAIN {
				failed++
			}
		}
	}
	said := make(chan string, 10)
	o := Options{MaxCPU: 0.15, NoCauses: true, calm: time.Second, Warn: func(s string) { said <- s }}
	var steps []string
	r := recordWhile(t, o, func() {
		for deadline := time.Now().Add(2 * time.Minute); len(steps) < 2 && time.Now().Before(deadline); {
			p.do(20) // by this process, whose CPU time this is
			fail()
			select {
			case s := <-said:
				steps = append(steps, s)
			default:
			}
		}
		p.do(30)
		fail()
		for len(steps) < 4 {
			select {
			case s := <-said:
				steps = append(steps, s)
			case <-time.After(time.Minute):
				t.Fatalf("not all is recorded again: %q", steps)
			}
		}
		p.do(40)
		fail()
	})
	var accepted, closed, failures, counted, lastClosed int
	for i := range r.events {
		switch e := &r.events[i]; {
		case e.Accepted():
			accepted++
		case e.Failed() && e.Listener != 0:
			failures++
		case isEnd(e):
			closed++
			if e.BootNS > r.marks[3].BootNS {
				lastClosed++
			}
		}
	}
	for _, c := range r.counted {
		counted += int(c.Calls)
	}
	t.Logf("%q: %d connections made, %d accepted, %d ends; %d failed, %d recorded, %d counted; %d lost, %d left out", steps,
		p.made, accepted, closed, failed, failures, counted, r.end.Lost, r.end.Shed)
	for i, want := range []string{"the life of connections is not recorded", "failed calls are counted", "failed calls are recorded again",
		"everything is recorded again"} {
		if !strings.Contains(steps[i], want) || r.marks[i].Text != steps[i] {
			t.Errorf("step %d: %q, mark %q", i, steps[i], r.marks[i].Text)
		}
	}
	if accepted != p.made || failures+counted != failed || counted < 20 || closed >= p.made || lastClosed != 40 {
		t.Error("the account does not hold")
	}
	if r.end.Lost == 0 || r.end.Shed != r.end.Lost || !r.end.Clean {
		t.Errorf("%+v", r.end)
	}
}

// --min-free removes old files, then ends the recording, with what was written readable.
func TestVMMinFree(t *testing.T) {
	needVM(t)
	dir := mountTmpfs(t, "24m")
	fill := func(bytes int) {
		if err := os.WriteFile(filepath.Join(dir, "filler"), make([]byte, bytes), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("/in/acc", "record", "-o", dir, "--rotate-every", "1s", "--min-free", "1GB").CombinedOutput(); err == nil ||
		!strings.Contains(string(out), "less than --min-free 1GB") {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := exec.Command("/in/acc", "record", "-o", dir, "--ring", "30GB").CombinedOutput(); err == nil ||
		!strings.Contains(string(out), "--ring 30GB is more than the disk") {
		t.Fatalf("%v\n%s", err, out)
	}
	r := startRecorder(t, "/in/acc", "record", "-o", dir, "--rotate-every", "1s", "--min-free", "8MiB")
	p := newPingPong(t)
	files := func() (names []string) {
		names, _ = filepath.Glob(filepath.Join(dir, "*.acc"))
		return names
	}
	for len(files()) < 4 {
		p.do(50)
	}
	first := files()[0]
	fill(16 << 20)
	for deadline := time.Now().Add(time.Minute); ; p.do(20) {
		if _, err := os.Stat(first); os.IsNotExist(err) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no old file is removed")
		}
	}
	if code := p.until(r); code != 5 || !strings.Contains(r.said.String(), "less than --min-free 8MiB") {
		t.Fatalf("exit code %d\n%s", code, &r.said)
	}
	names := files()
	i := info(t, names[len(names)-1])
	if i.Verdict != "intact" || i.End.Reason != "disk full" || !strings.Contains(i.End.Detail, "--min-free 8MiB") {
		t.Errorf("%d files: %+v", len(names), i)
	}
	t.Logf("%d files are left\n%s", len(names), &r.said)
}

// A recording of one port in several files has exactly what happened there, over all of them; one that is killed can be read up to
// the last flushed frame.
func TestVMSelectRotate(t *testing.T) {
	needVM(t)
	dir := t.TempDir()
	p, other := newPingPong(t), newPingPong(t)
	port := strconv.Itoa(p.addr.(*unix.SockaddrInet4).Port)
	r := startRecorder(t, "/in/acc", "record", "-o", dir, "--port", port, "--rotate-every", "1s")
	files := func() int {
		names, _ := filepath.Glob(filepath.Join(dir, "*.acc"))
		return len(names)
	}
	for files() < 4 {
		p.do(20)
		other.do(7)
	}
	r.stop(t)
	all, lost, n := readSet(t, dir)
	accepted, queued, ended := 0, 0, 0
	for _, e := range all {
		switch {
		case e.LPort != uint16(p.addr.(*unix.SockaddrInet4).Port):
			t.Fatalf("an event of another port: %+v", e)
		case e.Accepted():
			accepted++
		case e.Kind == format.Queued:
			queued++
		case isEnd(&e):
			ended++
		}
	}
	out, err := exec.Command("/in/acc", "analyze", "--json", dir).CombinedOutput()
	var a struct {
		Totals    struct{ Accepted int }
		Recording struct{ State, Selected string }
	}
	if err != nil || json.Unmarshal(out, &a) != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%d files: %d made, %d accepted, %d queued, %d ended, %d lost; %d of another port", n, p.made, accepted, queued, ended, lost,
		other.made)
	if accepted != p.made || queued != p.made || ended != p.made || lost != 0 || a.Totals.Accepted != p.made ||
		a.Recording.State != "complete" || a.Recording.Selected != "port "+port {
		t.Errorf("%+v", a)
	}

	killed := t.TempDir()
	r = startRecorder(t, "/in/acc", "record", "-o", killed, "--ring", "10s")
	before := p.made
	for {
		p.do(20)
		if names, _ := filepath.Glob(filepath.Join(killed, "*.acc")); len(names) > 2 {
			break
		}
	}
	flushed := p.made - before
	time.Sleep(3 * time.Second) // the last frame is on the disk
	p.do(5)                     // these need not be
	_ = r.Process.Kill()
	r.end()
	out, err = exec.Command("/in/acc", "analyze", "--json", killed).Output()
	if code := fmt.Sprint(err); json.Unmarshal(out, &a) != nil || a.Totals.Accepted < flushed || a.Totals.Accepted > flushed+5 ||
		a.Recording.State != "incomplete" {
		t.Errorf("killed: %s, %+v, %d were flushed\n%s", code, a, flushed, out[:min(len(out), 500)])
	}
}
