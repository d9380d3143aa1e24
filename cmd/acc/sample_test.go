package main

import (
	"bytes"
	"maps"
	"net/netip"
	"slices"

	"github.com/acc-project/acc/format"
)

// lifeSample is a capture of a server that accepts too slowly: 20 clients come, a
// queue for 4 is full after 5; the server accepts 4 of them, a second apart. One
// of these had reset, one closes after 320 bytes; one more is still there from before.
func lifeSample() []byte { return lifeSampleWith(func(*format.Writer, int64) error { return nil }) }

// lifeSampleWith is lifeSample with further records, which are told when the recording began.
func lifeSampleWith(more func(w *format.Writer, boot int64) error) []byte {
	const second = 1_000_000_000
	var out bytes.Buffer
	boot, real := int64(100*second), int64(1_700_000_000*second)
	probes := []format.Probe{{Hook: format.HookSysAccept4, Kind: format.Enter, How: "fentry"}, {Hook: format.HookSysAccept4, Kind: format.Return, How: "fexit"}}
	for hook := format.HookHashdance; hook < format.NumHooks; hook++ {
		probes = append(probes, format.Probe{Hook: hook, Kind: format.Queued, How: "fentry"})
	}
	w, err := format.NewWriter(&out, format.Header{
		ID: "3b1f0a52-6f0e-4f7a-9d55-0123456789ac", Tool: "acc test", Host: "web1", Kernel: "6.1.0", Arch: "x86_64", CPUs: 2, Mode: "fentry",
		Command: []string{"acc", "record"}, StartNS: real, Zone: "UTC", Clock: format.Clock{BootNS: boot, MonoNS: boot, RealNS: real}, Probes: probes,
	}, format.WriterOptions{FrameEvents: 8})
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	must(err)
	must(w.Process(format.Process{Num: 1, PID: 10, Comm: evil, Exe: "/srv/app"}))
	must(more(w, boot))
	must(w.Snapshot(format.Snapshot{BootNS: boot, ListenersKnown: true, ConnectionsKnown: true,
		Listeners:   []format.ListenSocket{{NetNS: 1, Listener: 777, Family: format.FamilyIPv4, Proto: 6, LAddr: "0.0.0.0", LPort: 80, BacklogMax: 4}},
		Connections: []format.Connection{{NetNS: 1, LAddr: "192.0.2.1", LPort: 80, RAddr: "10.0.0.99", RPort: 50099, State: 1, Inode: 99, Cookie: 99}}}))
	now, queue, hits := boot, uint32(0), map[format.Hook]uint64{}
	counts := tally{}
	add := func(e format.Event) {
		now += second / 100
		hits[e.Hook]++
		e.BootNS, e.NetNS, e.CPUSeq, e.Family, e.Type, e.Proto, e.LPort = now, 1, hits[e.Hook], format.FamilyIPv4, 1, 6, 80
		if e.Kind != format.Closed {
			e.Listener, e.Backlog, e.BacklogMax = 777, queue, 4
		}
		counts.add(&e)
		must(w.Event(&e))
	}
	conn := func(n int, e format.Event) format.Event {
		e.LAddr, e.RAddr, e.RPort, e.Cookie = netip.MustParseAddr("192.0.2.1"), netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}), uint16(50000+n), uint64(n)
		return e
	}
	task := func(e format.Event) format.Event {
		e.PID, e.TID, e.Proc, e.Comm, e.SockFD, e.Hook, e.Via, e.State, e.LAddr = 10, 10, 1, evil, 6, format.HookSysAccept4, format.ViaAccept4, 10, netip.MustParseAddr("0.0.0.0")
		return e
	}
	closed := func(n int, old uint8, errno uint16) {
		add(conn(n, format.Event{Kind: format.Closed, Hook: format.HookSetState, OldState: old, State: 7, SockErr: errno, BytesIn: 321, BytesOut: 1001, SRTTUS: 250}))
	}
	for n := 1; n <= 20; n++ {
		if queue > 4 {
			add(conn(n, format.Event{Kind: format.Drop, Hook: format.HookConnRequest}))
			continue
		}
		add(conn(n, format.Event{Kind: format.Queued, Hook: format.HookHashdance, State: 3, HandshakeUS: 400}))
		queue++
	}
	closed(2, 1, 104)
	for n := 1; n <= 4; n++ {
		now += second
		add(task(format.Event{Kind: format.Enter}))
		queue--
		e := conn(n, task(format.Event{Kind: format.Return, Ret: int32(n + 6)}))
		if e.State = 1; n == 2 {
			e.State = 7
		}
		add(e)
		if n == 1 {
			closed(1, 9, 0)
		}
	}
	closed(99, 5, 0)
	end := format.End{Reason: "signal", Clean: true, BlockedKnown: true, Clock: format.Clock{BootNS: now + 2*second, MonoNS: now + 2*second, RealNS: real + now - boot + 2*second}}
	end.Totals = counts.totals()
	must(w.Close(end))
	return out.Bytes()
}

// tally counts events as the recorder's account does, and gives them their numbers.
type tally map[[2]uint8]uint64

func (t tally) add(e *format.Event) {
	p := [2]uint8{uint8(e.Hook), uint8(e.Kind)}
	t[p]++
	e.CPUSeq = t[p]
}

func (t tally) totals() (list []format.ProbeTotal) {
	for _, p := range slices.SortedFunc(maps.Keys(t), func(a, b [2]uint8) int { return bytes.Compare(a[:], b[:]) }) {
		list = append(list, format.ProbeTotal{Hook: format.Hook(p[0]), Kind: format.Kind(p[1]), Seen: t[p], Recorded: t[p]})
	}
	return list
}
