//go:build !linux

package main

// This file waits for a change of a file where there is no inotify.

import (
	"context"
	"os"
)

// waitForChange gives a function that waits for checkEvery, at most until ctx ends.
func waitForChange(ctx context.Context, _ *os.File) func() {
	return func() { pause(ctx, checkEvery) }
}
