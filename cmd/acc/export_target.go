package main

// This file has files that get their names when they are complete.

import (
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/acc-project/acc/confine"
)

// confineExport gives up what export does not need when all files are open but those in a folder; tests replace it.
var confineExport = confine.Exporter

// target is where an export is written: a file that has another name until it is complete, or standard output.
type target struct {
	io.Writer
	name  string
	file  *os.File // nil: standard output, or it is done
	root  *os.Root // its folder
	base  string   // its name there
	draft string   // the name that it has until then
	force bool
}

// newTarget makes the file, readable by its owner alone. It overwrites nothing without force.
func newTarget(out io.Writer, name string, force bool) (*target, error) {
	if name == "-" {
		if f, ok := out.(*os.File); ok && isClosed(f) {
			return nil, &hinted{errors.New("standard output is closed"), "use -o FILE"}
		}
		return &target{Writer: out, name: "standard output"}, nil
	}
	root, base, err := openFolderOf(name)
	if err != nil {
		return nil, err
	}
	t := &target{name: name, root: root, base: base, draft: "." + base + "." + rand.Text()[:8], force: force}
	if err = t.free(); err == nil {
		t.file, err = root.OpenFile(t.draft, os.O_WRONLY|os.O_CREATE|os.O_EXCL|noFollow, 0o600)
	}
	if err != nil {
		root.Close()
		return nil, notCreated(name, err)
	}
	giveToCaller(t.file)
	t.Writer = t.file
	return t, nil
}

// free reports whether the name can be given: nothing has it, or a file that may be overwritten.
func (t *target) free() error {
	st, err := t.root.Lstat(t.base)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !st.Mode().IsRegular():
		return errNotRegular
	case !t.force:
		return fs.ErrExist
	}
	return nil
}

// commit gives the file its name.
func (t *target) commit() error {
	if t.file == nil {
		return nil
	}
	if err := t.free(); err != nil { // somebody made one meanwhile
		return notCreated(t.name, err)
	}
	if err := t.file.Sync(); err != nil {
		return err
	}
	if err := t.file.Close(); err != nil {
		return err
	}
	if err := t.root.Rename(t.draft, t.base); err != nil {
		return err
	}
	t.file = nil
	return t.root.Close()
}

// discard removes the file if it did not get its name.
func (t *target) discard() {
	if t.file == nil {
		return
	}
	t.file.Close()
	_ = t.root.Remove(t.draft)
	t.root.Close()
	t.file = nil
}
