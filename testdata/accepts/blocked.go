//go:build linux

package main

// This file has the calls that wait in accept for long.

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// blocked lets n threads block in accept on one listener, says "ready", and upon
// a line of input gives each of them a connection.
func blocked(n int) error {
	raiseLimits(n)
	debug.SetMaxThreads(2*n + 1000)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Bind(fd, loopback4); err != nil {
		return err
	}
	if err := unix.Listen(fd, n); err != nil {
		return err
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	var accepted atomic.Int64
	tids := make([]int, n)
	for i := range n {
		started := make(chan bool)
		wg.Go(func() {
			runtime.LockOSThread()
			_ = quiet()
			tids[i] = unix.Gettid()
			close(started)
			if _, errno := accept4(fd, nil, nil, 0); errno == 0 {
				accepted.Add(1)
			}
		})
		<-started
	}
	for _, tid := range tids {
		for !asleep(os.Getpid(), tid) {
			time.Sleep(time.Millisecond)
		}
	}
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return fmt.Errorf("wait for a line: %w", err)
	}
	for range n {
		c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if err := unix.Connect(c, at); err != nil {
			return fmt.Errorf("connect: %w", err)
		}
	}
	wg.Wait()
	fmt.Printf("{\"case\":\"blocked\",\"threads\":%d,\"accepted\":%d}\n", n, accepted.Load())
	return nil
}

// raiseLimits makes room for n threads and connections, as far as it may.
func raiseLimits(n int) {
	for path, want := range map[string]int{
		"kernel/threads-max": 2*n + 10_000, "kernel/pid_max": 2*n + 32_768, "vm/max_map_count": 8*n + 65_530, "net/core/somaxconn": n,
	} {
		path = "/proc/sys/" + path
		b, _ := os.ReadFile(path)
		if now, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && now < want {
			_ = os.WriteFile(path, fmt.Append(nil, want), 0)
		}
	}
	files := uint64(2*n + 1000)
	_ = unix.Prlimit(0, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: files, Max: max(files, 1<<20)}, nil)
	_ = unix.Prlimit(0, unix.RLIMIT_NPROC, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}, nil)
}
