package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"time"
)

// output is where a capture is written.
type output struct {
	file   *os.File
	name   string
	stdout bool
}

// createOutput opens the file that a capture goes to: a new one, readable by its
// owner alone; no link is followed, and nothing is overwritten without force. ""
// is a name of its own making, "-" is standard output.
func createOutput(name string, force bool) (*output, error) {
	if name == "-" {
		if isTerminal(os.Stdout) {
			return nil, &usageError{errors.New("a capture is not for a terminal"), "use -o FILE, or pipe it into acc replay -"}
		}
		return &output{file: os.Stdout, name: "standard output", stdout: true}, nil
	}
	if name == "" {
		host, _ := os.Hostname()
		name = fmt.Sprintf("acc-%s-%s.acc", host, time.Now().Format("20060102-150405"))
	}
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL | noFollow
	if force {
		st, err := os.Lstat(name)
		if err == nil && !st.Mode().IsRegular() {
			return nil, fmt.Errorf("overwrite %s: it is not a regular file", name)
		}
		if err == nil {
			if err := os.Remove(name); err != nil {
				return nil, err
			}
		}
	}
	f, err := os.OpenFile(name, flags, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, &hinted{fmt.Errorf("%s exists", name), "name another file, or overwrite it with --force"}
	}
	if err != nil {
		return nil, err
	}
	giveToCaller(f)
	return &output{file: f, name: name}, nil
}

// giveToCaller makes the file belong to the user who called sudo. If that fails,
// root keeps it.
func giveToCaller(f *os.File) {
	uid, err1 := strconv.Atoi(os.Getenv("SUDO_UID"))
	gid, err2 := strconv.Atoi(os.Getenv("SUDO_GID"))
	if err1 == nil && err2 == nil && os.Geteuid() == 0 {
		_ = f.Chown(uid, gid)
	}
}

// close makes the capture durable.
func (o *output) close() error {
	if o.stdout {
		return nil
	}
	if err := o.file.Sync(); err != nil {
		o.file.Close()
		return fmt.Errorf("sync %s: %w", o.name, err)
	}
	return o.file.Close()
}

// discard removes the file of a recording that did not begin.
func (o *output) discard() {
	if !o.stdout {
		o.file.Close()
		_ = os.Remove(o.name)
	}
}
