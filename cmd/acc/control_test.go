//go:build linux

package main

import (
	"os"
	"strings"
	"testing"

	"github.com/acc-project/acc/capture"
)

// What acc ctl asks comes to the recording, and what that says comes back. Nobody else can ask.
func TestControl(t *testing.T) {
	old := controlFolder
	controlFolder = t.TempDir()
	t.Cleanup(func() { controlFolder = old })
	if got := runHere(t, "ctl", "status"); got.code != 1 || !strings.Contains(got.err, "no recording answers") {
		t.Errorf("no recording: %d %s", got.code, got.err)
	}
	stopped := make(chan bool, 1)
	s, err := newControlServer("web")
	must(t, err)
	s.recording, s.stop, s.file = &capture.Control{}, func() { stopped <- true }, func() string { return "x.acc" }
	go s.serve()
	st, err := os.Stat(controlPath("web"))
	must(t, err)
	if st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", st.Mode())
	}
	if _, err := newControlServer("web"); err == nil ||
		!strings.Contains(err.Error(), "a recording with the name web runs") {
		t.Errorf("a second one: %v", err)
	}
	if _, err := newControlServer("../x"); err == nil {
		t.Error("a name that is a path is accepted")
	}
	for _, args := range [][]string{{"ctl", "status"}, {"ctl", "mark", "deploy"}, {"ctl", "rotate", "web"}} {
		if got := runHere(t, args...); got.code != 1 || !strings.Contains(got.err, capture.ErrNotRecording.Error()) {
			t.Errorf("%q: %d %s", args, got.code, got.err)
		}
	}
	if got := runHere(t, "ctl", "stop", "--json", "web"); got.code != 0 ||
		!strings.Contains(got.out, `"done": "stop"`) ||
		!<-stopped {
		t.Errorf("stop: %d %s%s", got.code, got.out, got.err)
	}
	if got := runHere(t, "ctl", "mark"); got.code != 2 {
		t.Errorf("no text: %d", got.code)
	}
	other, err := newControlServer("db")
	must(t, err)
	if got := runHere(t, "ctl", "status"); got.code != 2 ||
		!strings.Contains(got.err, "several recordings run: db, web") {
		t.Errorf("two: %d %s", got.code, got.err)
	}
	other.close()
	s.close()
	if _, err := os.Stat(controlPath("web")); err == nil {
		t.Error("the socket is left")
	}
	must(t, os.WriteFile(controlPath("web")+"x", nil, 0o600))
}
