//go:build linux && (amd64 || arm64)

package capture

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A recorder that has given up its rights answers acc ctl; marks are in the capture, in their order of time.
func TestVMControl(t *testing.T) {
	needVM(t)
	dir := t.TempDir()
	r := startRecorder(t, "/in/acc", "record", "-o", dir, "--rotate-size", "64MB", "--name", "web")
	p := newPingPong(t)
	ctl := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("/in/acc", append([]string{"ctl"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	p.do(50)
	ctl("mark", "deploy started")
	p.do(50)
	ctl("rotate")
	p.do(50)
	ctl("mark", "--name", "web", "deploy \x1b[31mended")
	var st struct{ Events, Lost uint64 }
	if out := ctl("status", "--json"); json.Unmarshal([]byte(out), &st) != nil || st.Events == 0 {
		t.Errorf("status: %s", out)
	}
	ctl("stop", "web")
	if code := r.end(); code != 0 {
		t.Fatalf("exit code %d\n%s", code, &r.said)
	}
	if _, err := os.Stat("/run/acc/web.sock"); err == nil {
		t.Error("the socket is left")
	}
	names, _ := filepath.Glob(filepath.Join(dir, "*.acc"))
	if len(names) != 2 {
		t.Errorf("%q", names)
	}
	out, err := exec.Command("/in/acc", "analyze", "--json", dir).Output()
	var a struct {
		Capture struct {
			Reason string `json:"end_reason"`
		}
		Totals struct{ Accepted int }
		Marks  []struct{ Text string }
	}
	if err != nil || json.Unmarshal(out, &a) != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if a.Capture.Reason != "stop" || a.Totals.Accepted < 150 || len(a.Marks) != 2 || a.Marks[0].Text != "deploy started" {
		t.Errorf("%+v", a)
	}
	replay, err := exec.Command("/in/acc", "replay", "--speed", "max", dir).Output()
	if text := string(replay); err != nil || strings.Count(text, "  mark: ") != 2 || strings.Contains(text, "\x1b") ||
		strings.Index(text, "mark: deploy started") > len(text)*2/3 {
		t.Errorf("%v\n%.2000s", err, text)
	}
	t.Logf("%s", ctlInfo(t, dir))
}

func ctlInfo(t *testing.T, dir string) string {
	t.Helper()
	out, err := exec.Command("/in/acc", "info", dir).Output()
	if err != nil {
		t.Error(err)
	}
	return string(out)
}
