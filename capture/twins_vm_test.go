//go:build linux && (amd64 || arm64)

package capture

import (
	"errors"
	"fmt"
	"math/bits"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

// Twins of the situations of TestVMCauses, TestVMRelisten, TestVMStops and TestVMSteered: of the same kind, with other
// details.

// accepts takes n connections, and closes them.
func (l *lifeTest) accepts(fd, n int) int {
	l.t.Helper()
	for range n {
		c, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
		l.try(errors.Join(err, unix.Close(c)))
	}
	return n
}

// connects makes n connections to a server, each of which stays open.
func (l *lifeTest) connects(s *server, n int) {
	l.t.Helper()
	for range n {
		c := l.client(unix.AF_INET)
		unix.CloseOnExec(c)
		l.t.Cleanup(func() { unix.Close(c) })
		l.try(unix.Connect(c, s.addr))
	}
}

// A client of a listener with TCP_DEFER_ACCEPT sends after the time for that ran out: it was queued without data.
func TestVMTwinDeferLate(t *testing.T) {
	needVM(t)
	l := &lifeTest{t: t}
	var port uint16
	a := analyzeWhile(t, func(*recorder) {
		s := l.serve(unix.AF_INET, 0, 8, func(fd int) error {
			return unix.SetsockoptInt(fd, unix.IPPROTO_TCP,
				unix.TCP_DEFER_ACCEPT, 1)
		})
		c := l.client(unix.AF_INET)
		l.try(unix.Connect(c, s.addr))
		port = portOf(t, c)
		fd, _, err := unix.Accept4(s.fd, 0) // once the time ran out
		l.try(err)
		_, err = unix.Write(c, []byte("late!"))
		l.try(err)
		if n, err := unix.Read(fd, make([]byte, 10)); n != 5 || err != nil {
			t.Errorf("read %d, %v", n, err)
		}
		l.try(errors.Join(unix.Close(c), unix.Close(fd), unix.Close(s.fd)))
	})
	of, _ := causes(t, a.path)
	if list := of[port]; len(list) != 1 || list[0] != format.CauseDeferRanOut {
		t.Errorf("causes are %v", list)
	}
	text := story(t, a.path, port)
	saysAll(t, text, "TCP_DEFER_ACCEPT ran out after", "no data had come")
	if strings.Contains(text, "its first data came") {
		t.Errorf("no data came before accept:\n%s", text)
	}
}

// A listener's limit is lowered below what waits in its queue: it is full from then on, and refuses.
func TestVMTwinLowered(t *testing.T) {
	needVM(t)
	l := &lifeTest{t: t}
	var addr string
	refused := 0
	a := analyzeWhile(t, func(*recorder) {
		s := l.serve(unix.AF_INET, 0, 64, nil)
		addr = addrPort(s.addr).String()
		l.connects(s, 8)
		l.try(unix.Listen(s.fd, 3))
		before := tcpExt(t, "ListenOverflows")
		c := l.begin(false, s.addr)
		l.until("nobody is refused", func() bool { return tcpExt(t, "ListenOverflows") > before })
		l.try(unix.Close(c))
		l.accepts(s.fd, 8)
		refused = tcpExt(t, "ListenOverflows") - before
		l.try(unix.Close(s.fd))
	})
	a.found(t, "queue-overflow", "", fmt.Sprintf("%s refused clients %d time", addr, refused))
	out, err := exec.Command("/in/acc", "analyze", a.path).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text := strings.Join(strings.Fields(string(out)), " ")
	saysAll(t, text, "the queue of "+addr+" had the limit 64 (", "), then 3 (", "(8, limit 3)")
	if strings.Contains(text, "8, limit 64") {
		t.Errorf("it was not full with that:\n%s", out)
	}
}

// TestVMTwinSharer shuts down the listener that it was given.
func TestVMTwinSharer(t *testing.T) {
	if os.Getenv("ACC_SHARER") == "" {
		t.Skip("part of TestVMTwinShutdown")
	}
	if err := unix.Shutdown(3, unix.SHUT_RD); err != nil {
		t.Error(err)
	}
}

// Another process that has the listener shuts it down, with clients in its queue.
func TestVMTwinShutdown(t *testing.T) {
	needVM(t)
	l := &lifeTest{t: t}
	var inode uint64
	pid := 0
	a := analyzeWhile(t, func(*recorder) {
		s := l.serve(unix.AF_INET, 0, 64, nil)
		inode = s.inode
		l.connects(s, 3)
		l.accepts(s.fd, 1)
		cmd := exec.Command("/in/capture.test", "-test.run", "^TestVMTwinSharer$")
		cmd.Env = append(os.Environ(), "ACC_SHARER=1")
		dup, err := unix.Dup(s.fd)
		l.try(err)
		cmd.ExtraFiles = []*os.File{os.NewFile(uintptr(dup), "")}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		l.try(cmd.ExtraFiles[0].Close())
		pid = cmd.Process.Pid
		if _, _, err := unix.Accept4(s.fd, 0); err != unix.EINVAL {
			t.Errorf("accept: %v", err)
		}
		l.try(unix.Close(s.fd))
	})
	stopsSaid(t, a.path, func(ino uint64) (string, int, bool) {
		return format.CauseListenerShut.String(), pid,
			ino == inode
	}, 1)
	a.found(t, "client-lost", "", "2")
	text := fmt.Sprint(a.Findings)
	if !strings.Contains(text, "shut down") || !strings.Contains(text, fmt.Sprintf("[%d]", pid)) {
		t.Errorf("that process %d shut it down is not said: %s", pid, text)
	}
}

// net.ipv4.tcp_abort_on_overflow is switched on while a client is refused: at first it hears nothing, then a reset.
func TestVMTwinAbort(t *testing.T) {
	needVM(t)
	l := &lifeTest{t: t}
	var port uint16
	a := analyzeWhile(t, func(*recorder) {
		sysctl(t, "net.ipv4.tcp_abort_on_overflow", "0")
		s := l.serve(unix.AF_INET, 0, 1, nil)
		late := l.begin(true, s.addr)
		l.connects(s, 2)
		before := tcpExt(t, "ListenOverflows")
		l.try(unix.SetsockoptInt(late, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0))
		l.until("its last ACK is not refused", func() bool { return tcpExt(t, "ListenOverflows") > before })
		port = portOf(t, late)
		sysctl(t, "net.ipv4.tcp_abort_on_overflow", "1")
		l.until("the client is not reset", func() bool {
			errno, err := unix.GetsockoptInt(late, unix.SOL_SOCKET, unix.SO_ERROR)
			return err != nil || errno == int(unix.ECONNRESET)
		})
		l.try(errors.Join(unix.Close(late), unix.Close(s.fd)))
	})
	of, _ := causes(t, a.path)
	list := of[port]
	if len(list) < 2 || list[0] != format.CauseAcceptQueueFull || list[len(list)-1] != format.CauseAborted {
		t.Errorf("causes are %v", list)
	}
	saysAll(t, story(t, a.path, port), "the client believes that it is connected", "answered with a reset",
		"the client was reset because")
}

// assign has SYNs to a port go to a listener, by a program at the ingress of the loopback.
func assign(t *testing.T, listener, port int) {
	t.Helper()
	sockets, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.SockMap, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sockets.Close() })
	if err := sockets.Put(uint32(0), uint64(listener)); err != nil {
		t.Fatal(err)
	}
	const data, dataEnd = 76, 80                        // of struct __sk_buff
	const protocol, toPort, flags, end = 23, 36, 47, 54 // of an Ethernet frame with IPv4 and TCP, without options
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R2, asm.R6, data, asm.Word),
		asm.LoadMem(asm.R3, asm.R6, dataEnd, asm.Word),
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, end),
		asm.JGT.Reg(asm.R4, asm.R3, "pass"),
		asm.LoadMem(asm.R5, asm.R2, protocol, asm.Byte),
		asm.JNE.Imm(asm.R5, unix.IPPROTO_TCP, "pass"),
		asm.LoadMem(asm.R5, asm.R2, toPort, asm.Half),
		asm.JNE.Imm(asm.R5, int32(bits.ReverseBytes16(uint16(port))), "pass"),
		asm.LoadMem(asm.R5, asm.R2, flags, asm.Byte),
		asm.And.Imm(asm.R5, 0x12),
		asm.JNE.Imm(asm.R5, 0x02, "pass"), // a SYN that is no answer
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
		asm.Mov.Imm(asm.R0, -1).WithSymbol("pass"), // TCX_NEXT
		asm.Return(),
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	at, err := link.AttachTCX(link.TCXOptions{Program: p, Attach: ebpf.AttachTCXIngress, Interface: 1})
	if errors.Is(err, ebpf.ErrNotSupported) {
		t.Skipf("no TCX before Linux 6.6: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { at.Close() })
}

// bpf_sk_assign steers connections to a listener of another port: all end, and it is said where they went.
func TestVMTwinAssign(t *testing.T) {
	needVM(t)
	l := &lifeTest{t: t}
	const to = 7555
	s := l.serve(unix.AF_INET, 0, 8, nil)
	unix.CloseOnExec(s.fd)
	assign(t, s.fd, to)
	var ports []uint16
	a := analyzeWhile(t, func(*recorder) {
		for range 4 {
			c := l.client(unix.AF_INET)
			l.try(unix.Connect(c, &unix.SockaddrInet4{Port: to, Addr: [4]byte{127, 0, 0, 1}}))
			fd, _, err := unix.Accept4(s.fd, unix.SOCK_CLOEXEC)
			l.try(err)
			if p := portOf(t, fd); p != to {
				t.Errorf("accepted at port %d", p)
			}
			ports = append(ports, portOf(t, c))
			l.try(unix.Close(fd))
			l.untilEnd(c)
			l.try(unix.Close(c))
		}
		l.until("connections do not end", func() bool { return !alive(t, to, to) })
		l.try(unix.Close(s.fd))
	})
	out, err := exec.Command("/in/acc", "analyze", a.path).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	saysAll(t, string(out), "4 connections: 4 queued, 4 accepted, 4 closed")
	saysAll(t, story(t, a.path, ports[0]), fmt.Sprintf(
		"The client connected to port %d, and the listener is on port %d: the kernel steered", to,
		addrPort(s.addr).Port()))
}
