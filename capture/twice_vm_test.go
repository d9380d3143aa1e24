//go:build linux && (amd64 || arm64)

package capture

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// slowDown makes a function of the kernel take some tenths of a second for the socket whose peer has a port.
func slowDown(t *testing.T, function string, port uint16) link.Link {
	t.Helper()
	const size = 4 << 20
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: size, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	const dport = 12 // of struct sock_common
	code := asm.Instructions{
		asm.LoadMem(asm.R1, asm.R1, 0, asm.DWord), // the first argument
		asm.LoadMem(asm.R1, asm.R1, dport, asm.Half),
		asm.JNE.Imm(asm.R1, int32(port<<8|port>>8), "end"),
		asm.StoreImm(asm.RFP, -4, 0, asm.Word),
		asm.LoadMapPtr(asm.R1, m.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "end"),
		asm.Mov.Reg(asm.R6, asm.R0),
	}
	for range 300 {
		code = append(code,
			asm.Mov.Reg(asm.R1, asm.R6), asm.Mov.Imm(asm.R2, size), asm.Mov.Reg(asm.R3, asm.R6),
			asm.FnProbeReadKernel.Call())
	}
	code = append(code, asm.Mov.Imm(asm.R0, 0).WithSymbol("end"), asm.Return())
	return trace(t, ebpf.AttachTraceFEntry, function, code)
}

// preempt has the kernel preempt its own code at any place, where it can be asked to, for the rest of the test.
func preempt(t *testing.T) {
	t.Helper()
	const file = "/sys/kernel/debug/sched/preempt" // "none (voluntary) full"
	_ = unix.Mount("none", "/sys/kernel/debug", "debugfs", 0, "")
	list, err := os.ReadFile(file)
	if err != nil {
		t.Logf("it stays as it is: %v", err)
		return
	}
	if err := os.WriteFile(file, []byte("full"), 0); err != nil {
		t.Fatal(err)
	}
	_, before, _ := strings.Cut(string(list), "(")
	before, _, _ = strings.Cut(before, ")")
	t.Cleanup(func() { _ = os.WriteFile(file, []byte(before), 0) })
}

// A reset comes while a program is in write(), whose own thread then ends the connection. There a packet interrupts it that
// ends another one. Each ends once.
func TestVMTwice(t *testing.T) {
	needVM(t)
	preempt(t)
	const rps = "/sys/class/net/lo/queues/rx-0/rps_cpus"
	if err := os.WriteFile(rps, []byte("1"), 0); err != nil { // packets are processed on the first CPU
		t.Fatal(err)
	}
	defer func() { _ = os.WriteFile(rps, []byte("0"), 0) }()
	on := func(cpu int) {
		runtime.LockOSThread() // the thread ends with its goroutine
		var set unix.CPUSet
		set.Set(cpu)
		if err := unix.SchedSetaffinity(0, &set); err != nil {
			t.Error(err)
		}
	}
	reset := func(fd int) {
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		unix.Close(fd)
	}
	pairs, between := 0, 0 // b was reset while a ended
	r := recordWhile(t, Options{}, func() {
		lfd, addr := listen(t, unix.AF_INET, 8)
		defer unix.Close(lfd)
		connect := func() (client, server int) {
			client = dial(t, unix.AF_INET, addr)
			server, _, err := unix.Accept4(lfd, unix.SOCK_CLOEXEC)
			if err != nil {
				t.Fatal(err)
			}
			return client, server
		}
		took := 500 * time.Millisecond
		for ; pairs < 10 && between < 3; pairs++ {
			a, aServer := connect()
			b, bServer := connect()
			peer, err := unix.Getsockname(a)
			if err != nil {
				t.Fatal(err)
			}
			write := slowDown(t, "tcp_sendmsg_locked", addrPort(peer).Port())
			end := slowDown(t, "inet_unhash", addrPort(peer).Port()) // which tcp_done calls before the state changes
			begun, written, gone := make(chan bool), make(chan time.Time), make(chan time.Time)
			go func() {
				on(0)
				close(begun)
				_, _ = unix.Write(aServer, []byte("x"))
				written <- time.Now()
			}()
			<-begun
			from := time.Now()
			go func() {
				on(1)
				time.Sleep(took / 8)
				reset(a)
				time.Sleep(took * 5 / 8)
				at := time.Now()
				reset(b)
				gone <- at
			}()
			done, at := <-written, <-gone
			if took = done.Sub(from); at.Before(done) && at.After(from.Add(took/2)) {
				between++
			}
			for _, fd := range []int{aServer, bServer} {
				unix.Close(fd)
			}
			write.Close()
			end.Close()
		}
	})
	ends := map[[2]uint16]int{}
	for i := range r.events {
		if e := &r.events[i]; isEnd(e) {
			if ends[[2]uint16{e.LPort, e.RPort}]++; ends[[2]uint16{e.LPort, e.RPort}] == 2 {
				t.Errorf("it ended twice: %+v", e)
			}
		}
	}
	t.Logf("%d of %d at the right time, %d ended", between, pairs, len(ends))
	if len(ends) != 2*pairs {
		t.Errorf("%d of %d connections ended", len(ends), 2*pairs)
	}
	if between == 0 {
		t.Skip("no connection was reset while another one ended: this machine is too busy")
	}
}
