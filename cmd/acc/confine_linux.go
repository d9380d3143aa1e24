//go:build linux && (amd64 || arm64)

package main

import (
	"runtime"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// confine takes from this process what reading an open capture does not need:
// new files, the network, other programs, other processes. It is for a command
// that has opened all its files, and it can't be undone. Each part works where
// the kernel has it: a filter of system calls (seccomp) on all threads, Landlock
// on all threads where the binary has no cgo. A kernel or a container that allows
// none of them is no error: the reader is safe without, this is the second wall.
//
// A command that removes its output when it fails keeps the right to remove.
func confine(removes bool) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != nil {
		return
	}
	landlock(removes)
	_ = filterCalls(removes) // takes the other threads along, no_new_privs included
}

// landlock denies every access to files that the kernel's version of it knows,
// and TCP; landlock(7). What is open stays open.
func landlock(removes bool) {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 || version < 1 {
		return
	}
	rules := unix.LandlockRulesetAttr{Handled_access_fs: 1<<13 - 1} // version 1: all up to MAKE_SYM
	if removes {
		rules.Handled_access_fs &^= unix.LANDLOCK_ACCESS_FS_REMOVE_FILE
	}
	if version >= 2 {
		rules.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if version >= 3 {
		rules.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if version >= 4 {
		rules.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&rules)), unsafe.Sizeof(rules), 0)
	if errno != 0 {
		return
	}
	defer unix.Close(int(fd))
	if _, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
		return // a binary with cgo: ENOTSUP
	}
	_, _, _ = syscall.AllThreadsSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0)
}

// filterCalls denies the calls of forbidden on all threads, with EPERM. What is
// not named stays allowed: Go's runtime is free to use new calls.
func filterCalls(removes bool) error {
	const load, equal, atLeast, give = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K,
		unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	calls := forbidden
	if removes {
		calls = slices.DeleteFunc(slices.Clone(calls), func(nr uint32) bool { return nr == unix.SYS_UNLINKAT })
	}
	n := uint8(len(calls))
	// struct seccomp_data: the number at 0, the architecture at 4.
	prog := []unix.SockFilter{
		{Code: load, K: 4},
		{Code: equal, K: auditArch, Jf: n + 3}, // calls of another ABI
		{Code: load, K: 0},
		{Code: atLeast, K: 0x40000000, Jt: n + 1}, // x32
	}
	for i, nr := range calls {
		prog = append(prog, unix.SockFilter{Code: equal, K: nr, Jt: n - uint8(i)})
	}
	prog = append(prog, unix.SockFilter{Code: give, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: give, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)})
	p := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&p)))
	runtime.KeepAlive(prog)
	if errno != 0 {
		return errno
	}
	return nil
}

// forbidden are the calls that a confined reader has no use for.
var forbidden = append([]uint32{
	// files and names
	unix.SYS_OPENAT, unix.SYS_OPENAT2, unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_OPEN_TREE, unix.SYS_FSOPEN, unix.SYS_FSMOUNT,
	unix.SYS_MOVE_MOUNT, unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_UNLINKAT,
	unix.SYS_RENAMEAT2, unix.SYS_LINKAT, unix.SYS_SYMLINKAT, unix.SYS_MKDIRAT, unix.SYS_MKNODAT, unix.SYS_TRUNCATE,
	unix.SYS_FCHMODAT, unix.SYS_FCHOWNAT, unix.SYS_SETXATTR, unix.SYS_REMOVEXATTR, unix.SYS_UTIMENSAT,
	// the network
	unix.SYS_SOCKET, unix.SYS_SOCKETPAIR, unix.SYS_CONNECT, unix.SYS_BIND, unix.SYS_LISTEN, unix.SYS_ACCEPT, unix.SYS_ACCEPT4,
	// programs and other processes
	unix.SYS_EXECVE, unix.SYS_EXECVEAT, unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV,
	unix.SYS_PIDFD_OPEN, unix.SYS_PIDFD_GETFD, unix.SYS_SETNS, unix.SYS_UNSHARE, unix.SYS_KCMP,
	// the kernel
	unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_IO_URING_SETUP, unix.SYS_USERFAULTFD, unix.SYS_KEYCTL, unix.SYS_ADD_KEY,
	unix.SYS_REQUEST_KEY, unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_KEXEC_LOAD,
	unix.SYS_REBOOT, unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_MEMFD_CREATE,
}, forbiddenHere...)
