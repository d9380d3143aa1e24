//go:build linux && (amd64 || arm64)

package capture

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Acc doctor says that a host can be recorded where it can, and what is in the way where it can't; the
// kernel itself is asked both times.
func TestVMDoctor(t *testing.T) {
	needVM(t)
	doctor := func(args ...string) (d Diagnosis, code int) {
		t.Helper()
		out, err := exec.Command("/in/acc", append([]string{"doctor", "--json"}, args...)...).Output()
		if exit := new(exec.ExitError); errors.As(err, &exit) {
			code = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out, &d); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return d, code
	}
	is := func(d Diagnosis, name string) HostCheck {
		for _, c := range d.Checks {
			if c.Name == name {
				return c
			}
		}
		t.Errorf("no check %q: %+v", name, d.Checks)
		return HostCheck{}
	}
	dir := t.TempDir()
	for _, mode := range modes(t) {
		d, code := doctor("--probe", string(mode), "-o", filepath.Join(dir, "x.acc"))
		if code != 0 || !d.Records || d.Mode != mode || is(d, "recording").Standing == StandingBroken {
			t.Errorf("%s: exit %d, %+v", mode, code, d)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("it left %v, %v", left, err)
	}
	r := startRecorder(t, "/in/acc", "record", "-o", filepath.Join(dir, "x.acc"))
	d, code := doctor("-o", "/proc/x.acc")
	if !strings.Contains(is(d, "other recorders").Found, "acc record runs as process ") ||
		is(d, "output").Standing != StandingBroken || code != 0 {
		t.Errorf("exit %d, %+v", code, d)
	}
	r.stop(t)
	if os.Getenv("ACC_TORTURE") != "" { // for who reads the log
		out, err := exec.Command("/in/acc", "doctor").CombinedOutput()
		t.Logf("%v\n%s", err, out)
	}
	sysctl(t, "kernel.ftrace_enabled", "0")
	d, code = doctor()
	said, err := exec.Command("/in/acc", "record", "-o", filepath.Join(dir, "off.acc"), "-d", "1").CombinedOutput()
	sysctl(t, "kernel.ftrace_enabled", "1")
	if exit := new(exec.ExitError); !errors.As(err, &exit) || exit.ExitCode() != 7 ||
		!strings.Contains(string(said), "kernel.ftrace_enabled is 0") {
		t.Errorf("record while ftrace is off: %v\n%s", err, said)
	}
	if code != 7 || d.Records || is(d, "ftrace").Standing != StandingBroken ||
		is(d, "recording").Standing != StandingBroken {
		t.Errorf("ftrace off: exit %d, %+v", code, d)
	}
	// Nothing was tried, so that nothing is broken: an attempt to attach while ftrace is off leaves 6.1 unable to.
	startRecorder(t, "/in/acc", "record", "-o", filepath.Join(dir, "on.acc")).stop(t)
}
