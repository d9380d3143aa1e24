//go:build linux && (amd64 || arm64)

package capture

import (
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

// Every connection is in the capture once, as the server itself sees it, and as
// many as the kernel counted.
func TestVMCounts(t *testing.T) {
	needVM(t)
	for _, mode := range exactModes(t) {
		t.Run(string(mode), func(t *testing.T) {
			const workers, conns = 4, 2000
			lfd, addr := listen(t, unix.AF_INET, 128)
			var st unix.Stat_t
			if err := unix.Fstat(lfd, &st); err != nil {
				t.Fatal(err)
			}
			var mu sync.Mutex
			truth := map[accepted]int{}
			before := 0
			r := recordWhile(t, Options{Mode: mode}, func() {
				before = netstat(t, "PassiveOpens") // acc has tried its probes by now, with connections of its own
				var servers sync.WaitGroup
				for range workers {
					servers.Go(func() {
						for {
							fd, _, err := unix.Accept4(lfd, unix.SOCK_CLOEXEC)
							if err != nil {
								return // shut down
							}
							a := learn(t, fd)
							mu.Lock()
							truth[a]++
							mu.Unlock()
							unix.Close(fd)
						}
					})
				}
				for range conns {
					fd := dial(t, unix.AF_INET, addr)
					var b [1]byte
					unix.Read(fd, b[:]) // until the server closes
					unix.Close(fd)
				}
				unix.Shutdown(lfd, unix.SHUT_RD)
				servers.Wait()
			})
			unix.Close(lfd)
			if opened := netstat(t, "PassiveOpens") - before - r.discarded(); opened != conns {
				t.Errorf("the kernel counted %d connections, the test made %d", opened, conns)
			}
			got, failed := 0, 0
			for _, e := range r.of(os.Getpid()) {
				shut := e.State == format.StateClosed && e.LPort == 0 && !e.Accepted() // the port is given back at shutdown
				if e.Listener != st.Ino || e.LPort != addrPort(addr).Port() && !shut {
					t.Fatalf("listener %d port %d, want %d %v: %+v", e.Listener, e.LPort, st.Ino, addrPort(addr), e)
				}
				switch {
				case e.Accepted():
					got++
					a := accepted{e.Ret, e.Inode, e.Local(), e.Remote()}
					if truth[a]--; truth[a] < 0 {
						t.Errorf("the server accepted no %+v", a)
					}
					if e.State != format.StateEstablished && e.State != format.StateCloseWait || e.Family != format.FamilyIPv4 || e.Type != 1 || e.Proto != format.ProtoTCP || e.Flags != unix.SOCK_CLOEXEC {
						t.Errorf("odd facts: %+v", e)
					}
				case e.Failed() && e.Errno() == 512: // a signal of Go's scheduler; it begins anew
				case e.Failed():
					failed++
					if e.Errno() != int32(unix.EINVAL) {
						t.Errorf("an attempt failed with %d", e.Errno())
					}
				case e.State != format.StateListen && e.State != format.StateClosed || e.Via != format.ViaAccept4 || e.BacklogMax != 128:
					t.Errorf("odd entry: %+v", e)
				}
			}
			if got != conns || failed != workers {
				t.Errorf("recorded %d accepted and %d failed, want %d and %d", got, failed, conns, workers)
			}
			checkTotals(t, &r, 0)
		})
	}
}

// checkTotals compares the totals at the end of a recording with the events that it has.
func checkTotals(t *testing.T, r *recording, lost uint64) {
	t.Helper()
	count := map[[2]int]uint64{}
	for _, e := range r.events {
		count[[2]int{int(e.Hook), int(e.Kind)}]++
	}
	for _, total := range r.result.End.Totals {
		if total.Seen != total.Recorded+total.Lost || total.Recorded != count[[2]int{int(total.Hook), int(total.Kind)}] {
			t.Errorf("the account does not add up: %+v, %v events", total, count)
		}
	}
	if r.result.End.Lost != lost || !r.result.End.Clean {
		t.Errorf("end: %+v, want %d lost", r.result.End, lost)
	}
}

// A ring that is too small loses events, and the capture says how many and where.
func TestVMTinyRing(t *testing.T) {
	needVM(t)
	for _, mode := range exactModes(t) {
		t.Run(string(mode), func(t *testing.T) {
			const attempts = 500
			lfd, _ := listen(t, unix.AF_INET, 8)
			defer unix.Close(lfd)
			unix.SetNonblock(lfd, true)
			from := bootNS()
			made := 0
			r := recordWhile(t, Options{Mode: mode, RingBytes: 16 << 10, FailedRate: -1, stall: func() {
				for range attempts {
					if _, _, err := unix.Accept(lfd); err != unix.EAGAIN {
						t.Errorf("accept: %v", err)
					}
					made++
				}
			}}, func() {
				for range 50 { // some more once it reads
					unix.Accept(lfd)
					made++
				}
			})
			// The first ones may have come in while the recorder was stalled.
			var lost uint64
			for _, l := range r.losses {
				lost += l.Count
				if l.FromNS != 0 && l.FromNS < from || l.ToNS < l.FromNS || l.Hook != format.HookSysAccept4 {
					t.Errorf("loss %+v", l)
				}
			}
			if lost == 0 || lost != r.result.End.Lost {
				t.Errorf("losses add up to %d, the end says %d", lost, r.result.End.Lost)
			}
			for _, total := range r.result.End.Totals[:2] {
				if total.Seen != uint64(made) {
					t.Errorf("%s: %d seen, %d made", total.Kind, total.Seen, made)
				}
			}
			checkTotals(t, &r, lost)
		})
	}
}
