//go:build linux && amd64

package capture

// This file starts the servers of TestVMWhy (testdata/why), which measure themselves, and their clients.

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// whyLong is for how long the clients of TestVMWhy wait.
const whyLong = 2500 * time.Millisecond

// span is a time that a server or the test measured, by the boot clock, and for how much of it a thread ran.
type whySpan struct{ from, to, cpu int64 }

// whyServer is one that runs.
type whyServer struct {
	t     *testing.T
	cmd   *exec.Cmd
	port  int
	inode uint64
	pid   uint32
	began chan bool // it does what takes long

	mu    sync.Mutex
	busy  []whySpan // what took long
	ended int64     // when its acceptor ended
}

// startWhy starts one. log is its descriptor 3, or nil; inside: in a pid namespace of its own.
func startWhy(t *testing.T, log *os.File, inside bool, argv ...string) *whyServer {
	t.Helper()
	s := &whyServer{t: t, cmd: exec.Command(argv[0], argv[1:]...), began: make(chan bool, 1<<10)}
	s.cmd.Stderr = os.Stderr
	s.cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if inside {
		s.cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWPID
	}
	if log != nil {
		s.cmd.ExtraFiles = []*os.File{log}
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	t.Cleanup(s.end)
	for s.port == 0 && lines.Scan() {
		_, _ = fmt.Sscanf(lines.Text(), "listens %d %d", &s.port, &s.inode)
	}
	if s.port == 0 {
		t.Fatalf("%q does not say where it listens", argv)
	}
	s.pid = uint32(s.cmd.Process.Pid)
	go s.read(lines)
	return s
}

// read reads what it measures.
func (s *whyServer) read(lines *bufio.Scanner) {
	for lines.Scan() {
		var x whySpan
		s.mu.Lock()
		switch line := lines.Text(); {
		case line == "began":
			s.began <- true
		case strings.HasPrefix(line, "busy "):
			_, _ = fmt.Sscanf(line, "busy %d %d %d", &x.from, &x.to, &x.cpu)
			s.busy = append(s.busy, x)
		case strings.HasPrefix(line, "ended "):
			_, _ = fmt.Sscanf(line, "ended %d", &s.ended)
		}
		s.mu.Unlock()
	}
}

// end kills it.
func (s *whyServer) end() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// whyClients are connections to a server, and for how long each waited until the server closed it.
type whyClients struct {
	wg    sync.WaitGroup
	fds   []int
	waits atomic.Int64
	asks  string // what each sends at once
}

// connect makes some more.
func (c *whyClients) connect(t *testing.T, port, n int) {
	t.Helper()
	for range n {
		fd := dial(t, unix.AF_INET, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
		from := bootNow()
		c.fds = append(c.fds, fd)
		_, _ = unix.Write(fd, []byte(c.asks))
		c.wg.Go(func() {
			_, _ = unix.Read(fd, make([]byte, 1))
			c.waits.Add(bootNow() - from)
		})
	}
}

// close waits until all are closed by the server.
func (c *whyClients) close() {
	c.wg.Wait()
	for _, fd := range c.fds {
		unix.Close(fd)
	}
}

// whyBackend is a server that answers nobody until it is released.
type whyBackend struct {
	l       net.Listener
	release chan bool
}

func startBackend(t *testing.T) *whyBackend {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	b := &whyBackend{l, make(chan bool)}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if _, err := c.Read(make([]byte, 64)); err != nil {
					return
				}
				<-b.release
				_, _ = c.Write([]byte("x"))
				_, _ = c.Read(make([]byte, 1))
			}()
		}
	}()
	return b
}

func (b *whyBackend) port() string {
	_, port, _ := net.SplitHostPort(b.l.Addr().String())
	return port
}

// fullPipe makes a named pipe that is full. empty has somebody read from it.
func fullPipe(t *testing.T) (path string, log *os.File, empty func()) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "access.log")
	if err := unix.Mkfifo(path, 0o666); err != nil {
		t.Fatal(err)
	}
	log, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	fd := int(log.Fd())
	_ = unix.SetNonblock(fd, true)
	for b := make([]byte, 4096); err == nil; {
		_, err = unix.Write(fd, b)
	}
	_ = unix.SetNonblock(fd, false)
	return path, log, func() { _, _ = unix.Read(fd, make([]byte, 1<<20)) }
}
