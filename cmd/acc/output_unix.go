//go:build unix

package main

// This file has what output needs of UNIX systems: terminals, links, locks.

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	noFollow = syscall.O_NOFOLLOW
	noWait   = syscall.O_NONBLOCK
)

// statusSignal asks acc record for a status line.
var statusSignal os.Signal = syscall.SIGUSR1

// size is how many columns and lines a terminal has, 0 if f is none.
func size(f *os.File) (columns, lines int) {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0, 0
	}
	return int(size.Col), int(size.Row)
}

// isTerminal reports whether f is a terminal, which other devices are not.
func isTerminal(f *os.File) bool {
	st, err := f.Stat()
	if err != nil || st.Mode()&os.ModeCharDevice == 0 {
		return false // asking a pipe by Fd would make its reads hold a thread
	}
	_, err = unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	return err == nil
}

// isClosed reports whether a standard file was closed when acc began. Go opens the null device for
// reading and writing in its place; who gives it to acc so as output means the same by it.
func isClosed(f *os.File) bool {
	st, err := f.Stat()
	if err != nil {
		return true
	}
	null, err := os.Stat(os.DevNull)
	if err != nil || !os.SameFile(st, null) {
		return false
	}
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	return err == nil && flags&unix.O_ACCMODE == unix.O_RDWR
}

// links is how many names a file has.
func links(st fs.FileInfo) uint64 {
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		return uint64(sys.Nlink) //nolint:unconvert // it has 32 bits on arm64
	}
	return 1
}

// dumpSignal has a flight recorder dump.
var dumpSignal os.Signal = syscall.SIGUSR2

// umask sets the mode bits that new files do not get, and gives those before.
func umask(mask int) int { return unix.Umask(mask) }

// ownedBy reports whether a file belongs to a user.
func ownedBy(st fs.FileInfo, uid uint32) bool {
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && sys.Uid == uid
}

// lockFile takes the lock that acc holds on a file while it writes it (flock(2)), and reports
// whether another process has it. Where a file system has no locks, none is held.
func lockFile(f *os.File) (taken bool) {
	raw, err := f.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		taken = errors.Is(unix.Flock(int(fd), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
	})
	return taken
}

// asCaller gives a command the rights of the user who called sudo, if one did, and a process group of its own: what is
// typed on the terminal is not for it.
func asCaller(cmd *exec.Cmd) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if uid, gid := caller(); uid > 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	return cmd
}

// freeSpace is how many bytes a user without rights can write in a folder.
func freeSpace(folder string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(folder, &st); err != nil {
		return 0, err
	}
	return int64(min(uint64(st.Bavail), 1<<40)) * int64(st.Bsize), nil //nolint:unconvert // types differ between systems
}
