package deploy

// This file has the servers that the tests beside it record, and what a capture must know of them.

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	connections  = 20
	homePort     = 7101
	netnsPort    = 7102
	podPort      = 7103
	podContainer = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	podUID       = "11111111-2222-3333-4444-555555555555"
)

// TestVMServe is the server of the tests beside it. It waits in accept, as threads do. At SIGUSR1 it connects to
// itself, and writes a file when it has accepted all of that.
func TestVMServe(t *testing.T) {
	port, err := strconv.Atoi(os.Getenv("ACC_SERVE"))
	if err != nil {
		t.Skip("run by tests beside it")
	}
	name := fmt.Sprintf("@%d", port) // an abstract one
	tcp, err1 := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	local, err2 := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	to := []unix.Sockaddr{&unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}, &unix.SockaddrUnix{Name: name}}
	accepted := make(chan struct{}, 1000)
	for i, fd := range []int{tcp, local} {
		if err := unix.Bind(fd, to[i]); err != nil {
			t.Fatal(err)
		}
		if err := unix.Listen(fd, 64); err != nil {
			t.Fatal(err)
		}
		go func() {
			runtime.LockOSThread()
			for {
				c, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
				if err != nil {
					panic(err)
				}
				unix.Close(c)
				accepted <- struct{}{}
			}
		}()
	}
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGUSR1)
	said := fmt.Sprintf("/run/acc-test-%d", port)
	for n := 0; ; <-again {
		for range n {
			for i, family := range []int{unix.AF_INET, unix.AF_UNIX} {
				fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
				if err == nil {
					err = unix.Connect(fd, to[i])
				}
				if err != nil {
					t.Fatal(err)
				}
				<-accepted
				unix.Close(fd)
			}
		}
		n = connections
		if err := os.WriteFile(said, []byte("done"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// world starts the servers: of a user, below /home; of a service with a network namespace of its own; of a pod. It
// gives their processes by port.
func world(t *testing.T, s transcript) map[int]int {
	t.Helper()
	s.run("mkdir -p /home/shop; for to in /home/shop/server /usr/bin/web /usr/bin/pod; do cp /in/deploy.test $to; done")
	s.run("install -m 666 /dev/null /run/acc-test-7101")
	s.run("sysctl -w net.core.somaxconn=5001") // another network namespace has the kernel's own number
	start := func(port int, how string) {
		s.run("systemd-run -q --setenv=ACC_SERVE=" + strconv.Itoa(port) + " " + how +
			" -test.run ^TestVMServe$ -test.timeout 0 </dev/null >/dev/null 2>&1")
	}
	start(homePort, "--unit shop -p User=nobody /home/shop/server")
	start(netnsPort, "--unit web -p PrivateNetwork=yes /usr/bin/web")
	// As kubelet and containerd lay it out: the pod's slice, the container's scope, and a link to its log.
	logs := "/var/log/pods/shop_till-0_" + podUID + "/till"
	s.run("mkdir -p /var/log/containers " + logs + " && touch " + logs + "/0.log && ln -sf " + logs +
		"/0.log /var/log/containers/till-0_shop_till-" + podContainer + ".log")
	cmd := exec.Command("systemd-run", "-q", "--scope", "--unit", "cri-containerd-"+podContainer+".scope",
		"--slice", "kubepods-burstable-pod"+strings.ReplaceAll(podUID, "-", "_")+".slice",
		"/usr/bin/pod", "-test.run", "^TestVMServe$", "-test.timeout", "0")
	cmd.Env = append(os.Environ(), "ACC_SERVE="+strconv.Itoa(podPort))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		s.run("systemctl stop shop web")
	})
	for _, port := range []int{homePort, netnsPort, podPort} {
		until(t, fmt.Sprintf("server at %d", port), func() bool {
			b, _ := os.ReadFile(fmt.Sprintf("/run/acc-test-%d", port))
			return len(b) > 0
		})
	}
	servers := map[int]int{}
	for port, name := range map[int]string{homePort: "server", netnsPort: "web", podPort: "pod"} {
		pid, err := strconv.Atoi(strings.TrimSpace(s.run("pgrep -x " + name)))
		if err != nil {
			t.Fatal(err)
		}
		servers[port] = pid
	}
	return servers
}

// connect has each server connect to itself.
func connect(t *testing.T, servers map[int]int) {
	t.Helper()
	for port, pid := range servers {
		said := fmt.Sprintf("/run/acc-test-%d", port)
		if err := errors.Join(os.Truncate(said, 0), syscall.Kill(pid, syscall.SIGUSR1)); err != nil {
			t.Fatal(err)
		}
		until(t, fmt.Sprintf("connections at %d", port), func() bool { b, _ := os.ReadFile(said); return len(b) > 0 })
	}
}

// facts are what a capture knows, in lines that are the same whenever the same happens: a kind, and the fact.
func facts(t *testing.T, file string) (list []string) {
	t.Helper()
	var a struct {
		Capture struct {
			Mode   string   `json:"mode"`
			Limits []string `json:"limits"`
		} `json:"capture"`
		Recording struct {
			State string   `json:"state"`
			Why   []string `json:"why"`
		} `json:"recording"`
		CrossCheck struct {
			Verdict   string `json:"verdict"`
			Unchecked int    `json:"unchecked"`
		} `json:"cross_check"`
		Listeners []struct {
			Addr     string `json:"addr"`
			Accepted int    `json:"accepted"`
		} `json:"listeners"`
		Processes []struct {
			Exe, Unit, Container, Pod string
			MntNS                     uint64 `json:"mntns"`
		} `json:"processes"`
	}
	var i struct {
		Header struct {
			MntNS     uint64 `json:"mntns"`
			Sysctls   []struct{ Name, Value string }
			MachineID string `json:"machine"`
			BootID    string `json:"boot_id"`
			Clock     struct {
				Keeping int `json:"keeping"`
			} `json:"clock"`
		} `json:"header"`
		AtStart struct {
			Listeners   bool `json:"listeners_known"`
			Connections bool `json:"connections_known"`
			Blocked     bool `json:"blocked_known"`
			Waiting     int  `json:"blocked_count"`
			Sockets     []struct {
				LPort      int    `json:"lport"`
				BacklogMax uint32 `json:"backlog_max"`
			} `json:"listeners"`
		} `json:"at_start"`
		End struct {
			Clean  bool  `json:"clean"`
			Unread []any `json:"unread_netns"`
		} `json:"end"`
	}
	for command, to := range map[string]any{"analyze": &a, "info": &i} {
		out, _ := exec.Command("acc", command, "--json", file).Output() // the exit code says what recording.why says
		if err := json.Unmarshal(out, to); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
	add := func(kind, f string, args ...any) { list = append(list, kind+": "+fmt.Sprintf(f, args...)) }
	add("probes", "%s", a.Capture.Mode)
	for _, l := range a.Capture.Limits {
		add("limit", "%s", numbers.ReplaceAllString(l, "N"))
	}
	add("account of the recording", "%s %s", a.Recording.State,
		numbers.ReplaceAllString(strings.Join(a.Recording.Why, "; "), "N"))
	add("cross-check with kernel counters", "%s, %d unchecked", a.CrossCheck.Verdict, a.CrossCheck.Unchecked)
	for _, l := range a.Listeners {
		if !strings.HasPrefix(l.Addr, "/run/systemd/") { // systemctl's own
			add("accept calls", "%d accepted at %s", l.Accepted, l.Addr)
		}
	}
	for _, p := range a.Processes {
		if strings.HasPrefix(p.Exe, "/usr/lib/systemd/") {
			continue
		}
		where := "the host's mounts"
		if p.MntNS != i.Header.MntNS {
			where = "other mounts"
		}
		add("executables, units, containers, pods", "%s in %s, unit %q, container %.12q, pod %q", p.Exe, where, p.Unit,
			p.Container, p.Pod)
	}
	for _, c := range i.Header.Sysctls {
		add("settings of the host", "%s = %s", c.Name, c.Value)
	}
	add("ids of machine and boot", "known: %v %v", i.Header.MachineID != "", i.Header.BootID != "")
	add("how well the clock is kept", "known: %v", i.Header.Clock.Keeping != 0)
	add("listeners and connections at the start", "known: %v %v", i.AtStart.Listeners, i.AtStart.Connections)
	for _, l := range i.AtStart.Sockets {
		if l.LPort == homePort || l.LPort == netnsPort || l.LPort == podPort {
			add("limits of the queues at the start", "%d of %d", l.BacklogMax, l.LPort)
		}
	}
	// At the end there is half a second to look for them, which is too little here.
	add("waiting accept calls at the start", "%d, all: %v", i.AtStart.Waiting, i.AtStart.Blocked)
	add("end", "closed cleanly: %v", i.End.Clean)
	add("network namespaces of others", "unread: %d", len(i.End.Unread))
	slices.Sort(list)
	return list
}

var numbers = regexp.MustCompile(`\d+`)

// difference says what one recording knew and another one does not, and the other way round.
func difference(base, got []string) (lines []string) {
	for _, f := range base {
		if !slices.Contains(got, f) {
			lines = append(lines, "- "+f)
		}
	}
	for _, f := range got {
		if !slices.Contains(base, f) {
			lines = append(lines, "+ "+f)
		}
	}
	return lines
}

// plainUnit is a unit of root without a sandbox.
const plainUnit = `[Service]
Type=notify
StateDirectory=acc/try
TimeoutStartSec=2min
ExecStart=/usr/bin/acc record $ACC_FLAGS
`

// emulated gives a unit the time that an emulated machine takes.
var emulated = strings.NewReplacer("TimeoutStartSec=2min", "TimeoutStartSec=15min",
	"TimeoutStopSec=30s", "TimeoutStopSec=5min", "WatchdogSec=30s", "WatchdogSec=10min", "Restart=always", "Restart=no")

const tryFolder = "/var/lib/acc/try"

// tryUnit records with a unit while the servers accept, and gives what is known then, with what the unit's
// programs said.
func tryUnit(t *testing.T, s transcript, servers map[int]int, unit, flags string) []string {
	t.Helper()
	const said = "/run/acc-try.err"
	_ = os.Remove(said)
	s.code("systemctl stop acc-try; systemctl reset-failed acc-try 2>/dev/null; rm -rf " + tryFolder)
	unit = strings.NewReplacer("%i", "try", "$ACC_FLAGS", flags+" -o "+tryFolder+"/x.acc",
		"[Service]\n", "[Service]\nStandardError=append:"+said+"\n").Replace(emulated.Replace(unit))
	if err := os.WriteFile("/run/systemd/system/acc-try.service", []byte(unit), 0o644); err != nil {
		t.Fatal(err)
	}
	_, code := s.code("systemctl daemon-reload && systemctl start acc-try")
	text := ""
	for deadline := time.Now().Add(10 * time.Minute); code == 0; time.Sleep(time.Second) {
		b, _ := os.ReadFile(said)
		if text = string(b); strings.Contains(text, "acc: recording to ") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("does not record: %s", text)
		}
		_, code = s.code("systemctl is-active -q acc-try") // podman says that it has started before acc has
	}
	if code != 0 {
		b, _ := os.ReadFile(said)
		lines := strings.Split(strings.TrimSpace(string(b)), "\n")
		return []string{nothing + ": " + strings.Join(lines[max(0, len(lines)-2):], "; ")}
	}
	connect(t, servers)
	s.code("systemctl stop acc-try")
	b, _ := os.ReadFile(said)
	files, _ := filepath.Glob(tryFolder + "/*.acc")
	if len(files) != 1 {
		t.Fatalf("captures: %q\n%s", files, b)
	}
	known := facts(t, files[0])
	for l := range strings.Lines(string(b)) {
		if l = strings.TrimSpace(strings.TrimPrefix(l, "acc: ")); !ofRun.MatchString(l) {
			known = append(known, "said: "+l)
		}
	}
	return known
}

// ofRun are lines that differ from run to run, or say what a flag says.
var ofRun = regexp.MustCompile(`^recording to |^recorded for |^next: |^at the end |^another file |^nothing was lost`)

// discard takes what commands print.
type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
