//go:build linux && (amd64 || arm64)

package capture

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

// What a security module refuses is recorded as what the program gets, with the
// listener; the connection stays queued.
func TestVMPolicy(t *testing.T) {
	needVM(t)
	if b, _ := os.ReadFile("/sys/kernel/security/lsm"); !strings.Contains(string(b), "bpf") {
		t.Fatalf("the machine was not booted with the bpf security module: %q", b)
	}
	for _, mode := range modes(t) {
		for name, errno := range map[string]unix.Errno{"EPERM of a security module": unix.EPERM, "ECONNABORTED": unix.ECONNABORTED} {
			t.Run(string(mode)+"/"+name, func(t *testing.T) {
				defer func() {
					tell(t, mode, name, map[bool]string{true: "WRONG", false: "seen"}[t.Failed()], "")
				}()
				testPolicy(t, mode, errno)
			})
		}
	}
}

// testPolicy: no protocol here gives ECONNABORTED, but a policy can.
func testPolicy(t *testing.T, mode Mode, errno unix.Errno) {
	lfd, addr := listen(t, unix.AF_INET, 4)
	defer unix.Close(lfd)
	client := dial(t, unix.AF_INET, addr)
	defer unix.Close(client)
	r := recordWhile(t, Options{Mode: mode}, func() {
		policy := forbidAccept(t, errno)
		_, got := rawAccept4(lfd, 0, 0, 0)
		policy.Close()
		if got != errno {
			t.Errorf("accept gives %v", got)
		}
		fd, got := rawAccept4(lfd, 0, 0, 0)
		if got != 0 {
			t.Errorf("the connection did not stay queued: %v", got)
		}
		unix.Close(fd)
	})
	var st unix.Stat_t
	unix.Fstat(lfd, &st)
	var got []int32
	for _, e := range r.of(os.Getpid()) {
		if e.Kind == format.Return && e.Listener == st.Ino && e.Errno() != 512 {
			got = append(got, e.Errno())
		}
	}
	if len(got) != 2 || got[0] != int32(errno) || got[1] != 0 {
		t.Errorf("recorded %v, want %d and a success", got, errno)
	}
}

// forbidAccept attaches a policy by which accept gives this process an error.
func forbidAccept(t *testing.T, errno unix.Errno) link.Link {
	t.Helper()
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.LSM, AttachType: ebpf.AttachLSMMac, AttachTo: "socket_accept", License: "GPL",
		Instructions: asm.Instructions{
			asm.FnGetCurrentPidTgid.Call(),
			asm.RSh.Imm(asm.R0, 32),
			asm.Mov.Reg(asm.R1, asm.R0),
			asm.Mov.Imm(asm.R0, 0),
			asm.JNE.Imm(asm.R1, int32(os.Getpid()), "end"),
			asm.Mov.Imm(asm.R0, -int32(errno)),
			asm.Return().WithSymbol("end"),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer prog.Close()
	l, err := link.AttachLSM(link.LSMOptions{Program: prog})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Where a mode can't be had, that is said, and auto takes the other one.
func TestVMModes(t *testing.T) {
	needVM(t)
	if len(modes(t)) == 2 {
		t.Skip("this kernel has both modes")
	}
	_, err := Record(t.Context(), io.Discard, Options{Mode: ModeFentry, Duration: time.Millisecond})
	var env *EnvError
	if !errors.As(err, &env) || !strings.Contains(env.Cause, "fentry") || !strings.Contains(env.Hint, "kprobe") {
		t.Errorf("asked for fentry: %v", err)
	}
	r, err := Record(t.Context(), io.Discard, Options{Duration: time.Millisecond})
	if err != nil || r.Mode != ModeKprobe {
		t.Errorf("auto gives %s, %v", r.Mode, err)
	}
}
