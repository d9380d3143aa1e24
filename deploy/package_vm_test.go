// Package deploy has no code but its tests, which run inside a Debian whose first process is systemd:
// make test-packages.
package deploy

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// needSystemd skips tests that need a machine with systemd, but not where it was booted for them.
func needSystemd(t *testing.T) {
	t.Helper()
	if os.Getenv("ACC_PACKAGES") == "" {
		t.Skip("needs a machine whose first process is systemd: make test-packages")
	}
}

// transcript runs commands as an administrator types them, and keeps what they print.
type transcript struct {
	t *testing.T
	w io.Writer
}

// run is a command that must succeed; it gives what it prints.
func (s transcript) run(command string) string {
	s.t.Helper()
	out, code := s.code(command)
	if code != 0 {
		s.t.Fatalf("%s: exit code %d\n%s", command, code, out)
	}
	return out
}

// code gives the exit code, too.
func (s transcript) code(command string) (string, int) {
	s.t.Helper()
	cmd := exec.Command("/bin/bash", "-c", command)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "SYSTEMD_COLORS=0", "SYSTEMD_PAGER=",
		"COLUMNS=100", "LC_ALL=C.UTF-8")
	out, _ := cmd.CombinedOutput()
	fmt.Fprintf(s.w, "# %s\n%s", command, out)
	if code := cmd.ProcessState.ExitCode(); code != 0 {
		fmt.Fprintf(s.w, "(exit code %d)\n", code)
		return string(out), code
	}
	return string(out), 0
}

// oneOf gives the only file that matches.
func oneOf(t *testing.T, pattern string) string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) != 1 {
		t.Fatalf("%s: %q, %v", pattern, names, err)
	}
	return names[0]
}

// until waits until something is so.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Minute); !is(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// files lists what is on the disk, but for what package managers and systemd keep of everything.
func files(t *testing.T) (list []string) {
	t.Helper()
	skip := []string{"/proc", "/sys", "/dev", "/run", "/tmp", "/in", "/out", "/root",
		"/var/lib/dpkg", "/var/lib/apt", "/var/cache", "/var/log", "/var/lib/systemd"}
	err := filepath.WalkDir("/", func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if slices.Contains(skip, path) {
			return filepath.SkipDir
		}
		list = append(list, path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// patient gives recorders the time that an emulated machine takes to start and to stop one.
func patient(s transcript) {
	s.t.Helper()
	s.run("mkdir -p /run/systemd/system/acc-record@.service.d; printf '[Service]\\nTimeoutStartSec=15min\\n" +
		"TimeoutStopSec=5min\\nTimeoutAbortSec=30s\\n' >/run/systemd/system/acc-record@.service.d/patient.conf")
}

// The deb from apt install to apt purge: the recorder records what curl asks of nginx, goes on when the
// package is upgraded, closes its capture when it is removed, and after the purge nothing is left.
func TestVMPackage(t *testing.T) {
	needSystemd(t)
	out, err := os.Create("/out/transcript.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	s := transcript{t, io.MultiWriter(out, os.Stdout)}
	older, newer := oneOf(t, "/in/older/acc_*_amd64.deb"), oneOf(t, "/in/newer/acc_*_amd64.deb")
	before := files(t)
	patient(s)

	s.run("apt-get install -y " + older)
	s.run("acc version")
	s.run("acc doctor | tail -4")
	s.run("man -w acc acc-record acc-analyze 5 acc 7 acc-findings 7 acc-exit-codes")
	s.run("man acc-exit-codes | head -20")
	s.run("id acc; ls -ld /var/lib/acc")
	s.run("systemd-analyze verify acc-record@main.service")
	s.run("systemctl enable --now acc-record@main")
	s.run("systemctl status acc-record@main")
	s.run("systemd-analyze security acc-record@main | tail -1")
	s.run("systemctl start nginx; for i in $(seq 40); do curl -s -o /dev/null http://localhost/; done")
	first := oneOf(t, "/var/lib/acc/main/*.acc")

	s.run("apt-get install -y " + newer)
	s.run("acc version | head -1; systemctl is-active acc-record@main")
	until(t, "a second capture", func() bool {
		names, _ := filepath.Glob("/var/lib/acc/main/*.acc")
		return len(names) == 2
	})
	s.run("for i in $(seq 10); do curl -s -o /dev/null http://localhost/; done")
	s.run("acc ctl status main; acc ctl mark --name main 'after the upgrade'; systemctl reload acc-record@main")
	s.run("ls -l /var/lib/acc/main")
	s.run("acc verify " + first)
	s.run("acc analyze --brief " + first)
	if said := s.run("acc analyze " + first + " | grep nginx"); !regexp.MustCompile(`nginx .* 40 `).MatchString(said) {
		t.Error("not curl's 40 requests of nginx")
	}

	s.run("apt-get remove -y acc")
	said, code := s.code("systemctl is-active acc-record@main; ls /var/lib/acc/main; command -v acc")
	if code == 0 || strings.Count(said, ".acc\n") != 3 {
		t.Errorf("removed:\n%s", said)
	}
	s.run("apt-get install -y " + newer)
	s.run("systemctl is-enabled acc-record@main && systemctl start acc-record@main")
	s.run("systemctl is-active acc-record@main")
	s.run("acc verify " + first + " | head -3")

	s.run("apt-get purge -y acc")
	s.code("systemctl is-active acc-record@main; ls /var/lib/acc; ls /usr/share/doc/acc")
	s.run("systemctl list-units --failed --no-legend 'acc*'")
	for _, name := range files(t) {
		if _, found := slices.BinarySearch(before, name); !found && !slices.Contains(before, name) {
			t.Errorf("left behind: %s", name)
		}
	}
}

// systemd ends an acc that hangs, and starts another one; what the first one wrote can be read.
func TestVMWatchdog(t *testing.T) {
	needSystemd(t)
	s := transcript{t, os.Stdout}
	s.run("apt-get install -y " + oneOf(t, "/in/newer/acc_*_amd64.deb"))
	defer s.run("apt-get purge -y acc")
	patient(s)
	const dropIn = "/run/systemd/system/acc-record@dog.service.d"
	s.run("mkdir -p " + dropIn + "; printf '[Service]\\nWatchdogSec=10s\\n' >" + dropIn + "/x.conf")
	s.run("systemctl daemon-reload")
	s.run("systemctl start acc-record@dog")
	pid := strings.TrimSpace(s.run("systemctl show -P MainPID acc-record@dog"))
	s.run("kill -STOP " + pid)
	until(t, "another process", func() bool {
		now, _ := s.code("systemctl show -P MainPID -P SubState acc-record@dog")
		return !strings.Contains(now, pid+"\n") && strings.Contains(now, "running")
	})
	captures, _ := filepath.Glob("/var/lib/acc/dog/*.acc")
	if len(captures) != 2 {
		t.Fatalf("captures: %q", captures)
	}
	if said, code := s.code("acc verify " + captures[0]); code != 3 {
		t.Errorf("exit code %d\n%s", code, said)
	}
	s.run("systemctl stop acc-record@dog")
	s.run("acc verify " + captures[1])
}
