package main

// This file has files that get their names when they are complete.

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/acc-project/acc/confine"
)

// confineExport gives up what a command does not need that has made its output; tests replace it.
var confineExport = confine.Exporter

// target is where a command writes what it makes of captures: a file that has another name until it is complete, or
// standard output. Whatever fails, the file that it replaces is there until then.
type target struct {
	io.Writer
	file   *os.File // the same, if it is a file; nil after commit and discard, too
	name   string
	stdout bool
	root   *os.Root // its folder
	base   string   // its name there
	draft  string   // the name that it has until it is complete
	old    *os.File // what it replaces, locked: no other acc begins to write it meanwhile; nil: nothing
}

// newTarget makes the file, readable by its owner alone. It replaces nothing without force, nor a file that another acc
// writes.
func newTarget(out io.Writer, name string, force bool) (*target, error) {
	if name == "-" {
		f, ok := out.(*os.File)
		if ok && isClosed(f) {
			return nil, &hinted{errors.New("standard output is closed"), "use -o FILE"}
		}
		return &target{Writer: out, file: f, name: "standard output", stdout: true}, nil
	}
	root, base, err := openFolderOf(name)
	if err != nil {
		return nil, err
	}
	t := &target{name: name, root: root, base: base, draft: "." + base + "." + rand.Text()[:8]}
	if t.old, err = openOld(root, base, force); err == nil {
		t.file, err = root.OpenFile(t.draft, os.O_RDWR|os.O_CREATE|os.O_EXCL|noFollow, 0o600)
	}
	if err != nil {
		t.close()
		return nil, notCreated(name, err)
	}
	giveToCaller(t.file)
	t.Writer = namedWriter{t.file, name}
	return t, nil
}

// namedWriter writes to a file, and its errors have the name that the file gets.
type namedWriter struct {
	file *os.File
	name string
}

// Write implements [io.Writer].
func (w namedWriter) Write(p []byte) (int, error) {
	n, err := w.file.Write(p)
	var path *os.PathError
	if errors.As(err, &path) {
		err = &os.PathError{Op: path.Op, Path: w.name, Err: path.Err}
	}
	return n, err
}

// newBinaryTarget is newTarget for a kind of file that is not for a terminal.
func newBinaryTarget(kind, name string, force bool) (*target, error) {
	if name == "-" && isTerminal(os.Stdout) {
		return nil, &usageError{fmt.Errorf("a %s is not for a terminal", kind), "use -o FILE, or pipe it into a program"}
	}
	return newTarget(os.Stdout, name, force)
}

// commit gives the file its name.
func (t *target) commit() error {
	if t.file == nil || t.stdout {
		return nil
	}
	if err := t.free(); err != nil {
		return notCreated(t.name, err)
	}
	if err := t.file.Sync(); err != nil {
		return err
	}
	if err := t.file.Close(); err != nil {
		return err
	}
	if t.old != nil { // Windows replaces no open file
		t.old.Close()
	}
	if err := t.root.Rename(t.draft, t.base); err != nil {
		return err
	}
	t.file, t.old = nil, nil
	t.close()
	return nil
}

// free reports whether the name can be given: nothing has it, or what it replaces does, still.
func (t *target) free() error {
	now, err := t.root.Lstat(t.base)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	if t.old != nil {
		if was, err := t.old.Stat(); err == nil && os.SameFile(was, now) {
			return nil
		}
	}
	return fs.ErrExist // somebody made it meanwhile
}

// discard removes the file if it did not get its name.
func (t *target) discard() {
	if t.file == nil || t.stdout {
		return
	}
	t.file.Close()
	_ = t.root.Remove(t.draft)
	t.file = nil
	t.close()
}

// close closes what is open beside the file.
func (t *target) close() {
	if t.old != nil {
		t.old.Close()
	}
	if t.root != nil {
		t.root.Close()
	}
}
