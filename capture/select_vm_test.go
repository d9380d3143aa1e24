//go:build linux && (amd64 || arm64)

package capture

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

// selectServer is a process that accepts, and counts what it accepts.
type selectServer struct {
	t    *testing.T
	cmd  *exec.Cmd
	in   io.Writer
	out  *bufio.Scanner
	port uint16
}

// startSelectServer starts one that listens at an address, and connects to it from an address.
func startSelectServer(t *testing.T, at, from, name string, attr *syscall.SysProcAttr) *selectServer {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestSelectServer$")
	cmd.Env = append(os.Environ(), "ACC_SELECT_AT="+at, "ACC_SELECT_FROM="+from, "ACC_SELECT_NAME="+name)
	cmd.SysProcAttr = attr
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
	s := &selectServer{t: t, cmd: cmd, in: in, out: bufio.NewScanner(out), port: netip.MustParseAddrPort(at).Port()}
	t.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	s.ask("count")
	return s
}

// end has it end.
func (s *selectServer) end() {
	s.in.(io.Closer).Close()
	_ = s.cmd.Wait()
}

// ask has it do something, and gives what it says: what it has accepted by then.
func (s *selectServer) ask(format string, args ...any) (n int) {
	s.t.Helper()
	fmt.Fprintf(s.in, format+"\n", args...)
	for s.out.Scan() {
		if k, _ := fmt.Sscanf(s.out.Text(), "accepted %d", &n); k == 1 {
			return n
		}
	}
	s.t.Fatalf("the server ended: %v", s.out.Err())
	return 0
}

// TestSelectServer is the process that startSelectServer starts. It is told by lines: connect N, fail N, child ADDRESS,
// count.
func TestSelectServer(t *testing.T) {
	at := os.Getenv("ACC_SELECT_AT")
	if at == "" {
		t.Skip("is started by TestVMSelect")
	}
	addr := sockaddrOf(netip.MustParseAddrPort(at))
	source := sockaddrOf(netip.AddrPortFrom(netip.MustParseAddr(os.Getenv("ACC_SELECT_FROM")), 0))
	family := unix.AF_INET
	if _, ok := addr.(*unix.SockaddrInet6); ok {
		family = unix.AF_INET6
	}
	if lo, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0); err == nil { // up, in a network namespace of its own
		req, _ := unix.NewIfreq("lo")
		req.SetUint16(unix.IFF_UP)
		_ = unix.IoctlIfreq(lo, unix.SIOCSIFFLAGS, req)
		unix.Close(lo)
	}
	l, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must := func(err error) {
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
	}
	must(err)
	must(unix.SetsockoptInt(l, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
	must(unix.Bind(l, addr))
	must(unix.Listen(l, 128))
	accepted := make(chan bool)
	go func() {
		runtime.LockOSThread()
		if name := os.Getenv("ACC_SELECT_NAME"); name != "" {
			_ = os.WriteFile(fmt.Sprintf("/proc/self/task/%d/comm", unix.Gettid()), []byte(name), 0)
		}
		for {
			fd, _, err := unix.Accept4(l, unix.SOCK_CLOEXEC)
			if err == unix.EINTR {
				continue
			}
			must(err)
			_, _ = unix.Read(fd, make([]byte, 1)) // the client closes first
			unix.Close(fd)
			accepted <- true
		}
	}()
	n := 0
	var child *exec.Cmd
	lines := bufio.NewScanner(os.Stdin)
	do := func(line string) {
		var word, arg string
		_, _ = fmt.Sscan(line, &word, &arg)
		times, _ := strconv.Atoi(arg)
		for i := 0; i < times && word == "connect"; i++ {
			c, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			must(err)
			must(unix.Bind(c, source))
			must(unix.Connect(c, addr))
			unix.Close(c)
			<-accepted
			n++
		}
		for deadline := time.Now().Add(time.Minute); !allEnded(addr) && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond) // the last packets may be on their way
		}
		if word == "fail" {
			empty, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
			must(err)
			must(unix.Listen(empty, 1))
			for range times {
				if _, _, err := unix.Accept(empty); err != unix.EAGAIN {
					must(fmt.Errorf("accept: %v", err))
				}
			}
			unix.Close(empty)
		}
		if word == "child" {
			child = exec.Command(os.Args[0], "-test.run=^TestSelectServer$")
			child.Env = append(os.Environ(), "ACC_SELECT_AT="+arg, "ACC_SELECT_AUTO=connect 30")
			out, err := child.Output()
			must(err)
			_, _ = fmt.Sscanf(string(out), "accepted %d", &n)
		}
		fmt.Println("accepted", n)
	}
	if auto := os.Getenv("ACC_SELECT_AUTO"); auto != "" {
		do(auto)
		if path := os.Getenv("ACC_SELECT_SAY"); path != "" {
			must(os.WriteFile(path, []byte(strconv.Itoa(n)), 0o600))
			for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
				if _, err := os.Stat(path); err != nil {
					break // it was read
				}
			}
		}
		os.Exit(0)
	}
	for lines.Scan() {
		do(lines.Text())
	}
	os.Exit(0)
}

// allEnded reports whether the kernel has no connection any more at a server's address.
func allEnded(addr unix.Sockaddr) bool {
	at := fmt.Sprintf(":%04X", addrPort(addr).Port())
	for _, path := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, _ := os.ReadFile(path)
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) > 3 && strings.HasSuffix(f[1], at) && f[3] != "0A" && f[3] != "06" {
				return false
			}
		}
	}
	return true
}

func sockaddrOf(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// TestVMSelect has two servers that are alike, of which one is selected in each way that there is. What is recorded is
// held against what that one counted, and what is filtered against what the other one did.
func TestVMSelect(t *testing.T) {
	needVM(t)
	const many, others = 50, 70
	cgroup := testCgroup(t)
	newNet := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	pid := func(s *selectServer) uint32 { return uint32(s.cmd.Process.Pid) }
	prefix := func(s string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(s)} }
	for _, c := range []struct {
		name string
		attr *syscall.SysProcAttr
		by   func(s *selectServer) Selection
		held bool
		both bool // in both modes; the others only if there is time
	}{
		{name: "port", both: true, by: func(s *selectServer) Selection {
			return Selection{Ports: []PortRange{{1, 1}, {s.port, s.port}}}
		}},
		{name: "family", by: func(*selectServer) Selection {
			return Selection{Families: []format.Family{format.FamilyIPv4}}
		}},
		{name: "pid", both: true, by: func(s *selectServer) Selection { return Selection{PIDs: []uint32{pid(s)}} }},
		{name: "comm", by: func(*selectServer) Selection { return Selection{Comms: []string{"chosen"}} }},
		{name: "uid", attr: &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 4242, Gid: 4242}},
			by: func(*selectServer) Selection { return Selection{UIDs: []uint32{4242}} }},
		{name: "cgroup", both: true, by: func(s *selectServer) Selection {
			below := filepath.Join(cgroup, "below")
			_ = os.Mkdir(below, 0o755)
			if err := os.WriteFile(filepath.Join(below, "cgroup.procs"), []byte(strconv.Itoa(int(pid(s)))), 0); err != nil {
				t.Fatal(err)
			}
			list, err := FindCgroups(KindCgroup, cgroup)
			if err != nil {
				t.Fatal(err)
			}
			return Selection{Cgroups: list}
		}},
		{name: "netns", attr: newNet, by: func(s *selectServer) Selection {
			ns, err := FindNetNS(strconv.Itoa(int(pid(s))))
			if err != nil {
				t.Fatal(err)
			}
			return Selection{NetNS: []uint32{ns}}
		}},
		{name: "laddr", held: true, by: func(*selectServer) Selection { return Selection{LAddrs: prefix("127.0.3.0/24")} }},
		{name: "raddr", both: true, held: true, by: func(*selectServer) Selection { return Selection{RAddrs: prefix("127.0.1.1/32")} }},
		{name: "addr", held: true, by: func(*selectServer) Selection { return Selection{Addrs: prefix("127.0.1.0/24")} }},
		{name: "two criteria", by: func(s *selectServer) Selection {
			return Selection{PIDs: []uint32{pid(s)}, Ports: []PortRange{{7000, 7099}},
				Families: []format.Family{format.FamilyIPv4}}
		}},
	} {
		for _, mode := range modes(t) {
			if mode == ModeKprobe && !c.both && os.Getenv("ACC_TORTURE") == "" {
				continue // the decision is the same code
			}
			t.Run(c.name+"/"+string(mode), func(t *testing.T) {
				one := startSelectServer(t, "127.0.3.1:7001", "127.0.1.1", "chosen", c.attr)
				other := startSelectServer(t, "[::1]:7002", "::1", "other", nil)
				o := Options{Mode: mode, Select: c.by(one), startWatch: 1}
				accepted, left := 0, 0
				r := recordWhile(t, o, func() {
					accepted, left = one.ask("connect %d", many), other.ask("connect %d", others)
					accepted += one.ask("connect %d", many) - accepted
				})
				checkSelected(t, &r, accepted, left, c.held)
			})
		}
	}
}

// checkSelected holds a recording of one server against what that accepted, and what is filtered against what another
// one did.
func checkSelected(t *testing.T, r *recording, accepted, left int, held bool) {
	t.Helper()
	got := map[format.Kind]int{}
	for i := range r.events {
		e := &r.events[i]
		if e.Kind == format.Return && !e.Accepted() {
			continue // a signal of the Go runtime
		}
		if e.Kind == format.Closed && !isEnd(e) {
			continue
		}
		got[e.Kind]++
		if e.LPort == 7002 {
			t.Errorf("an event of the other server: %+v", *e)
		}
	}
	if got[format.Return] != accepted || got[format.Closed] != accepted || got[format.Queued] != accepted {
		t.Errorf("%d returns, %d queued, %d closed of %d connections", got[format.Return], got[format.Queued],
			got[format.Closed], accepted)
	}
	if n := got[format.Enter]; !held && (n < accepted || n > accepted+2) || n > accepted+2 {
		t.Errorf("%d entries of %d calls", n, accepted)
	}
	filtered := map[format.Kind]int{}
	for _, x := range r.end.Totals {
		if x.Seen != x.Recorded+x.Lost+x.Filtered {
			t.Errorf("%v: the account does not add up", x)
		}
		filtered[x.Kind] += int(x.Filtered)
	}
	// Of the call that the other one was in when the recording began, no probe sees the return. Connections of before
	// can end now.
	ended := filtered[format.Closed]
	if n := filtered[format.Return]; n < left-1 || n > left+2 || filtered[format.Queued] != left ||
		ended < left || ended > left+3 {
		t.Errorf("filtered %v of %d connections", filtered, left)
	}
	if r.header.Selection == nil || !r.end.Clean || r.end.Lost != 0 {
		t.Errorf("selection %v, end %+v", r.header.Selection, r.end)
	}
	for _, l := range r.header.Limits {
		if strings.Contains(l, "has no cookies") && os.Getenv("ACC_VM") != "5.10" {
			t.Errorf("the programs for old kernels were loaded: %s", l)
		}
	}
	for _, s := range r.shots {
		if held {
			break // a listener at all addresses can have such clients, and so can this one
		}
		for _, l := range s.Listeners {
			if l.LPort == 7002 {
				t.Errorf("the snapshot has the other listener")
			}
		}
	}
	t.Logf("accepted %d, others %d: recorded %v, filtered %v", accepted, left, got, filtered)
}

// testCgroup makes a cgroup, and gives its directory.
func testCgroup(t *testing.T) string {
	root := cgroupRoot()
	if root == "" {
		root = "/sys/fs/cgroup"
		_ = os.MkdirAll(root, 0o755)
		if err := unix.Mount("cgroup2", root, "cgroup2", 0, ""); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(root, "accselect")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestVMSelectFollow selects a process with what it starts, and the command alone.
func TestVMSelectFollow(t *testing.T) {
	needVM(t)
	for _, mode := range modes(t) {
		t.Run(string(mode), func(t *testing.T) {
			one := startSelectServer(t, "127.0.3.1:7001", "127.0.1.1", "chosen", nil)
			other := startSelectServer(t, "[::1]:7002", "::1", "other", nil)
			accepted, left := 0, 0
			o := Options{Mode: mode, Select: Selection{PIDs: []uint32{uint32(one.cmd.Process.Pid)}, Follow: true}, startWatch: 1}
			r := recordWhile(t, o, func() {
				accepted, left = one.ask("child 127.0.3.1:7003"), other.ask("connect 70")
			})
			checkSelected(t, &r, accepted, left, false)

			say := filepath.Join(t.TempDir(), "accepted")
			t.Setenv("ACC_SELECT_AT", "127.0.3.1:7004")
			t.Setenv("ACC_SELECT_FROM", "127.0.1.1")
			t.Setenv("ACC_SELECT_AUTO", "connect 40")
			t.Setenv("ACC_SELECT_SAY", say)
			o = Options{Mode: mode, Select: Selection{OnlyCommand: true}, startWatch: 1,
				Command: []string{os.Args[0], "-test.run=^TestSelectServer$"}}
			before := other.ask("count")
			r = recordWhile(t, o, func() {
				left = other.ask("connect 70") - before
				for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
					if b, err := os.ReadFile(say); err == nil && len(b) > 0 {
						accepted, _ = strconv.Atoi(strings.TrimSpace(string(b)))
						break
					}
				}
				_ = os.Remove(say) // now the command ends, and the recording with it
			})
			checkSelected(t, &r, accepted, left, false)
		})
	}
}

// TestVMSelectFailed records calls that fail alone.
func TestVMSelectFailed(t *testing.T) {
	needVM(t)
	for _, mode := range modes(t) {
		t.Run(string(mode), func(t *testing.T) {
			one := startSelectServer(t, "127.0.3.1:7001", "127.0.1.1", "chosen", nil)
			accepted := 0
			r := recordWhile(t, Options{Mode: mode, Select: Selection{FailedOnly: true}, startWatch: 1}, func() {
				accepted = one.ask("connect 60")
				one.ask("fail 25")
			})
			failed, filtered := 0, map[format.Kind]int{}
			for i := range r.events {
				switch e := &r.events[i]; {
				case e.Kind == format.Return && e.Errno() == int32(unix.EAGAIN):
					failed++
				case e.Accepted() || e.Kind == format.Queued || e.Kind == format.Closed:
					t.Errorf("recorded: %+v", *e)
				}
			}
			for _, x := range r.end.Totals {
				filtered[x.Kind] += int(x.Filtered)
			}
			// On a busy machine a connection of the recording before can end in this one.
			if failed != 25 || filtered[format.Return] != accepted || filtered[format.Closed] < accepted || !r.end.Clean {
				t.Errorf("%d failed of 25; filtered %v of %d; %+v", failed, filtered, accepted, r.end)
			}
		})
	}
}

// TestVMSelectCommand records by acc record --port and reads the screens.
func TestVMSelectCommand(t *testing.T) {
	needVM(t)
	one := startSelectServer(t, "127.0.3.1:7001", "127.0.1.1", "chosen", nil)
	other := startSelectServer(t, "[::1]:7002", "::1", "other", nil)
	path := "/out/selected.acc"
	r := startRecorder(t, "/in/acc", "record", "-o", path, "--force", "--port", "7001,7100-7101", "--pid",
		strconv.Itoa(one.cmd.Process.Pid))
	accepted, left := one.ask("connect 20"), other.ask("connect 30")
	_ = r.Process.Signal(os.Interrupt)
	if code := r.end(); code != 0 {
		t.Fatalf("exit code %d: %s", code, &r.said)
	}
	words := fmt.Sprintf("port 7001 or 7100-7101 and process %d", one.cmd.Process.Pid)
	for _, want := range []string{"acc: selected: " + words + " (1 listener now)\nacc: recording to", "of what was selected nothing was lost",
		"acc: filtered "} {
		if !strings.Contains(r.said.String(), want) {
			t.Errorf("it did not say %q: %s", want, &r.said)
		}
	}
	for args, want := range map[string]string{
		"info":    "complete of what was selected (" + words + "): nothing of that was lost or missed",
		"verify":  "complete of what was selected",
		"analyze": "complete of what was selected",
	} {
		out, err := exec.Command("/in/acc", args, path).CombinedOutput()
		if err != nil || !strings.Contains(strings.Join(strings.Fields(string(out)), " "), want) {
			t.Errorf("acc %s: %v, without %q:\n%s", args, err, want, out)
		}
	}
	out, _ := exec.Command("/in/acc", "info", path).CombinedOutput()
	t.Logf("accepted %d, others %d\n%s%s", accepted, left, &r.said, out)
	for _, c := range [][2]string{{"--pid", "4000000"}, {"--unit", "nothing"}, {"--container", "nothing"}} {
		out, err := exec.Command("/in/acc", "record", "-o", "/tmp/never.acc", c[0], c[1]).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "hint: ") {
			t.Errorf("acc record %s %s: %v: %s", c[0], c[1], err, out)
		}
	}
}
