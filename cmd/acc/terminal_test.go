//go:build linux

package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// screen is a pseudo terminal.
type screen struct {
	ptmx, tty *os.File
	mu        sync.Mutex
	all       []byte
	grown     chan bool // something was written
	ended     chan bool
}

func newScreen(t *testing.T) *screen {
	t.Helper()
	s := &screen{grown: make(chan bool, 1), ended: make(chan bool)}
	var err error
	if s.ptmx, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Skip(err)
	}
	var number int
	raw, err := s.ptmx.SyscallConn()
	must(t, err)
	raw.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
			number, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	})
	must(t, err)
	s.tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	go s.read()
	return s
}

func (s *screen) read() {
	defer close(s.ended)
	b := make([]byte, 4096)
	for {
		n, err := s.ptmx.Read(b)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.all = append(s.all, b[:n]...)
		s.mu.Unlock()
		select {
		case s.grown <- true:
		default:
		}
	}
}

// text is what was written so far.
func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.all)
}

// close ends it and gives all that was written.
func (s *screen) close() string {
	s.tty.Close()
	<-s.ended
	s.ptmx.Close()
	return s.text()
}

// Every reader shows on a terminal how far it is, and leaves nothing of that behind; what it prints
// elsewhere is the same as ever.
func TestProgressOnTerminal(t *testing.T) {
	data := sample("")
	key := filepath.Join(t.TempDir(), "key")
	_, private, err := ed25519.GenerateKey(nil)
	must(t, err)
	block, err := ssh.MarshalPrivateKey(private, "")
	must(t, err)
	must(t, os.WriteFile(key, pem.EncodeToMemory(block), 0o600))
	for _, args := range [][]string{
		{"info", "--json", "-"}, {"verify", "--json", "-"}, {"analyze", "--json", "-"}, {"analyze", "--pairs", "-"},
		{"replay", "--json", "--speed", "max", "-"}, {"explain", "1", "-"}, {"sign", "--key", key, "-"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			tty := newScreen(t)
			cmd := exec.Command("acc", args...)
			in, err := cmd.StdinPipe()
			must(t, err)
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, tty.tty
			must(t, cmd.Start())
			_, err = in.Write(data[:len(data)-200])
			must(t, err)
			for !strings.Contains(tty.text(), "reading") {
				<-tty.grown
			}
			_, err = in.Write(data[len(data)-200:])
			must(t, err)
			in.Close()
			must(t, cmd.Wait())
			said := tty.close()
			if !strings.Contains(said, "\r\x1b[Kreading standard input: ") || strings.LastIndex(said, "reading") > strings.LastIndex(said, "\r\x1b[K") {
				t.Errorf("%q", said)
			}
			plain := exec.Command("acc", args...)
			plain.Stdin = bytes.NewReader(data)
			want, err := plain.Output()
			must(t, err)
			if !bytes.Equal(out.Bytes(), want) || len(want) == 0 {
				t.Errorf("%q\nwithout a terminal %q", out.Bytes(), want)
			}
		})
	}
}
