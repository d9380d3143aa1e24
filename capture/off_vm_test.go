//go:build linux && (amd64 || arm64)

package capture

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

// Tracing that somebody switches off while recording leaves probes that do not fire:
// the capture ends as unclean, says which switch it was, and the kernel's counters
// show what is missing.
func TestVMSwitchedOff(t *testing.T) {
	needVM(t)
	if err := unix.Mount("debugfs", "/sys/kernel/debug", "debugfs", 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
		t.Fatal(err)
	}
	for _, c := range []struct {
		mode         Mode
		switches, as string
	}{
		{ModeFentry, "/proc/sys/kernel/ftrace_enabled", "kernel.ftrace_enabled"},
		{ModeKprobe, "/sys/kernel/debug/kprobes/enabled", "/sys/kernel/debug/kprobes/enabled"},
	} {
		if c.mode == ModeFentry && len(modes(t)) == 1 {
			continue
		}
		t.Run(string(c.mode), func(t *testing.T) {
			set := func(v string) {
				err := os.WriteFile(c.switches, []byte(v), 0o644)
				if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EBUSY) {
					t.Skipf("this kernel does not let it be switched off: %v", err)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			set("0") // before anything is attached, to see whether it can be
			set("1")
			p := newPingPong(t)
			path := filepath.Join(t.TempDir(), "off.acc")
			r := startRecorder(t, "/in/acc", "record", "-o", path, "--probe", string(c.mode))
			defer r.end()
			defer r.Process.Kill() // if it can't be switched off now
			defer os.WriteFile(c.switches, []byte("1"), 0o644)
			p.do(20)
			before := clockPairs(path)
			set("0")
			for deadline := time.Now().Add(60 * time.Second); clockPairs(path) == before; p.do(1) {
				if time.Now().After(deadline) {
					t.Fatal("the recorder does nothing every ten seconds")
				}
			}
			set("1") // a kernel that removes probes while it is off may never trace again
			off := p.made - 20
			p.do(10)
			r.Process.Signal(unix.SIGINT)
			code := r.end()
			i := info(t, path)
			if code != 3 || i.Verdict != "unclean" || i.End.Clean || !strings.Contains(i.End.Detail, "probes were switched off: "+c.as+" was 0") ||
				!strings.Contains(r.said.String(),
					"the recording was NOT closed cleanly: probes were switched off: "+c.as) {
				t.Errorf("exit code %d, %+v\n%s", code, i, &r.said)
			}
			s := i.Witness.Spaces[0]
			if i.Accepted != p.made-off || s.Opened != p.made || s.Unexplained != off || i.Witness.Verdict != "differs" {
				t.Errorf("%d connections, %d of them while off: %+v", p.made, off, i)
			}
			if left := probesLeft(); left != "" {
				t.Errorf("functions are still traced:\n%s", left)
			}
			figure(t, c.mode, "%s = 0 during %d of %d connections: exit code %d, %s", c.as, off, p.made, code, i.Witness.Text)
		})
	}
}

// clockPairs counts those of a capture that grows.
func clockPairs(path string) (n int) {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	r, err := format.NewReader(f, format.ReaderOptions{})
	for err == nil {
		var b *format.Batch
		if b, err = r.Next(); err == nil {
			n += len(b.Clocks)
		}
	}
	return n
}
