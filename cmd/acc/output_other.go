//go:build !unix

package main

import "os"

const noFollow = 0

// columns is not known here.
func columns(*os.File) int { return 0 }

// isTerminal reports whether f is a terminal, or another character device but the null one.
func isTerminal(f *os.File) bool {
	st, err := f.Stat()
	if err != nil || st.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(st, null)
}
