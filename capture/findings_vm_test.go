//go:build linux && (amd64 || arm64)

package capture

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"
)

// A server that accepts too late: its queue fills, the next clients are refused.
// The waits are held against the clocks of client and server, the refusals against
// the kernel's count.
func TestVMFindingSlow(t *testing.T) {
	needVM(t)
	const limit = 4
	type client struct {
		fd                         int
		before, after, taken, done int64 // connect began and returned, accept began and returned
	}
	var clients []client
	var where string
	overflows := 0
	slow := func() {
		lfd, addr := listen(t, unix.AF_INET, limit)
		defer unix.Close(lfd)
		where = addrPort(addr).String()
		for range limit + 1 {
			c := client{before: bootNow()}
			c.fd = dial(t, unix.AF_INET, addr)
			c.after = bootNow()
			clients = append(clients, c)
		}
		for range 3 { // the queue is full: these get no answer
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			if err := unix.Connect(fd, addr); !errors.Is(err, unix.EINPROGRESS) {
				t.Errorf("connect to a full queue: %v", err)
			}
		}
		for bootNow() < clients[0].after+2e9 { // busy elsewhere
			time.Sleep(100 * time.Millisecond)
		}
		for i := range clients {
			c := &clients[i]
			c.taken = bootNow()
			fd, _, err := unix.Accept(lfd)
			c.done = bootNow()
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
		}
	}
	a := analyzeWhile(t, func(*recorder) {
		before := extended(t, "ListenOverflows")
		slow()
		overflows = extended(t, "ListenOverflows") - before // the listener is closed: there can be no more
	})
	a.found(t, "slow-accept", "critical", where)
	a.found(t, "queue-full", "warning", where)
	a.found(t, "new-listener", "notice", where)
	severity := "warning"
	if overflows >= 10 {
		severity = "critical"
	}
	a.found(t, "queue-overflow", severity, fmt.Sprintf("%s refused clients %d times", where, overflows))
	for _, l := range a.Listeners {
		if l.Addr != where {
			continue
		}
		if l.Life == nil || int(l.Life.RefusedSYN+l.Life.RefusedACK) != overflows || overflows < 3 {
			t.Errorf("%+v refused, the kernel counted %d", l.Life, overflows)
		}
		if full := clients[0].taken - clients[limit].after; l.Life != nil && l.Life.FullNS < full {
			t.Errorf("the queue was full for %d ns, at least %d", l.Life.FullNS, full)
		}
	}
	waits := waitsIn(t, a.path)
	for _, c := range clients {
		wait, ok := waits[portOf(t, c.fd)]
		t.Logf("waited %d ns; by the clocks of client and server %d to %d", wait, c.taken-c.after, c.done-c.before)
		if !ok || wait < c.taken-c.after || wait > c.done-c.before {
			t.Errorf("waited %d ns (%v), by the clocks of client and server %d to %d", wait, ok, c.taken-c.after, c.done-c.before)
		}
		unix.Close(c.fd)
	}
	if t.Failed() {
		out, _ := exec.Command("/in/acc", "replay", "--speed", "max", "--json", a.path).Output()
		t.Logf("%s", out)
	}
}

// What can go wrong at accept itself, each made as it happens, at a listener of its own.
func TestVMFindingFailures(t *testing.T) {
	needVM(t)
	if err := rlimit.RemoveMemlock(); err != nil { // before 5.11, for the policy
		t.Fatal(err)
	}
	places := map[string]string{}
	var closing int
	a := analyzeWhile(t, func(*recorder) {
		at := func(id string) (lfd int, addr unix.Sockaddr) {
			lfd, addr = listen(t, unix.AF_INET, 16)
			places[id] = addrPort(addr).String()
			return lfd, addr
		}
		lfd, addr := at("fd-exhausted")
		client := dial(t, unix.AF_INET, addr)
		defer unix.Close(client)
		defer unix.Close(lfd)
		var was unix.Rlimit
		unix.Getrlimit(unix.RLIMIT_NOFILE, &was)
		unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: was.Max})
		_, errno := rawAccept4(lfd, 0, 0, 0)
		unix.Setrlimit(unix.RLIMIT_NOFILE, &was)
		if errno != unix.EMFILE {
			t.Errorf("accept without a descriptor: %v", errno)
		}

		lfd, addr = at("dead-on-arrival")
		defer unix.Close(lfd)
		client = dial(t, unix.AF_INET, addr)
		unix.SetsockoptLinger(client, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		unix.Close(client)
		if fd, errno := rawAccept4(lfd, 0, 0, 0); errno != 0 {
			t.Errorf("accept of what was reset: %v", errno)
		} else {
			unix.Close(fd)
		}

		lfd, addr = at("client-lost")
		defer unix.Close(lfd)
		client = dial(t, unix.AF_INET, addr)
		defer unix.Close(client)
		size := uint32(16)
		if _, errno := rawAccept4(lfd, 8, uintptr(unsafe.Pointer(&size)), 0); errno != unix.EFAULT {
			t.Errorf("accept into bad memory: %v", errno)
		}

		lfd, addr = at("accept-aborted")
		defer unix.Close(lfd)
		client = dial(t, unix.AF_INET, addr)
		defer unix.Close(client)
		policy := forbidAccept(t, unix.ECONNABORTED)
		if _, errno := rawAccept4(lfd, 0, 0, 0); errno != unix.ECONNABORTED {
			t.Errorf("accept that a policy aborts: %v", errno)
		}
		policy.Close()

		lfd, addr = at("closing")
		closing = dial(t, unix.AF_INET, addr)
		defer unix.Close(closing)
		unix.Close(lfd)
		if _, err := unix.Read(closing, make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("a client of a listener that was closed reads %v", err)
		}
	})
	a.found(t, "fd-exhausted", "critical", places["fd-exhausted"]+": accept failed 1 time")
	a.found(t, "dead-on-arrival", "notice", places["dead-on-arrival"]+": 1 of 1")
	a.found(t, "client-lost", "warning", places["client-lost"]+": 1 client was taken from the queue")
	a.found(t, "accept-aborted", "notice", places["accept-aborted"]+": ")
	a.found(t, "client-lost", "warning", "1 client was in the queue when the listener was closed")
}

// Another thread writes over the peer's address while accept returns.
func TestVMFindingAddress(t *testing.T) {
	needVM(t)
	var where string
	a := analyzeWhile(t, func(*recorder) {
		lfd, addr := listen(t, unix.AF_INET, 16)
		defer unix.Close(lfd)
		where = addrPort(addr).String()
		client := dial(t, unix.AF_INET, addr)
		defer unix.Close(client)
		// The kernel waits in the middle of the address: its second half is on a page of its own.
		size := os.Getpagesize()
		pages, err := unix.Mmap(-1, 0, 2*size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Munmap(pages)
		buf, length := pages[size-8:size+8], uint32(16)
		copy(buf, make([]byte, 16)) // both pages are there
		pages[size] = 1
		done := protectWrites(t, pages[size:], func() { copy(buf[4:], []byte{203, 0, 113, 7}) })
		fd, errno := rawAccept4(lfd, uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&length)), 0)
		if err := <-done; errno != 0 || err != nil || buf[4] != 203 {
			t.Fatal(errno, err, buf)
		}
		unix.Close(fd)
	})
	a.found(t, "address-mismatch", "warning", where)
}

// Four threads wake for each connection, and three find nothing.
func TestVMFindingHerd(t *testing.T) {
	needVM(t)
	const rounds, threads = 100, 4
	var where string
	var empty atomic.Int64
	a := analyzeWhile(t, func(*recorder) {
		lfd, addr := listen(t, unix.AF_INET, 16)
		defer unix.Close(lfd)
		unix.SetNonblock(lfd, true)
		where = addrPort(addr).String()
		for range rounds {
			var ready, done sync.WaitGroup
			ready.Add(threads)
			for range threads {
				done.Go(func() {
					unix.Poll([]unix.PollFd{{Fd: int32(lfd), Events: unix.POLLIN}}, -1)
					ready.Done()
					ready.Wait() // all are awake before one accepts
					fd, errno := rawAccept4(lfd, 0, 0, 0)
					switch errno {
					case 0:
						unix.Close(fd)
					case unix.EAGAIN:
						empty.Add(1)
					default:
						t.Error(errno)
					}
				})
			}
			client := dial(t, unix.AF_INET, addr)
			done.Wait()
			unix.Close(client)
		}
	})
	if n := empty.Load(); n != rounds*(threads-1) {
		t.Fatalf("%d calls found nothing", n)
	}
	// One that finds nothing is normal after each that does not, and one at the end.
	a.found(t, "herd", "notice", fmt.Sprintf("%s: tasks woke up %d times and found the queue empty, while %d connections were accepted", where, rounds*(threads-2)-1, rounds))
}

// TestVMFindingWorker is a worker of TestVMFindingWorkers: it accepts as many
// connections of descriptor 3 as each line of its standard input says.
func TestVMFindingWorker(t *testing.T) {
	if os.Getenv("ACC_WORKER") == "" {
		t.Skip("run by TestVMFindingWorkers")
	}
	fmt.Println("ready")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var n int
		fmt.Sscan(lines.Text(), &n)
		for range n {
			fd, errno := rawAccept4(3, 0, 0, 0)
			if errno != 0 {
				t.Fatal(errno)
			}
			unix.Close(fd)
		}
		fmt.Println("accepted", n)
	}
}

// Two workers share a listener, one of another program's file, and one does nearly
// all the work.
func TestVMFindingWorkers(t *testing.T) {
	needVM(t)
	lfd, addr := listen(t, unix.AF_INET, 64)
	shared := os.NewFile(uintptr(lfd), "listener")
	defer shared.Close()
	other := filepath.Join(t.TempDir(), "other")
	if out, err := exec.Command("/bin/busybox", "cp", "/in/capture.test", other).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v\n%s", err, out)
	}
	a := analyzeWhile(t, func(*recorder) {
		worker := func(program string) func(n int) {
			cmd := exec.Command(program, "-test.run", "^TestVMFindingWorker$")
			cmd.Env = append(os.Environ(), "ACC_WORKER=1")
			cmd.ExtraFiles = []*os.File{shared}
			in, err1 := cmd.StdinPipe()
			out, err2 := cmd.StdoutPipe()
			if err := errors.Join(err1, err2, cmd.Start()); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			t.Cleanup(func() {
				in.Close()
				cmd.Wait()
			})
			if !lines.Scan() || lines.Text() != "ready" {
				t.Fatalf("a worker says %q", lines.Text())
			}
			return func(n int) {
				for range n {
					defer unix.Close(dial(t, unix.AF_INET, addr))
				}
				fmt.Fprintln(in, n)
				if !lines.Scan() || lines.Text() != fmt.Sprint("accepted ", n) {
					t.Fatalf("a worker says %q", lines.Text())
				}
			}
		}
		first, second := worker("/in/capture.test"), worker(other)
		for range 15 {
			first(19)
			second(1)
		}
	})
	where := addrPort(addr).String()
	// On a slow machine clients wait meanwhile, and then it is a warning.
	a.found(t, "uneven-workers", "", where+": of 2 workers ")
	a.found(t, "uneven-workers", "", "took 285 of 300 connections")
	a.found(t, "new-acceptor", "warning", where+": another program accepts from it than before: /in/capture.test, "+other)
}

// A program accepts through io_uring.
func TestVMFindingUring(t *testing.T) {
	needVM(t)
	a := analyzeWhile(t, func(*recorder) {
		if out, err := exec.Command("/in/accepts", "uring-ready").CombinedOutput(); err != nil {
			t.Fatalf("accepts: %v\n%s", err, out)
		}
	})
	a.found(t, "io-uring-accept", "notice", "accepted through io_uring")
}

// The recorder can't keep up.
func TestVMFindingIncomplete(t *testing.T) {
	needVM(t)
	lfd, _ := listen(t, unix.AF_INET, 16)
	defer unix.Close(lfd)
	unix.SetNonblock(lfd, true)
	a := analyzeWhile(t, func(r *recorder) {
		r.Process.Signal(unix.SIGSTOP)
		for range 10_000 {
			rawAccept4(lfd, 0, 0, 0)
		}
		r.Process.Signal(unix.SIGCONT)
	}, "--ring-size", "64KiB")
	a.found(t, "incomplete", "warning", "lost")
}

// Nginx under load is healthy: nothing is found but, perhaps, that its workers share
// unevenly, which epoll makes them.
func TestVMFindingsHealthy(t *testing.T) {
	needVM(t)
	if err := exec.Command("nginx", "-c", "/in/nginx.conf").Run(); err != nil {
		t.Fatal(err)
	}
	defer exec.Command("nginx", "-c", "/in/nginx.conf", "-s", "quit").Run()
	// An emulated machine that its host starves makes a slow server now and then, but not every time.
	for try := 1; ; try++ {
		path := filepath.Join(t.TempDir(), fmt.Sprintf("nginx%d.acc", try))
		out, err := exec.Command("/in/acc", "record", "-o", path, "--", "/bin/sh", "/in/load.sh", "8080", "5s", "16").CombinedOutput()
		if err != nil {
			t.Fatalf("record: %v\n%s", err, out)
		}
		out, err = exec.Command("/in/acc", "analyze", path).CombinedOutput()
		t.Logf("%s", out)
		if err != nil || !bytes.Contains(out, []byte("127.0.0.1:8080")) {
			t.Errorf("nginx is not in the capture: %v", err)
		}
		if out, err = exec.Command("/in/acc", "analyze", "--json", path).Output(); err != nil {
			t.Fatal(err)
		}
		var a analyzed
		if err := json.Unmarshal(out, &a); err != nil {
			t.Fatal(err)
		}
		longest := int64(0)
		for _, l := range a.Listeners {
			if l.Life != nil {
				longest = max(longest, l.Life.QueueWait.Max)
			}
		}
		if t.Logf("the longest wait was %d ms", longest/1e6); longest < int64(waitLong) && len(a.Meanwhile) > 0 {
			t.Errorf("acc looked at a server whose clients waited %d ms at most: %+v", longest/1e6, a.Meanwhile)
		}
		sound := true
		for _, f := range a.Findings {
			sound = sound && f.Severity == "notice" && (f.ID == "uneven-workers" || f.ID == "clock-unsynchronised")
		}
		if sound {
			break
		}
		if try == 3 {
			t.Error("something is found at a healthy server, three times")
			break
		}
	}
}
