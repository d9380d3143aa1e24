//go:build linux && (amd64 || arm64)

package capture

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestVMNamespaceServer is the server of TestVMNamespaces: in a network namespace of
// its own it makes two connections to itself, says where, and closes the second one
// when its standard input ends.
func TestVMNamespaceServer(t *testing.T) {
	if os.Getenv("ACC_SERVER") == "" {
		t.Skip("run by TestVMNamespaces")
	}
	up, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(up, unix.SIOCSIFFLAGS, lo); err != nil {
		t.Fatal(err)
	}
	lfd, addr := listen(t, unix.AF_INET, 8)
	var clients, fds [2]int
	for i := range clients {
		clients[i] = dial(t, unix.AF_INET, addr)
		if fds[i], _, err = unix.Accept4(lfd, 0); err != nil {
			t.Fatal(err)
		}
		_, err1 := unix.Write(clients[i], make([]byte, 123))
		_, err2 := unix.Read(fds[i], make([]byte, 200))
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Println("serving", addrPort(addr), portOf(t, clients[0]), portOf(t, clients[1]))
	lines := bufio.NewScanner(os.Stdin)
	lines.Scan()
	unix.Close(clients[1])
	unix.Read(fds[1], make([]byte, 1))
	unix.Close(fds[1])
	waitClosed(t)
	fmt.Println("closed")
	lines.Scan()
}

// What listens in another network namespace, and its connections, are known from
// before, when they close, and when the recording ends; by a recorder that has given
// up its privileges, too.
func TestVMNamespaces(t *testing.T) {
	needVM(t)
	cmd := exec.Command("/in/capture.test", "-test.run", "^TestVMNamespaceServer$")
	cmd.Env = append(os.Environ(), "ACC_SERVER=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer in.Close()
	lines := bufio.NewScanner(out)
	var where string
	var open, closing uint16
	if !lines.Scan() {
		t.Fatal("the server says nothing")
	}
	if _, err := fmt.Sscanf(lines.Text(), "serving %s %d %d", &where, &open, &closing); err != nil {
		t.Fatalf("the server says %q", lines.Text())
	}
	var st unix.Stat_t
	if err := unix.Stat(fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid), &st); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x.acc")
	r := startRecorder(t, "/in/acc", "record", "-o", path)
	fmt.Fprintln(in, "close")
	if !lines.Scan() || lines.Text() != "closed" {
		t.Fatalf("the server says %q", lines.Text())
	}
	r.stop(t)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var rec recording
	rec.read(t, f)
	var found [2]string
	for _, shot := range rec.shots {
		at := 0
		if shot.Final {
			at = 1
		}
		for _, x := range shot.Listeners {
			if x.NetNS == uint32(st.Ino) && fmt.Sprintf("%s:%d", x.LAddr, x.LPort) == where {
				found[at] += "listener "
			}
		}
		for _, x := range shot.Connections {
			if x.NetNS != uint32(st.Ino) || x.State != established || x.Inode == 0 || fmt.Sprintf("%s:%d", x.LAddr, x.LPort) != where {
				continue
			}
			switch x.RPort {
			case open:
				found[at] += "open "
			case closing:
				found[at] += "closing "
			}
			if shot.Final && (!x.Counted || x.BytesIn != 123 || x.BytesOut != 0) {
				t.Errorf("at the end: %+v", x)
			}
		}
	}
	for i, want := range []string{"listener closing open", "listener open"} {
		got := strings.Fields(found[i])
		for _, w := range strings.Fields(want) {
			if !strings.Contains(found[i], w+" ") {
				t.Errorf("snapshot %d has %q, want %s", i, found[i], want)
			}
		}
		if len(got) != len(strings.Fields(want)) {
			t.Errorf("snapshot %d has %q, want %s", i, found[i], want)
		}
	}
	b, err := exec.Command("/in/acc", "analyze", "--connections", "--json", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	told := false
	for line := range strings.Lines(string(b)) {
		var c struct {
			RPort   uint16 `json:"rport"`
			BytesIn uint64 `json:"bytes_in"`
			End     string `json:"end_reason"`
		}
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatal(err)
		}
		if c.RPort == closing {
			told = true
			if c.BytesIn != 123 || c.End != "closed by the client" {
				t.Errorf("%s", line)
			}
		}
	}
	if !told {
		t.Errorf("the close of the connection from before is not told:\n%s", b)
	}
}
