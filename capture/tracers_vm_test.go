//go:build linux && (amd64 || arm64)

package capture

import (
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

// rawLinks counts the programs that are attached to raw tracepoints.
func rawLinks(t *testing.T) (n int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		n = 0
		var all link.Iterator
		for all.Next() {
			if info, err := all.Link.Info(); err == nil && info.Type == link.RawTracepointType {
				n++
			}
		}
		err := all.Err()
		all.Close()
		switch {
		case err == nil:
			return n
		case !errors.Is(err, unix.EAGAIN) || time.Now().After(deadline): // else one is being made
			t.Fatal(err)
		}
	}
}

// traceReturns attaches another program to the return of a function of the kernel.
func traceReturns(t *testing.T, function string) link.Link {
	t.Helper()
	return trace(t, ebpf.AttachTraceFExit, function, asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()})
}

// trace attaches a program to a function of the kernel.
func trace(t *testing.T, at ebpf.AttachType, function string, code asm.Instructions) link.Link {
	t.Helper()
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.Tracing, AttachType: at, AttachTo: function,
		License: "GPL", Instructions: code})
	if err != nil {
		t.Fatal(err)
	}
	defer prog.Close()
	l, err := link.AttachTracing(link.TracingOptions{Program: prog})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Another tracer comes to the functions in which calls wait, and goes again: the kernel then no longer
// runs the programs on the return of these calls. They are recorded all the same.
func TestVMTracerComes(t *testing.T) {
	needVM(t)
	const threads = 8
	for _, mode := range exactModes(t) {
		for _, function := range waitedIn {
			t.Run(string(mode)+" "+function, func(t *testing.T) {
				if mode == ModeKprobe && !slices.Contains(modes(t), ModeFentry) {
					t.Skip("there are no trampolines")
				}
				lfd, addr := listen(t, unix.AF_INET, threads)
				defer unix.Close(lfd)
				var asleep []*blockedAccept
				made := 0
				r := recordWhile(t, Options{Mode: mode}, func() {
					for range threads {
						asleep = append(asleep, blockIn(t, lfd))
					}
					watched := rawLinks(t)
					other := traceReturns(t, function)
					deadline := time.Now().Add(time.Minute)
					for mode == ModeFentry && rawLinks(t) == watched {
						time.Sleep(time.Millisecond)
						if time.Now().After(deadline) {
							t.Fatal("the recorder does not look at the ends of system calls")
						}
					}
					other.Close()
					made = netstat(t, "PassiveOpens")
					for range threads {
						defer unix.Close(dial(t, unix.AF_INET, addr))
					}
					for _, b := range asleep {
						<-b.done
						defer unix.Close(b.fd)
					}
					made = netstat(t, "PassiveOpens") - made
				})
				if made -= r.discarded(); made != threads {
					t.Errorf("the kernel counted %d connections", made)
				}
				took := map[uint32]format.Event{}
				for _, e := range r.of(os.Getpid()) {
					if e.Accepted() {
						took[e.TID] = e
					}
				}
				for _, b := range asleep {
					if e := took[b.tid]; b.errno != 0 || int(e.Ret) != b.fd || e.Inode != b.inode {
						t.Errorf("thread %d took socket %d as %d, the capture says %+v", b.tid, b.inode, b.fd, e)
					}
				}
				checkTotals(t, &r, 0)
			})
		}
	}
}
