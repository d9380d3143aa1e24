//go:build linux && (amd64 || arm64)

package capture

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// syslogLine is what RFC 3164 daemons get at /dev/log for authpriv.notice (10*8 + 5).
var syslogLine = regexp.MustCompile(`^<85>.* acc\[\d+\]: checkpoint capture=\S+ frame=\d+ bytes=\d+ events=\d+ head=[0-9a-f]{64}\n?$`)

// logDaemon binds /dev/log.
func logDaemon(t *testing.T) int {
	t.Helper()
	if err := os.Remove("/dev/log"); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: "/dev/log"}), unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 60}))
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// Heads that go to syslog while recording, also to one that was started anew, prove the
// capture, and that another one is another.
func TestVMSyslog(t *testing.T) {
	needVM(t)
	fd := logDaemon(t)
	defer func() { unix.Close(fd); os.Remove("/dev/log") }()
	var log []byte
	line := func() string {
		b := make([]byte, 4096)
		n, _, err := unix.Recvfrom(fd, b, 0)
		if err != nil {
			return err.Error()
		}
		log = append(log, b[:n]...)
		if !bytes.HasSuffix(log, []byte("\n")) {
			log = append(log, '\n')
		}
		return string(b[:n])
	}
	dir := t.TempDir()
	path, other, kept := filepath.Join(dir, "a.acc"), filepath.Join(dir, "b.acc"), filepath.Join(dir, "log")
	p := newPingPong(t)
	r := startRecorder(t, "/in/acc", "record", "-o", path, "--checkpoint", "syslog", "--checkpoint-every", "0")
	p.do(5)
	for range 2 { // the first frames, and one with events
		if s := line(); !syslogLine.MatchString(s) {
			t.Errorf("syslog gets %q", s)
		}
	}
	unix.Close(fd) // as when the daemon is restarted
	fd = logDaemon(t)
	heard := make(chan string, 1)
	go func() { heard <- line() }()
	for s := ""; s == ""; p.do(1) {
		select {
		case s = <-heard:
			if !syslogLine.MatchString(s) {
				t.Errorf("syslog gets %q after a new start", s)
			}
		default:
		}
	}
	r.stop(t)
	for unix.SetNonblock(fd, true); ; {
		b := make([]byte, 4096)
		n, _, err := unix.Recvfrom(fd, b, 0)
		if err != nil {
			break
		}
		log = append(append(log, b[:n]...), '\n')
	}
	if err := os.WriteFile(kept, log, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("/in/acc", "verify", "--checkpoints", kept, path).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "the last; the whole file is as it was written then") {
		t.Errorf("verify: %v\n%s\n%s", err, out, log)
	}
	r = startRecorder(t, "/in/acc", "record", "-o", other)
	p.do(5)
	r.stop(t)
	out, err = exec.Command("/in/acc", "verify", "--checkpoints", kept, other).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 6 {
		t.Errorf("verify of another capture: %v\n%s", err, out)
	}
	figure(t, ModeAuto, "%d heads came to /dev/log, all of them are in the capture and none in another", bytes.Count(log, []byte("checkpoint capture=")))
}
