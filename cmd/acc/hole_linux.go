package main

// This file passes over the holes of sparse files.

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// SkipHole moves the file to the next data behind its place, or to its end, and gives how many
// bytes of a sparse file lie between: they are zeros that are nowhere stored.
func (f *meteredFile) SkipHole() (int64, error) {
	file, ok := f.captureFile.(*os.File)
	if !ok { // a part of one, which has none
		return 0, nil
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return 0, nil
	}
	skipped := int64(0)
	err = raw.Control(func(fd uintptr) {
		at, err := unix.Seek(int(fd), 0, io.SeekCurrent)
		if err != nil {
			return
		}
		next, err := unix.Seek(int(fd), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) { // nothing but a hole follows
			next, err = unix.Seek(int(fd), 0, io.SeekEnd)
		}
		if err != nil || next < at { // no regular file
			_, _ = unix.Seek(int(fd), at, io.SeekStart)
			return
		}
		skipped = next - at
	})
	f.at.Add(skipped)
	return skipped, err
}
