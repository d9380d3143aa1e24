//go:build linux

package main

// This file has the system calls of 32-bit x86.

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The classic calls of 386 are parts of one.
const (
	viaAccept  = "socketcall"
	viaAccept4 = "socketcall"

	socketcallAccept  = 5
	socketcallAccept4 = 18
)

func accept(fd int, addr, addrlen unsafe.Pointer) (int, unix.Errno) {
	return socketcall(socketcallAccept, &socketArgs{fd, addr, addrlen, 0})
}

func accept4(fd int, addr, addrlen unsafe.Pointer, flags int) (int, unix.Errno) {
	return socketcall(socketcallAccept4, &socketArgs{fd, addr, addrlen, flags})
}

type socketArgs struct {
	fd            int
	addr, addrlen unsafe.Pointer
	flags         int
}

func socketcall(call uintptr, args *socketArgs) (int, unix.Errno) {
	fd, _, errno := unix.Syscall(unix.SYS_SOCKETCALL, call, uintptr(unsafe.Pointer(args)), 0)
	runtime.KeepAlive(args)
	return int(fd), errno
}

func isAccept(number uintptr) bool { return number == unix.SYS_SOCKETCALL }

// denyAccept makes accept fail with EPERM.
var denyAccept = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the call's number
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_SOCKETCALL, Jf: 4},
	{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 16}, // its first argument
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: socketcallAccept, Jt: 1},
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: socketcallAccept4, Jf: 1},
	{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
	{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
}
