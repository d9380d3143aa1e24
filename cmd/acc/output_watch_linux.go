package main

// This file waits for a change of a file by inotify.

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// waitForChange gives a function that waits until a file or its number of names changed, or ctx
// ends; where inotify can't be used, for checkEvery.
func waitForChange(ctx context.Context, f *os.File) func() {
	poll := func() { pause(ctx, checkEvery) }
	raw, err := f.SyscallConn()
	if err != nil {
		return poll
	}
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return poll
	}
	watched := false
	_ = raw.Control(func(file uintptr) {
		_, err := unix.InotifyAddWatch(fd, fmt.Sprintf("/proc/self/fd/%d", file),
			unix.IN_MODIFY|unix.IN_ATTRIB|unix.IN_MOVE_SELF|unix.IN_DELETE_SELF)
		watched = err == nil
	})
	if !watched {
		unix.Close(fd)
		return poll
	}
	changes := os.NewFile(uintptr(fd), "inotify")
	context.AfterFunc(ctx, func() { changes.Close() })
	buf := make([]byte, 16<<10)
	return func() {
		if _, err := changes.Read(buf); err != nil {
			poll()
		}
	}
}
