package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/acc-project/acc/format"
)

// line is one line of JSON.
type line map[string]any

func (l line) is(key string) string { return fmt.Sprint(l[key]) }

// objects reads lines of JSON.
func (r *factReader) objects(command, text string) (list []line) {
	for s := range strings.Lines(text) {
		l := line{}
		d := json.NewDecoder(strings.NewReader(s))
		d.UseNumber()
		if err := d.Decode(&l); err != nil {
			r.t.Fatalf("%s of %s: %v: %s", command, r.file, err, s)
		}
		list = append(list, l)
	}
	return list
}

// dayLine is what lists say when the day changes.
var dayLine = regexp.MustCompile(`(?m)^(?:\d{4}-\d\d-\d\d [+-]\d\d:\d\d|boot\+: since .*)$`)

// lists reads the attempts and connections.
func (r *factReader) lists(salvage bool) {
	scope, how := r.scope(salvage), []string{"analyze"}
	name := ""
	if salvage {
		how, name = append(how, "--salvage"), " --salvage"
	}
	ask := func(command string, args ...string) (ran, bool) {
		got := runHere(r.t, append(append(append([]string{}, how...), args...), r.file)...)
		r.note("exit code", command+name, strconv.Itoa(got.code))
		if got.code == exitError || !strings.Contains(got.err, "; recording ") && got.out == "" {
			return got, false
		}
		r.noteStatement(scope, command+name, got)
		return got, true
	}
	if got, ok := ask("--pairs --json", "--pairs", "--json"); ok {
		count := map[string]int{}
		for _, p := range r.objects("--pairs", got.out) {
			count["attempts"]++
			switch {
			case p["return_seq"] == nil:
			case p.is("armed") == "true":
			case p["errno"] != nil:
				count["failed"]++
			default:
				count["accepted"]++
			}
			if seq := p.is("enter_seq"); p["enter_seq"] != nil && p["ts"] != nil {
				r.note(scope+"time of event "+seq, "--pairs --json"+name, p.is("ts"))
			}
		}
		for _, fact := range []string{"attempts", "accepted", "failed"} {
			r.note(scope+fact, "--pairs --json"+name, strconv.Itoa(count[fact]))
		}
	}
	if got, ok := ask("--pairs", "--pairs"); ok {
		r.note(scope+"attempts", "--pairs"+name, strconv.Itoa(strings.Count(got.out, "\n")-len(dayLine.FindAllString(got.out, -1))))
	}
	if got, ok := ask("--connections --json", "--connections", "--json"); ok {
		lines := r.objects("--connections", got.out)
		r.note(scope+"connections", "--connections --json"+name, strconv.Itoa(len(lines)))
		for i, c := range lines {
			if c["id"] == nil {
				continue
			}
			r.bytes(scope, c.is("id"), "--connections --json"+name, c.is("bytes_in"), c.is("bytes_out"))
			r.note(scope+"end of "+c.is("id"), "--connections --json"+name, c.is("end_reason"))
			if len(lines) < 200 && !(testing.Short() && i > 3 && c.is("id") != "1") {
				r.story(scope, name, how, c.is("id"))
			}
		}
	}
	if got, ok := ask("--connections", "--connections"); ok {
		n := 0
		for s := range strings.Lines(got.out) {
			m := regexp.MustCompile(`^ *(\d+|-)  (?:boot|\d|- )`).FindStringSubmatch(s)
			if m == nil {
				continue
			}
			n++
			if m[1] == "-" {
				continue
			}
			if m := regexp.MustCompile(`^ *(\d+)  .*  (-|\d+ B)\s+(-|\d+ B)\s+([a-z].*)\n`).FindStringSubmatch(s); m != nil {
				r.bytes(scope, m[1], "--connections"+name, m[2], m[3])
			}
		}
		r.note(scope+"connections", "--connections"+name, strconv.Itoa(n))
	}
	if got, ok := ask("--timeline", "--timeline"); ok {
		n := 0
		for _, m := range regexp.MustCompile(`(?m)(?:  |… and )([\d,]+) connections?(?:$|, .* shown| of other)`).FindAllStringSubmatch(got.out, -1) {
			x, _ := strconv.Atoi(strings.ReplaceAll(m[1], ",", ""))
			n += x
		}
		r.note(scope+"connections", "--timeline"+name, strconv.Itoa(n))
	}
}

// bytes notes how many a connection transferred, if that is known and written exactly.
func (r *factReader) bytes(scope, id, command, in, out string) {
	for what, s := range map[string]string{"from": in, "to": out} {
		s = strings.TrimSuffix(s, " B")
		if _, err := strconv.ParseUint(s, 10, 64); err == nil {
			r.note(scope+"bytes "+what+" the client of "+id, command, s)
		}
	}
}

// story reads the story of a connection.
func (r *factReader) story(scope, name string, how []string, id string) {
	got := runHere(r.t, append(append([]string{}, how...), "--connection", id, r.file)...)
	if got.out == "" {
		r.t.Errorf("%s has no connection %s", r.file, id)
		return
	}
	if m := regexp.MustCompile(`(?m)^  in ([\d.]+ \S+), out ([\d.]+ \S+?)[;,]`).FindStringSubmatch(got.out); m != nil {
		r.bytes(scope, id, "--connection"+name, m[1], m[2])
	}
	r.noteStatement(scope, "--connection"+name, got)
	r.note("exit code", "--connection"+name, strconv.Itoa(got.code))
}

// replay reads the events, and some of them in words.
func (r *factReader) replay(salvage bool) {
	scope, name := r.scope(salvage), "replay"
	var how []string
	if salvage {
		how, name = []string{"--salvage"}, "replay --salvage"
	}
	got := runHere(r.t, append([]string{"replay", "--speed", "max", "--json", r.file}, how...)...)
	r.note("exit code", name+" --json", strconv.Itoa(got.code))
	if !strings.Contains(got.err, "; recording ") && got.out == "" {
		return
	}
	r.noteStatement(scope, name+" --json", got)
	lines := r.objects(name, got.out)
	r.note(scope+"events", name+" --json", strconv.Itoa(len(lines)))
	first, last, accepted := "null", "null", 0
	least, most := int64(0), int64(0)
	cookies, ids := map[string]string{}, map[string]string{}
	for _, e := range lines {
		ns, _ := strconv.ParseInt(e.is("boot_ns"), 10, 64)
		if first == "null" || ns < least {
			first, least = e.is("ts"), ns
		}
		if last == "null" || ns >= most {
			last, most = e.is("ts"), ns
		}
		if e["ts"] != nil {
			r.note(scope+"time of event "+e.is("seq"), name+" --json", e.is("ts"))
		}
		if ret, err := strconv.Atoi(e.is("ret")); e.is("kind") == returnKind && (err == nil && ret >= 0 || e["ret"] == nil) {
			accepted++
		}
		if c := e.is("cookie"); e["cookie"] != nil && c != "0" && ids[c] == "" {
			ids[c] = e.is("seq")
		}
		if c := e.is("cookie"); e.is("kind") == closedKind && e["cookie"] != nil && c != "0" {
			cookies[c] = e.is("seq")
			r.bytes(scope, ids[c], name+" --json", e.is("bytes_in"), e.is("bytes_out"))
		}
	}
	for fact, value := range map[string]string{"first event": first, "last event": last, "accepted": strconv.Itoa(accepted)} {
		r.note(scope+fact, name+" --json", strings.Replace(value, "<nil>", "null", 1))
	}
	asked := 0
	explain := func(seq, id string) {
		if asked++; asked > 40 || testing.Short() && asked > 6 {
			return
		}
		got := runHere(r.t, append([]string{"explain", seq, r.file}, how...)...)
		command := strings.Replace(name, "replay", "explain", 1)
		r.note("exit code", command, strconv.Itoa(got.code))
		r.noteStatement(scope, command, got)
		m := regexp.MustCompile(`(?m)^event (\d+): .* at (\d\S+ \S+ \S+) on cpu`).FindStringSubmatch(got.out)
		if m != nil {
			r.note(scope+"time of event "+m[1], command, inUTC(r.t, m[2]))
		}
		if m := regexp.MustCompile(`The client sent ([\d.]+ \S+) and got ([\d.]+ \S+);`).FindStringSubmatch(got.out); m != nil && id != "" {
			r.bytes(scope, id, command, m[1], m[2])
		}
	}
	for i, c := range slices.Sorted(maps.Keys(cookies)) {
		if i < 2 || !testing.Short() {
			explain(cookies[c], ids[c])
		}
	}
	for i, e := range lines {
		if i < 3 || i+3 >= len(lines) || i == len(lines)/2 {
			explain(e.is("seq"), "")
		}
	}
	got = runHere(r.t, append([]string{"replay", "--speed", "max", r.file}, how...)...)
	r.note("exit code", name, strconv.Itoa(got.code))
	r.noteStatement(scope, name, got)
	n := strings.Count(got.out, "\n") - len(regexp.MustCompile(`(?m)^(20\d\d-\d\d-\d\d |boot\+: |\d{4}-\d\d-\d\d )`).FindAllString(got.out, -1))
	r.note(scope+"events", name, strconv.Itoa(n))
}

// inUTC writes a time of explain as JSON does.
func inUTC(t *testing.T, s string) string {
	at, err := time.Parse("2006-01-02 15:04:05.000000000 -07:00", s)
	if err != nil {
		t.Fatal(err)
	}
	return string(format.AppendTime(nil, at.UnixNano(), format.Clock{}))
}
