//go:build linux && (amd64 || arm64)

package capture

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

// statuses gives lines of /proc/PID/task/*/status, by their names.
func statuses(pid string, names ...string) (list [][]string) {
	files, _ := filepath.Glob("/proc/" + pid + "/task/*/status")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // the thread has ended
		}
		values := make([]string, len(names))
		for line := range strings.Lines(string(b)) {
			name, value, _ := strings.Cut(line, ":")
			if i := slices.Index(names, name); i >= 0 {
				values[i] = strings.TrimSpace(value)
			}
		}
		list = append(list, values)
	}
	return list
}

// TestVMConfinedChild is the recorder of TestVMConfined: the test program again,
// in a process of its own, since what it gives up is gone. When the recording has
// ended, it tries what it must not be able to do.
func TestVMConfinedChild(t *testing.T) {
	path, mode, ok := strings.Cut(os.Getenv("ACC_CONFINED"), " ")
	if !ok {
		t.Skip("run by TestVMConfined")
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	sock, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(sock)
	ctx, stop := context.WithCancel(context.Background())
	go func() { // until standard input ends
		var b [1]byte
		_, _ = os.Stdin.Read(b[:])
		stop()
	}()
	result, err := Record(ctx, f, Options{
		Mode: Mode(mode), Confine: true, startWatch: time.Millisecond,
		Ready: func(s Started) { fmt.Fprintln(os.Stderr, "recording to "+path) },
	})
	if err != nil || result.Kept != nil {
		t.Fatalf("record: %v; kept: %v", err, result.Kept)
	}
	if err := f.Sync(); err != nil {
		t.Error(err)
	}
	want := uint64(capBPF | capPerfmon | capSysPtrace | capDACReadSearch)
	if n, _ := strconv.Atoi(readLine("/proc/sys/kernel/perf_event_paranoid")); n > 2 {
		want |= capSysAdmin
	}
	threads := statuses("self", "CapEff", "CapPrm", "CapInh", "CapAmb", "NoNewPrivs", "Seccomp")
	for _, s := range threads {
		eff, _ := strconv.ParseUint(s[0], 16, 64)
		prm, _ := strconv.ParseUint(s[1], 16, 64)
		if eff != want || prm != want || strings.Trim(s[2]+s[3], "0") != "" || s[4] != "1" || s[5] != "2" {
			t.Errorf("a thread has %q, want %x", s, want)
		}
	}
	try := func(what string, err error) {
		if !errors.Is(err, unix.EPERM) && !errors.Is(err, ebpf.ErrNotSupported) {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err = os.OpenFile(path, os.O_RDWR, 0)
	try("open a file to change it", err)
	_, err = os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	try("empty a file", err)
	try("start a program", exec.Command("/bin/busybox", "true").Run())
	_, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	try("open a network socket", err)
	_, err = ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SocketFilter, License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}})
	try("load a program", err)
	try("rename", os.Rename(path, path+"x"))
	try("change an owner", os.Chown(path, 1, 1))
	try("change a mode", os.Chmod(path, 0o666))
	try("trace a process", unix.PtraceAttach(os.Getppid()))
	try("mount", unix.Mount("x", "/mnt", "tmpfs", 0, ""))
	try("become another user", unix.Setresuid(1, 1, 1))
	try("set the clock", unix.Settimeofday(&unix.Timeval{Sec: 1}))
	enter := func(kind string, flag int) error { // of the namespace that it is in: the filter alone can refuse
		fd, err := unix.Open("/proc/self/ns/"+kind, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		return unix.Setns(fd, flag)
	}
	if want&capSysAdmin != 0 { // without, the kernel refuses all of them
		if err := enter("net", unix.CLONE_NEWNET); err != nil {
			t.Errorf("enter a network namespace: %v", err)
		}
		try("enter a namespace of host names", enter("uts", unix.CLONE_NEWUTS))
		try("enter a namespace of whatever kind", enter("net", 0))
	}
	_, _, errno := unix.RawSyscall(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0)
	try("fork", errno)
	_, _, errno = unix.RawSyscall(unix.SYS_IO_URING_SETUP, 1, 0, 0)
	try("set up a ring", errno)
	if _, err := os.ReadFile(path); err != nil {
		t.Errorf("read a file: %v", err)
	}
	fmt.Fprintf(os.Stderr, "confined: %d threads\n", len(threads))
}

// A recorder that gave up what it does not need records the same, with probes that
// come later too; who sits in accept at the end is known; and what it gave up is gone.
func TestVMConfined(t *testing.T) {
	needVM(t)
	for _, mode := range modes(t) {
		t.Run(string(mode), func(t *testing.T) {
			lfd, addr := listen(t, unix.AF_INET, 8)
			defer unix.Close(lfd)
			asleep := blockIn(t, lfd)
			path := filepath.Join(t.TempDir(), "confined.acc")
			t.Setenv("ACC_CONFINED", path+" "+string(mode))
			in, input, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			r := startRecorderFrom(t, in, "/in/capture.test", "-test.v", "-test.run", "^TestVMConfinedChild$")
			in.Close()
			for deadline := time.Now().Add(30 * time.Second); ; runtime.Gosched() {
				all := statuses(strconv.Itoa(r.Process.Pid), "Seccomp")
				if len(all) > 0 && !slices.ContainsFunc(all, func(s []string) bool { return s[0] != "2" }) {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("not all threads are confined: %q", all)
				}
			}
			ring := runCase(t, "/in/accepts", "uring-ready")
			for range 5 {
				unix.Close(dial(t, unix.AF_INET, addr))
			}
			<-asleep.done
			unix.Close(asleep.fd)
			for range 4 {
				fd, _, err := unix.Accept4(lfd, 0)
				if err != nil {
					t.Fatal(err)
				}
				unix.Close(fd)
			}
			stays := blockIn(t, lfd)
			input.Close()
			if code := r.end(); code != 0 {
				t.Errorf("exit code %d\n%s", code, &r.said)
			}
			unix.Shutdown(lfd, unix.SHUT_RD)
			<-stays.done
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			var got recording
			got.read(t, f)
			mine, byRing := 0, 0
			for _, e := range got.events {
				if e.Accepted() && e.PID == uint32(os.Getpid()) && e.LPort == addrPort(addr).Port() {
					mine++
				}
				if e.Accepted() && e.PID == ring.PID {
					byRing++
				}
			}
			wantRing := 0
			for _, w := range ring.Want {
				if w.Errno == 0 && !w.Armed {
					wantRing++
				}
			}
			if mine != 5 || byRing != wantRing || ring.Skip == "" && wantRing == 0 {
				t.Errorf("recorded %d of 5 accepts, %d of %d by io_uring", mine, byRing, wantRing)
				for i := range got.events {
					t.Logf("%s", format.AppendJSON(nil, &got.events[i], got.header.Clock))
				}
				t.Logf("%q", got.header.Limits)
			}
			end := got.end
			if !end.BlockedKnown || !slices.ContainsFunc(end.Blocked, func(b format.Blocked) bool { return b.TID == stays.tid }) {
				t.Errorf("who sits in accept at the end: %+v", end)
			}
			figure(t, mode, "%d accepts and %d by io_uring recorded with %s", mine, byRing, "all threads confined")
		})
	}
}

// The command of a recording has the rights of who called acc, and is ended even
// when it became another user.
func TestVMConfinedCommand(t *testing.T) {
	needVM(t)
	path := filepath.Join(t.TempDir(), "command.acc")
	out, err := exec.Command("/in/acc", "record", "-o", path, "--", "/bin/busybox", "cat", "/proc/self/status").Output()
	if err != nil {
		t.Fatal(err)
	}
	direct, err := exec.Command("/bin/busybox", "cat", "/proc/self/status").Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := func(b []byte) (s []string) {
		for line := range strings.Lines(string(b)) {
			if name, _, _ := strings.Cut(line, ":"); slices.Contains([]string{"Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "SigIgn"}, name) {
				s = append(s, line)
			}
		}
		return s
	}
	if got, want := lines(out), lines(direct); !slices.Equal(got, want) || len(want) < 10 {
		t.Errorf("the command has %q, want %q", got, want)
	}
	t.Setenv("ACC_SLEEP", "1")
	said, err := exec.Command("/in/acc", "record", "--force", "-d", "1", "-o", path, "--", "/in/capture.test", "-test.run", "^TestVMSleeper$").CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 128+int(unix.SIGTERM) {
		t.Errorf("%v\n%s", err, said)
	}
}

// TestVMSleeper is the command of TestVMConfinedCommand.
func TestVMSleeper(t *testing.T) {
	if os.Getenv("ACC_SLEEP") == "" {
		t.Skip("run by TestVMConfinedCommand")
	}
	if err := syscall.Setuid(65534); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Hour)
}

// startWith runs a command as a user with some capabilities, and no way to more.
func startWith(uid uint32, caps uint64, command ...string) (said string, code int) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and end the thread, whose bounding set is not to come back
		for c := range uintptr(64) {
			if caps&(1<<c) == 0 {
				_ = unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, command[0], command[1:]...)
		cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGABRT) } // it tells where it hangs
		cmd.SysProcAttr = &syscall.SysProcAttr{}
		if uid != 0 {
			cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: uid}
			for c := range uintptr(64) {
				if caps&(1<<c) != 0 {
					cmd.SysProcAttr.AmbientCaps = append(cmd.SysProcAttr.AmbientCaps, c)
				}
			}
		}
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if said = string(out); err != nil && !errors.As(err, &exit) {
			said, code = err.Error(), -1
			return
		}
		code = cmd.ProcessState.ExitCode()
	}()
	<-done
	return said, code
}

// capabilitySets are what the recorder is tried with.
var capabilitySets = []struct {
	name  string
	caps  uint64
	short bool // it is tried even where tests must be quick
}{
	{"none", 0, true},
	{"BPF", capBPF, false},
	{"BPF PERFMON", capBPF | capPerfmon, true},
	{"BPF PERFMON SYS_PTRACE", capBPF | capPerfmon | capSysPtrace, false},
	{"BPF PERFMON SYS_RESOURCE", capBPF | capPerfmon | 1<<unix.CAP_SYS_RESOURCE, false},
	{"BPF PERFMON DAC_OVERRIDE SYS_PTRACE", capBPF | capPerfmon | capSysPtrace | capDACOverride, true},
	{"BPF PERFMON DAC_OVERRIDE SYS_PTRACE SYS_RESOURCE", capBPF | capPerfmon | capSysPtrace | capDACOverride | 1<<unix.CAP_SYS_RESOURCE, false},
	{"SYS_ADMIN", capSysAdmin, false},
	{"SYS_ADMIN SYS_PTRACE SYS_RESOURCE", capSysAdmin | capSysPtrace | 1<<unix.CAP_SYS_RESOURCE, false},
	{"SYS_ADMIN DAC_OVERRIDE SYS_PTRACE", capSysAdmin | capSysPtrace | capDACOverride, true},
}

// What rights recording needs: with each set it records a connection, or says in one
// line what is in the way and in another what to do, and exits with 7.
func TestVMPrivileges(t *testing.T) {
	needVM(t)
	const setting = "/proc/sys/kernel/perf_event_paranoid"
	was := readLine(setting)
	defer os.WriteFile(setting, []byte(was), 0o644)
	for _, level := range []string{"3", "2"} { // 3 is Debian's, 2 other kernels'
		if err := os.WriteFile(setting, []byte(level), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, uid := range []uint32{0, 65534} {
			for _, mode := range modes(t) {
				for _, set := range capabilitySets {
					same := level == "2" && (mode != ModeKprobe || set.caps&(capPerfmon|capSysAdmin) == 0) // as with 3
					if (!set.short || same) && !torture() {
						continue
					}
					t.Run(fmt.Sprintf("%s/%d/%s/%s", level, uid, mode, set.name), func(t *testing.T) {
						dir, err := os.MkdirTemp("/tmp", "priv")
						if err != nil {
							t.Fatal(err)
						}
						defer os.RemoveAll(dir)
						os.Chmod(dir, 0o777)
						path := filepath.Join(dir, "x.acc")
						said, code := startWith(uid, set.caps, "/in/acc", "record", "-o", path, "--probe", string(mode), "--", "/in/accepts", "accept")
						verdict := "no"
						switch {
						case code == 7:
							lines := strings.Split(strings.TrimSpace(said), "\n")
							if len(lines) != 2 || !strings.HasPrefix(lines[0], "acc: ") || !strings.HasPrefix(lines[1], "hint: ") {
								t.Errorf("it says\n%s", said)
							}
							if _, err := os.Stat(path); err == nil {
								t.Error("a capture is left")
							}
							switch {
							case strings.Contains(lines[0], "locked, and the limit"):
								if !strings.Contains(lines[1], "CAP_SYS_RESOURCE") {
									t.Errorf("it says\n%s", said)
								}
							case level == "3" && mode == ModeKprobe && set.caps&(capBPF|capPerfmon) == capBPF|capPerfmon && set.caps&capSysAdmin == 0:
								if !strings.Contains(lines[1], "perf_event_paranoid") {
									t.Errorf("it says\n%s", said)
								}
							}
							verdict = lines[0]
						case code == 0:
							i := info(t, path)
							verdict = "records"
							if i.Verdict != "intact" || i.Accepted == 0 {
								t.Errorf("%+v\n%s", i, said)
							}
							if !i.End.BlockedKnown {
								verdict += ", not who sits in accept"
							}
							if strings.Contains(said, "given up") {
								t.Errorf("it says\n%s", said)
							}
						default:
							t.Errorf("exit code %d\n%s", code, said)
						}
						if set.caps == 0 && code != 7 || set.name == capabilitySets[len(capabilitySets)-1].name && code != 0 {
							t.Errorf("exit code %d\n%s", code, said)
						}
						privilege(t, level, uid, mode, set.name, verdict)
					})
				}
			}
		}
	}
}

// What a locked down kernel lets be traced: everything, or nothing, which is said in
// one line. There is no way back, so that it has a machine of its own.
func TestVMLockdown(t *testing.T) {
	needVM(t)
	if os.Getenv("ACC_LOCKDOWN") == "" {
		t.Skip("make test-vm-lockdown")
	}
	record := func() (string, int) {
		return startWith(0, 1<<63-1, "/in/acc", "record", "--force", "-o", "/tmp/locked.acc", "--", "/in/accepts", "accept")
	}
	for _, level := range []string{"integrity", "confidentiality"} {
		if err := os.WriteFile("/sys/kernel/security/lockdown", []byte(level), 0o644); err != nil {
			t.Fatal(err)
		}
		said, code := record()
		figure(t, ModeAuto, "%s: exit code %d", level, code)
		switch {
		case level == "integrity" && code != 0:
			t.Errorf("%s: exit code %d\n%s", level, code, said)
		case level == "confidentiality" && (code != 7 || strings.Count(said, "\n") != 2 || !strings.Contains(said, "locked down") || !strings.Contains(said, "hint: ")):
			t.Errorf("%s: exit code %d\n%s", level, code, said)
		}
	}
}

// privilege leaves a row for the table in the docs.
func privilege(t *testing.T, level string, uid uint32, mode Mode, caps, verdict string) {
	t.Log(verdict)
	f, err := os.OpenFile("/out/privileges.tsv", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return
	}
	defer f.Close()
	fmt.Fprintf(f, "%s\t%s\t%d\t%s\t%s\t%s\n", os.Getenv("ACC_VM"), level, uid, mode, caps, verdict)
}
