//go:build linux && (amd64 || arm64)

package capture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

// needVM skips tests that need a kernel to trace, but not where the machine was
// booted for them.
func needVM(t *testing.T) {
	t.Helper()
	if os.Getenv("ACC_VM") == "" {
		t.Skip("needs a kernel to trace: make test-vm")
	}
}

// modes are the modes that this machine's kernel has: Linux 6.1 for arm64 can't call
// programs from functions (no DYNAMIC_FTRACE_WITH_DIRECT_CALLS).
func modes(t *testing.T) []Mode {
	if runtime.GOARCH == "arm64" && os.Getenv("ACC_VM") == "6.1" {
		t.Log("kprobe mode only")
		return []Mode{ModeKprobe}
	}
	return []Mode{ModeFentry, ModeKprobe}
}

// recording is what recordWhile gives.
type recording struct {
	header  format.Header
	events  []format.Event
	losses  []format.Loss
	shots   []format.Snapshot
	clocks  []format.Clock // pairs between the start and the end
	marks   []format.Mark
	counted []format.Counted
	procs   map[uint32]format.Process
	result  Result
	end     *format.End
}

// recordWhile records while work runs.
func recordWhile(t *testing.T, o Options, work func()) recording {
	t.Helper()
	var out bytes.Buffer
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ready := make(chan Started, 1)
	o.Ready = func(s Started) { ready <- s }
	var r recording
	done := make(chan error, 1)
	go func() {
		var err error
		r.result, err = Record(ctx, &out, o)
		done <- err
	}()
	select {
	case s := <-ready:
		if o.Mode != "" && o.Mode != ModeAuto && s.Mode != o.Mode {
			t.Errorf("asked for %s, got %s: %s", o.Mode, s.Mode, s.Note)
		}
	case err := <-done:
		t.Fatalf("record: %v", err)
	}
	work()
	cancel()
	if err := <-done; err != nil {
		t.Fatalf("record: %v", err)
	}
	r.read(t, &out)
	return r
}

func (r *recording) read(t *testing.T, in io.Reader) {
	t.Helper()
	rd, err := format.NewReader(in, format.ReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r.header, r.procs = *rd.Header(), map[uint32]format.Process{}
	for {
		b, err := rd.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		r.events = append(r.events, b.Events...)
		r.losses = append(r.losses, b.Losses...)
		r.shots = append(r.shots, b.Snapshots...)
		r.clocks = append(r.clocks, b.Clocks...)
		r.counted = append(r.counted, b.Counted...)
		r.marks = append(r.marks, b.Marks...)
		if b.End != nil {
			end := *b.End
			r.end = &end
		}
		for _, p := range b.Processes {
			r.procs[p.Num] = p
		}
	}
}

// missed is what the end says of the i-th of probes.
func (r *recording) missed(i int) int { return int(r.result.End.Totals[i].Missed) }

// exactModes are the modes that miss nothing on this kernel, short of kretprobe
// instances: fentry does where programs can be preempted.
func exactModes(t *testing.T) []Mode {
	release, build := kernelName()
	if preempts(os.DirFS("/"), release, build) {
		t.Logf("Linux %s %s preempts programs: kprobe mode only", release, build)
		return []Mode{ModeKprobe}
	}
	return modes(t)
}

// of keeps the ends of a process's attempts.
func (r *recording) of(pid int) (events []format.Event) {
	for _, e := range r.events {
		if e.PID == uint32(pid) && (e.Kind == format.Enter || e.Kind == format.Return) {
			events = append(events, e)
		}
	}
	return events
}

// netstat reads one of the kernel's counters from /proc/net/snmp.
func netstat(t *testing.T, name string) int {
	t.Helper()
	return countIn(t, "/proc/net/snmp", name)
}

// countIn reads one of TCP's counters from a copy of /proc/net/snmp.
func countIn(t *testing.T, path, name string) int {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if fields[0] != "Tcp:" {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		for i, n := range names {
			if n == name {
				v, _ := strconv.Atoi(fields[i])
				return v
			}
		}
	}
	t.Fatalf("%s has no %s", path, name)
	return 0
}

// listen opens a listening socket and gives where it listens.
func listen(t *testing.T, family, backlog int) (fd int, addr unix.Sockaddr) {
	t.Helper()
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	switch family {
	case unix.AF_INET:
		addr = &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	case unix.AF_INET6:
		addr = &unix.SockaddrInet6{Addr: [16]byte{15: 1}}
	default:
		addr = &unix.SockaddrUnix{Name: fmt.Sprintf("@acc-%d", fd)}
	}
	if err := errors.Join(unix.Bind(fd, addr), unix.Listen(fd, backlog)); err != nil {
		t.Fatal(err)
	}
	if addr, err = unix.Getsockname(fd); err != nil {
		t.Fatal(err)
	}
	return fd, addr
}

// dial connects to addr.
func dial(t *testing.T, family int, addr unix.Sockaddr) int {
	t.Helper()
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(fd, addr); err != nil {
		t.Fatal(err)
	}
	return fd
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// accepted is what a server learns of a connection by asking the kernel.
type accepted struct {
	fd            int32
	inode         uint64
	local, remote netip.AddrPort
}

func learn(t *testing.T, fd int) accepted {
	var st unix.Stat_t
	local, err1 := unix.Getsockname(fd)
	remote, err2 := unix.Getpeername(fd)
	if err := errors.Join(unix.Fstat(fd, &st), err1, err2); err != nil {
		t.Error(err)
	}
	return accepted{int32(fd), st.Ino, addrPort(local), addrPort(remote)}
}

// Every connection is in the capture once, as the server itself sees it, and as
// many as the kernel counted.
func TestVMCounts(t *testing.T) {
	needVM(t)
	for _, mode := range exactModes(t) {
		t.Run(string(mode), func(t *testing.T) {
			const workers, conns = 4, 2000
			lfd, addr := listen(t, unix.AF_INET, 128)
			var st unix.Stat_t
			if err := unix.Fstat(lfd, &st); err != nil {
				t.Fatal(err)
			}
			var mu sync.Mutex
			truth := map[accepted]int{}
			before := 0
			r := recordWhile(t, Options{Mode: mode}, func() {
				before = netstat(t, "PassiveOpens") // acc has tried its probes by now, with connections of its own
				var servers sync.WaitGroup
				for range workers {
					servers.Go(func() {
						for {
							fd, _, err := unix.Accept4(lfd, unix.SOCK_CLOEXEC)
							if err != nil {
								return // shut down
							}
							a := learn(t, fd)
							mu.Lock()
							truth[a]++
							mu.Unlock()
							unix.Close(fd)
						}
					})
				}
				for range conns {
					fd := dial(t, unix.AF_INET, addr)
					var b [1]byte
					unix.Read(fd, b[:]) // until the server closes
					unix.Close(fd)
				}
				unix.Shutdown(lfd, unix.SHUT_RD)
				servers.Wait()
			})
			unix.Close(lfd)
			if opened := netstat(t, "PassiveOpens") - before; opened != conns {
				t.Errorf("the kernel counted %d connections, the test made %d", opened, conns)
			}
			got, failed := 0, 0
			for _, e := range r.of(os.Getpid()) {
				shut := e.State == format.StateClosed && e.LPort == 0 && !e.Accepted() // the port is given back at shutdown
				if e.Listener != st.Ino || e.LPort != addrPort(addr).Port() && !shut {
					t.Fatalf("listener %d port %d, want %d %v: %+v", e.Listener, e.LPort, st.Ino, addrPort(addr), e)
				}
				switch {
				case e.Accepted():
					got++
					a := accepted{e.Ret, e.Inode, e.Local(), e.Remote()}
					if truth[a]--; truth[a] < 0 {
						t.Errorf("the server accepted no %+v", a)
					}
					if e.State != format.StateEstablished && e.State != format.StateCloseWait || e.Family != format.FamilyIPv4 || e.Type != 1 || e.Proto != format.ProtoTCP || e.Flags != unix.SOCK_CLOEXEC {
						t.Errorf("odd facts: %+v", e)
					}
				case e.Failed() && e.Errno() == 512: // a signal of Go's scheduler; it begins anew
				case e.Failed():
					failed++
					if e.Errno() != int32(unix.EINVAL) {
						t.Errorf("an attempt failed with %d", e.Errno())
					}
				case e.State != format.StateListen && e.State != format.StateClosed || e.Via != format.ViaAccept4 || e.BacklogMax != 128:
					t.Errorf("odd entry: %+v", e)
				}
			}
			if got != conns || failed != workers {
				t.Errorf("recorded %d accepted and %d failed, want %d and %d", got, failed, conns, workers)
			}
			checkTotals(t, &r, 0)
		})
	}
}

// checkTotals holds the account at the end against the events.
func checkTotals(t *testing.T, r *recording, lost uint64) {
	t.Helper()
	count := map[[2]int]uint64{}
	for _, e := range r.events {
		count[[2]int{int(e.Hook), int(e.Kind)}]++
	}
	for _, total := range r.result.End.Totals {
		if total.Seen != total.Recorded+total.Lost || total.Recorded != count[[2]int{int(total.Hook), int(total.Kind)}] {
			t.Errorf("the account does not add up: %+v, %v events", total, count)
		}
	}
	if r.result.End.Lost != lost || !r.result.End.Clean {
		t.Errorf("end: %+v, want %d lost", r.result.End, lost)
	}
}

// A ring that is too small loses events, and the capture says how many and where.
func TestVMTinyRing(t *testing.T) {
	needVM(t)
	for _, mode := range exactModes(t) {
		t.Run(string(mode), func(t *testing.T) {
			const attempts = 500
			lfd, _ := listen(t, unix.AF_INET, 8)
			defer unix.Close(lfd)
			unix.SetNonblock(lfd, true)
			from := bootNS()
			made := 0
			r := recordWhile(t, Options{Mode: mode, RingBytes: 16 << 10, FailedRate: -1, stall: func() {
				for range attempts {
					if _, _, err := unix.Accept(lfd); err != unix.EAGAIN {
						t.Errorf("accept: %v", err)
					}
					made++
				}
			}}, func() {
				for range 50 { // some more once it reads
					unix.Accept(lfd)
					made++
				}
			})
			// The first ones may have come in while the recorder was stalled.
			var lost uint64
			for _, l := range r.losses {
				lost += l.Count
				if l.FromNS != 0 && l.FromNS < from || l.ToNS < l.FromNS || l.Hook != format.HookSysAccept4 {
					t.Errorf("loss %+v", l)
				}
			}
			if lost == 0 || lost != r.result.End.Lost {
				t.Errorf("losses add up to %d, the end says %d", lost, r.result.End.Lost)
			}
			for _, total := range r.result.End.Totals[:2] {
				if total.Seen != uint64(made) {
					t.Errorf("%s: %d seen, %d made", total.Kind, total.Seen, made)
				}
			}
			checkTotals(t, &r, lost)
		})
	}
}

// With more threads blocked than there are kretprobe instances, fentry misses
// nothing, and kprobe mode counts what it missed and mixes nothing up.
func TestVMBlockedThreads(t *testing.T) {
	needVM(t)
	const threads = 300
	for _, mode := range modes(t) {
		t.Run(string(mode), func(t *testing.T) {
			lfd, addr := listen(t, unix.AF_INET, threads)
			defer unix.Close(lfd)
			var mu sync.Mutex
			truth := map[uint64]uint32{} // thread by the socket; a port comes again on loopback
			r := recordWhile(t, Options{Mode: mode, MaxActive: 10}, func() {
				var servers sync.WaitGroup
				for range threads {
					servers.Go(func() {
						runtime.LockOSThread() // and end the thread
						fd, _, err := unix.Accept4(lfd, 0)
						if err != nil {
							t.Error(err)
							return
						}
						var st unix.Stat_t
						if err := unix.Fstat(fd, &st); err != nil {
							t.Error(err)
						}
						mu.Lock()
						truth[st.Ino] = uint32(unix.Gettid())
						mu.Unlock()
						unix.Close(fd)
					})
				}
				waitBlocked(t, threads)
				for range threads {
					unix.Close(dial(t, unix.AF_INET, addr))
				}
				servers.Wait()
			})
			entries, returns, atExit := 0, 0, 0
			for _, e := range r.of(os.Getpid()) {
				if e.Kind == format.Enter {
					entries++
					continue
				}
				if e.Errno() == 512 { // a signal of Go's scheduler; it begins anew
					entries--
					continue
				}
				returns++
				if e.Hook == format.HookSysExit {
					atExit++
				}
				if e.Mark&format.MarkNoFacts == 0 && truth[e.Inode] != e.TID {
					t.Errorf("thread %d took socket %d, the capture says thread %d", truth[e.Inode], e.Inode, e.TID)
				}
			}
			t.Logf("%d threads: %d entries, %d missed; %d returns (%d at the end of the system call), %d missed", threads, entries, r.missed(0), returns, atExit, r.missed(1))
			if entries+r.missed(0) < threads || returns+r.missed(1) < threads {
				t.Errorf("entries or returns are neither recorded nor counted as missed")
			}
			if mode == ModeKprobe && atExit+r.missed(1) == 0 {
				t.Error("10 instances sufficed: this tests nothing")
			}
			if mode == ModeFentry && slices.Contains(exactModes(t), mode) && returns != threads {
				t.Errorf("fentry missed %d returns", r.missed(1))
			}
			checkTotals(t, &r, 0)
		})
	}
}

// Returns for which there was no instance, and that came before the end of system calls was watched, are counted as
// missed, each of them.
func TestVMMissedReturns(t *testing.T) {
	needVM(t)
	const threads, instances = 40, 10
	lfd, addr := listen(t, unix.AF_INET, threads)
	defer unix.Close(lfd)
	returned := make(chan struct{})
	r := recordWhile(t, Options{Mode: ModeKprobe, MaxActive: instances, stall: func() { <-returned }}, func() {
		defer close(returned)
		var servers sync.WaitGroup
		for range threads {
			servers.Go(func() {
				runtime.LockOSThread()
				fd, _, err := unix.Accept4(lfd, 0)
				if err != nil {
					t.Error(err)
					return
				}
				unix.Close(fd)
			})
		}
		waitBlocked(t, threads)
		for range threads {
			unix.Close(dial(t, unix.AF_INET, addr))
		}
		servers.Wait()
	})
	restarts, returns := 0, 0
	for _, e := range r.of(os.Getpid()) {
		switch {
		case e.Kind != format.Return:
		case e.Errno() == 512: // a signal of Go's scheduler; it begins anew
			restarts++
		default:
			returns++
		}
	}
	t.Logf("%d threads: %d returns, %d missed, %d restarts", threads, returns, r.missed(1), restarts)
	if returns+r.missed(1) < threads || returns+r.missed(1) > threads+restarts || r.missed(1) == 0 {
		t.Errorf("%d returns, %d missed of %d", returns, r.missed(1), threads)
	}
}

// waitBlocked waits until n threads of this process sit in accept.
func waitBlocked(t *testing.T, n int) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; runtime.Gosched() {
		tasks, _ := blockedTasks(func() bool { return false })
		mine := 0
		for _, b := range tasks {
			if b.PID == uint32(os.Getpid()) {
				mine++
			}
		}
		if mine >= n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d threads are blocked in accept", mine, n)
		}
	}
}
