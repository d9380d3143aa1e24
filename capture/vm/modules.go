//go:build linux

package main

// This file chooses kernel modules.

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// isKept tells the modules that are kept of those of a kernel package: protocols,
// what these depend on, the ports of the machine, and a disk that a test can make slow.
var isKept = regexp.MustCompile(`/kernel/((net|lib|crypto|fs/(nfsd|lockd|nfs_common|exportfs)|arch/[^/]+/crypto|` +
	`drivers/(char|infiniband/core|tty|vhost|virtio))/.*|drivers/block/nbd)\.ko(\.xz|\.zst)?$`)

// moduleName is a module's name as the kernel has it.
func moduleName(path string) string {
	name, _, _ := strings.Cut(filepath.Base(path), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// keepModules moves modules out of unpacked packages to dir/NAME.ko, uncompressed.
func keepModules(root, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if d.Name() == "modules.builtin" {
			return os.Rename(path, filepath.Join(dir, d.Name()))
		}
		if !isKept.MatchString(path) {
			return nil
		}
		to := filepath.Join(dir, moduleName(path)+".ko")
		switch filepath.Ext(path) {
		case ".xz":
			return expand(to, "xz", "-dc", path)
		case ".zst":
			return expand(to, "zstd", "-dcq", path)
		}
		return os.Rename(path, to)
	})
	if err != nil {
		return err
	}
	_, err = os.Stat(filepath.Join(dir, "modules.builtin"))
	return err
}

// expand writes what a command puts out to a file.
func expand(to string, argv ...string) error {
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = f, os.Stderr
	if err := errors.Join(cmd.Run(), f.Close()); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
	}
	return nil
}

// loadOrder gives modules with those that they depend on, each behind its own.
// Built-in modules are left out; those that the kernel lacks are not.
func loadOrder(dir string, names []string) (order []string, err error) {
	b, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil {
		return nil, err
	}
	var done []string
	for line := range strings.Lines(string(b)) {
		done = append(done, moduleName(line))
	}
	var add func(names []string) error
	add = func(names []string) error {
		for _, name := range names {
			name = moduleName(name)
			if slices.Contains(done, name) {
				continue
			}
			done = append(done, name)
			needs, err := dependencies(filepath.Join(dir, name+".ko"))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			if err := add(needs); err != nil {
				return err
			}
			order = append(order, name)
		}
		return nil
	}
	return order, add(names)
}

// dependencies gives the modules that one needs, as it says itself.
func dependencies(path string) ([]string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s := f.Section(".modinfo")
	if s == nil {
		return nil, fmt.Errorf("%s says nothing of itself", path)
	}
	b, err := s.Data()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	for info := range strings.SplitSeq(string(b), "\x00") {
		if needs, ok := strings.CutPrefix(info, "depends="); ok && needs != "" {
			return strings.Split(needs, ","), nil
		}
	}
	return nil, nil
}
