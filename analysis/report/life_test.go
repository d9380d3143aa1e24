package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/acc-project/acc/analysis/conntrack"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/format"
)

// slowServer is a capture made by hand: a server that accepts every 300 ms, clients
// that come every 100 ms to a queue for three, one of which resets while it waits.
func slowServer(t *testing.T, o analysis.Options) (*analysis.Result, *format.Header, []format.Event) {
	t.Helper()
	start := time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC).UnixNano()
	h := &format.Header{
		ID: "0190-life", Tool: "acc v1", Host: "web-1", Kernel: "6.12.107", Arch: "x86_64", Mode: "fentry", StartNS: start,
		Clock:  format.Clock{BootNS: 1e9, RealNS: start},
		Probes: []format.Probe{{Hook: format.HookSetState, Kind: format.Closed, How: "tp_btf"}},
	}
	b := &format.Batch{
		Processes: []format.Process{{Num: 1, PID: 100, Comm: "app", Exe: "/srv/app"}},
		Snapshots: []format.Snapshot{{ListenersKnown: true, Listeners: []format.ListenSocket{
			{NetNS: 1, Listener: 80, Family: format.FamilyIPv4, Proto: 6, LAddr: "0.0.0.0", LPort: 8080, BacklogMax: 2},
			{NetNS: 1, Listener: 22, Family: format.FamilyIPv4, Proto: 6, LAddr: "0.0.0.0", LPort: 22, BacklogMax: 128}}}},
	}
	any, local := netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("192.0.2.80")
	queue := []int{}
	dead := map[int]bool{}
	add := func(ms int, e format.Event) {
		e.Seq, e.BootNS, e.NetNS, e.CPU = uint64(len(b.Events)+1), 1e9+int64(ms)*1e6, 1, 1
		e.Family, e.Type, e.Proto, e.LPort = format.FamilyIPv4, 1, 6, 8080
		if e.Kind != format.Closed {
			e.Listener, e.Backlog, e.BacklogMax = 80, uint32(len(queue)), 2
		}
		b.Events = append(b.Events, e)
	}
	conn := func(n int, e format.Event) format.Event {
		e.LAddr, e.RAddr, e.RPort, e.Cookie = local, netip.AddrFrom4([4]byte{198, 51, 100, byte(n)}), uint16(40000+n), uint64(n)
		return e
	}
	task := func(e format.Event) format.Event {
		e.PID, e.TID, e.Proc, e.Comm, e.SockFD, e.Hook, e.Via, e.LAddr, e.State = 100, 100, 1, "app", 3, format.HookSysAccept4, format.ViaAccept4, any, 10
		return e
	}
	for ms := 0; ms < 3000; ms += 20 {
		if n := ms / 100; ms%100 == 0 && n > 0 && n <= 12 {
			if len(queue) > 2 {
				add(ms, conn(n, format.Event{Kind: format.Drop, Hook: format.HookConnRequest}))
			} else {
				add(ms, conn(n, format.Event{Kind: format.Queued, Hook: format.HookHashdance, State: 3, HandshakeUS: 30_000}))
				queue = append(queue, n)
			}
		}
		if ms == 340 {
			add(ms, conn(3, format.Event{Kind: format.Closed, Hook: format.HookSetState, OldState: 1, State: 7, SockErr: 104}))
			dead[3] = true
		}
		if ms%300 == 180 {
			add(ms, task(format.Event{Kind: format.Enter}))
			if len(queue) == 0 {
				add(ms, task(format.Event{Kind: format.Return, Ret: -11}))
				continue
			}
			n := queue[0]
			queue = queue[1:]
			e := conn(n, task(format.Event{Kind: format.Return, Ret: int32(n + 3), Inode: uint64(n + 900)}))
			e.LAddr, e.State = local, 1
			if dead[n] {
				e.State = 7
			}
			add(ms, e)
			if n%2 == 0 {
				add(ms+15, conn(n, format.Event{Kind: format.Closed, Hook: format.HookSetState, OldState: 9, State: 7, BytesIn: 321, BytesOut: 45_001, SegsIn: 6, SegsOut: 34,
					Retransmits: 1, SRTTUS: 30_100, MinRTTUS: 29_000, ClosingUS: 2_000, FinUS: 5_000}))
			}
		}
	}
	end := &format.End{Reason: "signal", Clean: true, Events: uint64(len(b.Events)), BlockedKnown: true, Clock: format.Clock{BootNS: 4e9}}
	a := analysis.New(h, o)
	for _, b := range []*format.Batch{b, {End: end}} {
		if err := a.Add(b, false); err != nil {
			t.Fatal(err)
		}
	}
	r, err := a.Finish(analysis.Completeness{})
	if err != nil {
		t.Fatal(err)
	}
	return r, h, b.Events
}

// The screen, the list, the timeline and a story of a server that accepts too slowly.
func TestLife(t *testing.T) {
	var lines, objects []byte
	var stories strings.Builder
	tl := NewTimeline(10)
	h := format.NewClocks(format.Clock{BootNS: 1e9, RealNS: time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC).UnixNano()})
	lines = append(lines, NewConnectionList(0).Head()+"\n"...)
	told := map[string]bool{}
	r, _, events := slowServer(t, analysis.Options{Connection: func(c *conntrack.Connection) error {
		lines = append(NewConnectionList(0).Append(lines, c, h, time.UTC), '\n')
		objects = append(AppendConnectionJSON(objects, c, h), '\n')
		if kind := fmt.Sprint(c.End, c.Dead); !told[kind] {
			told[kind] = true
			stories.WriteString(Story(c, nil, &format.Header{}, h, time.UTC, 0) + "\n")
		}
		tl.Add(c)
		return nil
	}})
	var screen, lanes bytes.Buffer
	if err := Text(&screen, r, TextOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := tl.Write(&lanes, r, h, TextOptions{}); err != nil {
		t.Fatal(err)
	}
	golden(t, "life-screen.txt", screen.Bytes())
	golden(t, "life-connections.txt", lines)
	golden(t, "life-connections.json", objects)
	golden(t, "life-timeline.txt", lanes.Bytes())
	golden(t, "life-stories.txt", []byte(stories.String()))
	var explained strings.Builder
	done := map[string]bool{}
	for i := range events {
		e := &events[i]
		if kind := fmt.Sprint(e.Kind, e.Hook, e.Ret < 0, e.State); !done[kind] {
			done[kind] = true
			text, fields, _ := strings.Cut(Explain(e, nil, netip.AddrPort{}, &format.Header{}, h, time.UTC, 0), "\n\n")
			explained.WriteString(text + "\n\n")
			for _, want := range []string{"kind ", "boot_ns ", "rport "} {
				if !strings.Contains(fields, "  "+want) && (want != "rport " || e.Kind != format.Enter) {
					t.Errorf("event %d: no field %s", e.Seq, want)
				}
			}
		}
	}
	golden(t, "life-explain.txt", []byte(explained.String()))
	for _, s := range []string{screen.String(), string(lines), lanes.String(), stories.String(), explained.String()} {
		printable(t, s)
	}
}

// Each line has exactly the keys that are promised, in their order.
func TestConnectionKeys(t *testing.T) {
	const want = "id laddr lport raddr rport pid comm via established_ns queued_ns accepted_ns queue_wait_ns closed_ns bytes_in bytes_out retransmits srtt_us state_at_accept end_reason queue_wait_at_least_ns netns listener " +
		"ts began_ns end end_ns before accepted dead_on_arrival dead_ns gone_before_accept gone_ns refused_packets " +
		"first_refused_ns last_refused_ns refused_ns handshake_ns alive_ns cookie inode old_state left_state " +
		"holders holders_known handed_over cause lost_cause moves read outcome community_id " +
		"server_closed_ns client_closed_ns served_ns unacked"
	n := 0
	slowServer(t, analysis.Options{Connection: func(c *conntrack.Connection) error {
		n++
		d := json.NewDecoder(bytes.NewReader(AppendConnectionJSON(nil, c, format.NewClocks(format.Clock{}))))
		var keys []string
		for depth, key := 0, true; ; {
			tok, err := d.Token()
			if err != nil {
				break
			}
			if tok == json.Delim('{') || tok == json.Delim('}') {
				depth++
				continue
			}
			if key {
				keys = append(keys, fmt.Sprint(tok))
			}
			key = !key
		}
		if s := strings.Join(keys, " "); s != want {
			t.Errorf("got %s", s)
		}
		return nil
	}})
	if n == 0 {
		t.Error("no connections")
	}
}

// Lanes fit the width and hold no more than is asked for; colour is only colour.
func TestTimelineFits(t *testing.T) {
	for _, width := range []int{60, 80, 133} {
		for _, rows := range []int{1, 3, 100} {
			tl := NewTimeline(rows)
			r, h, _ := slowServer(t, analysis.Options{Connection: func(c *conntrack.Connection) error { tl.Add(c); return nil }})
			var plain, color bytes.Buffer
			if err := tl.Write(&plain, r, format.NewClocks(h.Clock), TextOptions{Width: width}); err != nil {
				t.Fatal(err)
			}
			if err := tl.Write(&color, r, format.NewClocks(h.Clock), TextOptions{Width: width, Color: true}); err != nil {
				t.Fatal(err)
			}
			lanes := 0
			for l := range strings.Lines(plain.String()) {
				if n := utf8.RuneCountInString(strings.TrimSuffix(l, "\n")); n > width {
					t.Errorf("width %d: %d columns: %s", width, n, l)
				}
				if strings.Contains(l, "198.51.100.") {
					lanes++
				}
			}
			if want := min(rows, int(r.Connections.Seen)); lanes != want {
				t.Errorf("%d lanes, want %d", lanes, want)
			}
			s := color.String()
			for _, code := range []string{"0", bold, red, amber, "32", "36"} {
				s = strings.ReplaceAll(s, "\x1b["+code+"m", "")
			}
			if s != plain.String() || s == color.String() {
				t.Errorf("width %d: colour changes the text", width)
			}
		}
	}
}

// Names from a capture can't steer a terminal.
func TestHostileLife(t *testing.T) {
	c := conntrack.Connection{ID: 1, QueuedSeq: 1, AcceptedSeq: 2, EnterSeq: 3, EnterNS: 1, AcceptedNS: 2, TID: 1, End: conntrack.EndOpen,
		Names: conntrack.Names{Comm: hostile, ListenAddr: "0.0.0.0:80"}}
	tl := NewTimeline(3)
	tl.Add(&c)
	var b bytes.Buffer
	if err := tl.Write(&b, &analysis.Result{}, format.NewClocks(format.Clock{}), TextOptions{}); err != nil {
		t.Fatal(err)
	}
	e := format.Event{Kind: format.Return, Hook: format.HookSysAccept4, Comm: hostile, LName: hostile, RName: hostile, Ret: 3}
	for _, s := range []string{string(NewConnectionList(0).Append(nil, &c, format.NewClocks(format.Clock{}), time.UTC)),
		string(AppendConnectionJSON(nil, &c, format.NewClocks(format.Clock{}))),
		Story(&c, nil, &format.Header{}, format.NewClocks(format.Clock{}), time.UTC, 0),
		b.String(), Explain(&e, nil, netip.AddrPort{}, &format.Header{}, format.NewClocks(format.Clock{}), time.UTC,
			0)} {
		printable(t, strings.ReplaceAll(s, "\ufffd", ""))
	}
}

// A connection that was there before is told from the start of the recording on, and one
// that is gone has no time of its end.
func TestGoneIsNotOpen(t *testing.T) {
	clock := format.NewClocks(format.Clock{BootNS: 100e9, RealNS: time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC).UnixNano()})
	at := netip.MustParseAddrPort("192.0.2.80:80")
	unknown := conntrack.Connection{Before: true, StartNS: 100e9, Local: at, Remote: netip.MustParseAddrPort("198.51.100.1:1"), QueueWaitNS: -1, AliveNS: -1, End: conntrack.EndGone}
	open := unknown
	open.End, open.EndNS, open.Remote = conntrack.EndOpen, 110e9, netip.MustParseAddrPort("198.51.100.1:2")
	tl := NewTimeline(3)
	tl.Add(&unknown)
	tl.Add(&open)
	var b bytes.Buffer
	if err := tl.Write(&b, &analysis.Result{}, clock, TextOptions{}); err != nil {
		t.Fatal(err)
	}
	if s := b.String(); !strings.Contains(s, "03:00:00.000─") || !strings.Contains(s, " 10.0 s ") || !strings.Contains(s, "─03:00:10.000") {
		t.Errorf("%s", s)
	}
	if s := string(NewConnectionList(0).Append(nil, &unknown, clock, time.UTC)); !strings.Contains(s, "  03:00:00.000000  ") || !strings.HasSuffix(s, "gone by the end, its end was not seen") {
		t.Errorf("%s", s)
	}
	if s := Story(&unknown, nil, &format.Header{}, clock, time.UTC, 0); !strings.Contains(s, "gone by the end") ||
		strings.Contains(s, "recording ends") || !strings.Contains(s, "03:00:00.000000             recording begins") {
		t.Errorf("%s", s)
	}
	b.Reset()
	r := &analysis.Result{Connections: conntrack.ConnectionTotals{Recorded: true, AcceptsRecorded: true, Seen: 13, Before: 10, Silent: 10, SilentGone: 4,
		Ends: []conntrack.EndCount{{Reason: conntrack.EndOpen, Count: 8}, {Reason: conntrack.EndGone, Count: 5}}}}
	if err := Text(&b, r, TextOptions{}); err != nil {
		t.Fatal(err)
	}
	if s := b.String(); !strings.Contains(s, "13 connections:") || !strings.Contains(s, "; 10 there before") ||
		!strings.Contains(s, "8  open at the end, nothing happened to 6 of them\n") || !strings.Contains(s, "5  gone by the end, its end was not seen\n") {
		t.Errorf("%s", s)
	}
}

// A timeline explains the signs that it has, and no others, and says whose a listener is
// that only the list at the start tells of. Where accepts are not recorded, a connection
// that was lost with its listener still is known to have been in the queue.
func TestTimelineExplains(t *testing.T) {
	clock := format.NewClocks(format.Clock{BootNS: 100e9, RealNS: time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC).UnixNano()})
	c := conntrack.Connection{ID: 1, Local: netip.MustParseAddrPort("192.0.2.80:80"), Remote: netip.MustParseAddrPort("198.51.100.1:1"),
		Names: conntrack.Names{Listener: 7, ListenAddr: "0.0.0.0:80", ListenOwner: "srv[5]"}, QueuedNS: 101e9, QueuedSeq: 1, AcceptUnknown: true, QueueWaitNS: -1, AliveNS: 9e9, EndNS: 110e9, End: conntrack.EndByClient}
	lost := c
	lost.ID, lost.End, lost.DropSeq, lost.QueueWaitNS = 2, conntrack.EndListener, 3, 9e9
	r := &analysis.Result{Connections: conntrack.ConnectionTotals{Recorded: true}}
	for _, x := range []struct {
		list []*conntrack.Connection
		want []string
	}{
		{[]*conntrack.Connection{&c}, []string{"▒ queued or served  ┤ closed\n", "0.0.0.0:80 (srv[5])  1 connection\n"}},
		{[]*conntrack.Connection{&lost}, []string{"░ queued  ✗ reset or lost\n", "░░✗"}},
		{[]*conntrack.Connection{&lost, &c}, []string{"░ queued  ▒ queued or served  ┤ closed  ✗ reset or lost\n", "  2 connections\n", "░░✗", "▒▒┤"}},
		{nil, []string{"no connections\n"}},
	} {
		tl := NewTimeline(9)
		for _, c := range x.list {
			tl.Add(c)
		}
		var b bytes.Buffer
		if err := tl.Write(&b, r, clock, TextOptions{}); err != nil {
			t.Fatal(err)
		}
		for _, s := range x.want {
			if !strings.Contains(b.String(), s) {
				t.Errorf("no %q in\n%s", s, b.String())
			}
		}
	}
}

// A client that closes its side and then is served is not told as one that gave up, and
// one that resets after it was accepted not as if it had done so before.
func TestHalfClosed(t *testing.T) {
	c := conntrack.Connection{ID: 1, QueuedSeq: 1, QueuedNS: 1e9, AcceptedSeq: 3, AcceptedNS: 3e9, TID: 5,
		Names: conntrack.Names{PID: 5, Comm: "srv"}, QueueWaitNS: 2e9, AliveNS: 3e9, ClosedSeq: 4, ClosedNS: 4e9, EndNS: 4e9,
		Counted: true, BytesIn: 10, BytesOut: 10, Read: format.ReadAll}
	for _, x := range []struct {
		end   conntrack.End
		gone  int64
		state uint8
		want  string
	}{
		{conntrack.EndByClient, 2e9, 8, "closed by the client, the client sent FIN before it was accepted"},
		// it was in the queue when recording began
		{conntrack.EndByClient, 0, 8, "closed by the client, the client sent FIN before it was accepted"},
		{conntrack.EndResetByClient, 2e9, 8, "reset by the client, the client sent FIN before it was accepted"},
		{conntrack.EndByServer, 0, 1, "closed by the server"},
		{conntrack.EndResetByServer, 0, 1, "reset by the server, after the client had sent FIN"},
		{conntrack.EndResetByServer, 2e9, 8, "reset by the server, the client sent FIN before it was accepted"},
	} {
		c.End, c.GoneNS, c.StateAtAccept, c.OldState = x.end, x.gone, x.state, 8
		line, story := string(NewConnectionList(0).Append(nil, &c, format.NewClocks(format.Clock{}), time.UTC)),
			Story(&c, nil, &format.Header{}, format.NewClocks(format.Clock{}), time.UTC, 0)
		if !strings.HasSuffix(line, "  "+x.want) || !strings.Contains(story, "; "+x.want+".\n") {
			t.Errorf("%s\n%s", line, story)
		}
	}
	// Of one that nobody accepted it is told, too.
	c = conntrack.Connection{ID: 1, QueuedSeq: 1, QueuedNS: 1e9, QueueWaitNS: 2e9, EndNS: 3e9}
	for _, end := range []conntrack.End{conntrack.EndWaiting, conntrack.EndListener} {
		for _, left := range []uint8{1, 8} {
			c.End, c.LeftState = end, left
			want := "  " + string(end)
			if left == 8 {
				want += ", the client had sent FIN"
			}
			if line := string(NewConnectionList(0).Append(nil, &c, format.NewClocks(format.Clock{}), time.UTC)); !strings.HasSuffix(line, want) {
				t.Errorf("%s, want %s", line, want)
			}
		}
	}
}

// How a connection fared stands in the list, in the story and in JSON.
func TestOutcomes(t *testing.T) {
	at := netip.MustParseAddrPort("192.0.2.1:80")
	for _, x := range []struct {
		end     conntrack.End
		in, out uint64
		read    format.Reading
		ms      int64
		want    string // "": none
		id      string
	}{
		{conntrack.EndByServer, 0, 0, format.ReadNothing, 1, "closed by the server, turned away", `"turned-away"`},
		{conntrack.EndResetByServer, 300, 0, format.ReadNothing, 999, "reset by the server, turned away", `"turned-away"`},
		{conntrack.EndByServer, 300, 20, format.ReadNothing, 1, "closed by the server, closed unread", `"closed-unread"`},
		{conntrack.EndByServer, 0, 0, format.ReadNothing, 1001, "closed by the server", "null"}, // it idled
		{conntrack.EndByServer, 300, 0, format.ReadUnknown, 1, "closed by the server", "null"},
		{conntrack.EndByServer, 300, 0, format.ReadPart, 1, "closed by the server", "null"},
		{conntrack.EndByClient, 300, 0, format.ReadAll, 1, "closed by the client, left unanswered", `"unanswered"`},
		{conntrack.EndResetByClient, 300, 0, format.ReadNothing, 1, "reset by the client, left unanswered", `"unanswered"`},
		{conntrack.EndWriteRefused, 300, 0, format.ReadAll, 1, string(conntrack.EndWriteRefused) + ", left unanswered", `"unanswered"`},
		{conntrack.EndByClient, 300, 1, format.ReadAll, 1, "closed by the client", "null"},
		{conntrack.EndByClient, 0, 0, format.ReadNothing, 1, "closed by the client, left without a byte", `"probe"`},
		{conntrack.EndTimeout, 0, 0, format.ReadNothing, 1, "timed out", "null"},
	} {
		c := conntrack.Connection{ID: 1, Local: at, Remote: at, AcceptedSeq: 3, AcceptedNS: 3e9, ClosedSeq: 4,
			ClosedNS: 3e9 + x.ms*1e6, EndNS: 4e9, ServedNS: x.ms * 1e6, QueueWaitNS: -1,
			AliveNS: -1, TID: 5, Names: conntrack.Names{PID: 5, Comm: "srv"}, Counted: true, BytesIn: x.in, BytesOut: x.out, Read: x.read,
			End: x.end, StateAtAccept: 1}
		clocks := format.NewClocks(format.Clock{})
		line, story := string(NewConnectionList(0).Append(nil, &c, clocks, time.UTC)),
			Story(&c, nil, &format.Header{}, clocks, time.UTC, 0)
		j := string(AppendConnectionJSON(nil, &c, clocks))
		if !strings.HasSuffix(line, "  "+x.want) || !strings.Contains(story, "; "+x.want+".\n") || !strings.Contains(j, `"outcome":`+x.id) {
			t.Errorf("%+v:\n%s\n%s\n%s", x, line, story, j)
		}
	}
}
