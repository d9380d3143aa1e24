//go:build linux && (amd64 || arm64)

package capture

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A real recording verifies as whole, has every head that was emitted while it
// was made, and no longer has them all once it is cut or made anew.
func TestVMCheckpoints(t *testing.T) {
	needVM(t)
	lfd, addr := listen(t, unix.AF_INET, 64)
	defer unix.Close(lfd)
	dir := t.TempDir()
	record := func(name string) (path, heads string) {
		path, heads = filepath.Join(dir, name+".acc"), filepath.Join(dir, name+".log")
		cmd := exec.Command("/in/acc", "record", "-o", path, "--checkpoint", "stderr", "--checkpoint-every", "0", "-c", "400")
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(stderr)
		var log []byte
		line := func() bool {
			ok := lines.Scan()
			log = append(append(log, lines.Bytes()...), '\n')
			return ok
		}
		for line() && !strings.Contains(lines.Text(), "recording to") {
		}
		done := make(chan error, 1)
		go func() {
			for line() {
			}
			done <- errors.Join(cmd.Wait(), os.WriteFile(heads, log, 0o600))
		}()
		for {
			select {
			case err := <-done:
				if err != nil {
					t.Fatalf("record: %v: %s", err, log)
				}
				return path, heads
			default:
			}
			c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := unix.Connect(c, addr); err != nil {
				t.Fatal(err)
			}
			fd, _, err := unix.Accept(lfd)
			if err != nil {
				t.Fatal(err)
			}
			unix.Close(fd)
			unix.Close(c)
		}
	}
	verify := func(want int, args ...string) string {
		t.Helper()
		out, err := exec.Command("/in/acc", append([]string{"verify"}, args...)...).CombinedOutput()
		code := 0
		if exit, ok := err.(*exec.ExitError); ok {
			code = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		if code != want {
			t.Errorf("verify %q: exit code %d, want %d\n%s", args, code, want, out)
		}
		return string(out)
	}
	path, heads := record("a")
	log, err := os.ReadFile(heads)
	if err != nil {
		t.Fatal(err)
	}
	n := bytes.Count(log, []byte("checkpoint capture="))
	if n < 3 {
		t.Fatalf("%d checkpoints:\n%s", n, log)
	}
	out := verify(0, "--checkpoints", heads, path)
	if !strings.Contains(out, "verdict       intact") && !strings.Contains(out, "intact:") || !strings.Contains(out, fmt.Sprintf("%d of %d found", n, n)) {
		t.Errorf("verify says\n%s", out)
	}
	sum, err := exec.Command("/bin/busybox", "sha256sum", path).Output()
	if err != nil || !strings.Contains(out, string(sum[:64])) {
		t.Errorf("sha256sum says %s, %v; verify\n%s", sum, err, out)
	}
	other, _ := record("b")
	verify(6, "--checkpoints", heads, other)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	cut, repaired := filepath.Join(dir, "cut.acc"), filepath.Join(dir, "repaired.acc")
	if err := os.WriteFile(cut, data[:len(data)*3/4], 0o600); err != nil {
		t.Fatal(err)
	}
	verify(3, "--checkpoints", heads, cut)
	if out, err := exec.Command("/in/acc", "repair", cut, "-o", repaired).CombinedOutput(); err != nil {
		t.Fatalf("repair: %v: %s", err, out)
	}
	verify(3, repaired)
	verify(6, "--checkpoints", heads, repaired)
	t.Logf("%d checkpoints, %d bytes", n, len(data))
}
