//go:build linux

package main

// This file writes the initial RAM disk.

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// cpio writes an archive in the "newc" format, as the kernel unpacks it
// (Documentation/driver-api/early-userspace/buffer-format.rst).
type cpio struct {
	w    *bufio.Writer
	made map[string]bool
	ino  int
	at   int
}

func (c *cpio) entry(name string, mode uint32, size int64, data io.Reader) error {
	if c.made[name] {
		return nil
	}
	c.made[name] = true
	if dir := filepath.Dir(name); dir != "." && name != "TRAILER!!!" {
		if err := c.entry(dir, 0o040755, 0, strings.NewReader("")); err != nil {
			return err
		}
	}
	c.ino++
	n, err := fmt.Fprintf(c.w, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		c.ino, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, len(name)+1, 0, name)
	if err != nil {
		return err
	}
	c.at += n
	c.pad()
	copied, err := io.CopyN(c.w, data, size)
	c.at += int(copied)
	c.pad()
	return err
}

func (c *cpio) pad() {
	for ; c.at%4 != 0; c.at++ {
		c.w.WriteByte(0) // the error stays in the writer until Flush
	}
}

func (c *cpio) text(name string, mode uint32, text string) error {
	return c.entry(name, mode, int64(len(text)), strings.NewReader(text))
}

// file puts a file of the host into the archive, following links.
func (c *cpio) file(name, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	return c.entry(strings.TrimPrefix(name, "/"), 0o100000|uint32(st.Mode().Perm()), st.Size(), f)
}

// tree puts a file or a directory into the archive.
func (c *cpio) tree(name, path string) error {
	return filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(path, p)
		if err != nil {
			return err
		}
		return c.file(filepath.Join(name, rel), p)
	})
}

// program puts a program into the archive, with what it is linked with, at the
// places where the host has them.
func (c *cpio) program(name string) error {
	path, err := exec.LookPath(name)
	if err != nil {
		return err
	}
	if err := c.file(path, path); err != nil {
		return err
	}
	out, err := exec.Command("ldd", path).Output()
	if err != nil {
		return nil // not dynamic
	}
	for word := range strings.FieldsSeq(string(out)) {
		if strings.HasPrefix(word, "/") {
			if err := c.file(word, word); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeInitrd makes the guest's file system.
func writeInitrd(path, initPath, kernel string, o *options) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	c := &cpio{w: bufio.NewWriterSize(f, 1<<20), made: map[string]bool{}}
	busybox := filepath.Join(kernel, "busybox")
	if o.arch == "amd64" {
		busybox, err = exec.LookPath("busybox")
	}
	if err != nil {
		return err
	}
	command, err := json.Marshal(o.command)
	if err != nil {
		return err
	}
	modules, err := loadOrder(filepath.Join(kernel, "modules"), o.modules)
	if err != nil {
		return err
	}
	moduleList, err := json.Marshal(modules)
	if err != nil {
		return err
	}
	steps := []error{
		c.file("init", initPath),
		c.file("bin/busybox", busybox),
		c.text("command.json", 0o100644, string(command)),
		c.text("modules.json", 0o100644, string(moduleList)),
		c.text("etc/passwd", 0o100644,
			"root:x:0:0::/root:/bin/sh\nwww-data:x:33:33::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"),
		c.text("etc/group", 0o100644, "root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\n"),
		c.text("etc/hosts", 0o100644, "127.0.0.1 localhost\n::1 localhost\n"),
	}
	for _, dir := range []string{"proc", "sys", "dev", "run", "root", "in", "out", "var/log/nginx", "var/lib/nginx"} {
		steps = append(steps, c.entry(dir, 0o040755, 0, strings.NewReader("")))
	}
	steps = append(steps, c.entry("tmp", 0o041777, 0, strings.NewReader("")))
	for _, in := range o.in {
		host, guest, ok := strings.Cut(in, ":")
		if !ok {
			guest = "/in/" + filepath.Base(host)
		}
		steps = append(steps, c.tree(guest, host))
	}
	for _, name := range modules {
		if err := c.file("modules/"+name+".ko", filepath.Join(kernel, "modules", name+".ko")); !errors.Is(err,
			fs.ErrNotExist) {
			steps = append(steps, err)
		}
	}
	for _, name := range o.bin {
		steps = append(steps, c.program(name))
	}
	steps = append(steps, c.text("TRAILER!!!", 0, ""), c.w.Flush())
	if err := errors.Join(steps...); err != nil {
		return fmt.Errorf("make the guest's files: %w", err)
	}
	return nil
}
