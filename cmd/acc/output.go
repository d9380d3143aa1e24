package main

// This file creates the files that acc writes.

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/acc-project/acc/format"
)

// output is where a capture is written.
type output struct {
	file   *os.File
	name   string
	stdout bool
	root   *os.Root // its folder
	base   string   // its name there
	made   time.Time

	checking sync.Mutex
	state    outputState
}

// errWritten says that another acc writes a file.
var errWritten = errors.New("another acc is writing it")

// errNotRegular says that a folder, a link or a device has the name of a new file.
var errNotRegular = errors.New("it is not a regular file")

// notItself refuses an output that would replace what it is made from.
func notItself(in *input, name string) error {
	if name == "-" || in.file == os.Stdin {
		return nil
	}
	from, err := in.file.Stat()
	if err != nil {
		return err
	}
	if to, err := os.Stat(name); err == nil && os.SameFile(from, to) {
		return &hinted{fmt.Errorf("%s is the file that is read: it stays as it is", name), "name another one"}
	}
	return nil
}

// createOutput opens the file that a capture goes to: a new one, readable by its
// owner alone; no link is followed, and nothing is overwritten without force. ""
// is a name of its own making, "-" is standard output.
//
// Ready is asked before anything is made or removed, and its error returned; nil: yes.
func createOutput(name string, force bool, ready func() error) (*output, error) {
	if ready == nil {
		ready = func() error { return nil }
	}
	if name == "-" {
		if isTerminal(os.Stdout) {
			return nil, &usageError{errors.New("a capture is not for a terminal"),
				"use -o FILE, or pipe it into acc replay -"}
		}
		if isClosed(os.Stdout) {
			return nil, &hinted{errors.New("standard output is closed"), "use -o FILE, or pipe it into acc replay -"}
		}
		return &output{file: os.Stdout, name: "standard output", stdout: true}, ready()
	}
	if name == "" {
		host, _ := os.Hostname()
		name = fmt.Sprintf("acc-%s-%s.acc", host, time.Now().Format("20060102-150405"))
	}
	root, base, err := openFolderOf(name)
	if err != nil {
		return nil, err
	}
	o := &output{name: name, root: root, base: base}
	old, err := openOld(root, base, force)
	if old != nil {
		defer old.Close()
	}
	if err == nil {
		if err := ready(); err != nil {
			root.Close()
			return nil, err
		}
		if old != nil {
			err = root.Remove(base)
		}
	}
	if err == nil {
		err = o.create()
	}
	if err != nil {
		root.Close()
		return nil, notCreated(name, err)
	}
	return o, nil
}

// openFolderOf opens the folder of a new file, and gives the file's name there. It is opened once: whoever renames it
// meanwhile changes nothing.
func openFolderOf(name string) (root *os.Root, base string, err error) {
	folder, base := filepath.Split(name)
	if root, err = os.OpenRoot(cmp.Or(folder, ".")); err != nil {
		return nil, "", notCreated(name, err)
	}
	if base == "" { // name ends with a slash
		root.Close()
		return nil, "", notCreated(name, errNotRegular)
	}
	return root, base, nil
}

// notCreated is the error of creating a file, with what to do.
func notCreated(name string, err error) error {
	var path *os.PathError
	if errors.As(err, &path) { // whose name is one within a folder, or a temporary one
		err = path.Err
	}
	hint := "name another one with -o"
	switch {
	case errors.Is(err, fs.ErrExist):
		return &hinted{fmt.Errorf("%s exists", name), "name another file, or overwrite it with --force"}
	case errors.Is(err, errWritten):
		hint = "name another file, or end the other recording first"
	case errors.Is(err, fs.ErrNotExist):
		err, hint = fs.ErrNotExist, "its folder is not there: make it, or name another one"
	case errors.Is(err, fs.ErrPermission):
		hint = "name a place that you may write to with -o"
	}
	return &hinted{fmt.Errorf("create %s: %w", name, err), hint}
}

// create makes the file, which is not there, and locks it.
func (o *output) create() (err error) {
	if o.file, err = o.root.OpenFile(o.base, os.O_WRONLY|os.O_CREATE|os.O_EXCL|noFollow, 0o600); err != nil {
		return err
	}
	if lockFile(o.file) { // it was found by another one, who is about to remove it
		o.file.Close()
		return errWritten
	}
	giveToCaller(o.file)
	o.openForCheck()
	return nil
}

// openOld opens a file that is there and may be replaced: a regular one, by force, that no acc
// writes; nil if there is none. While it is open, no other acc replaces it.
func openOld(root *os.Root, base string, force bool) (*os.File, error) {
	st, err := root.Lstat(base)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case !st.Mode().IsRegular():
		return nil, errNotRegular
	case !force:
		return nil, fs.ErrExist
	}
	old, err := root.OpenFile(base, os.O_RDONLY|noFollow|noWait, 0)
	if err != nil {
		return nil, err
	}
	if lockFile(old) {
		old.Close()
		return nil, errWritten
	}
	return old, nil
}

// giveToCaller makes the file belong to the user who called sudo. If that fails,
// root keeps it.
func giveToCaller(f *os.File) {
	if uid, gid := caller(); uid > 0 {
		_ = f.Chown(uid, gid)
	}
}

// caller is the user who called sudo, 0 if nobody did.
func caller() (uid, gid int) {
	uid, err1 := strconv.Atoi(os.Getenv("SUDO_UID"))
	gid, err2 := strconv.Atoi(os.Getenv("SUDO_GID"))
	if err1 != nil || err2 != nil || os.Geteuid() != 0 {
		return 0, 0
	}
	return uid, gid
}

// close makes the capture durable. It gives a *lostError if the file is not what was written.
func (o *output) close() error {
	if o.stdout {
		return nil
	}
	defer o.root.Close()
	defer o.closeForCheck()
	if err := o.check(); err != nil {
		o.file.Close()
		return err
	}
	if err := o.file.Sync(); err != nil {
		o.file.Close()
		return fmt.Errorf("sync %s: %w", o.name, err)
	}
	return o.file.Close()
}

// discard removes the file of a recording that did not begin, unless another one
// has its name by now.
func (o *output) discard() {
	if o.stdout {
		return
	}
	defer o.root.Close()
	defer o.closeForCheck()
	mine, err := o.file.Stat()
	named, err2 := o.root.Lstat(o.base)
	o.file.Close()
	if err == nil && err2 == nil && os.SameFile(mine, named) {
		_ = o.root.Remove(o.base)
	}
}

// fileName makes the name of a file of this system, or a message that has one, safe to print. On Windows a backslash
// separates folders and stays one.
func fileName(name string) string { return localName(name, filepath.Separator) }

func localName(name string, separator rune) string {
	quoted := format.Quote(name)
	if separator == '\\' {
		return strings.ReplaceAll(quoted, `\\`, `\`)
	}
	return quoted
}
