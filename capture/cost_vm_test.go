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
	for _, mode := range bothModes {
		var with int64
		done := make(chan error, 1)
		ctx, cancel := context.WithCancel(context.Background())
		ready := make(chan bool)
		go func() {
			_, err := Record(ctx, io.Discard, Options{Mode: mode, Ready: func(Started) { close(ready) }})
			done <- err
		}()
		<-ready
		with = loop()
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d instructions a connection, %+d", mode, with, with-none)
	}
}
