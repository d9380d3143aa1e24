//go:build linux

package main

// This file has the system calls of 32-bit programs on x86-64.

import (
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// accept4 among the calls of 386.
const accept4On386 = 364

var int80Cases = []testCase{
	{"int80-accept4", func(t *test) {
		l, _ := t.ready()
		t.call(l, "accept4", 0, func(fd int) (int, unix.Errno) {
			defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
			defer func() {
				if recover() != nil {
					t.skip("this kernel has no calls of 386")
				}
			}()
			n := int80(accept4On386, uint32(fd), 0, 0, 0)
			if n < 0 {
				return -1, unix.Errno(-n)
			}
			return int(n), 0
		})
	}},
}

// int80 makes a system call as a 32-bit program does.
//
//go:noescape
func int80(nr, a, b, c, d uint32) int32
