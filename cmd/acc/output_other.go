//go:build !unix

package main

// This file has what output needs of systems that are not UNIX.

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
)

const (
	noFollow = 0
	noWait   = 0
)

// statusSignal is a signal that there is not here.
var statusSignal os.Signal

// size is not known here.
func size(*os.File) (columns, lines int) { return 0, 0 }

// isTerminal reports whether f is a terminal, or another character device but the null one.
func isTerminal(f *os.File) bool {
	st, err := f.Stat()
	if err != nil || st.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(st, null)
}

// isClosed reports whether a standard file is closed.
func isClosed(f *os.File) bool {
	_, err := f.Stat()
	return err != nil
}

// links is not known here.
func links(fs.FileInfo) uint64 { return 1 }

// dumpSignal is a signal that there is not here.
var dumpSignal os.Signal

// umask does nothing here.
func umask(int) int { return 0 }

// ownedBy is not known here.
func ownedBy(fs.FileInfo, uint32) bool { return true }

// lockFile takes no lock here: nothing records.
func lockFile(*os.File) (taken bool) { return false }

// asCaller changes nothing here.
func asCaller(cmd *exec.Cmd) *exec.Cmd { return cmd }

// freeSpace is not known here.
func freeSpace(string) (int64, error) { return 0, errors.ErrUnsupported }
