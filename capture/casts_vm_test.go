//go:build linux && (amd64 || arm64)

package capture

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/acc-project/acc/format"
)

// Kernels with bpf_rdonly_cast take programs that use it. Without it recording works, too, but costs more, which no
// other test sees.
func TestVMCasts(t *testing.T) {
	needVM(t)
	symbols, err := os.ReadFile("/proc/kallsyms")
	if err != nil {
		t.Fatal(err)
	}
	a, err := startProbes(&Options{Mode: ModeKprobe, Events: EventsAccept})
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	var set uint32
	if v := a.collection.Variables["with_casts"]; v == nil {
		t.Log("the programs for the oldest kernels")
	} else if err := v.Get(&set); err != nil {
		t.Fatal(err)
	}
	if has := bytes.Contains(symbols, []byte(" bpf_rdonly_cast\n")); has != (set == 1) {
		t.Errorf("the kernel has bpf_rdonly_cast: %t; the programs use it: %d", has, set)
	}
}

// A kernel that has bpf_rdonly_cast, but interprets programs, takes none that use it: those without it record the same.
func TestVMCastsInterpreted(t *testing.T) {
	needVM(t)
	if !torture() {
		t.Skip("takes no part in judging acc: make torture-vm")
	}
	const compile = "/proc/sys/net/core/bpf_jit_enable"
	was, err := os.ReadFile(compile)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(compile, []byte("0"), 0); err != nil {
		t.Skip("this kernel compiles all programs: ", err)
	}
	defer func() { _ = os.WriteFile(compile, was, 0) }()
	if !hasCasts(btf.NewCache()) {
		t.Skip("this kernel has no bpf_rdonly_cast")
	}
	if a, err := startProbes(&Options{Mode: ModeKprobe, Events: EventsAccept}); err != nil {
		t.Error(err)
	} else {
		if a.casts || a.collection.Variables["with_casts"] == nil || a.note != "" {
			t.Errorf("an interpreted program casts (%t), or is not that for newer kernels: %s", a.casts, a.note)
		}
		a.close()
	}
	acceptRecorded(t, ModeKprobe)
}

// acceptRecorded accepts, and checks that it is recorded who came, and where.
func acceptRecorded(t *testing.T, mode Mode) recording {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	listener := listensAt(t, l)
	clients := map[string]bool{}
	r := recordWhile(t, Options{Mode: mode, Events: EventsAccept}, func() {
		for range 3 { // the listener of the second is known
			c, err := net.Dial("tcp4", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			clients[c.LocalAddr().String()] = true
			s, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			s.Close()
			c.Close()
		}
	})
	for _, e := range r.of(os.Getpid()) {
		if e.Listener != listener {
			t.Errorf("kind %d: listener %d, not %d", e.Kind, e.Listener, listener)
		}
		if e.Kind != format.Return || e.Ret < 0 {
			continue
		}
		client := netip.AddrPortFrom(e.RAddr, e.RPort).String()
		if !clients[client] {
			t.Errorf("client %s, not one of %v", client, clients)
		}
		delete(clients, client)
	}
	if len(clients) > 0 {
		t.Errorf("not recorded: %v", clients)
	}
	return r
}
