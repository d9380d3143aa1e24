//go:build !linux || !(amd64 || arm64)

package capture

// This file is for systems that cannot record.

import (
	"context"
	"runtime"
)

// Diagnose says that this machine can't record.
func Diagnose(context.Context, Options, string) Diagnosis {
	return Diagnosis{Limits: []string{}, Checks: []HostCheck{{
		Name: "system", Standing: StandingBroken, Found: runtime.GOOS + " on " + runtime.GOARCH,
		Effect: "acc records on Linux, on x86-64 and arm64",
		Remedy: "run acc record on the host in question; analyze, replay, info and verify work here",
	}}}
}
