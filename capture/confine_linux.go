//go:build amd64 || arm64

package capture

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Capabilities that a running recording has a use for, by number.
const (
	capDACOverride   = 1 << unix.CAP_DAC_OVERRIDE
	capDACReadSearch = 1 << unix.CAP_DAC_READ_SEARCH
	capKill          = 1 << unix.CAP_KILL
	capSysPtrace     = 1 << unix.CAP_SYS_PTRACE
)

// confine gives up for good what this process no longer needs when it records:
// capabilities, new privileges, and, by a seccomp filter, the system calls that
// start a program, change a file that is there, load a program into the kernel, or
// reach the network. The error says what it could not give up; the rest is given up.
//
// Landlock is not used: a process in a Landlock domain may not look at processes
// outside of it (/proc/PID/exe, ns, syscall), whatever its capabilities.
func confine(command, elsewhere bool) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// Beside the locked thread: Go starts threads by clone from any of them, and they
	// inherit what their maker has.
	return errors.Join(dropCapabilities(keep(command, elsewhere)), forbidCalls())
}

// keep is what the rest of the recording needs, as far as this process has it, with a
// command, and with other network namespaces.
//
//   - BPF and PERFMON: probes that come later, see watcher, and reading counters,
//     which kernels before 6.0 refuse without.
//   - SYS_ADMIN: the same where perf_event_paranoid, in Debian's way, is above 2; and
//     asking for the connections in other network namespaces at the end, and for their settings.
//   - SYS_PTRACE: which program a process runs, its namespaces, and who sits in accept.
//   - KILL: ending a command that changed its user.
//   - DAC_OVERRIDE, DAC_READ_SEARCH: tracefs, for a user other than root.
func keep(command, elsewhere bool) uint64 {
	caps := uint64(capBPF | capPerfmon | capSysPtrace)
	if paranoid() > 2 || elsewhere {
		caps |= capSysAdmin
	}
	if command {
		caps |= capKill
	}
	if os.Geteuid() != 0 {
		caps |= capDACOverride | capDACReadSearch
	}
	return caps
}

// paranoid is kernel.perf_event_paranoid.
func paranoid() int {
	n, _ := strconv.Atoi(readLine("/proc/sys/kernel/perf_event_paranoid"))
	return n
}

// dropCapabilities drops all capabilities of all threads but those to keep.
func dropCapabilities(keep uint64) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	for i := range data {
		data[i].Permitted &= uint32(keep >> (32 * i))
		data[i].Effective, data[i].Inheritable = data[i].Permitted, 0
	}
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0)
	runtime.KeepAlive(&header)
	runtime.KeepAlive(&data)
	if errno == unix.ENOTSUP {
		return errors.New("drop capabilities: acc was built with cgo, which does not let it")
	}
	if errno != 0 {
		return fmt.Errorf("drop capabilities: %w", errno)
	}
	return nil
}

// forbidCalls sets no_new_privs and the filter for all threads.
func forbidCalls() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	filter := callFilter()
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	tid, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(filter)
	switch {
	case errno == unix.EINVAL, errno == unix.ENOSYS:
		return errors.New("forbid system calls: this kernel has no seccomp filters")
	case errno != 0:
		return fmt.Errorf("forbid system calls: %w", errno)
	case tid != 0:
		return fmt.Errorf("forbid system calls: thread %d has a filter of its own", tid)
	}
	return nil
}

// forbidden are system calls that a recording never makes, on any architecture.
// It is a list of what is forbidden, not of what is allowed: the Go runtime makes
// calls of its own, others in each version.
var forbidden = []uint32{
	unix.SYS_EXECVE, unix.SYS_EXECVEAT, unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_GETFD,
	unix.SYS_KCMP, unix.SYS_PERSONALITY, unix.SYS_UNSHARE, unix.SYS_CHROOT, unix.SYS_PIVOT_ROOT,
	unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_TREE, unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK,
	unix.SYS_MOUNT_SETATTR, unix.SYS_OPENAT2, unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_TRUNCATE,
	unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_LINKAT, unix.SYS_SYMLINKAT, unix.SYS_MKNODAT, unix.SYS_MKDIRAT,
	unix.SYS_FCHMOD, unix.SYS_FCHMODAT, unix.SYS_FCHMODAT2, unix.SYS_FCHOWN, unix.SYS_FCHOWNAT, unix.SYS_SETXATTR, unix.SYS_LSETXATTR, unix.SYS_FSETXATTR,
	unix.SYS_REMOVEXATTR, unix.SYS_LREMOVEXATTR, unix.SYS_FREMOVEXATTR, unix.SYS_UTIMENSAT, unix.SYS_ACCT, unix.SYS_QUOTACTL,
	unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_REBOOT, unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD,
	unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_SYSLOG,
	unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_CLOCK_ADJTIME, unix.SYS_ADJTIMEX, unix.SYS_SETHOSTNAME, unix.SYS_SETDOMAINNAME,
	unix.SYS_CAPSET, unix.SYS_SETUID, unix.SYS_SETGID, unix.SYS_SETREUID, unix.SYS_SETREGID, unix.SYS_SETRESUID, unix.SYS_SETRESGID,
	unix.SYS_SETFSUID, unix.SYS_SETFSGID, unix.SYS_SETGROUPS, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_KEYCTL,
	unix.SYS_USERFAULTFD, unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER, // openat by other ways
	unix.SYS_FANOTIFY_INIT,
}

// bpfCommands are what a recording does with the programs and maps that it has.
// Loading others is not among it.
var bpfCommands = []uint32{
	unix.BPF_MAP_LOOKUP_ELEM, unix.BPF_MAP_UPDATE_ELEM, unix.BPF_MAP_DELETE_ELEM, unix.BPF_MAP_GET_NEXT_KEY, unix.BPF_OBJ_GET_INFO_BY_FD,
	unix.BPF_RAW_TRACEPOINT_OPEN, unix.BPF_LINK_CREATE, unix.BPF_LINK_UPDATE, unix.BPF_LINK_DETACH,
}

// A filter is put together of rules. The accumulator holds the call's number when
// a rule begins.
type filter []unix.SockFilter

func (f *filter) op(code uint16, k uint32, yes, no uint8) {
	*f = append(*f, unix.SockFilter{Code: code, Jt: yes, Jf: no, K: k})
}

const (
	loadWord = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	ifEqual  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	ifBits   = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
	ifLeast  = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
	andWith  = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	give     = unix.BPF_RET | unix.BPF_K

	refuse  = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	unknown = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)

	// Offsets in struct seccomp_data (include/uapi/linux/seccomp.h); both
	// architectures are little-endian.
	callNumber, callArch, callArgs = 0, 4, 16
)

// when runs rules for one call, which must end in a verdict.
func (f *filter) when(call uint32, rules func(*filter)) {
	var body filter
	rules(&body)
	f.op(ifEqual, call, 0, uint8(len(body)))
	*f = append(*f, body...)
}

// arg loads the low half of an argument.
func (f *filter) arg(n uint32) { f.op(loadWord, callArgs+8*n, 0, 0) }

// among allows the call if the accumulator is one of the values, and refuses it
// otherwise.
func (f *filter) among(values ...uint32) {
	for _, v := range values {
		f.op(ifEqual, v, 0, 1)
		f.op(give, unix.SECCOMP_RET_ALLOW, 0, 0)
	}
	f.op(give, refuse, 0, 0)
}

// callFilter is the filter.
func callFilter() []unix.SockFilter {
	var f filter
	f.op(loadWord, callArch, 0, 0)
	f.op(ifEqual, auditArch, 1, 0)
	f.op(give, refuse, 0, 0) // 32-bit calls have other numbers
	f.op(loadWord, callNumber, 0, 0)
	f.op(ifLeast, 0x40000000, 0, 1) // the calls of x32
	f.op(give, refuse, 0, 0)
	f.when(unix.SYS_BPF, func(f *filter) {
		f.arg(0)
		f.among(bpfCommands...)
	})
	f.when(unix.SYS_OPENAT, func(f *filter) {
		// For reading; a new file; or appending, which removes probes from tracefs.
		f.arg(2)
		f.op(andWith, unix.O_ACCMODE|unix.O_CREAT|unix.O_EXCL|unix.O_TRUNC|unix.O_APPEND, 0, 0)
		f.among(unix.O_RDONLY, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, unix.O_WRONLY|unix.O_APPEND)
	})
	f.when(unix.SYS_SETNS, func(f *filter) {
		f.arg(1)
		f.among(unix.CLONE_NEWNET)
	})
	f.when(unix.SYS_SOCKET, func(f *filter) {
		f.arg(0)
		f.among(unix.AF_UNIX, unix.AF_NETLINK)
	})
	f.when(unix.SYS_CLONE, func(f *filter) { // threads, but no processes
		f.arg(0)
		f.op(ifBits, unix.CLONE_THREAD, 0, 1)
		f.op(give, unix.SECCOMP_RET_ALLOW, 0, 0)
		f.op(give, refuse, 0, 0)
	})
	f.when(unix.SYS_CLONE3, func(f *filter) { f.op(give, unknown, 0, 0) }) // its flags are in memory
	f.when(unix.SYS_IOCTL, func(f *filter) {                               // no typing into the terminal
		f.arg(1)
		f.op(ifEqual, unix.TIOCSTI, 0, 1)
		f.op(give, refuse, 0, 0)
		f.op(give, unix.SECCOMP_RET_ALLOW, 0, 0)
	})
	for _, call := range append(forbidden, forbiddenHere...) {
		f.op(ifEqual, call, 0, 1)
		f.op(give, refuse, 0, 0)
	}
	f.op(give, unix.SECCOMP_RET_ALLOW, 0, 0)
	return f
}
