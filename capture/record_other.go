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

// Record needs Linux on x86-64 or arm64; elsewhere it gives an *EnvError.
func Record(context.Context, io.Writer, Options) (Result, error) {
	return Result{CommandExit: -1}, errHere
}

// session is a recording, which there is none of here.
type session struct{}

func (*session) status() Status { return Status{} }
