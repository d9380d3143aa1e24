package capture

import (
	"net"
	"os"
	"os/exec"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

// A connection that a child has open, too, has both as holders; what nobody has open has none.
func TestFindHolders(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Skip(err)
	}
	defer l.Close()
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	child := exec.Command("sleep", "1000")
	child.ExtraFiles = []*os.File{file}
	if err := child.Start(); err != nil {
		t.Skip(err)
	}
	defer func() { child.Process.Kill(); child.Wait() }()
	list := []format.Connection{{Inode: st.Ino}, {Inode: 1}, {}}
	findHolders(&format.Snapshot{Connections: list}, func() bool { return false })
	ls := []format.ListenSocket{{Listener: st.Ino, Backlog: 1}, {Listener: st.Ino}}
	findHolders(&format.Snapshot{Listeners: ls}, func() bool { return false })
	if len(ls[0].Holders) != 2 || !ls[0].HoldersKnown || ls[1].Holders != nil || ls[1].HoldersKnown {
		t.Errorf("a listener with a client, and one without: %+v", ls)
	}
	var pids []int
	for _, h := range list[0].Holders {
		pids = append(pids, int(h.PID))
		if h.Comm == "" {
			t.Errorf("process %d has no name", h.PID)
		}
	}
	slices.Sort(pids)
	want := []int{os.Getpid(), child.Process.Pid}
	slices.Sort(want)
	if !slices.Equal(pids, want) || list[0].MoreHolders != 0 || list[1].Holders != nil || list[2].Holders != nil || list[2].HoldersKnown {
		t.Errorf("holders %v, want %v: %+v", pids, want, list)
	}
	late := []format.Connection{{Inode: st.Ino}}
	findHolders(&format.Snapshot{Connections: late}, func() bool { return true })
	if late[0].HoldersKnown || late[0].Holders != nil {
		t.Errorf("it gave up, and says %+v", late[0])
	}
}
