//go:build amd64 || arm64

package capture

// This file finds out when a SYN queue counts as full.

import (
	"bytes"
	"errors"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// fullAtLimit reports whether the SYN queue is full when it holds as many requests
// as the accept queue may, as it is up to Linux 6.12, or only with one more (commit
// 3479c7549fb1, which stable kernels have, too). It matters where a full queue drops
// SYNs, which is where there are no SYN cookies: only there it is tried.
func fullAtLimit() bool {
	if b, err := os.ReadFile("/proc/sys/net/ipv4/tcp_syncookies"); err != nil || strings.TrimSpace(string(b)) != "0" {
		return false
	}
	done := make(chan bool)
	go func() {
		runtime.LockOSThread() // which ends with the goroutine
		full, err := tryEmptyQueue()
		done <- full && err == nil
	}()
	return <-done
}

// tryEmptyQueue connects, in a network namespace of its own without SYN cookies, to a
// listener whose limit is 0: is its SYN queue full when it is empty?
func tryEmptyQueue() (full bool, err error) {
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return false, err
	}
	defer own.Close()
	// it may be the process's first thread
	defer func() { err = errors.Join(err, unix.Setns(int(own.Fd()), unix.CLONE_NEWNET)) }()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return false, err
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/tcp_syncookies", []byte("0"), 0); err != nil {
		return false, err
	}
	listener, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false, err
	}
	defer unix.Close(listener)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return false, err
	}
	lo.SetUint16(unix.IFF_UP)
	at := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	if err := errors.Join(unix.IoctlIfreq(listener, unix.SIOCSIFFLAGS, lo), unix.Bind(listener, at),
		unix.Listen(listener, 0)); err != nil {
		return false, err
	}
	to, err := unix.Getsockname(listener)
	if err != nil {
		return false, err
	}
	client, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return false, err
	}
	defer unix.Close(client)
	if err := unix.Connect(client, to); err != nil && err != unix.EINPROGRESS {
		return false, err
	}
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); {
		n, _ := unix.Poll([]unix.PollFd{{Fd: int32(client), Events: unix.POLLOUT}}, 1)
		if n > 0 {
			return false, nil
		}
		b, err := os.ReadFile("/proc/thread-self/net/netstat")
		if err != nil {
			return false, err
		}
		if dropped(b) {
			return true, nil
		}
	}
	return false, os.ErrDeadlineExceeded
}

// dropped reports whether a copy of /proc/net/netstat counts SYNs that were dropped
// because the SYN queue was full.
func dropped(netstat []byte) bool {
	var names [][]byte
	for line := range bytes.Lines(netstat) {
		fields := bytes.Fields(line)
		if len(fields) == 0 || string(fields[0]) != "TcpExt:" {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		for i, name := range names {
			if string(name) == "TCPReqQFullDrop" && i < len(fields) {
				return string(fields[i]) != "0"
			}
		}
	}
	return false
}
