//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// What happens to a file that is being written is noticed, also by acc's last look before it says that
// all is well.
func TestOutputIsLost(t *testing.T) {
	other := func(t *testing.T, path string) string {
		name := path + ".other"
		must(t, os.WriteFile(name, bytes.Repeat([]byte("other"), 1000), 0o600))
		return name
	}
	cases := []struct {
		name string
		do   func(t *testing.T, path string)
		want string // "": goes on
	}{
		{"deleted", func(t *testing.T, path string) { must(t, os.Remove(path)) }, "was deleted"},
		{"replaced", func(t *testing.T, path string) { must(t, os.Rename(other(t, path), path)) }, "was replaced"},
		{"moved and replaced", func(t *testing.T, path string) {
			must(t, os.Rename(path, path+".1"))
			must(t, os.Rename(other(t, path), path))
		}, "was replaced"},
		{"emptied", func(t *testing.T, path string) { must(t, os.Truncate(path, 0)) }, "was truncated"},
		{"cut", func(t *testing.T, path string) { must(t, os.Truncate(path, 70)) }, "was truncated"},
		{"overwritten", func(t *testing.T, path string) {
			must(t, os.WriteFile(path, bytes.Repeat([]byte("other"), 1000), 0o600))
		}, "was overwritten|was truncated"}, // which it was at first
		{"moved", func(t *testing.T, path string) { must(t, os.Rename(path, path+".1")) }, ""},
		{"linked", func(t *testing.T, path string) { must(t, os.Link(path, path+".1")) }, ""},
		{"given away", func(t *testing.T, path string) { must(t, os.Chmod(path, 0o644)) }, ""},
	}
	for _, c := range cases {
		for _, live := range []bool{true, false} {
			t.Run(c.name, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "x.acc")
				o, err := createOutput(path, false, nil)
				must(t, err)
				defer o.close()
				_, err = o.file.Write(bytes.Repeat([]byte("capture "), 12))
				must(t, err)
				must(t, o.check())
				lost := make(chan error, 1)
				if live {
					o.watch(t.Context(), new(bytes.Buffer), func(err error) { lost <- err })
				}
				c.do(t, path)
				switch {
				case live && c.want != "":
					select {
					case err = <-lost:
					case <-time.After(time.Minute):
						t.Fatal("nothing was noticed")
					}
				default:
					err = o.check()
				}
				if c.want == "" {
					must(t, err)
					if c.name == "moved" != o.isMoved() {
						t.Errorf("moved: %v", o.isMoved())
					}
					must(t, o.close())
					return
				}
				if want := new(lostError); !errors.As(err, &want) || !regexp.MustCompile(c.want).MatchString(err.Error()) {
					t.Errorf("%v, want: %s", err, c.want)
				}
				if err := o.close(); err == nil {
					t.Error("it was closed as if nothing had happened")
				}
			})
		}
	}
}

// What is truncated and written on before acc looks is noticed, too.
func TestOutputIsCutBetweenWrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.acc")
	o, err := createOutput(path, false, nil)
	must(t, err)
	write := func() {
		_, err := o.file.Write(bytes.Repeat([]byte("capture "), 1000))
		must(t, err)
	}
	write()
	must(t, o.check())
	must(t, os.Truncate(path, 4000))
	write()
	if err := o.close(); err == nil || !strings.Contains(err.Error(), "was overwritten") {
		t.Error(err)
	}
}

// Nobody overwrites what an acc writes.
func TestOutputIsLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.acc")
	first, err := createOutput(path, false, nil)
	must(t, err)
	for range 2 {
		if _, err := createOutput(path, true, nil); !errors.Is(err, errWritten) {
			t.Errorf("--force: %v", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	first.watch(ctx, new(bytes.Buffer), func(err error) { t.Error(err) })
	must(t, first.check())
	cancel()
	must(t, first.close())
	second, err := createOutput(path, true, nil)
	must(t, err)
	must(t, second.close())
}

// Where several files are written, -o names their folder, with or without a slash.
func TestFolderOf(t *testing.T) {
	dir := t.TempDir()
	for name, want := range map[string]string{
		dir: dir, dir + "/": dir + "/", filepath.Join(dir, "x.acc"): dir, filepath.Join(dir, "gone", "x.acc"): filepath.Join(dir, "gone"),
	} {
		if got := folderOf(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
