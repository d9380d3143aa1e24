package capture

// This file finds out whether this host can be recorded, before anything is attached.

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Capabilities by number (linux/capability.h), as bits of CapEff.
const (
	capSysAdmin = 1 << 21
	capPerfmon  = 1 << 38
	capBPF      = 1 << 39
)

// preflight says what in a file system like the host's root is in the way of
// recording; nil if nothing that can be told by looking.
func preflight(root fs.FS) *EnvError {
	for _, c := range look(root) {
		if c.Standing == StandingBroken {
			return &EnvError{Cause: c.Effect, Hint: c.Remedy}
		}
	}
	return nil
}

// symbols looks for the functions that the probes need.
func symbols(kallsyms []byte) *EnvError {
	for _, s := range []string{"__sys_accept4", "do_accept"} {
		if !bytes.Contains(kallsyms, []byte(" "+s+"\n")) && len(kallsyms) > 0 {
			return &EnvError{
				Cause: fmt.Sprintf(
					"this kernel has no function %s to probe: it is older than 5.10.162, or not the usual", s),
				Hint: "record on a kernel from 5.10.162 on",
			}
		}
	}
	return nil
}

func hasAny(root fs.FS, paths ...string) bool {
	for _, p := range paths {
		if _, err := fs.Stat(root, p); err == nil {
			return true
		}
	}
	return false
}

// effective reads the effective capabilities from a /proc/self/status.
func effective(status []byte) (caps uint64, ok bool) {
	_, rest, ok := strings.Cut(string(status), "\nCapEff:")
	if !ok {
		return 0, false
	}
	line, _, _ := strings.Cut(rest, "\n")
	caps, err := strconv.ParseUint(strings.TrimSpace(line), 16, 64)
	return caps, err == nil
}

// refusedHint says what to do about a kernel that refuses, by what a file system like
// the host's root tells of it.
func refusedHint(root fs.FS) string {
	status, _ := fs.ReadFile(root, "proc/self/status")
	b, _ := fs.ReadFile(root, "proc/sys/kernel/perf_event_paranoid")
	level, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if caps, ok := effective(status); ok && err == nil && caps&capSysAdmin == 0 && level > 2 {
		return fmt.Sprintf(
			"without CAP_SYS_ADMIN, kprobes need kernel.perf_event_paranoid of 2 or less, and it is %d: "+
				"set it (sysctl kernel.perf_event_paranoid=2), ask for --probe fentry, or run acc as root", level)
	}
	return "run as root outside of a container, and see that neither lockdown nor a seccomp filter forbids bpf and " +
		"perf_event_open"
}

// explain turns what the kernel said to loading or attaching into what it means.
func explain(err error) error {
	var env *EnvError
	switch {
	case errors.As(err, &env):
		return err
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return &EnvError{
			Cause: "the kernel refuses to be traced: " + oneLine(err),
			Hint:  refusedHint(os.DirFS("/")),
		}
	case errors.Is(err, unix.ENOMEM):
		return &EnvError{
			Cause: "there is no memory for the probes: " + oneLine(err),
			Hint:  "let acc have 128 MiB, what its cgroup may use included, or make --ring-size smaller",
		}
	case errors.Is(err, ebpf.ErrNotSupported), errors.Is(err, unix.ENOSYS):
		return &EnvError{
			Cause: "this kernel lacks what recording needs: " + oneLine(err),
			Hint:  "record on a distribution kernel from 5.10 on",
		}
	}
	return err
}
