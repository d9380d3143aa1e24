package main

// This file has folders that acc export writes files into.

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"github.com/acc-project/acc/analysis/export"
)

// folder is a folder that gets files.
type folder struct {
	name  string
	root  *os.Root
	force bool
}

// newFolder opens the folder, and makes it if it is not there.
func newFolder(name string, force bool) (*folder, error) {
	if err := os.Mkdir(name, 0o700); err == nil {
		if uid, gid := caller(); uid > 0 {
			_ = os.Lchown(name, uid, gid)
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return nil, notCreated(name, err)
	}
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, notCreated(name, err)
	}
	return &folder{name, root, force}, nil
}

// Create implements export.Folder.
func (f *folder) Create(name string) (export.File, error) {
	if _, err := f.root.Lstat(name); err == nil && !f.force {
		return nil, &export.ExistsError{Name: path.Join(f.name, name)}
	}
	dir, base := path.Split(name)
	if err := f.root.MkdirAll(path.Clean(dir), 0o755); err != nil {
		return nil, err
	}
	d := &draft{root: f.root, name: name, draft: dir + "." + base + "." + rand.Text()[:8] + ".tmp"}
	var err error
	if d.File, err = f.root.OpenFile(d.draft, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return nil, err
	}
	giveToCaller(d.File)
	return d, nil
}

// draft is a file that has another name until it is complete.
type draft struct {
	*os.File
	root        *os.Root
	name, draft string
	done        bool
}

// Commit implements export.File.
func (d *draft) Commit() error {
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", d.name, err)
	}
	if err := d.Close(); err != nil {
		return err
	}
	if err := d.root.Rename(d.draft, d.name); err != nil {
		return err
	}
	d.done = true
	return nil
}

// Discard implements export.File.
func (d *draft) Discard() {
	if !d.done {
		d.File.Close()
		_ = d.root.Remove(d.draft)
		d.done = true
	}
}
