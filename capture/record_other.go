//go:build !linux || !(amd64 || arm64)

package capture

// This file is for systems that cannot record.

import (
	"context"
	"io"
)

var errHere = &EnvError{
	Cause: "recording needs Linux on x86-64 or arm64",
	Hint:  "record on the Linux host; replay and analyze work here",
}

// Check gives an *EnvError.
func Check() error { return errHere }

// FindProcess gives an *EnvError.
func FindProcess(uint32) error { return errHere }

// FindNetNS gives an *EnvError.
func FindNetNS(string) (uint32, error) { return 0, errHere }

// FindCgroups gives an *EnvError.
func FindCgroups(_, _ string) ([]Cgroup, error) { return nil, errHere }

// Names gives nothing.
func Names(string) []string { return nil }

// CommOf gives nothing.
func CommOf(string) string { return "" }

// Record needs Linux on x86-64 or arm64; elsewhere it gives an *EnvError.
func Record(context.Context, io.Writer, Options) (Result, error) {
	return Result{CommandExit: -1}, errHere
}

// session is a recording, which there is none of here.
type session struct{}

func (*session) status() Status { return Status{} }

func (*session) askRotation() error { return errHere }

func (*session) mark(string, uint32) error { return errHere }
