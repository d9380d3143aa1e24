package main

// This file notices when the file that acc writes is deleted, replaced or changed.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/acc-project/acc/format"
)

// checkEvery is how often an output is looked at where the kernel does not report changes.
const checkEvery = time.Second

// checkPause is the least time between two looks.
const checkPause = 200 * time.Millisecond

// lostError says that what acc wrote is no longer under the name of its output.
type lostError struct {
	name, what string
	hint       string
}

func (e *lostError) Error() string { return fmt.Sprintf("%s %s", e.name, e.what) }

// outputState is what was seen of an output file last.
type outputState struct {
	reader *os.File // the same file, for reading
	markAt int64    // place of what was read of it last
	mark   []byte
	moved  bool // it has another name
}

// watch looks at the file whenever it changes, and calls lost once when it is no longer what acc
// wrote. It says so on errOut at once, as it says that a file was renamed. It ends with ctx.
func (o *output) watch(ctx context.Context, errOut io.Writer, lost func(error)) {
	if o.stdout {
		return
	}
	wait := waitForChange(ctx, o.file)
	go func() {
		for {
			if o.isMoved() { // what becomes of its old name does not change the file
				pause(ctx, checkEvery)
			} else {
				wait()
			}
			if ctx.Err() != nil {
				return
			}
			moved := o.isMoved()
			if err := o.check(); err != nil {
				fmt.Fprintf(errOut, "acc: %s; the recording ends\n", format.Quote(err.Error()))
				lost(err)
				return
			}
			if !moved && o.isMoved() {
				fmt.Fprintf(errOut, "acc: %s was renamed or moved; acc goes on writing the same file\n",
					fileName(o.name))
			}
			pause(ctx, checkPause)
		}
	}()
}

// isMoved reports whether the file had another name when it was looked at last.
func (o *output) isMoved() bool {
	o.checking.Lock()
	defer o.checking.Unlock()
	return o.state.moved
}

// pause waits, at most until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// check gives a *lostError if the file of that name is not the one that acc wrote, or does
// not hold what it wrote.
func (o *output) check() error {
	if o.stdout {
		return nil
	}
	o.checking.Lock()
	defer o.checking.Unlock()
	written, err := o.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil
	}
	st, err := o.file.Stat()
	if err != nil {
		return nil
	}
	named, nameErr := o.root.Lstat(o.base)
	gone := errors.Is(nameErr, fs.ErrNotExist)
	lost := func(what, hint string) error { return &lostError{o.name, what, hint} }
	switch {
	case links(st) == 0 && gone:
		return lost("was deleted while acc wrote it", "its events are gone; record again")
	case links(st) == 0:
		return lost("was replaced by another file while acc wrote it", "its events are gone; record again")
	case nameErr == nil && !os.SameFile(st, named):
		return lost("was replaced by another file while acc wrote it", "what acc wrote is where the file was moved to")
	case st.Size() < written:
		return lost("was truncated while acc wrote it", "its events are gone; record again")
	case !o.holdsMark():
		return lost("was overwritten while acc wrote it", "its events are gone; record again")
	}
	o.state.moved = gone
	o.setMark(written)
	return nil
}

// setMark remembers the last bytes before a place.
func (o *output) setMark(end int64) {
	if o.state.reader == nil {
		return
	}
	mark := make([]byte, min(end, 32))
	if n, _ := o.state.reader.ReadAt(mark, end-int64(len(mark))); n == len(mark) {
		o.state.mark, o.state.markAt = mark, end-int64(len(mark))
	}
}

// holdsMark reports whether the bytes that were remembered are there.
func (o *output) holdsMark() bool {
	if len(o.state.mark) == 0 {
		return true
	}
	now := make([]byte, len(o.state.mark))
	n, _ := o.state.reader.ReadAt(now, o.state.markAt)
	return n == len(now) && bytes.Equal(now, o.state.mark)
}

// openForCheck opens the file once more, for reading. Without it, an overwritten file is not noticed.
func (o *output) openForCheck() {
	r, err := o.root.OpenFile(o.base, os.O_RDONLY|noFollow, 0)
	if err != nil {
		return
	}
	mine, err1 := o.file.Stat()
	other, err2 := r.Stat()
	if err1 != nil || err2 != nil || !os.SameFile(mine, other) {
		r.Close()
		return
	}
	o.state.reader = r
}

// closeForCheck closes what openForCheck opened.
func (o *output) closeForCheck() {
	o.checking.Lock()
	defer o.checking.Unlock()
	if o.state.reader != nil {
		o.state.reader.Close()
		o.state = outputState{moved: o.state.moved}
	}
}
