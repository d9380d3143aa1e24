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
	hooked := filepath.Join(t.TempDir(), "hooked")
	if err := os.WriteFile(hooked, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for at := hooked; at != "/"; at = filepath.Dir(at) { // the caller, who is another user, gets there
		_ = os.Chmod(at, 0o777)
	}
	_ = os.Chmod(dir, 0o755)
	cmd := exec.Command("/in/acc", "record", "-o", dir, "--ring", "40s,64MB", "--on", "queue-overflow,errno=EAGAIN rate>40/s",
		"--after", "3s", "--cooldown", "1s", "--name", "flight", "--exec", `echo "$(id -u) $ACC_WHY $(ls "$1"/*.acc | wc -l)" >>`+
			hooked+"; :")
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
	idle, _ := listen(t, unix.AF_INET, 1)
	defer unix.Close(idle)
	if err := unix.SetNonblock(idle, true); err != nil {
		t.Fatal(err)
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
	limit := time.Now()
	work(func() bool { return time.Since(limit) > 8*time.Second }) // the first dump is complete, its episode over
	for range 100 {
		if _, _, err := unix.Accept(idle); err != unix.EAGAIN {
			t.Fatal(err)
		}
	}
	work(func() bool { return len(dumps()) == 2 })
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
	said, err := os.ReadFile(hooked)
	lines := strings.Split(strings.TrimSpace(string(said)), "\n")
	if err != nil || len(lines) != 3 || !strings.HasPrefix(lines[0], "1000 queue-overflow: ") ||
		!strings.HasPrefix(lines[1], "1000 errno=EAGAIN rate>40/s: ") ||
		!strings.HasPrefix(lines[2], "1000 acc ctl dump ") {
		t.Errorf("the commands said %q: %v", lines, err)
	}
	if n := dumps(); len(n) != 3 || !strings.Contains(n[2], filepath.Base(answer.Folder)) {
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

// TestOverflower fills an accept queue of 1 for some seconds: a helper for a flight recorder's demonstration by hand.
func TestOverflower(t *testing.T) {
	if os.Getenv("ACC_OVERFLOW") == "" {
		t.Skip("ACC_OVERFLOW: fills a queue")
	}
	lfd, addr := listen(t, unix.AF_INET, 1)
	defer unix.Close(lfd)
	for range 20 {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		_ = unix.Connect(fd, addr)
	}
	time.Sleep(5 * time.Second)
}
