package capture

// This file has the numbers of system calls on arm64.

import "golang.org/x/sys/unix"

// acceptNumbers are the accept system calls of this architecture that block.
var acceptNumbers = map[int]bool{unix.SYS_ACCEPT: true, unix.SYS_ACCEPT4: true}
