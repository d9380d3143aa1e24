//go:build amd64 || arm64

package confine

// This file makes filters of system calls for seccomp.

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// forbidden are system calls that neither a reader nor a recorder makes. It is a
// list of what is forbidden, not of what is allowed: the Go runtime makes calls of its own,
// others in each version. Adjtimex tells a recorder how well the clock is kept; to set it takes CAP_SYS_TIME,
// which is given up.
var forbidden = []uint32{
	unix.SYS_EXECVE, unix.SYS_EXECVEAT, unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV,
	unix.SYS_PIDFD_GETFD,
	unix.SYS_KCMP, unix.SYS_PERSONALITY, unix.SYS_UNSHARE, unix.SYS_CHROOT, unix.SYS_PIVOT_ROOT,
	unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_TREE, unix.SYS_FSOPEN, unix.SYS_FSCONFIG,
	unix.SYS_FSMOUNT, unix.SYS_FSPICK,
	unix.SYS_MOUNT_SETATTR, unix.SYS_OPENAT2, unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_TRUNCATE,
	unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_LINKAT, unix.SYS_SYMLINKAT, unix.SYS_MKNODAT, unix.SYS_MKDIRAT,
	unix.SYS_FCHMOD, unix.SYS_FCHMODAT, unix.SYS_FCHMODAT2, unix.SYS_FCHOWN, unix.SYS_FCHOWNAT, unix.SYS_SETXATTR,
	unix.SYS_LSETXATTR, unix.SYS_FSETXATTR,
	unix.SYS_REMOVEXATTR, unix.SYS_LREMOVEXATTR, unix.SYS_FREMOVEXATTR, unix.SYS_UTIMENSAT, unix.SYS_ACCT,
	unix.SYS_QUOTACTL,
	unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_REBOOT, unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD,
	unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_SYSLOG,
	unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_CLOCK_ADJTIME, unix.SYS_SETHOSTNAME, unix.SYS_SETDOMAINNAME,
	unix.SYS_CAPSET, unix.SYS_SETUID, unix.SYS_SETGID, unix.SYS_SETREUID, unix.SYS_SETREGID, unix.SYS_SETRESUID,
	unix.SYS_SETRESGID,
	unix.SYS_SETFSUID, unix.SYS_SETFSGID, unix.SYS_SETGROUPS, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_KEYCTL,
	// openat by other ways
	unix.SYS_USERFAULTFD, unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
	unix.SYS_FANOTIFY_INIT,
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

// forbid refuses calls, whatever their arguments.
func (f *filter) forbid(calls ...uint32) {
	for _, call := range calls {
		f.when(call, func(f *filter) { f.op(give, refuse, 0, 0) })
	}
}

// newFilter begins a filter with what is forbidden to all but the calls that rules which follow allow.
func newFilter(ruled ...uint32) *filter {
	f := &filter{}
	f.op(loadWord, callArch, 0, 0)
	f.op(ifEqual, auditArch, 1, 0)
	f.op(give, refuse, 0, 0) // 32-bit calls have other numbers
	f.op(loadWord, callNumber, 0, 0)
	f.op(ifLeast, 0x40000000, 0, 1) // the calls of x32
	f.op(give, refuse, 0, 0)
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
	for _, call := range forbidden {
		if !slices.Contains(ruled, call) {
			f.forbid(call)
		}
	}
	f.forbid(oldCalls...)
	return f
}

// install allows the rest, and sets no_new_privs and the filter for all threads.
func (f *filter) install() error {
	f.op(give, unix.SECCOMP_RET_ALLOW, 0, 0)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	prog := unix.SockFprog{Len: uint16(len(*f)), Filter: &(*f)[0]}
	tid, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC,
		uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(f)
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
