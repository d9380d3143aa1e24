//go:build linux && (amd64 || arm64)

package capture

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A flight recorder keeps what happened before an overflow, dumps it by links once for an episode, and goes on.
func TestVMFlightRecorder(t *testing.T) {
	needVM(t)
	dir := t.TempDir()
	cmd := exec.Command("/in/acc", "record", "-o", dir, "--ring", "40s,64MB", "--on", "queue-overflow", "--after", "3s",
		"--cooldown", "1s", "--name", "flight")
	cmd.Env = append(os.Environ(), "SUDO_UID=1000", "SUDO_GID=1000") // its files are the caller's
	r := startCommand(t, cmd)
	p := newPingPong(t)
	dumps := func() []string {
		names, _ := filepath.Glob(filepath.Join(dir, "dump-*"))
		return names
	}
	work := func(until func() bool) {
		t.Helper()
		for deadline := time.Now().Add(3 * time.Minute); !until(); p.do(20) {
			if time.Now().After(deadline) {
				t.Fatal("it does not come")
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	began := time.Now()
	work(func() bool { return time.Since(began) > 15*time.Second })
	if n := dumps(); len(n) > 0 {
		t.Errorf("dumps before anything happened: %q", n)
	}
	lfd, addr := listen(t, unix.AF_INET, 1)
	defer unix.Close(lfd)
	clients := []int{}
	for range 12 { // the queue is full, and others are refused
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		_ = unix.Connect(fd, addr)
		clients = append(clients, fd)
	}
	work(func() bool { return len(dumps()) == 1 })
	for _, fd := range clients {
		unix.Close(fd)
	}
	ended := time.Now()
	work(func() bool { return time.Since(ended) > 25*time.Second })
	asked, err := exec.Command("/in/acc", "ctl", "dump", "--json", "--begin", "-20s", "--end", "-1s", "flight").
		CombinedOutput()
	var answer struct{ Folder string }
	if err != nil || json.Unmarshal(asked, &answer) != nil {
		t.Fatalf("%v\n%s", err, asked)
	}
	if out, err := exec.Command("/in/acc", "ctl", "stop").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if code := r.end(); code != 0 {
		t.Fatalf("exit code %d\n%s", code, &r.said)
	}
	t.Logf("%s", &r.said)
	if n := dumps(); len(n) != 2 || !strings.Contains(n[1], filepath.Base(answer.Folder)) {
		t.Fatalf("dumps: %q, asked for %q", n, answer.Folder)
	}
	first := dumps()[0]
	out, err := exec.Command("/in/acc", "analyze", "--json", first).CombinedOutput()
	var a struct {
		Capture struct {
			DurationNS int64 `json:"duration_ns"`
		}
		Recording struct{ State string }
		Totals    struct{ Accepted int }
		Marks     []struct{ Text string }
		Findings  []struct {
			ID    string
			Parts []struct{ ID string }
		}
	}
	if err != nil || json.Unmarshal(out, &a) != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	found := false
	for _, f := range a.Findings {
		found = found || f.ID == "queue-overflow"
		for _, part := range f.Parts {
			found = found || part.ID == "queue-overflow"
		}
	}
	if !found || len(a.Marks) == 0 || !strings.HasPrefix(a.Marks[0].Text, "dump: queue-overflow: ") || a.Totals.Accepted < 100 ||
		a.Capture.DurationNS < int64(12*time.Second) ||
		a.Recording.State != "complete" {
		t.Errorf("%+v", a)
	}
	for _, name := range append(globAll(first), globAll(answer.Folder)...) {
		var st syscall.Stat_t
		if err := syscall.Stat(name, &st); err != nil || st.Uid != 1000 {
			t.Errorf("%s: %v, user %d", name, err, st.Uid)
		}
	}
	names, _ := filepath.Glob(filepath.Join(dir, "*.acc"))
	if len(names) > 14 { // 40 s of files of 4 s
		t.Errorf("%d files are kept: %q", len(names), names)
	}
	out, _ = exec.Command("/in/acc", "analyze", first).CombinedOutput()
	t.Logf("%s", out)
}

func globAll(dir string) []string {
	names, _ := filepath.Glob(filepath.Join(dir, "*.acc"))
	return names
}
