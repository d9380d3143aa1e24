//go:build linux && (amd64 || arm64)

package capture

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// recorder is acc itself at work.
type recorder struct {
	*exec.Cmd
	said bytes.Buffer // on standard error; whole when it has ended
	read chan struct{}
}

// startRecorder starts a command that records, and waits until it does.
func startRecorder(t *testing.T, command ...string) *recorder {
	t.Helper()
	return startRecorderFrom(t, nil, command...)
}

// startRecorderFrom is startRecorder with a standard input.
func startRecorderFrom(t *testing.T, in *os.File, command ...string) *recorder {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	if in != nil {
		cmd.Stdin = in
	}
	return startCommand(t, cmd)
}

// startCommand is startRecorder of a prepared command.
func startCommand(t *testing.T, cmd *exec.Cmd) *recorder {
	t.Helper()
	r := &recorder{Cmd: cmd, read: make(chan struct{})}
	stderr, err := r.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan bool, 1)
	go func() {
		defer close(r.read)
		lines := bufio.NewReader(io.TeeReader(stderr, &r.said))
		for {
			line, err := lines.ReadString('\n')
			if strings.Contains(line, "recording to ") {
				ready <- true
			}
			if err != nil {
				close(ready)
				return
			}
		}
	}()
	if !<-ready {
		t.Fatalf("%q: %v\n%s", cmd.Args, r.end(), &r.said)
	}
	return r
}

// end waits for the end and gives the exit code.
func (r *recorder) end() int {
	<-r.read
	err := r.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return -1
	}
	return r.ProcessState.ExitCode()
}

// stop ends the recording in order.
func (r *recorder) stop(t *testing.T) {
	t.Helper()
	r.Process.Signal(unix.SIGINT)
	if code := r.end(); code != 0 {
		t.Errorf("exit code %d\n%s", code, &r.said)
	}
}

// told is what acc info --json says of a capture, as far as tests ask.
type told struct {
	Verdict  string `json:"verdict"`
	Events   int    `json:"events"`
	Accepted int    `json:"accepted"`
	Lost     int    `json:"lost"`
	End      *struct {
		Reason string `json:"reason"`
		Detail string `json:"detail"`
		Clean  bool   `json:"clean"`
		Totals []struct {
			Hook, Kind                   string
			Seen, Recorded, Lost, Missed int
		} `json:"totals"`
		Blocked      []struct{ TID int } `json:"blocked"`
		BlockedKnown bool                `json:"blocked_known"`
	} `json:"end"`
	Witness struct {
		Verdict string `json:"verdict"`
		Text    string `json:"text"`
		Spaces  []struct {
			NetNS       uint64         `json:"netns"`
			Opened      int            `json:"opened"`
			Accepted    int            `json:"accepted"`
			QueuedStart int            `json:"queued_start"`
			QueuedEnd   int            `json:"queued_end"`
			QueuedKnown bool           `json:"queued_known"`
			Unexplained int            `json:"unexplained"`
			Counters    map[string]int `json:"counters"`
		} `json:"spaces"`
	} `json:"cross_check"`
}

// info asks acc itself for a capture.
func info(t *testing.T, path string) (i told) {
	t.Helper()
	out, err := exec.Command("/in/acc", "info", "--full", "--json", path).Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &i); err != nil {
		t.Fatalf("acc info %s: %v\n%s", path, err, out)
	}
	return i
}

// extended reads one of the kernel's counters from /proc/net/netstat.
func extended(t *testing.T, name string) int {
	t.Helper()
	out, err := exec.Command("/bin/busybox", "awk", `$1 == "TcpExt:" { if (n) { print $n; exit } for (i = 1; i <= NF; i++) if ($i == "`+name+`") n = i }`, "/proc/net/netstat").Output()
	n, err2 := strconv.Atoi(strings.TrimSpace(string(out)))
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	return n
}

// figure leaves a row for docs/RELIABILITY.md: test, mode, verdict, figures.
func figure(t *testing.T, mode Mode, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	t.Logf("%s: %s", mode, text)
	f, err := os.OpenFile("/out/reliability.tsv", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return
	}
	defer f.Close()
	verdict := "pass"
	if t.Failed() {
		verdict = "FAIL"
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(t.Name(), "TestVM"), "/")
	fmt.Fprintf(f, "%s\t%s\t%s\t%s\t%s\n", os.Getenv("ACC_VM"), name, mode, verdict, text)
}

// The kernel's own counters stand in the capture and agree with it, with what waits
// in accept queues before and after taken into account.
func TestVMWitness(t *testing.T) {
	needVM(t)
	for _, mode := range modes(t) {
		t.Run(string(mode), func(t *testing.T) {
			const before, taken, after = 2, 40, 3
			lfd, addr := listen(t, unix.AF_INET, 8)
			defer unix.Close(lfd)
			full, fullAddr := listen(t, unix.AF_INET6, 0)
			defer unix.Close(full)
			connect := func(n int) {
				for range n {
					fd := dial(t, unix.AF_INET, addr)
					t.Cleanup(func() { unix.Close(fd) })
				}
			}
			accept := func() {
				fd, _, err := unix.Accept4(lfd, unix.SOCK_CLOEXEC)
				if err != nil {
					t.Fatal(err)
				}
				unix.Close(fd)
			}
			connect(before)
			path := filepath.Join(t.TempDir(), "witness.acc")
			r := startRecorder(t, "/in/acc", "record", "-o", path, "--probe", string(mode))
			opened, overflows := netstat(t, "PassiveOpens"), extended(t, "ListenOverflows")
			for range taken {
				connect(1)
				accept()
			}
			connect(after)
			for range 4 { // the first one fits, and the queue overflows
				fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer unix.Close(fd)
				_ = unix.Connect(fd, fullAddr)
			}
			opened, overflows = netstat(t, "PassiveOpens")-opened, extended(t, "ListenOverflows")-overflows
			r.stop(t)
			i := info(t, path)
			if len(i.Witness.Spaces) == 0 {
				t.Fatalf("no counters: %+v", i)
			}
			s := i.Witness.Spaces[0]
			figure(t, mode, "the kernel counted %d connections, %d overflows; %s", opened, overflows, i.Witness.Text)
			if i.Witness.Verdict != "agrees" || s.Unexplained != 0 || s.Opened != opened || s.Accepted != taken || !s.QueuedKnown ||
				// others may wait elsewhere
				s.QueuedStart < before || s.QueuedEnd != s.QueuedStart+after+1 || opened != taken+after+1 {
				t.Errorf("the kernel counted %d, the test accepted %d: %+v", opened, taken, i.Witness)
			}
			if got := s.Counters["TcpExtListenOverflows"]; got < overflows || overflows == 0 { // a SYN comes again
				t.Errorf("%d overflows recorded, the kernel counted %d", got, overflows)
			}
		})
	}
}

// Nginx under load, again and again: whatever the kernel counted is in the capture
// or accounted for.
func TestVMWitnessNginx(t *testing.T) {
	needVM(t)
	if err := exec.Command("nginx", "-c", "/in/nginx.conf").Run(); err != nil {
		t.Fatalf("start nginx: %v", err)
	}
	defer exec.Command("nginx", "-c", "/in/nginx.conf", "-s", "stop").Run()
	rounds, seconds := 2, "3s"
	if torture() {
		rounds, seconds = 10, "5s"
	}
	for _, mode := range exactModes(t) {
		for range rounds {
			path := filepath.Join(t.TempDir(), "nginx.acc")
			out, err := exec.Command("/in/acc", "record", "-o", path, "--probe", string(mode), "--", "/bin/sh", "/in/load.sh", "8080", seconds, "16").CombinedOutput()
			if err != nil {
				t.Fatalf("record: %v\n%s", err, out)
			}
			i := info(t, path)
			figure(t, mode, "%s", i.Witness.Text)
			if i.Witness.Verdict == "differs" || i.Witness.Verdict == "silent" || i.Accepted == 0 {
				t.Errorf("%+v", i.Witness)
			}
			os.Remove(path)
		}
	}
}

// torture says whether tests may take long: make torture-vm.
func torture() bool { return os.Getenv("ACC_TORTURE") != "" }
