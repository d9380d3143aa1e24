//go:build linux && (amd64 || arm64)

package capture

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// TestCost prints what recording costs in instructions for a connection of another
// process to itself (socket, connect, accept, two closes), everything included: `make
// cost` runs it in a machine with one CPU whose clock counts instructions, a
// nanosecond each. ACC_COST=MODE: only that. ACC_PROFILE=EVENTS
// profiles one of the runs into /out/cost.prof instead.
func TestCost(t *testing.T) {
	needVM(t)
	if os.Getenv("ACC_COST") == "" {
		t.Skip("counts instructions only where the clock does: make cost")
	}
	conns := int64(8000)
	loop := startCostLoop(t)
	loop(conns) // warm
	if events := os.Getenv("ACC_PROFILE"); events != "" {
		measure(t, Options{Events: Events(events), startWatch: 1}, func() int64 {
			loop(conns)
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
	for _, mode := range modes(t) {
		if only := os.Getenv("ACC_COST"); only != "1" && only != string(mode) {
			continue
		}
		for _, events := range []Events{EventsAccept, EventsLifecycle, EventsAll} {
			none, own := loop(conns), int64(0)
			with := measure(t, Options{Mode: mode, Events: events, startWatch: 1}, func() int64 {
				loop(5 * conns) // what is only needed once is there then: memory, caches
				from := runtimeNS(t)
				each := loop(conns)
				own = (runtimeNS(t) - from) / conns
				return each
			})
			// The kernel's side alone: nobody reads the ring, which holds everything.
			release := make(chan bool)
			kernel := measure(t, Options{Mode: mode, Events: events, startWatch: 1, RingBytes: 32 << 20, stall: func() { <-release }}, func() int64 {
				defer close(release)
				each := loop(conns)
				programCosts(t, loop, conns)
				return each
			})
			t.Logf("%s, %s: %d instructions a connection, without acc %d, that is %+d, of which %+d by probes; acc itself ran for %d", mode, events, with, none, with-none, kernel-none, own)
		}
	}
}

// TestCostIdle prints what recording costs where there is nothing to record.
func TestCostIdle(t *testing.T) {
	needVM(t)
	if os.Getenv("ACC_COST") == "" {
		t.Skip("counts instructions only where the clock does: make cost")
	}
	const long = 30 * time.Second
	measure(t, Options{startWatch: 1}, func() int64 {
		time.Sleep(2 * time.Second) // what the start has left to do
		ran, woken := runtimeNS(t), wakeUps(t)
		time.Sleep(long)
		ran, woken = runtimeNS(t)-ran, wakeUps(t)-woken
		t.Logf("nothing to record: %.4f %% of a CPU, %d wake-ups in %s, those of this test among them", 100*float64(ran)/float64(long), woken, long)
		return 0
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
func programCosts(t *testing.T, loop func(int64) int64, conns int64) {
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
// gives the nanoseconds for each.
func startCostLoop(t *testing.T) func(conns int64) int64 {
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
	return func(conns int64) (each int64) {
		fmt.Fprintln(in, conns)
		for lines.Scan() {
			if n, _ := fmt.Sscanf(lines.Text(), "each %d", &each); n == 1 {
				return each
			}
		}
		t.Fatalf("the process that makes connections ended: %v", lines.Err())
		return 0
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
	var conns int64
	for round := byte(1); ; round++ {
		// Ports that earlier rounds left in TIME-WAIT are free for another address.
		addr := unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: [4]byte{127, 1, 1, round}, Port: port<<8&0xff00 | port>>8}
		var peer unix.RawSockaddrInet4
		if _, err := fmt.Scanln(&conns); err != nil {
			return
		}
		from, _ := clockNS(unix.CLOCK_MONOTONIC)
		for range conns {
			client, _, _ := unix.RawSyscall(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM, 0)
			unix.RawSyscall(unix.SYS_CONNECT, client, uintptr(unsafe.Pointer(&addr)), unsafe.Sizeof(addr))
			size := uint32(unsafe.Sizeof(peer))
			fd, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(lfd), uintptr(unsafe.Pointer(&peer)), uintptr(unsafe.Pointer(&size)), 0, 0, 0)
			if errno != 0 {
				t.Fatal(errno)
			}
			unix.RawSyscall(unix.SYS_CLOSE, client, 0, 0)
			unix.RawSyscall(unix.SYS_CLOSE, fd, 0, 0)
		}
		to, _ := clockNS(unix.CLOCK_MONOTONIC)
		fmt.Println("each", (to-from)/conns)
	}
}
