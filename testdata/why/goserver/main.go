// Goserver is a server whose accepting goroutine does something that takes long with its first client, and measures
// that itself: goserver MODE [PORT of the backend]. Modes: cpu; mutex, which another goroutine holds that waits for the
// backend; ended: the goroutine that accepts returns after its first client. It prints what testdata/why/server.c does.
package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

type store struct {
	mu      sync.Mutex
	backend net.Conn
}

//go:noinline
func (s *store) query(locked chan bool) {
	s.mu.Lock()
	close(locked)
	_, _ = s.backend.Write([]byte("SELECT 1"))
	_, _ = s.backend.Read(make([]byte, 1))
	s.mu.Unlock()
}

//go:noinline
func (s *store) admit() {
	s.mu.Lock()
	defer s.mu.Unlock()
}

var sink uint32

// hashPassword gives for how long the program ran, on whichever threads.
//
//go:noinline
func hashPassword() (cpu int64) {
	for from := ns(unix.CLOCK_PROCESS_CPUTIME_ID); cpu < 2_500_000_000; cpu = ns(unix.CLOCK_PROCESS_CPUTIME_ID) - from {
		for i := range uint32(5_000) {
			sink = sink*1664525 + i
		}
	}
	return cpu
}

func ns(clock int32) int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(clock, &t)
	return t.Nano()
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "goserver:", err)
		os.Exit(1)
	}
}

func run() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		return err
	}
	var st unix.Stat_t
	var statErr error
	if err := errors.Join(raw.Control(func(fd uintptr) { statErr = unix.Fstat(int(fd), &st) }), statErr); err != nil {
		return err
	}
	var s store
	if os.Args[1] == "mutex" {
		if s.backend, err = net.Dial("tcp", net.JoinHostPort("127.0.0.1", os.Args[2])); err != nil {
			return err
		}
	}
	fmt.Println("listens", l.Addr().(*net.TCPAddr).Port, st.Ino, os.Getpid())
	if os.Args[1] != "ended" {
		return serve(l, &s)
	}
	go func() {
		_ = serve(l, &s)
		fmt.Println("ended", ns(unix.CLOCK_BOOTTIME))
	}()
	for range time.Tick(time.Hour) { // what the program does besides
	}
	return nil
}

//go:noinline
func serve(l net.Listener, s *store) error {
	for first := true; ; first = false {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		if os.Args[1] == "ended" {
			c.Close()
			return nil
		}
		if first {
			fmt.Println("began")
			from, cpu := ns(unix.CLOCK_BOOTTIME), int64(0)
			if os.Args[1] == "cpu" {
				cpu = hashPassword()
			} else {
				locked := make(chan bool)
				go s.query(locked)
				<-locked
				s.admit()
			}
			fmt.Println("busy", from, ns(unix.CLOCK_BOOTTIME), cpu)
		}
		c.Close()
	}
}
