//go:build linux && (amd64 || arm64)

package capture

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// This file is the stage on which Debian's servers run (make test-servers); which ones, and how they are
// loaded, servers_healthy_vm_test.go and servers_trouble_vm_test.go say.

// stage is one server, a recording of it and what both counted.
type stage struct {
	t       *testing.T
	name    string
	dir     string
	cleanup []func()
	logs    []string // files that are shown if the test fails
	records int      // how often it recorded
	tries   int      // how often it was begun
}

// tries is how often a server that is well is tried, at most, on a machine that stands still meanwhile.
const tries = 6

// standsStill is for how long a sleeper must wake up too late for that.
const standsStill = 50 * time.Millisecond

// calm waits before another try until the machine has run for a while without standing still, for three minutes at
// most.
func calm() {
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); {
		still := wakesLate()
		time.Sleep(3 * time.Second)
		if still() < standsStill {
			return
		}
	}
}

// again ends a try.
type again struct{}

// serverResult is what acc analyze --json says, as far as these tests look at it.
type serverResult struct {
	Complete   bool
	CrossCheck struct{ Verdict string } `json:"cross_check"`
	Totals     struct{ Accepted, Failed, Restarted int }
	OneAccept  []struct{ Sockets, Accepted int } `json:"one_accept"`
	still      time.Duration                     // how much too late a sleeper woke up, at most
	Findings   []struct {
		ID, Severity, Text string
		Listener           uint64
		Parts              []struct{ ID, Severity, Text string }
	}
	Listeners []struct {
		Listener                    uint64
		Addr                        string
		LPort                       int
		Owner                       string
		Comms                       []string
		Attempts, Failed, Restarted int
		Accepted                    int
		UnixRefused                 int `json:"unix_refused"`
		Errors                      []struct {
			Name  string
			Count int
		}
		Life *struct {
			Queued     int
			TurnedAway int `json:"turned_away"`
			Unread     int `json:"closed_unread"`
			Unanswered int
			Probes     int
			Waiting    int
			Lost       int `json:"lost_with_listener"`
			RefusedSYN int `json:"refused_syn"`
			RefusedACK int `json:"refused_ack"`
		}
	}
}

// onStage runs f with a stage of its own, which is cleared afterwards.
func onStage(t *testing.T, name string, f func(s *stage)) {
	t.Run(name, func(t *testing.T) {
		s := &stage{t: t, name: name, dir: t.TempDir()}
		if err := os.Chmod(s.dir, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Dir(s.dir), 0o755); err != nil {
			t.Fatal(err)
		}
		for !s.play(f) {
		}
	})
}

// play runs f once, and clears the stage. It reports whether that was the last try.
func (s *stage) play(f func(s *stage)) (done bool) {
	s.tries++
	defer func() {
		for _, f := range slices.Backward(s.cleanup) {
			f()
		}
		x := recover()
		if _, repeat := x.(again); !repeat && x != nil {
			panic(x)
		} else if done = !repeat; repeat || !s.t.Failed() {
			s.cleanup, s.logs, s.records = nil, nil, 0
			if repeat {
				calm()
			}
			return
		}
		for _, path := range s.logs {
			b, _ := os.ReadFile(path)
			s.t.Logf("%s:\n%s", path, b[max(0, len(b)-2000):])
		}
	}()
	f(s)
	return true
}

// wakesLate measures how much too late it wakes up at most, until stop is called: on an emulated machine whose host is
// busy, servers wait as long.
func wakesLate() (stop func() time.Duration) {
	end, most := make(chan bool), make(chan time.Duration)
	go func() {
		const nap = 5 * time.Millisecond
		late := time.Duration(0)
		for {
			select {
			case <-end:
				most <- late
				return
			default:
			}
			from := time.Now()
			time.Sleep(nap)
			late = max(late, time.Since(from)-nap)
		}
	}()
	return func() time.Duration { end <- true; return <-most }
}

// needServers skips tests that need Debian's servers.
func needServers(t *testing.T) {
	t.Helper()
	if os.Getenv("ACC_SERVERS") == "" {
		t.Skip("needs Debian's servers: make test-servers")
	}
	for _, dir := range []string{"/run/lock", "/run/sshd", "/run/exim4", "/run/mysqld", "/run/php", "/run/haproxy",
		"/run/named", "/run/vsftpd/empty"} {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	_ = os.Chmod("/run/sshd", 0o755)
	// As systemd gives it to services: some servers make room for as many as they may have.
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1024, Max: 524288}); err != nil {
		t.Fatal(err)
	}
	_ = os.Chmod("/run/vsftpd/empty", 0o755)
}

// run runs a command to its end and gives its output.
func (s *stage) run(argv ...string) string {
	s.t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.WaitDelay = time.Second // for daemons that keep the pipe open
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState != nil && !cmd.ProcessState.Success() {
		s.t.Fatalf("%q: %v\n%s", argv, err, out)
	}
	return string(out)
}

// daemon starts a program that stays, in a session of its own; what it says is kept in a file, whose path comes back.
func (s *stage) daemon(argv ...string) (log string) {
	s.t.Helper()
	log, _ = s.daemonPID(argv...)
	return log
}

func (s *stage) daemonPID(argv ...string) (log string, pid int) {
	s.t.Helper()
	f, err := os.CreateTemp(s.dir, "log-*")
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, f, f
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	f.Close()
	s.logs = append(s.logs, f.Name())
	s.cleanup = append(s.cleanup, func() {
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGCONT)
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
		if err := cmd.Wait(); err != nil && err.Error() != "signal: killed" {
			s.t.Logf("%s ended: %v", argv[0], err)
		}
	})
	return f.Name(), cmd.Process.Pid
}

// daemonized ends what a program left that went into the background by itself.
func (s *stage) daemonized(names ...string) {
	s.cleanup = append(s.cleanup, func() {
		for _, name := range names { // until there is none: its port must be free for the next one
			for range 250 {
				if exec.Command("/bin/busybox", "killall", "-9", name).Run() != nil {
					break
				}
				time.Sleep(20 * time.Millisecond)
			}
		}
	})
}

// file writes a file and gives its path; a name without a slash is below the stage's own directory.
func (s *stage) file(name, content string) string {
	s.t.Helper()
	if !strings.HasPrefix(name, "/") {
		name = filepath.Join(s.dir, name)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		s.t.Fatal(err)
	}
	return name
}

// until waits for something, a minute.
func (s *stage) until(what string, done func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("waited for %s in vain", what)
		}
	}
}

// listening waits until somebody listens at a port, without connecting to it.
func (s *stage) listening(port int) {
	s.t.Helper()
	want := fmt.Sprintf(":%04X", port)
	s.until(fmt.Sprintf("a listener at port %d", port), func() bool {
		for _, path := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
			b, _ := os.ReadFile(path)
			for line := range strings.Lines(string(b)) {
				if f := strings.Fields(line); len(f) > 3 && strings.HasSuffix(f[1], want) && f[3] == "0A" {
					return true
				}
			}
		}
		return false
	})
}

// record records while work runs, and analyzes.
func (s *stage) record(work func(), flags ...string) (r serverResult) {
	s.t.Helper()
	s.records++
	path := filepath.Join(s.dir, fmt.Sprintf("%d-%d.acc", s.tries, s.records))
	rec := startRecorder(s.t, append([]string{"/in/acc", "record", "-o", path}, flags...)...)
	before := netstat(s.t, "PassiveOpens")
	still := wakesLate()
	work()
	r.still = still()
	s.closed()
	opened := netstat(s.t, "PassiveOpens") - before
	rec.stop(s.t)
	out, err := exec.Command("/in/acc", "analyze", "--json", "--top", "0", path).Output()
	if err != nil {
		s.t.Fatalf("analyze: %v\n%s", err, &rec.said)
	}
	if err := json.Unmarshal(out, &r); err != nil {
		s.t.Fatal(err)
	}
	for _, f := range r.Findings {
		s.t.Logf("%s %s: %s", f.Severity, f.ID, f.Text)
		for _, p := range f.Parts {
			s.t.Logf("    because of that: %s %s: %s", p.Severity, p.ID, p.Text)
		}
	}
	if !r.Complete || r.CrossCheck.Verdict == "differ" {
		s.t.Errorf("complete %v, cross-check %s", r.Complete, r.CrossCheck.Verdict)
	}
	queued := 0
	for _, l := range r.Listeners {
		if l.Life != nil {
			queued += l.Life.Queued
		}
	}
	if queued != opened {
		s.t.Errorf("the kernel counted %d connections (PassiveOpens), acc %d", opened, queued)
	}
	s.cleanup = append(s.cleanup, func() {
		if s.t.Failed() {
			out, _ := exec.Command("/in/acc", "analyze", path).CombinedOutput()
			s.t.Logf("%s", out)
			out, _ = exec.Command("/in/acc", "analyze", "--connections", path).CombinedOutput()
			s.t.Logf("%s", out)
		}
	})
	return r
}

// closed waits until no client's end of a connection is left open, for a while: some servers keep theirs.
func (s *stage) closed() {
	for deadline := time.Now().Add(3 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		open := false
		for _, path := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
			b, _ := os.ReadFile(path)
			for line := range strings.Lines(string(b)) {
				if f := strings.Fields(line); len(f) > 3 &&
					slices.Contains([]string{"01", "04", "05", "08", "09", "0B"}, f[3]) {
					open = true
				}
			}
		}
		if !open {
			return
		}
	}
}

// accepted sums what was accepted at the listeners whose address ends like one of these.
func (r *serverResult) accepted(where ...string) (n int) {
	for _, l := range r.Listeners {
		for _, w := range where {
			if strings.HasSuffix(l.Addr, w) {
				n += l.Accepted
				break
			}
		}
	}
	return n
}

// worse names the findings above notice.
func (r *serverResult) worse() (list []string) {
	for _, f := range r.Findings {
		if f.Severity != "notice" {
			list = append(list, f.Severity+" "+f.ID)
		}
	}
	return list
}

// found gives the severity and the text of a finding, also of one that is a part of another one.
func (r *serverResult) found(id string) (severity, text string) {
	for _, f := range r.Findings {
		if f.ID == id {
			return f.Severity, f.Text
		}
		for _, p := range f.Parts {
			if p.ID == id {
				return p.Severity, p.Text
			}
		}
	}
	return "", ""
}

// healthy fails if there is a finding above notice, or acc accepted another number than the server counted.
func (s *stage) healthy(r *serverResult, version, load, counter string, counted, accepted int) {
	s.t.Helper()
	switch w := r.worse(); {
	case len(w) == 0:
	case s.tries < tries && r.still >= standsStill && !s.t.Failed():
		s.t.Logf("%v, and the machine stood still for %v: once more", w, r.still)
		panic(again{})
	default:
		s.t.Errorf("findings of a server that is well: %v; the machine stood still for %v", w, r.still)
	}
	if counted != accepted || counted == 0 {
		s.t.Errorf("the server counted %d (%s), acc %d", counted, counter, accepted)
	}
	s.row("healthy", version, load, fmt.Sprintf("%s: %d", counter, counted), fmt.Sprintf("%d accepted", accepted), r)
}

// trouble fails unless there is a finding whose text has a part, and acc's number is the server's.
func (s *stage) trouble(r *serverResult, version, load, counter string, counted, number int, what, id, part string) {
	s.t.Helper()
	_, text := r.found(id)
	if text == "" || !strings.Contains(text, part) {
		s.t.Errorf("no %s that says %q", id, part)
	}
	if counted != number || counted == 0 {
		s.t.Errorf("the server counted %d (%s), acc %d %s", counted, counter, number, what)
	}
	s.row("in trouble", version, load, fmt.Sprintf("%s: %d", counter, counted), fmt.Sprintf("%d %s", number, what), r)
}

// row leaves a row for docs/SERVERS.md.
func (s *stage) row(kind, version, load, counter, acc string, r *serverResult) {
	var list []string
	for _, f := range r.Findings {
		if f.ID == "new-listener" || f.ID == "clock-unsynchronised" { // of the machine, not of the server
			continue
		}
		var parts []string
		for _, p := range f.Parts {
			if !slices.Contains(parts, p.ID) {
				parts = append(parts, p.ID)
			}
		}
		text := f.ID + " (" + f.Severity
		if len(parts) > 0 {
			text += "; because of that " + strings.Join(parts, ", ")
		}
		list = append(list, text+")")
	}
	list = slices.Compact(list)
	if len(list) == 0 {
		list = []string{"none"}
	}
	verdict := "pass"
	if s.t.Failed() {
		verdict = "FAIL"
	}
	s.t.Logf("%s | %s | %s | %s | %s", version, load, counter, acc, strings.Join(list, ", "))
	f, err := os.OpenFile("/out/servers.tsv", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return
	}
	defer f.Close()
	fmt.Fprintln(
		f,
		strings.Join(
			[]string{os.Getenv("ACC_VM"), kind, s.name, version, load, counter, acc, strings.Join(list, ", "), verdict},
			"\t",
		),
	)
}
