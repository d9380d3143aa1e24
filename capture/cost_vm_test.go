//go:build linux && (amd64 || arm64)

package capture

import (
	"context"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestCost prints what recording costs in instructions for a connection to itself
// (socket, connect, accept, two closes), everything included: `make cost` runs it in
// a machine with one CPU whose clock counts instructions, a nanosecond each.
func TestCost(t *testing.T) {
	needVM(t)
	if os.Getenv("ACC_COST") == "" {
		t.Skip("counts instructions only where the clock does: make cost")
	}
	const conns = 8000
	lfd, addr := listen(t, unix.AF_INET, 8)
	defer unix.Close(lfd)
	loop := func() int64 {
		from, _ := clockNS(unix.CLOCK_MONOTONIC)
		for range conns {
			client := dial(t, unix.AF_INET, addr)
			fd, _, err := unix.Accept4(lfd, 0)
			if err != nil {
				t.Fatal(err)
			}
			unix.Close(client)
			unix.Close(fd)
		}
		to, _ := clockNS(unix.CLOCK_MONOTONIC)
		return (to - from) / conns
	}
	loop() // warm
	none := loop()
	t.Logf("nothing: %d instructions a connection", none)
	for _, mode := range modes(t) {
		for _, events := range []Events{EventsAll, EventsAccept, EventsLifecycle} {
			with := measure(t, Options{Mode: mode, Events: events, startWatch: 1}, loop)
			// The kernel's side alone: nobody reads the ring, which holds everything.
			release := make(chan bool)
			kernel := measure(t, Options{Mode: mode, Events: events, startWatch: 1, RingBytes: 16 << 20, stall: func() { <-release }}, func() int64 {
				defer close(release)
				return loop()
			})
			t.Logf("%s, %s: %d instructions a connection, %+d, of which %d in the kernel", mode, events, with, with-none, kernel-none)
		}
	}
}

// measure gives what loop says while recording.
func measure(t *testing.T, o Options, loop func() int64) int64 {
	t.Helper()
	done, ready := make(chan error, 1), make(chan bool)
	ctx, cancel := context.WithCancel(context.Background())
	o.Ready = func(Started) { close(ready) }
	go func() {
		_, err := Record(ctx, io.Discard, o)
		done <- err
	}()
	<-ready
	with := loop()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return with
}
