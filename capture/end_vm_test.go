//go:build linux && (amd64 || arm64)

package capture

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Every signal that asks for an end gives one in order, with all that came before.
func TestVMEndedBySignal(t *testing.T) {
	needVM(t)
	for _, sig := range []unix.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGQUIT, unix.SIGHUP} {
		p := newPingPong(t)
		path := filepath.Join(t.TempDir(), "ended.acc")
		r := startRecorder(t, "/in/acc", "record", "-o", path)
		p.do(20)
		r.Process.Signal(sig)
		code := r.end()
		i := info(t, path)
		exact(t, &i, p.made)
		if code != 0 || i.Verdict != "intact" || i.End.Reason != "signal" {
			t.Errorf("%s: exit code %d, %+v\n%s", unix.SignalName(sig), code, i.End, &r.said)
		}
	}
	// Under nohup a hangup is ignored.
	p := newPingPong(t)
	path := filepath.Join(t.TempDir(), "nohup.acc")
	r := startRecorder(t, "/bin/busybox", "sh", "-c", "trap '' HUP; exec /in/acc record -o "+path)
	p.do(10)
	r.Process.Signal(unix.SIGHUP)
	p.do(10)
	r.stop(t)
	i := info(t, path)
	exact(t, &i, p.made)
	figure(t, ModeAuto, "INT, TERM, QUIT and HUP end in order; under nohup HUP does not")
}
