//go:build linux && (amd64 || arm64)

package capture

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The service manager is told when the probes work, that the recorder answers, and when it ends; SIGUSR1 gets a
// line. All of it with the rights that are left of a recorder.
func TestVMNotify(t *testing.T) {
	needVM(t)
	dir := t.TempDir()
	socket := filepath.Join(dir, "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	var seen []string
	buf := make([]byte, 4096)
	until := func(want string) {
		t.Helper()
		for {
			if err := manager.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			n, err := manager.Read(buf)
			if err != nil {
				t.Fatalf("no %q: %v; %q", want, err, seen)
			}
			seen = append(seen, string(buf[:n]))
			if strings.Contains(string(buf[:n]), want) {
				return
			}
		}
	}
	path := filepath.Join(dir, "n.acc")
	cmd := exec.Command("/in/acc", "record", "-o", path)
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+socket, "WATCHDOG_USEC=600000")
	r := startCommand(t, cmd)
	until("READY=1")
	if before := strings.Join(seen[:len(seen)-1], "\n"); !strings.Contains(before, "STATUS=loading probes") {
		t.Errorf("before it was ready: %q", before)
	}
	newPingPong(t).do(100)
	until("WATCHDOG=1\nSTATUS=")
	if err := r.Process.Signal(unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	for range 3 { // the recorder answers one after another
		until("WATCHDOG=1")
	}
	if err := r.Process.Signal(unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code := r.end(); code != 0 {
		t.Errorf("exit code %d:\n%s", code, &r.said)
	}
	until("STOPPING=1")
	if !strings.Contains(r.said.String(), "acc: recording for ") {
		t.Error("no status line")
	}
	t.Logf("%q\n%s", seen, &r.said)
}
