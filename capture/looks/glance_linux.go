package looks

// This file reads what /proc says of one thread.

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// files are a thread's files in /proc, kept open between looks.
type files struct {
	dir                       string // /proc/PID/task/TID
	sched, call, stat, asleep *os.File
}

// openFiles opens them. cannot says why a thread's system call can't be seen, "" if it can.
func openFiles(pid, tid uint32) (f files, cannot string, err error) {
	f.dir = fmt.Sprintf("/proc/%d/task/%d", pid, tid)
	if f.sched, err = os.Open(f.dir + "/schedstat"); err != nil {
		return f, "", err
	}
	if f.stat, err = os.Open(f.dir + "/stat"); err != nil {
		f.close()
		return f, "", err
	}
	f.asleep, _ = os.Open(f.dir + "/wchan")
	f.call, err = os.Open(f.dir + "/syscall")
	if err == nil {
		var b [8]byte
		if _, err = f.call.ReadAt(b[:], 0); err != nil && b[0] != 0 {
			err = nil // shorter than that
		}
	}
	if err != nil && !gone(err) {
		cannot = "system calls: " + reason(err)
	}
	return f, cannot, nil
}

// close closes them.
func (f *files) close() {
	for _, file := range []*os.File{f.sched, f.call, f.stat, f.asleep} {
		if file != nil {
			file.Close()
		}
	}
}

// reason is an error without the name of its file, and with what is known to make it.
func reason(err error) string {
	if errors.Is(err, fs.ErrPermission) {
		if b, _ := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope"); string(b) == "3\n" {
			return "kernel.yama.ptrace_scope is 3"
		}
	}
	if e := new(fs.PathError); errors.As(err, &e) {
		err = e.Err
	}
	return err.Error()
}

// gone reports whether an error says that a thread is not there any more.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH)
}

// read reads a small file from its beginning.
func read(f *os.File, buf []byte) (string, error) {
	if f == nil {
		return "", fs.ErrNotExist
	}
	n, err := f.ReadAt(buf, 0)
	if n == 0 && err != nil {
		return "", err
	}
	return string(bytes.TrimSpace(buf[:n])), nil
}

// times are a thread's, by /proc/TID/schedstat: it ran, and waited for a CPU.
type times struct{ ran, waited int64 }

// schedule reads them.
func (f *files) schedule(buf []byte) (t times, err error) {
	s, err := read(f.sched, buf)
	if err != nil {
		return t, err
	}
	ran, rest, _ := strings.Cut(s, " ")
	waited, _, _ := strings.Cut(rest, " ")
	t.ran, err = strconv.ParseInt(ran, 10, 64)
	if err != nil {
		return t, err
	}
	t.waited, err = strconv.ParseInt(waited, 10, 64)
	return t, err
}

// state is the letter of a thread's state, 0 if it is gone (proc_pid_stat(5)).
func (f *files) state(buf []byte) byte {
	s, err := read(f.stat, buf)
	if err != nil {
		return 0
	}
	i := strings.LastIndexByte(s, ')') // a name can hold one
	if i < 0 || len(s) < i+3 {
		return 0
	}
	return s[i+2]
}

// inCall is the system call that a thread is in: /proc/TID/syscall.
type inCall struct {
	nr     int // -1: none, it waits for something else; -2: not known, or it runs
	args   [3]uint64
	sp, pc uint64 // of the program
}

var noCall = inCall{nr: -2}

// parseCall reads a line of /proc/TID/syscall.
func parseCall(s string) inCall {
	words := strings.Fields(s)
	n := len(words)
	if n != 9 && (n != 3 || words[0] != "-1") {
		return noCall
	}
	nr, err := strconv.Atoi(words[0])
	if err != nil || n == 9 && nr < 0 {
		return noCall
	}
	c := inCall{nr: nr}
	numbers := []*uint64{&c.args[0], &c.args[1], &c.args[2]}[:min(n-3, 3)]
	for i, into := range append(numbers, &c.sp, &c.pc) {
		word := words[i+1]
		if i >= len(numbers) {
			word = words[n-2+i-len(numbers)]
		}
		if *into, err = strconv.ParseUint(strings.TrimPrefix(word, "0x"), 16, 64); err != nil {
			return noCall
		}
	}
	return c
}

// inCall reads it.
func (f *files) inCall(buf []byte) inCall {
	s, err := read(f.call, buf)
	if err != nil {
		return noCall
	}
	return parseCall(s)
}

// wchan is the kernel function that a thread sleeps in, "" if the kernel does not say it.
func (f *files) wchan(buf []byte) string {
	s, err := read(f.asleep, buf)
	if err != nil || s == "0" || len(s) > 64 {
		return ""
	}
	return s
}
