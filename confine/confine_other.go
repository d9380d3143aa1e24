//go:build !linux || !(amd64 || arm64)

package confine

// This file stands for confinement where there is no Linux.

// Reader does nothing where the system has nothing for it.
func Reader(...string) {}

// Exporter does nothing there, either.
func Exporter(string) {}
