//go:build linux && (amd64 || arm64)

package capture

import (
	"bytes"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pingPong is a listener of this process that takes what it connects to.
type pingPong struct {
	t    *testing.T
	fd   int
	addr unix.Sockaddr
	made int
}

func newPingPong(t *testing.T) *pingPong {
	p := &pingPong{t: t}
	p.fd, p.addr = listen(t, unix.AF_INET, 8)
	t.Cleanup(func() { unix.Close(p.fd) })
	return p
}

// do makes and accepts n connections. Their ends are reset, so that no port waits.
func (p *pingPong) do(n int) {
	p.t.Helper()
	for range n {
		client := dial(p.t, unix.AF_INET, p.addr)
		fd, _, err := unix.Accept4(p.fd, unix.SOCK_CLOEXEC)
		if err != nil {
			p.t.Fatal(err)
		}
		_ = unix.SetsockoptLinger(client, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		unix.Close(client)
		unix.Close(fd)
		p.made++
	}
}

// until connects until a recorder has ended, and gives its exit code.
func (p *pingPong) until(r *recorder) int {
	p.t.Helper()
	ended := make(chan int, 1)
	go func() { ended <- r.end() }()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); p.do(100) {
		select {
		case code := <-ended:
			return code
		default:
		}
	}
	r.Process.Kill()
	return <-ended
}

// returns gives what the end of a capture says of the returns of accept.
func (i *told) returns(t *testing.T) (seen, recorded, lost int) {
	t.Helper()
	if i.End == nil {
		t.Fatalf("no end: %+v", i)
	}
	for _, total := range i.End.Totals {
		if total.Seen != total.Recorded+total.Lost {
			t.Errorf("the account does not add up: %+v", total)
		}
		if total.Kind == "return" && total.Hook == "__sys_accept4" {
			seen, recorded, lost = total.Seen, total.Recorded, total.Lost
		}
	}
	return seen, recorded, lost
}

// exact checks that a capture and the kernel agree on how many connections there
// were: made by the test, of which some may be lost.
func exact(t *testing.T, i *told, made int) {
	t.Helper()
	_, recorded, lost := i.returns(t)
	if len(i.Witness.Spaces) == 0 {
		t.Fatalf("no counters: %+v", i.Witness)
	}
	s := i.Witness.Spaces[0]
	if recorded+lost != made || i.Accepted != recorded || s.Opened != made || !i.End.Clean {
		t.Errorf("%d connections: %d recorded, %d lost, %d accepted; the kernel counted %d; %+v", made, recorded, lost, i.Accepted, s.Opened, i.End)
	}
	if lost == 0 && i.Witness.Verdict != "agrees" || lost > 0 && i.Witness.Verdict != "explained" {
		t.Errorf("%+v", i.Witness)
	}
}

// probesLeft gives what the kernel still traces.
func probesLeft() string {
	b, err := os.ReadFile("/sys/kernel/tracing/enabled_functions")
	if err != nil || !bytes.Contains(b, []byte("accept")) {
		return ""
	}
	return string(b)
}
