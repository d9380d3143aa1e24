package crosscheck

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/acc-project/acc/format"
)

// reading is a set of counters as the recorder takes it.
func reading(fromNS, toNS int64, opened uint64, queued uint32) format.Counters {
	return format.Counters{BootNS: fromNS, UntilNS: toNS, NetNS: 1, Queued: queued, QueuedKnown: true, Values: map[string]uint64{format.CounterPassiveOpens: opened}}
}

func takenAt(ns int64) format.Event {
	return format.Event{BootNS: ns, Kind: format.Return, Hook: format.HookSysAccept4, Via: format.ViaAccept4, Ret: 5, NetNS: 1, Proto: 6, Family: format.FamilyIPv4}
}

func TestCheck(t *testing.T) {
	lostClient := takenAt(150)
	lostClient.Ret, lostClient.Mark = -14, format.MarkClientLost
	again, local, udp := takenAt(150), takenAt(150), takenAt(150)
	again.Ret, local.Proto, udp.Kind = -11, 0, format.Enter
	began := format.Event{BootNS: 140, Kind: format.Enter, Hook: format.HookSysAccept4}
	forgotten := format.Event{BootNS: 150, Kind: format.Drop, Hook: format.HookChildForget, NetNS: 1, Proto: 6}
	elsewhere := takenAt(150)
	elsewhere.NetNS = 2
	discarded := format.Event{BootNS: 150, Kind: format.Closed, Hook: format.HookSetState, OldState: 3, State: 7, NetNS: 1, Proto: 6, SegsIn: 1}
	joins := reading(200, 210, 12, 0)
	joins.Values[format.CounterMPJoins] = 1
	macs := reading(200, 210, 13, 0)
	macs.Values[format.CounterMPJoinMACs] = 1
	unknown := reading(200, 210, 12, 0)
	unknown.QueuedKnown, unknown.QueuedMoved = false, 2
	lossy := &format.End{Totals: []format.ProbeTotal{{Hook: format.HookSysAccept4, Kind: format.Return, Seen: 3, Recorded: 1, Lost: 2}}}
	full, whole := *lossy, &format.End{Totals: []format.ProbeTotal{{Hook: format.HookSysAccept4, Kind: format.Return, Seen: 3, Recorded: 3}}}
	nobodyThere := &format.End{Clean: true, Unread: []format.UnreadNetNS{{NetNS: 2, Why: "nobody was in it"}}}
	full.Reason = format.EndDiskFull
	for _, c := range []struct {
		name        string
		start       uint32 // connections in the queue
		end         format.Counters
		events      []format.Event
		late        []format.Event // that stand behind the last reading
		last        *format.End
		verdict     string
		unexplained int64
		says        string
	}{
		{"the same", 0, reading(200, 210, 12, 0), []format.Event{takenAt(50), takenAt(150), takenAt(160)}, []format.Event{takenAt(220)}, nil, VerdictAgrees, 0, "the kernel counted the same: 2 TCP connections"},
		{"recorded behind the reading", 0, reading(200, 210, 12, 0), []format.Event{takenAt(150)}, []format.Event{takenAt(160)}, nil, VerdictAgrees, 0, ""},
		{"taken before and recorded after the first", 0, reading(200, 210, 11, 0), []format.Event{takenAt(90), takenAt(150)}, nil, nil, VerdictAgrees, 0, ""},
		{"still queued", 1, reading(200, 210, 13, 3), []format.Event{takenAt(150)}, nil, nil, VerdictAgrees, 0, "2 more waiting"},
		{"a client lost, failures, UNIX", 0, reading(200, 210, 11, 0), []format.Event{lostClient, again, local, udp}, nil, nil, VerdictAgrees, 0, ""},
		{"forgotten", 0, reading(200, 210, 12, 0), []format.Event{takenAt(150), forgotten}, nil, nil, VerdictAgrees, 0, "stopped listening"},
		{"made twice", 0, reading(200, 210, 13, 0), []format.Event{takenAt(150), discarded, discarded}, nil, nil, VerdictAgrees, 0, "the kernel made 2 twice"},
		{"joined", 0, joins, []format.Event{takenAt(150)}, nil, nil, VerdictAgrees, 0, "MPTCP"},
		{"failed to join", 0, macs, []format.Event{takenAt(150), takenAt(160)}, nil, nil, VerdictAgrees, 0, "1 tried to join an MPTCP connection"},
		{"more than failed to join", 0, macs, nil, nil, nil, VerdictDiffers, 2, "NOT accounted for"},
		{"while read", 0, reading(200, 210, 13, 0), []format.Event{takenAt(150), takenAt(205), takenAt(206)}, nil, nil, VerdictExplained, 2, "while acc read the counters"},
		{"lost", 0, reading(200, 210, 13, 0), []format.Event{takenAt(150)}, nil, lossy, VerdictExplained, 2, "2 returns of accept were lost"},
		{"more than was lost", 0, reading(200, 210, 14, 0), []format.Event{takenAt(150)}, nil, lossy, VerdictDiffers, 3, "3 NOT accounted for"},
		{"counted twice", 0, reading(200, 210, 12, 0), []format.Event{takenAt(150)}, nil, nil, VerdictExplained, 1, "the kernel may have counted 1 twice"},
		{"missing", 0, reading(200, 210, 13, 0), []format.Event{takenAt(150)}, nil, nil, VerdictDiffers, 2, ""},
		{"too many", 0, reading(200, 210, 11, 0), []format.Event{began, takenAt(150), takenAt(160)}, nil, nil, VerdictDiffers, -1, ""},
		{"the queue moved", 0, unknown, nil, nil, nil, VerdictExplained, 2, "while acc read the accept queues"},
		{"elsewhere", 0, reading(200, 210, 10, 0), []format.Event{elsewhere}, nil, nil, VerdictPartly, 0, "the same in 1 of 2 network namespaces: 0 TCP connections (1 more accepted in network namespace 2, whose counters acc could not read)"},
		{"elsewhere, and lost", 0, reading(200, 210, 13, 0), []format.Event{takenAt(150), elsewhere, elsewhere}, nil, lossy, VerdictExplained, 2, "the kernel counted 3 TCP connections, 1 was recorded as accepted in 1 of 2 network namespaces; the difference of 2 is explained: 2 returns of accept were lost, the ring was full; 2 more accepted in network namespace 2, whose counters acc could not read"},
		{"elsewhere, and why", 0, reading(200, 210, 10, 0), []format.Event{elsewhere}, nil, nobodyThere, VerdictPartly, 0, "(1 more accepted in network namespace 2, whose counters acc could not read: nobody was in it)"},
		{"on a full disk", 0, reading(200, 210, 13, 0), []format.Event{takenAt(150)}, nil, &full, VerdictExplained, 2, "2 returns of accept were lost, the disk or the ring was full"},
		{"left out by salvage", 0, reading(200, 210, 13, 0), []format.Event{takenAt(150)}, nil, whole, VerdictExplained, 2, "2 returns of accept were recorded, and could not be read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := New(&format.Header{})
			w.Add(&format.Batch{Counters: []format.Counters{reading(95, 105, 10, c.start)}, Events: c.events})
			w.Add(&format.Batch{Counters: []format.Counters{c.end}, Events: c.late})
			w.Add(&format.Batch{End: c.last})
			r := w.Finish()
			if len(r.Spaces) != 1 || r.Verdict != c.verdict || r.Spaces[0].Unexplained != c.unexplained || !strings.Contains(r.Text, c.says) {
				t.Errorf("%+v", r)
			}
		})
	}
	// A reading that stands behind a newer one.
	late := New(&format.Header{})
	late.Add(&format.Batch{Counters: []format.Counters{reading(95, 105, 10, 0)}, Events: []format.Event{takenAt(150), takenAt(180)}})
	late.Add(&format.Batch{Counters: []format.Counters{reading(200, 210, 12, 0)}})
	final := reading(160, 170, 11, 0)
	final.Final = true
	late.Add(&format.Batch{Counters: []format.Counters{final}, End: &format.End{Clean: true}})
	if r := late.Finish(); len(r.Spaces) != 1 || r.Verdict != VerdictAgrees || r.Spaces[0].Opened != 2 || strings.Contains(r.Text, "anew") {
		t.Errorf("%+v", r)
	}
	// With events of what was queued, more can be told.
	queued := takenAt(150)
	queued.Kind, queued.Hook = format.Queued, format.HookHashdance
	for _, c := range []struct {
		queued  int
		opened  uint64
		end     *format.End
		verdict string
	}{
		{1, 12, nil, VerdictExplained},
		{1, 12, &format.End{Clean: true}, VerdictExplained},
		{1, 12, &format.End{Detail: "probes were switched off"}, VerdictDiffers},
		{2, 12, nil, VerdictDiffers},
		{1, 13, nil, VerdictDiffers}, // more than that can be
		{1, 1500, nil, VerdictDiffers},
	} {
		w := New(&format.Header{Probes: []format.Probe{{Hook: format.HookHashdance, Kind: format.Queued}}})
		w.Add(&format.Batch{Counters: []format.Counters{reading(95, 105, 10, 0)}, Events: []format.Event{takenAt(160)}})
		for range c.queued {
			w.Add(&format.Batch{Events: []format.Event{queued}})
		}
		w.Add(&format.Batch{Counters: []format.Counters{reading(200, 210, c.opened, 0)}, End: c.end})
		if r := w.Finish(); r.Verdict != c.verdict || r.Spaces[0].Queued != int64(c.queued) {
			t.Errorf("%+v: %+v", c, r)
		}
	}
	// Without accepts, too, what was made twice is no connection.
	discarded.BootNS = 160
	w := New(&format.Header{Filters: []string{"--events lifecycle"}, Probes: []format.Probe{{Hook: format.HookHashdance, Kind: format.Queued}}})
	w.Add(&format.Batch{Counters: []format.Counters{reading(95, 105, 10, 0)}, Events: []format.Event{queued, discarded, discarded}})
	w.Add(&format.Batch{Counters: []format.Counters{reading(200, 210, 13, 0)}, End: &format.End{Clean: true}})
	if r := w.Finish(); r.Verdict != VerdictAgrees || r.Spaces[0].Discarded != 2 || !strings.Contains(r.Text, "the kernel made 2 twice") {
		t.Errorf("%+v", r)
	}
	// Who sat in accept before is a reason, but of no known size.
	for _, known := range []bool{false, true} {
		w := New(&format.Header{})
		w.Add(&format.Batch{Snapshots: []format.Snapshot{{BlockedKnown: known}}, Counters: []format.Counters{reading(95, 105, 10, 0)}})
		w.Add(&format.Batch{Counters: []format.Counters{reading(200, 210, 13, 0)}})
		if r := w.Finish(); r.Verdict != VerdictDiffers || strings.Contains(r.Text, "began before the recording") == known {
			t.Errorf("blocked known %v: %+v", known, r)
		}
	}
	// What a repair left out is not blamed on the ring.
	for _, c := range []struct {
		told uint64
		says string
	}{
		{0, "is explained: 2 returns of accept were recorded, and left out by the repair"},
		{1, "is explained: 1 return of accept was lost, the ring was full; 1 return of accept was recorded, and left out by the repair"},
		{2, "is explained: 2 returns of accept were lost, the ring was full"},
		{5, "is explained: 2 returns of accept were lost, the ring was full"},
	} {
		w := New(&format.Header{Repaired: &format.Repaired{}})
		w.Add(&format.Batch{Counters: []format.Counters{reading(95, 105, 10, 0)}, Events: []format.Event{takenAt(150)},
			Losses: []format.Loss{{Kind: format.Return, Count: c.told}, {Kind: format.Closed, Count: 7}}})
		w.Add(&format.Batch{Counters: []format.Counters{reading(200, 210, 13, 0)}, End: lossy})
		if r := w.Finish(); r.Verdict != VerdictExplained || !strings.Contains(r.Text, c.says) {
			t.Errorf("%d told: %+v", c.told, r)
		}
	}
	// Beyond the namespaces that are told apart nothing is passed over.
	many := New(&format.Header{})
	many.Add(&format.Batch{Counters: []format.Counters{reading(95, 105, 10, 0), reading(200, 210, 10, 0)}})
	for ns := range uint32(maxSpaces + 5) {
		e := takenAt(150)
		e.NetNS = 2 + ns
		many.Add(&format.Batch{Events: []format.Event{e}})
	}
	if r := many.Finish(); r.Verdict != VerdictPartly || r.Unchecked != maxSpaces+5 || r.Others != maxSpaces {
		t.Errorf("%s: %d in %d", r.Text, r.Unchecked, r.Others)
	}
	if r := New(&format.Header{}).Finish(); r.Verdict != VerdictSilent {
		t.Errorf("without counters: %+v", r)
	}
}

// A call that is under way while the counters are read has taken its connection by then
// or has not.
func TestCheckUnderWay(t *testing.T) {
	enter := func(ns int64, tid uint32) format.Event {
		return format.Event{BootNS: ns, Kind: format.Enter, Hook: format.HookSysAccept4, TID: tid}
	}
	returns := func(ns int64, tid uint32, port uint16) format.Event {
		e := takenAt(ns)
		e.TID, e.RAddr, e.RPort = tid, netip.AddrFrom4([4]byte{10, 0, 0, 1}), port
		return e
	}
	queued := func(ns int64, port uint16) format.Event {
		e := returns(ns, 0, port)
		e.Kind, e.Hook = format.Queued, format.HookHashdance
		return e
	}
	totals := func(enters, returns uint64) *format.End {
		return &format.End{Clean: true, Totals: []format.ProbeTotal{
			{Hook: format.HookSysAccept4, Kind: format.Enter, Seen: enters},
			{Hook: format.HookSysAccept4, Kind: format.Return, Seen: returns}}}
	}
	const second = int64(time.Second)
	for _, c := range []struct {
		name   string
		before []format.Event // the first reading, at 95 to 105, when the kernel had counted 10
		after  []format.Event // it
		behind []format.Event // the second one, at 200 s, when it had counted opened
		opened uint64
		end    *format.End
		want   string // the verdict
		says   string
	}{
		{"taken before the end, returned after it", nil, []format.Event{enter(150, 1)}, []format.Event{returns(200*second+20, 1, 7)}, 11, nil, VerdictExplained, "1 was accepted while acc read the counters"},
		{"long after it", nil, []format.Event{enter(150, 1)}, []format.Event{returns(202*second, 1, 7)}, 11, nil, VerdictDiffers, "1 NOT accounted for"},
		{"began only then", nil, nil, []format.Event{enter(200*second+15, 1), returns(200*second+20, 1, 7)}, 11, nil, VerdictDiffers, "1 NOT accounted for"},
		{"another's", nil, []format.Event{enter(150, 1)}, []format.Event{enter(200*second+15, 2), returns(200*second+20, 2, 7)}, 11, nil, VerdictDiffers, "1 NOT accounted for"},
		{"its connection came only then", nil, []format.Event{enter(150, 1)}, []format.Event{queued(200*second+15, 7), returns(200*second+20, 1, 7)}, 11, nil, VerdictDiffers, "1 NOT accounted for"},
		{"taken before the start, returned after it", []format.Event{enter(90, 1)}, []format.Event{returns(110, 1, 7)}, nil, 10, nil, VerdictExplained, "1 was accepted while acc read the counters"},
		{"counted by both", []format.Event{enter(90, 1)}, []format.Event{returns(110, 1, 7)}, nil, 11, nil, VerdictAgrees, "the same: 1 TCP connection"},
		{"never returned", nil, []format.Event{enter(150, 1)}, nil, 11, totals(1, 0), VerdictExplained, "1 call of accept had not returned at the end"},
		{"all returned", nil, []format.Event{enter(150, 1)}, nil, 11, totals(3, 3), VerdictDiffers, "1 NOT accounted for"},
		{"one began before", nil, []format.Event{enter(150, 1)}, nil, 11, totals(3, 4), VerdictDiffers, "1 NOT accounted for"},
	} {
		w := New(&format.Header{CPUs: 1})
		w.Add(&format.Batch{Events: c.before})
		w.Add(&format.Batch{Counters: []format.Counters{reading(95, 105, 10, 0)}, Events: c.after})
		w.Add(&format.Batch{Counters: []format.Counters{reading(200*second, 200*second+10, c.opened, 0)}, Events: c.behind, End: c.end})
		if r := w.Finish(); r.Verdict != c.want || !strings.Contains(r.Text, c.says) {
			t.Errorf("%s: %s: %s", c.name, r.Verdict, r.Text)
		}
	}
	// What is remembered is bounded, whatever the times are.
	w := New(&format.Header{})
	w.Add(&format.Batch{Counters: []format.Counters{reading(1, 1<<60, 10, 0)}})
	for tid := range uint32(3 * maxRecent) {
		w.Add(&format.Batch{Events: []format.Event{enter(5, tid)}})
	}
	if n := len(w.flight.calls); n > maxRecent {
		t.Errorf("%d calls are remembered", n)
	}
}
