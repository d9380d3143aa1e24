// A program that sleeps in a function of a function, on its main thread.
package main

import (
	"runtime"
	"syscall"
)

//go:noinline
func accessLog(fd int) {
	var b [8192]byte
	_, _ = syscall.Read(fd, b[:])
}

//go:noinline
func handle(fd int) { accessLog(fd) }

func init() { runtime.LockOSThread() }

func main() {
	for {
		handle(0)
	}
}
