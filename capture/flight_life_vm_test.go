//go:build linux && (amd64 || arm64)

package capture

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// flightLife is a host that lives beside a flight recorder: nginx and another server, with a transcript of what its
// operator types.
type flightLife struct {
	t    *testing.T
	to   io.Writer
	dir  string
	pong *pingPong
	made int // requests of nginx
}

// run types a command, and gives what it prints.
func (l *flightLife) run(command string) string {
	l.t.Helper()
	out, err := exec.Command("/bin/busybox", "sh", "-c", command).CombinedOutput()
	fmt.Fprintf(l.to, "# %s\n%s", command, out)
	if err != nil {
		fmt.Fprintf(l.to, "(%v)\n", err)
	}
	return string(out)
}

// live has clients come for a time: some every 200 ms, now and then many.
func (l *flightLife) live(d time.Duration) {
	l.t.Helper()
	began := l.pong.made + l.made
	for i, end := 0, time.Now().Add(d); time.Now().Before(end); i++ {
		l.pong.do(1 + i%4)
		if c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err == nil {
			if unix.Connect(c, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 8080}) == nil {
				_, _ = unix.Write(c, []byte("GET / HTTP/1.0\r\n\r\n"))
				_, _ = unix.Read(c, make([]byte, 1000))
				l.made++
			}
			unix.Close(c)
		}
		time.Sleep(200 * time.Millisecond)
	}
	fmt.Fprintf(l.to, "(%v of life: %d connections)\n", d, l.pong.made+l.made-began)
}

// dumps are the folders of dumps, the oldest first.
func (l *flightLife) dumps() []string {
	names, _ := filepath.Glob(filepath.Join(l.dir, "dump-*"))
	slices.Sort(names)
	return names
}

// Ten minutes of a host beside a flight recorder that keeps three: each cause dumps once, the dump of an overflow has what
// came before it, and what a killed recorder has written can be read. /out/flight.txt is what the operator saw.
func TestVMFlightLife(t *testing.T) {
	needVM(t)
	if os.Getenv("ACC_TORTURE") == "" {
		t.Skip("takes ten minutes: ACC_TORTURE")
	}
	out, err := os.Create("/out/flight.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := exec.Command("nginx", "-c", "/in/nginx.conf").Run(); err != nil {
		t.Fatalf("nginx: %v", err)
	}
	defer exec.Command("nginx", "-c", "/in/nginx.conf", "-s", "quit").Run()
	l := &flightLife{t: t, to: io.MultiWriter(out, os.Stdout), dir: t.TempDir(), pong: newPingPong(t)}
	began := time.Now()
	start := func() *recorder {
		args := []string{"record", "-o", l.dir, "--ring", "3m,32MB", "--on", "queue-overflow,fd-exhausted,new-listener",
			"--on", "errno=EMFILE rate>10/s", "--on", "rate x8", "--after", "10s", "--cooldown", "20s", "--name", "flight",
			"--exec", "echo \"$(date +%T) $ACC_WHY: $(ls \"$1\" | wc -l) files\" >>" + l.dir + "/kept.log; :"}
		fmt.Fprintf(l.to, "# acc '%s'\n", strings.Join(args, "' '"))
		return startRecorder(t, append([]string{"/in/acc"}, args...)...)
	}
	r := start()
	l.live(90 * time.Second)
	l.run("/in/acc ctl status flight; /in/acc ctl mark --name flight 'deploy started'; nginx -c /in/nginx.conf -s reload; " +
		"/in/acc ctl mark --name flight 'deploy done'")
	l.live(50 * time.Second)
	before := len(l.dumps())

	fmt.Fprintln(l.to, "(a server with a backlog of 1 does not accept, and 12 clients come)")
	lfd, addr := listen(t, unix.AF_INET, 1)
	clients := []int{}
	for range 12 {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		_ = unix.Connect(fd, addr)
		clients = append(clients, fd)
	}
	l.live(8 * time.Second)
	for _, fd := range append(clients, lfd) {
		unix.Close(fd)
	}
	l.live(60 * time.Second)

	fmt.Fprintln(l.to, "(a server has no descriptor left, and tries 60 times)")
	idle, idleAddr := listen(t, unix.AF_INET, 8)
	waits := dial(t, unix.AF_INET, idleAddr)
	var was unix.Rlimit
	_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &was)
	_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: was.Max})
	failed := 0
	for range 60 {
		if _, _, err := unix.Accept(idle); err == unix.EMFILE {
			failed++
		}
		time.Sleep(20 * time.Millisecond)
	}
	_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &was)
	unix.Close(waits)
	unix.Close(idle)
	fmt.Fprintf(l.to, "(%d calls failed)\n", failed)
	l.live(60 * time.Second)
	l.run("sh /in/load.sh 8080 10s 8") // wrk
	l.live(60 * time.Second)
	fmt.Fprintln(l.to, "(a program begins to listen)")
	late, _ := listen(t, unix.AF_INET, 8)
	defer unix.Close(late)
	l.live(50 * time.Second)
	_ = r.Process.Signal(unix.SIGUSR1)
	fmt.Fprintln(l.to, "# kill -USR2 …")
	_ = r.Process.Signal(unix.SIGUSR2)
	l.live(40 * time.Second)
	asked := strings.TrimSpace(l.run("/in/acc ctl dump --begin -2m --end -30s --why 'clients saw timeouts' flight"))
	l.live(40 * time.Second)
	l.run("/in/acc ctl status flight; ls -l " + l.dir + "; cat " + l.dir + "/kept.log")
	files := globAll(l.dir)
	last := files[len(files)-1]
	fmt.Fprintln(l.to, "# kill -KILL …")
	_ = r.Process.Kill()
	_ = r.end()
	fmt.Fprintf(l.to, "(%v of life; what the recorder said:)\n%s", time.Since(began).Round(time.Second), &r.said)
	if said := l.run("/in/acc info " + last + " | head -6"); !strings.Contains(said, "truncated") {
		t.Error("the killed recorder's file is not truncated")
	}

	overflow := ""
	for _, dir := range l.dumps() {
		said := l.run("/in/acc info " + dir + " | head -14; /in/acc analyze --brief " + dir)
		if overflow == "" && len(l.dumps()) > before && strings.Contains(said, "queue-overflow") {
			overflow = dir
		}
	}
	if overflow == "" || !slices.Contains(l.dumps(), filepath.Clean(asked)) {
		t.Fatalf("dumps: %q, asked for %q", l.dumps(), asked)
	}
	l.run("/in/acc analyze " + overflow)
	l.run("/in/acc analyze --timeline " + overflow + " | tail -30")
	l.run("/in/acc verify " + overflow)
	var a struct {
		Recording struct{ State string }
		Marks     []struct{ Text string }
		Capture   struct {
			DurationNS int64 `json:"duration_ns"`
		}
	}
	b, err := exec.Command("/in/acc", "analyze", "--json", overflow).Output()
	if err != nil || json.Unmarshal(b, &a) != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	marked := slices.ContainsFunc(a.Marks, func(m struct{ Text string }) bool { return m.Text == "deploy done" })
	if a.Recording.State != "complete" || !marked || a.Capture.DurationNS < int64(time.Minute) {
		t.Errorf("the dump of the overflow: %+v", a)
	}
	second := start() // goes on with the ring that is there
	l.live(5 * time.Second)
	second.stop(t)
	fmt.Fprintf(l.to, "%s", &second.said)
}
