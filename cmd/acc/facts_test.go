package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/acc-project/acc/evidence"
	"github.com/acc-project/acc/format"
)

// ran is what a command said.
type ran struct {
	out, err string
	code     int
}

// runHere runs a command in this process, which it does not confine.
func runHere(t *testing.T, args ...string) ran {
	t.Helper()
	var out, errOut bytes.Buffer
	root := newRootCommand()
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&errOut)
	code := exitCode(root.ExecuteContext(t.Context()), &errOut)
	return ran{out.String(), errOut.String(), code}
}

// unconfined lets commands run in the process of a test.
func unconfined(t testing.TB) {
	reader, exporter, small := confineReader, confineExport, smallCapture
	confineReader, confineExport = func(...string) {}, func(string) {}
	t.Cleanup(func() { confineReader, confineExport, smallCapture = reader, exporter, small })
	t.Setenv("GOMEMLIMIT", "2GiB") // which keeps commands from setting it
}

// facts are what commands say of one file: by fact and command, the value.
type facts map[string]map[string]string

func (f facts) note(fact, command, value string) {
	if strings.HasPrefix(value, "20") || strings.HasPrefix(value, "1") { // as some JSON writes times, and other does not
		value = trailingZeros.ReplaceAllString(value, "${1}Z")
	}
	if f[fact] == nil {
		f[fact] = map[string]string{}
	}
	f[fact][command] = value
}

var trailingZeros = regexp.MustCompile(`(\.\d*[1-9])0*Z$|\.0+Z$`)

// differences lists the facts of which two commands say something else.
func (f facts) differences() (list []string) {
	for _, fact := range slices.Sorted(maps.Keys(f)) {
		commands := map[string][]string{}
		for command, value := range f[fact] {
			commands[value] = append(commands[value], command)
		}
		if len(commands) < 2 {
			continue
		}
		text := fact + ":"
		for _, value := range slices.Sorted(maps.Keys(commands)) {
			slices.Sort(commands[value])
			text += fmt.Sprintf("\n\t%.300q say %s", value, strings.Join(commands[value], ", "))
		}
		list = append(list, text)
	}
	return list
}

// factReader reads facts of one file out of what commands print.
type factReader struct {
	t    *testing.T
	file string
	facts
	skips bool // parts were skipped: what stops before them says less
}

// readFacts asks every command for everything.
func readFacts(t *testing.T, file string) facts {
	r := &factReader{t: t, file: file, facts: facts{}}
	for _, full := range [][]string{nil, {"--full"}} {
		smallCapture = map[bool]int64{true: 0, false: 4 << 20}[full == nil] // the index alone
		r.info("info", full...)
	}
	smallCapture = 4 << 20
	r.info("info of a small file")
	r.verify()
	for _, salvage := range []bool{true, false} {
		r.analyze(salvage)
		r.lists(salvage)
		r.replay(salvage)
	}
	return r.facts
}

// scope is what the facts of a command are called.
func (r *factReader) scope(salvage bool) string {
	if r.skips && !salvage {
		return "up to the damage, "
	}
	return ""
}

// object reads JSON of one object, and notes exit code and verdict.
func (r *factReader) object(command string, args ...string) (o map[string]any, ok bool) {
	got := runHere(r.t, append(args, r.file)...)
	d := json.NewDecoder(strings.NewReader(got.out))
	d.UseNumber()
	if err := d.Decode(&o); err != nil {
		r.t.Errorf("%s of %s: %v: %.200s", command, r.file, err, got.out)
		return nil, false
	}
	if got.code != exitCounters { // of verify alone
		r.note("exit code", command, strconv.Itoa(got.code))
	}
	if v, unread := o["verdict"], o["error"] != nil; unread {
		r.note("verdict", command, fmt.Sprint(v))
		return nil, false
	}
	return o, true
}

// noteJSON notes members of an object: fact, path.
func (r *factReader) noteJSON(scope, command string, o map[string]any, paths ...string) {
	for i := 0; i < len(paths); i += 2 {
		v := any(o)
		for key := range strings.SplitSeq(paths[i+1], ".") {
			m, _ := v.(map[string]any)
			v = m[key]
		}
		switch x := v.(type) {
		case nil:
			if paths[i] == "first event" || paths[i] == "last event" {
				r.note(scope+paths[i], command, "null")
			}
		case []any:
			var all []string
			for _, s := range x {
				all = append(all, fmt.Sprint(s))
			}
			r.note(scope+paths[i], command, strings.Join(all, "; "))
		default:
			r.note(scope+paths[i], command, fmt.Sprint(x))
		}
	}
}

// noteText notes what the groups of a regular expression match, marks and commas taken off.
func (r *factReader) noteText(scope, command, text, expression string, names ...string) bool {
	m := regexp.MustCompile(expression).FindStringSubmatch(text)
	for i, name := range names {
		if m != nil && name != "" {
			r.note(scope+name, command, strings.NewReplacer(",", "", "≥", "", "~", "").Replace(m[i+1]))
		}
	}
	return m != nil
}

// noteStates notes what the words for file and recording say.
func (r *factReader) noteStates(scope, command, file, recording string) {
	words := map[string]string{"intact": "intact", "DAMAGED (truncated)": "truncated", "DAMAGED (corrupt)": "corrupt", "UNREADABLE": "unreadable", "closed": "unchecked"}
	state, _, _ := strings.Cut(strings.ReplaceAll(file, ";", ":"), ":")
	if r.note("file", command, words[state]); words[state] == "" {
		r.t.Errorf("%s of %s: the file is %q", command, r.file, file)
	}
	switch {
	case recording == "complete: nothing was lost or missed":
		r.note(scope+"recording", command, "complete")
		r.note(scope+"recording, because", command, "")
	case strings.HasPrefix(recording, "INCOMPLETE: "):
		r.note(scope+"recording", command, "incomplete")
		r.note(scope+"recording, because", command, strings.TrimPrefix(recording, "INCOMPLETE: "))
	default:
		r.t.Errorf("%s of %s: the recording is %q", command, r.file, recording)
	}
}

// noteStatement notes the line on standard error beside a list.
func (r *factReader) noteStatement(scope, command string, got ran) {
	m := regexp.MustCompile(`(?m)^acc: .*?: file (.*); recording (complete: .*|INCOMPLETE: .*)$`).FindStringSubmatch(got.err)
	if m == nil {
		r.t.Errorf("%s of %s does not say in which state file and recording are: %s", command, r.file, got.err)
		return
	}
	r.noteStates(scope, command, m[1], m[2])
}

// rows reads a table of names and values; a row without a name goes on with the one before.
func rows(text string) map[string][]string {
	list, name := map[string][]string{}, ""
	for line := range strings.Lines(text) {
		m := regexp.MustCompile(`^(\S[^ ]*(?: [^ ]+)*)?\s{2,}(.*?)\s*$`).FindStringSubmatch(line)
		if m == nil {
			continue
		}
		if m[1] != "" {
			name = m[1]
		}
		list[name] = append(list[name], m[2])
	}
	return list
}

func (r *factReader) info(command string, args ...string) {
	args = append([]string{"info"}, args...)
	o, ok := r.object(command+" --json", append(args, "--json")...)
	got := runHere(r.t, append(args, r.file)...)
	r.note("exit code", command, strconv.Itoa(got.code))
	if !ok {
		return
	}
	skipped, _ := o["skipped"].([]any)
	r.skips = len(skipped) > 0
	r.noteJSON("", command+" --json", o, "events", "events", "bytes of the file", "bytes", "lost", "lost", "lost", "recording.lost", "missed", "recording.missed",
		"closed cleanly", "recording.closed_cleanly", "id", "header.id")
	table := rows(got.out)
	first := func(name string) string { return strings.Join(table[name][:min(len(table[name]), 1)], "") }
	r.noteText("", command, first("events"), `^([\d,]+)[,:]`, "events")
	r.noteText("", command, first("lost"), `^(?:at least )?([\d,]+)( events?|;)`, "lost")
	r.noteText("", command, first("id"), `(.*)`, "id")
	if o["read"] != evidence.ReadAll {
		return // the rest is not said, or not looked at
	}
	r.noteJSON("", command+" --json", o, "verdict", "verdict", "file", "integrity.state", "file, because", "integrity.why", "recording", "recording.state",
		"recording, because", "recording.why", "accepted", "accepted", "first event", "first", "last event", "last", "frames", "frames",
		"cross-check", "cross_check.verdict", "cross-check", "recording.cross_check", "cross-check in words",
		"cross_check.text")
	r.noteText("", command, first("events"), `returns?, ([\d,]+) accepted`, "accepted")
	r.noteText("", command, first("size"), `in (\d+) frames?`, "frames")
	r.noteText("", command, first("time"), ` for (\S+ ?\S*), ended by`, "duration")
	r.noteStates("", command, first("file"), first("recording"))
	if why := table["file"][1:]; len(why) > 0 {
		r.note("file, because", command, strings.Join(why, "; "))
	}
	r.note("cross-check in words", command, first("cross-check"))
}

func (r *factReader) verify() {
	o, ok := r.object("verify --json", "verify", "--json")
	got := runHere(r.t, "verify", r.file)
	if got.code != exitCounters { // of verify alone
		r.note("exit code", "verify", strconv.Itoa(got.code))
	}
	if !ok {
		return
	}
	r.noteJSON("", "verify --json", o, "events", "events", "bytes of the file", "bytes", "lost", "recording.lost", "missed", "recording.missed", "closed cleanly", "recording.closed_cleanly",
		"verdict", "capture", "file", "integrity.state", "file, because", "integrity.why", "recording", "recording.state", "recording, because", "recording.why",
		"cross-check", "cross_check.verdict", "cross-check", "recording.cross_check", "cross-check in words",
		"cross_check.text", "id", "id")
	if n, ok := o["missing"].(map[string]any); ok && n["after_event"] != nil && n["after_time"] != nil {
		r.note("time of event "+fmt.Sprint(n["after_event"]), "verify --json", fmt.Sprint(n["after_time"]))
	}
	table := rows(got.out)
	first := func(name string) string { return strings.Join(table[name][:min(len(table[name]), 1)], "") }
	r.noteStates("", "verify", first("file"), first("recording"))
	r.noteText("", "verify", got.out, `with ([\d,]+) events?`, "events")
	r.noteText("", "verify", got.out, `the file has ([\d,]+) bytes`, "bytes of the file")
	r.noteText("", "verify", strings.ToLower(first("verdict")), `^(\w+)`, "verdict")
	r.noteText("", "verify", first("id"), `(.*)`, "id")
	if len(table["cross-check"]) > 0 {
		r.note("cross-check in words", "verify", first("cross-check"))
	}
}

func (r *factReader) analyze(salvage bool) {
	args, name, scope := []string{"analyze"}, "analyze", r.scope(salvage)
	if salvage {
		args, name = append(args, "--salvage"), name+" --salvage"
	}
	o, ok := r.object(name+" --json", append(slices.Clone(args), "--json", "--top", "0")...)
	got := runHere(r.t, append(args, r.file)...)
	r.note("exit code", name, strconv.Itoa(got.code))
	if !ok {
		return
	}
	r.noteJSON(scope, name+" --json", o, "events", "capture.events", "attempts", "totals.attempts", "accepted", "totals.accepted", "failed", "totals.failed", "lost", "totals.lost",
		"lost", "recording.lost", "missed", "totals.missed", "missed", "recording.missed", "connections", "connections.seen", "closed cleanly", "recording.closed_cleanly",
		"recording", "recording.state", "recording, because", "recording.why", "first event", "capture.first_event", "last event", "capture.last_event",
		"cross-check", "cross_check.verdict", "cross-check", "recording.cross_check", "cross-check in words",
		"cross_check.text", "id", "capture.id")
	r.noteJSON("", name+" --json", o, "file", "integrity.state")
	r.noteJSON(scope, name+" --json", o, "file, because", "integrity.why")
	list, _ := o["findings"].([]any)
	for _, f := range list {
		evidence, _ := f.(map[string]any)["evidence"].([]any)
		for _, e := range evidence {
			e := e.(map[string]any)
			if seq := fmt.Sprint(e["seq"]); seq != "0" {
				r.note(scope+"time of event "+seq, name+" --json, findings", fmt.Sprint(e["ts"]))
			}
		}
	}
	r.noteText(scope, name, got.out, `(?m)^20\d\d.* \([≥~]?([^)]*)\), [≥~]?[\d,]+ events?$`, "duration")
	r.noteText(scope, name, got.out, `(?m)\), [≥~]?([\d,]+) events?$`, "events")
	r.noteText(scope, name, got.out, `(?m)^[≥~]*([\d,]+) attempts?: [≥~]*([\d,]+) accepted, [≥~]*([\d,]+) failed`, "attempts", "accepted", "failed")
	r.noteText(scope, name, got.out, `(?m)^[≥~]*([\d,]+) connections?[:,]`, "connections")
	answer, screen, _ := strings.Cut("\n"+got.out, "\naccept on ")
	words := strings.ReplaceAll(screen, "\n  ", " ")
	m := regexp.MustCompile(`(?m)^file (.*?)(?:; |\n)recording (complete: nothing was lost or missed|INCOMPLETE: .*?)(?:; ≥ marks.*)?$`).FindStringSubmatch(words)
	if m == nil { // the screen says it once: in the answer, unless that is cut to the width
		m = regexp.MustCompile(`(?m)^file (.*?); recording (complete: .*|INCOMPLETE: .*[^…])$`).FindStringSubmatch(answer)
	}
	if m == nil {
		r.t.Errorf("%s of %s does not say in which state file and recording are: %s", name, r.file, got.out)
		return
	}
	r.noteStates(scope, name, m[1], m[2])
	r.noteText(scope, name, words, `(?m)^cross-check with kernel counters: (.*)$`, "")
	if m := regexp.MustCompile(`(?m)^cross-check with kernel counters: (.*)$`).FindStringSubmatch(words); m != nil {
		r.note(scope+"cross-check in words", name, m[1])
	}
}

// writeFile writes a file of the test's folder.
func writeFile(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name+".acc")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// kindsOf are words of events in JSON.
var returnKind, closedKind = format.Return.String(), format.Closed.String()
