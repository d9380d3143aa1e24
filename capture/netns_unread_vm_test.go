//go:build linux && (amd64 || arm64)

package capture

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// aloneNamespace opens a listener in a network namespace that no process or thread is in afterwards: a
// descriptor holds it, and, with a path, a bind mount.
func aloneNamespace(t *testing.T, path string) (netns uint32, listener int, at unix.Sockaddr, ns *os.File) {
	t.Helper()
	onThread(func() {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Errorf("unshare: %v", err)
			return
		}
		if err := loopbackUp(); err != nil {
			t.Errorf("loopback: %v", err)
		}
		listener, at = listen(t, unix.AF_INET, 8)
		var err error
		if ns, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			t.Error(err)
			return
		}
		netns = uint32(inodeOf(ns))
		if path != "" {
			f, err := os.Create(path)
			if err := errors.Join(err, f.Close(), unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND,
				"")); err != nil {
				t.Error(err)
			}
			_ = ns.Close()
			ns = nil
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	return netns, listener, at, ns
}

// loopbackUp gives the network namespace of the calling thread a loopback that works.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
}

// inNamespace runs work on a thread that is in the network namespace of a file, which ends afterwards.
func inNamespace(t *testing.T, path string, work func()) {
	t.Helper()
	onThread(func() {
		f, err := os.Open(path)
		if err == nil {
			err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
			_ = f.Close()
		}
		if err != nil {
			t.Errorf("enter %s: %v", path, err)
			return
		}
		work()
	})
}

// sizeOf is how long a file is.
func sizeOf(path string) int64 {
	st, err := os.Stat(path)
	if err != nil {
		return -1
	}
	return st.Size()
}

// onThread runs work on a thread that ends with it. That is not the process's first one, which would stay.
func onThread(work func()) {
	done := make(chan bool)
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() { // held meanwhile, so that it is another one
			defer runtime.UnlockOSThread()
			onThread(work)
			return
		}
		work()
	}()
	<-done
}

// Accepts at listeners of network namespaces that no process is in: acc names each, and says why it has
// no counters of it. One that only a thread is in, its counters are read.
func TestVMNamespaceAlone(t *testing.T) {
	needVM(t)
	dir := t.TempDir()
	mounted := filepath.Join(dir, "ns")
	held, heldFD, heldAt, ns := aloneNamespace(t, "")
	bound, boundFD, boundAt, _ := aloneNamespace(t, mounted)
	defer unix.Unmount(mounted, 0)
	defer ns.Close()
	path := filepath.Join(dir, "x.acc")
	r := startRecorder(t, "/in/acc", "record", "-o", path)
	takes := func(lfd int, at unix.Sockaddr, where string, n int) {
		for range n {
			var c int
			inNamespace(t, where, func() { c = dial(t, unix.AF_INET, at) }) // the thread ends, its socket stays
			fd, _, err := unix.Accept4(lfd, 0)
			if err := errors.Join(err, unix.Close(c), unix.Close(fd)); err != nil {
				t.Fatal(err)
			}
		}
	}
	takes(heldFD, heldAt, fmt.Sprintf("/proc/self/fd/%d", ns.Fd()), 3)
	takes(boundFD, boundAt, mounted, 2)
	var inside uint32
	thread, leave := make(chan bool), make(chan bool)
	go onThread(func() { // a thread alone, which stays for the end
		defer close(thread)
		if err := errors.Join(unix.Unshare(unix.CLONE_NEWNET), loopbackUp()); err != nil {
			t.Error(err)
			return
		}
		inside = uint32(namespace("/proc/thread-self/ns/net"))
		lfd, at := listen(t, unix.AF_INET, 8)
		take := func() {
			c := dial(t, unix.AF_INET, at)
			fd, _, err := unix.Accept4(lfd, 0)
			if err := errors.Join(err, unix.Close(c), unix.Close(fd)); err != nil {
				t.Error(err)
			}
		}
		for before := sizeOf(path); sizeOf(path) == before && !t.Failed(); {
			take() // until acc has met it, which it writes
		}
		for range 4 {
			take()
		}
		thread <- true
		<-leave
		_ = unix.Close(lfd)
	})
	<-thread
	r.stop(t)
	close(leave)
	<-thread
	var rec recording
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rec.read(t, f)
	got := map[uint32]string{}
	for _, x := range rec.end.Unread {
		got[x.NetNS] = x.Why
	}
	if len(got) != 2 || got[held] != unreadNobody || got[bound] != unreadNobody {
		t.Errorf("not read are %v, want %d and %d", got, held, bound)
	}
	out, err := exec.Command("/in/acc", "analyze", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	screen := string(out)
	for ns, n := range map[uint32]int{held: 3, bound: 2} {
		want := fmt.Sprintf(
			"%d more accepted in network namespace %d, whose counters acc could not read: no process was in it when "+
				"acc looked", n, ns)
		if !strings.Contains(strings.Join(strings.Fields(screen), " "), want) {
			t.Errorf("%q is not said\n%s", want, screen)
		}
	}
	if strings.Contains(screen, "3 sockets began to listen") || !strings.Contains(screen, "1 socket began to listen") {
		t.Errorf("two listened before, one did not:\n%s", screen)
	}
	out, err = exec.Command("/in/acc", "analyze", "--json", path).Output()
	var a struct {
		Witness struct {
			Spaces []struct {
				NetNS            uint32
				Opened, Accepted int
				Verdict          string
			}
		} `json:"cross_check"`
	}
	if err := errors.Join(err, json.Unmarshal(out, &a)); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, x := range a.Witness.Spaces {
		found = found || x.NetNS == inside && x.Opened >= 4 && x.Accepted >= 4 && x.Verdict == "agrees"
	}
	if !found {
		t.Errorf("no counters of namespace %d, which a thread is in: %+v", inside, a.Witness.Spaces)
	}
}
