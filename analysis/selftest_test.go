package analysis

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/acc-project/acc/analysis/listeners"

	"github.com/acc-project/acc/format"
)

// What another recorder does to try its probes is no finding; whatever differs from that is, be it by
// the same executable.
func TestSelfTests(t *testing.T) {
	const pid = 77
	header := &format.Header{ExeDev: "8:1", ExeInode: 4711, MntNS: 3}
	header.Probes = []format.Probe{{Hook: format.HookHashdance, Kind: format.Queued}}
	notices := []string{"client-lost", "new-listener", "io-uring-accept"}
	type change struct {
		what     string
		process  func(p *format.Process)
		events   func(list []format.Event) []format.Event
		found    []string
		accepted uint64 // of the self-test, if there is one
		lost     uint64
	}
	socket := func(kind format.Kind, hook format.Hook, listener uint64) format.Event {
		return format.Event{
			Kind: kind, Hook: hook, Listener: listener, NetNS: 1, BacklogMax: 1,
			PID: pid, TID: pid, Proc: 1, Comm: "acc", SockFD: 5,
		}
	}
	tcp := func(kind format.Kind, hook format.Hook, rport uint16) format.Event {
		e := socket(kind, hook, 10)
		e.Family, e.Proto = format.FamilyIPv4, format.ProtoTCP
		e.LAddr, e.LPort = netip.MustParseAddr("127.0.0.1"), 40000
		if kind != format.Listen {
			e.PID, e.TID, e.Proc, e.Comm, e.SockFD = 0, 0, 0, "", 0
			e.RAddr, e.RPort, e.Cookie = e.LAddr, rport, uint64(rport)
		}
		if kind == format.Drop {
			e.Cause = format.CauseListenerClosed
		}
		return e
	}
	unix := func(listener uint64, via format.Via) format.Event {
		e := socket(format.Return, format.HookSysAccept4, listener)
		e.Family, e.Via, e.Ret, e.Inode, e.PeerPID = format.FamilyUnix, via, 9, listener+100, pid
		e.State, e.Mark = format.StateEstablished, format.MarkEnterLost
		return e
	}
	refused := func(listener uint64, errno int32) format.Event { // a request for a slot that took a connection
		e := unix(listener, format.ViaIOUring)
		e.Ret, e.Mark, e.PeerPID, e.Inode = -errno, format.MarkClientLost, 0, 0
		return e
	}
	lose := func(rport uint16) []format.Event {
		return []format.Event{
			tcp(format.Queued, format.HookHashdance, rport), tcp(format.Drop, format.HookChildForget, rport),
		}
	}
	test := func() []format.Event {
		list := []format.Event{unix(20, format.ViaIOUring), unix(21, format.ViaAccept4)}
		list = append(list, tcp(format.Listen, format.HookListenStart, 0))
		return slices.Concat(list, lose(1), lose(2))
	}
	for _, c := range []change{
		{what: "as it is", accepted: 2, lost: 2},
		{what: "another file", process: func(p *format.Process) { p.ExeInode++ }, found: notices},
		{what: "another user", process: func(p *format.Process) { p.UID = 1000 }, found: notices},
		{what: "another mount namespace", process: func(p *format.Process) { p.MntNS++ }, found: notices},
		{what: "a client more", events: func(list []format.Event) []format.Event {
			return append(list, lose(3)...)
		}, found: []string{"client-lost", "new-listener"}, accepted: 2},
		{what: "another address", events: func(list []format.Event) []format.Event {
			for i := range list {
				if list[i].LAddr.IsValid() {
					list[i].LAddr = netip.MustParseAddr("192.0.2.1")
				}
			}
			return list
		}, found: []string{"client-lost", "new-listener"}, accepted: 2},
		{what: "a stranger connects", events: func(list []format.Event) []format.Event {
			list[0].PeerPID++
			return list
		}, found: []string{"io-uring-accept"}, accepted: 1, lost: 2},
		{what: "no slots on this kernel", events: func(list []format.Event) []format.Event {
			return append(list, refused(20, 22))
		}, accepted: 2, lost: 2},
		{what: "another error", events: func(list []format.Event) []format.Event {
			return append(list, refused(20, 14))
		}, found: []string{"client-lost", "io-uring-accept"}, accepted: 1, lost: 2},
		{what: "not by io_uring", events: func(list []format.Event) []format.Event {
			return append(list, refused(21, 22))
		}, found: []string{"client-lost"}, accepted: 1, lost: 2},
		{what: "many", events: func(list []format.Event) []format.Event {
			for n := range uint64(32) {
				list = append(list, unix(1000+n, format.ViaIOUring))
			}
			return list
		}, found: notices},
	} {
		p := format.Process{Num: 1, PID: pid, Comm: "acc", Exe: "/usr/bin/acc", ExeDev: "8:1", ExeInode: 4711, MntNS: 3}
		list := test()
		if c.process != nil {
			c.process(&p)
		}
		if c.events != nil {
			list = c.events(list)
		}
		for i := range list {
			list[i].Seq, list[i].BootNS = uint64(i+1), int64(i+1)*1e6
		}
		a := New(header, Options{})
		b := &format.Batch{Processes: []format.Process{p}, Events: list}
		b.End = &format.End{Clean: true, BlockedKnown: true}
		if err := a.Add(b, false); err != nil {
			t.Fatal(err)
		}
		r, err := a.Finish(Completeness{})
		if err != nil {
			t.Fatal(err)
		}
		ids := map[string]bool{}
		for _, f := range r.Findings {
			if f.ID != "queue-full" {
				ids[f.ID] = true
			}
		}
		for _, id := range c.found {
			if !ids[id] {
				t.Errorf("%s: no %s", c.what, id)
			}
		}
		if len(ids) != len(c.found) {
			t.Errorf("%s: %v", c.what, r.Findings)
		}
		tests := listeners.SelfTest{}
		for _, s := range r.SelfTests {
			tests = s
		}
		if tests.Accepted != c.accepted || tests.Lost != c.lost || c.accepted > 0 && tests.Process != "acc[77]" {
			t.Errorf("%s: %+v", c.what, r.SelfTests)
		}
	}
}
