//go:build linux && (amd64 || arm64)

package capture

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

// TestHaltedServer is the process that TestVMHalted starts: it listens, and calls accept
// or waits for its input to end.
func TestHaltedServer(t *testing.T) {
	does := os.Getenv("ACC_HALTED")
	if does == "" {
		t.Skip("is started by TestVMHalted")
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 8); err != nil {
		t.Fatal(err)
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("listens", at.(*unix.SockaddrInet4).Port)
	if does == "accept" {
		_, _, _ = unix.Accept4(fd, unix.SOCK_CLOEXEC)
	}
	_, _ = io.ReadAll(os.Stdin)
}

// becomes waits until something is so.
func becomes(t *testing.T, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not become so in a minute")
		}
	}
}

// Clients that a process leaves waiting because it is stopped, or frozen, have that as the reason.
func TestVMHalted(t *testing.T) {
	needVM(t)
	const group = "/sys/fs/cgroup/halted"
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(group)
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(group+"/"+name, []byte(text), 0); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ does, by, says string }{
		{"accept", "SIGSTOP", "capture.test[%d] is stopped, by a signal or a debugger"},
		{"wait", "SIGSTOP", "capture.test[%d] is stopped, by a signal or a debugger"},
		{"accept", "freezer", "capture.test[%d] is frozen with its cgroup"},
		{"wait", "freezer", "capture.test[%d] is frozen with its cgroup"},
		{"wait", "nothing", "capture.test[%d] did not call accept"},
	} {
		t.Run(c.does+" "+c.by, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run=^TestHaltedServer$")
			cmd.Env = append(os.Environ(), "ACC_HALTED="+c.does)
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
			defer cmd.Wait()
			defer in.Close()
			defer cmd.Process.Kill()
			port, proc := 0, "/proc/"+strconv.Itoa(cmd.Process.Pid)
			for lines := bufio.NewScanner(out); port == 0 && lines.Scan(); {
				_, _ = fmt.Sscanf(lines.Text(), "listens %d", &port)
			}
			write("cgroup.procs", strconv.Itoa(cmd.Process.Pid))
			becomes(t, func() bool {
				tasks, _ := blockedTasks(func() bool { return false })
				return c.does != "accept" || slices.ContainsFunc(tasks, func(b format.Blocked) bool { return int(b.PID) == cmd.Process.Pid })
			})
			a := analyzeWhile(t, func(*recorder) {
				switch c.by {
				case "SIGSTOP":
					_ = cmd.Process.Signal(unix.SIGSTOP)
					becomes(t, func() bool { return halted(proc) != "" })
				case "freezer":
					write("cgroup.freeze", "1")
					becomes(t, func() bool {
						b, _ := os.ReadFile(group + "/cgroup.events")
						return strings.Contains(string(b), "frozen 1")
					})
				}
				for range 3 {
					client := dial(t, unix.AF_INET, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
					t.Cleanup(func() { unix.Close(client) })
				}
				time.Sleep(1100 * time.Millisecond) // they wait for longer than a second
			})
			if c.by == "freezer" {
				write("cgroup.freeze", "0")
			}
			a.found(t, "slow-accept", "critical", fmt.Sprintf(c.says, cmd.Process.Pid))
		})
	}
}
