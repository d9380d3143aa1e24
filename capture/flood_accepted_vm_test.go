//go:build linux && (amd64 || arm64)

package capture

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// floodAccepted connects to itself as fast as it can, in four threads with a listener each, until standard input ends.
func floodAccepted(t *testing.T, how string, accepted *atomic.Int64) {
	family := map[string]int{"tcp": unix.AF_INET, "unix": unix.AF_UNIX}[how]
	var stop atomic.Bool
	go func() {
		_, _ = os.Stdin.Read(make([]byte, 1))
		stop.Store(true)
	}()
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			l, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			addr := unix.Sockaddr(&unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 7500 + i})
			if how == "unix" {
				addr = &unix.SockaddrUnix{Name: fmt.Sprintf("@flood%d", i)}
			}
			if err == nil {
				_ = unix.SetsockoptInt(l, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
				err = unix.Bind(l, addr)
			}
			if err == nil {
				err = unix.Listen(l, 8)
			}
			for err == nil && !stop.Load() {
				var c, fd int
				if c, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
					break
				}
				if how == "tcp" { // leaves nothing in TIME_WAIT, so that ports last
					err = unix.SetsockoptLinger(c, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
				}
				if err == nil {
					err = unix.Connect(c, addr)
				}
				if err == nil {
					if fd, _, err = unix.Accept4(l, unix.SOCK_CLOEXEC); err == nil {
						accepted.Add(1)
						unix.Close(fd)
					}
				}
				unix.Close(c)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// TestVMFloodAccepted shows what a user without rights does to a recording who accepts his own connections as fast as he
// can: docs/RELIABILITY.md has the figures. Whatever is lost is counted.
func TestVMFloodAccepted(t *testing.T) {
	needVM(t)
	if os.Getenv("ACC_TORTURE") == "" {
		t.Skip("floods for a minute: ACC_TORTURE")
	}
	for _, c := range []struct {
		name, how string
		flags     []string
	}{
		{"tcp", "tcp", nil},
		{"unix", "unix", nil},
		{"tcp, accept calls only", "tcp", []string{"--events", "accept"}},
		{"tcp, small ring buffer", "tcp", []string{"--ring-size", "64KiB"}},
	} {
		t.Run(c.name, func(t *testing.T) { testFloodAccepted(t, c.how, c.flags) })
	}
}

func testFloodAccepted(t *testing.T, how string, flags []string) {
	server := startSelectServer(t, "127.0.0.1:7443", "127.0.0.1", "", nil)
	out := filepath.Join(t.TempDir(), "one.acc")
	r := startRecorder(t, append([]string{"/in/acc", "record", "--no-causes", "-o", out}, flags...)...)
	cmd := exec.Command(os.Args[0], "-test.run=^TestFlooder$")
	cmd.Env = append(os.Environ(), "ACC_FLOOD="+how, "GODEBUG=asyncpreemptoff=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}}
	in, err := cmd.StdinPipe()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for range 100 {
		server.ask("connect 1")
		time.Sleep(100 * time.Millisecond)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, &said)
	}
	took := time.Since(began)
	r.stop(t)
	flooded := 0
	if at := bytes.Index(said.Bytes(), []byte("accepted")); at < 0 {
		t.Fatalf("%s", &said)
	} else if _, err := fmt.Sscanf(said.String()[at:], "accepted %d", &flooded); err != nil {
		t.Fatal(err)
	}
	screen, err := exec.Command("/in/acc", "analyze", "--json", "--top", "0", out).Output()
	var a struct {
		Totals    struct{ Accepted int }
		Listeners []struct {
			LPort    uint16 `json:"lport"`
			Accepted int
		}
	}
	if jsonErr := json.Unmarshal(screen, &a); jsonErr != nil {
		t.Fatal(err, jsonErr)
	}
	others := 0
	for _, l := range a.Listeners {
		if l.LPort == server.port {
			others += l.Accepted
		}
	}
	st, err := os.Stat(out)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("in %v: %d flooded (%.0f a second); in the capture: %d accepted, of another server's 100: %d; %d bytes\n%s",
		took.Round(time.Millisecond), flooded, float64(flooded)/took.Seconds(), a.Totals.Accepted, others, st.Size(), &r.said)
	lost := 0
	for _, total := range info(t, out).End.Totals {
		if total.Kind == "return" {
			lost += total.Lost
		}
	}
	if a.Totals.Accepted > flooded+100 || a.Totals.Accepted+lost < flooded+100 || lost == 0 && others != 100 {
		t.Errorf("%d made: %d recorded, %d returns lost", flooded+100, a.Totals.Accepted, lost)
	}
}
