package crosscheck

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/acc-project/acc/format"
)

// dropsAt is a reading with the counters and settings that matter for requests that a listener drops.
func dropsAt(ns int64, drops, overflows, synQueue uint64, cookies, backlog int64) format.Counters {
	c := reading(ns, ns+10, 10, 0)
	c.Values[format.CounterDrops], c.Values[format.CounterOverflows], c.Values[format.CounterSYNQueueFull] = drops,
		overflows, synQueue
	c.Settings = map[string]int64{format.SettingSyncookies: cookies, format.SettingSYNBacklog: backlog}
	return c
}

// Each counter that grew is either told of by events or by a line.
func TestNotShown(t *testing.T) {
	inEvents := []string{format.CounterPassiveOpens, "TcpActiveOpens", "TcpExtSyncookiesRecv",
		"TcpExtTCPFastOpenPassive",
		"MPTcpExtMPCapableSYNRX", "MPTcpExtMPCapableACKRX", format.CounterMPJoins}
	for _, name := range format.CounterNames {
		from, to := reading(100, 110, 10, 0), reading(200, 210, 10, 0)
		from.Values[name], to.Values[name] = 10, 12
		w := New(&format.Header{})
		w.Add(&format.Batch{Counters: []format.Counters{from, to}})
		r := w.Finish()
		shown := slices.ContainsFunc(r.NotShown, func(n NotShown) bool {
			return n.Counter == name && n.Count == 2 && n.NetNS == 1 && strings.Contains(n.Text, "2")
		})
		if want := !slices.Contains(inEvents, name); shown != want {
			t.Errorf("%s: %+v", name, r.NotShown)
		}
	}
	// With events, only what they lack.
	w := New(&format.Header{Probes: []format.Probe{{Hook: format.HookConnRequest, Kind: format.Drop}}})
	drop := format.Event{BootNS: 150, Kind: format.Drop, Hook: format.HookConnRequest, NetNS: 1, Proto: 6}
	syn := drop
	syn.Mark = format.MarkSynQueue
	w.Add(&format.Batch{Counters: []format.Counters{dropsAt(100, 0, 0, 0, 1, 1)},
		Events: []format.Event{drop, drop, syn}})
	w.Add(&format.Batch{Counters: []format.Counters{dropsAt(200, 5, 3, 1, 1, 1)}})
	r := w.Finish()
	if len(r.NotShown) != 2 || r.NotShown[1].Counter != format.CounterOverflows || r.NotShown[1].Count != 1 ||
		r.NotShown[0].Count != 1 {
		t.Errorf("%+v", r.NotShown)
	}
}

// A setting is known at a time by the reading before it, in its own namespace.
func TestSettings(t *testing.T) {
	var s Settings
	other := dropsAt(150, 0, 0, 0, 2, 256)
	other.NetNS = 2
	for _, c := range []format.Counters{dropsAt(100, 0, 0, 0, 1, 128), other, dropsAt(200, 0, 0, 0, 1, 128),
		dropsAt(300, 0, 0, 0, 0, 128), {NetNS: 1, BootNS: 400}} {
		s.Add(&c)
	}
	for _, c := range []struct {
		netns uint32
		ns    int64
		want  int64
		known bool
	}{{1, 50, 1, true}, {1, 250, 1, true}, {1, 300, 0, true}, {1, 900, 0, true}, {2, 300, 2, true},
		{3, 300, 0, false}} {
		if v, known := s.At(c.netns, c.ns, format.SettingSyncookies); v != c.want || known != c.known {
			t.Errorf("%+v: %d, %v", c, v, known)
		}
	}
	want := []SettingChange{{1, format.SettingSyncookies, 1, 0, 300}}
	if got := s.changes(1); !slices.Equal(got, want) || len(s.changes(2)) != 0 {
		t.Errorf("%+v", got)
	}
	if !s.Ever(1, format.SettingSyncookies, 0) || s.Ever(2, format.SettingSyncookies, 0) ||
		!maps.Equal(s.last(2), other.Settings) {
		t.Errorf("%+v", s.of)
	}
}
