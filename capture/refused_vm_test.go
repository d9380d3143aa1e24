//go:build linux && (amd64 || arm64)

package capture

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A client whose last ACK is dropped because the accept queue is full is not told as one
// that TCP_DEFER_ACCEPT held back, and its story begins with that.
func TestVMFindingRefused(t *testing.T) {
	needVM(t)
	l := &lifeTest{t: t}
	var client string
	a := analyzeWhile(t, func(*recorder) {
		s := l.serve(unix.AF_INET, 0, 1, nil)
		defer unix.Close(s.fd)
		late := l.client(unix.AF_INET)
		defer unix.Close(late)
		l.filter(late, dropAll) // its handshake waits
		l.try(unix.SetNonblock(late, true))
		if err := unix.Connect(late, s.addr); err != unix.EINPROGRESS {
			t.Errorf("connect: %v", err)
		}
		client = fmt.Sprintf("127.0.0.1:%d", portOf(t, late))
		for range 2 {
			c := l.client(unix.AF_INET)
			defer unix.Close(c)
			l.try(unix.Connect(c, s.addr))
		}
		before := tcpExt(t, "ListenOverflows")
		l.try(unix.SetsockoptInt(late, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0))
		l.until("its last ACK is not dropped", func() bool { return tcpExt(t, "ListenOverflows") > before })
		for range 3 {
			fd, _, err := unix.Accept4(s.fd, 0)
			l.try(err)
			defer unix.Close(fd)
		}
	})
	out, err := exec.Command("/in/acc", "analyze", "--connection", client, a.path).CombinedOutput()
	t.Logf("%s", out)
	if err != nil || !bytes.Contains(out, []byte("the last ACK of its handshake is dropped: the accept queue is full")) ||
		!bytes.Contains(out, []byte("handshake complete: queued at the listener")) || !bytes.Contains(out, []byte("Refused at first: ")) {
		t.Errorf("%v: that is not what happened", err)
	}
}

// A program that listens and never accepts is named, whatever is recorded, with the
// clients that were there before.
func TestVMFindingStuck(t *testing.T) {
	needVM(t)
	lfd, addr := listen(t, unix.AF_INET, 4)
	defer unix.Close(lfd)
	for range 3 {
		defer unix.Close(dial(t, unix.AF_INET, addr))
	}
	where := fmt.Sprintf("%s (capture.test[%d]): nobody called accept", addrPort(addr), os.Getpid())
	for _, events := range []string{"all", "accept", "lifecycle"} {
		t.Run(events, func(t *testing.T) {
			a := analyzeWhile(t, func(*recorder) {
				for from := bootNow(); bootNow() < from+1_500_000_000; {
					time.Sleep(100 * time.Millisecond)
				}
			}, "--events", events)
			if events == "lifecycle" { // whether anybody called accept is not in it
				a.found(t, "slow-accept", "critical", "3 were still in the queue at the end, the oldest for ")
				a.found(t, "slow-accept", "critical", fmt.Sprintf("capture.test[%d] did not call accept", os.Getpid()))
				return
			}
			a.found(t, "slow-accept", "critical", where)
			a.found(t, "slow-accept", "critical", "3 connections were in the queue at the start, 3 at the end")
			if events == "accept" {
				return
			}
			out, err := exec.Command("/in/acc", "analyze", "--connections", a.path).CombinedOutput()
			if n := bytes.Count(out, []byte("in the accept queue at the end")); err != nil || n != 3 {
				t.Errorf("%d of them are told (%v):\n%s", n, err, out)
			}
		})
	}
}

// A listener that its server has closed and that only a child has open, which never accepts, is found with the
// child's id.
func TestVMFindingAbandoned(t *testing.T) {
	needVM(t)
	var child int
	a := analyzeWhile(t, func(*recorder) {
		lfd, addr := listen(t, unix.AF_INET, 16)
		served := dial(t, unix.AF_INET, addr)
		fd, _, err := unix.Accept4(lfd, unix.SOCK_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
		unix.Close(served)
		cmd := exec.Command("/bin/busybox", "sleep", "1000")
		cmd.ExtraFiles = []*os.File{os.NewFile(uintptr(lfd), "listener")}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		child = cmd.Process.Pid
		cmd.ExtraFiles[0].Close()
		for range 2 {
			c := dial(t, unix.AF_INET, addr)
			t.Cleanup(func() { unix.Close(c) })
		}
		time.Sleep(1200 * time.Millisecond)
	})
	a.found(t, "abandoned", "critical", fmt.Sprintf("2 clients waited at the end, and only busybox[%d] has the "+
		"listener open, which never called accept; capture.test[%d], which served it, has it no more", child, os.Getpid()))
	a.found(t, "slow-accept", "", "2 were still in the queue at the end") // which is a part of it
}
