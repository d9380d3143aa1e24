//go:build linux && (amd64 || arm64)

package capture

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestLookedServer is the server that TestVMLooks starts: one thread accepts, and does something with its first client
// that takes long, of which it prints how long. What it needs for that is its descriptor 3, or in an environment
// variable.
func TestLookedServer(t *testing.T) {
	does := os.Getenv("ACC_LOOKED")
	if does == "" {
		t.Skip("is started by TestVMLooks")
	}
	runtime.LockOSThread()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 64); err != nil {
		t.Fatal(err)
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	set, _ := unix.EpollCreate1(0)
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: int32(fd)}
	if does == "disarmed" {
		_ = unix.EpollCtl(set, unix.EPOLL_CTL_ADD, fd, &event)
	}
	var st unix.Stat_t
	_ = unix.Fstat(fd, &st)
	fmt.Println("listens", at.(*unix.SockaddrInet4).Port, st.Ino, unix.Gettid())
	for n := 0; ; n++ {
		client, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
		if err != nil {
			continue
		}
		began := bootNow()
		if n == 0 || does == "60ms" {
			doLong(does, set, client)
			fmt.Println("took", bootNow()-began)
		}
		unix.Close(client)
	}
}

// long is how long a server takes that decides that itself.
const long = 1500 * time.Millisecond

// doLong takes long.
func doLong(does string, set, client int) {
	buf := make([]byte, 4096)
	sleep := func(d time.Duration) {
		ts := unix.NsecToTimespec(int64(d))
		_ = unix.Nanosleep(&ts, nil)
	}
	wait := func() {
		for deadline := time.Now().Add(long); time.Now().Before(deadline); {
			_, _ = unix.EpollWait(set, make([]unix.EpollEvent, 1), int(time.Until(deadline).Milliseconds()))
		}
	}
	spin := func(d time.Duration) { // on the CPU, of this thread
		var from, now unix.Timespec
		_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &from)
		for now = from; now.Nano()-from.Nano() < int64(d); {
			_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now)
		}
	}
	switch does {
	case "pipe": // descriptor 3 is full
		_, _ = unix.Write(3, buf)
	case "peer", "read": // descriptor 3 is a connection, or a slow disk
		_, _ = unix.Read(3, buf)
	case "client":
		_, _ = unix.Read(client, buf)
	case "page": // of the slow disk
		m, err := unix.Mmap(3, 1<<20, 4096, unix.PROT_READ, unix.MAP_SHARED)
		if err == nil {
			buf[0] = m[0]
		}
	case "cpu":
		spin(long)
	case "quota":
		spin(300 * time.Millisecond)
	case "absent":
		wait()
	case "disarmed":
		_, _ = unix.EpollWait(set, make([]unix.EpollEvent, 1), 0) // it is one shot
		wait()
	case "sleep":
		sleep(long)
	case "60ms":
		sleep(60 * time.Millisecond)
	case "lock":
		var mutex [4]uint32 // as the GNU C library has it: the lock, a count, the owner
		held := make(chan bool)
		go func() {
			runtime.LockOSThread()
			mutex[2], mutex[0] = uint32(unix.Gettid()), 2
			close(held)
			sleep(long)
			mutex[0] = 0
			_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&mutex)), 1, 1, 0, 0, 0) // FUTEX_WAKE
		}()
		<-held
		_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&mutex)), 0, 2, 0, 0, 0) // FUTEX_WAIT
	case "stop", "freeze": // the test does it
	}
}

// lookedServer is one that runs.
type lookedServer struct {
	cmd   *exec.Cmd
	port  int
	inode uint64 // of its listener
	tid   uint32
	took  chan int64 // how long it took, by itself
}

// ofNobody is whether a server runs as another user than root, as most do: what acc needs to know of its system call, its
// descriptors and its memory is in files of /proc that only that user may open.
func ofNobody(does string) bool { return does == "peer" || does == "lock" }

// startLooked starts one. file is its descriptor 3, or nil.
func startLooked(t *testing.T, does string, file *os.File) *lookedServer {
	t.Helper()
	s := &lookedServer{cmd: exec.Command(os.Args[0], "-test.run=^TestLookedServer$"), took: make(chan int64, 1<<10)}
	// The signal with which Go preempts its goroutines would interrupt what is looked at.
	s.cmd.Env = append(os.Environ(), "ACC_LOOKED="+does, "GODEBUG=asyncpreemptoff=1")
	if ofNobody(does) {
		s.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	if file != nil {
		s.cmd.ExtraFiles = []*os.File{file}
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	for s.port == 0 && lines.Scan() {
		_, _ = fmt.Sscanf(lines.Text(), "listens %d %d %d", &s.port, &s.inode, &s.tid)
	}
	if s.port == 0 {
		t.Fatal("the server does not say where it listens")
	}
	go func() {
		defer close(s.took)
		for lines.Scan() {
			var ns int64
			if strings.HasPrefix(lines.Text(), "took ") {
				_, _ = fmt.Sscanf(lines.Text(), "took %d", &ns)
				s.took <- ns
			}
		}
	}()
	return s
}

// dial connects to it.
func (s *lookedServer) dial(t *testing.T) int {
	t.Helper()
	return dial(t, unix.AF_INET, &unix.SockaddrInet4{Port: s.port, Addr: [4]byte{127, 0, 0, 1}})
}
