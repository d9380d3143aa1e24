//go:build linux && (amd64 || arm64)

package capture

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// When each side closed is when the program that did it was in the call.
func TestVMClosing(t *testing.T) {
	needVM(t)
	type span [2]int64
	type truth struct {
		what           string
		server, client span // when each was in the call that closed, zero: it did not, or not first
		unacked        bool // the server wrote what the client did not acknowledge
	}
	during := func(call func() error) (s span) {
		s[0] = bootNS()
		if err := call(); err != nil {
			t.Error(err)
		}
		s[1] = bootNS()
		return s
	}
	for _, mode := range exactModes(t) {
		t.Run(string(mode), func(t *testing.T) {
			l := &lifeTest{t: t}
			list := map[uint16]truth{}
			r := recordWhile(t, Options{Mode: mode}, func() {
				for _, limit := range []int{7, 0} { // which of connections are a listener's is told in two ways
					s := l.serve(unix.AF_INET, 0, limit, nil)
					pause := func() { time.Sleep(30 * time.Millisecond) }
					end := func(what string, work func(client, fd int) truth) {
						client, fd := l.pair(s)
						port := portOf(t, client)
						x := work(client, fd)
						x.what = what
						list[port] = x
						pause()
					}
					end("the server first", func(client, fd int) (x truth) {
						x.server = during(func() error { return unix.Close(fd) })
						pause()
						l.try(unix.Close(client))
						return x
					})
					end("the server by shutdown", func(client, fd int) (x truth) {
						x.server = during(func() error { return unix.Shutdown(fd, unix.SHUT_WR) })
						pause()
						l.try(unix.Close(fd))
						l.try(unix.Close(client))
						return x
					})
					end("the client first", func(client, fd int) (x truth) {
						x.client = during(func() error { return unix.Close(client) })
						pause()
						x.server = during(func() error { return unix.Close(fd) })
						return x
					})
					end("a close while a lot is unsent", func(client, fd int) (x truth) {
						l.try(unix.SetNonblock(fd, true))
						for err := error(nil); err == nil; {
							_, err = unix.Write(fd, make([]byte, 64<<10))
						}
						x.server = during(func() error { return unix.Close(fd) })
						pause()
						for n := 1; n > 0; {
							n, _ = unix.Read(client, make([]byte, 64<<10))
						}
						l.try(unix.Close(client))
						return x
					})
					end("a reset by the server", func(client, fd int) truth {
						l.reset(fd)
						l.try(unix.Close(client))
						return truth{}
					})
					if limit > 0 { // else its FIN acknowledges a SYN cookie once more, and so is a connection
						end("a reset after bytes that the client did not get", func(client, fd int) truth {
							l.filter(client, dropAll)
							_, err := unix.Write(fd, []byte("busy"))
							l.try(err)
							l.reset(fd)
							l.try(unix.Close(client))
							return truth{unacked: true}
						})
					}
					end("a reset by the client", func(client, fd int) truth {
						l.reset(client)
						l.try(unix.Close(fd))
						return truth{}
					})
					unix.Close(s.fd)
				}
				waitClosed(t)
			})
			found := 0
			for i := range r.events {
				e := &r.events[i]
				x, ours := list[e.RPort]
				if !isEnd(e) || !ours {
					continue
				}
				found++
				if e.Unacked() != x.unacked {
					t.Errorf("%s: not acknowledged: %v", x.what, e.Unacked())
				}
				for _, side := range []struct {
					who  string
					us   uint64
					want span
				}{{"server", e.ClosingUS, x.server}, {"client", e.FinUS, x.client}} {
					at := e.BootNS - int64(side.us)*1000
					if side.want == (span{}) {
						if side.us != 0 {
							t.Errorf("%s: the %s closed %d µs before its end", x.what, side.who, side.us)
						}
					} else if at < side.want[0]-1000 || at > side.want[1] { // rounded up to a microsecond
						t.Errorf("%s: the %s closed at %d (%d µs before the end), it was in the call from %d to %d", x.what, side.who, at, side.us,
							side.want[0], side.want[1])
					}
				}
			}
			if found != len(list) {
				t.Errorf("%d of %d connections were seen to end", found, len(list))
			}
			checkTotals(t, &r, 0)
		})
	}
}
