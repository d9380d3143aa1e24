//go:build linux && !386

package main

// This file has the system calls of other architectures.

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	viaAccept  = "accept"
	viaAccept4 = "accept4"
)

func accept(fd int, addr, addrlen unsafe.Pointer) (int, unix.Errno) {
	n, _, errno := unix.Syscall(unix.SYS_ACCEPT, uintptr(fd), uintptr(addr), uintptr(addrlen))
	return int(n), errno
}

func accept4(fd int, addr, addrlen unsafe.Pointer, flags int) (int, unix.Errno) {
	n, _, errno := unix.Syscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(addr), uintptr(addrlen), uintptr(flags), 0, 0)
	return int(n), errno
}

func isAccept(number uintptr) bool { return number == unix.SYS_ACCEPT || number == unix.SYS_ACCEPT4 }

// denyAccept makes accept fail with EPERM.
var denyAccept = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the call's number
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_ACCEPT, Jt: 1},
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_ACCEPT4, Jf: 1},
	{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
	{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
}
