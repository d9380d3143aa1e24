//go:build linux && (amd64 || arm64)

package looks

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/capture/stacks"
	"github.com/acc-project/acc/format"
)

// Lines of /proc/TID/syscall as Linux 6.1 writes them.
func TestParseCall(t *testing.T) {
	for line, want := range map[string]inCall{
		"0 0x3 0x7ffd2 0x1000 0x0 0x0 0x0 0x7ffd18 0x7f2ab0": {0, [3]uint64{3, 0x7ffd2, 0x1000}, 0x7ffd18, 0x7f2ab0},
		"-1 0x7ffd18 0x7f2ab0":                               {nr: -1, sp: 0x7ffd18, pc: 0x7f2ab0},
		"running":                                            noCall,
		"":                                                   noCall,
		"7 0xzz 0x0 0x0 0x0 0x0 0x0 0x1 0x2":                 noCall,
		"-9 0x0 0x0 0x0 0x0 0x0 0x0 0x1 0x2":                 noCall,
	} {
		if got := parseCall(line); got != want {
			t.Errorf("%q: %+v, want %+v", line, got, want)
		}
	}
}

// Lines of /proc/PID/net/tcp and tcp6, and the address that ss printed for each.
func TestParseAddr(t *testing.T) {
	for s, want := range map[string]string{
		"0100007F:1F90":                         "127.0.0.1:8080",
		"00000000000000000000000001000000:0050": "[::1]:80",
		"0000000000000000FFFF00000100007F:0050": "127.0.0.1:80",
	} {
		if got, ok := parseAddr(s); !ok || got != netip.MustParseAddrPort(want) {
			t.Errorf("%s: %v, want %s", s, got, want)
		}
	}
	for _, s := range []string{"", "0100007F", "0100007F:", "01:50", "zz00007F:0050"} {
		if got, ok := parseAddr(s); ok {
			t.Errorf("%q: %v", s, got)
		}
	}
}

// A set of epoll tells whether a listener is in it, and asked for: the kernel's own fdinfo.
func TestArmed(t *testing.T) {
	set, err := unix.EpollCreate1(0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(set)
	listener, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(listener)
	if err := unix.Listen(listener, 1); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(listener, &st); err != nil {
		t.Fatal(err)
	}
	is := func(want string) {
		t.Helper()
		if got := amongEpoll(uint32(os.Getpid()), uint64(set), st.Ino); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	is(format.AmongAbsent)
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT}
	if err := unix.EpollCtl(set, unix.EPOLL_CTL_ADD, listener, &event); err != nil {
		t.Fatal(err)
	}
	is(format.AmongArmed)
	event.Events = 0
	if err := unix.EpollCtl(set, unix.EPOLL_CTL_MOD, listener, &event); err != nil {
		t.Fatal(err)
	}
	is(format.AmongDisarmed)
	if err := unix.EpollCtl(set, unix.EPOLL_CTL_DEL, listener, nil); err != nil {
		t.Fatal(err)
	}
	is(format.AmongAbsent)
	if got := amongEpoll(uint32(os.Getpid()), 1<<20, st.Ino); got != "" {
		t.Errorf("there is no such descriptor, and the answer is %s", got)
	}
}

// taken is what a Looker recorded.
type taken struct {
	watches []format.Watch
	rows    map[uint32]format.Doing
	images  map[uint32]format.Image
	stacks  map[uint32]format.Stack
}

func (x *taken) Watch(w format.Watch) error { x.watches = append(x.watches, w); return nil }
func (x *taken) Image(i format.Image) error { x.images[i.Num] = i; return nil }
func (x *taken) Stack(s format.Stack) error { x.stacks[s.Num] = s; return nil }
func (x *taken) Doing(d format.Doing) error { x.rows[d.Row] = d; return nil }

func take(t *testing.T, l *Looker) *taken {
	x := &taken{rows: map[uint32]format.Doing{}, images: map[uint32]format.Image{}, stacks: map[uint32]format.Stack{}}
	if err := l.Record(x); err != nil {
		t.Fatal(err)
	}
	return x
}

// A thread that sleeps in a program's read of a pipe is seen there, for as long as it does.
func TestLooker(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	cmd := exec.Command("cat")
	cmd.Stdin = r
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	r.Close()
	pid := uint32(cmd.Process.Pid)
	l := New("")
	l.Begin(Listener{Inode: 1 << 40}, []Thread{{pid, pid}})
	time.Sleep(150 * time.Millisecond)
	l.Again()
	time.Sleep(150 * time.Millisecond)
	l.Close()
	found := take(t, l)
	watches, rows := found.watches, found.rows
	// When it begins, when it is to be said again, and at the end.
	if n := len(watches); n != 3 || watches[0].ToNS != 0 || watches[1].ToNS != 0 || watches[2].ToNS == 0 ||
		watches[2].Looks == 0 || len(watches[2].Threads) != 1 || watches[2].Threads[0].Comm != "cat" {
		t.Fatalf("%+v", watches)
	}
	if slices.Contains(watches[2].Cannot, "system calls: operation not permitted") {
		t.Skip("this user may not see system calls")
	}
	var in, all int64
	for _, d := range rows {
		all += d.NS
		if d.Call == "read" && d.Kind == format.TargetPipe && d.State == format.DoingAsleep {
			in += d.NS
		}
	}
	if span := watches[2].ToNS - watches[0].FromNS; all > span+span/50 || in < span/3 {
		t.Errorf("%d ns of %d in read, %d in all: %+v", in, span, all, rows)
	}
}

// What a thread did is summed up exactly from what the kernel counts: running, waiting for a CPU, and the rest.
func TestRows(t *testing.T) {
	w := &watch{}
	x := &thread{}
	sleep, other := doing{state: format.DoingAsleep, call: "read"}, doing{state: format.DoingAsleep, call: "write"}
	x.add(w, sleep, 0, 50, 40)
	x.add(w, doing{state: format.DoingCPU}, 0, 50, 10)
	x.add(w, sleep, 50, 100, 50)
	x.add(w, other, 100, 150, 50)
	x.add(w, sleep, 200, 250, 50) // it had ended
	var got []string
	for _, r := range x.rows {
		got = append(got, fmt.Sprintf("%s %s %d %d %d %d", r.State, r.Call, r.FromNS, r.ToNS, r.NS, r.Looks))
	}
	want := []string{"asleep read 0 100 90 2", "cpu  0 50 10 1", "asleep write 100 150 50 1", "asleep read 200 250 50 1"}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
	for i := range int64(1000) { // bounded
		x.add(w, doing{state: format.DoingAsleep, call: fmt.Sprint(i)}, i*10, i*10+5, 5)
	}
	if len(x.rows) != maxRows {
		t.Errorf("%d rows", len(x.rows))
	}
	var sum int64
	for _, r := range x.rows {
		sum += r.NS
	}
	if sum != 200+5000 {
		t.Errorf("the rows sum up to %d", sum)
	}
}

// A thread that spins is on a CPU, whatever else the machine does.
func TestSpinning(t *testing.T) {
	var stop atomic.Bool
	tid := make(chan int)
	go func() {
		runtime.LockOSThread()
		tid <- unix.Gettid()
		for !stop.Load() {
		}
	}()
	w := newWatch(1, Listener{Inode: 1 << 40}, []Thread{{uint32(os.Getpid()), uint32(<-tid)}}, bootNS(), nil, "")
	time.Sleep(100 * time.Millisecond)
	w.look(bootNS(), every)
	stop.Store(true)
	var busy, all int64
	for _, r := range w.threads[0].rows {
		all += r.NS
		if r.State == format.DoingCPU || r.State == format.DoingRunnable {
			busy += r.NS
		}
	}
	if busy < all*9/10 {
		t.Errorf("%d of %d ns on a CPU or ready to run", busy, all)
	}
}

// A server that was sent something and does not answer is told of, by the kernel's tcp_info; one that answers is not.
func TestSilentPeers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ask := func() (client, server net.Conn) {
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		server, err = l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Write([]byte("query")); err != nil {
			t.Fatal(err)
		}
		return client, server
	}
	silent, kept := ask()
	defer silent.Close()
	defer kept.Close()
	answered, answers := ask()
	defer answered.Close()
	defer answers.Close()
	if _, err := answers.Write([]byte("answer")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * silentFor)
	list, err := silentPeers(uint32(os.Getpid()), 1)
	if err != nil {
		t.Skip("this kernel does not tell of its sockets: ", err)
	}
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	if len(list) != 1 || list[0].RAddr != "127.0.0.1" || list[0].RPort != port ||
		list[0].WaitingNS < int64(silentFor) {
		t.Errorf("%+v, want one of port %d", list, port)
	}
	if list, err := silentPeers(uint32(os.Getpid()), localPort(silent)); err != nil || len(list) != 0 {
		t.Errorf("a client of the listener is told of: %+v, %v", list, err)
	}
}

func localPort(c net.Conn) uint16 { return uint16(c.LocalAddr().(*net.TCPAddr).Port) }

// A pressure file as Linux 6.1 writes it.
func TestPressure(t *testing.T) {
	for s, want := range map[string]uint64{
		"some avg10=0.12 avg60=0.00 avg300=0.00 total=1234\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=99\n": 1234,
		"": 0, "some": 0, "some total=x": 0,
	} {
		if got := someWaited(s); got != want {
			t.Errorf("%q: %d, want %d", s, got, want)
		}
	}
}

// A looker that hangs, because what it reads is made to hang, does not keep a recording from its end.
func TestCloseHangs(t *testing.T) {
	t.Parallel()
	l := &Looker{wake: make(chan struct{}, 1), done: make(chan struct{})} // nobody runs
	began := time.Now()
	l.Close()
	if took := time.Since(began); took > 2*closeWithin {
		t.Errorf("closing took %v", took)
	}
}

// So does a finder that reads a file which does not answer: a file system of the program's own.
func TestFinderHangs(t *testing.T) {
	t.Parallel()
	f := newFinder(func() {})
	answers := make(chan bool)
	f.do(func() { <-answers })
	began := time.Now()
	f.close(100 * time.Millisecond)
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("closing took %v", took)
	}
	close(answers)
	<-f.done
}

// Package format tells readers of how many goroutines a part was looked at. Package stacks looks at them, and imports
// nothing of acc.
func TestMaxGoroutines(t *testing.T) {
	if stacks.MaxGoroutines != format.MaxGoroutines {
		t.Errorf("%d and %d", stacks.MaxGoroutines, format.MaxGoroutines)
	}
}

// The looker is woken once, when it is known that a program is one of Go: its other threads are looked at, too.
func TestGoWakes(t *testing.T) {
	woken := 0
	f := newFinder(func() { woken++ })
	pid := uint32(os.Getpid()) // this one is
	f.goroutinesOf(pid)
	f.goroutinesOf(pid)
	f.close(time.Minute)
	if !f.goProgram(pid) || woken != 1 {
		t.Errorf("known %t, woken %d times: %q", f.goProgram(pid), woken, f.cannot[pid])
	}
}

// Of a file that another one has replaced, nothing is read; nor of what is no file.
func TestOpenInode(t *testing.T) {
	path := t.TempDir() + "/x"
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	f, err := openInode(path, st.Ino)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if f, err := openInode(path, st.Ino+1); err != errReplaced {
		f.Close()
		t.Errorf("another one: %v", err)
	}
	pipe := t.TempDir() + "/pipe"
	if err := errors.Join(unix.Mkfifo(pipe, 0o600), unix.Stat(pipe, &st)); err != nil {
		t.Fatal(err)
	}
	if f, err := openInode(pipe, st.Ino); err != errReplaced { // and does not wait for a writer
		f.Close()
		t.Errorf("a pipe: %v", err)
	}
}

// Lines of /proc/PID/maps as Linux 6.1 writes them.
func TestParseMapping(t *testing.T) {
	for line, want := range map[string]string{
		"55d0-55d8 r-xp 00002000 fe:00 247766                     /usr/bin/sleep":         "55d0 55d8 2000 247766 /usr/bin/sleep",
		"55d0-55d8 r-xp 00002000 fe:00 247766                     /opt/a b (deleted)":     "55d0 55d8 2000 247766 /opt/a b (deleted)",
		"55d0-55d8 r--p 00002000 fe:00 247766                     /usr/bin/sleep":         "", // no code
		"7ffc-7ffe r-xp 00000000 00:00 0                          [vdso]":                 "",
		"7ffc-7ffe rwxp 00000000 00:00 0 ":                                                "", // made by a compiler
		"55d8-55d0 r-xp 00002000 fe:00 247766                     /usr/bin/sleep":         "",
		"55d0 r-xp 00002000 fe:00 247766 /x":                                              "",
		"":                                                                                "",
		"55d0-55d8 r-xp zz fe:00 247766                     /usr/bin/sleep":               "",
		"55d0-ffffffffffffffffff r-xp 00002000 fe:00 247766               /usr/bin/sleep": "",
	} {
		m, file, ok := parseMapping(line)
		got := ""
		if ok {
			got = fmt.Sprintf("%x %x %x %d %s", m.From, m.To, m.Off, file.inode, file.path)
		}
		if got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

// A thread that accepted and has ended is named if its process goes on without it. When a process ends, its threads have
// not left it.
func TestEnded(t *testing.T) {
	tid, stop := make(chan uint32), make(chan bool)
	var run func()
	run = func() {
		runtime.LockOSThread() // and it ends with the goroutine, if it is not the first
		if unix.Gettid() == os.Getpid() {
			go run()
		} else {
			tid <- uint32(unix.Gettid())
		}
		<-stop
	}
	go run()
	child := exec.Command("sleep", "100")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	pid := uint32(child.Process.Pid)
	one := newWatch(1, Listener{Inode: 1 << 40}, []Thread{{uint32(os.Getpid()), <-tid}}, bootNS(), nil, "")
	two := newWatch(2, Listener{Inode: 1 << 41}, []Thread{{pid, pid}}, bootNS(), nil, "")
	close(stop)
	_ = child.Process.Kill()
	_ = child.Wait()
	for deadline := time.Now().Add(time.Minute); len(one.Ended) == 0 && time.Now().Before(deadline); time.Sleep(every) {
		one.look(bootNS(), every)
		two.look(bootNS(), every)
	}
	if len(one.Ended) != 1 || one.Ended[0] != one.Threads[0].TID || !one.Owners {
		t.Errorf("a thread has ended: %+v", one.Watch)
	}
	if len(two.Ended) != 0 || two.Owners || !two.threads[0].ended {
		t.Errorf("a process has ended: %+v", two.Watch)
	}
}

// Where nothing can be looked at, that is what is recorded, and no look.
func TestBlind(t *testing.T) {
	l := New("threads: none")
	l.Begin(Listener{Inode: 1}, []Thread{{uint32(os.Getpid()), uint32(os.Getpid())}})
	l.Close()
	x := take(t, l)
	if n := len(x.watches); n == 0 || x.watches[n-1].Looks != 0 || len(x.watches[n-1].Threads) != 0 ||
		!slices.Equal(x.watches[n-1].Cannot, []string{"threads: none"}) || len(x.rows) != 0 {
		t.Errorf("%+v", x)
	}
}
