//go:build linux && (amd64 || arm64)

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Each reading command is confined on all its threads before it reads a byte of
// a capture, and reads it to its end nonetheless.
func TestReadersAreConfined(t *testing.T) {
	bin := buildAcc(t)
	data := sample("")
	for _, args := range [][]string{{"info", "-"}, {"analyze", "-"}, {"verify", "-"}, {"replay", "--speed", "max", "-"}} {
		in, feed, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(bin, args...)
		var out bytes.Buffer
		cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		in.Close()
		if _, err := feed.Write(data[:len(data)/2]); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(time.Minute); ; { // until it has read that
			n, err := unix.IoctlGetInt(int(feed.Fd()), unix.TIOCINQ)
			if err != nil || time.Now().After(deadline) {
				t.Fatalf("%q does not read: %v", args, err)
			}
			if n == 0 {
				break
			}
			runtime.Gosched()
		}
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", cmd.Process.Pid))
		if err != nil || len(tasks) == 0 {
			t.Fatalf("no threads: %v", err)
		}
		for _, task := range tasks {
			b, err := os.ReadFile(task)
			if err != nil {
				continue // the thread has ended
			}
			if !bytes.Contains(b, []byte("Seccomp:\t2")) || !bytes.Contains(b, []byte("NoNewPrivs:\t1")) {
				t.Errorf("%q: a thread is not confined: %s", args, task)
			}
		}
		if _, err := feed.Write(data[len(data)/2:]); err != nil {
			t.Fatal(err)
		}
		feed.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%q: %v: %s", args, err, out.Bytes())
		}
	}
}
