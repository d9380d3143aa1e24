//go:build linux && (amd64 || arm64)

package capture

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

// causes are the causes of events that queued or dropped connections, by the client's port.
func causes(t *testing.T, path string) (of map[uint16][]format.Cause, r recording) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r.read(t, bytes.NewReader(b))
	of = map[uint16][]format.Cause{}
	for _, e := range r.events {
		if e.Kind == format.Queued || e.Kind == format.Drop {
			of[e.RPort] = append(of[e.RPort], e.Cause)
		}
	}
	return of, r
}

// story is what acc says of the connection of a client's port.
func story(t *testing.T, path string, port uint16) string {
	t.Helper()
	out, err := exec.Command("/in/acc", "analyze", "--connection", fmt.Sprintf("127.0.0.1:%d", port), path).CombinedOutput()
	if err != nil {
		t.Errorf("analyze --connection %d: %v", port, err)
	}
	return string(out)
}

// explained is what acc explain says of the event of a kind and a client's port.
func (r *recording) explained(t *testing.T, path string, kind format.Kind, port uint16) string {
	t.Helper()
	for _, e := range r.events {
		if e.Kind == kind && e.RPort == port {
			out, err := exec.Command("/in/acc", "explain", fmt.Sprint(e.Seq), path).CombinedOutput()
			if err != nil {
				t.Errorf("explain %d: %v", e.Seq, err)
			}
			return string(out)
		}
	}
	t.Errorf("no %s of port %d", kind, port)
	return ""
}

func saysAll(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("it does not say %q:\n%s", part, text)
		}
	}
}

// begin begins to connect from a client that hears nothing until it is undeafened.
func (l *lifeTest) begin(deaf bool, to unix.Sockaddr) int {
	l.t.Helper()
	c := l.client(unix.AF_INET)
	if deaf {
		l.filter(c, dropAll)
	}
	l.try(unix.SetNonblock(c, true))
	if err := unix.Connect(c, to); err != unix.EINPROGRESS {
		l.t.Fatalf("connect: %v", err)
	}
	return c
}

// Each way into the queue, and out of it without accept, is told apart by its cause. Clients and
// kernel counters say which it was.
func TestVMCauses(t *testing.T) {
	needVM(t)
	l := &lifeTest{t: t}
	type way struct {
		what  string
		port  uint16
		cause format.Cause
		says  []string
	}
	var ways []way
	is := func(what string, c int, cause format.Cause, says ...string) {
		ways = append(ways, way{what, portOf(t, c), cause, says})
	}
	a := analyzeWhile(t, func(*recorder) {
		// TCP_DEFER_ACCEPT: the client of each way is accepted in its turn.
		s := l.serve(unix.AF_INET, 0, 8, func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 1) })
		silent, talks, closes := l.client(unix.AF_INET), l.client(unix.AF_INET), l.client(unix.AF_INET)
		for _, c := range []int{silent, talks, closes} {
			l.try(unix.Connect(c, s.addr))
		}
		t.Cleanup(func() { unix.Close(silent); unix.Close(talks) }) // other tests wait for all connections to end
		is("deferred, sends", talks, format.CauseDeferData, "its first data came")
		is("deferred, closes", closes, format.CauseDeferClosed, "sent FIN without data")
		is("deferred, silent", silent, format.CauseDeferRanOut, "TCP_DEFER_ACCEPT ran out after", "no data had come")
		_, err := unix.Write(talks, []byte("x"))
		l.try(errors.Join(err, unix.Close(closes)))
		for range 3 {
			fd, _, err := unix.Accept4(s.fd, 0)
			l.try(err)
			unix.Close(fd)
		}
		unix.Close(s.fd)

		sysctl(t, "net.ipv4.tcp_syncookies", "2")
		s = l.serve(unix.AF_INET, 0, 8, nil)
		c := l.client(unix.AF_INET)
		sent := tcpExt(t, "SyncookiesRecv")
		l.try(unix.Connect(c, s.addr))
		is("cookie always", c, format.CauseCookieAlways, "tcp_syncookies is 2: always")
		l.until("no cookie came", func() bool { return tcpExt(t, "SyncookiesRecv") > sent })
		unix.Close(s.fd)
		sysctl(t, "net.ipv4.tcp_syncookies", "1")

		s = l.serve(unix.AF_INET, 0, 1, nil) // a SYN queue of one or two
		sent = tcpExt(t, "SyncookiesSent")
		for range 3 {
			defer unix.Close(l.begin(true, s.addr))
		}
		c = l.client(unix.AF_INET)
		l.try(unix.Connect(c, s.addr))
		if tcpExt(t, "SyncookiesSent") == sent {
			t.Error("the kernel sent no cookie for a full SYN queue")
		}
		is("cookie, full", c, format.CauseCookieFull, "sent when the SYN queue is full")
		unix.Close(s.fd)

		sysctl(t, "net.ipv4.tcp_fastopen", "1543")
		s = l.serve(unix.AF_INET, 0, 8, func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_FASTOPEN, 5) })
		c = l.client(unix.AF_INET)
		l.filter(c, dropAll) // it never completes its handshake
		l.try(unix.SetNonblock(c, true))
		if err := unix.Sendto(c, []byte("GET"), unix.MSG_FASTOPEN, s.addr); err != nil && err != unix.EINPROGRESS {
			t.Fatal(err)
		}
		is("fast open", c, format.CauseFastOpen, "queued at its SYN (TCP fast open)")
		fd, _, err := unix.Accept4(s.fd, 0)
		l.try(err)
		unix.Close(fd)
		unix.Close(s.fd)

		for _, abort := range []string{"0", "1"} {
			sysctl(t, "net.ipv4.tcp_abort_on_overflow", abort)
			s = l.serve(unix.AF_INET, 0, 1, nil)
			late := l.begin(true, s.addr)
			for range 2 {
				c := l.client(unix.AF_INET)
				defer unix.Close(c)
				l.try(unix.Connect(c, s.addr))
			}
			before := tcpExt(t, "ListenOverflows")
			l.try(unix.SetsockoptInt(late, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0))
			l.until("its last ACK is not refused", func() bool { return tcpExt(t, "ListenOverflows") > before })
			if abort == "0" {
				is("last ACK dropped", late, format.CauseAcceptQueueFull, "the client believes that it is connected")
			} else {
				is("last ACK aborted", late, format.CauseAborted, "answered with a reset", "the client was reset because")
				l.until("the client is not reset", func() bool {
					errno, err := unix.GetsockoptInt(late, unix.SOL_SOCKET, unix.SO_ERROR)
					return err != nil || errno == int(unix.ECONNRESET)
				})
			}
			defer unix.Close(late)
			unix.Close(s.fd)
		}

		s = l.serve(unix.AF_INET, 0, 8, nil)
		c = l.client(unix.AF_INET)
		l.try(errors.Join(unix.Connect(c, s.addr), unix.Close(s.fd)))
		is("closed", c, format.CauseListenerClosed, "its listener was closed")
		s = l.serve(unix.AF_INET, 0, 8, nil)
		c = l.client(unix.AF_INET)
		l.try(errors.Join(unix.Connect(c, s.addr), unix.Shutdown(s.fd, unix.SHUT_RD)))
		is("shut down", c, format.CauseListenerShut, "its listener was shut down")
		unix.Close(s.fd)
	})
	of, r := causes(t, a.path)
	for _, l := range r.header.Limits {
		t.Logf("limit: %s", l)
	}
	for _, w := range ways {
		list := of[w.port]
		if len(list) == 0 || (list[0] != w.cause && list[len(list)-1] != w.cause) {
			t.Errorf("%s: causes are %v, not %v", w.what, list, w.cause)
			continue
		}
		saysAll(t, story(t, a.path, w.port), w.says...)
		kind := format.Queued
		if w.cause >= format.CauseAcceptQueueFull {
			kind = format.Drop
		}
		text := r.explained(t, a.path, kind, w.port)
		if w.cause == format.CauseFastOpen && strings.Contains(text, "has completed its handshake") {
			t.Errorf("%s: %s", w.what, text)
		}
	}
}

// listen() again sets another limit, shutdown() stops a listener whose socket lives on: a length of the queue
// stands with the limit of its moment.
func TestVMRelisten(t *testing.T) {
	needVM(t)
	l := &lifeTest{t: t}
	var addr string
	overflows := tcpExt(t, "ListenOverflows")
	a := analyzeWhile(t, func(*recorder) {
		s := l.client(unix.AF_INET)
		at := &unix.SockaddrInet4{Port: 7118, Addr: [4]byte{127, 0, 0, 1}} // a port that is chosen is kept at shutdown
		l.try(errors.Join(unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), unix.Bind(s, at), unix.Listen(s, 2)))
		addr = addrPort(at).String()
		connect := func(n int) {
			for range n {
				c := l.client(unix.AF_INET)
				t.Cleanup(func() { unix.Close(c) })
				l.try(unix.Connect(c, at))
			}
		}
		connect(3) // as many as there is room for
		time.Sleep(20 * time.Millisecond)
		l.try(unix.Listen(s, 64))
		time.Sleep(20 * time.Millisecond)
		connect(10)
		for range 5 {
			fd, _, err := unix.Accept4(s, 0)
			l.try(err)
			unix.Close(fd)
		}
		l.try(unix.Shutdown(s, unix.SHUT_RD))
		if _, _, err := unix.Accept4(s, 0); err != unix.EINVAL {
			t.Errorf("accept after shutdown: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
		l.try(unix.Listen(s, 8))
		connect(1)
		fd, _, err := unix.Accept4(s, 0)
		l.try(err)
		unix.Close(fd)
		unix.Close(s)
	})
	if n := tcpExt(t, "ListenOverflows"); n != overflows {
		t.Errorf("the kernel refused %d", n-overflows)
	}
	_, r := causes(t, a.path)
	var limits []uint32
	again := 0
	for _, e := range r.events {
		if e.Kind == format.Listen && e.Local().String() == addr {
			limits = append(limits, e.BacklogMax)
			if e.Hook == format.HookInetListen {
				again++
			}
		}
	}
	if fmt.Sprint(limits) != "[2 64 8]" || again != 1 {
		t.Errorf("listen events have the limits %v, %d again", limits, again)
	}
	out, err := exec.Command("/in/acc", "analyze", a.path).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text := strings.Join(strings.Fields(string(out)), " ")
	saysAll(t, text, "13 of 64, FULL 3 of 2", "the queue of "+addr+" had the limit 2 (", "), then 64 (", "), then 8 (",
		"was full (3, limit 2)",
		"8 clients were in the queue when the listener was shut down")
	if strings.Contains(text, "13 of 8") || strings.Contains(text, "13, limit") {
		t.Errorf("a length stands with another limit:\n%s", out)
	}
}

// steer has connections to the ports of a range go to a listener, as sk_lookup programs of public edges do.
func steer(t *testing.T, listener, from, to int) {
	t.Helper()
	if err := rlimit.RemoveMemlock(); err != nil {
		t.Fatal(err)
	}
	sockets, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.SockMap, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sockets.Close() })
	if err := sockets.Put(uint32(0), uint64(listener)); err != nil {
		t.Fatal(err)
	}
	const localPort = 60 // of struct bpf_sk_lookup
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SkLookup, AttachType: ebpf.AttachSkLookup, License: "GPL", Instructions: asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R2, asm.R6, localPort, asm.Word),
		asm.JGT.Imm(asm.R2, int32(to), "pass"),
		asm.JLT.Imm(asm.R2, int32(from), "pass"),
		asm.StoreImm(asm.RFP, -4, 0, asm.Word),
		asm.LoadMapPtr(asm.R1, sockets.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "pass"),
		asm.Mov.Reg(asm.R7, asm.R0),
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.Mov.Reg(asm.R2, asm.R0),
		asm.Mov.Imm(asm.R3, 0),
		asm.FnSkAssign.Call(),
		asm.Mov.Reg(asm.R1, asm.R7),
		asm.FnSkRelease.Call(),
		asm.Mov.Imm(asm.R0, 1).WithSymbol("pass"),
		asm.Return(),
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	ns, err := os.Open("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	at, err := link.AttachNetNs(int(ns.Fd()), p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { at.Close() })
}

// The end of each connection of a listener is recorded, whatever its local port, also of one that was there
// before; that of a client's own socket on a port that is listened on is not.
func TestVMSteered(t *testing.T) {
	needVM(t)
	for _, backlog := range []int{8, 0} {
		t.Run(fmt.Sprint(backlog), func(t *testing.T) { testSteered(t, backlog) })
	}
}

func testSteered(t *testing.T, backlog int) {
	l := &lifeTest{t: t}
	const from, to = 7990, 7995
	s := l.serve(unix.AF_INET, 0, backlog, nil)
	defer unix.Close(s.fd)
	steer(t, s.fd, from, to)
	want := map[uint16]uint16{} // local port by the client's
	open := func(port int) (c, fd int) {
		c = l.client(unix.AF_INET)
		l.try(unix.Connect(c, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}))
		fd, _, err := unix.Accept4(s.fd, 0)
		l.try(err)
		want[portOf(t, c)] = portOf(t, fd)
		return c, fd
	}
	own := int(addrPort(s.addr).Port())
	before, beforeFD := open(from)
	for _, fd := range []int{s.fd, before, beforeFD} {
		unix.CloseOnExec(fd) // else the recorder has them, too
	}
	if backlog == 0 { // there it is the port that tells
		delete(want, portOf(t, before))
	}
	other := l.serve(unix.AF_INET, 0, 8, nil)
	defer unix.Close(other.fd)
	idle := l.client(unix.AF_INET) // whose port, which connect() chose, is steered, too
	l.try(unix.Connect(idle, other.addr))
	idleFD, _, err := unix.Accept4(other.fd, unix.SOCK_CLOEXEC)
	l.try(err)
	unix.CloseOnExec(idle)
	want[portOf(t, idle)] = portOf(t, idleFD)
	chosen := int(portOf(t, idle))
	steer(t, s.fd, chosen, chosen)
	client := l.client(unix.AF_INET) // from a port that is listened on, at another address
	l.try(errors.Join(unix.SetsockoptInt(client, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), unix.Bind(client, &unix.SockaddrInet4{Port: own, Addr: [4]byte{127, 0, 0, 9}})))
	a := analyzeWhile(t, func(*recorder) {
		l.try(unix.Connect(client, other.addr))
		served, _, err := unix.Accept4(other.fd, 0)
		l.try(err)
		want[uint16(own)] = portOf(t, served)
		l.reset(served)
		_, err = unix.Read(client, make([]byte, 1))
		if err != unix.ECONNRESET {
			t.Errorf("read: %v", err)
		}
		unix.Close(client)
		unix.Close(before)
		unix.Close(beforeFD)
		for port := from + 1; port <= to; port++ {
			c, fd := open(port)
			unix.Close(fd)
			l.untilEnd(c)
			unix.Close(c)
		}
		for _, port := range []int{own, chosen} {
			c, fd := open(port)
			unix.Close(fd)
			l.untilEnd(c)
			unix.Close(c)
		}
		unix.Close(idleFD)
		l.untilEnd(idle)
		unix.Close(idle)
		l.until("connections do not end", func() bool { return !alive(t, from, to) })
	})
	_, r := causes(t, a.path)
	got := map[uint16]uint16{}
	for _, e := range r.events {
		if e.Kind == format.Closed {
			got[e.RPort] = e.LPort
		}
	}
	for c, port := range want {
		if got[c] != port {
			t.Errorf("the end of the connection of client port %d to %d is not recorded", c, port)
		}
	}
	out, err := exec.Command("/in/acc", "analyze", a.path).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if backlog > 0 {
		saysAll(t, string(out), fmt.Sprintf("%d connections: %d queued, %d accepted, %d closed", len(want), len(want)-2,
			len(want)-2, len(want)))
	}
	for _, word := range []string{"open at the end", "gone by the end"} {
		if bytes.Contains(out, []byte(word)) && backlog > 0 {
			t.Errorf("it says %q:\n%s", word, out)
		}
	}
}

// alive reports whether a connection has a local port of a range, in another state than TIME-WAIT.
func alive(t *testing.T, from, to int) bool {
	t.Helper()
	b, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if end, err := tcpEnd(f[1]); err == nil && int(end.Port()) >= from && int(end.Port()) <= to && f[3] != "06" {
			return true
		}
	}
	return false
}
