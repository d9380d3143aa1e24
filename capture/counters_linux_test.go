package capture

import (
	"maps"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

// The kernel prints a group's names in one line and its values in the next; MPTCP's
// group comes twice on some kernels.
func TestParseCounters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "netstat")
	text := "Ip: Forwarding InErrs\nIp: 1 77\nTcp: RtoMin PassiveOpens InErrs\nTcp: 200 42 3\nTcpExt: ListenDrops Later\nTcpExt: 18446744073709551615 1\n" +
		"MPTcpExt: MPJoinAckRx\nMPTcpExt: 5\nMPTcpExt: MPJoinAckRx\nMPTcpExt: 5\nTcp: PassiveOpens\nshort\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got := parseCounters(nil, path, "Tcp", "TcpExt", "MPTcpExt")
	want := map[string]uint64{format.CounterPassiveOpens: 42, "TcpInErrs": 3, format.CounterDrops: 1<<64 - 1, format.CounterMPJoins: 5}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if parseCounters(nil, path+"x", "Tcp") != nil {
		t.Error("counters out of nothing")
	}
}

// What the kernel says of queues when it is asked is what /proc/net/tcp says.
func TestAskQueued(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	before, ok := askQueued(1)
	if !ok {
		t.Skip("the kernel can't be asked here")
	}
	for range 3 {
		c, err := net.Dial("tcp4", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	after, ok := askQueued(1)
	table, complete := queued("/proc/self")
	if !ok || !complete || after < before+3 || table < 3 {
		t.Errorf("%d, then %d waiting; /proc/net/tcp has %d", before, after, table)
	}
}

// A sandbox that forbids AF_NETLINK leaves the queues in /proc/net/tcp.
func TestCountersWithoutNetlink(t *testing.T) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // it ends with this goroutine, and the filter with it
		refuse := []unix.SockFilter{
			{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the call's number
			{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 3, K: unix.SYS_SOCKET},
			{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 16}, // its first argument
			{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.AF_NETLINK},
			{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EAFNOSUPPORT)},
			{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		}
		program := unix.SockFprog{Len: uint16(len(refuse)), Filter: &refuse[0]}
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			t.Error(err)
			return
		}
		if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0,
			uintptr(unsafe.Pointer(&program))); errno != 0 {
			t.Error(errno)
			return
		}
		if _, asked := askQueued(1); asked {
			t.Error("netlink is not refused")
		}
		ns := uint32(namespace("/proc/thread-self/ns/net"))
		for range 100 { // until nothing comes in meanwhile
			if c, ok := readCounters("/proc/thread-self", ns, true, true); !ok {
				t.Errorf("%+v", c)
			} else if c.QueuedKnown {
				return
			}
		}
		t.Error("the queues are not known")
	}()
	<-done
}
