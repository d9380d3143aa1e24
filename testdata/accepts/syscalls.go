//go:build linux

package main

// This file has the cases of system calls.

import (
	"os"
	"os/signal"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

var syscallCases = []testCase{
	{"accept", func(t *test) {
		l, _ := t.ready()
		t.call(l, viaAccept, 0, func(fd int) (int, unix.Errno) { return accept(fd, nil, nil) })
	}},
	{"accept-addr", func(t *test) {
		l, _ := t.ready()
		addr, addrlen := (&buffer{len: 128}).args()
		t.call(l, viaAccept, 0, func(fd int) (int, unix.Errno) { return accept(fd, addr, addrlen) })
	}},
	{"accept4", func(t *test) {
		l, _ := t.ready()
		t.call(l, viaAccept4, 0, func(fd int) (int, unix.Errno) {
			return accept4(fd, nil, nil, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		})
	}},
	{"accept4-addr", func(t *test) {
		l, _ := t.ready()
		t.acceptInto(l, 0, &buffer{len: 128})
	}},
	{"nonblock-empty", func(t *test) {
		l := t.listen4()
		t.check("O_NONBLOCK", unix.SetNonblock(l.fd, true))
		t.accept(l, unix.EAGAIN)
	}},
	{"blocking-later", func(t *test) {
		l := t.listen4()
		t.whenAsleep(func() { t.connect(l) })
		t.accept(l, 0)
	}},
	{"rcvtimeo", func(t *test) {
		t.accept(t.listenFor(unix.Timeval{Usec: 50_000}), unix.EAGAIN)
	}},
	{"rcvtimeo-interrupted", func(t *test) {
		l := t.listenFor(unix.Timeval{Sec: 30})
		t.interrupt()
		t.accept(l, unix.EINTR)
	}},
	{"interrupted", func(t *test) {
		l := t.listen4()
		t.interrupt()
		t.accept(l, unix.EINTR)
	}},
	{"restarted", restarted},
	{"killed", killed},
	{"emfile", func(t *test) {
		l, _ := t.ready()
		restore := t.noDescriptors()
		t.call(l, viaAccept4, unix.EMFILE, func(fd int) (int, unix.Errno) {
			defer restore()
			return accept4(fd, nil, nil, 0)
		})
		t.accept(l, 0) // the connection was not lost
	}},
	{"enfile", enfile},
	{"ebadf", func(t *test) {
		t.accept(&socket{fd: 1_000_000}, unix.EBADF)
	}},
	{"enotsock", func(t *test) {
		f, err := os.Open("/proc/self/exe")
		t.check("open", err)
		defer f.Close()
		t.accept(&socket{fd: int(f.Fd())}, unix.ENOTSOCK)
	}},
	{"eopnotsupp", func(t *test) {
		t.accept(t.socket(unix.AF_INET, unix.SOCK_DGRAM, 0), unix.EOPNOTSUPP)
	}},
	{"einval-flags", func(t *test) {
		l, _ := t.ready()
		t.call(l, viaAccept4, unix.EINVAL, func(fd int) (int, unix.Errno) { return accept4(fd, nil, nil, 1) })
	}},
	{"einval-not-listening", func(t *test) {
		t.accept(t.socket(unix.AF_INET, unix.SOCK_STREAM, 0), unix.EINVAL)
	}},
	{"shutdown-while-blocked", func(t *test) {
		l := t.listen4()
		t.whenAsleep(func() { t.check("shutdown", unix.Shutdown(l.fd, unix.SHUT_RDWR)) })
		t.accept(l, unix.EINVAL)
	}},
	{"efault-addr", func(t *test) {
		l, c := t.ready()
		_, addrlen := (&buffer{len: 128}).args()
		addr := t.nowhere()
		t.lose(t.call(l, viaAccept4, unix.EFAULT, func(fd int) (int, unix.Errno) { return accept4(fd, addr, addrlen, 0) }), c)
	}},
	{"efault-addrlen", func(t *test) {
		l, c := t.ready()
		addr, _ := (&buffer{}).args()
		addrlen := t.nowhere()
		t.lose(t.call(l, viaAccept4, unix.EFAULT, func(fd int) (int, unix.Errno) { return accept4(fd, addr, addrlen, 0) }), c)
	}},
	{"bad-addrlen", func(t *test) {
		l, c := t.ready()
		t.lose(t.acceptInto(l, unix.EINVAL, &buffer{len: -1}), c)
	}},
	{"short-addrlen", func(t *test) {
		l, _ := t.ready()
		t.acceptInto(l, 0, &buffer{len: 4})
	}},
	{"reset-before-accept", func(t *test) {
		l := t.listen4()
		c := t.connect(l)
		t.check("SO_LINGER", unix.SetsockoptLinger(c.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
		// Connecting to nothing makes a reset, as closing does, and keeps the descriptor.
		t.check("disconnect", disconnect(c.fd))
		t.accept(l, 0).Remote = c.local
	}},
	{"close-while-blocked", func(t *test) {
		l := t.listen4()
		t.whenAsleep(func() {
			t.check("close", unix.Close(l.fd))
			t.connect(l)
		})
		t.accept(l, 0)
	}},
	{"seccomp", func(t *test) {
		l, _ := t.ready()
		t.check("no_new_privs", unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		program := unix.SockFprog{Len: uint16(len(denyAccept)), Filter: &denyAccept[0]}
		err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
		t.skipIf("seccomp", err, unix.EINVAL)
		t.check("seccomp", err)
		t.accept(l, unix.EPERM).Denied = true
	}},
}

func (t *test) acceptInto(l *socket, errno unix.Errno, b *buffer) *entry {
	addr, addrlen := b.args()
	return t.call(l, viaAccept4, errno, func(fd int) (int, unix.Errno) { return accept4(fd, addr, addrlen, 0) })
}

// listenFor makes a listener that waits no longer than that.
func (t *test) listenFor(timeout unix.Timeval) *socket {
	l := t.listen4()
	t.check("SO_RCVTIMEO", unix.SetsockoptTimeval(l.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout))
	l.timeout = true
	return l
}

// sigaction begins as the kernel's structure of that name on every architecture.
type sigaction struct {
	handler uintptr
	flags   uintptr
	rest    [32]byte
}

const saRestart = 0x10000000

func setAction(sig unix.Signal, set, get *sigaction) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(get)), 8, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// interrupt sends this thread a signal when it sleeps in accept, after which the
// call is not restarted.
func (t *test) interrupt() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, unix.SIGUSR2)
	t.atEnd(func() { signal.Stop(c) })
	var a sigaction // Go's own, without restart
	t.check("rt_sigaction", setAction(unix.SIGUSR2, nil, &a))
	a.flags &^= saRestart
	t.check("rt_sigaction", setAction(unix.SIGUSR2, &a, nil))
	tid := unix.Gettid()
	t.whenAsleep(func() { t.check("tgkill", unix.Tgkill(t.PID, tid, unix.SIGUSR2)) })
}

func restarted(t *test) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, unix.SIGUSR1)
	defer signal.Stop(c)
	l := t.listen4()
	tid := unix.Gettid()
	t.whenAsleep(func() {
		t.check("tgkill", unix.Tgkill(t.PID, tid, unix.SIGUSR1))
		<-c
		t.awaitSleep(t.PID, tid)
		t.connect(l)
	})
	t.entry(l, viaAccept4).Errno = erestartsys
	t.accept(l, 0)
}

func killed(t *test) {
	c := t.start("block")
	want := c.result()
	t.awaitSleep(c.Process.Pid, c.Process.Pid)
	t.check("kill", c.Process.Kill())
	_ = c.Wait()
	for _, e := range want {
		e.PID, e.TID = c.Process.Pid, c.Process.Pid
	}
	t.Want = want
}

// childBlock tells what is to come and waits for its end.
func childBlock(t *test) {
	l := t.listen4()
	t.entry(l, viaAccept4).Errno = erestartsys
	t.print()
	_, _ = accept4(l.fd, nil, nil, 0)
}

// noDescriptors leaves none to the process until restore is called.
func (t *test) noDescriptors() (restore func()) {
	var old unix.Rlimit
	t.check("prlimit", unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, &old))
	t.check("prlimit", unix.Prlimit(0, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: old.Max}, nil))
	return func() { _ = unix.Prlimit(0, unix.RLIMIT_NOFILE, &old, nil) }
}

// enfile lets the whole machine have no more files. It takes that this thread
// may not override it, and that this lasts for one call.
func enfile(t *test) {
	const path = "/proc/sys/fs/file-max"
	old, err := os.ReadFile(path)
	t.check("file-max", err)
	l, _ := t.ready()
	if f, err := os.OpenFile(path, os.O_WRONLY, 0); err != nil {
		t.skip("file-max: %v", err)
	} else {
		defer f.Close()
		_, err = f.WriteString("0")
		t.check("file-max", err)
		defer func() {
			_, err := f.WriteAt([]byte(strings.TrimSpace(string(old))), 0)
			t.check("file-max", err)
		}()
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var had [2]unix.CapUserData
	t.check("capget", unix.Capget(&header, &had[0]))
	without := had
	without[0].Effective &^= 1 << unix.CAP_SYS_ADMIN
	t.check("capset", unix.Capset(&header, &without[0]))
	t.call(l, viaAccept4, unix.ENFILE, func(fd int) (int, unix.Errno) {
		fd, errno := accept4(fd, nil, nil, 0)
		t.check("capset", unix.Capset(&header, &had[0]))
		return fd, errno
	})
	t.accept(l, 0) // the connection was not lost
}

// disconnect dissolves a connection. With SO_LINGER of nothing it resets it.
func disconnect(fd int) error {
	var none unix.RawSockaddr // AF_UNSPEC
	_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&none)), unsafe.Sizeof(none))
	if errno != 0 {
		return errno
	}
	return nil
}
