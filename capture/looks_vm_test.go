//go:build linux && (amd64 || arm64)

package capture

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// looked is what acc analyze --json says of what threads did, as far as the tests look at it.
type looked struct {
	Meanwhile []lookedAt
	Findings  []lookedFinding
}

type lookedAt struct {
	Listener uint64
	WaitsNS  int64 `json:"waits_ns"`
	UnseenNS int64 `json:"unseen_ns"`
	Looks    uint64
	Places   []struct {
		Did struct {
			Kind, Call, Of, Target, Among string
			Owner                         uint32
			Holder, Beside                bool
		}
		TIDs    []uint32
		NS      int64
		BlameNS int64 `json:"blame_ns"`
	}
}

type lookedFinding struct {
	ID, Text, Next string
	Listener       uint64
	Meanwhile      *struct {
		Because bool
		Text    string
		Share   float64
	}
	Parts []lookedFinding
}

// slowDisk makes a block device whose every read and write takes so long, by the kernel's network block device; nil: the kernel
// has none.
func slowDisk(t *testing.T, name string, takes time.Duration) *os.File {
	t.Helper()
	const (
		setSock, setBlocks, doIt, setSize = 0xab00, 0xab07, 0xab03, 0xab01
		setTimeout                        = 0xab09
	)
	disk, err := os.OpenFile(name, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]int{{setSize, 4096}, {setBlocks, 4096}, {setTimeout, 30}, {setSock, pair[0]}} {
		if err := unix.IoctlSetInt(int(disk.Fd()), uint(c[0]), c[1]); err != nil {
			t.Fatalf("ioctl %#x: %v", c[0], err)
		}
	}
	server := os.NewFile(uintptr(pair[1]), "nbd")
	go func() { _ = unix.IoctlSetInt(int(disk.Fd()), doIt, 0) }()
	go func() {
		var req [28]byte // magic, type, handle, from, length
		for {
			if _, err := io.ReadFull(server, req[:]); err != nil {
				return
			}
			length := binary.BigEndian.Uint32(req[24:])
			if binary.BigEndian.Uint32(req[4:])&0xffff == 1 { // a write
				if _, err := io.CopyN(io.Discard, server, int64(length)); err != nil {
					return
				}
			}
			time.Sleep(takes)
			reply := make([]byte, 16+length)
			binary.BigEndian.PutUint32(reply, 0x67446698)
			copy(reply[8:], req[8:16])
			if binary.BigEndian.Uint32(req[4:])&0xffff != 0 { // no read
				reply = reply[:16]
			}
			if _, err := server.Write(reply); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		server.Close()
	})
	return disk
}

// What a server's accepting thread did while clients waited is told, by kind and for how long, as the server itself
// measured it.
func TestVMLooks(t *testing.T) {
	needVM(t)
	fifo := filepath.Join(t.TempDir(), "log")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	const group = "/sys/fs/cgroup/looked"
	_ = os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte("+cpu"), 0)
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
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	backend := func() (*os.File, func()) {
		c, err := net.Dial("tcp", silent.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		other, err := silent.Accept()
		if err != nil {
			t.Fatal(err)
		}
		f, err := c.(*net.TCPConn).File()
		if err != nil {
			t.Fatal(err)
		}
		_ = unix.SetNonblock(int(f.Fd()), false)
		return f, func() { _, _ = other.Write([]byte("x")) }
	}
	cases := []struct{ does, kind, says, next string }{
		{"pipe", "full-pipe", "in write to the pipe " + fifo + ", which was full", "who should read that pipe"},
		{"peer", "peer", "in read from " + silent.Addr().String(), "the other side of that connection"},
		{"client", "client", "in read from its client 127.0.0.1:", ""},
		{"read", "disk", "in read from the file /dev/nbd0", "iostat"},
		{"page", "paging", "waiting for a page of its memory", "iostat"},
		{"cpu", "cpu", "on a CPU", "perf top -t "},
		{"quota", "quota", "the CPU quota of its cgroup was used up (/looked was throttled", "cpu.max"},
		{"stop", "stopped", "stopped by a signal", "kill -CONT"},
		{"freeze", "frozen", "frozen with its cgroup", "thaw"},
		{"absent", "not-asked", "the listener was not among what it waited for", ""},
		{"disarmed", "not-asked", "switched the listener off in its epoll set", ""},
		{"lock", "lock", "a lock that another thread held (the holder, ", "which holds the lock"},
		{"sleep", "sleep", "in nanosleep", ""},
		{"60ms", "", "", ""},
		{"fast", "", "", ""},
	}
	path := filepath.Join(t.TempDir(), "x.acc")
	r := startRecorder(t, "/in/acc", "record", "-o", path)
	servers, truths := make([]*lookedServer, len(cases)), make([]int64, len(cases))
	const clients = 4
	for i, c := range cases {
		var file *os.File
		release := func() {}
		switch c.does {
		case "pipe":
			f, err := os.OpenFile(fifo, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			fd := int(f.Fd())
			_ = unix.SetNonblock(fd, true)
			for b := make([]byte, 4096); err == nil; {
				_, err = unix.Write(fd, b)
			}
			_ = unix.SetNonblock(fd, false)
			file, release = f, func() { _, _ = unix.Read(fd, make([]byte, 1<<20)) }
		case "peer":
			file, release = backend()
		case "read", "page":
			disk := map[string]string{"read": "/dev/nbd0", "page": "/dev/nbd1"}[c.does]
			if file = slowDisk(t, disk, long); file == nil {
				t.Logf("%s: this kernel has no network block device", c.does)
				continue
			}
		}
		s := startLooked(t, c.does, file)
		servers[i] = s
		switch pid := s.cmd.Process.Pid; c.does {
		case "quota":
			write("cpu.max", "10000 100000")
			write("cgroup.procs", strconv.Itoa(pid))
		case "freeze":
			write("cpu.max", "max 100000")
			write("cgroup.procs", strconv.Itoa(pid))
		}
		first := s.dial(t)
		var held int64 // since when the test keeps it from running
		switch c.does {
		case "stop":
			<-s.took
			_ = s.cmd.Process.Signal(unix.SIGSTOP)
			stat := "/proc/" + strconv.Itoa(int(s.tid)) + "/stat"
			for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
				if strings.Contains(readLine(stat), ") T ") {
					break // it runs on for some milliseconds, and would take the clients
				}
			}
			held = bootNow()
		case "freeze":
			<-s.took
			held = bootNow()
			write("cgroup.freeze", "1")
		case "quota": // it has begun with the first
			time.Sleep(10 * time.Millisecond)
		}
		var fds []int
		for range clients {
			fds = append(fds, s.dial(t))
			if c.kind == "" {
				time.Sleep(70 * time.Millisecond)
			}
		}
		switch c.does {
		case "stop":
			time.Sleep(long)
			_ = s.cmd.Process.Signal(unix.SIGCONT)
			truths[i] = bootNow() - held
		case "freeze":
			time.Sleep(long)
			write("cgroup.freeze", "0")
			truths[i] = bootNow() - held
		case "pipe", "peer":
			time.Sleep(long)
			release()
			truths[i] = <-s.took
		case "client":
			time.Sleep(long)
			_, _ = unix.Write(first, []byte("x"))
			truths[i] = <-s.took
		case "fast": // it does nothing that takes long
		default:
			truths[i] = <-s.took
		}
		for _, fd := range append(fds, first) { // the server closes each
			_, _ = unix.Read(fd, make([]byte, 1))
			unix.Close(fd)
		}
	}
	r.stop(t)
	out, err := exec.Command("/in/acc", "analyze", "--json", "--top", "0", path).Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &r.said)
	}
	var a looked
	if err := json.Unmarshal(out, &a); err != nil {
		t.Fatal(err)
	}
	for _, f := range a.Findings { // alike ones are one
		for _, p := range f.Parts {
			p.Next = f.Next
			a.Findings = append(a.Findings, p)
		}
	}
	stoodStill := 0
	for i, c := range cases {
		t.Run(c.does, func(t *testing.T) {
			s := servers[i]
			if s == nil {
				t.Skip("this kernel has no network block device")
			}
			at := slices.IndexFunc(a.Meanwhile, func(m lookedAt) bool { return m.Listener == s.inode })
			if c.kind == "" {
				if at >= 0 {
					t.Errorf("a server whose clients don't wait was looked at: %+v", a.Meanwhile[at])
				}
				return
			}
			if at < 0 || len(a.Meanwhile[at].Places) == 0 {
				t.Fatalf("nothing was seen of %d, thread %d: %+v", s.inode, s.tid, a.Meanwhile)
			}
			m, truth := a.Meanwhile[at], truths[i]
			top := m.Places[0]
			for _, p := range m.Places {
				t.Logf("%+v", p)
			}
			t.Logf("waits %d ms, unseen %d ms, %d looks; the server says %d ms", m.WaitsNS/1e6, m.UnseenNS/1e6, m.Looks,
				truth/1e6)
			if c.does != "quota" && int64(m.Looks)*5e8 < truth {
				if stoodStill++; stoodStill > 2 {
					t.Error("acc looks less often than every 500 ms")
				}
				t.Skip("the machine stood still: looks are 500 ms apart at most")
			}
			if top.Did.Kind != c.kind || len(top.TIDs) != 1 || top.TIDs[0] != s.tid {
				t.Errorf("most blamed: %+v; want %s of thread %d", top, c.kind, s.tid)
			}
			// The first look is 100 to 200 ms after a client began to wait, and this machine is slow.
			if c.does != "quota" && (top.NS < truth/2 || top.NS > truth+truth/10) {
				t.Errorf("%d ms, the server says %d ms", top.NS/1e6, truth/1e6)
			}
			if all := clients * truth; m.WaitsNS < all/2 || m.WaitsNS > all+all/4 || m.UnseenNS > m.WaitsNS/2 {
				t.Errorf("%d clients waited %d ms in all, %d of them unseen; the server says %d ms", clients, m.WaitsNS/1e6,
					m.UnseenNS/1e6, truth/1e6)
			}
			i := slices.IndexFunc(a.Findings, func(f lookedFinding) bool {
				return f.Listener == s.inode && f.Meanwhile != nil
			})
			if i < 0 {
				t.Fatalf("no finding says why: %+v", a.Findings)
			}
			f := a.Findings[i]
			t.Logf("%s: %s\n%s\nnext: %s", f.ID, f.Text, f.Meanwhile.Text, f.Next)
			// In which function of the server it was; of some kinds that is not known everywhere.
			where := "capture.doLong < capture.TestLookedServer"
			switch c.kind {
			case "stopped":
				where = "capture.TestLookedServer"
			case "frozen", "cpu", "quota":
				where = ""
			}
			if runtime.GOARCH == "amd64" && !strings.Contains(f.Meanwhile.Text, where) {
				t.Errorf("want the place %s", where)
			}
			if !f.Meanwhile.Because || !strings.Contains(f.Meanwhile.Text, c.says) || !strings.Contains(f.Next, c.next) {
				t.Errorf("want %q, next %q", c.says, c.next)
			}
		})
	}
}
