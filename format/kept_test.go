package format

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/acc-project/acc/testdata/figures"
)

var keep = flag.Bool("keep", false, "write testdata/captures/v1.acc, if it is not there")

const keptDir = "../testdata/captures"

// eventsJSON are the lines that replay --json prints.
func eventsJSON(t *testing.T, data []byte) []byte {
	t.Helper()
	r, err := NewReader(bytes.NewReader(data), ReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		for i := range b.Events {
			out = append(AppendJSON(out, &b.Events[i], r.Header().Clock), '\n')
		}
	}
}

// Captures of every version of the format that ever was are read as they were
// then: each event has at least the members and values that stand beside the file.
func TestKeptCaptures(t *testing.T) {
	if name := filepath.Join(keptDir, "v1.acc"); *keep {
		if _, err := os.Stat(name); err == nil {
			t.Fatalf("%s is there: a kept capture stays as it is", name)
		}
		data := write(t, append(odd(), sample(50, 12)...), 20)
		if err := errors.Join(os.MkdirAll(keptDir, 0o755), os.WriteFile(name, data, 0o644),
			os.WriteFile(strings.TrimSuffix(name, ".acc")+".jsonl", eventsJSON(t, data), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob(filepath.Join(keptDir, "*.acc"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no kept captures: %v", err)
	}
	events := 0
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if diff := AheadDiffers(data, false); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		want, err := os.Open(strings.TrimSuffix(name, ".acc") + ".jsonl")
		if err != nil {
			t.Fatal(err)
		}
		defer want.Close()
		got := bufio.NewScanner(bytes.NewReader(eventsJSON(t, data)))
		lines := bufio.NewScanner(want)
		for lines.Scan() {
			if !got.Scan() {
				t.Fatalf("%s: only %d events are read", name, events)
			}
			w, g := object(t, lines.Bytes()), object(t, got.Bytes())
			for k, v := range w {
				if was, now := words(v), words(g[k]); k == "mark" && len(now) > len(was) {
					g[k] = g[k].([]any)[:len(was)] // bits that had no word then
				}
				if !reflect.DeepEqual(g[k], v) {
					t.Errorf("%s: event %v: %s is %v, was %v", name, w["seq"], k, g[k], v)
				}
			}
			events++
		}
		if got.Scan() {
			t.Errorf("%s: more events are read than were written", name)
		}
	}
	figures.Tell(t, "A8 files of every version", "%d files, %d events: read as they were then", len(files), events)
}

// object reads a line with its numbers as they stand.
func object(t *testing.T, line []byte) map[string]any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	return m
}

// Text from captures is JSON that any reader takes, and steers no terminal.
func TestJSONStrings(t *testing.T) {
	for _, s := range []string{"", "a", `"\/`, "\x00\x1f\x7f", "\u0080\u009f", "\xff\xfea", "é日本", "\U0001f600", "\U000e0041", "\u202e", "\u2028", "\ufffd", "a\xed\xa0\x80b"} {
		b := AppendJSONString([]byte("x"), s)
		var got string
		if err := json.Unmarshal(b[1:], &got); err != nil || b[0] != 'x' || got != string([]rune(s)) {
			t.Errorf("%q becomes %s, which reads %q, %v", s, b, got, err)
		}
		for _, r := range string(b) {
			if r < 0x20 || r >= 0x7f && r < 0xa0 || r == 0x202e || r == 0x2028 {
				t.Errorf("%q becomes %q", s, b)
			}
		}
	}
	for s, want := range map[string]string{
		"": "", "plain text": "plain text", "a\\b": `a\\b`, "\x1b[31m": `\x1b[31m`, "\xff": `\xff`, "\a\n": `\a\n`, `"'`: `"'`, "é\u202e": `é\u202e`, "a\"\x01'": `a"\x01'`, "\x7f": `\x7f`,
	} {
		if got := Quote(s); got != want {
			t.Errorf("Quote(%q) = %q, want %q", s, got, want)
		}
	}
}

// Marks and words stand in JSON by name, numbers with their whole range.
func TestJSONOfEvents(t *testing.T) {
	c := Clock{BootNS: 1_000, RealNS: 1_700_000_000_000_001_000}
	e := Event{Seq: 7, BootNS: 2_500, Kind: Return, Hook: HookSysAccept4, Via: ViaAccept4, Ret: -24, Mark: 1 | 1<<13, PID: 1<<32 - 1, UserData: 1<<64 - 1, Family: FamilyIPv6, State: 10}
	m := object(t, AppendJSON(nil, &e, c))
	for k, want := range map[string]any{
		"seq": json.Number("7"), "ts": "2023-11-14T22:13:20.000002500Z", "kind": "return", "errno": "EMFILE", "ret": json.Number("-24"),
		"mark": []any{"entry-lost", "address-differs"}, "pid": json.Number("4294967295"), "user_data": json.Number("18446744073709551615"),
		"family": "ipv6", "state": "listen", "via": "accept4", "raddr": "",
	} {
		if !reflect.DeepEqual(m[k], want) {
			t.Errorf("%s is %v, want %v", k, m[k], want)
		}
	}
	if _, ok := m["cookie"]; ok {
		t.Error("a failed return has a cookie")
	}
	e = Event{Kind: Enter, HasAddr: true, Hook: 200}
	m = object(t, AppendJSON(nil, &e, c))
	if _, ok := m["errno"]; ok || m["addr"] != true || m["addrlen"] != false || m["hook"] != "200" {
		t.Errorf("an entry is %v", m)
	}
}

// words is a list of JSON, nil if it is none.
func words(v any) []any {
	list, _ := v.([]any)
	return list
}
