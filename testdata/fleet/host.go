package fleet

// This file makes the capture of one host.

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/acc-project/acc/format"
)

const (
	second = int64(time.Second)
	minute = 60 * second
	limit  = 32 // of the accept queue
)

// host is a host whose hour is made up.
type host struct {
	number    int
	yesterday bool
	rng       *rand.Rand
	header    format.Header
	w         *format.Writer
	counts    map[[2]uint8]*format.ProbeTotal
	now       int64 // boot clock
	begin     int64
	truth     Truth
	lossy     bool
	lossFrom  int64

	listeners []format.ListenSocket
	queues    [][]*connection // by listener
	closes    []*connection   // by time
	cookie    uint64
	nextClock int64
}

// connection is one that is not over.
type connection struct {
	listener int
	remote   netip.AddrPort
	cookie   uint64
	queued   int64
	ends     int64
	process  uint32
}

// newHost begins a host's capture of an hour.
func newHost(n int, at time.Time, yesterday bool) *host {
	seed := uint64(n) * 2
	if yesterday {
		seed++
	}
	h := &host{number: n, yesterday: yesterday, rng: rand.New(rand.NewPCG(seed, 19)), counts: map[[2]uint8]*format.ProbeTotal{},
		begin: 1000*second + int64(n)*second}
	h.now = h.begin
	real := at.UnixNano() + h.rng.Int64N(2*second) - second // clocks are skewed by a second
	keeping, maxErr := format.KeepingSynced, int64(500_000)+h.rng.Int64N(5_000_000)
	switch {
	case n%500 == 33: // years ahead
		real += 3 * 365 * 24 * 3600 * second
		keeping, maxErr = format.KeepingFree, 16*second
	case n%100 == 44:
		real += 40 * second
		keeping, maxErr = format.KeepingFree, 16*second
	}
	h.lossy = n%25 == 3 && !yesterday
	day := 1
	if yesterday {
		day = 0
	}
	h.header = format.Header{
		ID: fmt.Sprintf("%08x-0000-4000-8000-%012x", n, day), Tool: []string{"acc 0.1.0", "acc 0.2.0"}[n%2],
		Host: fmt.Sprintf("host-%04d", n), Kernel: []string{"5.10.0", "6.1.0", "6.12.0"}[n%3], Arch: "x86_64", CPUs: 8, Mode: "fentry",
		StartNS: real, Zone: "UTC", MachineID: fmt.Sprintf("%032x", n+1),
		Clock: format.Clock{BootNS: h.begin, MonoNS: h.begin, RealNS: real, Keeping: keeping, MaxErrNS: maxErr},
	}
	for hook := format.HookHashdance; hook < format.NumHooks; hook++ {
		h.header.Probes = append(h.header.Probes, format.Probe{Hook: hook, Kind: format.Queued, How: "fentry"})
	}
	h.header.Probes = append(h.header.Probes, format.Probe{Hook: format.HookSysAccept4, Kind: format.Enter, How: "fentry"},
		format.Probe{Hook: format.HookSysAccept4, Kind: format.Return, How: "fexit"})
	ports := []uint16{80, 443}
	if n%4 == 3 && !yesterday {
		ports = append(ports, 9090)
	}
	for i, port := range ports {
		h.listeners = append(h.listeners, format.ListenSocket{NetNS: 4026531840, Listener: uint64(30_000 + n%1000 + i*7), Family: format.FamilyIPv4,
			Proto: 6, LAddr: "0.0.0.0", LPort: port, BacklogMax: limit})
	}
	h.queues = make([][]*connection, len(ports))
	return h
}

// file is its name: of host and time, so that names sort and none is given twice.
func (h *host) file() string {
	return fmt.Sprintf("%s-%s-000001.acc", h.header.Host, time.Unix(0, h.header.StartNS).UTC().Format("20060102T150405Z"))
}

// write makes the capture.
func (h *host) write(name string, connections int) (Truth, error) {
	file, err := os.Create(name)
	if err != nil {
		return Truth{}, err
	}
	defer file.Close()
	out := bufio.NewWriterSize(file, 1<<20)
	if h.w, err = format.NewWriter(out, h.header, format.WriterOptions{}); err != nil {
		return Truth{}, err
	}
	for i := range uint32(4) {
		p := format.Process{Num: i + 1, PID: 1000 + i, Comm: h.service(), Exe: "/usr/sbin/" + h.service(), Unit: h.service() + ".service"}
		if h.number%4 == 1 {
			p.Container, p.Unit = fmt.Sprintf("%064x", h.number*4+1), ""
			p.Pod, p.PodUID = fmt.Sprintf("shop/%s-%d", h.service(), h.number%7), fmt.Sprintf("%032x", h.number)
		}
		if err := h.w.Process(p); err != nil {
			return Truth{}, err
		}
	}
	if err := h.w.Snapshot(format.Snapshot{BootNS: h.begin, ListenersKnown: true, ConnectionsKnown: true, Listeners: h.listeners}); err != nil {
		return Truth{}, err
	}
	gap := float64(60*minute) / float64(connections)
	for range connections {
		at := h.now + int64(h.rng.ExpFloat64()*gap)
		if err := h.until(at); err != nil {
			return Truth{}, err
		}
		if err := h.arrive(); err != nil {
			return Truth{}, err
		}
	}
	if err := h.until(max(h.begin+60*minute, h.now+10*second)); err != nil {
		return Truth{}, err
	}
	err = h.end(file, out)
	h.truth.Captures, h.truth.Bytes = 1, h.w.Bytes()
	return h.truth, err
}

func (h *host) service() string {
	return []string{"nginx", "shop-api", "mailer", "metrics"}[h.number%4]
}

// stalled reports whether nobody accepts.
func (h *host) stalled(at int64) bool {
	after := at - h.begin
	return !h.yesterday && h.number%4 == 1 && after > 20*minute && after < 21*minute
}

// broke reports whether accept fails for want of descriptors.
func (h *host) broke(at int64) bool {
	after := at - h.begin
	return !h.yesterday && h.number%4 == 2 && after > 30*minute && after < 30*minute+30*second
}

// until has things happen that are due before a time: accepts of what waits, and closes.
func (h *host) until(at int64) error {
	for {
		next, close := at, -1
		for i, c := range h.closes {
			if c.ends < next {
				next, close = c.ends, i
			}
		}
		due := -1
		for i, q := range h.queues {
			if len(q) == 0 {
				continue
			}
			t := max(q[0].queued+20_000+h.rng.Int64N(180_000), h.now+1000)
			if h.stalled(t) {
				t = h.begin + 21*minute
			}
			if t < next {
				next, due, close = t, i, -1
			}
		}
		var err error
		switch {
		case due >= 0:
			h.now = max(h.now+1, next)
			err = h.accept(due)
		case close >= 0:
			h.now = max(h.now+1, next)
			c := h.closes[close]
			h.closes = slices.Delete(h.closes, close, close+1)
			err = h.closed(c)
		default:
			h.now = max(h.now+1, at)
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// arrive is a client that comes.
func (h *host) arrive() error {
	h.cookie++
	h.truth.Connections++
	i := h.rng.IntN(len(h.listeners))
	c := &connection{listener: i, cookie: h.cookie, queued: h.now, remote: netip.AddrPortFrom(
		netip.AddrFrom4([4]byte{10, byte(h.number), byte(h.rng.IntN(16)), byte(h.rng.IntN(250) + 1)}), uint16(h.rng.IntN(28_000)+32_768))}
	if len(h.queues[i]) > limit {
		h.truth.Refused++
		return h.event(c, format.Event{Kind: format.Drop, Hook: format.HookConnRequest})
	}
	h.queues[i] = append(h.queues[i], c)
	queue := uint32(len(h.queues[i]) - 1)
	return h.event(c, format.Event{Kind: format.Queued, Hook: format.HookHashdance, State: 3, HandshakeUS: uint32(150 + h.rng.IntN(900)), Backlog: queue})
}

// accept is a call of a worker: it takes the first of a queue, or fails.
func (h *host) accept(i int) error {
	c := h.queues[i][0]
	worker := uint32(h.rng.IntN(4))
	task := func(e format.Event) format.Event {
		e.PID, e.TID, e.Proc, e.Comm, e.SockFD, e.Hook, e.Via, e.State = 1000+worker, 1000+worker, worker+1, h.service(), int32(6+i), format.HookSysAccept4,
			format.ViaAccept4, 10
		e.Backlog = uint32(len(h.queues[i]))
		return e
	}
	if err := h.event(&connection{listener: i}, task(format.Event{Kind: format.Enter})); err != nil {
		return err
	}
	h.now += 1500 + h.rng.Int64N(2000)
	if h.broke(h.now) {
		h.truth.EMFILE++
		err := h.event(&connection{listener: i}, task(format.Event{Kind: format.Return, Ret: -24}))
		h.now += second / 20
		return err
	}
	h.queues[i] = h.queues[i][1:]
	e := task(format.Event{Kind: format.Return, Ret: int32(8 + h.rng.IntN(16)), Inode: 50_000 + c.cookie})
	e.State, e.Backlog = 1, uint32(len(h.queues[i]))
	c.process, c.ends = worker+1, h.now+100_000+int64(h.rng.ExpFloat64()*float64(20*second/1000))
	h.closes = append(h.closes, c)
	return h.event(c, e)
}

// closed is a connection that ends.
func (h *host) closed(c *connection) error {
	e := format.Event{Kind: format.Closed, Hook: format.HookSetState, OldState: 4, State: 7, BytesIn: uint64(120 + 20*h.rng.IntN(30)),
		BytesOut: uint64(900 + 100*h.rng.IntN(40)), SRTTUS: uint32(100 + h.rng.IntN(400)), MinRTTUS: uint32(60 + h.rng.IntN(40)), SegsIn: 5, SegsOut: 4,
		BacklogMax: limit, Inode: 50_000 + c.cookie}
	switch r := h.rng.IntN(100); {
	case r < 1:
		e.SockErr, e.OldState = 104, 1
	case r < 30:
		e.OldState = 9
	}
	if h.rng.IntN(50) == 0 {
		e.Retransmits = 1
	}
	return h.event(c, e)
}

// event writes an event of a connection, or loses it.
func (h *host) event(c *connection, e format.Event) error {
	l := &h.listeners[c.listener]
	e.BootNS, e.NetNS, e.Family, e.Type, e.Proto, e.LPort = h.now, l.NetNS, format.FamilyIPv4, 1, 6, l.LPort
	if e.Kind != format.Closed {
		e.Listener, e.BacklogMax = l.Listener, limit
	}
	e.LAddr = netip.AddrFrom4([4]byte{})
	if c.remote.IsValid() {
		e.LAddr, e.RAddr, e.RPort = netip.AddrFrom4([4]byte{10, 200, byte(h.number >> 8), byte(h.number)}), c.remote.Addr(), c.remote.Port()
		if e.Kind != format.Drop {
			e.Cookie = c.cookie
		}
	}
	t := h.counts[[2]uint8{uint8(e.Hook), uint8(e.Kind)}]
	if t == nil {
		t = &format.ProbeTotal{Hook: e.Hook, Kind: e.Kind}
		h.counts[[2]uint8{uint8(e.Hook), uint8(e.Kind)}] = t
	}
	t.Seen++
	e.CPUSeq = t.Seen
	if h.now >= h.nextClock {
		h.nextClock = h.now + 10*second
		p := h.header.Clock
		p.RealNS, p.BootNS, p.MonoNS = p.RealNS+h.now-h.begin, h.now, h.now
		if err := h.w.Clock(p); err != nil {
			return err
		}
	}
	if h.lossy && h.rng.IntN(1000) == 0 {
		t.Lost++
		h.truth.Lost++
		return h.w.Loss(format.Loss{Hook: e.Hook, Kind: e.Kind, Count: 1, FromNS: h.lossFrom, ToNS: h.now})
	}
	h.lossFrom = h.now
	t.Recorded++
	return h.w.Event(&e)
}

// end ends the capture.
func (h *host) end(file *os.File, out *bufio.Writer) error {
	p := h.header.Clock
	p.RealNS, p.BootNS, p.MonoNS = p.RealNS+h.now-h.begin, h.now, h.now
	end := format.End{Reason: "rotation", Clean: true, BlockedKnown: true, Clock: p, Lost: h.truth.Lost}
	for _, t := range h.counts {
		end.Totals = append(end.Totals, *t)
	}
	slices.SortFunc(end.Totals, func(a, b format.ProbeTotal) int { return int(a.Hook)*100 + int(a.Kind) - int(b.Hook)*100 - int(b.Kind) })
	if err := h.w.Close(end); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return file.Close()
}
