package main

// This file makes packages of Debian and of RPM.

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// nfpm makes the packages. Later versions need a newer Go.
const nfpm = "github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2"

// packages makes deb and rpm from deploy/nfpm.yaml.
func (r *release) packages() error {
	if err := r.packageFiles(); err != nil {
		return err
	}
	config, err := os.ReadFile("deploy/nfpm.yaml")
	if err != nil {
		return err
	}
	epoch := fmt.Sprint(r.date.Unix())
	for _, t := range targets {
		if t.os != "linux" {
			continue
		}
		vars := map[string]string{"ARCH": t.arch, "VERSION": r.plain, "WORK": r.work, "BINARY": r.binary(t.os, t.arch), "DATE": r.date.Format(time.RFC3339)}
		name := filepath.Join(r.work, "nfpm-"+t.arch+".yaml")
		if err := os.WriteFile(name, []byte(os.Expand(string(config), func(v string) string { return vars[v] })), 0o644); err != nil {
			return err
		}
		for _, kind := range []string{"deb", "rpm"} {
			env := []string{"SOURCE_DATE_EPOCH=" + epoch, "GOFLAGS=-mod=mod"}
			if _, err := r.command(env, "go", "run", nfpm, "package", "-f", name, "-p", kind, "-t", r.out); err != nil {
				return err
			}
		}
	}
	return nil
}

// packageFiles makes what only packages have: compressed pages and changelogs, and
// Debian's copyright. All files get the time of the release.
func (r *release) packageFiles() error {
	man, err := filepath.Glob(filepath.Join(r.work, "man", "*"))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(r.work, "pkg", "man"), 0o755); err != nil {
		return err
	}
	zip := func(to string, data []byte) error {
		var b bytes.Buffer
		z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
		if err == nil {
			_, err = z.Write(data)
		}
		if err == nil {
			err = z.Close()
		}
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(r.work, "pkg", to), b.Bytes(), 0o644)
	}
	for _, name := range man {
		data, err := os.ReadFile(name)
		if err == nil {
			err = zip(filepath.Join("man", filepath.Base(name)+".gz"), data)
		}
		if err != nil {
			return err
		}
	}
	changes, err := os.ReadFile("CHANGELOG.md")
	if err == nil {
		err = zip("changelog.gz", changes)
	}
	if err != nil {
		return err
	}
	debian := fmt.Sprintf("acc (%s-1) unstable; urgency=medium\n\n  * Release %s: changelog.gz says what is new.\n\n -- acc maintainers <acc-project@users.noreply.github.com>  %s\n",
		r.debianVersion(), r.version, r.date.Format(time.RFC1123Z))
	if err := zip("changelog.Debian.gz", []byte(debian)); err != nil {
		return err
	}
	copyright := "acc is licensed under the Apache License, Version 2.0; on Debian systems its text is in\n" +
		"/usr/share/common-licenses/Apache-2.0. Its programs for the kernel, in bpf/, are\nGPL-2.0-only OR BSD-2-Clause.\n\n" +
		"Copyright: the authors of acc.\n\nThe binary also has Go's own packages and modules of others in it;\n" +
		"/usr/share/doc/acc/THIRD-PARTY-LICENSES has their licences.\n"
	return os.WriteFile(filepath.Join(r.work, "pkg", "copyright"), []byte(copyright), 0o644)
}

// debianVersion is the version as a deb has it.
func (r *release) debianVersion() string {
	v := []byte(r.plain)
	if i := bytes.IndexByte(v, '-'); i >= 0 {
		v[i] = '~' // which sorts before the release
	}
	return string(v)
}
