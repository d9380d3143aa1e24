//go:build amd64 || arm64

package confine

// This file confines the recorder.

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// RecorderOptions say what a recording goes on to do beyond writing its file. The zero value is nothing.
type RecorderOptions struct {
	Owner int  // user to whom new files are given, 0: nobody
	Links bool // make folders, and give files further names
}

// Recorder gives up what recording no longer needs: capabilities but those to keep (a bit
// each, by number), new privileges, and, by a filter of system calls, those that start a
// program, change a file that is there, load a program into the kernel, or reach the
// network. The error says what it could not give up; the rest is given up.
//
// Landlock is not used: a process in a Landlock domain may not look at processes
// outside of it (/proc/PID/exe, ns, syscall), whatever its capabilities.
func Recorder(keep uint64, o RecorderOptions) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// Beside the locked thread: Go starts threads by clone from any of them, and they
	// inherit what their maker has.
	return errors.Join(dropCapabilities(keep), forbidForRecorder(o))
}

// dropCapabilities drops all capabilities of all threads but those to keep.
func dropCapabilities(keep uint64) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	for i := range data {
		data[i].Permitted &= uint32(keep >> (32 * i))
		data[i].Effective, data[i].Inheritable = data[i].Permitted, 0
	}
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)),
		uintptr(unsafe.Pointer(&data[0])), 0)
	runtime.KeepAlive(&header)
	runtime.KeepAlive(&data)
	if errno == unix.ENOTSUP {
		return errors.New("drop capabilities: acc was built with cgo, which does not let it")
	}
	if errno != 0 {
		return fmt.Errorf("drop capabilities: %w", errno)
	}
	return nil
}

// bpfCommands are what a recording does with the programs and maps that it has.
// Loading others is not among it.
var bpfCommands = []uint32{
	unix.BPF_MAP_LOOKUP_ELEM, unix.BPF_MAP_UPDATE_ELEM, unix.BPF_MAP_DELETE_ELEM, unix.BPF_MAP_GET_NEXT_KEY,
	unix.BPF_OBJ_GET_INFO_BY_FD,
	unix.BPF_RAW_TRACEPOINT_OPEN, unix.BPF_LINK_CREATE, unix.BPF_LINK_UPDATE, unix.BPF_LINK_DETACH,
}

func forbidForRecorder(o RecorderOptions) error {
	var allowed []uint32
	if o.Owner > 0 {
		allowed = append(allowed, unix.SYS_FCHOWN)
	}
	if o.Links {
		allowed = append(allowed, unix.SYS_LINKAT, unix.SYS_MKDIRAT)
	}
	f := newFilter(allowed...)
	if o.Owner > 0 {
		f.when(unix.SYS_FCHOWN, func(f *filter) {
			f.arg(1)
			f.among(uint32(o.Owner))
		})
	}
	f.when(unix.SYS_BPF, func(f *filter) {
		f.arg(0)
		f.among(bpfCommands...)
	})
	f.when(unix.SYS_OPENAT, func(f *filter) {
		// For reading; a new file; or appending, which removes probes from tracefs.
		f.arg(2)
		f.op(andWith, unix.O_ACCMODE|unix.O_CREAT|unix.O_EXCL|unix.O_TRUNC|unix.O_APPEND, 0, 0)
		f.among(unix.O_RDONLY, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, unix.O_WRONLY|unix.O_APPEND)
	})
	f.when(unix.SYS_SETNS, func(f *filter) {
		f.arg(1)
		f.among(unix.CLONE_NEWNET)
	})
	f.when(unix.SYS_SOCKET, func(f *filter) {
		f.arg(0)
		f.among(unix.AF_UNIX, unix.AF_NETLINK)
	})
	return f.install()
}
