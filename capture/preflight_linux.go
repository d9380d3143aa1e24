package capture

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
	status, _ := fs.ReadFile(root, "proc/self/status")
	if caps, ok := effective(status); ok && caps&capSysAdmin == 0 && caps&(capBPF|capPerfmon) != capBPF|capPerfmon {
		return &EnvError{
			Cause: "no permission to trace the kernel: neither CAP_SYS_ADMIN nor CAP_BPF with CAP_PERFMON",
			Hint:  "run it as root: sudo acc record …",
		}
	}
	if b, err := fs.ReadFile(root, "sys/kernel/security/lockdown"); err == nil && bytes.Contains(b, []byte("[confidentiality]")) {
		return &EnvError{
			Cause: "the kernel is locked down (confidentiality): it lets nobody trace it",
			Hint:  "boot without lockdown=confidentiality; lockdown=integrity is no obstacle",
		}
	}
	if b, err := fs.ReadFile(root, "proc/kallsyms"); err == nil {
		if e := symbols(b); e != nil {
			return e
		}
	}
	if _, err := fs.Stat(root, "sys/bus/event_source/devices/kprobe"); errors.Is(err, fs.ErrNotExist) && !hasAny(root, "sys/kernel/tracing/kprobe_events", "sys/kernel/debug/tracing/kprobe_events") {
		return &EnvError{
			Cause: "this kernel has no kprobes (CONFIG_KPROBE_EVENTS is off)",
			Hint:  "record on a host with a distribution kernel; replay and analyze work here",
		}
	}
	if line(root, "proc/sys/kernel/ftrace_enabled") == "0" {
		// To attach trampolines now fails, and on some kernels they can't be attached after that until the next boot.
		return &EnvError{
			Cause: "function tracing is switched off: kernel.ftrace_enabled is 0",
			Hint:  "switch it on: sysctl kernel.ftrace_enabled=1",
		}
	}
	if _, err := fs.Stat(root, "sys/kernel/btf/vmlinux"); errors.Is(err, fs.ErrNotExist) {
		return &EnvError{
			Cause: "this kernel does not describe its types: /sys/kernel/btf/vmlinux is missing",
			Hint:  "use a kernel built with CONFIG_DEBUG_INFO_BTF, as distributions' kernels from 5.10 are",
		}
	}
	return nil
}

// symbols looks for the functions that the probes need.
func symbols(kallsyms []byte) *EnvError {
	for _, s := range []string{"__sys_accept4", "do_accept"} {
		if !bytes.Contains(kallsyms, []byte(" "+s+"\n")) && len(kallsyms) > 0 {
			return &EnvError{
				Cause: fmt.Sprintf("this kernel has no function %s to probe: it is older than 5.10.162, or not the usual", s),
				Hint:  "record on a kernel from 5.10.162 on",
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
		return fmt.Sprintf("without CAP_SYS_ADMIN, kprobes need kernel.perf_event_paranoid of 2 or less, and it is %d: "+
			"set it (sysctl kernel.perf_event_paranoid=2), ask for --probe fentry, or run acc as root", level)
	}
	return "run as root outside of a container, and see that neither lockdown nor a seccomp filter forbids bpf and perf_event_open"
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
