//go:build linux && (amd64 || arm64)

package capture

// This file has the clients that load servers.

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	netsmtp "net/smtp"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// version is that of a Debian package.
func version(pkg string) string {
	out, _ := exec.Command("dpkg-query", "-W", "-f", "${source:Upstream-Version}", pkg).Output()
	return pkg + " " + strings.TrimSpace(string(out))
}

// ask makes a connection, sends something and reads until the server closes, or until what came matches.
func ask(port int, send string, until *regexp.Regexp) (string, error) {
	c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), 30*time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, send); err != nil {
		return "", err
	}
	var got bytes.Buffer
	for buf := make([]byte, 4096); ; {
		n, err := c.Read(buf)
		got.Write(buf[:n])
		if until != nil && until.Match(got.Bytes()) || err == io.EOF {
			return got.String(), nil
		}
		if err != nil {
			return got.String(), err
		}
	}
}

const get = "GET / HTTP/1.0\r\nHost: localhost\r\n\r\n"

// load lets n clients do something, so many at once, and fails if one of them fails.
func (s *stage) load(n, atOnce int, client func() error) {
	s.t.Helper()
	var wg sync.WaitGroup
	next := make(chan bool, n)
	for range n {
		next <- true
	}
	close(next)
	for range atOnce {
		wg.Go(func() {
			for range next {
				if err := client(); err != nil {
					s.t.Errorf("client: %v", err)
				}
			}
		})
	}
	wg.Wait()
}

// asks is n clients, four at once, that send something and get an answer that matches.
func (s *stage) asks(n, port int, send, answer string) {
	s.t.Helper()
	re := regexp.MustCompile(answer)
	s.load(n, 4, func() error {
		got, err := ask(port, send, re)
		if err == nil && !re.MatchString(got) {
			err = fmt.Errorf("the answer is %.200q", got)
		}
		return err
	})
}

// gets is n HTTP clients, which read until the server closes.
func (s *stage) gets(n, port int, path string) {
	s.t.Helper()
	s.load(n, 4, func() error {
		got, err := ask(port, "GET "+path+" HTTP/1.0\r\nHost: localhost\r\n\r\n", nil)
		if err == nil && !strings.HasPrefix(got, "HTTP/1.") {
			err = fmt.Errorf("the answer is %.200q", got)
		}
		return err
	})
}

// number is the first group of a pattern in a text.
func (s *stage) number(text, pattern string) int {
	s.t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		s.t.Fatalf("no %s in %.500q", pattern, text)
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// lines counts the lines of a file that match.
func (s *stage) lines(path, pattern string) int {
	b, _ := os.ReadFile(path)
	return len(regexp.MustCompile("(?m)"+pattern).FindAll(b, -1))
}

// smtp says HELO.
func smtp(port int) (*netsmtp.Client, error) {
	c, err := netsmtp.Dial(fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, err
	}
	return c, c.Hello("localhost")
}

// send makes a connection, sends something and closes it.
func send(port int, text string) error {
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	_, err = io.WriteString(c, text)
	return errors.Join(err, c.Close())
}

// terminate asks a daemon to end.
func (s *stage) terminate(pid int) {
	s.t.Helper()
	if err := unix.Kill(pid, unix.SIGTERM); err != nil {
		s.t.Error(err)
	}
}
