//go:build amd64 || arm64

package capture

// This file gives up rights, and says which one lacks.

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Capabilities that a running recording has a use for, by number.
const (
	capChown         = 1 << unix.CAP_CHOWN
	capDACOverride   = 1 << unix.CAP_DAC_OVERRIDE
	capDACReadSearch = 1 << unix.CAP_DAC_READ_SEARCH
	capFowner        = 1 << unix.CAP_FOWNER
	capKill          = 1 << unix.CAP_KILL
	capSysPtrace     = 1 << unix.CAP_SYS_PTRACE
)

// keep is what the rest of the recording needs, as far as this process has it, with a
// command, and with other network namespaces.
//
//   - BPF and PERFMON: probes that come later, see watcher, and reading counters,
//     which kernels before 6.0 refuse without.
//   - SYS_ADMIN: the same where perf_event_paranoid, in Debian's way, is above 2; and
//     asking for the connections in other network namespaces at the end, and for their settings.
//   - SYS_PTRACE: which program a process runs, its namespaces, and who sits in accept.
//   - KILL: ending a command that changed its user.
//   - DAC_READ_SEARCH: /proc/PID/syscall, fd and mem, which only the process's own user may open: without it, what a
//     server does that is not root's, as nearly all are, and what it has open, is not seen. Tracefs, for a user other
//     than root.
//   - DAC_OVERRIDE: tracefs, for a user other than root; further files in a
//     folder that is not root's, and files that belong to the user who called sudo.
//   - CHOWN: giving further files to that user; FOWNER: giving these files second names.
func keep(command, elsewhere bool, files *Rotate) uint64 {
	caps := uint64(capBPF | capPerfmon | capSysPtrace | capDACReadSearch)
	if paranoid() > 2 || elsewhere {
		caps |= capSysAdmin
	}
	if command {
		caps |= capKill
	}
	if files != nil && (files.Foreign || files.Owner > 0) {
		caps |= capDACOverride
	}
	if files != nil && files.Owner > 0 {
		caps |= capChown
		if files.Links {
			caps |= capFowner
		}
	}
	if os.Geteuid() != 0 {
		caps |= capDACOverride
	}
	return caps
}

// paranoid is kernel.perf_event_paranoid.
func paranoid() int {
	n, _ := strconv.Atoi(readLine("/proc/sys/kernel/perf_event_paranoid"))
	return n
}
