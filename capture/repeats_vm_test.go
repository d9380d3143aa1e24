//go:build linux && (amd64 || arm64)

package capture

import (
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

// A repeater is a thread that accepts again and again, in many ways, and knows what each call was like.
type repeater struct {
	t        *testing.T
	tid      uint32
	at       *spot // that it listens at now
	flags    uintptr
	addr     bool
	len      int32 // of the buffer, -1: no pointer to it
	plain    bool  // accept, not accept4
	comm     string
	uid      int
	apart    bool // in a network namespace of its own
	expected []expected
}

// A spot is a listener.
type spot struct {
	fd     int
	inode  uint64
	family int
	addr   unix.Sockaddr
	limit  uint32
	netns  uint32
}

// expected is what a call is known by.
type expected struct {
	what     string
	enter    format.Event // as far as the thread knows
	ret      int32
	made     accepted
	cookie   uint64
	lenOut   int32
	short    bool
	accepted bool
}

func (r *repeater) listen(family int, limit uint32) *spot {
	fd, addr := listen(r.t, family, int(limit))
	if err := unix.SetNonblock(fd, true); err != nil {
		r.t.Fatal(err)
	}
	var st unix.Stat_t
	r.must(unix.Fstat(fd, &st))
	return &spot{fd, st.Ino, family, addr, limit, uint32(namespace("/proc/thread-self/ns/net"))}
}

// call accepts, after a connection if there is to be one.
func (r *repeater) call(what string, connect bool) {
	r.t.Helper()
	p, client := r.at, -1
	if connect {
		client = dial(r.t, p.family, p.addr)
		defer unix.Close(client)
	}
	var buffer struct { // as a compiler lays out both
		len  int32
		addr [28]byte
	}
	buffer.len = max(r.len, 0)
	var addr, size uintptr
	if r.addr {
		addr = uintptr(unsafe.Pointer(&buffer.addr))
	}
	if r.len >= 0 {
		size = uintptr(unsafe.Pointer(&buffer.len))
	}
	nr := uintptr(unix.SYS_ACCEPT4)
	x := expected{what: what, enter: format.Event{TID: r.tid, SockFD: int32(p.fd), Flags: uint32(r.flags), HasAddr: r.addr,
		HasAddrLen: r.len >= 0, AddrLenIn: max(r.len, 0), Via: format.ViaAccept4, Listener: p.inode, NetNS: p.netns, BacklogMax: p.limit,
		Comm: r.comm, UID: uint32(r.uid)}}
	if r.plain {
		nr, x.enter.Via, x.enter.Flags = unix.SYS_ACCEPT, format.ViaAccept, 0
	}
	fd, _, errno := unix.Syscall6(nr, uintptr(p.fd), addr, size, r.flags, 0, 0)
	if x.ret = int32(fd); errno != 0 {
		x.ret = -int32(errno)
	} else {
		x.accepted, x.made = true, learn(r.t, int(fd))
		x.cookie = cookieOf(r.t, int(fd))
		if r.addr && r.len >= 0 {
			x.lenOut = buffer.len
			x.short = r.len < buffer.len
		}
		unix.Close(int(fd))
	}
	if x.accepted != connect {
		r.t.Errorf("%s: accept gave %d", what, x.ret)
	}
	r.expected = append(r.expected, x)
}

func cookieOf(t *testing.T, fd int) uint64 {
	t.Helper()
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	if err != nil {
		t.Error(err)
	}
	return cookie
}

func (r *repeater) must(errs ...error) {
	r.t.Helper()
	for _, err := range errs {
		if err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *repeater) named(name string) {
	b := append([]byte(name), 0)
	r.must(unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&b[0])), 0, 0, 0))
	r.comm = name
}

func (r *repeater) as(uid int) {
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), ^uintptr(0), ^uintptr(0)); errno != 0 {
		r.t.Fatal("setresuid: ", errno) // of this thread alone
	}
	r.uid = uid
}

// run makes each kind of call three times after the usual one, and that again: the first one differs from the call before, the
// others don't.
func (r *repeater) run() {
	home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	r.must(err)
	v4, v6, other := r.listen(unix.AF_INET, 8), r.listen(unix.AF_INET6, 9), r.listen(unix.AF_INET, 8)
	usual := func() {
		r.at, r.flags, r.addr, r.len, r.plain = v4, unix.SOCK_CLOEXEC, true, 28, false
		if r.uid != 0 {
			r.as(0)
		}
		if r.comm != "repeats" {
			r.named("repeats")
		}
		if r.apart {
			r.must(unix.Setns(home, unix.CLONE_NEWNET))
			r.apart = false
		}
		if v4.limit != 8 {
			v4.limit = 8
			r.must(unix.Listen(v4.fd, 8))
		}
	}
	usual()
	for deadline := time.Now().Add(2 * time.Second); bases(r.t, r.tid) == 0; time.Sleep(10 * time.Millisecond) {
		if r.call("at first", false); time.Now().After(deadline) {
			r.t.Fatal("no call is recorded as one record")
		}
	}
	for _, way := range []struct {
		name string
		set  func()
	}{
		{"as usual", func() {}},
		{"another listener", func() { r.at = other }},
		{"IPv6", func() { r.at = v6 }},
		{"flags", func() { r.flags = unix.SOCK_NONBLOCK }},
		{"accept", func() { r.plain = true }},
		{"no address", func() { r.addr, r.len = false, -1 }},
		{"a length alone", func() { r.addr = false }},
		{"another length", func() { r.len = 20 }},
		{"a short buffer", func() { r.len = 4 }},
		{"a name", func() { r.named("another") }},
		{"a user", func() { r.as(4242) }},
		{"a network namespace", func() { r.must(unix.Unshare(unix.CLONE_NEWNET)); r.apart = true }},
		{"a limit", func() { v4.limit = 5; r.must(unix.Listen(v4.fd, 5)) }},
	} {
		for _, connect := range []bool{true, false} {
			usual()
			way.set()
			if r.apart { // clients are made where the listener is
				r.callApart(way.name, home, connect)
				continue
			}
			for range 3 {
				r.call(way.name, connect)
			}
			r.call(way.name+", the other outcome", !connect)
			r.call(way.name, connect)
		}
	}
	usual()
	unix.Close(home)
	for _, p := range []*spot{v4, v6, other} {
		unix.Close(p.fd)
	}
	r.anew()
}

// anew accepts at listeners each of which comes where one was closed: it has its descriptor, and mostly its address in the kernel,
// but is of another network namespace.
func (r *repeater) anew() {
	for range 8 {
		r.must(unix.Unshare(unix.CLONE_NEWNET), loopbackUp())
		r.at = r.listen(unix.AF_INET, 8)
		for _, connect := range []bool{true, true, false} {
			r.call("a listener anew", connect)
		}
		unix.Close(r.at.fd)
	}
}

// callApart is call in another network namespace.
func (r *repeater) callApart(what string, home int, connect bool) {
	away, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	r.must(err)
	defer unix.Close(away)
	for range 3 {
		client := -1
		if connect {
			r.must(unix.Setns(home, unix.CLONE_NEWNET))
			client = dial(r.t, r.at.family, r.at.addr)
			r.must(unix.Setns(away, unix.CLONE_NEWNET))
		}
		fd, errno := rawAccept4(r.at.fd, 0, 0, int(r.flags))
		x := expected{what: what, ret: int32(fd), accepted: errno == 0, enter: format.Event{TID: r.tid, SockFD: int32(r.at.fd),
			Flags: uint32(r.flags), Via: format.ViaAccept4, Listener: r.at.inode, NetNS: r.at.netns, BacklogMax: r.at.limit, Comm: r.comm, TaskNetNS: 1}}
		if x.accepted {
			x.made = learn(r.t, fd)
			x.cookie = cookieOf(r.t, fd)
			unix.Close(fd)
		} else {
			x.ret = -int32(errno)
		}
		unix.Close(client)
		r.expected = append(r.expected, x)
	}
}

// check holds both events of a call against what the thread knows.
func (x *expected) check(t *testing.T, enter, ret *format.Event) {
	t.Helper()
	same := func(e *format.Event) {
		t.Helper()
		w := &x.enter
		if e.SockFD != w.SockFD || e.Flags != w.Flags || e.Via != w.Via || e.Listener != w.Listener || e.BacklogMax != w.BacklogMax ||
			e.NetNS != w.NetNS || e.Comm != w.Comm || e.UID != w.UID || (e.TaskNetNS != 0) != (w.TaskNetNS != 0) || e.CPUSeq == 0 {
			t.Errorf("%s: %+v, want %+v", x.what, *e, *w)
		}
	}
	same(enter)
	same(ret)
	w := &x.enter
	if enter.HasAddr != w.HasAddr || enter.HasAddrLen != w.HasAddrLen || enter.AddrLenIn != w.AddrLenIn || enter.Mark != 0 {
		t.Errorf("%s: an entry %+v, want %+v", x.what, *enter, *w)
	}
	mark := uint16(0)
	if x.short {
		mark = format.MarkAddrShort
	}
	if ret.Ret != x.ret || ret.Mark != mark || ret.AddrLenOut != x.lenOut || ret.BootNS < enter.BootNS {
		t.Errorf("%s: a return %+v, want %d, mark %d, length %d", x.what, *ret, x.ret, mark, x.lenOut)
	}
	remote := netip.AddrPort{}
	if x.accepted {
		remote = x.made.remote
		if ret.Inode != x.made.inode || ret.Cookie != x.cookie || ret.Local() != x.made.local || enter.Backlog != 1 {
			t.Errorf("%s: %+v, want %+v, cookie %d", x.what, *ret, x.made, x.cookie)
		}
	}
	if ret.Remote() != remote {
		t.Errorf("%s: from %s, want %s", x.what, ret.Remote(), remote)
	}
}

// bases is how many calls of a thread the programs have written whole.
func bases(t *testing.T, tid uint32) (n uint32) {
	for id := ebpf.MapID(0); ; {
		var err error
		if id, err = ebpf.MapGetNextID(id); err != nil {
			return n
		}
		m, err := ebpf.NewMapFromID(id)
		if err != nil {
			continue
		}
		if info, err := m.Info(); err == nil && info.Name == "calls" {
			c, err := mapCalls(m)
			if err != nil {
				t.Fatal(err)
			}
			n = c.places()[tid%numPlaces].Bases
			c.close()
		}
		m.Close()
	}
}

// Whatever changes from one call of a thread to the next is in the events of the next one, though a call that is like an
// earlier one is recorded as what differs from that.
func TestVMRepeats(t *testing.T) {
	needVM(t)
	if release, _ := kernelName(); strings.HasPrefix(release, "5.10.") {
		t.Skip("a call is one record on kernels from 5.12 on")
	}
	for _, mode := range exactModes(t) {
		t.Run(string(mode), func(t *testing.T) {
			var whole uint32
			r := &repeater{t: t}
			rec := recordWhile(t, Options{Mode: mode, startWatch: 1}, func() {
				done := make(chan bool)
				go func() {
					defer close(done)
					runtime.LockOSThread() // and end the thread
					r.tid = uint32(unix.Gettid())
					r.run()
					whole = bases(t, r.tid)
				}()
				<-done
			})
			var events []*format.Event
			for i := range rec.events {
				if e := &rec.events[i]; e.TID == r.tid && (e.Kind == format.Enter || e.Kind == format.Return) {
					events = append(events, e)
				}
			}
			if len(events) != 2*len(r.expected) {
				t.Fatalf("%d events of %d calls", len(events), len(r.expected))
			}
			cookies := slices.ContainsFunc(rec.events, func(e format.Event) bool { return e.Kind == format.Queued && e.Cookie != 0 })
			for i := range r.expected {
				if !cookies { // no trampolines, as on 6.1 on arm64
					r.expected[i].cookie = 0
				}
				r.expected[i].check(t, events[2*i], events[2*i+1])
			}
			calls := uint32(len(r.expected))
			t.Logf("%d of %d calls were recorded whole", whole, calls)
			if whole < 20 || whole > calls*2/3 {
				t.Error("none were repeats, or all")
			}
			checkTotals(t, &rec, 0)
		})
	}
}
