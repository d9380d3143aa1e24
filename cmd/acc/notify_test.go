//go:build linux

package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/acc-project/acc/capture"
)

// What goes to the service manager, as a socket of the manager gets it; what acc runs finds no socket.
func TestNotifier(t *testing.T) {
	for _, c := range []struct{ name, usec, pid, alive string }{
		{"no watchdog", "", "", ""},
		{"watchdog", "30000000", "", "WATCHDOG=1\n"},
		{"another's watchdog", "30000000", "1", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "notify")
			manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
			must(t, err)
			defer manager.Close()
			t.Setenv("NOTIFY_SOCKET", path)
			t.Setenv("WATCHDOG_USEC", c.usec)
			t.Setenv("WATCHDOG_PID", c.pid)
			n, err := newNotifier()
			must(t, err)
			if os.Getenv("NOTIFY_SOCKET") != "" || n.alive != c.alive {
				t.Errorf("socket %q, alive %q", os.Getenv("NOTIFY_SOCKET"), n.alive)
			}
			wait := n.follow(t.Context(), &capture.Control{}) // which does not answer: no line says that it lives
			n.send("READY=1")
			n.send("STOPPING=1")
			wait()
			n.close()
			buf, got := make([]byte, 1024), []string{}
			for range 2 {
				must(t, manager.SetReadDeadline(time.Now().Add(10*time.Second)))
				m, err := manager.Read(buf)
				must(t, err)
				got = append(got, string(buf[:m]))
			}
			if all := strings.Join(got, " "); all != "READY=1 STOPPING=1" {
				t.Error(all)
			}
		})
	}
	t.Setenv("NOTIFY_SOCKET", "")
	if n, err := newNotifier(); n != nil || err != nil {
		t.Error(n, err)
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "none"))
	if _, err := newNotifier(); err == nil {
		t.Error("a socket that is not there is no error")
	}
}
