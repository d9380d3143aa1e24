package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/acc-project/acc/format"
)

// What --on takes.
func TestReadTrigger(t *testing.T) {
	for _, c := range []struct {
		s    string
		want trigger
		err  string
	}{
		{"queue-overflow", trigger{finding: "queue-overflow"}, ""},
		{"new-listener", trigger{finding: "new-listener"}, ""},
		{"errno=EMFILE rate>10/s", trigger{failed: true, errno: 24, above: 10}, ""},
		{"errno=emfile rate > 10/s", trigger{failed: true, errno: 24, above: 10}, ""},
		{"failed rate>0.5/s", trigger{failed: true, above: 0.5}, ""},
		{"rate>5000/s", trigger{above: 5000}, ""},
		{"rate x3", trigger{times: 3}, ""},
		{"rate x 3", trigger{times: 3}, ""},
		{"errno=EAGAIN rate x2.5", trigger{failed: true, errno: 11, times: 2.5}, ""},
		{"queue-overfow", trigger{}, "is no finding"},
		{"errno=EMFILE", trigger{}, "one rate is needed"},
		{"errno=ENOTHING rate>1/s", trigger{}, `"ENOTHING" is no error`},
		{"rate>10", trigger{}, "no rate a second"},
		{"rate>-1/s", trigger{}, "no rate a second"},
		{"rate x1", trigger{}, "no number of times above 1"},
		{"rate x3 rate>1/s", trigger{}, "one rate is needed"},
		{"rate<3", trigger{}, "is no finding"},
		{"rate >", trigger{}, "no rate a second"},
	} {
		got, err := readTrigger(c.s)
		if got.text = ""; (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%q: %v", c.s, err)
		}
		if err == nil && got != c.want {
			t.Errorf("%q: %+v", c.s, got)
		}
	}
}

// Rates are those of single seconds, over the bounds of files; what is counted instead of recorded counts, too.
func TestRateWatch(t *testing.T) {
	at := func(s, ms int) int64 { return int64(s)*int64(time.Second) + int64(ms)*int64(time.Millisecond) }
	failed := func(w *rateWatch, ns int64, errno int32, n int) {
		for range n {
			w.event(&format.Event{Kind: format.Return, Ret: -errno, BootNS: ns})
		}
	}
	accepted := func(w *rateWatch, s, n int) {
		for i := range n {
			w.event(&format.Event{Kind: format.Return, Ret: 5, BootNS: at(s, i%1000)})
		}
	}
	read := func(s string) *rateWatch {
		x, err := readTrigger(s)
		must(t, err)
		return &rateWatch{trigger: x}
	}
	w := read("errno=EMFILE rate>10/s")
	failed(w, at(100, 500), 24, 10)
	failed(w, at(100, 600), 11, 50)
	failed(w, at(101, 0), 24, 10)
	if why := w.ended(); why != "" {
		t.Errorf("10 a second: %s", why)
	}
	failed(w, at(101, 900), 24, 1) // with those at the end of the file before
	if why := w.ended(); why != "11 calls failed with EMFILE in a second" {
		t.Errorf("%q", why)
	}
	failed(w, at(103, 0), 24, 3)
	if why := w.ended(); why != "11 calls failed with EMFILE in a second" {
		t.Errorf("the second that both files have: %q", why)
	}
	failed(w, at(104, 0), 24, 3)
	if why := w.ended(); why != "" {
		t.Errorf("it is over: %q", why)
	}
	w.counted(&format.Counted{Ret: -24, Calls: 300, FromNS: at(105, 10), ToNS: at(107, 20)})
	if why := w.ended(); why != "100 calls failed with EMFILE in a second" {
		t.Errorf("counted ones: %q", why)
	}
	w = read("rate x3")
	for s := range 60 {
		accepted(w, 200+s, 20)
		if s%7 == 6 {
			if why := w.ended(); why != "" {
				t.Errorf("a steady rate, after %d s: %s", s, why)
			}
		}
	}
	accepted(w, 260, 59)
	if why := w.ended(); why != "" {
		t.Errorf("less than three times: %s", why)
	}
	accepted(w, 261, 90)
	if why := w.ended(); !strings.HasPrefix(why, "90 connections were accepted in a second; the mean of the 61 s before is 20.") {
		t.Errorf("%q", why)
	}
	w = read("rate x3")
	accepted(w, 300, 500)
	if why := w.ended(); why != "" {
		t.Errorf("at the beginning nothing is known: %s", why)
	}
}

// The command of --exec gets the folder of each dump, one after another, and acc waits for it.
func TestHook(t *testing.T) {
	if os.PathSeparator != '/' {
		t.Skip("needs a shell")
	}
	out := filepath.Join(t.TempDir(), "it's out")
	h, err := newHook(`printf '%s|%s|%s\n' "$ACC_WHY" >>"` + out + `" "$#"`)
	must(t, err)
	for i := range 3 {
		must(t, h.run(fmt.Sprintf("/var/lib/a dump $%d\\", i), "queue-overflow: `full`\nat \"x\""))
	}
	var said bytes.Buffer
	h.close(&said)
	got, err := os.ReadFile(out)
	must(t, err)
	want := ""
	for i := range 3 {
		want += fmt.Sprintf("queue-overflow: `full` at \"x\"|1|/var/lib/a dump $%d\\\n", i)
	}
	if string(got) != want || said.Len() > 0 {
		t.Errorf("%q, want %q; %s", got, want, &said)
	}
	if _, err := newHook("/nowhere/upload --now"); err == nil || !strings.Contains(err.Error(), `no command "/nowhere/upload"`) {
		t.Errorf("a command that is not there: %v", err)
	}
	if err := h.run("a\nb", ""); err == nil {
		t.Error("a folder with a line break")
	}
	none, err := newHook("")
	if must(t, err); none.run("x", "") != nil {
		t.Error("no command")
	}
	none.close(&said)
}
