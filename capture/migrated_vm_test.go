//go:build linux && (amd64 || arm64)

package capture

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

// synOnly drops all packets of a listener but SYNs.
var synOnly = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 13}, // flags
	{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: 2, Jf: 1},
	{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 16},
	{Code: unix.BPF_RET | unix.BPF_K},
}

// tcp_migrate_req moves what waits at a listener that is closed to another one of its address: what was in the
// queue, and what completes its handshake later. The kernel counts as many, and the other listener accepts them.
func TestVMMigrated(t *testing.T) {
	needVM(t)
	if _, err := os.Stat("/proc/sys/net/ipv4/tcp_migrate_req"); err != nil {
		t.Skip("Linux before 5.14 does not move connections")
	}
	l := &lifeTest{t: t}
	sysctl(t, "net.ipv4.tcp_migrate_req", "1")
	const n = 5
	causesOf := map[uint16][]format.Cause{} // by the client's port
	var to uint64                           // inode number
	moved, again := 0, uint16(0)            // again: the port of the client whose SYN-ACK is sent twice
	share := func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }
	a := analyzeWhile(t, func(*recorder) {
		old := l.serve(unix.AF_INET, 0, 64, share)
		for range n {
			c := l.client(unix.AF_INET)
			defer unix.Close(c)
			l.try(unix.Connect(c, old.addr))
			causesOf[portOf(t, c)] = []format.Cause{format.CauseHandshake, format.CauseMoved}
		}
		deaf := l.begin(true, old.addr) // its handshake is moved when the SYN-ACK is sent again
		defer unix.Close(deaf)
		again = portOf(t, deaf)
		causesOf[portOf(t, deaf)] = []format.Cause{format.CauseHandshake}
		l.filter(old.fd, synOnly)
		talks := l.client(unix.AF_INET) // its handshake is moved when the next packet comes
		defer unix.Close(talks)
		l.try(unix.Connect(talks, old.addr))
		causesOf[portOf(t, talks)] = []format.Cause{format.CauseMovedHandshake}
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		l.try(errors.Join(err, share(fd), unix.Bind(fd, old.addr), unix.Listen(fd, 64)))
		defer unix.Close(fd)
		var st unix.Stat_t
		l.try(unix.Fstat(fd, &st))
		to = st.Ino
		before := tcpExt(t, "TCPMigrateReqSuccess")
		l.try(unix.Close(old.fd))
		_, err = unix.Write(talks, []byte("x"))
		l.try(errors.Join(err, unix.SetsockoptInt(deaf, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)))
		for range causesOf {
			c, _, err := unix.Accept4(fd, 0)
			l.try(err)
			defer unix.Close(c)
		}
		moved = tcpExt(t, "TCPMigrateReqSuccess") - before
	})
	if moved != len(causesOf) {
		t.Fatalf("the kernel moved %d of %d", moved, len(causesOf))
	}
	of, r := causes(t, a.path)
	for port, want := range causesOf {
		if !slices.Equal(of[port], want) {
			t.Errorf("causes of %d are %v, want %v", port, of[port], want)
		}
		says := []string{"stops; the kernel moves it to the queue of socket", "(tcp_migrate_req)", "Accepted by"}
		switch want[0] {
		case format.CauseHandshake:
			if len(want) == 1 { // as of any other
				says = []string{"Accepted by"}
			}
		case format.CauseMovedHandshake:
			says = []string{"queued at another listener than it began with, which stopped (tcp_migrate_req)", "Accepted by"}
		}
		saysAll(t, story(t, a.path, port), says...)
	}
	for _, e := range r.events {
		if e.Accepted() && e.Listener != to {
			t.Errorf("accepted from %d, not %d: %+v", e.Listener, to, e)
		}
		// The kernel's own round-trip time would be that of the second SYN-ACK.
		if e.Kind == format.Queued && e.RPort == again && e.HandshakeUS < 500_000 {
			t.Errorf("a handshake took %d µs since the first SYN-ACK, which is sent again after a second", e.HandshakeUS)
		}
	}
	out, err := exec.Command("/in/acc", "analyze", a.path).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text := strings.Join(strings.Fields(string(out)), " ")
	saysAll(t, text, "7 connections: 7 queued, 7 accepted", "the kernel counted the same: 7 TCP connections", "with 5 connections in its accept queue",
		"the kernel moved 1 client more than recorded from a listener that stopped")
	if strings.Contains(text, "client-lost") {
		t.Errorf("it says what is not so:\n%s", out)
	}
}
