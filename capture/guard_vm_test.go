//go:build linux && (amd64 || arm64)

package capture

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

// TestFlooder is a program of a user without rights that fails to accept as fast as it can, in threads, or in one child
// after another, and says how often.
func TestFlooder(t *testing.T) {
	how := os.Getenv("ACC_FLOOD")
	if how == "" {
		t.Skip("is started by TestVMFlood")
	}
	l, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if port, _ := strconv.Atoi(os.Getenv("ACC_FLOOD_PORT")); err == nil && port > 0 {
		err = unix.Bind(l, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: port})
	}
	if err == nil {
		err = unix.Listen(l, 8)
	}
	if err != nil {
		t.Fatal(err)
	}
	calls, _ := strconv.Atoi(os.Getenv("ACC_FLOOD_CALLS"))
	var failed atomic.Int64
	switch how {
	case "threads":
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for range calls / 4 {
					if _, _, errno := unix.RawSyscall(unix.SYS_ACCEPT, uintptr(l), 0, 0); errno == unix.EAGAIN {
						failed.Add(1)
					}
				}
			})
		}
		all.Wait()
	case "tcp", "unix": // with itself, until its standard input ends
		floodAccepted(t, how, &failed)
		fmt.Printf("accepted %d\n", failed.Load())
		return
	case "bad": // no listener, nor any other descriptor
		for range calls {
			if _, _, errno := unix.RawSyscall(unix.SYS_ACCEPT4, 9999, 0, 0); errno == unix.EBADF {
				failed.Add(1)
			}
		}
	case "children":
		const each = 50
		for range calls / each {
			child, _, errno := unix.RawSyscall(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0)
			if child == 0 && errno == 0 {
				status := uintptr(0)
				for range each {
					if _, _, errno := unix.RawSyscall(unix.SYS_ACCEPT, uintptr(l), 0, 0); errno != unix.EAGAIN {
						status = 1
					}
				}
				unix.RawSyscall(unix.SYS_EXIT_GROUP, status, 0, 0)
			}
			var status unix.WaitStatus
			if errno != 0 {
				t.Fatal(errno)
			}
			if _, err := unix.Wait4(int(child), &status, 0, nil); err == nil && status.ExitStatus() == 0 {
				failed.Add(each)
			}
		}
	}
	fmt.Printf("failed %d\n", failed.Load())
}

// A program of a user without rights that fails to accept by the hundred thousand is counted, exactly, and what
// another server does is recorded all the same.
func TestVMFlood(t *testing.T) {
	needVM(t)
	long := os.Getenv("ACC_TORTURE") != ""
	for i, mode := range exactModes(t) {
		for _, how := range []string{"threads", "bad", "children"} {
			if long || i == 0 && how == "threads" {
				t.Run(string(mode)+"/"+how, func(t *testing.T) { testFlood(t, mode, how, 10_000, 50) })
			}
		}
	}
}

// TestVMFloodFigures shows what a flood does with the guard as it is by default, and without it.
func TestVMFloodFigures(t *testing.T) {
	needVM(t)
	if os.Getenv("ACC_TORTURE") == "" {
		t.Skip("ACC_TORTURE: shows what happens without the rate guard")
	}
	for _, rate := range []int{0, -1} {
		t.Run(strconv.Itoa(rate), func(t *testing.T) { testFlood(t, "", "threads", 150_000, rate) })
	}
}

func testFlood(t *testing.T, mode Mode, how string, calls, rate int) {
	server := startSelectServer(t, "127.0.0.1:7443", "127.0.0.1", "", nil)
	cmd := exec.Command(os.Args[0], "-test.run=^TestFlooder$")
	cmd.Env = append(os.Environ(), "ACC_FLOOD="+how, "ACC_FLOOD_CALLS="+strconv.Itoa(calls), "GODEBUG=asyncpreemptoff=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	r := recordWhile(t, Options{Mode: mode, RingBytes: 256 << 10, FailedRate: rate, NoCauses: true}, func() {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		for range 10 {
			server.ask("connect 10")
			time.Sleep(100 * time.Millisecond)
		}
		if err := <-ended; err != nil {
			t.Fatalf("%v\n%s", err, &said)
		}
	})
	failed, entries, returns, accepted, queued, closed := 0, 0, 0, 0, 0, 0
	if _, err := fmt.Sscanf(said.String()[bytes.Index(said.Bytes(), []byte("failed")):], "failed %d", &failed); err != nil {
		t.Fatalf("%v\n%s", err, &said)
	}
	flooder := uint32(cmd.Process.Pid)
	for _, e := range r.events {
		switch {
		case e.UID == 1000 && e.Kind == format.Enter:
			entries++
		case e.UID == 1000 && e.Failed():
			returns++
		case e.LPort != server.port:
		case e.Accepted() && e.PID == uint32(server.cmd.Process.Pid):
			accepted++
		case e.Kind == format.Queued:
			queued++
		case isEnd(&e):
			closed++
		}
	}
	counted, countedEntries := 0, 0
	first, last := int64(0), int64(0)
	for _, c := range r.counted {
		counted += int(c.Calls)
		countedEntries += int(c.Entries)
		if first == 0 {
			first = c.FromNS
		}
		last = c.ToNS
		if c.UID != 1000 || c.FromNS > c.ToNS || how != "children" && c.PID != flooder || how != "bad" && c.Listener == 0 ||
			c.Ret != 0 && c.Ret != map[bool]int32{true: -int32(unix.EBADF), false: -int32(unix.EAGAIN)}[how == "bad"] {
			t.Errorf("%+v", c)
		}
	}
	t.Logf("%d failed: %d entries and %d returns recorded, %d calls counted in %d records over %v; server: %d accepted, "+
		"%d queued, %d closed; %d lost, %d bytes", failed, entries, returns, counted, len(r.counted),
		time.Duration(last-first), accepted, queued, closed, r.end.Lost, r.result.Bytes)
	if rate < 0 {
		return
	}
	if failed != calls || returns+counted != failed || entries+countedEntries != failed || counted < failed/2 {
		t.Errorf("%d calls failed of %d; of these %d + %d are there, with %d + %d entries", failed, calls, returns, counted,
			entries, countedEntries)
	}
	if accepted != 100 || queued != 100 || closed != 100 || r.end.Lost != 0 {
		t.Errorf("of 100 of another server %d accepted, %d queued, %d closed; %d events lost", accepted, queued, closed,
			r.end.Lost)
	}
	if !r.end.Clean {
		t.Errorf("END: %s", r.end.Detail)
	}
	for _, p := range r.end.Totals {
		if p.Seen != p.Recorded+p.Lost+p.Filtered+p.Counted || p.Kind == format.Enter && int(p.Counted) != countedEntries {
			t.Errorf("%+v", p)
		}
	}
}
