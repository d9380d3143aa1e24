//go:build amd64 || arm64

package capture

// This file has the checks of a host that take its files alone: acc doctor prints them, and acc record refuses a host
// where one of them is in the way.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// look makes the checks that take files of the host alone, which root has.
func look(root fs.FS) []HostCheck {
	return []HostCheck{
		checkKernel(root), checkPrivileges(root), checkLockdown(root), checkTypes(root), checkKprobes(root),
		checkFtrace(root), checkParanoid(root),
		checkTracefs(root), checkSeccomp(root), checkUserNamespace(root), checkPIDNamespace(root), checkCgroup(root),
		checkMemory(root),
	}
}

func (c HostCheck) less(effect, remedy string) HostCheck {
	c.Standing, c.Effect, c.Remedy = StandingLess, effect, remedy
	return c
}

func (c HostCheck) broken(effect, remedy string) HostCheck {
	c.Standing, c.Effect, c.Remedy = StandingBroken, effect, remedy
	return c
}

func ok(name, found string, args ...any) HostCheck {
	return HostCheck{Name: name, Standing: StandingOK, Found: fmt.Sprintf(found, args...)}
}

// line gives a file of one line, without its newline.
func line(root fs.FS, path string) string {
	b, _ := fs.ReadFile(root, path)
	return strings.TrimSpace(string(b))
}

func checkKernel(root fs.FS) HostCheck {
	release := line(root, "proc/sys/kernel/osrelease")
	c := ok("kernel", "Linux %s on %s", release, runtime.GOARCH)
	if olderThan(release, 5, 10) {
		return c.broken("this kernel is too old: acc needs Linux 5.10", "record on a host with a newer kernel")
	}
	if b, err := fs.ReadFile(root, "proc/kallsyms"); err == nil {
		if e := symbols(b); e != nil {
			return c.broken(e.Cause, e.Hint)
		}
	}
	if preempts(root, release, line(root, "proc/sys/kernel/version")) {
		return c.less(
			"the kernel preempts fentry programs, so acc uses kprobes; each call that waits in accept takes an instance "+
				"(there are 4,096)", "")
	}
	return c
}

func checkPrivileges(root fs.FS) HostCheck {
	status, _ := fs.ReadFile(root, "proc/self/status")
	caps, known := effective(status)
	if !known {
		return ok("privileges", "not known")
	}
	const all = 1<<41 - 1
	var names []string
	for _, x := range []struct {
		bit  uint64
		name string
	}{{capSysAdmin, "SYS_ADMIN"}, {capBPF, "BPF"}, {capPerfmon, "PERFMON"}, {capSysPtrace, "SYS_PTRACE"},
		{capDACReadSearch, "DAC_READ_SEARCH"}, {capDACOverride, "DAC_OVERRIDE"}} {
		if caps&x.bit != 0 {
			names = append(names, "CAP_"+x.name)
		}
	}
	c := ok("privileges", "user %d, %s", os.Geteuid(), strings.Join(names, " "))
	switch {
	case len(names) == 0:
		c.Found = fmt.Sprintf("user %d, no capability that recording takes", os.Geteuid())
	case caps&all == all:
		c.Found = fmt.Sprintf("user %d, all capabilities", os.Geteuid())
	}
	switch {
	case caps&capSysAdmin == 0 && caps&(capBPF|capPerfmon) != capBPF|capPerfmon:
		return c.broken("no permission to trace the kernel: neither CAP_SYS_ADMIN nor CAP_BPF with CAP_PERFMON",
			"run it as root: sudo acc record …")
	case caps&capSysPtrace == 0:
		return c.less(
			"executables and namespaces of other users' processes, and who sits in accept at the start, are not known",
			"add CAP_SYS_PTRACE, or run it as root")
	case caps&(capDACReadSearch|capDACOverride) == 0:
		return c.less("of other users' servers it is not known what they do while clients wait, which connections they "+
			"have open, and who sits in accept", "add CAP_DAC_READ_SEARCH, or run it as root")
	}
	return c
}

func checkLockdown(root fs.FS) HostCheck {
	s := line(root, "sys/kernel/security/lockdown")
	switch {
	case s == "":
		return ok("lockdown", "not in this kernel")
	case strings.Contains(s, "[confidentiality]"):
		return ok("lockdown", "confidentiality").broken(
			"the kernel is locked down (confidentiality): it lets nobody trace it",
			"boot without lockdown=confidentiality; lockdown=integrity is no obstacle")
	case strings.Contains(s, "[integrity]"):
		return ok("lockdown", "integrity, which is no obstacle")
	}
	return ok("lockdown", "none")
}

func checkTypes(root fs.FS) HostCheck {
	info, err := fs.Stat(root, "sys/kernel/btf/vmlinux")
	if err != nil {
		return ok("types", "no /sys/kernel/btf/vmlinux").broken(
			"this kernel does not describe its types: /sys/kernel/btf/vmlinux is missing",
			"use a kernel built with CONFIG_DEBUG_INFO_BTF, as distributions' kernels from 5.10 are")
	}
	return ok("types", "described by the kernel (BTF, %d KiB)", info.Size()/1024)
}

// blacklisted are those of the probes' functions that the kernel lets nobody probe.
func blacklisted(root fs.FS) (list []string) {
	b, _ := fs.ReadFile(root, "sys/kernel/debug/kprobes/blacklist")
	for l := range strings.Lines(string(b)) {
		f := strings.Fields(l)
		if name := f[len(f)-1]; slices.Contains(returns, name) {
			list = append(list, name)
		}
	}
	return list
}

func checkKprobes(root fs.FS) HostCheck {
	if _, err := fs.Stat(root, "sys/bus/event_source/devices/kprobe"); errors.Is(err, fs.ErrNotExist) &&
		!hasAny(root, "sys/kernel/tracing/kprobe_events", "sys/kernel/debug/tracing/kprobe_events") {
		return ok("kprobes", "not in this kernel").broken("this kernel has no kprobes (CONFIG_KPROBE_EVENTS is off)",
			"record on a host with a distribution kernel; replay and analyze work here")
	}
	c := ok("kprobes", "there")
	if line(root, "sys/kernel/debug/kprobes/enabled") == "0" {
		c.Found = "switched off"
		return c.broken("kprobes are switched off: /sys/kernel/debug/kprobes/enabled is 0",
			"switch them on: echo 1 >/sys/kernel/debug/kprobes/enabled")
	}
	if list := blacklisted(root); len(list) > 0 {
		c.Found = "the kernel lets nobody probe " + strings.Join(list, ", ")
		return c.less("what these functions do is not seen", "")
	}
	return c
}

func checkFtrace(root fs.FS) HostCheck {
	switch line(root, "proc/sys/kernel/ftrace_enabled") {
	case "":
		return ok("ftrace", "not in this kernel").less(
			"fentry probes, which are cheaper, do not work: kprobes are used", "")
	case "0":
		// To attach trampolines now fails, and on some kernels they can't be attached after that until the next boot.
		return ok("ftrace", "switched off").broken("function tracing is switched off: kernel.ftrace_enabled is 0",
			"switch it on: sysctl kernel.ftrace_enabled=1")
	}
	return ok("ftrace", "on")
}

func checkParanoid(root fs.FS) HostCheck {
	level, err := strconv.Atoi(line(root, "proc/sys/kernel/perf_event_paranoid"))
	if err != nil {
		return ok("perf_event_paranoid", "not in this kernel")
	}
	c := ok("perf_event_paranoid", "%d", level)
	status, _ := fs.ReadFile(root, "proc/self/status")
	if caps, known := effective(status); known && caps&capSysAdmin == 0 && level > 2 {
		return c.less("without CAP_SYS_ADMIN kprobes need 2 or less: fentry probes alone can work",
			"sysctl kernel.perf_event_paranoid=2, or run acc as root")
	}
	return c
}

func checkTracefs(root fs.FS) HostCheck {
	for _, dir := range []string{"sys/kernel/tracing", "sys/kernel/debug/tracing"} {
		if _, err := fs.Stat(root, dir+"/kprobe_events"); err == nil {
			return ok("tracefs", "at /%s", dir)
		}
	}
	return ok("tracefs", "not mounted, or not readable").less(
		"how many returns had no kretprobe instance is not known, and kretprobes get fewer instances",
		"mount -t tracefs tracefs /sys/kernel/tracing")
}

func checkSeccomp(root fs.FS) HostCheck {
	status := line(root, "proc/self/status")
	_, rest, _ := strings.Cut(status, "\nSeccomp:")
	mode, _, _ := strings.Cut(rest, "\n")
	if strings.TrimSpace(mode) == "2" {
		return ok("seccomp", "a filter is on this process").less(
			"it may refuse bpf and perf_event_open, as container runtimes' default filters do",
			"run acc outside of the container, or with --security-opt seccomp=unconfined")
	}
	return ok("seccomp", "no filter on this process")
}

// Inode numbers of the first namespaces (include/linux/proc_ns.h).
const (
	firstUserNS = 4026531837
	firstPIDNS  = 4026531836
)

func namespaceOf(root fs.FS, name string) uint64 {
	link, _ := fs.ReadLink(root, "proc/self/ns/"+name)
	return namespaceIn(link)
}

func checkUserNamespace(root fs.FS) HostCheck {
	switch n := namespaceOf(root, "user"); n {
	case 0:
		return ok("user namespace", "not known")
	case firstUserNS:
		return ok("user namespace", "the host's")
	default:
		return ok("user namespace", "its own (%d)", n).broken(
			"acc runs in a user namespace of its own, and the kernel asks for capabilities in the host's",
			"run acc on the host, not in a rootless container")
	}
}

func checkPIDNamespace(root fs.FS) HostCheck {
	switch n := namespaceOf(root, "pid"); n {
	case 0:
		return ok("pid namespace", "not known")
	case firstPIDNS:
		return ok("pid namespace", "the host's")
	default:
		return ok("pid namespace", "its own (%d)", n).less(
			"/proc shows this container's processes alone: of others only what the kernel's events say is known, "+
				"and not who sits in accept at the start",
			"run acc on the host, or in a container with the host's processes (--pid=host, hostPID: true)")
	}
}

func checkCgroup(root fs.FS) HostCheck {
	switch {
	case hasAny(root, "sys/fs/cgroup/cgroup.controllers"):
		return ok("cgroups", "version 2")
	case hasAny(root, "sys/fs/cgroup/memory", "sys/fs/cgroup/systemd", "sys/fs/cgroup/unified"):
		return ok("cgroups", "version 1").less(
			"only version 1 is mounted, so cgroup ids are not recorded; containers and units are, by their paths", "")
	}
	return ok("cgroups", "not mounted").less("acc finds containers and units by /proc alone", "")
}

// wantMemory is what a recorder with the usual ring takes at most while it starts (TestVMMemoryLimit).
const wantMemory = 64 << 20

func checkMemory(root fs.FS) HostCheck {
	free := uint64(1 << 62)
	found := "not known"
	for l := range strings.Lines(line(root, "proc/meminfo")) {
		if f := strings.Fields(l); len(f) > 1 && f[0] == "MemAvailable:" {
			n, _ := strconv.ParseUint(f[1], 10, 64)
			free, found = n<<10, fmt.Sprintf("%d MiB available", n>>10)
		}
	}
	for l := range strings.Lines(line(root, "proc/self/cgroup")) {
		path, ok := strings.CutPrefix(strings.TrimSpace(l), "0::/")
		if !ok {
			continue
		}
		dir := strings.Trim("sys/fs/cgroup/"+path, "/")
		limit, err1 := strconv.ParseUint(line(root, dir+"/memory.max"), 10, 64)
		used, err2 := strconv.ParseUint(line(root, dir+"/memory.current"), 10, 64)
		if err1 == nil && err2 == nil && limit-min(used, limit) < free {
			free = limit - min(used, limit)
			found = fmt.Sprintf("%d MiB left of the %d MiB of this cgroup", free>>20, limit>>20)
		}
	}
	if free < wantMemory {
		return ok("memory", "%s", found).less("acc takes up to 64 MiB while it starts, 8 of them for its ring buffer",
			"make --ring-size smaller, or give it more")
	}
	return ok("memory", "%s", found)
}
