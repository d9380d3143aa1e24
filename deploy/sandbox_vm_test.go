package deploy

// This file measures what each directive of acc-record@.service costs a recording.

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// directive is what is tried: lines of a unit, alone in a unit of root that has nothing else.
type directive struct {
	lines string // separated by ;
	kept  bool   // it is in acc-record@.service, if only together with others
}

var directives = []directive{
	{"NoNewPrivileges=yes", true},
	{"CapabilityBoundingSet=CAP_SYS_ADMIN CAP_SYS_PTRACE CAP_DAC_OVERRIDE", true},
	{"CapabilityBoundingSet=CAP_SYS_ADMIN CAP_SYS_PTRACE", false},
	{"CapabilityBoundingSet=CAP_SYS_ADMIN CAP_DAC_OVERRIDE", false},
	{"CapabilityBoundingSet=CAP_BPF CAP_PERFMON CAP_SYS_PTRACE CAP_DAC_OVERRIDE", false},
	{"User=acc;AmbientCapabilities=CAP_SYS_ADMIN CAP_SYS_PTRACE CAP_DAC_OVERRIDE;LimitMEMLOCK=infinity", true},
	{"User=acc;AmbientCapabilities=CAP_SYS_ADMIN CAP_SYS_PTRACE;LimitMEMLOCK=infinity", false},
	{"User=acc;AmbientCapabilities=CAP_SYS_ADMIN CAP_SYS_PTRACE CAP_DAC_READ_SEARCH;LimitMEMLOCK=infinity", false},
	{"ProtectSystem=strict", true},
	{"ProtectHome=yes", true},
	{"PrivateTmp=yes", true},
	{"PrivateDevices=yes", true},
	{"PrivateIPC=yes", true},
	{"PrivateMounts=yes", true},
	{"ProtectProc=invisible", true},
	{"ProtectProc=invisible;CapabilityBoundingSet=CAP_SYS_ADMIN CAP_DAC_OVERRIDE", false},
	{"ProcSubset=pid", false},
	{"ProtectControlGroups=yes", true},
	{"ProtectKernelTunables=yes", false},
	{"ProtectKernelTunables=yes;ReadWritePaths=-/sys/kernel/tracing", false},
	{"ProtectKernelTunables=yes;BindPaths=-/sys/kernel/tracing", true},
	{"ProtectKernelModules=yes", true},
	{"ProtectKernelLogs=yes", true},
	{"ProtectHostname=yes", true},
	{"ProtectClock=yes", false},
	{"PrivateNetwork=yes", false},
	{"PrivateUsers=yes", false},
	{"RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK", true},
	{"RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6", false},
	{"RestrictAddressFamilies=AF_UNIX AF_NETLINK", false},
	{"RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK", false},
	{"RestrictNamespaces=net", true},
	{"RestrictNamespaces=yes", false},
	{"IPAddressDeny=any;IPAddressAllow=localhost", true},
	{"IPAddressDeny=any", false},
	{"RestrictRealtime=yes", true},
	{"RestrictSUIDSGID=yes", true},
	{"LockPersonality=yes", true},
	{"MemoryDenyWriteExecute=yes", true},
	{"SystemCallArchitectures=native", true},
	{"SystemCallErrorNumber=EPERM;SystemCallFilter=@system-service;SystemCallFilter=~@resources @chown @setuid;" +
		"SystemCallFilter=bpf perf_event_open adjtimex capset", true},
	{"SystemCallErrorNumber=EPERM;SystemCallFilter=@system-service;SystemCallFilter=bpf perf_event_open capset", false},
	{"SystemCallErrorNumber=EPERM;SystemCallFilter=@system-service;SystemCallFilter=bpf adjtimex capset", false},
	{"SystemCallErrorNumber=EPERM;SystemCallFilter=@system-service", false},
	{"UMask=0077", true},
	{"TasksMax=64", true},
	{"MemoryMax=256M", true},
	{"MemoryMax=64M;MemorySwapMax=0", false},
	{"CPUQuota=20%", false},
}

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

// world starts the servers: of a user, below /home; of a service with a network namespace of its own; of a pod.
func world(t *testing.T, s transcript) {
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
}

// connect has each server connect to itself.
func connect(t *testing.T, s transcript) {
	t.Helper()
	for port, name := range map[int]string{homePort: "server", netnsPort: "web", podPort: "pod"} {
		said := fmt.Sprintf("/run/acc-test-%d", port)
		if err := os.Truncate(said, 0); err != nil {
			t.Fatal(err)
		}
		s.run("pkill -USR1 -x " + name)
		until(t, "connections of "+name, func() bool { b, _ := os.ReadFile(said); return len(b) > 0 })
	}
}

// facts are what a capture knows, in lines that are the same whenever the same happens.
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
			Spaces    []any  `json:"spaces"`
		} `json:"cross_check"`
		Listeners []struct {
			Addr     string `json:"addr"`
			Accepted int    `json:"accepted"`
		} `json:"listeners"`
		Connections struct {
			Queued   int `json:"queued"`
			Accepted int `json:"accepted"`
		} `json:"connections"`
		Processes []struct {
			Exe, Unit, Container, Pod string
			Accepted                  int
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
			Count       int  `json:"listeners_count"`
			Waiting     int  `json:"blocked_count"`
		} `json:"at_start"`
		End struct {
			Clean   bool  `json:"clean"`
			Blocked bool  `json:"blocked_known"`
			Holders *bool `json:"holders_known"`
			Unread  []any `json:"unread_netns"`
		} `json:"end"`
	}
	for command, to := range map[string]any{"analyze": &a, "info": &i} {
		out, _ := exec.Command("acc", command, "--json", file).Output() // the exit code says what recording.why says
		if err := json.Unmarshal(out, to); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
	add := func(f string, args ...any) {
		list = append(list, numbers.ReplaceAllString(fmt.Sprintf(f, args...), "N"))
	}
	add("probes: %s", a.Capture.Mode)
	for _, l := range a.Capture.Limits {
		add("limit: %s", l)
	}
	add("recording: %s %s", a.Recording.State, strings.Join(a.Recording.Why, "; "))
	list = append(list, fmt.Sprintf("cross-check: %s, %d unchecked", a.CrossCheck.Verdict, a.CrossCheck.Unchecked))
	for _, l := range a.Listeners {
		if strings.HasPrefix(l.Addr, "/run/systemd/") { // systemctl's own
			continue
		}
		list = append(list, fmt.Sprintf("accepted at %s: %d", l.Addr, l.Accepted))
	}
	for _, p := range a.Processes {
		if strings.HasPrefix(p.Exe, "/usr/lib/systemd/") {
			continue
		}
		where := "the host's mounts"
		if p.MntNS != i.Header.MntNS {
			where = "other mounts"
		}
		list = append(list, fmt.Sprintf("process %s in %s, unit %q, container %.12q, pod %q",
			p.Exe, where, p.Unit, p.Container, p.Pod))
	}
	for _, c := range i.Header.Sysctls {
		list = append(list, fmt.Sprintf("setting %s: %s", c.Name, c.Value))
	}
	list = append(list,
		fmt.Sprintf("machine and boot known: %v %v", i.Header.MachineID != "", i.Header.BootID != ""),
		fmt.Sprintf("clock's keeping known: %v", i.Header.Clock.Keeping != 0),
		fmt.Sprintf("listeners, connections, waiting calls at the start known: %v %v %v",
			i.AtStart.Listeners, i.AtStart.Connections, i.AtStart.Blocked),
		fmt.Sprintf("waiting in accept at the start: %d", i.AtStart.Waiting),
		fmt.Sprintf("closed cleanly: %v, waiting calls at the end known: %v, unread network namespaces: %d",
			i.End.Clean, i.End.Blocked, len(i.End.Unread)))
	if i.End.Holders != nil {
		list = append(list, fmt.Sprintf("who has connections at the end known: %v", *i.End.Holders))
	}
	slices.Sort(list)
	return list
}

// others are directives that are tried with kprobes, too: what they take away, fentry probes may not need.
var others = regexp.MustCompile("User=|Capability|ProcSubset|Kernel|SystemCallFilter")

var numbers = regexp.MustCompile(`\d+`)

// tryUnit records with a unit while the servers accept, and gives what is known then.
func tryUnit(t *testing.T, s transcript, unit, flags string) []string {
	t.Helper()
	s.run("systemctl stop acc-try; rm -rf /var/lib/acc/try; systemctl reset-failed acc-try 2>/dev/null; true")
	unit = strings.NewReplacer("%i", "try", "$ACC_FLAGS", flags+" -o /var/lib/acc/try/x.acc",
		"Restart=always", "Restart=no",
		"[Service]\n", "[Service]\nStandardError=truncate:/run/acc-try.err\n").Replace(unit)
	if err := os.WriteFile("/run/systemd/system/acc-try.service", []byte(unit), 0o644); err != nil {
		t.Fatal(err)
	}
	s.run("systemctl daemon-reload")
	const said = "/run/acc-try.err"
	_ = os.Remove(said)
	s.code("systemctl start acc-try")
	dead, text := false, ""
	until(t, "recording", func() bool {
		_, code := s.code("systemctl is-active -q acc-try")
		b, _ := os.ReadFile(said)
		dead, text = code != 0, string(b)
		return dead || strings.Contains(text, "acc: recording to ")
	})
	if dead {
		lines := strings.Split(strings.TrimSpace(text), "\n")
		return []string{"does not record: " + strings.Join(lines[max(0, len(lines)-2):], "; ")}
	}
	connect(t, s)
	s.code("systemctl stop acc-try")
	known := facts(t, "/var/lib/acc/try/x.acc")
	for l := range strings.Lines(text) {
		if !strings.HasPrefix(l, "acc: recording to ") {
			known = append(known, "said: "+strings.TrimSpace(l))
		}
	}
	return known
}

// plainUnit is a unit of root without a sandbox.
const plainUnit = `[Service]
Type=notify
StateDirectory=acc/try
ExecStart=/usr/bin/acc record $ACC_FLAGS
`

// exposure is what systemd-analyze security says of a unit.
func exposure(t *testing.T, s transcript, unit string) string {
	t.Helper()
	if err := os.WriteFile("/tmp/acc-exposure.service", []byte(strings.ReplaceAll(unit, "%i", "x")), 0o644); err != nil {
		t.Fatal(err)
	}
	out := s.run("systemd-analyze security --offline=yes --no-pager /tmp/acc-exposure.service | tail -1")
	m := regexp.MustCompile(`: (\d+\.\d) `).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("exposure: %q", out)
	}
	return m[1]
}

// without is a unit without lines.
func without(unit, lines string) string {
	for l := range strings.SplitSeq(lines, ";") {
		unit = strings.Replace(unit, "\n"+l+"\n", "\n", 1)
	}
	return unit
}

// difference says what one recording knew and another one does not.
func difference(base, got []string) string {
	var list []string
	for _, f := range base {
		if !slices.Contains(got, f) {
			list = append(list, "- "+f)
		}
	}
	for _, f := range got {
		if !slices.Contains(base, f) {
			list = append(list, "+ "+f)
		}
	}
	return strings.Join(list, "\n")
}

// The unit as it is costs the recording nothing: it knows what root without a sandbox knows. What each
// directive costs alone, and how exposed the unit is without it, goes into a table.
func TestVMSandbox(t *testing.T) {
	needSystemd(t)
	s := transcript{t, os.Stdout}
	if _, err := os.Stat("/usr/bin/acc"); err != nil {
		s.run("apt-get install -qq -y " + oneOf(t, "/in/newer/acc_*_amd64.deb"))
		defer s.run("apt-get purge -qq -y acc")
	}
	world(t, s)
	quiet := transcript{t, discard{}}
	unit, err := os.ReadFile("/usr/lib/systemd/system/acc-record@.service")
	if err != nil {
		t.Fatal(err)
	}
	kept := exposure(t, quiet, string(unit))
	if kept > "2.5" || len(kept) != 3 {
		t.Errorf("exposure %s, want 2.5 at most", kept)
	}
	only := regexp.MustCompile(os.Getenv("ACC_DIRECTIVES"))
	table, err := os.Create("/out/sandbox.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	for probe := range strings.FieldsSeq(cmp.Or(os.Getenv("ACC_PROBES"), "fentry kprobe")) {
		flags := "--probe " + probe
		base := tryUnit(t, quiet, plainUnit, flags)
		t.Logf("%s, root without a sandbox:\n%s", probe, strings.Join(base, "\n"))
		for port, name := range map[int]string{homePort: "server", netnsPort: "web", podPort: "pod"} {
			if !slices.Contains(base, fmt.Sprintf("accepted at 127.0.0.1:%d: %d", port, connections)) {
				t.Errorf("not %d accepted by %s", connections, name)
			}
		}
		if !slices.ContainsFunc(base, func(f string) bool { return strings.Contains(f, `pod "shop/till-0"`) }) {
			t.Errorf("the pod's name is not known")
		}
		if again := difference(base, tryUnit(t, quiet, plainUnit, flags)); again != "" {
			t.Errorf("the same again differs:\n%s", again)
		}
		if less := difference(base, tryUnit(t, quiet, string(unit), flags)); less != "" {
			t.Errorf("%s: the unit as it is:\n%s", probe, less)
		}
		for _, d := range directives {
			if !only.MatchString(d.lines) || probe == "kprobe" && !others.MatchString(d.lines) {
				continue
			}
			less := difference(base, tryUnit(t, quiet, plainUnit+strings.ReplaceAll(d.lines, ";", "\n")+"\n", flags))
			fmt.Printf("%s\t%s\t%q\n", probe, d.lines, less)
			exposed := exposure(t, quiet, without(string(unit), d.lines))
			fmt.Fprintf(table, "%s\t%s\t%v\t%s\t%q\n", probe, d.lines, d.kept, exposed, less)
		}
	}
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
