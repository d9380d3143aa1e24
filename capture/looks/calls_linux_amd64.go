package looks

import "golang.org/x/sys/unix"

// oldCalls are those that newer architectures don't have.
var oldCalls = map[int]call{
	unix.SYS_POLL: {"poll", pollList}, unix.SYS_EPOLL_WAIT: {"epoll_wait", epollSet},
	unix.SYS_SELECT: {"select", nothing}, unix.SYS_PAUSE: {"pause", nothing}, unix.SYS_OPEN: {"open", nothing},
	unix.SYS_STAT: {"stat", nothing}, unix.SYS_LSTAT: {"lstat", nothing}, unix.SYS_RENAME: {"rename", nothing},
	unix.SYS_UNLINK: {"unlink", nothing}, unix.SYS_MKDIR: {"mkdir", nothing}, unix.SYS_FORK: {"fork", nothing},
	unix.SYS_VFORK: {"vfork", nothing},
}
