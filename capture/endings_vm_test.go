//go:build linux && (amd64 || arm64)

package capture

import (
	"strings"
	"testing"
	"time"

	"github.com/acc-project/acc/analysis/conntrack"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

// Programs of classic BPF for what a socket receives: TCP segments.
var (
	dropAll  = []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K}}
	onlyWith = func(flag uint32) []unix.SockFilter { // of the TCP header
		return []unix.SockFilter{
			{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 13},
			{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: flag, Jt: 1},
			{Code: unix.BPF_RET | unix.BPF_K},
			{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 18},
		}
	}
)

const finFlag = 1

// filter makes a socket deaf to what a program does not let through.
func (l *lifeTest) filter(fd int, program []unix.SockFilter) {
	l.t.Helper()
	l.try(unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}))
}

func (l *lifeTest) info(fd int) *unix.TCPInfo {
	l.t.Helper()
	i, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	l.try(err)
	return i
}

// until waits for what the kernel's timers bring.
func (l *lifeTest) until(what string, done func() bool) {
	l.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			l.t.Fatal(what)
		}
	}
}

// pair makes an accepted connection.
func (l *lifeTest) pair(s *server) (client, fd int) {
	l.t.Helper()
	client = l.client(unix.AF_INET)
	l.try(unix.Connect(client, s.addr))
	fd, _, err := unix.Accept4(s.fd, 0)
	l.try(err)
	return client, fd
}

// Bytes, segments, retransmits and round trip times are what the server's own
// socket said right before it was closed, and FINs are no bytes.
func TestVMEndings(t *testing.T) {
	needVM(t)
	type truth struct {
		what    string
		port    uint16
		in, out uint64
		info    *unix.TCPInfo // nil: more was sent after it could be read
		end     conntrack.End
		resent  uint32
	}
	for _, mode := range exactModes(t) {
		t.Run(string(mode), func(t *testing.T) {
			l := &lifeTest{t: t}
			var list []truth
			r := recordWhile(t, Options{Mode: mode}, func() {
				s := l.serve(unix.AF_INET, 0, 7, nil)
				defer unix.Close(s.fd)

				client, fd := l.pair(s)
				x := truth{what: "segments that were lost", port: portOf(t, client), end: conntrack.EndResetByServer}
				x.in = l.send(client, fd, 300)
				l.filter(client, dropAll)
				_, err := unix.Write(fd, make([]byte, 700))
				l.try(err)
				l.until("nothing is sent again", func() bool { return l.info(fd).Total_retrans >= 2 })
				l.try(unix.SetsockoptInt(client, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0))
				l.until("what was sent again is not acknowledged", func() bool { return l.info(fd).Unacked == 0 })
				x.out = 700
				x.in += l.send(client, fd, 5) // so that nothing is on its way
				x.info = l.info(fd)
				l.reset(fd)
				unix.Close(client)
				x.resent = x.info.Total_retrans
				list = append(list, x)

				client, fd = l.pair(s)
				x = truth{what: "a client that is not there any more", port: portOf(t, client), end: conntrack.EndTimeout}
				l.try(unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 700))
				l.filter(client, dropAll)
				_, err = unix.Write(fd, make([]byte, 700))
				l.try(err)
				if _, err := unix.Read(fd, make([]byte, 1)); err != unix.ETIMEDOUT {
					t.Errorf("reading from a client that is not there gives %v", err)
				}
				x.info = l.info(fd)
				x.resent = x.info.Total_retrans
				unix.Close(fd)
				unix.Close(client)
				list = append(list, x)

				client, fd = l.pair(s)
				x = truth{what: "the client first", port: portOf(t, client), end: conntrack.EndByClient}
				x.in, x.out = l.send(client, fd, 33), l.send(fd, client, 44)
				l.try(unix.Close(client))
				l.untilEnd(fd)
				l.try(unix.Close(fd))
				list = append(list, x)

				client, fd = l.pair(s)
				x = truth{what: "the server first", port: portOf(t, client), end: conntrack.EndByServer}
				x.in, x.out = l.send(client, fd, 33), l.send(fd, client, 44)
				l.try(unix.Close(fd))
				l.untilEnd(client)
				l.try(unix.Close(client))
				list = append(list, x)

				client, fd = l.pair(s)
				x = truth{what: "the server first, the client's FIN comes with its ACK", port: portOf(t, client), end: conntrack.EndByServer}
				x.in, x.out = l.send(client, fd, 33), l.send(fd, client, 44)
				l.filter(fd, onlyWith(finFlag))
				l.try(unix.Close(fd))
				l.untilEnd(client)
				l.try(unix.Close(client))
				list = append(list, x)

				client, fd = l.pair(s)
				x = truth{what: "reset after the server's FIN", port: portOf(t, client), end: conntrack.EndResetByClient}
				x.in, x.out = l.send(client, fd, 33), l.send(fd, client, 44)
				l.try(unix.Shutdown(fd, unix.SHUT_WR))
				l.untilEnd(client)
				l.until("the FIN is not acknowledged", func() bool { return l.info(fd).State == finWait2 })
				l.reset(client)
				l.until("the reset does not come", func() bool { return l.info(fd).State == closed })
				l.try(unix.Close(fd))
				list = append(list, x)

				client, fd = l.pair(s)
				x = truth{what: "the server has closed, the client still sends", port: portOf(t, client),
					end: conntrack.EndByServer}
				x.in, x.out = l.send(client, fd, 33), l.send(fd, client, 44)
				l.try(unix.Close(fd))
				l.untilEnd(client)
				_, err = unix.Write(client, make([]byte, 10))
				l.try(err)
				if _, err := unix.Read(client, make([]byte, 1)); err != unix.ECONNRESET && err != unix.EPIPE &&
					err != nil {
					t.Errorf("what is sent to a server that has closed: %v", err)
				}
				l.try(unix.Close(client))
				list = append(list, x)
				waitClosed(t)
			})
			for _, x := range list {
				n := 0
				for i := range r.events {
					e := &r.events[i]
					if !isEnd(e) || e.RPort != x.port {
						continue
					}
					n++
					in, out := e.StreamBytes()
					t.Logf("%s: %d in, %d out, %d sent again, srtt %d µs, least %d µs: %s", x.what, in, out, e.Retransmits, e.SRTTUS, e.MinRTTUS, conntrack.EndOf(e))
					if in != x.in || out != x.out || conntrack.EndOf(e) != x.end || e.Retransmits != x.resent {
						t.Errorf("%s: %d in, %d out, %s, %d sent again, want %+v: %+v", x.what, in, out, conntrack.EndOf(e), e.Retransmits, x, e)
					}
					i := x.info
					if i == nil {
						continue
					}
					if e.SRTTUS != i.Rtt || e.MinRTTUS != i.Min_rtt || e.SegsIn != i.Segs_in || e.BytesIn != i.Bytes_received || e.BytesOut != i.Bytes_acked || i.Total_retrans == 0 {
						t.Errorf("%s: %+v, TCP_INFO %+v", x.what, e, i)
					}
				}
				if n != 1 {
					t.Errorf("%s: ended %d times", x.what, n)
				}
			}
			checkTotals(t, &r, 0)
		})
	}
}

// What a server read of what a client sent is told, however the connection ends.
func TestVMReading(t *testing.T) {
	needVM(t)
	const none, all = 0, -1
	for _, mode := range exactModes(t) {
		t.Run(string(mode), func(t *testing.T) {
			l := &lifeTest{t: t}
			type truth struct {
				what string
				port uint16
				read format.Reading
			}
			var list []truth
			// serve makes a connection of which the server reads so many bytes of 300, and which one side ends.
			serve := func(s *server, what string, send, read int, want format.Reading, end func(client, fd int)) {
				client, fd := l.pair(s)
				list = append(list, truth{what, portOf(t, client), want})
				if send > 0 {
					_, err := unix.Write(client, make([]byte, send))
					l.try(err)
					unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 5000)
				}
				if read == all {
					read = send
				}
				if read > 0 {
					n, err := unix.Read(fd, make([]byte, read))
					l.try(err)
					if n != read {
						t.Errorf("%s: %d read", what, n)
					}
				}
				end(client, fd)
			}
			first := func(client, fd int) { // the server ends
				l.try(unix.Close(fd))
				unix.Poll([]unix.PollFd{{Fd: int32(client), Events: unix.POLLIN}}, 5000)
				l.try(unix.Close(client))
			}
			last := func(client, fd int) {
				l.try(unix.Close(client))
				unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}, 5000)
				l.try(unix.Close(fd))
			}
			told := func(client, fd int) { // and reads the end
				l.try(unix.Close(client))
				l.untilEnd(fd)
				l.try(unix.Close(fd))
			}
			later := func(client, fd int) { // the client sends to one that has closed
				l.try(unix.Close(fd))
				unix.Poll([]unix.PollFd{{Fd: int32(client), Events: unix.POLLIN}}, 5000)
				_, _ = unix.Write(client, make([]byte, 10))
				l.try(unix.Close(client))
			}
			r := recordWhile(t, Options{Mode: mode}, func() {
				s := l.serve(unix.AF_INET, 0, 7, nil)
				defer unix.Close(s.fd)
				serve(s, "nothing came, the server first", 0, none, format.ReadNothing, first)
				serve(s, "nothing came, the client first", 0, none, format.ReadNothing, told)
				serve(s, "nothing was read, the server first", 300, none, format.ReadNothing, first)
				serve(s, "nothing was read, the client first", 300, none, format.ReadNothing, last)
				serve(s, "nothing was read, it came after the close", 0, none, format.ReadNothing, later)
				serve(s, "a part, the server first", 300, 100, format.ReadPart, first)
				serve(s, "a part, the client first", 300, 100, format.ReadPart, last)
				serve(s, "a byte", 300, 1, format.ReadPart, first)
				serve(s, "all, the server first", 300, all, format.ReadAll, first)
				serve(s, "all, the client first", 300, all, format.ReadAll, last)
				serve(s, "all and the end", 300, all, format.ReadAll, told)
				serve(s, "all, more came after the close", 300, all, format.ReadAll, later)
				serve(s, "one of one", 1, all, format.ReadAll, first)
				serve(s, "one of one, the client first", 1, all, format.ReadAll, last)
				serve(s, "none of one", 1, none, format.ReadNothing, first)
				serve(s, "none of one, the client first", 1, none, format.ReadNothing, last)
				waitClosed(t)
			})
			for _, x := range list {
				n := 0
				for i := range r.events {
					if e := &r.events[i]; isEnd(e) && e.RPort == x.port {
						if n++; e.Read() != x.read {
							t.Errorf("%s: %d, not %d: %+v", x.what, e.Read(), x.read, e)
						}
					}
				}
				if n != 1 {
					t.Errorf("%s: ended %d times", x.what, n)
				}
			}
			checkTotals(t, &r, 0)
		})
	}
}

// A full SYN queue drops SYNs where there are no SYN cookies, as many as the kernel
// counts; one for a connection in TIME-WAIT is told as dropped only if it is, which
// depends on the kernel.
func TestVMSynQueue(t *testing.T) {
	needVM(t)
	for _, mode := range exactModes(t) {
		t.Run(string(mode), func(t *testing.T) {
			l := &lifeTest{t: t}
			names := []string{"TCPReqQFullDrop", "TCPReqQFullDoCookies", "ListenDrops", "ListenOverflows"}
			counts := func() map[string]int {
				m := map[string]int{}
				for _, name := range names {
					m[name] = tcpExt(t, name)
				}
				return m
			}
			var before, after [2]map[string]int
			var from, to [2]int64
			var listeners [2]uint64
			var again uint16
			var through bool
			work := func(round int, cookies string) {
				sysctl(t, "net.ipv4.tcp_syncookies", cookies)
				s := l.serve(unix.AF_INET, 0, 2, nil)
				defer unix.Close(s.fd)
				listeners[round] = s.inode
				client, fd := l.pair(s)
				l.try(unix.Close(fd))
				l.untilEnd(client)
				local, err := unix.Getsockname(client)
				l.try(err)
				l.try(unix.Close(client))
				waitClosed(t)
				before[round], from[round] = counts(), bootNS()
				for range 8 { // they hear no SYN-ACK
					c := l.client(unix.AF_INET)
					defer unix.Close(c)
					l.filter(c, dropAll)
					l.try(unix.SetNonblock(c, true))
					if err := unix.Connect(c, s.addr); err != unix.EINPROGRESS {
						t.Errorf("connect: %v", err)
					}
				}
				if round == 0 {
					again = addrPort(local).Port()
					client = l.client(unix.AF_INET)
					defer unix.Close(client)
					l.try(unix.SetsockoptInt(client, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
					l.try(unix.Bind(client, local))
					l.try(unix.SetNonblock(client, true))
					if err := unix.Connect(client, s.addr); err != nil && err != unix.EINPROGRESS {
						t.Error(err)
					}
					unix.Poll([]unix.PollFd{{Fd: int32(client), Events: unix.POLLOUT}}, 500)
					through = l.info(client).State == established
				}
				for {
					after[round] = counts()
					to[round] = bootNS()
					if n := tcpExt(t, "ListenDrops"); n == after[round]["ListenDrops"] { // none between the counts and their time
						return
					}
				}
			}
			sysctl(t, "net.ipv4.tcp_syncookies", "0") // the recorder looks how such a queue is full
			r := recordWhile(t, Options{Mode: mode}, func() {
				work(0, "0")
				work(1, "1")
			})
			release, _ := kernelName()
			checkLimits(t, &r, !strings.HasPrefix(release, "5.10."))
			for round := range 2 {
				grew := map[string]int{}
				for _, name := range names {
					grew[name] = after[round][name] - before[round][name]
				}
				drops, queued, refused := 0, 0, 0
				for _, e := range r.events {
					if e.Listener != listeners[round] || e.BootNS < from[round] || e.BootNS > to[round] {
						continue
					}
					switch e.Kind {
					case format.Queued:
						queued++
					case format.Drop:
						drops++
						if e.RPort == again {
							refused++
						}
						if e.Hook != format.HookConnRequest || e.Mark != format.MarkSynQueue || e.SynQueue < 2 {
							t.Errorf("odd drop: %+v", e)
						}
					}
				}
				t.Logf("%d drops, the kernel counted %v; the SYN to TIME-WAIT gets through: %v; %d told of that", drops, grew, through, refused)
				if drops != grew["TCPReqQFullDrop"] || drops != grew["ListenDrops"] || grew["ListenOverflows"] != 0 {
					t.Errorf("%d drops, the kernel counted %v", drops, grew)
				}
				if round == 0 && (drops < 5 || (queued != 0) != through || (refused != 0) == through) || round == 1 && (drops != 0 || grew["TCPReqQFullDoCookies"] < 5) {
					t.Errorf("%d drops, %d queued: this tests nothing", drops, queued)
				}
			}
			checkTotals(t, &r, 0)
		})
	}
}
