//go:build linux && amd64

package capture

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// whyCase is a cause: a server, what keeps its acceptor, and what acc must say of it.
type whyCase struct {
	name, server string // of testdata/why: c, stripped, go, python; or nginx
	mode         string
	kind         string // of what the threads did; "": acc must not have looked
	says         []string
	next         string
	first        int  // clients that keep the acceptor busy, or 0: one
	inside       bool // the server is in a pid namespace of its own
}

var whyCases = []whyCase{
	{name: "fsync", server: "c", mode: "fsync", kind: "disk", says: []string{"in fsync of the file /dev/nbd2",
		"called from journal_append < handle < "}, next: "iostat"},
	{name: "fsync-stripped", server: "stripped", mode: "fsync", kind: "disk", says: []string{
		"in fsync of the file /dev/nbd4", "called from why-stripped+0x"}, next: "iostat"},
	{name: "pipe", server: "c", mode: "pipe", kind: "full-pipe", says: []string{"in write to the pipe ",
		"access.log, which was full", "called from access_log < handle < "}, next: "who should read that pipe"},
	{name: "nginx", server: "nginx", kind: "full-pipe", says: []string{"in write to the pipe ", "which was full",
		"nginx+0x"}, next: "who should read that pipe"},
	{name: "cpu-c", server: "c", mode: "cpu", kind: "cpu", says: []string{"on a CPU", "hash_password"},
		next: "make hash_password cheaper"},
	{name: "cpu-go", server: "go", mode: "cpu", kind: "cpu", says: []string{"on a CPU", "main.hashPassword"},
		next: "make main.hashPassword cheaper"},
	{name: "cpu-python", server: "python", mode: "cpu", kind: "cpu", says: []string{"on a CPU", "Python code"},
		next: "py-spy top --pid "},
	{name: "quota", server: "c", mode: "quota", kind: "quota", says: []string{
		"the CPU quota of its cgroup was used up", "/why was throttled"}, next: "raise cpu.max of the cgroup /why"},
	{name: "stop", server: "c", mode: "stop", kind: "stopped", says: []string{"stopped by a signal"}, next: "kill -CONT"},
	{name: "freeze", server: "c", mode: "freeze", kind: "frozen", says: []string{"frozen with its cgroup"}, next: "thaw"},
	{name: "page", server: "c", mode: "page", kind: "paging", says: []string{"waiting for a page of its memory",
		"touch_cache < handle < "}, next: "iostat"},
	{name: "mutex-go", server: "go", mode: "mutex", kind: "idle", says: []string{
		"1 in sync.Mutex.Lock, called from main.(*store).admit < main.serve",
		"1 in IO wait, called from net.(*conn).Read < main.(*store).query", "and had not answered"},
		next: "look at 127.0.0.1:"},
	{name: "backend-python", server: "python", mode: "backend", kind: "peer", says: []string{"in recvfrom from 127.0.0.1:",
		"Python code"}, next: "the other side of that connection"},
	{name: "backend-c", server: "c", mode: "backend", kind: "peer", says: []string{"in read from 127.0.0.1:",
		"called from query < handle < "}, next: "the other side of that connection"},
	{name: "absent", server: "c", mode: "absent", kind: "not-asked", says: []string{"in epoll_wait",
		"the listener was not among what it waited for", "event_loop"}, next: "a restart helps"},
	{name: "oneshot", server: "c", mode: "oneshot", kind: "not-asked", says: []string{"in epoll_wait",
		"had switched the listener off in its epoll set"}, next: "a restart helps"},
	{name: "mutex", server: "c", mode: "mutex", kind: "lock", says: []string{
		"a lock that another thread held (the holder, compactor[", "clock_nanosleep", "called from admit < handle < "}, next: "which holds the lock"},
	{name: "mutex-inside", server: "c", mode: "mutex", kind: "lock", says: []string{
		"a lock that another thread held (the holder, compactor[", "called from admit < handle < "},
		next: "which holds the lock", inside: true},
	{name: "ended", server: "c", mode: "ended", kind: "idle", says: []string{"which accepted here, has ended, and no other one does", "in pause"},
		next: "a restart helps"},
	{name: "ended-go", server: "go", mode: "ended", kind: "idle", says: []string{"chan receive, called from main.run",
		"none in Accept"}, next: "none of its goroutines is in Accept"},
	{name: "prefork", server: "c", mode: "prefork", kind: "peer", says: []string{"3 of 3 threads",
		"in read from 127.0.0.1:", "called from query < handle < "}, next: "the other side of that connection", first: 3},
	{name: "pool", server: "c", mode: "pool", kind: "idle", says: []string{"in futex", "and had not answered"},
		next: "look at 127.0.0.1:", first: 2},
	{name: "fast", server: "c", mode: "fast"},
	{name: "60ms", server: "c", mode: "60ms"},
}

// Why clients waited is printed for each of many causes: what kept the acceptor, by kind, for how long, in which function
// of the program, and what to do. Truth are the servers, which measure themselves, and the functions of their source.
// What acc saw is within a tenth of what they measured while acc looked.
func TestVMWhy(t *testing.T) {
	needVM(t)
	if os.Getenv("ACC_WHY") == "" {
		t.Skip("make test-vm-why does it")
	}
	makeWhyGroup(t)
	for _, c := range whyCases {
		t.Run(c.name, func(t *testing.T) { c.play(t) })
	}
}

const whyGroup = "/sys/fs/cgroup/why"

func makeWhyGroup(t *testing.T) {
	t.Helper()
	_ = os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte("+cpu"), 0)
	if err := os.Mkdir(whyGroup, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(whyGroup) })
}

func inWhyGroup(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(whyGroup+"/"+name, []byte(text), 0); err != nil {
		t.Fatal(err)
	}
}

// disks are the devices of the modes that wait for one.
var disks = map[string]string{"fsync": "/dev/nbd2", "page": "/dev/nbd3", "fsync-stripped": "/dev/nbd4"}

// play plays a case, and checks what acc says of it. The capture is left behind: testdata/captures has some of them.
func (c *whyCase) play(t *testing.T) {
	path := filepath.Join(t.TempDir(), c.name+".acc")
	var backend *whyBackend
	argument, release := "", func() {}
	var log *os.File
	switch c.mode {
	case "fsync", "page":
		argument = disks[c.mode]
		if c.server == "stripped" {
			argument = disks["fsync-stripped"]
		}
		disk := slowDisk(t, argument, whyLong)
		if disk == nil {
			t.Skip("this kernel has no network block device")
		}
	case "pipe":
		_, log, release = fullPipe(t)
	case "backend", "prefork", "pool", "mutex":
		backend = startBackend(t)
		argument = backend.port()
		release = func() { close(backend.release) }
	}
	r := startRecorder(t, "/in/acc", "record", "-o", path)
	var s *whyServer
	switch c.server {
	case "c":
		s = startWhy(t, log, c.inside, "/in/why-server", c.mode, argument)
	case "stripped":
		s = startWhy(t, log, c.inside, "/in/why-stripped", c.mode, argument)
	case "go":
		s = startWhy(t, log, c.inside, "/in/why-goserver", c.mode, argument)
	case "python":
		s = startWhy(t, log, c.inside, "/usr/bin/python3", "-I", "-S", "/in/server.py", c.mode, argument)
	case "nginx":
		s, release = startNginx(t)
	}
	truth, waited := c.load(t, s, release)
	s.end()
	r.stop(t)
	if b, err := os.ReadFile(path); err == nil {
		_ = os.WriteFile("/out/why-"+c.name+".acc", b, 0o644)
	}
	c.check(t, path, s, truth, waited)
}

// load has clients wait, and gives what took long by the server's own measure, or the test's, and for how long the
// clients waited in all.
func (c *whyCase) load(t *testing.T, s *whyServer, release func()) (truth []whySpan, waited int64) {
	var busy, clients whyClients
	if c.kind == "" {
		for range 20 {
			var one whyClients
			one.connect(t, s.port, 1)
			one.close()
		}
		return nil, 0
	}
	if c.mode == "quota" {
		inWhyGroup(t, "cpu.max", "10000 100000")
		inWhyGroup(t, "cgroup.procs", strconv.Itoa(int(s.pid)))
	}
	if c.mode == "freeze" {
		inWhyGroup(t, "cpu.max", "max 100000")
		inWhyGroup(t, "cgroup.procs", strconv.Itoa(int(s.pid)))
	}
	from := bootNow()
	if c.server != "nginx" {
		busy.connect(t, s.port, max(c.first, 1))
	}
	if c.server != "nginx" && c.mode != "pool" && c.mode != "ended" {
		for range max(c.first, 1) {
			<-s.began
		}
	}
	state := func(is string) {
		path := fmt.Sprintf("/proc/%d/stat", s.pid)
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			if strings.Contains(readLine(path), is) {
				return
			}
		}
		t.Errorf("%s is not %q", path, is)
	}
	switch c.mode {
	case "stop":
		busy.close()
		state(") S ") // in accept
		_ = s.cmd.Process.Signal(unix.SIGSTOP)
		state(") T ")
		from = bootNow()
	case "freeze":
		busy.close()
		state(") S ")
		inWhyGroup(t, "cgroup.freeze", "1")
		for !strings.Contains(readLine(whyGroup+"/cgroup.events")+readSecond(whyGroup+"/cgroup.events"), "frozen 1") {
			time.Sleep(time.Millisecond)
		}
		from = bootNow()
	case "ended":
		busy.close()
	case "pool":
		time.Sleep(50 * time.Millisecond)
	}
	if c.server == "nginx" {
		clients.asks = "GET / HTTP/1.0\r\n\r\n"
	}
	clients.connect(t, s.port, 4)
	switch c.mode {
	case "stop":
		time.Sleep(whyLong)
		truth = append(truth, whySpan{from: from, to: bootNow()})
		_ = s.cmd.Process.Signal(unix.SIGCONT)
	case "freeze":
		time.Sleep(whyLong)
		truth = append(truth, whySpan{from: from, to: bootNow()})
		inWhyGroup(t, "cgroup.freeze", "0")
	case "ended":
		time.Sleep(whyLong)
		s.mu.Lock()
		truth = append(truth, whySpan{from: s.ended, to: bootNow()})
		s.mu.Unlock()
		s.end()
	case "pipe", "backend", "prefork", "pool", "mutex", "":
		if c.mode != "mutex" || c.server == "go" {
			time.Sleep(whyLong)
		}
		release()
		if c.server == "nginx" {
			truth = append(truth, whySpan{from: from, to: bootNow()})
		}
	}
	clients.close()
	busy.close()
	time.Sleep(500 * time.Millisecond) // looking ends
	s.mu.Lock()
	defer s.mu.Unlock()
	if truth == nil {
		truth = slices.DeleteFunc(s.busy, func(x whySpan) bool { return x.to-x.from < int64(200*time.Millisecond) })
	}
	return truth, clients.waits.Load()
}

// readSecond is the second line of a file.
func readSecond(path string) string {
	b, _ := os.ReadFile(path)
	_, rest, _ := strings.Cut(string(b), "\n")
	return rest
}

// startNginx starts Debian's nginx, which has no symbols but those that its modules need, with a log that nobody reads,
// and has it answer one client.
func startNginx(t *testing.T) (*whyServer, func()) {
	const port = 8098
	fifo, _, empty := fullPipe(t)
	conf := filepath.Join(t.TempDir(), "nginx.conf")
	text := fmt.Appendf(nil, `daemon off; master_process off; error_log stderr; pid /tmp/why.pid;
		events { worker_connections 64; }
		http { access_log %s; client_body_temp_path /tmp/p1; proxy_temp_path /tmp/p2; fastcgi_temp_path /tmp/p3;
		uwsgi_temp_path /tmp/p4; scgi_temp_path /tmp/p5; keepalive_timeout 0;
		server { listen 127.0.0.1:%d; location / { return 200 "ok"; } } }`, fifo, port)
	if err := os.WriteFile(conf, text, 0o600); err != nil {
		t.Fatal(err)
	}
	s := &whyServer{t: t, cmd: exec.Command("nginx", "-c", conf), port: port}
	s.cmd.Stderr = os.Stderr
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.end)
	s.pid = uint32(s.cmd.Process.Pid)
	for range 200 { // nginx answers, and then writes to its log
		if res, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", port)); err == nil {
			res.Body.Close()
			return s, empty
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("nginx does not answer")
	return nil, nil
}

// While acc looks at 64 threads that wake up all the time, its ring buffer is drained as if it did not: a load that a small
// one holds without that is held with it, too.
func TestVMWhyDrained(t *testing.T) {
	needVM(t)
	if os.Getenv("ACC_WHY") == "" {
		t.Skip("make test-vm-why does it")
	}
	_, port, _ := startWatched(t, 64, "wakes")
	path := filepath.Join(t.TempDir(), "drained.acc")
	r := startRecorder(t, "/in/acc", "record", "-o", path, "--ring-size", "256KiB")
	var clients whyClients
	clients.connect(t, port, 72) // each thread takes one, and the others wait
	p := newPingPong(t)
	for until := time.Now().Add(5 * time.Second); time.Now().Before(until); {
		p.do(20)
		time.Sleep(5 * time.Millisecond)
	}
	r.stop(t)
	i := info(t, path)
	a := analyzeWhy(t, path)
	looks := uint64(0) // on a busy machine, the other listener's clients can wait, too
	for _, m := range a.Meanwhile {
		if len(m.Threads) == 64 {
			looks = m.Looks
		}
	}
	if looks == 0 {
		t.Fatalf("64 threads are not looked at: %+v", a.Meanwhile)
	}
	t.Logf("%d connections beside %d looks at 64 threads; %d lost", p.made, looks, i.Lost)
	if i.Lost != 0 || i.Accepted < p.made {
		t.Errorf("%d of %d accepted, %d lost", i.Accepted, p.made, i.Lost)
	}
}

// Where acc may not look at system calls and memory, it says so, and what it sees all the same. It is the last test of its
// machine: what it sets can't be undone.
func TestVMWhyYama(t *testing.T) {
	needVM(t)
	if os.Getenv("ACC_WHY") == "" {
		t.Skip("make test-vm-why does it")
	}
	const scope = "/proc/sys/kernel/yama/ptrace_scope"
	if _, err := os.Stat(scope); err != nil {
		t.Skip("this kernel has no Yama")
	}
	if err := os.WriteFile(scope, []byte("3"), 0); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "yama.acc")
	_, log, release := fullPipe(t)
	r := startRecorder(t, "/in/acc", "record", "-o", path)
	s := startWhy(t, log, false, "/in/why-server", "pipe")
	c := whyCase{name: "yama", server: "c", mode: "pipe", kind: "full-pipe"}
	c.load(t, s, release)
	s.end()
	r.stop(t)
	b, _ := os.ReadFile(path)
	_ = os.WriteFile("/out/why-yama.acc", b, 0o644)
	a := analyzeWhy(t, path)
	if len(a.Meanwhile) != 1 || !slices.ContainsFunc(a.Meanwhile[0].Cannot, func(x string) bool {
		return x == "system calls: kernel.yama.ptrace_scope is 3"
	}) {
		t.Errorf("%+v", a.Meanwhile)
	}
	c.says = []string{"pipe_write, a write to a pipe, which was full",
		"could not be looked at: system calls: kernel.yama.ptrace_scope is 3"}
	c.checkFinding(t, a.Findings, s)
}
