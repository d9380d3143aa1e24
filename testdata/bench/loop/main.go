//go:build linux

// Loop is the work that the benchmarks watch: one process that connects to itself
// (socket, connect, accept4, two closes), again and again, or that makes a system
// call which has nothing to do with accept. It prints the nanoseconds that each
// round took: instructions, in a machine whose clock counts them.
package main

import (
	"fmt"
	"log"
	"os"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("loop: ")
	if len(os.Args) != 4 {
		log.Fatal("usage: loop connect|getppid ROUNDS REPEATS")
	}
	rounds, err := strconv.Atoi(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	repeats, err := strconv.Atoi(os.Args[3])
	if err != nil {
		log.Fatal(err)
	}
	work := getppid
	if os.Args[1] == "connect" {
		work = connect
	}
	for range repeats {
		from := time.Now()
		work(rounds)
		fmt.Println(time.Since(from).Nanoseconds() / int64(rounds))
	}
}

func getppid(rounds int) {
	for range rounds {
		unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
	}
}

func connect(rounds int) {
	listener := call(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM, 0)
	addr := unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: [4]byte{127, 0, 0, 1}}
	size := uint32(unsafe.Sizeof(addr))
	call(unix.SYS_LISTEN, listener, 8, 0)
	call(unix.SYS_GETSOCKNAME, listener, uintptr(unsafe.Pointer(&addr)), uintptr(unsafe.Pointer(&size)))
	addr.Addr = [4]byte{127, 0, 0, 1}
	for range rounds {
		client := call(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM, 0)
		call(unix.SYS_CONNECT, client, uintptr(unsafe.Pointer(&addr)), unsafe.Sizeof(addr))
		server := call(unix.SYS_ACCEPT4, listener, 0, 0)
		call(unix.SYS_CLOSE, client, 0, 0)
		call(unix.SYS_CLOSE, server, 0, 0)
	}
	call(unix.SYS_CLOSE, listener, 0, 0)
}

// call makes a system call that must work, without telling Go's scheduler.
func call(trap, a, b, c uintptr) uintptr {
	r, _, errno := unix.RawSyscall6(trap, a, b, c, 0, 0, 0)
	if errno != 0 {
		log.Fatalf("system call %d: %v", trap, errno)
	}
	return r
}
