//go:build linux && (amd64 || arm64)

package capture

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

// rawAccept4 is the system call with any pointers.
func rawAccept4(fd int, addr, addrlen uintptr, flags int) (int, unix.Errno) {
	r, _, errno := unix.Syscall6(unix.SYS_ACCEPT4, uintptr(fd), addr, addrlen, uintptr(flags), 0, 0)
	return int(r), errno
}

// step is one accept call and what must come of it.
type step struct {
	name  string
	errno unix.Errno
	call  func() (int, unix.Errno)
}

// outcomes are calls whose result does not depend on time, made on one thread.
func outcomes(t *testing.T) []step {
	v4, addr4 := listen(t, unix.AF_INET, 16)
	v6, addr6 := listen(t, unix.AF_INET6, 16)
	un, addrUn := listen(t, unix.AF_UNIX, 16)
	empty, _ := listen(t, unix.AF_INET, 16)
	unix.SetNonblock(empty, true)
	udp, _ := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	closed, _ := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	sa := new(unix.RawSockaddrAny) // both are kept by the closures, on the heap
	size := new(uint32)
	*size = uint32(unsafe.Sizeof(*sa))
	queued := func(listener int) { // the end of the handshake can be on its way on another CPU yet
		unix.Poll([]unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}, 5000)
	}
	withClient := func(listener, family int, to unix.Sockaddr, call func() (int, unix.Errno)) func() (int, unix.Errno) {
		return func() (int, unix.Errno) {
			client := dial(t, family, to)
			defer unix.Close(client)
			queued(listener)
			return call()
		}
	}
	plain := func(fd, flags int) func() (int, unix.Errno) {
		return func() (int, unix.Errno) { return rawAccept4(fd, 0, 0, flags) }
	}
	return []step{
		{"ipv4", 0, withClient(v4, unix.AF_INET, addr4, plain(v4, 0))},
		{"ipv4 with address", 0, withClient(v4, unix.AF_INET, addr4, func() (int, unix.Errno) {
			return rawAccept4(v4, uintptr(unsafe.Pointer(sa)), uintptr(unsafe.Pointer(size)), unix.SOCK_NONBLOCK)
		})},
		{"accept", 0, withClient(v4, unix.AF_INET, addr4, func() (int, unix.Errno) {
			r, _, errno := unix.Syscall(unix.SYS_ACCEPT, uintptr(v4), 0, 0)
			return int(r), errno
		})},
		{"ipv6", 0, withClient(v6, unix.AF_INET6, addr6, plain(v6, unix.SOCK_CLOEXEC))},
		{"unix", 0, withClient(un, unix.AF_UNIX, addrUn, plain(un, 0))},
		{"empty", unix.EAGAIN, plain(empty, 0)},
		{"bad descriptor", unix.EBADF, plain(9999, 0)},
		{"file", unix.ENOTSOCK, plain(int(file.Fd()), 0)},
		{"udp", unix.EOPNOTSUPP, plain(udp, 0)},
		{"not listening", unix.EINVAL, plain(closed, 0)},
		{"bad flags", unix.EINVAL, plain(v4, 1)},
		{"out of descriptors", unix.EMFILE, withClient(v4, unix.AF_INET, addr4, func() (int, unix.Errno) {
			var was unix.Rlimit
			unix.Getrlimit(unix.RLIMIT_NOFILE, &was)
			defer unix.Setrlimit(unix.RLIMIT_NOFILE, &was)
			unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: was.Max})
			return rawAccept4(v4, 0, 0, 0)
		})},
		{"the connection that stayed", 0, plain(v4, 0)},
		{"bad address", unix.EFAULT, withClient(v4, unix.AF_INET, addr4, func() (int, unix.Errno) {
			return rawAccept4(v4, 8, uintptr(unsafe.Pointer(size)), 0)
		})},
		{"reset before accept", 0, func() (int, unix.Errno) {
			client := dial(t, unix.AF_INET, addr4)
			queued(v4)
			unix.SetsockoptLinger(client, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
			unix.Close(client)
			return rawAccept4(v4, 0, 0, 0)
		}},
	}
}

// Each outcome is recorded with its errno, in both modes alike.
func TestVMOutcomes(t *testing.T) {
	needVM(t)
	type seen struct {
		kind             format.Kind
		hook             format.Hook
		via              format.Via
		errno            int32
		ok, addr, length bool
		flags            uint32
		family           format.Family
		typ, state       uint8
		proto            uint16
		mark             uint16
		listener, inode  bool
		queue, max       uint32
		local, remote    string
		comm             string
	}
	var byMode [2][]seen
	var steps []step
	for m, mode := range modes(t) {
		runtime.LockOSThread()
		steps = outcomes(t)
		r := recordWhile(t, Options{Mode: mode}, func() {
			for _, s := range steps {
				fd, errno := s.call()
				if errno != s.errno {
					t.Errorf("%s: %v, want %v", s.name, errno, s.errno)
				}
				if errno == 0 {
					unix.Close(fd)
				}
			}
		})
		tid := uint32(unix.Gettid())
		runtime.UnlockOSThread()
		for _, e := range r.events {
			if e.TID != tid {
				continue
			}
			byMode[m] = append(byMode[m], seen{e.Kind, e.Hook, e.Via, e.Errno(), e.Accepted(), e.HasAddr, e.HasAddrLen, e.Flags, e.Family, e.Type, e.State,
				e.Proto, e.Mark, e.Listener != 0, e.Inode != 0, e.Backlog, e.BacklogMax, e.LAddr.String(), e.RAddr.String(), e.Comm})
		}
		checkTotals(t, &r, 0)
		if p := r.procs[r.of(os.Getpid())[0].Proc]; p.PID != uint32(os.Getpid()) || !strings.HasSuffix(p.Exe, "capture.test") || p.Late {
			t.Errorf("process record %+v", p)
		}
	}
	if len(modes(t)) == 1 {
		byMode[1] = byMode[0]
	}
	for i, s := range steps {
		if len(byMode[0]) != 2*len(steps) || len(byMode[1]) != 2*len(steps) {
			t.Fatalf("%d and %d events of %d calls", len(byMode[0]), len(byMode[1]), len(steps))
		}
		enter, ret := byMode[0][2*i], byMode[0][2*i+1]
		if enter.kind != format.Enter || ret.kind != format.Return || ret.errno != int32(s.errno) || ret.ok != (s.errno == 0) {
			t.Errorf("%s: %+v, %+v", s.name, enter, ret)
		}
		for k := range 2 {
			if a, b := byMode[0][2*i+k], byMode[1][2*i+k]; a != b {
				t.Errorf("%s: the modes differ:\nfentry %+v\nkprobe %+v", s.name, a, b)
			}
		}
	}
	ret := func(name string) seen {
		i := slices.IndexFunc(steps, func(s step) bool { return s.name == name })
		return byMode[0][2*i+1]
	}
	if e := ret("reset before accept"); e.state != 7 || e.remote != "127.0.0.1" {
		t.Errorf("a connection that was reset before accept: %+v", e)
	}
	if e := ret("out of descriptors"); !e.listener || e.queue != 1 {
		t.Errorf("EMFILE does not show the queue with the connection that stays in it: %+v", e)
	}
	if e := ret("accept"); e.via != format.ViaAccept {
		t.Errorf("accept came via %v", e.via)
	}
}

// childEnv makes the test binary a program that blocks in accept.
const childEnv = "ACC_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		fd, _ := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		unix.Listen(fd, 1)
		unix.Accept4(fd, 0)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A task that is killed in accept returns with ERESTARTSYS; one that is
// interrupted begins anew; one that still waits at the end is listed.
func TestVMSignals(t *testing.T) {
	needVM(t)
	for _, mode := range modes(t) {
		t.Run(string(mode), func(t *testing.T) {
			killed, waiting := exec.Command("/proc/self/exe"), exec.Command("/proc/self/exe")
			// The signal with which Go preempts its goroutines would interrupt accept.
			env := append(os.Environ(), childEnv+"=1", "GODEBUG=asyncpreemptoff=1")
			killed.Env, waiting.Env = env, env
			lfd, addr := listen(t, unix.AF_INET, 4)
			defer unix.Close(lfd)
			tid := make(chan int, 1)
			r := recordWhile(t, Options{Mode: mode}, func() {
				killed.Start()
				waiting.Start()
				waitIn(t, killed.Process.Pid)
				waitIn(t, waiting.Process.Pid)
				killed.Process.Kill()
				killed.Wait()
				signals := make(chan os.Signal, 1)
				signal.Notify(signals, syscall.SIGUSR1) // with SA_RESTART
				defer signal.Stop(signals)
				done := make(chan bool)
				go func() {
					runtime.LockOSThread()
					// The runtime's own signal, with which it preempts goroutines, would interrupt accept too.
					var urg unix.Sigset_t
					urg.Val[0] = 1 << (unix.SIGURG - 1)
					if err := unix.PthreadSigmask(unix.SIG_BLOCK, &urg, nil); err != nil {
						t.Error(err)
					}
					tid <- unix.Gettid()
					fd, _, _ := unix.Accept4(lfd, 0)
					unix.Close(fd)
					close(done)
				}()
				id := <-tid
				tid <- id
				waitBlocked(t, 1)
				unix.Tgkill(os.Getpid(), id, unix.SIGUSR1)
				<-signals
				waitBlocked(t, 1)
				unix.Close(dial(t, unix.AF_INET, addr))
				<-done
			})
			defer waiting.Process.Kill()
			if e := r.of(killed.Process.Pid); len(e) != 2 || e[1].Errno() != 512 {
				t.Errorf("killed: %+v", e)
			}
			if e := r.of(waiting.Process.Pid); len(e) != 1 || e[0].Kind != format.Enter {
				t.Errorf("waiting: %+v", e)
			}
			if b := r.result.End.Blocked; len(b) != 1 || b[0].PID != uint32(waiting.Process.Pid) || !r.result.End.BlockedKnown {
				t.Errorf("blocked at the end: %+v", b)
			}
			var kinds []string
			id := uint32(<-tid)
			for _, e := range r.events {
				if e.TID == id {
					kinds = append(kinds, e.Kind.String()+" "+strconv.Itoa(int(e.Errno())))
				}
			}
			if want := []string{"enter 0", "return 512", "enter 0", "return 0"}; !slices.Equal(kinds, want) {
				t.Errorf("interrupted: %q, want %q", kinds, want)
			}
			checkTotals(t, &r, 0)
		})
	}
}

// waitIn waits until a process sits in accept.
func waitIn(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
		tasks, _ := blockedTasks(func() bool { return false })
		if slices.ContainsFunc(tasks, func(b format.Blocked) bool { return b.PID == uint32(pid) }) {
			return
		}
	}
	t.Fatalf("process %d does not sit in accept", pid)
}

// Recordings end with their command, after a count, after a time.
func TestVMEnds(t *testing.T) {
	needVM(t)
	cases := []struct {
		name   string
		o      Options
		reason string
		exit   int
	}{
		{"command", Options{Command: []string{"/bin/sh", "-c", "exit 3"}}, "command", 3},
		{"killed command", Options{Command: []string{"/bin/sh", "-c", "kill -9 $$"}}, "command", 137},
		{"duration", Options{Duration: 300 * time.Millisecond}, "duration", -1},
		{"command beyond its time", Options{Command: []string{"/bin/sleep", "1000"}, Duration: 300 * time.Millisecond}, "duration", 143},
	}
	for _, c := range cases {
		r, err := Record(context.Background(), io.Discard, c.o)
		if err != nil || r.End.Reason != c.reason || r.CommandExit != c.exit {
			t.Errorf("%s: ended by %q with %d, %v", c.name, r.End.Reason, r.CommandExit, err)
		}
	}
	lfd, _ := listen(t, unix.AF_INET, 1)
	unix.SetNonblock(lfd, true)
	stop := make(chan bool)
	r, err := Record(context.Background(), io.Discard, Options{MaxEvents: 10, Ready: func(Started) {
		go func() {
			for range 20 {
				unix.Accept(lfd)
			}
			close(stop)
		}()
	}})
	<-stop
	if err != nil || r.End.Reason != "count" || r.End.Events < 10 {
		t.Errorf("count: ended by %q after %d events, %v", r.End.Reason, r.End.Events, err)
	}
	if _, err := Record(context.Background(), io.Discard, Options{Command: []string{"/no/such"}}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a command that is not there: %v", err)
	}
}
