//go:build linux && (amd64 || arm64)

package capture

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// handed is what acc analyze --connections --json says of who has a connection.
type handed struct {
	ID           uint64  `json:"id"`
	RPort        uint16  `json:"rport"`
	PID          uint32  `json:"pid"`
	Holders      *string `json:"holders"`
	HoldersKnown *bool   `json:"holders_known"`
	HandedOver   *bool   `json:"handed_over"`
}

// holderOf says who has what a process sees as a descriptor, as the kernel names it.
func holderOf(t *testing.T, pid int, fd, same int) string {
	t.Helper()
	a, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd))
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if same >= 0 && (unix.Fstat(same, &st) != nil || a != fmt.Sprintf("socket:[%d]", st.Ino)) {
		t.Fatalf("process %d has %s, not inode %d", pid, a, st.Ino)
	}
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s[%d]", strings.TrimSpace(string(comm)), pid)
}

// An accepted descriptor that is kept, inherited by a child, given to one that alone
// has it then, sent by SCM_RIGHTS or taken by pidfd_getfd is told of whom it is at the end.
func TestVMHandedOver(t *testing.T) {
	needVM(t)
	lfd, addr := listen(t, unix.AF_INET, 8)
	defer unix.Close(lfd)
	unix.CloseOnExec(lfd)
	want := map[uint16]string{} // who has each, by the client's port
	a := analyzeWhile(t, func(*recorder) {
		accept := func() (client, fd int, port uint16) {
			client = dial(t, unix.AF_INET, addr)
			fd, _, err := unix.Accept4(lfd, unix.SOCK_CLOEXEC)
			if err != nil {
				t.Fatal(err)
			}
			unix.CloseOnExec(client)
			return client, fd, portOf(t, client)
		}
		child := func(fd int) int { // which has fd as its descriptor 3
			file := os.NewFile(uintptr(fd), "")
			c := exec.Command("/bin/busybox", "sleep", "1000")
			c.ExtraFiles = []*os.File{file}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Process.Kill(); c.Wait(); file.Close() })
			return c.Process.Pid
		}
		kept, keptFD, port := accept()
		t.Cleanup(func() { unix.Close(kept); unix.Close(keptFD) })
		me := os.Getpid()
		want[port] = holderOf(t, me, keptFD, keptFD)

		shared, sharedFD, port := accept()
		t.Cleanup(func() { unix.Close(shared) })
		want[port] = holderOf(t, me, sharedFD, sharedFD) + ", " + holderOf(t, child(sharedFD), 3, sharedFD)

		given, givenFD, port := accept()
		t.Cleanup(func() { unix.Close(given) })
		dup, err := unix.FcntlInt(uintptr(givenFD), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		pid := child(dup)
		want[port] = holderOf(t, pid, 3, givenFD)
		unix.Close(givenFD)
		unix.Close(dup)

		sent, sentFD, port := accept()
		t.Cleanup(func() { unix.Close(sent) })
		want[port] = sendTo(t, sentFD)
		unix.Close(sentFD)

		taken, takenFD, port := accept()
		t.Cleanup(func() { unix.Close(taken) })
		want[port] = takenFrom(t, takenFD)
		unix.Close(takenFD)
	})
	out, err := exec.Command("/in/acc", "analyze", "--connections", "--json", a.path).Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		var c handed
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatal(err)
		}
		who, ours := want[c.RPort]
		if !ours {
			continue
		}
		delete(want, c.RPort)
		if c.HoldersKnown == nil || !*c.HoldersKnown {
			t.Errorf("holders are not known: %s", line)
			continue
		}
		me := fmt.Sprintf("[%d]", os.Getpid())
		only := strings.HasSuffix(who, me) && !strings.Contains(who, ",")
		if c.Holders == nil || c.HandedOver == nil || *c.Holders != who || *c.HandedOver == only || int(c.PID) != os.Getpid() {
			t.Errorf("want %s, got %s", who, line)
		}
		told, err := exec.Command("/in/acc", "analyze", "--connection", fmt.Sprint(c.ID), a.path).Output()
		verb := " has it open"
		if strings.Contains(who, ",") {
			verb = " have it open"
		}
		if err != nil || strings.Contains(string(told), "At the end "+who+verb) == only {
			t.Errorf("%s: %v\n%s", who, err, told)
		}
	}
	if len(want) > 0 {
		t.Errorf("not told: %v\n%s", want, out)
	}
}

// sendTo sends a descriptor by SCM_RIGHTS to another process, and says who has it then.
func sendTo(t *testing.T, fd int) string {
	t.Helper()
	c, pair, said := taker(t, "message")
	if err := unix.Sendmsg(pair, []byte{0}, unix.UnixRights(fd), nil, 0); err != nil {
		t.Fatal(err)
	}
	return taken(t, c, said, fd)
}

// takenFrom lets another process take a descriptor by pidfd_getfd, and says who has it then.
func takenFrom(t *testing.T, fd int) string {
	t.Helper()
	c, _, said := taker(t, fmt.Sprintf("%d %d", os.Getpid(), fd))
	return taken(t, c, said, fd)
}

// taker starts a process that takes a descriptor, and keeps it until a socket's other end is closed.
func taker(t *testing.T, how string) (c *exec.Cmd, pair int, said io.Reader) {
	t.Helper()
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	c = exec.Command(os.Args[0], "-test.run=^TestTakesDescriptor$", "-test.v")
	c.Env = append(os.Environ(), "ACC_TAKES_DESCRIPTOR="+how)
	c.ExtraFiles = []*os.File{os.NewFile(uintptr(ends[1]), "")}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(ends[0]); c.Process.Kill(); c.Wait(); c.ExtraFiles[0].Close() })
	return c, ends[0], out
}

// taken says who has a descriptor that a process says it took.
func taken(t *testing.T, c *exec.Cmd, said io.Reader, fd int) string {
	t.Helper()
	for lines := bufio.NewScanner(said); lines.Scan(); {
		var got int
		if n, _ := fmt.Sscanf(lines.Text(), "descriptor %d", &got); n == 1 {
			return holderOf(t, c.Process.Pid, got, fd)
		}
	}
	t.Fatal("no descriptor came")
	return ""
}

// TestTakesDescriptor is the process that taker starts.
func TestTakesDescriptor(t *testing.T) {
	how := os.Getenv("ACC_TAKES_DESCRIPTOR")
	if how == "" {
		t.Skip("it is for TestVMHandedOver")
	}
	var from, theirs, fd int
	if n, _ := fmt.Sscan(how, &from, &theirs); n == 2 {
		pidfd, err := unix.PidfdOpen(from, 0)
		if err != nil {
			t.Fatal(err)
		}
		if fd, err = unix.PidfdGetfd(pidfd, theirs, 0); err != nil {
			t.Fatal(err)
		}
	} else {
		fd = received(t)
	}
	fmt.Printf("\ndescriptor %d\n", fd)
	_, _ = unix.Read(3, make([]byte, 1)) // until the other end closes
}

// received takes a descriptor out of a message.
func received(t *testing.T) int {
	t.Helper()
	control := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(3, make([]byte, 1), control, 0)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil || len(messages) != 1 {
		t.Fatal(messages, err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		t.Fatal(fds, err)
	}
	return fds[0]
}
