package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/testdata/fleet"
)

// row is a row of an answer, each value as text; "" is null.
type row = map[string]string

// answers are the rows of each question of docs/FLEET.md.
type answers map[string][]row

// fleetSQL gives the statements of docs/FLEET.md: what an engine needs first, and the questions by their numbers.
func fleetSQL(t *testing.T, engine string) (setup []string, questions map[string]string) {
	doc, err := os.ReadFile("../../docs/FLEET.md")
	must(t, err)
	questions = map[string]string{}
	for _, m := range regexp.MustCompile("(?s)```sql\n-- (\\S+)\n(.*?)```").FindAllStringSubmatch(string(doc), -1) {
		switch _, err := strconv.Atoi(m[1]); {
		case err == nil:
			questions[m[1]] = strings.TrimSuffix(strings.TrimSpace(m[2]), ";")
		case m[1] == engine, m[1] == "Both":
			for s := range strings.SplitSeq(strings.TrimSpace(m[2]), ";\n") {
				setup = append(setup, strings.TrimSuffix(s, ";"))
			}
		}
	}
	questions["deduplicated"] = "SELECT count(*) AS n FROM connections_deduplicated"
	return setup, questions
}

// ask has an engine of npm answer the questions about a lake.
func ask(t *testing.T, modules, engine, named, lake string) answers {
	setup, questions := fleetSQL(t, named)
	return query(t, modules, engine, lake, setup, questions)
}

// query has an engine of npm answer questions about what is in a folder, which SQL names lake.
func query(t *testing.T, modules, engine, lake string, setup []string, questions map[string]string) answers {
	t.Helper()
	file := filepath.Join(t.TempDir(), "questions.json")
	b, err := json.Marshal(map[string]any{"setup": setup, "questions": questions})
	must(t, err)
	must(t, os.WriteFile(file, b, 0o600))
	cmd := exec.Command("node", "../../testdata/export/query.mjs", engine, modules, lake, file)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", engine, err, said.String())
	}
	var all map[string][]map[string]*string
	must(t, json.Unmarshal(out, &all))
	got := answers{}
	for name, rows := range all {
		got[name] = []row{}
		for _, r := range rows {
			one := row{}
			for k, v := range r {
				if one[k] = ""; v != nil {
					one[k] = *v
				}
			}
			got[name] = append(got[name], one)
		}
	}
	return got
}

// printed is what acc prints on standard output, whatever its exit code.
func printed(t *testing.T, args ...string) []byte {
	cmd := newRootCommand()
	var out bytes.Buffer
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&bytes.Buffer{})
	_ = cmd.ExecuteContext(t.Context())
	return out.Bytes()
}

// table sums numbers by rows of keys.
type table map[string]row

func (x table) add(column string, n uint64, keys ...string) row {
	id := ""
	r := row{}
	for i := 0; i < len(keys); i += 2 {
		r[keys[i]] = keys[i+1]
		id += keys[i+1] + "\x00"
	}
	if x[id] == nil {
		x[id] = r
	}
	if column != "" {
		was, _ := strconv.ParseUint(x[id][column], 10, 64)
		x[id][column] = strconv.FormatUint(was+n, 10)
	}
	return x[id]
}

func (x table) rows() []row {
	list := []row{}
	for _, id := range slices.Sorted(maps.Keys(x)) {
		list = append(list, x[id])
	}
	return list
}

// accAnswers answers the questions by what acc analyze --json and acc info --json print of each capture.
func accAnswers(t *testing.T, files []string) answers {
	q := map[string]table{}
	for _, n := range []string{"1", "3", "4", "5", "6", "7", "8", "9", "10"} {
		q[n] = table{}
	}
	at := func(s string) time.Time {
		when, err := time.Parse(time.DateTime, s)
		must(t, err)
		return when
	}
	seen, longest, first, all := map[string]bool{}, map[[2]string]uint64{}, map[[2]string]time.Time{}, 0
	for _, file := range files {
		var r analysis.Result
		must(t, json.Unmarshal(printed(t, "analyze", "--json", "--top", "0", file), &r))
		if seen[r.Capture.ID] {
			continue
		}
		seen[r.Capture.ID] = true
		host := r.Capture.Host
		var info struct {
			Header struct {
				Clock struct {
					MaxErrNS int64 `json:"max_err_ns"`
				}
			}
			Steps []any `json:"clock_steps"`
		}
		must(t, json.Unmarshal(printed(t, "info", "--full", "--json", file), &info))
		for line := range bytes.Lines(printed(t, "analyze", "--connections", "--json", file)) {
			var c struct {
				TS          time.Time
				Comm        *string
				End         string
				Accepted    *bool
				QueueWaitNS *uint64 `json:"queue_wait_ns"`
				LPort       uint16
				Refused     uint64 `json:"refused_packets"`
			}
			must(t, json.Unmarshal(line, &c))
			all++
			if c.Comm != nil {
				q["1"].add("connections", 1, "comm", *c.Comm)
				q["1"].add("resets", map[bool]uint64{true: 1}[c.End == "reset-by-client"], "comm", *c.Comm)
			}
			q["8"].add("connections", 1, "how", c.End)
			if c.Refused > 0 {
				x := q["4"].add("refused", c.Refused, "order", fmt.Sprintf("%05d", c.LPort), "tool", r.Capture.Tool, "kernel", r.Capture.Kernel)
				x["port"] = strconv.Itoa(int(c.LPort))
			}
			if c.Accepted != nil && *c.Accepted && c.QueueWaitNS != nil && !c.TS.Before(at("2026-11-28 14:00:00")) && c.TS.Before(at("2026-11-28 15:00:00")) {
				pod := ""
				if len(r.Processes) > 0 {
					pod = r.Processes[0].Pod
				}
				longest[[2]string{host, pod}] = max(longest[[2]string{host, pod}], *c.QueueWaitNS)
			}
			if key := [2]string{host, strconv.Itoa(int(c.LPort))}; !c.TS.Before(at("2026-11-27 00:00:00")) && c.TS.Before(at("2026-11-29 00:00:00")) {
				if was, known := first[key]; !known || c.TS.Before(was) {
					first[key] = c.TS
				}
			}
		}
		if r.Recording.Lost > 0 {
			q["3"].add("lost_events", r.Recording.Lost, "host", host)
		}
		for line := range bytes.Lines(printed(t, "analyze", "--pairs", "--json", "-f", "errno != nil", file)) {
			var p struct {
				TS    time.Time
				Errno *string
			}
			must(t, json.Unmarshal(line, &p))
			if p.Errno == nil {
				continue
			}
			q["10"].add("failures", 1, "errno", *p.Errno)
			if *p.Errno == "EMFILE" && p.TS.Before(at("2026-11-28 14:30:15")) {
				q["6"].add("failures", 1, "host", host)
			}
		}
		if info.Header.Clock.MaxErrNS > 1e9 || len(info.Steps) > 0 { // those that nothing synchronises are wrong by seconds
			q["7"].add("", 0, "host", host, "capture_id", r.Capture.ID)
		}
		if r.Integrity.State != "intact" || r.Recording.State != "complete" {
			x := q["9"].add("", 0, "host", host, "capture_id", r.Capture.ID)
			x["verdict"], x["recording"] = r.Integrity.State, r.Recording.State
		}
	}
	for key, ts := range first {
		if !ts.Before(at("2026-11-28 00:00:00")) {
			q["5"].add("", 0, "host", key[0], "lport", key[1])
		}
	}
	got := answers{"deduplicated": {{"n": strconv.Itoa(all)}}}
	for n, x := range q {
		got[n] = x.rows()
	}
	for _, r := range got["4"] {
		delete(r, "order")
	}
	waits := slices.SortedFunc(maps.Keys(longest), func(a, b [2]string) int {
		return cmp.Or(cmp.Compare(longest[b], longest[a]), cmp.Compare(a[0], b[0]))
	})
	for _, key := range waits[:min(10, len(waits))] {
		got["2"] = append(got["2"], row{"host": key[0], "pod": key[1], "longest_ns": strconv.FormatUint(longest[key], 10)})
	}
	return got
}

// The questions of docs/FLEET.md have the same answers, to the count, by DuckDB, ClickHouse, hyparquet
// and by what acc analyze --json prints. ACC_EXPORT is a folder of node_modules: make test-export.
func TestFleetAgreement(t *testing.T) {
	modules := os.Getenv("ACC_EXPORT")
	if modules == "" {
		t.Skip("make test-export runs it")
	}
	unconfined(t)
	dir := t.TempDir()
	captures, lake := filepath.Join(dir, "incoming"), filepath.Join(dir, "lake")
	must(t, os.Mkdir(captures, 0o700))
	truth, err := fleet.Make(captures, 50, 4000, 2, time.Date(2026, 11, 28, 14, 0, 0, 0, time.UTC))
	must(t, err)
	printed(t, "export", "--format", "parquet", captures, "-o", lake)
	files, _ := filepath.Glob(filepath.Join(captures, "*.acc"))
	want := accAnswers(t, files)
	if len(want) != 11 || len(want["4"]) == 0 || len(want["5"]) != 12 || len(want["6"]) == 0 || len(want["7"]) != 4 || len(want["9"]) < 3 {
		t.Errorf("the questions are answered by too little: %v", want)
	}
	if n, _ := strconv.Atoi(want["deduplicated"][0]["n"]); n > int(truth.Connections) || n < int(truth.Connections)*97/100 { // one is truncated
		t.Errorf("%d connections, %d were made", n, truth.Connections)
	}
	for _, engine := range [][2]string{{"duckdb", "DuckDB"}, {"clickhouse", "ClickHouse"}, {"hyparquet", "DuckDB"}} {
		got := ask(t, modules, engine[0], engine[1], lake)
		if len(got) != len(want) {
			t.Errorf("%s answers %d questions", engine[0], len(got))
		}
		for name, rows := range got {
			same := fmt.Sprint(rows) == fmt.Sprint(want[name])
			t.Logf("%-10s question %-12s %3d rows, as acc's: %v", engine[0], name, len(rows), same)
			if !same {
				t.Errorf("%s, question %s:\n%v\nacc:\n%v", engine[0], name, rows, want[name])
			}
		}
	}
	// A store that loads each file of two hosts again has rows twice; the view has them once.
	twice, _ := filepath.Glob(filepath.Join(lake, "connections", "*", "host=host-000[12]", "*.parquet"))
	for _, file := range twice {
		b, err := os.ReadFile(file)
		must(t, err)
		must(t, os.WriteFile(strings.TrimSuffix(file, ".parquet")+"-again.parquet", b, 0o600))
	}
	n := want["deduplicated"][0]["n"]
	for _, engine := range [][2]string{{"duckdb", "DuckDB"}, {"clickhouse", "ClickHouse"}} {
		setup, _ := fleetSQL(t, engine[1])
		got := query(t, modules, engine[0], lake, setup, map[string]string{"n": "SELECT count(*) AS n FROM connections_deduplicated", "all": "SELECT count(*) AS n FROM connections"})
		if got["n"][0]["n"] != n || got["all"][0]["n"] <= n || len(twice) != 4 {
			t.Errorf("%s: %v, want %s once", engine[0], got, n)
		}
		t.Logf("%-10s %s rows, %s of connections_deduplicated", engine[0], got["all"][0]["n"], got["n"][0]["n"])
	}
}

// Perfetto's own trace_processor reads a trace: accept calls are slices that don't overlap, queues are counters, a flow leads
// from the queue to the return of accept, losses have a track. OpenTelemetry's own package reads log records: as many of
// each end as acc analyze counts.
func TestFleetReadBack(t *testing.T) {
	modules := os.Getenv("ACC_EXPORT")
	if modules == "" {
		t.Skip("make test-export runs it")
	}
	unconfined(t)
	dir := t.TempDir()
	_, err := fleet.Make(dir, 4, 3000, 2, time.Date(2026, 11, 28, 14, 0, 0, 0, time.UTC))
	must(t, err)
	files, _ := filepath.Glob(filepath.Join(dir, "host-0003-20261128*.acc"))
	var r analysis.Result
	must(t, json.Unmarshal(printed(t, "analyze", "--json", files[0]), &r))
	if r.Recording.Lost == 0 {
		t.Fatal("nothing is lost")
	}
	trace := filepath.Join(dir, "t.pftrace")
	printed(t, "export", "--format", "perfetto", files[0], "-o", trace)
	pairs := 0
	for line := range bytes.Lines(printed(t, "analyze", "--pairs", "--json", files[0])) {
		var p struct {
			Enter  *uint64 `json:"enter_seq"`
			Return *uint64 `json:"return_seq"`
		}
		must(t, json.Unmarshal(line, &p))
		if p.Enter != nil && p.Return != nil {
			pairs++
		}
	}
	flows := 0
	for line := range bytes.Lines(printed(t, "analyze", "--connections", "--json", files[0])) {
		var c struct {
			Queued   *int64 `json:"queued_ns"`
			Accepted *int64 `json:"accepted_ns"`
		}
		must(t, json.Unmarshal(line, &c))
		if c.Queued != nil && c.Accepted != nil {
			flows++
		}
	}
	lost := int(r.Recording.Lost)
	for _, q := range []struct {
		sql  string
		want int
	}{
		{"select count(*) n from slice join thread_track tt on track_id = tt.id where dur > 0", pairs},
		{"select count(*) n from flow", flows},
		{"select count(*) n from flow join slice o on slice_out = o.id join slice i on slice_in = i.id where o.name = 'queued' and i.name = 'accept returns' and i.ts >= o.ts", flows},
		{"select count(*) n from slice where name = '1 lost'", lost},
		{"select count(distinct tid) n from thread join thread_track using (utid)", 4},
		{"select count(distinct t.name) n from counter c join track t on c.track_id = t.id", 3},
		{"select count(*) n from slice a join slice b on a.track_id = b.track_id and a.id < b.id and a.dur > 0 and b.dur > 0 and b.ts < a.ts + a.dur and a.ts < b.ts + b.dur", 0},
		{"select count(*) n from stats where severity = 'error' and value > 0", 0},
	} {
		out, err := exec.Command("node", "../../testdata/export/perfetto.cjs", modules, trace, q.sql).CombinedOutput()
		if err != nil || string(out) != fmt.Sprintf("{\"n\":%d}\n", q.want) {
			t.Errorf("%s: %s, want %d (%v)", q.sql, out, q.want, err)
		}
	}
	read := exec.Command(filepath.Join(filepath.Dir(modules), "otlp"), "acc.end")
	read.Stdin = bytes.NewReader(printed(t, "export", "--format", "otlp", files[0]))
	out, err := read.Output()
	must(t, err)
	var counted struct{ Counts, Hosts map[string]uint64 }
	must(t, json.Unmarshal(out, &counted))
	for _, e := range r.Connections.Ends {
		if counted.Counts[e.End] != e.Count {
			t.Errorf("%d %s, OpenTelemetry reads %d", e.Count, e.End, counted.Counts[e.End])
		}
	}
	if counted.Hosts["host-0003"] != r.Connections.Seen || len(counted.Counts) != len(r.Connections.Ends) {
		t.Errorf("OpenTelemetry reads %v of %d connections", counted, r.Connections.Seen)
	}
}
