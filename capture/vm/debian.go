//go:build linux

package main

// This file fetches kernels and packages from Debian's archive.

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

// kernels are Debian suites by the kernel that they have.
var kernels = []struct{ name, suite string }{
	{"5.10", "bullseye"},
	{"6.1", "bookworm"},
	{"6.12", "trixie"},
	{"7", "trixie-backports"},
}

func kernelNames() (names []string) {
	for _, k := range kernels {
		names = append(names, k.name)
	}
	return names
}

// packages are Debian's names of packages whose programs are called otherwise.
var packages = map[string]string{
	"qemu-system-x86_64": "qemu-system-x86", "qemu-system-aarch64": "qemu-system-arm", "busybox": "busybox-static",
	"nginx": "nginx-light", "ss": "iproute2", "xz": "xz-utils",
	"mke2fs": "e2fsprogs",
}

// install installs the programs that are not there, by apt-get, and says which.
func install(programs []string) error {
	var missing []string
	for _, p := range append([]string{"busybox", "xz", "zstd"}, programs...) {
		if path, err := exec.LookPath(p); err == nil && (p != "busybox" || isStatic(path)) {
			continue
		}
		name := packages[p]
		if name == "" {
			name = p
		}
		missing = append(missing, name)
	}
	if len(missing) == 0 {
		return nil
	}
	fmt.Fprintf(os.Stderr, "vm: installing %s\n", strings.Join(missing, " "))
	return aptInstall(missing)
}

func isStatic(path string) bool {
	return exec.Command("ldd", path).Run() != nil // "not a dynamic executable"
}

// aptInstall installs packages without starting their services.
func aptInstall(names []string) error {
	const policy = "/usr/sbin/policy-rc.d"
	if _, err := os.Stat(policy); errors.Is(err, os.ErrNotExist) {
		if err := os.WriteFile(policy, []byte("#!/bin/sh\nexit 101\n"), 0o755); err == nil {
			defer os.Remove(policy)
		}
	}
	apt := func(args ...string) error {
		cmd := exec.Command("apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w\n%s", strings.Join(args, " "), err, out)
		}
		return nil
	}
	args := append([]string{"install", "-y", "-qq", "--no-install-recommends"}, names...)
	if apt(args...) == nil {
		return nil
	}
	if err := apt("update", "-qq"); err != nil {
		return err
	}
	return apt(args...)
}

// mirror is the archive that this machine takes its Debian packages from.
func mirror() (string, error) {
	out, err := exec.Command("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages").Output()
	if err != nil {
		return "", fmt.Errorf("ask apt for its sources: %w", err)
	}
	for uri := range strings.Lines(string(out)) {
		uri = strings.TrimSpace(uri)
		if strings.HasSuffix(strings.TrimSuffix(uri, "/"), "/debian") {
			return uri, nil
		}
	}
	return "", errors.New("apt has no Debian archive among its sources")
}

// fetchKernel gives the directory of a kernel, with its image, its modules
// and, if the host's doesn't run there, a busybox, from the cache or from Debian
// packages. Nothing of the host's package state is changed.
func fetchKernel(cache, name, arch string) (string, error) {
	i := slices.IndexFunc(kernels, func(k struct{ name, suite string }) bool { return k.name == name })
	if i < 0 {
		return "", fmt.Errorf("no kernel %q; there are %s", name, strings.Join(kernelNames(), ", "))
	}
	unlock, err := lockCache(cache)
	if err != nil {
		return "", err
	}
	defer unlock()
	dir := filepath.Join(cache, "linux-"+name)
	if arch != "amd64" {
		dir += "-" + arch
	}
	if _, err := os.Stat(filepath.Join(dir, "modules")); err == nil {
		return dir, nil
	}
	fmt.Fprintf(os.Stderr, "vm: fetching Linux %s for %s from Debian %s\n", name, arch, kernels[i].suite)
	work := filepath.Join(cache, "fetch-"+name)
	if err := os.RemoveAll(work); err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	if err := download(work, kernels[i].suite, arch); err != nil {
		return "", err
	}
	found, _ := filepath.Glob(filepath.Join(work, "root/boot/vmlinuz-*"))
	newer, _ := filepath.Glob(filepath.Join(work, "root/usr/lib/modules/*/vmlinuz")) // from 7.0
	if found = append(found, newer...); len(found) != 1 {
		return "", fmt.Errorf("the packages of Linux %s hold %d kernels", name, len(found))
	}
	if err := keepModules(filepath.Join(work, "root"), filepath.Join(work, "modules")); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	busybox, _ := filepath.Glob(filepath.Join(work, "root/*bin/busybox"))
	inUsr, _ := filepath.Glob(filepath.Join(work, "root/usr/bin/busybox")) // from trixie
	for _, b := range append(busybox, inUsr...) {
		if err := os.Rename(b, filepath.Join(dir, "busybox")); err != nil {
			return "", err
		}
	}
	if err := os.Rename(found[0], filepath.Join(dir, "vmlinuz")); err != nil {
		return "", err
	}
	// the last step: it is complete
	return dir, os.Rename(filepath.Join(work, "modules"), filepath.Join(dir, "modules"))
}

// lockCache waits until nobody else fills the cache.
func lockCache(cache string) (unlock func(), err error) {
	lock, err := os.Create(filepath.Join(cache, "lock"))
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		lock.Close()
		return nil, fmt.Errorf("lock %s: %w", cache, err)
	}
	return func() { lock.Close() }, nil
}

// isKernel tells the packages with a kernel and its modules, from 7.0 in pieces.
var isKernel = regexp.MustCompile(`^linux-(base|binary|image|modules)-`)

// download unpacks the newest cloud kernel of a suite below work/root, for other
// machines also a busybox.
func download(work, suite, arch string) error {
	uri, err := mirror()
	if err != nil {
		return err
	}
	for _, d := range []string{"root", "debs", "state/lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(work, d), 0o755); err != nil {
			return err
		}
	}
	sources := filepath.Join(work, "sources.list")
	var lines string
	// no busybox in backports
	for _, s := range slices.Compact([]string{suite, strings.TrimSuffix(suite, "-backports")}) {
		lines += fmt.Sprintf("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg arch=%s] %s %s main\n",
			arch, uri, s)
	}
	if err := os.WriteFile(sources, []byte(lines), 0o644); err != nil {
		return err
	}
	apt := func(tool string, args ...string) (string, error) {
		all := append([]string{
			"-o", "Dir::Etc::sourcelist=" + sources, "-o", "Dir::Etc::sourceparts=/dev/null", "-o", "Dir::State=" +
				filepath.Join(work, "state"),
			"-o", "Dir::Cache=" + filepath.Join(work, "cache"), "-o", "Dir::State::status=/dev/null", "-o",
			"APT::Architecture=" + arch,
			"-o", "APT::Architectures=" + arch, "-o", "APT::Default-Release=" + suite, "-o",
			"Acquire::Check-Valid-Until=false", "-o", "Acquire::Languages=none", "-o", "APT::Sandbox::User=root",
			"-qq",
		}, args...)
		cmd := exec.Command(tool, all...)
		cmd.Dir = filepath.Join(work, "debs")
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%s %s: %w\n%s", tool, strings.Join(args, " "), err, out)
		}
		return string(out), err
	}
	if _, err := apt("apt-get", "update"); err != nil {
		return err
	}
	names := []string{}
	for next := []string{"linux-image-cloud-" + arch}; len(next) > 0; next = next[1:] {
		out, err := apt("apt-cache", "depends", next[0])
		if err != nil {
			return err
		}
		for l := range strings.Lines(out) {
			dep, ok := strings.CutPrefix(strings.TrimSpace(l), "Depends: ")
			if ok && isKernel.MatchString(dep) && !slices.Contains(names, dep) {
				names, next = append(names, dep), append(next, dep)
			}
		}
	}
	if arch != "amd64" {
		names = append(names, "busybox-static")
	}
	if _, err := apt("apt-get", append([]string{"download"}, names...)...); err != nil {
		return err
	}
	debs, _ := filepath.Glob(filepath.Join(work, "debs/*.deb"))
	for _, deb := range debs {
		if out, err := exec.Command("dpkg-deb", "-x", deb, filepath.Join(work, "root")).CombinedOutput(); err != nil {
			return fmt.Errorf("unpack %s: %w\n%s", filepath.Base(deb), err, out)
		}
	}
	return os.RemoveAll(filepath.Join(work, "debs"))
}
