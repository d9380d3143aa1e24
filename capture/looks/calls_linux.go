package looks

// This file knows the system calls in which servers spend their time.

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// about is what the first argument of a call, or its memory, says.
type about uint8

const (
	nothing    about = iota
	descriptor       // it is one
	epollSet         // it is the descriptor of an epoll set
	pollList         // it is an array of struct pollfd, the second its length
	lock             // it is the address of a futex
)

// call is a system call.
type call struct {
	name  string
	about about
}

// calls are those that are told by name, by number.
var calls = map[int]call{
	unix.SYS_READ: {"read", descriptor}, unix.SYS_PREAD64: {"pread64", descriptor},
	unix.SYS_READV: {"readv", descriptor}, unix.SYS_PREADV: {"preadv", descriptor},
	unix.SYS_WRITE: {"write", descriptor}, unix.SYS_PWRITE64: {"pwrite64", descriptor},
	unix.SYS_WRITEV: {"writev", descriptor}, unix.SYS_PWRITEV: {"pwritev", descriptor},
	unix.SYS_SENDTO: {"sendto", descriptor}, unix.SYS_SENDMSG: {"sendmsg", descriptor},
	unix.SYS_SENDMMSG: {"sendmmsg", descriptor}, unix.SYS_SENDFILE: {"sendfile", descriptor},
	unix.SYS_RECVFROM: {"recvfrom", descriptor}, unix.SYS_RECVMSG: {"recvmsg", descriptor},
	unix.SYS_RECVMMSG: {"recvmmsg", descriptor}, unix.SYS_CONNECT: {"connect", descriptor},
	unix.SYS_ACCEPT: {"accept", descriptor}, unix.SYS_ACCEPT4: {"accept4", descriptor},
	unix.SYS_SHUTDOWN: {"shutdown", descriptor}, unix.SYS_CLOSE: {"close", descriptor},
	unix.SYS_FSYNC: {"fsync", descriptor}, unix.SYS_FDATASYNC: {"fdatasync", descriptor},
	unix.SYS_SYNC_FILE_RANGE: {"sync_file_range", descriptor}, unix.SYS_FALLOCATE: {"fallocate", descriptor},
	unix.SYS_FTRUNCATE: {"ftruncate", descriptor}, unix.SYS_FLOCK: {"flock", descriptor},
	unix.SYS_FCNTL: {"fcntl", descriptor}, unix.SYS_FSTAT: {"fstat", descriptor},
	unix.SYS_GETDENTS64: {"getdents64", descriptor}, unix.SYS_IOCTL: {"ioctl", descriptor},
	unix.SYS_SPLICE: {"splice", descriptor}, unix.SYS_COPY_FILE_RANGE: {"copy_file_range", descriptor},
	unix.SYS_EPOLL_PWAIT: {"epoll_pwait", epollSet}, unix.SYS_EPOLL_PWAIT2: {"epoll_pwait2", epollSet},
	unix.SYS_PPOLL: {"ppoll", pollList}, unix.SYS_PSELECT6: {"pselect6", nothing},
	unix.SYS_FUTEX: {"futex", lock}, unix.SYS_OPENAT: {"openat", nothing}, unix.SYS_UNLINKAT: {"unlinkat", nothing},
	unix.SYS_RENAMEAT2: {"renameat2", nothing}, unix.SYS_NEWFSTATAT: {"newfstatat", nothing},
	unix.SYS_SYNC: {"sync", nothing}, unix.SYS_MSYNC: {"msync", nothing}, unix.SYS_MMAP: {"mmap", nothing},
	unix.SYS_MUNMAP: {"munmap", nothing}, unix.SYS_MADVISE: {"madvise", nothing},
	unix.SYS_NANOSLEEP: {"nanosleep", nothing}, unix.SYS_CLOCK_NANOSLEEP: {"clock_nanosleep", nothing},
	unix.SYS_RESTART_SYSCALL: {"restart_syscall", nothing}, unix.SYS_WAIT4: {"wait4", nothing},
	unix.SYS_WAITID: {"waitid", nothing}, unix.SYS_RT_SIGTIMEDWAIT: {"rt_sigtimedwait", nothing},
	unix.SYS_RT_SIGSUSPEND: {"rt_sigsuspend", nothing}, unix.SYS_SEMOP: {"semop", nothing},
	unix.SYS_SEMTIMEDOP: {"semtimedop", nothing}, unix.SYS_MSGRCV: {"msgrcv", nothing},
	unix.SYS_IO_URING_ENTER: {"io_uring_enter", nothing}, unix.SYS_IO_GETEVENTS: {"io_getevents", nothing},
	unix.SYS_CLONE: {"clone", nothing}, unix.SYS_CLONE3: {"clone3", nothing}, unix.SYS_EXECVE: {"execve", nothing},
}

// callOf gives the call of a number.
func callOf(nr int) call {
	if c, ok := calls[nr]; ok {
		return c
	}
	if c, ok := oldCalls[nr]; ok {
		return c
	}
	return call{"syscall " + strconv.Itoa(nr), nothing}
}
