package confine

// This file stands for system calls that arm64 does not have.

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_AARCH64

// oldCalls are forbidden calls that only this architecture has.
var oldCalls []uint32
