package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/acc-project/acc/analysis/listeners"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/pairing"
	"github.com/acc-project/acc/format"
)

var update = flag.Bool("update", false, "write the golden files anew")

const hostile = "\x1b]0;evil\x07\xff\n<b>"

// capture is a capture made by hand: two workers on port 80, one that runs out of
// descriptors on port 8443, one that waits to the end. Lossy adds a loss.
func capture(t *testing.T, lossy bool) (*format.Header, []*format.Batch, analysis.Completeness) {
	t.Helper()
	start := time.Date(2026, 3, 1, 23, 59, 50, 0, time.UTC).UnixNano()
	h := &format.Header{
		ID: "0190-test", Tool: "acc v1", Host: "web-1", Kernel: "6.12.107", Arch: "x86_64", Mode: "fentry", StartNS: start, ZoneSec: 3600,
		Clock: format.Clock{BootNS: 1e9, RealNS: start},
	}
	b := &format.Batch{Processes: []format.Process{
		{Num: 1, PID: 100, Comm: "nginx", Exe: "/usr/sbin/nginx"}, {Num: 2, PID: 101, Comm: "nginx", Exe: "/usr/sbin/nginx"},
		{Num: 3, PID: 200, Comm: hostile, Exe: "/srv/" + hostile, Container: "4f2d8c1a9b7e6f5d4c3b2a19"},
	}}
	ns := int64(1e9)
	add := func(e format.Event, after time.Duration) {
		ns += int64(after)
		e.Seq, e.BootNS, e.Hook, e.Via, e.TID, e.NetNS, e.Type, e.Proto = uint64(len(b.Events)+1), ns, format.HookSysAccept4, format.ViaAccept4, e.PID, 1, 1, 6
		b.Events = append(b.Events, e)
	}
	call := func(proc, pid uint32, port uint16, queue uint32, ret int32, took time.Duration, peer string) {
		e := format.Event{
			Kind: format.Enter, PID: pid, Proc: proc, Comm: b.Processes[proc-1].Comm, SockFD: 6, Listener: uint64(port), Backlog: queue, BacklogMax: 511,
			Family: format.FamilyIPv4, State: 10, LAddr: netip.MustParseAddr("0.0.0.0"), LPort: port,
		}
		add(e, 40*time.Millisecond)
		e.Kind, e.Ret = format.Return, ret
		if ret >= 0 {
			e.State, e.LAddr, e.RAddr, e.RPort, e.Backlog = 1, netip.MustParseAddr("192.0.2.80"), netip.MustParseAddr(peer), 40000, max(queue, 1)-1
		}
		add(e, took)
	}
	for i := range 60 {
		call(uint32(1+i%2), uint32(100+i%2), 80, uint32(i%5), 9, time.Duration(20+i*i)*time.Microsecond, fmt.Sprintf("198.51.100.%d", i%4+1))
		call(uint32(1+i%2), uint32(100+i%2), 80, 0, -11, 3*time.Microsecond, "")
		if i%10 == 0 {
			call(3, 200, 8443, 512, -24, 2*time.Microsecond, "")
		}
	}
	call(3, 200, 8443, 512, 12, 2*time.Second, "2001:db8::1")
	call(1, 100, 80, 0, -512, time.Second, "")
	call(1, 100, 80, 0, 9, time.Second, "::ffff:198.51.100.1")
	call(2, 101, 80, 0, 0, 0, "198.51.100.1")
	b.Events = b.Events[:len(b.Events)-1] // this one waits
	end := &format.End{
		Reason: "signal", Clean: true, Events: uint64(len(b.Events)), BlockedKnown: true, Blocked: []format.Blocked{{PID: 101, TID: 101, SockFD: 6}},
		Clock: format.Clock{BootNS: ns + 1e9},
	}
	c := analysis.Completeness{}
	if lossy {
		b.Events = append(b.Events[:50:50], b.Events[51:]...)
		b.Losses = []format.Loss{{Hook: format.HookSysAccept4, Kind: format.Enter, Count: 1, FromNS: 1e9, ToNS: ns}, {Hook: format.HookSysAccept4, Kind: format.Return, Count: 1234, FromNS: ns - 1e9, ToNS: ns}}
		end.Lost = 1235
		end.Totals = []format.ProbeTotal{{Hook: format.HookSysAccept4, Kind: format.Enter, Lost: 1}, {Hook: format.HookSysAccept4, Kind: format.Return, Lost: 1234}}
		b.Events[50].Mark = format.MarkEnterLost
		h.Limits = []string{"which system call asked is not known on this kernel " + hostile}
		h.Filters = []string{"--port 80,8443"}
	}
	return h, []*format.Batch{b, {End: end}}, c
}

func result(t *testing.T, lossy bool, o analysis.Options) *analysis.Result {
	t.Helper()
	h, batches, c := capture(t, lossy)
	a := analysis.New(h, o)
	for _, b := range batches {
		if err := a.Add(b, false); err != nil {
			t.Fatal(err)
		}
	}
	r, err := a.Finish(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	name = filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

func TestText(t *testing.T) {
	for _, lossy := range []bool{false, true} {
		for _, width := range []int{0, 72} {
			var b bytes.Buffer
			if err := Text(&b, result(t, lossy, analysis.Options{}), TextOptions{Width: width}); err != nil {
				t.Fatal(err)
			}
			golden(t, fmt.Sprintf("screen-%v-%d.txt", map[bool]string{false: "whole", true: "lossy"}[lossy], width), b.Bytes())
			lines := strings.Split(b.String(), "\n")
			if len(lines) > 72 {
				t.Errorf("%d lines", len(lines))
			}
			for _, l := range lines {
				if n := cells(l); n > max(width, 72) && (width != 0 || n > 100) {
					t.Errorf("a line has %d columns: %s", n, l)
				}
			}
			printable(t, b.String())
		}
	}
}

func printable(t *testing.T, s string) {
	t.Helper()
	for _, r := range s {
		if r != '\n' && (r < 0x20 || r == 0x7f || r == utf8.RuneError) {
			t.Errorf("%q is in the text", r)
		}
	}
}

func TestColorIsOnlyColor(t *testing.T) {
	r := result(t, true, analysis.Options{})
	var plain, color bytes.Buffer
	if err := Text(&plain, r, TextOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := Text(&color, r, TextOptions{Color: true}); err != nil {
		t.Fatal(err)
	}
	s := color.String()
	for _, code := range []string{"0", bold, red, amber} {
		s = strings.ReplaceAll(s, "\x1b["+code+"m", "")
	}
	if s != plain.String() || s == color.String() {
		t.Errorf("got %q", s)
	}
}

// The result of nothing at all has no null list and can be printed.
func TestNothing(t *testing.T) {
	a := analysis.New(&format.Header{}, analysis.Options{})
	r, err := a.Finish(analysis.Completeness{Truncated: true})
	if err != nil {
		t.Fatal(err)
	}
	j, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	// without events and a clock, and of no other capture
	for _, name := range []string{"start", "end", "first_event", "last_event", "peak_at", "since", "until", "redacted"} {
		if null := []byte(`"` + name + `":null`); bytes.Count(j, null) == 1 {
			j = bytes.Replace(j, null, nil, 1)
		}
	}
	if bytes.Contains(j, []byte("null")) {
		t.Errorf("%s", j)
	}
	var b bytes.Buffer
	if err := Text(&b, r, TextOptions{}); err != nil {
		t.Fatal(err)
	}
	golden(t, "screen-empty.txt", b.Bytes())
}

func TestResultJSON(t *testing.T) {
	j, err := json.MarshalIndent(result(t, true, analysis.Options{}), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "result.json", append(j, '\n'))
}

func TestPairLines(t *testing.T) {
	var text, lines []byte
	h, _, _ := capture(t, true)
	o := analysis.Options{Pair: func(p *pairing.Pair) error {
		text = append(AppendPairText(text, p, format.NewClocks(h.Clock), time.UTC), '\n')
		n := len(lines)
		lines = AppendPairJSON(lines, p, format.NewClocks(h.Clock))
		var v map[string]any
		if err := json.Unmarshal(lines[n:], &v); err != nil {
			t.Errorf("%s: %v", lines[n:], err)
		}
		if len(v) != 44 {
			t.Errorf("%d members: %s", len(v), lines[n:])
		}
		lines = append(lines, '\n')
		return nil
	}}
	result(t, true, o)
	printable(t, string(text))
	printable(t, strings.ReplaceAll(string(lines), "\ufffd", "")) // a byte that is not UTF-8
	last := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	golden(t, "pairs.txt", append(bytes.Join(last[len(last)-5:], []byte("\n")), '\n'))
	lastJSON := bytes.Split(bytes.TrimSpace(lines), []byte("\n"))
	golden(t, "pairs.json", append(bytes.Join(lastJSON[len(lastJSON)-5:], []byte("\n")), '\n'))
}

func TestNumbers(t *testing.T) {
	for got, want := range map[string]string{
		Count(0): "0", Count(999): "999", Count(1000): "1,000", Count(1234567): "1,234,567",
		Duration(0): "0 ns", Duration(812): "812 ns", Duration(12345): "12.3 µs", Duration(12_300_000): "12.3 ms", Duration(4_560_000_000): "4.56 s",
		Duration(999_999): "1.00 ms", Duration(999_999_999): "1.00 s", Duration(200e9): "3m20s", Duration(90 * 3600e9): "3d18h",
		Bytes(12): "12 B", Bytes(1536): "1.50 KiB", Bytes(5 << 30): "5.00 GiB", rate(0.25): "0.25", rate(12345.6): "12,346",
		Spark([]uint64{0, 1, 4, 8}, 8): "·▁▄█", Spark([]uint64{1}, 8): "", Spark([]uint64{1, 1, 8, 8}, 2): "▁█", Spark([]uint64{1, 1 << 63}, 2): "▁█",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// Sockets of one accept are one row of the table of listeners, however many of them the list holds, and attempts that
// began anew after a signal are no failures in it.
func TestListenerRows(t *testing.T) {
	ftp := listeners.ListenerInfo{Addr: "127.0.0.1:21", Accepted: 14, Attempts: 30, Failed: 16, Restarted: 14,
		Comms: []string{"vsftpd"}, Listener: 1}
	r := &analysis.Result{Listeners: []listeners.ListenerInfo{ftp},
		OneAccept: []listeners.OneAccept{{Addr: "127.0.0.1", Program: "vsftpd", Sockets: 14, Accepted: 14}}}
	for i := range 9 {
		r.Listeners = append(r.Listeners, listeners.ListenerInfo{Addr: fmt.Sprintf("127.0.0.1:%d", 40000+i), Accepted: 1,
			OneAccept: true, Stops: 1, Stopped: &listeners.Stop{}})
	}
	r.Others.Listeners = 5
	x := newText(r, TextOptions{})
	x.listeners()
	got := x.String()
	for _, want := range []string{`127\.0\.0\.1:21 +vsftpd +14 +2 `, `vsftpd: 14 sockets of one accept +vsftpd +14 +0`} {
		if !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
	if strings.Contains(got, ":40000") || strings.Contains(got, "more") {
		t.Errorf("sockets of one accept stand by themselves:\n%s", got)
	}
}
