package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/acc-project/acc/format"
	"github.com/acc-project/acc/testdata/figures"
)

// hostileNames are names that attackers give to processes, files, cgroups, sockets.
func hostileNames(seed uint64) []string {
	names := []string{
		"", " ", "\x1b[31mred", "\x1b]0;title\a", "\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "\x1b[2J\x1b[H", "\x1bP+q544e\x1b\\", "\x1b[6n", "\x9b31m", "\u009b31m",
		"\u0090q\u009c", "a\rb", "a\nb", "a\r\nacc: forged line", "a\tb", "a\bb", "a\x00b", "\x7f", "\u0085", "\u2028", "\u2029", "\u202eevil", "\u2066x\u2069", "\u200b",
		"\u200d", "\ufeff", "\ufff9x\ufffb", "\U000e0041", "\xff\xfe", "\xc3", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x80", "\ufffd", "e\u0301",
		"=1+1", "+1", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0", "\t=1", "\"quoted\"", "'", "`id`", "$(id)", "\\", `\x1b`, `\u001b`, "</script><script>alert(1)</script>",
		"<!--", "]]>", "&lt;", "&#27;", "%s%n%x", "%00", "{{.}}", "../../etc/passwd", "/", "-", "--", "-rf", "|id", ";id", "null", "true", "NaN", "1e309", "[", "{",
		"ssh-ed25519", "\u202a\u202b\u202c\u202d", strings.Repeat("A", 5000), strings.Repeat("\x1b[A", 1000), strings.Repeat("\u0301", 500), "日本語", "🏴‍☠️", "\u115f", "\u3164", "\u00ad",
	}
	for c := range 0x20 {
		names = append(names, "c"+string(rune(c))+"x")
	}
	for c := rune(0x80); c < 0xa0; c++ {
		names = append(names, "C1"+string(c)+"x", "raw"+string([]byte{byte(c)})+"x")
	}
	r := rand.New(rand.NewPCG(seed, 3))
	for len(names) < 320 {
		b := make([]byte, 1+r.IntN(40))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		names = append(names, string(b))
	}
	return names
}

// maxName is how long the name of a thread may be.
const maxName = 64

// namedCapture has every name in every place that holds text.
func namedCapture(t *testing.T, names []string) []byte {
	t.Helper()
	var out bytes.Buffer
	const second = 1_000_000_000
	h := format.Header{ID: "3b1f0a52", StartNS: 1_700_000_000 * second, Clock: format.Clock{BootNS: second, MonoNS: second, RealNS: 1_700_000_000 * second}}
	all := strings.Join(names, "\n")
	for _, p := range []*string{&h.ID, &h.Tool, &h.Host, &h.MachineID, &h.BootID, &h.Kernel, &h.Build, &h.Arch, &h.Zone, &h.Mode} {
		*p = all
	}
	h.Command, h.Limits, h.Filters = names, names, names
	for _, n := range names {
		h.Sysctls = append(h.Sysctls, format.Sysctl{Name: n, Value: n})
		h.Probes = append(h.Probes, format.Probe{Hook: 1, Kind: 1, How: n, Symbol: n})
	}
	w, err := format.NewWriter(&out, h, format.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(w.Snapshot(format.Snapshot{BootNS: second, Listeners: []format.ListenSocket{{LName: all, LAddr: all}}, ListenersKnown: true}))
	totals := map[format.Kind]uint64{}
	for i, n := range names {
		num := uint32(i + 1)
		must(w.Process(format.Process{Num: num, PID: num, Comm: n, Exe: n, Cgroup: n, Container: n, Runtime: n, Unit: n, Pod: n, PodUID: n}))
		n = n[:min(len(n), maxName)]
		for _, kind := range []format.Kind{format.Enter, format.Return} {
			e := format.Event{BootNS: int64(second + i), Kind: kind, Hook: format.HookSysAccept4, Via: format.ViaAccept4, PID: num, TID: num, Comm: n, Proc: num,
				Family: format.FamilyUnix, Type: 1, LName: n, Listener: uint64(i + 1), BacklogMax: 5}
			if kind == format.Return {
				e.Ret, e.RName, e.RAddr = 7, n, netip.Addr{}
			}
			totals[kind]++
			must(w.Event(&e))
		}
	}
	end := format.End{Reason: all, Detail: all, Clock: h.Clock}
	for kind, n := range totals {
		end.Totals = append(end.Totals, format.ProbeTotal{Hook: format.HookSysAccept4, Kind: kind, Seen: n, Recorded: n})
	}
	must(w.Close(end))
	return out.Bytes()
}

// steers finds what could steer a terminal or reorder its text.
func steers(b []byte) string {
	for i := 0; i < len(b); {
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size == 1 || r != '\n' && (unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co, unicode.Cs)) {
			return fmt.Sprintf("%q at %d: %q", r, i, b[max(0, i-30):min(len(b), i+30)])
		}
		i += size
	}
	return ""
}

// Names in captures and of files come through every output as text that steers
// no terminal, and through JSON as what they are.
func TestHostileNames(t *testing.T) {
	names := hostileNames(figures.Seed(t))
	dir := t.TempDir()
	name := filepath.Join(dir, "n.acc")
	data := namedCapture(t, names)
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(dir, "cut.acc")
	if err := os.WriteFile(cut, data[:len(data)-300], 0o600); err != nil {
		t.Fatal(err)
	}
	outputs := 0
	call := func(args ...string) (stdout []byte) {
		t.Helper()
		cmd := exec.Command("acc", args...)
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		_ = cmd.Run()
		outputs += 2
		for _, b := range [][]byte{out.Bytes(), errs.Bytes()} {
			if bad := steers(b); bad != "" {
				t.Errorf("acc %.60q: %s", args, bad)
			}
		}
		return out.Bytes()
	}
	for _, args := range [][]string{
		{"info"}, {"verify"}, {"analyze", "--top", "0"}, {"analyze", "--pairs"}, {"replay", "--speed", "max"}, {"analyze", "--pairs", "--json"},
	} {
		for _, file := range []string{name, cut} {
			if len(call(append(args, file)...)) == 0 {
				t.Errorf("acc %q printed nothing", args)
			}
		}
	}
	// A valid text is itself in JSON; bytes that are none are U+FFFD each.
	want := map[string]bool{}
	for _, n := range names {
		want[string([]rune(n[:min(len(n), maxName)]))] = true
	}
	lines := bufio.NewScanner(bytes.NewReader(call("replay", "--speed", "max", "--json", name)))
	lines.Buffer(nil, 1<<20)
	got := map[string]bool{}
	for lines.Scan() {
		var e struct{ Comm, LName string }
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatalf("%v: %.200q", err, lines.Bytes())
		}
		if e.Comm != e.LName {
			t.Errorf("comm %q, lname %q", e.Comm, e.LName)
		}
		got[e.Comm] = true
	}
	for n := range want {
		if !got[n] {
			t.Errorf("%q does not come through JSON", n)
		}
	}
	for _, args := range [][]string{{"info", "--json"}, {"analyze", "--json", "--top", "0"}, {"verify", "--json"}} {
		if out := call(append(args, name)...); !json.Valid(out) {
			t.Errorf("acc %q: no JSON", args)
		}
	}
	if runtime.GOOS != "windows" {
		every := 7
		if testing.Short() {
			every = 31
		}
		for i, n := range names {
			if i%every != 0 && !figures.Torture() {
				continue
			}
			if n == "" || len(n) > 200 || strings.ContainsAny(n, "/\x00") || strings.HasPrefix(n, "-") || n == "." || n == ".." {
				continue
			}
			file := filepath.Join(dir, n)
			call("info", file) // it is not there
			call("record", "-o", filepath.Join(file, "x.acc"))
			call("frobnicate", n)
			call("info", "--"+n)
			if os.WriteFile(file, data[:len(data)/2], 0o600) != nil {
				continue
			}
			call("verify", file)
			call("repair", "-o", file, file)
			call("repair", "-o", file+".new", file)
			call("analyze", "--connections", file)
		}
	}
	figures.Tell(t, "C3 hostile names", "%d names in every text of a capture and as names of files, %d outputs: none steers a terminal, JSON gives them back", len(names), outputs)
}

// On Windows a backslash separates folders; elsewhere it begins an escape, and is one itself.
func TestLocalName(t *testing.T) {
	for _, c := range []struct {
		name      string
		separator rune
		want      string
	}{
		{`C:\logs\x.acc`, '\\', `C:\logs\x.acc`},
		{"C:\\logs\\\u202ex.acc", '\\', `C:\logs\\u202ex.acc`},
		{`a\b.acc`, '/', `a\\b.acc`},
	} {
		if got := localName(c.name, c.separator); got != c.want {
			t.Errorf("%q: %s, want %s", c.name, got, c.want)
		}
	}
}
