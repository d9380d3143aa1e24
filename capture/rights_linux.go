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

// keep is what the rest of the recording needs of the capabilities that are held, with a
// command, and with other network namespaces. A wider one is kept where the one that is enough is not held, as in a
// container.
//
//   - BPF and PERFMON: probes that come later, see watcher, and reading counters,
//     which kernels before 6.0 refuse without.
//   - SYS_ADMIN: the same where perf_event_paranoid, in Debian's way, is above 2, or they are not held; and
//     asking for the connections in other network namespaces at the end, and for their settings.
//   - SYS_PTRACE: which program a process runs, its namespaces, and who sits in accept.
//   - KILL: ending a command that changed its user.
//   - DAC_READ_SEARCH: /proc/PID/syscall, fd and mem, which only the process's own user may open: without it, what a
//     server does that is not root's, as nearly all are, and what it has open, is not seen. Tracefs, for a user other
//     than root.
//   - DAC_OVERRIDE: the same where that is not held; tracefs, for a user other than root; further files in a
//     folder that is not root's, and files that belong to the user who called sudo.
//   - CHOWN: giving further files to that user; FOWNER: giving these files second names.
func keep(held uint64, command, elsewhere bool, files *Rotate) uint64 {
	const tracing = capBPF | capPerfmon
	caps := uint64(tracing | capSysPtrace | capDACReadSearch)
	if paranoid() > 2 || elsewhere || held&tracing != tracing {
		caps |= capSysAdmin
	}
	if held&capDACReadSearch == 0 || os.Geteuid() != 0 {
		caps |= capDACOverride
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
	return caps & held
}

// paranoid is kernel.perf_event_paranoid.
func paranoid() int {
	n, _ := strconv.Atoi(readLine("/proc/sys/kernel/perf_event_paranoid"))
	return n
}
