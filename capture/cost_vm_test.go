//go:build linux && (amd64 || arm64)

package capture

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// TestCost prints what recording costs in instructions: the median of each call of a process that connects to
// itself, which hardly varies, with and without acc; and for how long acc itself ran, over enough
// connections that frames end meanwhile. `make cost` runs it in a machine with one CPU whose clock counts
// instructions, a nanosecond each. ACC_COST=MODE: only that; ACC_COST_EVENTS=EVENTS: so too. ACC_PROFILE=EVENTS
// profiles one of the runs into /out/cost.prof instead.
func TestCost(t *testing.T) {
	needVM(t)
	if os.Getenv("ACC_COST") == "" {
		t.Skip("counts instructions only where the clock does: make cost")
	}
	// Each connection's end would be in TIME-WAIT for a minute, and come back in the middle of a later recording.
	if err := os.WriteFile("/proc/sys/net/ipv4/tcp_max_tw_buckets", []byte("0"), 0o644); err != nil {
		t.Fatal(err)
	}
	loop := startCostLoop(t)
	loop(roundConns) // warm
	if events := os.Getenv("ACC_PROFILE"); events != "" {
		measure(t, Options{Events: Events(events), startWatch: 1}, func() costs {
			loop(roundConns)
			out, err := os.Create("/out/cost.prof")
			if err != nil {
				t.Fatal(err)
			}
			if err := pprof.StartCPUProfile(out); err != nil {
				t.Fatal(err)
			}
			defer pprof.StopCPUProfile()
			return loop(100_000)
		})
		return
	}
	none, measured := loop(roundConns), false
	t.Logf("without acc: %s", none)
	for _, mode := range modes(t) {
		if only := os.Getenv("ACC_COST"); only != "1" && only != string(mode) {
			continue
		}
		for _, events := range []Events{EventsAccept, EventsLifecycle, EventsAll} {
			if only := os.Getenv("ACC_COST_EVENTS"); only != "" && only != string(events) {
				continue
			}
			if events == EventsLifecycle && mode == ModeKprobe && slices.Contains(modes(t), ModeFentry) {
				continue // it has the same probes in both modes
			}
			measured = true
			own, bytes := int64(0), int64(0)
			with := measure(t, Options{Mode: mode, Events: events, startWatch: 1}, func() costs {
				loop(4 * roundConns) // what is only needed once is there then: memory, caches
				runtime.GC()         // of what the start leaves; while recording it is once a minute or two
				reading := runtimeNS(t)
				from, already := runtimeNS(t), written.Load()
				reading -= from // what it takes to read that, once
				c := loop(costConns)
				for range ownRounds - 1 {
					loop(costConns)
				}
				own, bytes = (runtimeNS(t)-from+reading)/(ownRounds*costConns), written.Load()-already
				if events == EventsAll || os.Getenv("ACC_COST_EVENTS") != "" {
					programCosts(t, loop, roundConns)
				}
				return c
			})
			if after := loop(roundConns).less(none).sum(); after > 300 {
				t.Errorf("without acc, a connection takes %d more than before: what follows is not only acc's", after)
			}
			added := with.less(none)
			t.Logf("%s, %s: added to %s; acc itself ran for %d a connection and wrote %.2f bytes; together %+d", mode, events, added, own,
				float64(bytes)/(ownRounds*costConns), added.sum()+own)
		}
	}
	if !measured {
		t.Errorf("nothing measured: MODE is one of %v, or left out; "+
			"EVENTS is accept, lifecycle (not with MODE=kprobe), all, or left out", modes(t))
	}
}

const (
	roundConns = 8_000
	keepEvery  = 500
	costConns  = 40_000
	ownRounds  = 4 // acc's own work is that of 4 * costConns connections: some 20 frames, so one more changes little
)

// costs are the medians of each of the calls of a connection, in nanoseconds.
type costs [5]int64

var costCalls = [len(costs{})]string{"socket", "connect", "accept4", "close of the client", "close of the server"}

func (c costs) less(other costs) costs {
	for i := range c {
		c[i] -= other[i]
	}
	return c
}

func (c costs) sum() (sum int64) {
	for _, n := range c {
		sum += n
	}
	return sum
}

func (c costs) String() string {
	s := ""
	for i, n := range c {
		s += fmt.Sprintf("%s %d, ", costCalls[i], n)
	}
	return s + fmt.Sprintf("all %d", c.sum())
}

// TestCostIdle prints what recording costs where there is nothing to record.
func TestCostIdle(t *testing.T) {
	needVM(t)
	if os.Getenv("ACC_COST") == "" || os.Getenv("ACC_COST_EVENTS") != "" {
		t.Skip("counts instructions only where the clock does: make cost")
	}
	const long = 30 * time.Second
	measure(t, Options{startWatch: 1}, func() costs {
		time.Sleep(2 * time.Second) // what the start has left to do
		ran, woken := runtimeNS(t), wakeUps(t)
		time.Sleep(long)
		ran, woken = runtimeNS(t)-ran, wakeUps(t)-woken
		t.Logf("nothing to record: %.4f %% of a CPU, %d wake-ups in %s, those of this test among them", 100*float64(ran)/float64(long), woken, long)
		return costs{}
	})
}

// wakeUps is how often the threads of this process have waited.
func wakeUps(t *testing.T) (sum int) {
	tasks, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil || len(tasks) == 0 {
		t.Fatal("no status: ", err)
	}
	for _, task := range tasks {
		b, _ := os.ReadFile(task)
		if _, after, ok := strings.Cut(string(b), "\nvoluntary_ctxt_switches:"); ok {
			n, _ := strconv.Atoi(strings.Fields(after)[0])
			sum += n
		}
	}
	return sum
}

// written is how many bytes of captures were written while measuring.
var written byteCount

type byteCount struct{ atomic.Int64 }

func (n *byteCount) Write(b []byte) (int, error) {
	n.Add(int64(len(b)))
	return len(b), nil
}

// measure gives what loop says while recording.
func measure(t *testing.T, o Options, loop func() costs) costs {
	t.Helper()
	done, ready := make(chan error, 1), make(chan bool)
	ctx, cancel := context.WithCancel(context.Background())
	o.Ready = func(s Started) {
		if o.Mode != "" && s.Mode != o.Mode || strings.Contains(s.Note, noteSlower) {
			t.Errorf("asked for %s, got %s: %s", o.Mode, s.Mode, s.Note)
		}
		close(ready)
	}
	go func() {
		_, err := Record(ctx, &written, o)
		done <- err
	}()
	select {
	case <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	with := loop()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return with
}

// runtimeNS is for how long the threads of this process have run, by the scheduler's clock.
func runtimeNS(t *testing.T) (sum int64) {
	tasks, err := filepath.Glob("/proc/self/task/*/schedstat")
	if err != nil || len(tasks) == 0 {
		t.Fatal("no schedstat: ", err)
	}
	for _, task := range tasks {
		var ns int64
		if b, err := os.ReadFile(task); err == nil {
			_, _ = fmt.Sscan(string(b), &ns)
			sum += ns
		}
	}
	return sum
}

// programCosts prints what each program took, as the kernel measured it, without
// what it takes to call it.
func programCosts(t *testing.T, loop func(int64) costs, conns int64) {
	stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	if err != nil {
		t.Fatal(err)
	}
	defer stats.Close()
	loop(conns)
	for id := ebpf.ProgramID(0); ; {
		if id, err = ebpf.ProgramGetNextID(id); err != nil {
			return
		}
		prog, err := ebpf.NewProgramFromID(id)
		if err != nil {
			t.Fatal(err)
		}
		info, err := prog.Info()
		if err != nil {
			t.Fatal(err)
		}
		s, err := prog.Stats()
		prog.Close()
		if err == nil && s.RunCount > 0 {
			t.Logf("    %-20s %5.2f runs a connection, %5d instructions each", info.Name, float64(s.RunCount)/float64(conns), s.Runtime.Nanoseconds()/int64(s.RunCount))
		}
	}
}

// startCostLoop starts a process that makes connections when it is asked to, and
// gives the nanoseconds of each call.
func startCostLoop(t *testing.T) func(conns int64) costs {
	cmd := exec.Command(os.Args[0], "-test.run=^TestCostLoop$")
	cmd.Env = append(os.Environ(), "ACC_COST_LOOP=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	return func(conns int64) (c costs) {
		fmt.Fprintln(in, conns)
		for lines.Scan() {
			if n, _ := fmt.Sscanf(lines.Text(), "medians %d %d %d %d %d", &c[0], &c[1], &c[2], &c[3], &c[4]); n == len(c) {
				return c
			}
		}
		t.Fatalf("the process that makes connections ended: %v", lines.Err())
		return c
	}
}

// TestCostLoop is the process that TestCost starts.
func TestCostLoop(t *testing.T) {
	if os.Getenv("ACC_COST_LOOP") == "" {
		t.Skip("is started by TestCost")
	}
	lfd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(lfd)
	debug.SetGCPercent(-1)
	const port = 7777
	if err := errors.Join(unix.Bind(lfd, &unix.SockaddrInet4{Port: port}), unix.Listen(lfd, 8)); err != nil {
		t.Fatal(err)
	}
	var took [len(costs{})][]int64
	for i := range took {
		took[i] = make([]int64, costConns)
	}
	addr := unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: [4]byte{127, 1, 1, 1}, Port: port<<8&0xff00 | port>>8}
	var conns int64
	var kept []int
	for {
		if _, err := fmt.Scanln(&conns); err != nil {
			return
		}
		for n := range conns {
			if n%keepEvery == 0 {
				kept = keepOneMore(t, lfd, &addr, kept)
			}
			for i, ns := range connectAndAccept(t, lfd, &addr) {
				took[i][n%costConns] = ns
			}
		}
		var c costs
		for i := range c {
			all := took[i][:min(conns, costConns)]
			slices.Sort(all)
			c[i] = all[len(all)/2]
		}
		fmt.Println("medians", c[0], c[1], c[2], c[3], c[4])
	}
}

// keepOneMore keeps one more connection open, and packets that nobody reads, up to 16, of which none is left then.
// In some recordings the kernel's allocator takes its slow path in each connection, 600 in connect and 600 in close, with
// and without programs there: it depends on where its pages end, which each of these moves.
func keepOneMore(t *testing.T, listener int, addr *unix.RawSockaddrInet4, kept []int) []int {
	if len(kept) == 3*16 {
		for _, fd := range kept {
			unix.Close(fd)
		}
		return kept[:0]
	}
	client, _, _ := unix.RawSyscall(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM, 0)
	unix.RawSyscall(unix.SYS_CONNECT, client, uintptr(unsafe.Pointer(addr)), unsafe.Sizeof(*addr))
	fd, _, errno := unix.RawSyscall(unix.SYS_ACCEPT, uintptr(listener), 0, 0)
	if errno != 0 {
		t.Fatal(errno)
	}
	udp, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	to := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 7000 + len(kept)}
	_, err = unix.Write(int(client), []byte{1})
	if err := errors.Join(err, unix.Bind(udp, to), unix.Sendto(udp, []byte{1}, 0, to)); err != nil {
		t.Fatal(err)
	}
	return append(kept, int(client), int(fd), udp)
}

// connectAndAccept makes a connection and ends it, and gives how long each call took.
func connectAndAccept(t *testing.T, listener int, addr *unix.RawSockaddrInet4) (took costs) {
	var got struct { // as gcc lays out a length and an address that are variables of one function
		size uint32
		peer unix.RawSockaddrInet4
	}
	got.size = uint32(unsafe.Sizeof(got.peer))
	from := time.Now()
	done := func(i int) {
		now := time.Now()
		took[i], from = now.Sub(from).Nanoseconds(), now
	}
	client, _, _ := unix.RawSyscall(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM, 0)
	done(0)
	unix.RawSyscall(unix.SYS_CONNECT, client, uintptr(unsafe.Pointer(addr)), unsafe.Sizeof(*addr))
	done(1)
	fd, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(listener), uintptr(unsafe.Pointer(&got.peer)), uintptr(unsafe.Pointer(&got.size)), 0, 0, 0)
	done(2)
	if errno != 0 {
		t.Fatal(errno)
	}
	unix.RawSyscall(unix.SYS_CLOSE, client, 0, 0)
	done(3)
	unix.RawSyscall(unix.SYS_CLOSE, fd, 0, 0)
	done(4)
	return took
}
