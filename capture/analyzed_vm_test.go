//go:build linux && (amd64 || arm64)

package capture

// This file has acc analyze what the tests recorded, and reads what it says.

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// analyzed is what acc analyze --json says, as far as the tests look at it.
type analyzed struct {
	path     string
	Findings []struct {
		ID, Severity, Text string
		Evidence           []struct{ Seq uint64 }
		Parts              []struct{ ID, Severity, Text string }
	}
	Listeners []struct {
		Addr string
		Life *struct {
			RefusedSYN uint64              `json:"refused_syn"`
			RefusedACK uint64              `json:"refused_ack"`
			FullNS     int64               `json:"full_ns"`
			QueueWait  struct{ Max int64 } `json:"queue_wait_ns"`
		}
	}
	Meanwhile []lookedAt
}

// analyzeWhile records with the acc command while work runs, and analyzes.
func analyzeWhile(t *testing.T, work func(r *recorder), flags ...string) analyzed {
	t.Helper()
	a := analyzed{path: filepath.Join(t.TempDir(), "x.acc")}
	r := startRecorder(t, append([]string{"/in/acc", "record", "-o", a.path}, flags...)...)
	work(r)
	r.stop(t)
	out, err := exec.Command("/in/acc", "analyze", "--json", a.path).Output()
	if err != nil {
		t.Fatalf("analyze: %v\n%s", err, &r.said)
	}
	if err := json.Unmarshal(out, &a); err != nil {
		t.Fatal(err)
	}
	for _, f := range a.Findings {
		t.Logf("%s %s: %s", f.Severity, f.ID, f.Text)
		for _, e := range f.Evidence { // what it points to is there
			if out, err := exec.Command("/in/acc", "explain", fmt.Sprint(e.Seq), a.path).CombinedOutput(); err != nil {
				t.Errorf("%s: explain: %v\n%s", f.ID, err, out)
			}
		}
	}
	return a
}

// found fails unless there is a finding of a severity, "" for any, whose text has a part. It may be what another
// one is the cause of.
func (a *analyzed) found(t *testing.T, id, severity, part string) {
	t.Helper()
	is := func(i, s, text string) bool {
		return i == id && (severity == "" || s == severity) && strings.Contains(text, part)
	}
	for _, f := range a.Findings {
		if is(f.ID, f.Severity, f.Text) || slices.ContainsFunc(f.Parts,
			func(p struct{ ID, Severity, Text string }) bool { return is(p.ID, p.Severity, p.Text) }) {
			return
		}
	}
	t.Errorf("no %s %s that says %q", severity, id, part)
}

// bootNow is CLOCK_BOOTTIME.
func bootNow() int64 {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	return ts.Nano()
}

// waitsIn gives the wait in the queue by the client's port, as acc analyze --connections says.
func waitsIn(t *testing.T, path string) map[uint16]int64 {
	t.Helper()
	out, err := exec.Command("/in/acc", "analyze", "--connections", "--json", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	waits := map[uint16]int64{}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		var c struct {
			RPort uint16 `json:"rport"`
			Wait  *int64 `json:"queue_wait_ns"`
		}
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		if c.Wait != nil {
			waits[c.RPort] = *c.Wait
		}
	}
	return waits
}

func portOf(t *testing.T, fd int) uint16 {
	t.Helper()
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return addrPort(sa).Port()
}
