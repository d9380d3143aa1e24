//go:build amd64 || arm64

package capture

// This file finds the tasks that sit in accept when recording begins or ends.

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"github.com/acc-project/acc/format"
)

// blocked is blockedTasks, where /proc shows ids as the kernel has them.
func (a *attached) blocked(giveUp func() bool) (tasks []format.Blocked, complete bool) {
	if a.elsewhere {
		return nil, false
	}
	return blockedTasks(giveUp)
}

// blockedTasks lists the tasks that sit in accept, by /proc. It stops at the
// deadline; complete is whether it saw all tasks.
func blockedTasks(giveUp func() bool) (tasks []format.Blocked, complete bool) {
	pids, err := os.ReadDir("/proc")
	if err != nil {
		return nil, false
	}
	denied := false
	for _, dir := range pids {
		pid, err := strconv.ParseUint(dir.Name(), 10, 32)
		if err != nil {
			continue
		}
		if giveUp() {
			return tasks, false
		}
		threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			continue // it has ended
		}
		for _, t := range threads {
			tid, _ := strconv.ParseUint(t.Name(), 10, 32)
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/syscall", pid, tid))
			if err != nil {
				denied = denied || errors.Is(err, fs.ErrPermission)
				continue
			}
			if fd, ok := acceptSyscall(b); ok {
				b := format.Blocked{PID: uint32(pid), TID: uint32(tid), SockFD: fd}
				link, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd))
				_, _ = fmt.Sscanf(link, "socket:[%d]", &b.Listener)
				tasks = append(tasks, b)
			}
		}
	}
	return tasks, !denied
}

// acceptSyscall reads a /proc/PID/task/TID/syscall: the number and, in
// hexadecimal, the arguments; "running" if the task is in none.
func acceptSyscall(b []byte) (fd int32, ok bool) {
	fields := bytes.Fields(b)
	if len(fields) < 2 {
		return 0, false
	}
	nr, err := strconv.Atoi(string(fields[0]))
	if err != nil || !acceptNumbers[nr] {
		return 0, false
	}
	arg, err := strconv.ParseUint(string(fields[1]), 0, 64)
	return int32(uint32(arg)), err == nil
}
