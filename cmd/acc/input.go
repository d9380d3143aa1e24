package main

// This file opens captures, and begins to read them.

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/acc-project/acc/confine"
	"github.com/acc-project/acc/evidence"
	"github.com/acc-project/acc/format"
)

// readSeveral names the commands that read several captures.
const readSeveral = "info, verify, analyze, replay and export read several"

// oneCapture wants one argument, a capture file or -.
func oneCapture(cmd *cobra.Command, args []string) error {
	switch len(args) {
	case 0:
		return usage(cmd, errors.New("name a capture file, or - for standard input"))
	case 1:
		return nil
	}
	return usage(cmd, fmt.Errorf("%s reads one capture, not %d: each has a clock and events of its own; %s", cmd.Name(),
		len(args), readSeveral))
}

// someCaptures wants one argument at least, captures or folders.
func someCaptures(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usage(cmd, errors.New("name a capture file, or - for standard input"))
	}
	return nil
}

// confineReader gives up what a reader of files does not need; tests that run commands in
// their own process replace it.
var confineReader = confine.Reader

// input is an open capture.
type input struct {
	*evidence.Capture // nil before begin
	file              captureFile
	source            *meteredFile // file, as it is read
	name              string
	number            int                     // of those that were opened together, from 1; 0: it was opened alone
	size              int64                   // of the file, 0 if it is none
	bytes             int64                   // the same, but 0 of a compressed file, too: a pipe can make wait
	stored            int64                   // bytes of the encrypted file, if it is one
	decrypted         *evidence.CountedReader // what was decrypted as it is read once; nil: nothing
	inside            bool                    // read the capture in a file that gzip or zstd compressed as a whole
	opts              format.ReaderOptions
	beside            bool                // it is read beside others: nothing of it is decoded ahead, which takes memory
	whole             bool                // records of all frames are wanted: none is passed over by the index
	each              func(*format.Batch) // is given each batch before its events are; nil: nobody wants them
	settle            func() error        // is called before that; nil: nothing is to be done
	zone              *time.Location      // in which times of the command line are meant; nil: the recorded host's
	more              []*input            // files of the same recording that follow it
	merged            *format.Source      // what a merged file says of it; nil: it is not in one
}

// Close closes it, and those that follow it.
func (in *input) Close() {
	in.file.Close()
	for _, x := range in.more {
		x.file.Close()
	}
}

// openFile opens a capture file, or standard input for "-", and reads nothing of it.
func openFile(name string) (*input, error) {
	in := &input{file: os.Stdin, source: &meteredFile{captureFile: os.Stdin}, name: inputName(name)}
	if name == "-" {
		if isTerminal(os.Stdin) {
			return nil, &hinted{errors.New("a capture can't come from a terminal"), "name a file, or pipe one in"}
		}
		return in, nil
	}
	f, number, err := openNumbered(name)
	if err != nil {
		return nil, err
	}
	in.file = f
	if err := in.find(f, number); err != nil {
		f.Close()
		return nil, err
	}
	in.source = &meteredFile{captureFile: in.file}
	return in, nil
}

// find finds the capture in a file: it can be in a merged one, in a report, or encrypted.
func (in *input) find(f *os.File, number int) error {
	if err := refuseFolder(f); err != nil {
		return err
	}
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return nil
	}
	in.size, in.bytes = st.Size(), st.Size()
	if err := in.openSource(f, number); err != nil {
		return err
	}
	if err := in.openReport(); err != nil {
		return fmt.Errorf("%s: %w", in.name, err)
	}
	return in.unseal()
}

// readSmall reads a file that is not a capture and has at most so many bytes.
func readSmall(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("read %s: it is longer than %d bytes", name, most)
	}
	return b, err
}

// readerMemory is where the garbage collector begins to work harder, so that
// reading stays within 256 MiB for any file. Nothing is refused at it.
const readerMemory = 208 << 20

// maxSkip is how much of what is no capture is read from a device or a pipe, which
// need not have an end: more than a frame can have.
const maxSkip = 64 << 20

// Hints for a file that acc can't read at all.
const (
	copyAgain   = "copy it again from the host that was recorded"
	nothingRead = "its first frame is incomplete, so acc can't read any of it: " + copyAgain
)

// again refuses an input that is empty or can be read only once.
func (in *input) again() error {
	if in.bytes > 0 {
		return nil
	}
	if in.isEmpty() {
		return &hinted{fmt.Errorf("%s: %w: it is empty", in.name, format.ErrTruncated), copyAgain}
	}
	return &hinted{fmt.Errorf("%s: it is not a file that can be read twice", in.name),
		"save what comes through a pipe first: cat >incident.acc"}
}

// begin reads the header from r, which gives what in.file holds.
func (in *input) begin(r io.Reader, salvage bool) error {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(readerMemory)
	}
	if in.bytes == 0 {
		var err error
		if r, err = in.peeked(r); err != nil {
			return err
		}
	}
	r, err := in.unwrap(r)
	if err != nil {
		return fmt.Errorf("%s: %w", in.name, err)
	}
	opts := in.opts
	opts.Salvage, opts.Ahead = salvage, in.bytes > 0 && !in.beside
	kept := &keptHead{}
	if in.bytes == 0 {
		opts.MaxSkip = maxSkip
		kept.r = r
		r = kept
	}
	reader, err := format.NewReader(r, opts)
	if err != nil {
		switch {
		case errors.Is(err, format.ErrNotCapture) && !salvage && !isArchive(in.head(kept)) && in.beheaded():
			err = &hinted{
				&format.CorruptError{
					Reason: "its beginning is missing or corrupt; a capture's frames stand behind that",
				},
				"--salvage reads what is there, acc verify and acc repair, too",
			}
		case errors.Is(err, format.ErrNotCapture):
			err = foreign(err, in.head(kept), in.file.Name())
		case errors.Is(err, format.ErrTruncated) && in.isEmpty():
			err = &hinted{err, "the file is empty: " + copyAgain}
		case errors.Is(err, format.ErrTruncated) && in.bytes == 0 && len(kept.head) == 0:
			err = &hinted{err, "nothing came: the command that was to write it may have failed before"}
		case errors.Is(err, format.ErrTruncated):
			err = &hinted{err, nothingRead}
		}
		return fmt.Errorf("%s: %w", in.name, err)
	}
	var again io.ReadSeeker
	if in.bytes > 0 {
		again = in.source
	}
	in.Capture, err = evidence.NewCapture(in.name, reader, again)
	if err == nil && len(in.more) > 0 {
		in.join(salvage)
	}
	return err
}

// beheaded reports whether a file that does not begin like a capture has frames of one further on.
func (in *input) beheaded() bool {
	if in.bytes == 0 {
		return false
	}
	if _, err := in.source.Seek(0, io.SeekStart); err != nil {
		return false
	}
	_, err := format.NewReader(in.source, format.ReaderOptions{Salvage: true, MaxSkip: maxSkip})
	return err == nil
}

// head gives the first bytes of the input: of a file, or what was kept of a pipe.
func (in *input) head(kept *keptHead) []byte {
	if in.bytes == 0 {
		return kept.head
	}
	b := make([]byte, headBytes)
	n, _ := in.source.ReadAt(b, 0)
	return b[:n]
}

// isEmpty reports whether the input is a file without a byte.
func (in *input) isEmpty() bool {
	st, err := in.file.Stat()
	return err == nil && st.Mode().IsRegular() && st.Size() == 0
}
