//go:build linux

package main

// This file makes the disk of -root: a Debian system of the kernel's suite, with packages.

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// spareMiB is what the root file system has room for beside its packages.
const spareMiB = 1024

// fetchRoot gives the image of an ext4 file system with packages of the suite that a kernel is of, from the
// cache or made by mmdebstrap. The same packages are the same image; a new one is made when it is deleted.
func fetchRoot(cache, kernel string, packages []string) (string, error) {
	i := slices.IndexFunc(kernels, func(k struct{ name, suite string }) bool { return k.name == kernel })
	if i < 0 {
		return "", fmt.Errorf("no kernel %q; there are %s", kernel, strings.Join(kernelNames(), ", "))
	}
	suite := strings.TrimSuffix(kernels[i].suite, "-backports")
	unlock, err := lockCache(cache)
	if err != nil {
		return "", err
	}
	defer unlock()
	packages = slices.Compact(slices.Sorted(slices.Values(append([]string{"busybox", "iproute2"}, packages...))))
	sum := sha256.Sum256([]byte(strings.Join(packages, " ")))
	image := filepath.Join(cache, fmt.Sprintf("root-%s-%x.ext4", suite, sum[:6]))
	if _, err := os.Stat(image); err == nil {
		return image, nil
	}
	fmt.Fprintf(os.Stderr, "vm: making a root file system of Debian %s with %d packages\n", suite, len(packages))
	uri, err := mirror()
	if err != nil {
		return "", err
	}
	work := filepath.Join(cache, "make-root")
	if err := os.RemoveAll(work); err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	if err := os.MkdirAll(work, 0o755); err != nil {
		return "", err
	}
	root, made := filepath.Join(work, "root"), filepath.Join(work, "image")
	source := fmt.Sprintf("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main", uri, suite)
	err = tool("mmdebstrap", "--quiet", "--variant=apt", "--mode=root", "--format=directory",
		"--aptopt=Acquire::Check-Valid-Until \"false\"", "--include="+strings.Join(packages, ","), suite, root, source)
	if err != nil {
		return "", err
	}
	out, err := exec.Command("du", "-sm", "--apparent-size", root).Output()
	if err != nil {
		return "", fmt.Errorf("measure the root file system: %w", err)
	}
	size, _, _ := strings.Cut(string(out), "\t")
	mib, err := strconv.Atoi(size)
	if err != nil {
		return "", fmt.Errorf("measure the root file system: %w", err)
	}
	// No journal and no reserve: the image is a base whose changes each machine drops.
	err = tool("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-E", "lazy_itable_init=1,root_owner=0:0",
		"-d", root, made,
		strconv.Itoa(mib*5/4+spareMiB)+"M")
	if err != nil {
		return "", err
	}
	return image, os.Rename(made, image) // the last step: it is complete
}

func tool(argv ...string) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "PATH=/usr/sbin:/usr/bin:/sbin:/bin")
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.Join(fmt.Errorf("%s: %w", argv[0], err), errors.New(string(out)))
	}
	return nil
}
