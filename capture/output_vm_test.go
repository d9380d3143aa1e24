//go:build linux && (amd64 || arm64)

package capture

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A recorder whose file is taken away ends with an error, also while nothing is recorded, and does
// not say that all is well. One whose file was only renamed goes on.
func TestVMOutputLost(t *testing.T) {
	needVM(t)
	cases := []struct {
		do   func(path string) error
		want string
		code int
	}{
		{os.Remove, "was deleted", 1},
		{func(path string) error { return os.Rename(path, path+".1") }, "was renamed or moved", 0},
	}
	for _, c := range cases {
		t.Run(c.want, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "o.acc")
			r := startRecorder(t, "/in/acc", "record", "-o", path)
			out, err := exec.Command("/in/acc", "record", "--force", "-o", path, "-d", "1").CombinedOutput()
			if err == nil || !strings.Contains(string(out), "another acc is writing it") {
				t.Errorf("a second recorder: %v, %s", err, out)
			}
			began := time.Now()
			if err := c.do(path); err != nil {
				t.Fatal(err)
			}
			if c.code == 0 {
				newPingPong(t).do(10)
				r.Process.Signal(unix.SIGINT)
			}
			code := r.end()
			said := r.said.String()
			t.Logf("exit code %d after %v:\n%s", code, time.Since(began), said)
			if code != c.code || !strings.Contains(said, c.want) || strings.Contains(said, "next:") || c.code != 0 && strings.Contains(said, "nothing was lost") {
				t.Error("want", c.code, c.want)
			}
			if c.code == 0 {
				if out, err := exec.Command("/in/acc", "verify", path+".1").CombinedOutput(); err != nil {
					t.Errorf("%v: %s", err, out)
				}
			}
		})
	}
}
