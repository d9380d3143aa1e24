package capture

// This file keeps room on the disk for the end of the capture.

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// endRoom is kept free for the end of a capture: losses, what the kernel counted,
// who is blocked, END, the index of a few thousand frames.
const endRoom = 256 << 10

// indexRoom is what the index takes for each frame, at most.
const indexRoom = 32

// errNoRoom says why recording ended.
var errNoRoom = errors.New("the disk is full")

// room keeps disk space in reserve, so that a capture on a full disk still gets its
// end. The zero value is of a file that has no such thing, as a pipe.
type room struct {
	file   *os.File
	at     int64 // where the next frame goes
	frames int64
}

// newRoom reserves the space of a capture's end, if w is a regular file on a file
// system that can.
func newRoom(w io.Writer) (*room, error) {
	r := &room{}
	f, ok := w.(*os.File)
	if !ok {
		return r, nil
	}
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return r, nil
	}
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return r, nil
	}
	r.file, r.at = f, at
	if err := r.reserve(0); err != nil {
		return r, fmt.Errorf("reserve %d KiB for the end of the capture: %w", endRoom>>10, err)
	}
	return r, nil
}

// follow takes the place of the file for where the next frame goes: what is encrypted is longer than it was.
func (r *room) follow() {
	if r.file == nil {
		return
	}
	if at, err := r.file.Seek(0, io.SeekCurrent); err == nil {
		r.at = at
	}
}

// take makes sure that a frame can be written and the end behind it. Its error is
// errNoRoom, wrapped with the reason.
func (r *room) take(bytes int) error {
	if err := r.reserve(int64(bytes)); err != nil {
		return fmt.Errorf("%w: %w", errNoRoom, err)
	}
	r.at += int64(bytes)
	r.frames++
	return nil
}

func (r *room) reserve(bytes int64) error {
	if r.file == nil {
		return nil
	}
	size := bytes + endRoom + indexRoom*r.frames
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &limit); err == nil && uint64(r.at+size) > limit.Cur {
		return fmt.Errorf("a file of this process may have %d bytes: %w", limit.Cur, unix.EFBIG)
	}
	for {
		err := unix.Fallocate(int(r.file.Fd()), unix.FALLOC_FL_KEEP_SIZE, r.at, size)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT), errors.Is(err, unix.EFBIG):
			return err
		case err != nil: // this file system has no reserve
			r.file = nil
		}
		return nil
	}
}

// release gives back what was not needed.
func (r *room) release() {
	if r.file != nil {
		if st, err := r.file.Stat(); err == nil {
			_ = r.file.Truncate(st.Size())
		}
	}
}
