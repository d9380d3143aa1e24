//go:build linux && (amd64 || arm64)

package capture

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

// A full accept queue drops connections at their SYN and at the end of their
// handshake: as many as the kernel counts, with listener and peer.
func TestVMOverflow(t *testing.T) {
	needVM(t)
	for _, mode := range exactModes(t) {
		t.Run(string(mode), func(t *testing.T) {
			l := &lifeTest{t: t}
			const clients, deferred = 3, 4
			var counted int
			var end int64
			atSYN, atACK := map[uint64]int{}, map[uint64]int{}
			r := recordWhile(t, Options{Mode: mode}, func() {
				counted = -tcpExt(t, "ListenOverflows")
				s := l.serve(unix.AF_INET, 0, 0, nil)
				defer unix.Close(s.fd)
				first := l.client(unix.AF_INET)
				l.try(unix.Connect(first, s.addr))
				defer unix.Close(first)
				for range clients {
					c := l.client(unix.AF_INET)
					l.try(unix.SetNonblock(c, true))
					if err := unix.Connect(c, s.addr); err != unix.EINPROGRESS {
						t.Errorf("connect: %v", err)
					}
					defer unix.Close(c)
				}
				atSYN[s.inode] = clients

				for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
					d := l.serve(family, 0, deferred, func(fd int) error {
						return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 60)
					})
					defer unix.Close(d.fd)
					to := d.addr
					if six, ok := to.(*unix.SockaddrInet6); ok {
						to = &unix.SockaddrInet6{Port: six.Port, Addr: [16]byte{15: 1}}
					}
					var fds []int
					for range deferred + 2 { // one more than there is room for; a SYN cookie defers nothing
						c := l.client(family)
						l.try(unix.Connect(c, to))
						defer unix.Close(c)
						fds = append(fds, c)
					}
					for _, fd := range fds {
						_, err := unix.Write(fd, []byte("x"))
						l.try(err)
					}
					atACK[d.inode] = 1
				}
				n := -1
				for n != tcpExt(t, "ListenOverflows") { // none between the count and its time
					n = tcpExt(t, "ListenOverflows")
					end = bootNS()
				}
				counted += n
			})
			drops := 0
			for _, e := range r.events {
				if e.Kind != format.Drop || e.Hook == format.HookChildForget || e.BootNS > end {
					continue
				}
				drops++
				if e.Backlog <= e.BacklogMax || e.BacklogMax != 0 && e.BacklogMax != deferred || !e.RAddr.IsLoopback() || e.RPort == 0 || e.Mark != 0 {
					t.Errorf("odd drop: %+v", e)
				}
				if e.Hook == format.HookConnRequest {
					atSYN[e.Listener]--
				} else {
					atACK[e.Listener]--
				}
			}
			// A packet may have been sent again in the meantime.
			for _, left := range []map[uint64]int{atSYN, atACK} {
				for inode, n := range left {
					if n > 0 {
						t.Errorf("listener %d: %d drops are not recorded", inode, n)
					}
				}
			}
			t.Logf("%d drops, the kernel counted %d", drops, counted)
			if drops != counted {
				t.Errorf("%d drops, the kernel counted %d", drops, counted)
			}
			checkTotals(t, &r, 0)
		})
	}
}
