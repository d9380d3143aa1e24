package checkpoints

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/acc-project/acc/format"
)

const id = "3b1f0a52-6f0e-4f7a-9d55-0123456789ab"

// message is what acc writes of a frame.
func message(frame uint32) string {
	return string(Append(nil, id, format.Checkpoint{Frame: frame, Bytes: 100 + int64(frame), Events: uint64(frame), Head: [32]byte{1, byte(frame)}}))
}

// entryOf is an entry of journalctl -o json, as fields with some changed or, with nil, left out.
func entryOf(change map[string]any) string {
	e := map[string]any{
		"MESSAGE": message(1), "SYSLOG_IDENTIFIER": "acc", "SYSLOG_PID": "12", "_COMM": "acc", "_EXE": "/usr/bin/acc", "_PID": "12", "_UID": "0",
		"_BOOT_ID": "b", "_TRANSPORT": "syslog", "__REALTIME_TIMESTAMP": "1732440000000000", "PRIORITY": "5",
	}
	for k, v := range change {
		if e[k] = v; v == nil {
			delete(e, k)
		}
	}
	b, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// What acc wrote counts in every form in which logs keep it; what merely contains the
// text, as others can make it, does not, whatever they make.
func TestForms(t *testing.T) {
	m := message(1)
	for _, c := range []struct {
		name, line string
		form       Form // "": it does not count
	}{
		{"RFC 3164", "Nov 24 09:00:00 web1 acc[12]: " + m, Syslog},
		{"RFC 3164 of the 4th", "Nov  4 09:00:00 web1 acc[12]: " + m, Syslog},
		{"at /dev/log", "<85>Nov 24 09:00:00 acc[12]: " + m, Syslog},
		{"rsyslog", "2026-11-24T09:00:00.123456+01:00 web1 acc[12]: " + m, Syslog},
		{"journalctl -o short-precise", "Nov 24 09:00:00.123456 web1 acc[12]: " + m, Syslog},
		{"journalctl -o short-iso", "2026-11-24T09:00:00+0100 web1 acc[12]: " + m, Syslog},
		{"journalctl -o short-full", "Tue 2026-11-24 09:00:00 CET web1.example.org acc[12]: " + m, Syslog},
		{"journalctl -o short-monotonic", "[   12.345678] web1 acc[12]: " + m, Syslog},
		{"journalctl -o short-unix", "1732440000.123456 web1 acc[12]: " + m, Syslog},
		{"journalctl --no-hostname", "Nov 24 09:00:00 acc[12]: " + m, Syslog},
		{"a unit's standard error", "Nov 24 09:00:00 web1 acc[12]: acc: " + m, Syslog},
		{"RFC 5424", "<85>1 2026-11-24T09:00:00.123Z web1 acc 12 - - " + m, Syslog},
		{"RFC 5424 with data", `<85>1 2026-11-24T09:00:00Z web1 acc 12 ID [timeQuality tzKnown="1"][x@1 a="]\" b"] ` + m, Syslog},
		{"RFC 5424 with a mark", "<85>1 - web1 acc 12 - - \ufeff" + m, Syslog},
		{"standard error", "acc: " + m, Output},
		{"Kubernetes", "2026-11-24T09:00:00.123456789Z stderr F acc: " + m, Output},
		{"Docker", `{"log":"acc: ` + m + `\n","stream":"stderr","time":"2026-11-24T09:00:00Z"}`, Output},
		{"journal", entryOf(nil), Journal},
		{"journal, a unit's standard error", entryOf(map[string]any{"MESSAGE": "acc: " + m, "_TRANSPORT": "stdout"}), Journal},
		{"journal, replaced program", entryOf(map[string]any{"_EXE": "/usr/bin/acc (deleted)"}), Journal},
		{"journal, program with a version", entryOf(map[string]any{"_EXE": "/root/acc-linux-amd64", "_COMM": "acc-linux-amd64"}), Journal},

		{"logger -t eve", "Nov 24 09:00:00 web1 eve[12]: " + m, ""},
		{"logger -t eve, acc's line inside", "Nov 24 09:00:00 web1 eve: acc[12]: " + m, ""},
		{"the same without a host", "Nov 24 09:00:00 eve: acc[12]: " + m, ""},
		{"a whole line inside", "Nov 24 09:00:00 web1 eve: Nov 24 09:00:00 web1 acc[12]: " + m, ""},
		{"tag with a space", "Nov 24 09:00:00 web1 x acc[12]: " + m, ""},
		{"tag acc without a process", "Nov 24 09:00:00 web1 acc: " + m, ""},
		{"tag notacc", "Nov 24 09:00:00 web1 notacc[12]: " + m, ""},
		{"text before", "Nov 24 09:00:00 web1 acc[12]: I saw " + m, ""},
		{"text behind", "Nov 24 09:00:00 web1 acc[12]: " + m + " and more", ""},
		{"sudo's log of a command", "Nov 24 09:00:00 web1 sudo[12]: eve : COMMAND=/bin/echo acc[12]: " + m, ""},
		{"rsyslog's escape of a line feed", "Nov 24 09:00:00 web1 eve: x#012Nov 24 09:00:00 web1 acc[12]: " + m, ""},
		{"journalctl's further line", "                     Nov 24 09:00:00 web1 acc[12]: " + m, ""},
		{"journalctl -o with-unit", "Nov 24 09:00:00 web1 eve.service[12]: " + m, ""},
		{"journalctl -o verbose", "    MESSAGE=" + m, ""},
		{"journalctl -o cat", m, ""},
		{"RFC 5424, eve", "<85>1 2026-11-24T09:00:00Z web1 eve 12 - - acc " + m, ""},
		{"RFC 5424, acc in data", `<85>1 2026-11-24T09:00:00Z web1 eve 12 - [a b="acc 12 - - ` + m + `"] x`, ""},
		{"RFC 5424, acc as message id", "<85>1 2026-11-24T09:00:00Z web1 eve acc 12 - - " + m, ""},
		{"standard output in Kubernetes", "2026-11-24T09:00:00.123456789Z stdout F acc: " + m, ""},
		{"a piece in Kubernetes", "2026-11-24T09:00:00.123456789Z stderr P acc: " + m, ""},
		{"standard output in Docker", `{"log":"acc: ` + m + `\n","stream":"stdout"}`, ""},
		{"another program in Docker", `{"log":"eve: ` + m + `\n","stream":"stderr"}`, ""},
		{"journal, logger", entryOf(map[string]any{"_COMM": "logger", "_EXE": "/usr/bin/logger"}), ""},
		{"journal, named acc", entryOf(map[string]any{"_EXE": "/usr/bin/python3"}), ""},
		{"journal, other name", entryOf(map[string]any{"_COMM": "eve"}), ""},
		{"journal, other tag", entryOf(map[string]any{"SYSLOG_IDENTIFIER": "eve"}), ""},
		{"journal, program not known", entryOf(map[string]any{"_EXE": nil, "_COMM": nil}), ""},
		{"journal, user not known", entryOf(map[string]any{"_UID": nil}), ""},
		{"journal, two messages", entryOf(map[string]any{"MESSAGE": []string{m, m}}), ""},
		{"journal, two tags", entryOf(map[string]any{"SYSLOG_IDENTIFIER": []string{"acc", "eve"}}), ""},
		{"journal, text in another field", entryOf(map[string]any{"MESSAGE": "hello", "NOTE": m}), ""},
		{"journal, Docker's field", entryOf(map[string]any{"log": "acc: " + m, "stream": "stderr"}), ""},
		{"journal, line feed", entryOf(map[string]any{"MESSAGE": "x\nacc: " + m}), ""},
		{"half JSON", entryOf(nil)[:100] + m, ""},
		{"head in capitals", "acc: " + strings.ToUpper(m), ""},
		{"frame that is none", "acc: " + strings.Replace(m, "frame=1", "frame=9999999999", 1), ""},
		{"bytes that are none", "acc: " + strings.Replace(m, "bytes=101", "bytes=9999999999999999999", 1), ""},
	} {
		l, err := Read(strings.NewReader("other text\n" + c.line + "\n"))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if l.Form != c.form || len(l.Lines) != min(1, len(c.form)) {
			t.Errorf("%s: form %q, %d lines, want %q", c.name, l.Form, len(l.Lines), c.form)
		}
		contains := strings.Contains(c.line, "checkpoint capture=")
		if c.form == "" && contains && (l.Others != 1 || l.First != 2) || c.form != "" && l.Others != 0 {
			t.Errorf("%s: %d others, the first in line %d", c.name, l.Others, l.First)
		}
		if len(l.Lines) == 1 {
			want := Line{Capture: id, Frame: 1, Bytes: 101, Events: 1, Head: [32]byte{1, 1}, Writer: l.Lines[0].Writer}
			if l.Lines[0] != want {
				t.Errorf("%s: %+v", c.name, l.Lines[0])
			}
		}
	}
}

// In a log of several forms those that prove the most count.
func TestMixedForms(t *testing.T) {
	all := "acc: " + message(1) + "\nNov 24 09:00:00 web1 acc[12]: " + message(2) + "\n" + entryOf(nil) + "\nacc: " + message(3) + "\n"
	l, err := Read(strings.NewReader(all))
	if err != nil || l.Form != Journal || len(l.Lines) != 1 || l.Others != 3 || l.First != 1 {
		t.Errorf("%+v, %v", l, err)
	}
	if _, err := Read(strings.NewReader("__CURSOR=s=1\n" + all)); err != ErrExport {
		t.Errorf("an export: %v", err)
	}
	long := "acc: " + message(1) + "\n" + strings.Repeat("x", 3*maxLine) + "\nacc: " + message(2)
	if l, err := Read(strings.NewReader(long)); err != nil || len(l.Lines) != 2 || l.Cut != 1 {
		t.Errorf("a long line: %+v, %v", l, err)
	}
}

// A log that acc alone wrote does not contradict itself; one with a line of another does.
func TestContradictions(t *testing.T) {
	line := func(frame, size, events int64, head byte, pid string) Line {
		return Line{Capture: id, Frame: frame, Bytes: size, Events: uint64(events), Head: [32]byte{head}, Writer: Writer{PID: pid}}
	}
	right := []Line{line(0, 10, 0, 1, "1"), line(1, 20, 5, 2, "1"), line(4, 90, 5, 3, "1"), line(4, 120, 5, 3, "1")} // the last one behind the index
	for _, c := range []struct {
		name string
		more Line
		want string
	}{
		{"again", right[1], ""},
		{"another capture", Line{Capture: "x", Frame: 1, Head: [32]byte{9}, Writer: Writer{PID: "7"}}, ""},
		{"in between", line(2, 50, 5, 8, "1"), ""},
		{"another head", line(1, 20, 5, 9, "1"), "frame 1 has two heads"},
		{"another number of events", line(1, 20, 6, 2, "1"), "frame 1 ends at byte 20, after 5 events, and at byte 20, after 6 events"},
		{"an earlier end", line(2, 15, 5, 8, "1"), "frame 1 ends at byte 20"},
		{"fewer events", line(2, 50, 4, 8, "1"), "which is later"},
		{"the same head", line(2, 50, 5, 2, "1"), "frames 1 and 2 have the same head"},
		{"another process", line(2, 50, 5, 8, "2"), "two processes wrote heads of it: pid 1; pid 2"},
	} {
		l := Log{Lines: append(append([]Line(nil), right...), c.more)}
		lines, against, _ := l.Of(id)
		text := strings.Join(against, "; ")
		if (text == "") != (c.want == "") || !strings.Contains(text, c.want) {
			t.Errorf("%s: %q, want %q", c.name, text, c.want)
		}
		if c.want == "" && len(lines) > 5 {
			t.Errorf("%s: %d lines", c.name, len(lines))
		}
	}
	root, eve := Writer{"1", "0", "/usr/bin/acc", "b"}, Writer{"2", "1000", "/home/eve/acc", "b"}
	l := Log{}
	for frame := range int64(3) {
		l.Lines = append(l.Lines, Line{Capture: id, Frame: frame, Bytes: frame, Head: [32]byte{byte(frame)}, Writer: root}, Line{Capture: id, Frame: frame, Bytes: frame, Head: [32]byte{9}, Writer: eve})
	}
	if lines, against, passed := l.Of(id); len(lines) != 3 || len(against) > 0 || passed != 3 {
		t.Errorf("root and eve: %d lines, %v, %d passed", len(lines), against, passed)
	}
}

// No log makes Read crash, and no line that it takes is longer than what acc writes.
func FuzzRead(f *testing.F) {
	for _, s := range []string{"acc: %s\n", "Nov 24 09:00:00 web1 acc[12]: %s\n", "<85>1 - web1 acc 12 - [a b=\"c\"] %s\n", `{"log":"acc: %s\n","stream":"stderr"}`} {
		f.Add(fmt.Appendf(nil, s, message(1)))
	}
	f.Add([]byte(entryOf(nil)))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := Read(bytes.NewReader(data))
		if err != nil {
			return
		}
		for _, c := range l.Lines {
			again := Append(nil, c.Capture, format.Checkpoint{Frame: uint32(c.Frame), Bytes: c.Bytes, Events: c.Events, Head: c.Head})
			if _, ok := parseText(string(again), Writer{}); !ok {
				t.Errorf("%q is read, and %q is not", data, again)
			}
			l.Of(c.Capture)
		}
	})
}
