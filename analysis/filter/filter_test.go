package filter

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/acc-project/acc/format"
)

var ids = []string{"queue-full", "slow-accept"}

func compileEvent(expr string) (*Filter[format.Event], error) {
	return Compile(expr, Options[format.Event]{Fields: EventFields(ids), Of: "events", Time: "ts",
		Elsewhere: map[string]string{"queue_wait": "connections"}})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// What conditions mean, over one event of each of two kinds.
func TestMatch(t *testing.T) {
	closed := format.Event{
		Seq:        7,
		BootNS:     5e9,
		Kind:       format.Closed,
		Hook:       format.HookTCPDone,
		LAddr:      netip.MustParseAddr("::ffff:10.1.2.3"),
		LPort:      443,
		RAddr:      netip.MustParseAddr("10.200.0.9"),
		RPort:      50000,
		BytesIn:    3 << 20,
		BytesOut:   1000,
		SRTTUS:     2500,
		NetNS:      5,
		Listener:   9,
		Proto:      format.ProtoTCP,
		Mark:       format.MarkSynCookie,
		Family:     format.FamilyIPv4,
		Backlog:    5,
		BacklogMax: 4,
	}
	failed := format.Event{
		Seq:    8,
		BootNS: 6e9,
		Kind:   format.Return,
		Hook:   format.HookSysAccept4,
		Ret:    -24,
		Comm:   "a \"b\"\n\x1b\xff",
		PID:    77,
		LAddr:  netip.MustParseAddr("2001:db8::1"),
		LPort:  80,
		Proc:   3,
	}
	clock := format.Clock{BootNS: 0, RealNS: 1_700_000_000e9} // 22:13:20
	env := &Env{Clocks: format.NewClocks(clock), Process: func(num uint32) *format.Process {
		if num == 3 {
			return &format.Process{Num: 3, Pod: "shop/web-1", Exe: "/usr/bin/x"}
		}
		return nil
	}, Findings: func(netns uint32, listener uint64) []string {
		if netns == 5 && listener == 9 {
			return []string{"queue-full"}
		}
		return nil
	}}
	for _, x := range []struct {
		expr           string
		closed, failed bool
	}{
		{`kind == "closed"`, true, false}, {`kind == closed`, true, false}, {`closed == kind`, true, false},
		{`kind != closed`, false, true}, {`not (kind == closed)`, false, true}, {`!(kind == closed)`, false, true},
		{`lport == 443`, true, false}, {`lport in [80, 8080]`, false, true}, {`lport in 80..443`, true, true},
		{`lport not in [80]`, true, false}, {`0x1bb == lport`, true, false}, {`lport > 80`, true, false}, {`80 < lport`, true, false},
		{`lport >= 80 and lport <= 443`, true, true}, {`lport == 443 || lport == 80`, true, true},
		{`raddr in "10.0.0.0/8"`, true, false}, {`raddr not in "10.0.0.0/8"`, false, true},
		{`laddr in "10.0.0.0/8"`, true, false}, {`laddr == "10.1.2.3"`, true, false}, {`laddr == "::ffff:10.1.2.3"`, true, false},
		{`laddr in ["192.0.2.0/24", "2001:db8::/32"]`, false, true}, {`laddr in "::ffff:10.0.0.0/104"`, true, false},
		{`laddr in ["2001:db8::1"]`, false, true}, {`raddr == nil`, false, true}, {`raddr != nil`, true, false},
		{`srtt > 2ms`, true, false}, {`srtt == 2500us`, true, false}, {`srtt == 2.5ms`, true, false}, {`srtt_us == 2500`, true, false},
		{`srtt * 2 == 5ms`, true, false}, {`srtt / 1ms == 2`, true, false}, {`srtt < 1h1m`, true, false}, {`srtt in 1ms..3ms`, true, false},
		{`-srtt < 0s`, true, false},
		{`bytes_in == 3MiB`, true, false}, {`bytes_out == 1kB`, true, false}, {`bytes_in > bytes_out * 100`, true, false},
		{`bytes_in + bytes_out > 3MiB`, true, false}, {`bytes_in > 1000`, true, false}, {`bytes_in / bytes_out > 3000`, true, false},
		{`errno == "EMFILE"`, false, true}, {`errno == EMFILE`, false, true}, {`errno == nil`, true, false}, {`errno in ["EMFILE", ENFILE]`, false, true},
		{`errno != "EMFILE"`, true, false}, {`ret == -24`, false, true},
		{`comm contains "\"b\""`, false, true}, {`comm matches "\x1b.$"`, false, true}, {`comm startsWith 'a '`, false, true},
		{`comm matches "^a .b"`, false, true}, {`comm not contains "b"`, true, false}, {"comm contains `b`", false, true},
		{`"syn-cookie" in mark`, true, false}, {`"syn-cookie" not in mark`, false, true}, {`mark == nil`, false, true},
		{`pod == "shop/web-1"`, false, true}, {`pod == nil`, true, false}, {`exe startsWith "/usr/bin/"`, false, true},
		{`"queue-full" in findings`, true, false}, {`"slow-accept" in findings`, false, false},
		{`ts >= "22:13:26"`, false, true}, {`ts < "2023-11-14T22:13:26Z"`, true, false}, {`ts > 5500ms`, false, true},
		{`"22:13:26" > ts`, true, false}, {`ts == "2023-11-14T23:13:25+01:00"`, true, false},
		{`backlog > backlog_max`, true, false}, {`backlog % 2 == 1`, true, false}, {`backlog / (backlog - 5) == 1`, false, false},
		{`1 < backlog < 6`, true, false}, {`true`, true, true}, {`kind == closed and true`, true, false}, {`seq == 7`, true, false},
		{`community_id == "1:mF92hqZJLAvFHzUkaxKJRUjjhCs="`, false, false}, {`community_id != nil`, true, false},
		{"lport == 443 // a comment 10ms\n and srtt > 1ms /* 10 pieces */", true, false},
	} {
		f, err := compileEvent(x.expr)
		if err != nil {
			t.Errorf("%s: %v", x.expr, err)
			continue
		}
		must(t, f.Bind(func(text string) (time.Time, error) {
			if d, err := time.ParseDuration(text); err == nil {
				return clock.Time(0).Add(d), nil
			}
			if at, err := time.Parse("15:04:05", text); err == nil {
				return time.Date(2023, 11, 14, at.Hour(), at.Minute(), at.Second(), 0, time.UTC), nil
			}
			return time.Parse(time.RFC3339, text)
		}))
		if got, too := f.Match(&closed, env), f.Match(&failed, env); got != x.closed || too != x.failed {
			t.Errorf("%s: %v and %v, want %v and %v", x.expr, got, too, x.closed, x.failed)
		}
	}
}

// What is wrong is said with its place and, where there is one, with what was meant.
func TestErrors(t *testing.T) {
	for _, x := range []struct{ expr, marks, reason, hint string }{
		{`lprt == 443`, "^^^^", `events have no field "lprt"`, "did you mean lport"},
		{`lport == 443 and queue_wait > 10ms`, "                 ^^^^^^^^^^", `events have no field "queue_wait"`, "connections have it"},
		{`comm == nginx`, "        ^^^^^", `events have no field "nginx"`, "text stands in quotes"},
		{`srtt > 10`, "       ^^", "srtt is a duration, and 10 is a number", "10ms"},
		{`lport > 10ms`, "        ^^^^", "lport is a number, and 10ms is a duration", "443"},
		{`lport == "443"`, "         ^^^^^", "lport is a number", ""},
		{`srtt > 10mss`, "       ^^^^^", `"10mss" is neither`, "ms"},
		{`errno == "EMFLE"`, "         ^^^^^^^", `errno is never "EMFLE"`, "did you mean EMFILE"},
		{`kind == "clsed"`, "        ^^^^^^^", `kind is never "clsed"`, "closed"},
		{`"sync-cookie" in mark`, "^^^^^^^^^^^^^", `mark is never "sync-cookie"`, "syn-cookie"},
		{`raddr == "10.0.0.0/8"`, "         ^^^^^^^^^^^^", "is a network, not an address", "raddr in"},
		{`raddr in "10.0.0.1/8"`, "         ^^^^^^^^^^^^", "has bits behind its length", "10.0.0.0/8"},
		{`raddr in "10.0.0.0/33"`, "         ^^^^^^^^^^^^^", "neither an address nor a network", ""},
		{`raddr contains "10."`, "^^^^^", "raddr is an address, not text", "in "},
		{`raddr < "10.0.0.1"`, "      ^", "has no order", "for a network"},
		{`ts > "yesterday"`, "     ^^^^^^^^^^^", "is not a time", "14:03:20"},
		{`lport`, "^^^^^", "lport is a number, not a condition", "lport == 443"},
		{`not lport == 443`, "^^^^^^^^^", "stands before a condition", "brackets"},
		{`lport = 443`, "      ^", "single =", "=="},
		{`lport == 443 and`, "                ^", "ends too early", ""},
		{`(lport == 443`, "             ^", "ends too early", ""},
		{`lport == 443)`, "            ^", `")" does not belong here`, ""},
		{`lport == 443 lport`, "             ^^^^^", `"lport" does not belong here`, ""},
		{`lport == 1.5`, "         ^^^", "numbers are whole", ""},
		{`len(comm) > 3`, "^^^", "no functions", ""},
		{`comm matches "("`, "             ^^^", "missing closing )", "RE2"},
		{`lport in 443`, "         ^^^", "behind in stands a list", ""},
		{`lport in 9..8`, "         ^^^^", "ends before it begins", ""},
		{`lport / 0 == 1`, "        ^", "divided by 0", ""},
		{`"a" == "b" + 1`, "       ^^^^^^^", "there is no + of these", ""},
		{``, "^", "is empty", "acc fields --filter"},
		{"comm == \"x\" and\n  lprt == 443", "  ^^^^", `no field "lprt"`, "lport"},
		{"comm == \"日本\" and lprt == 1", "                   ^^^^", `no field "lprt"`, "lport"},
		{`lport == 99999999999999999999999`, "", "", ""},
		{"comm == \"\xff\"", "", "not UTF-8", "matches"},
		{strings.Repeat("(", 20000), "", "20000 bytes", ""},
	} {
		_, err := compileEvent(x.expr)
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%q: %v", x.expr, err)
			continue
		}
		if !strings.Contains(e.Reason, x.reason) || !strings.Contains(e.Hint, x.hint) {
			t.Errorf("%q: %q, hint %q; want %q, hint %q", x.expr, e.Reason, e.Hint, x.reason, x.hint)
		}
		if line, marks := e.Show(); x.marks != "" && !strings.HasPrefix(marks+" ", x.marks) {
			t.Errorf("%q:\n%s\n%s\nwant\n%s", x.expr, line, marks, x.marks)
		}
	}
}

// The times that must hold lead the index; others don't.
func TestWindow(t *testing.T) {
	at := func(sec int) time.Time { return time.Unix(int64(sec), 0) }
	for expr, want := range map[string][2]int{
		`ts > "10s" and lport == 1 and ts <= "20s"`: {10, 20}, `"10s" <= ts and ts < 15s and ts < 12s`: {10, 12},
		`ts > 10s or lport == 1`: {0, 0}, `not (ts > 10s)`: {0, 0}, `lport == 1`: {0, 0}, `ts == 10s`: {10, 10}, `ts != 10s`: {0, 0},
		`(ts > 10s) and (lport == 1 or ts < 3s)`: {10, 0},
	} {
		f, err := compileEvent(expr)
		must(t, err)
		must(t, f.Bind(func(text string) (time.Time, error) {
			d, err := time.ParseDuration(text)
			return time.Unix(0, int64(d)), err
		}))
		from, until := f.Window()
		if !from.Equal(at(want[0])) && (want[0] != 0 || !from.IsZero()) ||
			!until.Equal(at(want[1])) && (want[1] != 0 || !until.IsZero()) {
			t.Errorf("%s: from %v until %v, want %v", expr, from, until, want)
		}
	}
}

// No text makes the compiler, or what it makes, panic.
func FuzzCompile(f *testing.F) {
	for _, seed := range []string{`lport == 443 and srtt > 10ms`, `raddr in ["10.0.0.0/8"]`, `1m30s`, `"a" in mark`, `x ?? y`, `a.b[1:2]`, `let x = 1; x`,
		`if true {1} else {2}`, `comm | lower()`, `{"a": 1}`, `#`, `b"x"`, `"\`, `1..2`, `ts > "1"`, `all(mark, # == 1)`, `comm?.x`, `-(-(-1))`} {
		f.Add(seed)
	}
	e := format.Event{Kind: format.Return}
	env := &Env{Clocks: format.NewClocks(format.Clock{})}
	f.Fuzz(func(t *testing.T, expr string) {
		x, err := compileEvent(expr)
		var e2 *Error
		if err != nil {
			if !errors.As(err, &e2) || e2.Reason == "" {
				t.Fatalf("%q: %v", expr, err)
			}
			if line, marks := e2.Show(); strings.ContainsAny(line+marks, "\x1b\n\x00") {
				t.Fatalf("%q shows %q, %q", expr, line, marks)
			}
			return
		}
		must(t, x.Bind(func(string) (time.Time, error) { return time.Time{}, nil }))
		x.Match(&e, env)
	})
}

func BenchmarkMatch(b *testing.B) {
	e := format.Event{
		Kind:   format.Closed,
		LPort:  443,
		RAddr:  netip.MustParseAddr("10.1.2.3"),
		SRTTUS: 50000,
		Comm:   "nginx",
	}
	env := &Env{}
	for _, expr := range []string{`lport == 443`, `lport == 443 and srtt > 10ms and raddr in "10.0.0.0/8"`, `kind == closed`, `community_id == "1:"`} {
		f, err := compileEvent(expr)
		must(b, err)
		b.Run(fmt.Sprint(len(expr)), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f.Match(&e, env)
			}
		})
	}
}
