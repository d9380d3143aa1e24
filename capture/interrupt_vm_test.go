//go:build linux && (amd64 || arm64)

package capture

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A recorder that is interrupted while it starts ends at once: without a file, or with one that is whole.
func TestVMInterrupted(t *testing.T) {
	needVM(t)
	if os.Getenv("ACC_TORTURE") == "" {
		t.Skip("starts recorders again and again: ACC_TORTURE")
	}
	for _, after := range []time.Duration{50 * time.Millisecond, 400 * time.Millisecond, 1500 * time.Millisecond} {
		path := filepath.Join(t.TempDir(), "x.acc")
		cmd := exec.Command("/in/acc", "record", "-o", path)
		var said bytes.Buffer
		cmd.Stderr = &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(after)
		began := time.Now()
		_ = cmd.Process.Signal(unix.SIGINT)
		err := cmd.Wait()
		t.Logf("interrupted after %v, ended %v later: %v: %s", after, time.Since(began), err, strings.TrimSpace(said.String()))
		if _, missing := os.Stat(path); errors.Is(missing, os.ErrNotExist) {
			if err == nil || !strings.Contains(said.String(), "interrupted before the recording began") && cmd.ProcessState.Exited() {
				t.Errorf("no file, and it does not say why")
			}
			continue
		}
		if i := info(t, path); err != nil || i.Verdict != "intact" {
			t.Errorf("%v: %+v\n%s", err, i, &said)
		}
	}
}
