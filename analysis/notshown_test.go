package analysis

import (
	"slices"
	"strings"
	"testing"

	"github.com/acc-project/acc/analysis/crosscheck"
	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/format"
)

// dropsAt is a reading with the counters and settings that matter for requests that a listener drops.
func dropsAt(ns int64, drops, overflows, synQueue uint64, cookies, backlog int64) format.Counters {
	c := reading(ns, ns+10, 10, 0)
	c.Values[format.CounterDrops], c.Values[format.CounterOverflows], c.Values[format.CounterSYNQueueFull] = drops, overflows, synQueue
	c.Settings = map[string]int64{format.SettingSyncookies: cookies, format.SettingSYNBacklog: backlog}
	return c
}

// What listeners dropped for another reason than a full queue is a finding, with the
// settings that were in force, and a line of what is not shown.
func TestListenDrops(t *testing.T) {
	for _, c := range []struct {
		name     string
		readings []format.Counters
		severity findings.Severity
		says     []string
		not      string
	}{
		{"the reserved quarter", []format.Counters{dropsAt(100, 5, 1, 0, 1, 128), dropsAt(200, 5, 1, 0, 0, 16), dropsAt(300, 88, 1, 0, 0, 16), dropsAt(400, 88, 1, 0, 1, 128)}, findings.Critical,
			[]string{"dropped 83 packets of new clients at listeners for another reason than a full queue", "tcp_syncookies was 0", "tcp_max_syn_backlog = 16", "more than 12 handshakes"}, "of them meanwhile"},
		{"a part of them", []format.Counters{dropsAt(100, 0, 0, 0, 1, 128), dropsAt(200, 3, 0, 0, 1, 128), dropsAt(300, 3, 0, 0, 0, 16), dropsAt(400, 9, 0, 0, 0, 16)}, findings.Warning,
			[]string{"dropped 9 packets", "6 of them meanwhile"}, ""},
		{"cookies all the time", []format.Counters{dropsAt(100, 0, 0, 0, 1, 128), dropsAt(200, 4, 0, 0, 1, 128)}, findings.Warning,
			[]string{"dropped 4 packets", "tcp_syncookies was 1"}, "reserves"},
		{"queues that were full", []format.Counters{dropsAt(100, 0, 0, 0, 0, 16), dropsAt(200, 7, 5, 2, 0, 16)}, "", nil, ""},
	} {
		h := &format.Header{Probes: []format.Probe{{Hook: format.HookConnRequest, Kind: format.Drop}}}
		a := New(h, Options{})
		if err := a.Add(&format.Batch{Counters: c.readings, End: &format.End{Clean: true}}, false); err != nil {
			t.Fatal(err)
		}
		r, err := a.Finish(Completeness{})
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(r.Findings, func(f findings.Finding) bool { return f.ID == "listen-drops" })
		line := slices.IndexFunc(r.CrossCheck.NotShown,
			func(n crosscheck.NotShown) bool { return n.Counter == format.CounterDrops })
		if c.severity == "" {
			if i >= 0 || line >= 0 {
				t.Errorf("%s: %+v", c.name, r.Findings)
			}
			continue
		}
		if i < 0 || line < 0 || r.Findings[i].Severity != c.severity || r.Findings[i].NetNS != 1 || c.not != "" && strings.Contains(r.Findings[i].Text, c.not) {
			t.Errorf("%s: %+v", c.name, r.Findings)
			continue
		}
		for _, say := range c.says {
			if !strings.Contains(r.Findings[i].Text, say) {
				t.Errorf("%s: %q is not in %q", c.name, say, r.Findings[i].Text)
			}
		}
	}
}

// A UNIX listener whose queue was full may have refused clients, which no event shows; the hints are
// for UNIX sockets.
func TestUnixQueueFull(t *testing.T) {
	const notCounted = "acc saw the accept queue of UNIX socket /run/x.sock full 6 times; a client's connect that " +
		"failed meanwhile (EAGAIN) is not recorded"
	r := unixQueueFull(t, &format.End{})
	if list := r.CrossCheck.NotShownTexts(); len(list) != 1 || list[0] != notCounted {
		t.Errorf("%q", list)
	}
	if len(r.Findings) != 1 || r.Findings[0].ID != "queue-full" || !strings.Contains(r.Findings[0].Next, "ss -lxn") ||
		strings.Contains(r.Findings[0].Next, "ss -ltn") {
		t.Errorf("%+v", r.Findings)
	}
	r = unixQueueFull(t, &format.End{UnixCounted: true})
	if list := r.CrossCheck.NotShownTexts(); len(list) != 0 || len(r.Findings) != 1 {
		t.Errorf("nobody was refused: %q, %+v", list, r.Findings)
	}
	// Clients of another network namespace reach a path, but no abstract name.
	r = unixQueueFull(t, &format.End{UnixCounted: true, UnixUnseen: 1, UnixRefused: []format.UnixRefused{
		{NetNS: 1, Name: "/run/x.sock", Count: 7}, {NetNS: 1, Name: "x.sock", Count: 2},
		{NetNS: 2, Name: "/run/x.sock", Count: 1}, {Count: 3},
	}})
	want := []string{
		"7 connects to UNIX socket /run/x.sock failed with EAGAIN because its accept queue was full; acc counts " +
			"these, it has no event of each; at least so many: 1 connect was not looked at",
	}
	list := r.CrossCheck.NotShownTexts()
	if len(list) != 4 || list[0] != want[0] || !strings.Contains(list[1], "2 connects to UNIX socket x.sock") ||
		!strings.Contains(list[3], "3 connects to further UNIX sockets") {
		t.Errorf("%q", list)
	}
	if l := r.Listeners[0]; l.UnixRefused != 8 {
		t.Errorf("the listener refused %d", l.UnixRefused)
	}
	f := r.Findings[0]
	if f.ID != "queue-overflow" || f.Severity != "warning" ||
		!strings.HasSuffix(f.Text, " refused 8 connects because its accept queue was full: each got EAGAIN") ||
		f.Evidence == nil {
		t.Errorf("%+v", f)
	}
}

// unixQueueFull analyzes a capture with a UNIX listener whose queue was full.
func unixQueueFull(t *testing.T, end *format.End) *Result {
	t.Helper()
	a := New(&format.Header{Clock: format.Clock{BootNS: 1, RealNS: 1e18}, StartNS: 1e18}, Options{})
	b := &format.Batch{}
	for i := range 12 {
		e := format.Event{
			Seq: uint64(i + 1), Kind: format.Enter, Hook: format.HookSysAccept4, Via: format.ViaAccept4, TID: 7, PID: 7,
			NetNS: 1, SockFD: 3, BootNS: int64(i + 2),
			Family: format.FamilyUnix, Listener: 70, LName: "/run/x.sock", Type: 1, State: 10, Backlog: 6,
			BacklogMax: 5,
		}
		if i%2 == 1 {
			e.Kind, e.Ret, e.Backlog = format.Return, 9, 5
		}
		b.Events = append(b.Events, e)
	}
	if err := a.Add(b, false); err != nil {
		t.Fatal(err)
	}
	end.Clean, end.Events, end.BlockedKnown, end.Clock = true, 12, true, format.Clock{BootNS: 99, RealNS: 1e18 + 98}
	if err := a.Add(&format.Batch{End: end}, false); err != nil {
		t.Fatal(err)
	}
	r, err := a.Finish(Completeness{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}
