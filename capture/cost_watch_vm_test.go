//go:build linux && (amd64 || arm64)

package capture

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// watchedLimit is what looking at a thread may cost, of a CPU; wakingLimit is that of one that runs between any two looks.
// Whether such threads wait for each other's CPU, which hastens looks, differs from run to run.
const watchedLimit, wakingLimit = 0.0005, 0.0008

// TestCostWatch prints what looking at threads costs while clients wait, in instructions a second and a thread, and
// holds it to a limit: of threads that sleep all the time, and of such as wake up twenty times as often as acc looks.
// While nobody waits there is nothing that could cost anything: the looker is not there.
func TestCostWatch(t *testing.T) {
	needVM(t)
	if os.Getenv("ACC_COST") == "" || os.Getenv("ACC_COST_EVENTS") != "" {
		t.Skip("counts instructions only where the clock does: make cost WATCH=1")
	}
	for _, threads := range []int{1, 8, 64} {
		for _, does := range []string{"sleeps", "wakes"} {
			t.Run(fmt.Sprintf("%d %s", threads, does), func(t *testing.T) { costWatch(t, threads, does) })
		}
	}
}

func costWatch(t *testing.T, threads int, does string) {
	const long = 10 * time.Second
	measure(t, Options{startWatch: 1}, func() costs {
		pid, port, took := startWatched(t, threads, does)
		at := &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}
		for range threads { // each thread takes one, and then does something else
			defer unix.Close(dial(t, unix.AF_INET, at))
			took()
		}
		ran := func(d time.Duration) int64 { // by all threads, also those that end
			from := processNS()
			time.Sleep(d)
			return processNS() - from
		}
		time.Sleep(2 * time.Second) // what the start has left to do
		idle := ran(long)
		defer unix.Close(dial(t, unix.AF_INET, at)) // it waits
		first := ran(2*time.Second) - idle/5
		watching := ran(long)
		tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid)) // Go's own are looked at, too
		if err != nil {
			t.Fatal(err)
		}
		n := len(tasks)
		share := float64(watching-idle) / float64(n) / float64(long)
		t.Logf("%d threads accept, and each %s; %d are looked at: the first 2 s %d instructions, then %d a second, "+
			"%d of each thread, %.4f %% of a CPU; while nobody waits %d a second in all", threads, does, n, first,
			(watching-idle)/10, (watching-idle)/int64(n)/10, 100*share, idle/10)
		limit := watchedLimit
		if does == "wakes" {
			limit = wakingLimit
		}
		if share > limit {
			t.Errorf("looking at a thread takes %.4f %% of a CPU, more than %.2f %%", 100*share, 100*limit)
		}
		return costs{}
	})
}

// startWatched starts a server of so many threads that accept, and gives its port, and what waits until one more has taken a client.
func startWatched(t *testing.T, threads int, does string) (pid, port int, took func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestCostWatched$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("ACC_COST_WATCHED=%d", threads), "ACC_COST_DOES="+does)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	for port == 0 && lines.Scan() {
		_, _ = fmt.Sscanf(lines.Text(), "listens %d", &port)
	}
	return cmd.Process.Pid, port, func() { lines.Scan() }
}

// processNS is for how long this process has run.
func processNS() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t)
	return t.Nano()
}

// TestCostWatched is the server that startWatched starts: so many threads accept one client each, and then sleep.
func TestCostWatched(t *testing.T) {
	threads, _ := strconv.Atoi(os.Getenv("ACC_COST_WATCHED"))
	if threads == 0 {
		t.Skip("is started by startWatched")
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 128)); err != nil {
		t.Fatal(err)
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("listens", at.(*unix.SockaddrInet4).Port)
	for range threads {
		go func() {
			runtime.LockOSThread()
			if _, _, err := unix.Accept(fd); err != nil {
				return
			}
			fmt.Println("took")
			nap := unix.NsecToTimespec(int64(time.Hour))
			if os.Getenv("ACC_COST_DOES") == "wakes" {
				nap = unix.NsecToTimespec(2_500_000)
			}
			for {
				_ = unix.Nanosleep(&nap, nil)
			}
		}()
	}
	select {}
}
