package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/acc-project/acc/format"
)

// exportOf is what acc export writes of a capture, to standard output.
func exportOf(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := newRootCommand()
	var out, errOut bytes.Buffer
	cmd.SetArgs(append([]string{"export"}, args...))
	cmd.SetOut(&out)
	cmd.SetErr(&errOut)
	unconfined(t)
	if code := exitCode(cmd.ExecuteContext(t.Context()), &errOut); code != exitOK {
		t.Fatalf("acc export %q: exit code %d: %s", args, code, errOut.String())
	}
	return out.Bytes()
}

// named is a capture of accepts by threads of these names.
func named(names ...string) []byte {
	var out bytes.Buffer
	clock := format.Clock{BootNS: 1e9, MonoNS: 1e9, RealNS: 1.7e18}
	w, err := format.NewWriter(&out, format.Header{ID: "0-0", Host: "h", StartNS: clock.RealNS, Clock: clock}, format.WriterOptions{})
	if err != nil {
		panic(err)
	}
	for i, name := range names {
		if err := w.Event(&format.Event{BootNS: int64(1e9 + i), Kind: format.Return, Hook: format.HookSysAccept4, Via: format.ViaAccept4,
			CPUSeq: uint64(i + 1), PID: 1, TID: 1, Ret: 7, Comm: name, Listener: 1, Family: format.FamilyIPv4, Type: 1, Proto: 6, State: 1,
			LAddr: netip.AddrFrom4([4]byte{10, 0, 0, 1}), LPort: 80, RAddr: netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}), RPort: 1}); err != nil {
			panic(err)
		}
	}
	n := uint64(len(names))
	if err := w.Close(format.End{Reason: "signal", Clean: true, Clock: clock, Totals: []format.ProbeTotal{{Hook: format.HookSysAccept4, Kind: format.Return, Seen: n, Recorded: n}}}); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// python runs a program of Python with a file, and gives what it prints.
func python(t *testing.T, program string, args ...string) []byte {
	t.Helper()
	bin := "/usr/bin/python3"
	if _, err := os.Stat(bin); err != nil {
		if bin, err = exec.LookPath("python3"); err != nil {
			if os.Getenv("ACC_NEED_PYTHON") != "" {
				t.Fatal("python3 is missing: make python")
			}
			t.Skip("no python3")
		}
	}
	cmd := exec.Command(bin, append([]string{"-c", program}, args...)...)
	out, err := cmd.Output()
	if err != nil {
		var said []byte
		if e, ok := err.(*exec.ExitError); ok {
			said = e.Stderr
		}
		t.Fatalf("python: %v\n%s", err, said)
	}
	return out
}

// Python's csv and json modules read from each format the values that acc analyze --json prints, for both tables.
func TestExportReadBack(t *testing.T) {
	file := filepath.Join(t.TempDir(), "life.acc")
	if err := os.WriteFile(file, lifeSample(), 0o600); err != nil {
		t.Fatal(err)
	}
	for table, view := range map[string]string{"connections": "--connections", "attempts": "--pairs"} {
		var want bytes.Buffer
		cmd := newRootCommand()
		cmd.SetArgs([]string{"analyze", view, "--json", file})
		cmd.SetOut(&want)
		cmd.SetErr(&bytes.Buffer{})
		unconfined(t)
		if err := cmd.Execute(); err != nil {
			t.Fatal(err)
		}
		keys, n := map[string]map[string]any{}, 0
		for line := range strings.Lines(want.String()) {
			row := map[string]any{}
			d := json.NewDecoder(strings.NewReader(line))
			d.UseNumber()
			if err := d.Decode(&row); err != nil {
				t.Fatal(err)
			}
			keys[fmt.Sprint(row["raddr"], row["ts"], row["enter_seq"])], n = row, n+1
		}
		for kind, program := range map[string]string{
			"jsonl": `[json.loads(l) for l in open(sys.argv[1])]`,
			"csv":   `list(csv.DictReader(open(sys.argv[1],newline='')))`,
			"tsv":   `list(csv.DictReader(open(sys.argv[1]),delimiter='\t',quoting=csv.QUOTE_NONE))`,
		} {
			out := filepath.Join(t.TempDir(), "out")
			if err := os.WriteFile(out, exportOf(t, "--format", kind, "--table", table, file), 0o600); err != nil {
				t.Fatal(err)
			}
			var rows []map[string]any
			d := json.NewDecoder(bytes.NewReader(python(t, "import sys,json,csv\nprint(json.dumps("+program+"))", out)))
			d.UseNumber()
			if err := d.Decode(&rows); err != nil {
				t.Fatal(err)
			}
			null := map[string]string{"csv": "", "tsv": `\N`}[kind]
			if len(rows) != n {
				t.Errorf("%s %s: %d rows, want %d", kind, table, len(rows), n)
			}
			for _, row := range rows {
				seq := row["enter_seq"]
				if seq == null && kind != "jsonl" {
					seq = nil
				}
				line := keys[fmt.Sprint(row["raddr"], row["ts"], seq)]
				if line == nil {
					t.Fatalf("%s %s: nobody printed row %v", kind, table, row)
				}
				for key, value := range line {
					got, want := fmt.Sprint(row[key]), fmt.Sprint(value)
					if kind != "jsonl" && value == nil {
						want = null
					}
					if key == "comm" && kind != "jsonl" {
						continue // escapes: TestExportHostileNames
					}
					if got != want {
						t.Errorf("%s %s: %s is %q, acc analyze prints %q", kind, table, key, got, want)
					}
				}
			}
		}
	}
}

// A hostile name stays one cell of one line, and is nothing that a spreadsheet executes.
func TestExportHostileNames(t *testing.T) {
	hostile := []string{"=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "a,b", "a;b", "a\nb", "a\r\nb", `a"b`, `'a`, `a\b`, " =1", "\xff\xfe", "a\tb", "\x1b[2J", `\N`, "ü", "%0", "|x", ""}
	file := filepath.Join(t.TempDir(), "named.acc")
	if err := os.WriteFile(file, named(hostile...), 0o600); err != nil {
		t.Fatal(err)
	}
	for kind, program := range map[string]string{
		"csv": `list(csv.reader(open(sys.argv[1],newline='')))`,
		"tsv": `list(csv.reader(open(sys.argv[1]),delimiter='\t',quoting=csv.QUOTE_NONE))`,
	} {
		out := filepath.Join(t.TempDir(), "out")
		if err := os.WriteFile(out, exportOf(t, "--format", kind, "--table", "attempts", "--fields", "seq,comm,raddr", file), 0o600); err != nil {
			t.Fatal(err)
		}
		var rows [][]string
		if err := json.Unmarshal(python(t, "import sys,json,csv\nprint(json.dumps("+program+"))", out), &rows); err != nil {
			t.Fatal(err)
		}
		if len(rows) != len(hostile)+1 {
			t.Fatalf("%s: %d rows: %q", kind, len(rows), rows)
		}
		for _, row := range rows[1:] {
			i, _ := strconv.Atoi(row[0]) // in the order in which they were known
			i--
			name := format.Quote(hostile[i])
			if len(row) != 3 || row[2] != fmt.Sprintf("10.0.1.%d", i) {
				t.Fatalf("%s: row %d is %q", kind, i, row)
			}
			if kind == "csv" {
				if strings.ContainsRune("=+-@\t\r\n", []rune(row[1] + "x")[0]) || strings.TrimPrefix(row[1], "'") != strings.TrimPrefix(name, "'") {
					t.Errorf("csv: %q became %q", hostile[i], row[1])
				}
				continue
			}
			if back := strings.ReplaceAll(row[1], `\\`, `\`); back != name {
				t.Errorf("tsv: %q became %q", hostile[i], row[1])
			}
			if row[1] == `\N` {
				t.Errorf("tsv: %q is not told from what is not known", hostile[i])
			}
		}
	}
}
