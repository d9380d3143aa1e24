//go:build linux && (amd64 || arm64)

package capture

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fleetRecord is how docs/FLEET.md records.
const fleetRecord = `mkdir -p /var/lib/acc/$(hostname)
acc record -o /var/lib/acc/$(hostname) --rotate-every 1h --rotate-size 256MB --max-total 10GB --name main`

// docs/FLEET.md records by what TestVMBeside runs.
func TestFleetRecord(t *testing.T) {
	doc, err := os.ReadFile("../docs/FLEET.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(doc), "\n    "+strings.ReplaceAll(fleetRecord, "\n", "\n    ")+"\n") {
		t.Errorf("docs/FLEET.md does not say:\n%s", fleetRecord)
	}
}

// Tcpdump and acc, by docs/FLEET.md's own command, record the same connections of five listeners: some are reset, some
// wait, some are refused at first, one has the addresses and ports of another that was reset. Both files go to /out, for
// TestBeside of cmd/acc (make test-beside).
func TestVMBeside(t *testing.T) {
	needVM(t)
	if os.Getenv("ACC_BESIDE") == "" {
		t.Skip("make test-beside runs it")
	}
	t.Setenv("PATH", "/in:"+os.Getenv("PATH"))
	err := os.MkdirAll("/var/lib/acc", 0o755)
	if err == nil {
		err = unix.Mount("tmpfs", "/var/lib/acc", "tmpfs", 0, "size=12g") // room for --max-total, which is never used
	}
	if err != nil {
		t.Fatal(err)
	}
	dump := startDump(t, "/out/beside.pcap")
	r := startRecorder(t, "/bin/busybox", "sh", "-c", strings.Replace(fleetRecord, "\nacc", "\nexec acc", 1))
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	files := func() []string {
		list, _ := filepath.Glob(filepath.Join("/var/lib/acc", host, "acc-"+host+"-*.acc"))
		return list
	}
	makeBeside(t)
	if out, err := exec.Command("acc", "ctl", "rotate", "main").CombinedOutput(); err != nil {
		t.Fatalf("acc ctl rotate main: %v\n%s", err, out)
	}
	for deadline := time.Now().Add(20 * time.Second); len(files()) < 2; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			all, _ := filepath.Glob("/var/lib/acc/*/*")
			r.Process.Kill()
			t.Fatalf("no second file: %q, %v\n%s", all, r.end(), &r.said)
		}
	}
	makeBeside(t)
	time.Sleep(time.Second) // the last packets
	r.stop(t)
	if err := dump.Process.Signal(unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := dump.Wait(); err != nil {
		t.Fatal(err)
	}
	if list := files(); len(list) != 2 || !slices.IsSorted(list) {
		t.Errorf("files: %q", list)
	}
	for _, name := range files() {
		b, err := os.ReadFile(name)
		if err == nil {
			err = os.WriteFile(filepath.Join("/out", filepath.Base(name)), b, 0o644)
		}
		if err != nil {
			t.Error(err)
		}
	}
	t.Logf("%s", &r.said)
}

// startDump starts tcpdump, and waits until it captures.
func startDump(t *testing.T, file string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("tcpdump", "-i", "lo", "-n", "-U", "-Z", "root", "-B", "8192", "-w", file, "tcp")
	cmd.Stdout = os.Stderr
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	for b := make([]byte, 256); !strings.Contains(said.String(), "listening on"); {
		n, err := stderr.Read(b)
		said.Write(b[:n])
		if err != nil {
			t.Fatalf("tcpdump: %v\n%s", err, said.String())
		}
	}
	go io.Copy(os.Stderr, stderr)
	return cmd
}

// besidePort is the port of the first of five listeners.
const besidePort = 8081

// makeBeside makes the connections of TestVMBeside: 12 over IPv4 and 8 over IPv6, of which the client resets every other
// one; 4 that wait; 5 at a queue of one, some of which are refused at first; and one that is reset, with another from the
// same port after it.
func makeBeside(t *testing.T) {
	t.Helper()
	ask, reset := []byte("ask"), &unix.Linger{Onoff: 1}
	listenAt := func(port, backlog int, six bool) (fd int, addr unix.Sockaddr) {
		family := unix.AF_INET
		addr = &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}
		if six {
			family, addr = unix.AF_INET6, &unix.SockaddrInet6{Port: port, Addr: [16]byte{15: 1}}
		}
		fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), unix.Bind(fd, addr), unix.Listen(fd, backlog))
		}
		if err != nil {
			t.Fatal(err)
		}
		return fd, addr
	}
	serve := func(listener int, client func(int)) {
		fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 16)
		unix.Read(fd, b)
		unix.Write(fd, []byte("answer"))
		client(fd)
		unix.Close(fd)
	}
	for i, n := range []int{12, 8} {
		family := []int{unix.AF_INET, unix.AF_INET6}[i]
		l, addr := listenAt(besidePort+i, 16, i == 1)
		for k := range n {
			c := dial(t, family, addr)
			unix.Write(c, ask)
			serve(l, func(int) {
				unix.Read(c, make([]byte, 16))
				if k%2 == 1 {
					_ = unix.SetsockoptLinger(c, unix.SOL_SOCKET, unix.SO_LINGER, reset)
				}
				unix.Close(c)
			})
		}
		unix.Close(l)
	}
	// Four wait, and the first of them for longest.
	l, addr := listenAt(besidePort+2, 16, false)
	var waiting []int
	for range 4 {
		waiting = append(waiting, dial(t, unix.AF_INET, addr))
		time.Sleep(50 * time.Millisecond)
	}
	for _, c := range waiting {
		unix.Write(c, ask)
		serve(l, func(int) { unix.Close(c) })
	}
	unix.Close(l)
	// A queue of one has room for two. The kernel drops the others' packets, and their clients try again.
	l, addr = listenAt(besidePort+3, 1, false)
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err == nil {
				err = unix.Connect(c, addr)
			}
			if err != nil {
				t.Error(err)
				return
			}
			unix.Write(c, ask)
			unix.Read(c, make([]byte, 16))
			unix.Close(c)
		})
	}
	time.Sleep(1500 * time.Millisecond)
	for range 5 {
		serve(l, func(int) {})
	}
	all.Wait()
	unix.Close(l)
	// The same port again, as soon as the first connection is reset.
	l, addr = listenAt(besidePort+4, 16, false)
	for _, last := range []bool{false, true} {
		c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			err = errors.Join(unix.SetsockoptInt(c, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
				unix.Bind(c, &unix.SockaddrInet4{Port: 40404, Addr: [4]byte{127, 0, 0, 1}}), unix.Connect(c, addr))
		}
		if err != nil {
			t.Fatal(err)
		}
		unix.Write(c, ask)
		serve(l, func(int) {
			unix.Read(c, make([]byte, 16))
			_ = unix.SetsockoptLinger(c, unix.SOL_SOCKET, unix.SO_LINGER, reset)
			if !last {
				unix.Close(c)
			}
		})
		if last {
			unix.Close(c)
		}
	}
	unix.Close(l)
}
