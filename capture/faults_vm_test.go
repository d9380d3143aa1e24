//go:build linux && (amd64 || arm64)

package capture

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A recorder that was stopped for a while, with a tiny ring: recorded + lost is what
// the server and the kernel counted.
func TestVMStopped(t *testing.T) {
	needVM(t)
	rounds := 1
	if torture() {
		rounds = 12
	}
	for _, mode := range exactModes(t) {
		t.Run(string(mode), func(t *testing.T) {
			for range rounds {
				p := newPingPong(t)
				path := filepath.Join(t.TempDir(), "stopped.acc")
				r := startRecorder(t, "/in/acc", "record", "-o", path, "--probe", string(mode), "--ring-size", "16KiB")
				p.do(50)
				r.Process.Signal(unix.SIGSTOP)
				p.do(500)
				r.Process.Signal(unix.SIGCONT)
				p.do(50)
				r.stop(t)
				i := info(t, path)
				_, recorded, lost := i.returns(t)
				exact(t, &i, p.made)
				if lost == 0 {
					t.Error("nothing was lost: this tests nothing")
				}
				figure(t, mode, "%d connections = %d recorded + %d lost, the kernel counted %d", p.made, recorded, lost, i.Witness.Spaces[0].Opened)
			}
		})
	}
}

// Two recorders at once see the same.
func TestVMTwoRecorders(t *testing.T) {
	needVM(t)
	both := exactModes(t)
	p := newPingPong(t)
	var paths []string
	var recorders []*recorder
	for n, mode := range append(both, both...) {
		paths = append(paths, filepath.Join(t.TempDir(), fmt.Sprintf("%d.acc", n)))
		recorders = append(recorders, startRecorder(t, "/in/acc", "record", "-o", paths[n], "--probe", string(mode)))
	}
	p.do(500)
	for n, r := range recorders {
		r.stop(t)
		i := info(t, paths[n])
		// Each also sees the self-tests of those that start later.
		text, err := exec.Command("/in/acc", "analyze", paths[n]).Output()
		later := len(recorders) - 1 - n
		// of the machine
		none := strings.Contains(string(text), "findings: 1 notice") &&
			strings.Contains(string(text), "notice clock-unsynchronised")
		said := strings.Contains(string(text), "left out of findings: ")
		if err != nil || !none || said != (later > 0) {
			t.Errorf("%d recorders began later: %v\n%s", later, err, text)
		}
		if s := i.Witness.Spaces; i.Lost != 0 || i.Witness.Verdict != "agrees" || s[0].Accepted != p.made || s[0].Unexplained != 0 {
			t.Errorf("%d connections: %+v", p.made, i)
		}
	}
	figure(t, ModeAuto, "%d recorders, %d connections each", len(recorders), p.made)
}

// A CPU that goes and comes back while recording loses nothing.
func TestVMCPUOffline(t *testing.T) {
	needVM(t)
	const online = "/sys/devices/system/cpu/cpu1/online"
	set := func(v string) {
		if err := os.WriteFile(online, []byte(v), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, mode := range exactModes(t) {
		t.Run(string(mode), func(t *testing.T) {
			p := newPingPong(t)
			path := filepath.Join(t.TempDir(), "cpu.acc")
			defer set("1")
			r := startRecorder(t, "/in/acc", "record", "-o", path, "--probe", string(mode))
			for _, v := range []string{"0", "1", "0"} {
				p.do(100)
				set(v)
				p.do(100)
			}
			r.stop(t)
			i := info(t, path)
			exact(t, &i, p.made)
			figure(t, mode, "%d connections recorded, CPU 1 went twice", i.Accepted)
		})
	}
}

// A clock that is set while recording does not move what happened, and is in the
// capture at once.
func TestVMClockStep(t *testing.T) {
	needVM(t)
	const step = 3600
	p := newPingPong(t)
	shift := func(sec int64) {
		var now unix.Timeval
		err := unix.Gettimeofday(&now)
		now.Sec += sec
		if err := errors.Join(err, unix.Settimeofday(&now)); err != nil {
			t.Fatal(err)
		}
	}
	r := recordWhile(t, Options{Events: EventsAccept}, func() {
		p.do(10)
		shift(step)
		p.do(10)
	})
	shift(-step)
	last := int64(0)
	for _, e := range r.events {
		if e.BootNS < last-int64(time.Second) {
			t.Errorf("event %d is %d ns before the one before it", e.Seq, last-e.BootNS)
		}
		last = e.BootNS
	}
	moved := (r.end.Clock.RealNS - r.end.Clock.BootNS) - (r.header.Clock.RealNS - r.header.Clock.BootNS)
	if d := moved - step*1e9; d < -1e9 || d > 1e9 || len(r.events) != 40 {
		t.Errorf("the clocks at the end are %d ns from those at the start; %d events", moved, len(r.events))
	}
	seen := 0
	for _, c := range r.clocks {
		if d := (c.RealNS - c.BootNS) - (r.header.Clock.RealNS - r.header.Clock.BootNS) - step*1e9; d > -1e9 && d < 1e9 {
			seen++
		}
	}
	if seen == 0 {
		t.Errorf("no clock pair tells of the step before the end: %+v", r.clocks)
	}
	figure(t, ModeAuto, "the clock went by %d s, %d events in order, %d clock pairs before the end tell of it", moved/1e9, len(r.events), seen)
}

// With 64 MiB in all, everything is recorded, or it is refused in order: then 128 do.
func TestVMMemoryLimit(t *testing.T) {
	needVM(t)
	const dir = "/sys/fs/cgroup/limited"
	if err := os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte("+memory"), 0o644); err != nil {
		t.Skipf("no memory controller: %v", err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(dir)
	limit := func(t *testing.T, size string) {
		for _, set := range [][2]string{{"memory.max", size}, {"memory.swap.max", "0"}} {
			if err := os.WriteFile(dir+"/"+set[0], []byte(set[1]), 0o644); err != nil && set[0] == "memory.max" {
				t.Fatal(err)
			}
		}
	}
	for _, mode := range exactModes(t) {
		t.Run(string(mode), func(t *testing.T) {
			p := newPingPong(t)
			path := filepath.Join(t.TempDir(), "limited.acc")
			record := "echo $$ >" + dir + "/cgroup.procs; exec /in/acc record --force -o " + path + " --probe " + string(mode)
			size := "64M"
			limit(t, size)
			said, err := exec.Command("/bin/busybox", "sh", "-c", record+" -d 0.1").CombinedOutput()
			if exit := new(exec.ExitError); errors.As(err, &exit) {
				if exit.ExitCode() != 7 || !strings.HasPrefix(string(said), "acc: there is no memory for the probes: ") || bytes.Count(said, []byte("\n")) != 2 {
					t.Errorf("with %s: %v\n%s", size, err, said)
				}
				size = "128M"
				limit(t, size)
			}
			r := startRecorder(t, "/bin/busybox", "sh", "-c", record)
			p.do(3000)
			used := readLine(dir + "/memory.current")
			r.stop(t)
			i := info(t, path)
			exact(t, &i, p.made)
			if events := readLine(dir + "/memory.events"); !strings.Contains(events, "oom_kill 0") {
				t.Errorf("%s", events)
			}
			figure(t, mode, "%d connections recorded with %s, memory in use %s bytes, at most %s", i.Accepted, size, used, readLine(dir+"/memory.peak"))
		})
	}
}
