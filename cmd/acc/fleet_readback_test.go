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

	"github.com/acc-project/acc/testdata/fleet"
)

// needExport gives the folder of node_modules; make test-export makes it, and installs the other programs.
func needExport(t *testing.T) string {
	t.Helper()
	modules := os.Getenv("ACC_EXPORT")
	if modules == "" {
		t.Skip("make test-export runs it")
	}
	return modules
}

// outageHost is the capture of one host, of service 1 of package fleet.
func outageHost(t *testing.T) string {
	dir := t.TempDir()
	_, err := fleet.Make(dir, 2, 6000, 2, time.Date(2026, 11, 28, 14, 0, 0, 0, time.UTC))
	must(t, err)
	files, _ := filepath.Glob(filepath.Join(dir, "host-0001-20261128*.acc"))
	if len(files) != 1 {
		t.Fatalf("%q", files)
	}
	return files[0]
}

// exportedTo writes what acc export makes of a capture into a file of a new folder.
func exportedTo(t *testing.T, name string, args ...string) (folder string) {
	folder = t.TempDir()
	must(t, os.WriteFile(filepath.Join(folder, name), exportOf(t, args...), 0o600))
	return folder
}

// ranBy is what a program that acc's makers did not write prints of an input.
func ranBy(t *testing.T, in []byte, command string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(command, args...)
	cmd.Stdin = bytes.NewReader(in)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", command, err, said.String(), out)
	}
	return out
}

// sumsOf sums up what acc analyze --connections --json prints, by how connections ended.
func sumsOf(t *testing.T, file string) []row {
	sums := table{}
	for line := range bytes.Lines(printed(t, "analyze", "--connections", "--json", file)) {
		var c struct {
			End      string
			RAddr    string
			BytesIn  *uint64 `json:"bytes_in"`
			BytesOut *uint64 `json:"bytes_out"`
			Wait     *uint64 `json:"queue_wait_ns"`
		}
		must(t, json.Unmarshal(line, &c))
		sums.add("n", 1, "how", c.End)
		for column, n := range map[string]*uint64{"bytes_in": c.BytesIn, "bytes_out": c.BytesOut, "wait_ns": c.Wait} {
			sums.add(column, 0, "how", c.End)
			if n != nil {
				sums.add(column, *n, "how", c.End)
			}
		}
	}
	return sums.rows()
}

// DuckDB reads CSV, TSV and JSON lines, and Zeek's log by what its header says: as many rows of each end, and the same sums, as
// acc analyze counts.
func TestFleetTexts(t *testing.T) {
	modules := needExport(t)
	unconfined(t)
	file := outageHost(t)
	want := sumsOf(t, file)
	if len(want) < 4 {
		t.Fatalf("%v", want)
	}
	for format, from := range map[string]string{
		"csv":   "read_csv('lake/out', header = true)",
		"tsv":   `read_csv('lake/out', header = true, delim = '\t', quote = '', escape = '', nullstr = '\N')`,
		"jsonl": "read_json('lake/out', format = 'newline_delimited')",
	} {
		folder := exportedTo(t, "out", "--format", format, file)
		got := query(t, modules, "duckdb", folder, []string{}, map[string]string{"sums": `SELECT "end" AS how, count(*) AS n,
			coalesce(sum(bytes_in), 0) AS bytes_in, coalesce(sum(bytes_out), 0) AS bytes_out, coalesce(sum(queue_wait_ns), 0) AS wait_ns
			FROM ` + from + ` GROUP BY how ORDER BY how`})["sums"]
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("DuckDB reads of %s:\n%v\nacc analyze:\n%v", format, got, want)
		}
		t.Logf("DuckDB reads %s: %d ends, the same sums", format, len(got))
	}

	log := exportOf(t, "--format", "zeek", file)
	folder := exportedTo(t, "conn.log", "--format", "zeek", file)
	fields := regexp.MustCompile(`(?m)^#fields\t(.*)$`).FindSubmatch(log)
	types := regexp.MustCompile(`(?m)^#types\t(.*)$`).FindSubmatch(log)
	if fields == nil || types == nil {
		t.Fatalf("no header: %.300s", log)
	}
	var columns []string
	kinds := strings.Split(string(types[1]), "\t")
	for i, name := range strings.Split(string(fields[1]), "\t") {
		kind := map[string]string{"count": "UBIGINT", "port": "USMALLINT", "time": "DECIMAL(18,6)", "interval": "DECIMAL(18,6)"}[kinds[i]]
		columns = append(columns, fmt.Sprintf("'%s': '%s'", name, cmp.Or(kind, "VARCHAR")))
	}
	got := query(t, modules, "duckdb", folder, []string{}, map[string]string{"sums": `SELECT acc_end AS how, count(*) AS n,
		coalesce(sum(orig_bytes), 0) AS bytes_in, coalesce(sum(resp_bytes), 0) AS bytes_out
		FROM read_csv('lake/conn.log', delim = '\t', quote = '', escape = '', nullstr = '-', comment = '#', header = false, auto_detect = false,
		columns = {` + strings.Join(columns, ", ") + `}) GROUP BY how ORDER BY how`})["sums"]
	for _, r := range want {
		delete(r, "wait_ns") // which Zeek has in microseconds
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("DuckDB reads of zeek:\n%v\nacc analyze:\n%v", got, want)
	}
}

// Zeek's own reader of columns (bro-cut, which became zeek-cut) gives of each connection what acc analyze prints, and a name
// with a tab or a line feed stays one cell.
func TestFleetZeekCut(t *testing.T) {
	needExport(t)
	unconfined(t)
	file := outageHost(t)
	columns := []string{"id.orig_h", "id.orig_p", "id.resp_p", "orig_bytes", "acc_pid", "acc_comm", "acc_queue_wait", "acc_end"}
	var want []string
	for line := range bytes.Lines(printed(t, "analyze", "--connections", "--json", file)) {
		var c struct {
			RAddr        string
			RPort, LPort int
			BytesIn      *uint64 `json:"bytes_in"`
			PID          *int
			Comm         *string
			Wait         *int64 `json:"queue_wait_ns"`
			End          string
		}
		must(t, json.Unmarshal(line, &c))
		cells := []string{c.RAddr, strconv.Itoa(c.RPort), strconv.Itoa(c.LPort), "-", "-", "-", "-", c.End}
		if c.BytesIn != nil {
			cells[3] = strconv.FormatUint(*c.BytesIn, 10)
		}
		if c.PID != nil {
			cells[4], cells[5] = strconv.Itoa(*c.PID), *c.Comm
		}
		if c.Wait != nil {
			cells[6] = fmt.Sprintf("%d.%06d", *c.Wait/1e9, *c.Wait%1e9/1e3)
		}
		want = append(want, strings.Join(cells, "\t"))
	}
	got := strings.Split(strings.TrimSuffix(string(ranBy(t, exportOf(t, "--format", "zeek", file), "bro-cut", columns...)), "\n"), "\n")
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] {
				t.Errorf("bro-cut reads %q, acc analyze prints %q", got[i], want[i])
				break
			}
		}
		t.Errorf("bro-cut reads %d connections, acc analyze prints %d", len(got), len(want))
	}
	t.Logf("bro-cut reads the %d connections that acc analyze prints, such as %q", len(got), got[0])

	hostile := []string{"a\tb", "a\nb", "-", "(empty)", `\x2d`, "ü", "a,b", "#close"}
	file = filepath.Join(t.TempDir(), "named.acc")
	must(t, os.WriteFile(file, named(hostile...), 0o600))
	lines := strings.Split(strings.TrimSuffix(string(ranBy(t, exportOf(t, "--format", "zeek", file), "bro-cut", "acc_comm", "id.orig_h")), "\n"), "\n")
	if len(lines) != len(hostile) {
		t.Fatalf("bro-cut reads %d connections of %d: %q", len(lines), len(hostile), lines)
	}
	for i, line := range lines {
		if cells := strings.Split(line, "\t"); len(cells) != 2 || cells[1] != fmt.Sprintf("10.0.1.%d", i) || cells[0] == "-" || cells[0] == "(empty)" {
			t.Errorf("bro-cut reads %q of %q", line, hostile[i])
		}
	}
}

// A spreadsheet (SheetJS) finds no formula in CSV, whatever programs call themselves.
func TestFleetSpreadsheet(t *testing.T) {
	modules := needExport(t)
	unconfined(t)
	program := `const x = require(process.argv[1] + '/xlsx'), fs = require('fs');
		const s = x.read(fs.readFileSync(0), {type: 'buffer', raw: false}).Sheets.Sheet1;
		console.log(JSON.stringify(Object.entries(s).filter(([k, v]) => v && v.f).map(([k, v]) => v.f)));`
	formulas := func(csv []byte) string {
		return strings.TrimSpace(string(ranBy(t, csv, "node", "-e", program, modules)))
	}
	names := []string{"=1+1", "=cmd|' /C calc'!A0", "+1+1", "-1+1", "@SUM(A1)", "\t=1+1", "\r=1+1", `"=1+1"`, "=HYPERLINK(1)"}
	if got := formulas([]byte("comm\n" + strings.Join(names[:3], "\n") + "\n")); got == "[]" {
		t.Fatal("SheetJS finds no formula where there is one")
	}
	file := filepath.Join(t.TempDir(), "named.acc")
	must(t, os.WriteFile(file, named(names...), 0o600))
	for _, table := range []string{"connections", "attempts"} {
		out := exportOf(t, "--format", "csv", "--table", table, file)
		if got := formulas(out); got != "[]" || bytes.Count(out, []byte("1+1")) < 6 {
			t.Errorf("formulas in %s: %s\n%s", table, got, out)
		}
	}
}

// ECS documents have the fields, types and values of the table that Elastic publishes (npm's @elastic/ecs); and if ACC_OCSF is a
// checkout of github.com/ocsf/ocsf-schema, OCSF events those of that. Both have as many of each end as acc analyze counts.
func TestFleetSchemas(t *testing.T) {
	modules := needExport(t)
	unconfined(t)
	file := outageHost(t)
	want := map[string]int{}
	for _, r := range sumsOf(t, file) {
		want[r["how"]], _ = strconv.Atoi(r["n"])
	}
	out, _, _ := bytes.Cut(ranBy(t, exportOf(t, "--format", "ecs", file), "node", "../../testdata/export/ecs.mjs", modules), []byte("\n"))
	var ecs struct {
		Fields  int
		Version string
		Counts  map[string]int
	}
	must(t, json.Unmarshal(out, &ecs))
	if !maps.Equal(ecs.Counts, want) || ecs.Fields < 30 {
		t.Errorf("ECS: %s, acc analyze: %v", out, want)
	}
	t.Logf("ECS %s: %d fields, none of them wrong", ecs.Version, ecs.Fields)

	checkout := os.Getenv("ACC_OCSF")
	if checkout == "" {
		t.Log("OCSF is not checked: ACC_OCSF=CHECKOUT of github.com/ocsf/ocsf-schema")
		return
	}
	out, _, _ = bytes.Cut(ranBy(t, exportOf(t, "--format", "ocsf", file), "python3", "../../testdata/export/ocsf.py", checkout), []byte("\n"))
	counts := map[string]int{}
	must(t, json.Unmarshal(out, &counts))
	if counts["Reset"] != want["reset-by-client"] || counts["Close"] != want["closed-by-server"]+want["closed-by-client"] {
		t.Errorf("OCSF: %s, acc analyze: %v", out, want)
	}
	t.Logf("OCSF: %s", out)
}

// grafanaSQL is a query of the dashboard with what Grafana puts into it: a time range, and all hosts.
func grafanaSQL(sql string, hosts []string) string {
	quoted := make([]string, len(hosts))
	for i, h := range hosts {
		quoted[i] = "'" + h + "'"
	}
	from := time.Date(2026, 11, 28, 13, 55, 0, 0, time.UTC).UnixMilli()
	return strings.NewReplacer("$__from", fmt.Sprint(from), "$__to", fmt.Sprint(from+70*60_000),
		"${host:singlequote}", strings.Join(quoted, ",")).Replace(sql)
}

// Grafana's own SDK finds nothing in deploy/grafana-fleet.json that Grafana's schema has not, and each of its queries has rows,
// the same in DuckDB and ClickHouse; those of some panels are what acc analyze counts.
func TestFleetDashboard(t *testing.T) {
	modules := needExport(t)
	unconfined(t)
	board, err := os.ReadFile("../../deploy/grafana-fleet.json")
	must(t, err)
	reader := filepath.Join(filepath.Dir(modules), "grafana")
	wrong := exec.Command(reader)
	wrong.Stdin = bytes.NewReader(bytes.Replace(board, []byte(`"gridPos"`), []byte(`"gridpos"`), 1))
	if out, err := wrong.CombinedOutput(); err == nil || !bytes.Contains(out, []byte("gridpos")) {
		t.Fatalf("Grafana's SDK accepts a field that does not exist: %s", out)
	}
	var queries map[string]string
	must(t, json.Unmarshal(ranBy(t, board, reader), &queries))
	dir := t.TempDir()
	captures, lake := filepath.Join(dir, "incoming"), filepath.Join(dir, "lake")
	must(t, os.Mkdir(captures, 0o700))
	_, err = fleet.Make(captures, 50, 4000, 2, time.Date(2026, 11, 28, 14, 0, 0, 0, time.UTC))
	must(t, err)
	printed(t, "export", "--format", "parquet", captures, "-o", lake)
	var hosts []string
	for n := range 50 {
		hosts = append(hosts, fmt.Sprintf("host-%04d", n))
	}
	for title, sql := range queries {
		queries[title] = grafanaSQL(sql, hosts)
		if strings.Contains(queries[title], "$") {
			t.Errorf("%s: a variable is left: %s", title, queries[title])
		}
	}
	got := map[string]answers{}
	for _, engine := range [][2]string{{"duckdb", "DuckDB"}, {"clickhouse", "ClickHouse"}} {
		setup, _ := fleetSQL(t, engine[1])
		got[engine[0]] = query(t, modules, engine[0], lake, setup, queries)
		for _, rows := range got[engine[0]] {
			for _, r := range rows {
				for k, v := range r { // DuckDB says that a time is in UTC, and leaves zeros at its end out
					if at, err := time.Parse("2006-01-02 15:04:05.999999", strings.TrimSuffix(v, "+00")); err == nil {
						r[k] = at.Format(time.RFC3339Nano)
					}
				}
			}
		}
	}
	for title, rows := range got["duckdb"] {
		other := got["clickhouse"][title]
		if same := fmt.Sprint(rows) == fmt.Sprint(other); !same || len(rows) == 0 {
			t.Errorf("%s: DuckDB has %d rows, ClickHouse %d\n%.600v\n%.600v", title, len(rows), len(other), rows, other)
		}
		t.Logf("%-58s %4d rows, the same in both engines", title, len(rows))
	}
	// What acc analyze prints of each capture.
	want, incomplete, critical := map[string]int{}, 0, 0
	files, _ := filepath.Glob(filepath.Join(captures, "*.acc"))
	seen := map[string]bool{}
	for _, file := range files {
		var r struct {
			Capture              struct{ ID string }
			Integrity, Recording struct{ State string }
			Findings             []struct{ Severity string }
		}
		must(t, json.Unmarshal(printed(t, "analyze", "--json", file), &r))
		if seen[r.Capture.ID] {
			continue
		}
		seen[r.Capture.ID] = true
		if r.Integrity.State != "intact" || r.Recording.State != "complete" {
			incomplete++
		}
		for _, f := range r.Findings {
			if f.Severity == "critical" {
				critical++
			}
		}
		if !strings.Contains(file, "-20261128T") {
			continue
		}
		for line := range bytes.Lines(printed(t, "analyze", "--connections", "--json", file)) {
			var c struct{ End string }
			must(t, json.Unmarshal(line, &c))
			want[c.End]++
		}
	}
	ends := map[string]int{}
	for _, r := range got["duckdb"]["How connections ended"] {
		ends[r["how"]], _ = strconv.Atoi(r["connections"])
	}
	if !maps.Equal(ends, want) {
		t.Errorf("ends: the panel has %v, acc analyze %v", ends, want)
	}
	if n := got["duckdb"]["Recordings that can't prove absence"][0]["recordings"]; n != strconv.Itoa(incomplete) || incomplete == 0 {
		t.Errorf("%s recordings, acc analyze says %d", n, incomplete)
	}
	if n := len(got["duckdb"]["Critical findings"]); n != min(critical, 100) || critical == 0 {
		t.Errorf("%d critical findings, acc analyze has %d", n, critical)
	}
	if len(got["duckdb"]) != 10 {
		t.Errorf("%d queries", len(got["duckdb"]))
	}
}
