//go:build linux && (amd64 || arm64)

package capture

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/pprof"
	"testing"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// TestCost prints what recording costs in instructions for a connection of another
// process to itself (socket, connect, accept, two closes), everything included: `make
// cost` runs it in a machine with one CPU whose clock counts instructions, a
// nanosecond each. ACC_PROFILE=EVENTS profiles one of the runs into /out/cost.prof instead.
func TestCost(t *testing.T) {
	needVM(t)
	if os.Getenv("ACC_COST") == "" {
		t.Skip("counts instructions only where the clock does: make cost")
	}
	conns := int64(8000)
	loop := startCostLoop(t)
	loop(conns) // warm
	none := loop(conns)
	t.Logf("nothing: %d instructions a connection", none)
	if events := os.Getenv("ACC_PROFILE"); strings.HasPrefix(events, "start") {
		out, _ := os.Create("/out/cost.prof")
		pprof.StartCPUProfile(out)
		from, _ := clockNS(unix.CLOCK_MONOTONIC)
		var ready int64
		measure(t, Options{Events: EventsAll}, func() int64 {ready, _ = clockNS(unix.CLOCK_MONOTONIC);	pprof.StopCPUProfile();return 0})
		to, _ := clockNS(unix.CLOCK_MONOTONIC)
		t.Log("instr start", ready-from, "end", to-ready)
		return
	} else if events != "" {
		measure(t, Options{Events: Events(events), startWatch: 1}, func() int64 {
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
		for _, events := range []Events{EventsAccept, EventsLifecycle, EventsAll} {
			with := measure(t, Options{Mode: mode, Events: events, startWatch: 1}, func() int64 { return loop(conns) })
			// The kernel's side alone: nobody reads the ring, which holds everything.
			release := make(chan bool)
			kernel := measure(t, Options{Mode: mode, Events: events, startWatch: 1, RingBytes: 32 << 20, stall: func() { <-release }}, func() int64 {
				defer close(release)
				each := loop(conns)
				programCosts(t, loop, conns)
				return each
			})
			t.Logf("%s, %s: %d instructions a connection, %+d, of which %d in the kernel", mode, events, with, with-none, kernel-none)
		}
	}
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
	lfd, addr := listen(t, unix.AF_INET, 8)
	defer unix.Close(lfd)
	var conns int64
	for {
		if _, err := fmt.Scanln(&conns); err != nil {
			return
		}
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
		fmt.Println("each", (to-from)/conns)
	}
}
