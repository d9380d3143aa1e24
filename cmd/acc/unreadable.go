package main

// This file opens several files, and says in JSON which can't be read.

import (
	"errors"
	"io"
	"os"
	"syscall"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/format"
)

// unreadable is what JSON says of a file of which nothing could be read.
type unreadable struct {
	Schema  int    `json:"schema"`  // as in analyze
	File    string `json:"file"`    // as it was named
	Verdict string `json:"verdict"` // truncated or corrupt, if that is why; else unreadable
	Error   string `json:"error"`   // as standard error says it
}

// tellUnreadable prints the object for a file, by the error of reading it.
func tellUnreadable(out io.Writer, name string, err error) error {
	if errors.As(err, new(exited)) || errors.As(err, new(*usageError)) {
		return nil // it was not the file
	}
	u := unreadable{Schema: analysis.SchemaVersion, File: inputName(name), Verdict: "unreadable", Error: err.Error()}
	switch {
	case errors.As(err, new(*format.CorruptError)):
		u.Verdict = "corrupt"
	case errors.Is(err, format.ErrTruncated):
		u.Verdict = "truncated"
	}
	return encodeJSON(out, u)
}

// inputName is what an input is called in output.
func inputName(name string) string {
	if name == "-" {
		return "standard input"
	}
	return name
}

// spareFiles is how many descriptors stay free for confine and Go's runtime.
const spareFiles = 4

// openFiles opens all of them, since a confined process can't: each gives an input or
// an error. Go raises the soft limit on open files to the hard one.
func openFiles(names []string) (ins []*input, errs []error) {
	for range spareFiles {
		if f, err := os.Open(os.DevNull); err == nil {
			defer f.Close()
		}
	}
	ins, errs = make([]*input, len(names)), make([]error, len(names))
	for i, name := range names {
		if ins[i], errs[i] = openFile(name); ins[i] != nil {
			ins[i].number = i + 1
		}
		if errors.Is(errs[i], syscall.EMFILE) {
			errs[i] = &hinted{errs[i], "all files are opened before the first is read: name fewer at a time (xargs " +
				"-n 100), or raise ulimit -n"}
		}
	}
	return ins, errs
}
