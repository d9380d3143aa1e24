package main

// This file makes archives.

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// entry is a file of an archive.
type entry struct {
	name string // in it, with slashes
	from string
	mode fs.FileMode
}

// entries are what an archive of a target has, sorted by name.
func (r *release) entries(goos, arch string) ([]entry, error) {
	binary := r.binary(goos, arch)
	list := []entry{{filepath.Base(binary), binary, 0o755}, {"THIRD-PARTY-LICENSES", filepath.Join(r.work, "THIRD-PARTY-LICENSES"), 0o644}}
	for _, name := range []string{"LICENSE", "README.md", "CHANGELOG.md", "SECURITY.md",
		"deploy/Containerfile", "deploy/daemonset.yaml", "deploy/acc-record@.service", "deploy/acc.sysusers.conf",
		"deploy/acc.tmpfiles.conf", "deploy/grafana-fleet.json", "testdata/examples/demo.acc"} {
		list = append(list, entry{name, name, 0o644})
	}
	for to, from := range map[string]string{"docs": "docs", "man": filepath.Join(r.work, "man"), "completions": filepath.Join(r.work, "completions")} {
		files, err := os.ReadDir(from)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			list = append(list, entry{path.Join(to, f.Name()), filepath.Join(from, f.Name()), 0o644})
		}
	}
	slices.SortFunc(list, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	return list, nil
}

// archives packs each target: zip for Windows, tar.gz for others.
func (r *release) archives() error {
	for _, t := range targets {
		list, err := r.entries(t.os, t.arch)
		if err != nil {
			return err
		}
		base, pack := r.base(t.os, t.arch), tarGz
		name := base + ".tar.gz"
		if t.os == "windows" {
			name, pack = base+".zip", zipped
		}
		f, err := os.Create(filepath.Join(r.out, name))
		if err != nil {
			return err
		}
		if err := errors.Join(pack(f, base, list, r.date), f.Close()); err != nil {
			return fmt.Errorf("pack %s: %w", name, err)
		}
	}
	return nil
}

// tarGz packs files below a folder. What it writes follows from names, modes and
// contents alone.
func tarGz(w io.Writer, folder string, list []entry, at time.Time) error {
	z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	t := tar.NewWriter(z)
	for _, e := range list {
		data, err := os.ReadFile(e.from)
		if err != nil {
			return err
		}
		h := tar.Header{Typeflag: tar.TypeReg, Name: path.Join(folder, e.name), Size: int64(len(data)), Mode: int64(e.mode), ModTime: at, Format: tar.FormatUSTAR}
		if err := t.WriteHeader(&h); err != nil {
			return err
		}
		if _, err := t.Write(data); err != nil {
			return err
		}
	}
	return errors.Join(t.Close(), z.Close())
}

// zipped does the same as tarGz, for Windows.
func zipped(w io.Writer, folder string, list []entry, at time.Time) error {
	z := zip.NewWriter(w)
	for _, e := range list {
		data, err := os.ReadFile(e.from)
		if err != nil {
			return err
		}
		h := zip.FileHeader{Name: path.Join(folder, e.name), Method: zip.Deflate, Modified: at}
		h.SetMode(e.mode)
		f, err := z.CreateHeader(&h)
		if err != nil {
			return err
		}
		if _, err := f.Write(data); err != nil {
			return err
		}
	}
	return z.Close()
}

// sums writes SHA256SUMS of all files, as sha256sum -c reads it.
func (r *release) sums() error {
	files, err := os.ReadDir(r.out)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, f := range files {
		if !f.Type().IsRegular() {
			continue
		}
		data, err := os.ReadFile(filepath.Join(r.out, f.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%x  %s\n", sha256.Sum256(data), f.Name())
	}
	return os.WriteFile(filepath.Join(r.out, "SHA256SUMS"), []byte(b.String()), 0o644)
}
