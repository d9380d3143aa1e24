package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/acc-project/acc/format"
)

// linesOf runs acc and gives its lines of JSON.
func linesOf(t *testing.T, args ...string) (lines []string, stderr string) {
	t.Helper()
	cmd := exec.Command("acc", args...)
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, _ := cmd.Output() // captures that are damaged exit with another code than 0
	for line := range strings.Lines(string(out)) {
		lines = append(lines, strings.TrimSpace(line))
	}
	return lines, errOut.String()
}

// What -f selects by a key and a value are the lines that have this value there, by a reader of JSON: of each kind
// of lines, each key that has one name in JSON and in filters, and several values of it.
func TestFilterAgreesWithJSON(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "x.acc")
	must(t, os.WriteFile(file, lifeSample(), 0o600))
	for kind, args := range map[string][]string{
		ofEvents: {"replay", "--speed", "max", "--json"}, ofPairs: {"analyze", "--pairs", "--json"},
		ofConnections: {"analyze", "--connections", "--json"},
	} {
		all, _ := linesOf(t, append(args, file)...)
		if len(all) == 0 {
			t.Fatalf("no %s", kind)
		}
		byKey := map[string]map[string][]string{} // lines by key and value
		for _, line := range all {
			var o map[string]any
			d := json.NewDecoder(strings.NewReader(line))
			d.UseNumber()
			must(t, d.Decode(&o))
			for key, v := range o {
				literal, ok := literalOf(v)
				if !ok {
					continue
				}
				if byKey[key] == nil {
					byKey[key] = map[string][]string{}
				}
				byKey[key][literal] = append(byKey[key][literal], line)
			}
		}
		asked := 0
		for _, f := range filterRows(kind) {
			for _, literal := range slices.Sorted(maps.Keys(byKey[f.Name]))[:min(len(byKey[f.Name]), 3)] {
				want := byKey[f.Name][literal]
				expr := f.Name + " == " + literal
				got, stderr := linesOf(t, append(args, "-f", expr, file)...)
				if literal == "nil" { // events have only the keys of their kind
					got = slices.DeleteFunc(got, func(l string) bool { return !strings.Contains(l, `"`+f.Name+`":`) })
				}
				if !slices.Equal(got, want) {
					t.Errorf("%s -f %q: %d lines, JSON has %d\n%s", kind, expr, len(got), len(want), stderr)
				}
				if share := fmt.Sprintf("%d of %d", len(want), len(all)); literal != "nil" && !strings.Contains(stderr, share) {
					t.Errorf("%s -f %q: standard error lacks %q:\n%s", kind, expr, share, stderr)
				}
				asked++
			}
		}
		if asked < 40 {
			t.Errorf("%s: only %d conditions could be compared", kind, asked)
		}
	}
}

// literalOf writes a value of JSON as expressions have it.
func literalOf(v any) (string, bool) {
	switch v := v.(type) {
	case nil:
		return "nil", true
	case string:
		return strconv.Quote(v), v != "" && !strings.ContainsAny(v, "�\\\"") && strconv.QuoteToASCII(v) == strconv.Quote(v)
	case bool:
		return strconv.FormatBool(v), true
	case json.Number:
		_, err := strconv.ParseInt(v.String(), 10, 64)
		return v.String(), err == nil
	}
	return "", false
}

// A time in a condition leads the index: what is damaged before it is not read, and what comes after an upper
// bound is not either. The same lines come where there is no index.
func TestFilterByTimeUsesTheIndex(t *testing.T) {
	dir := t.TempDir()
	file, bad := filepath.Join(dir, "x.acc"), filepath.Join(dir, "bad.acc")
	data := steady(1000)
	must(t, os.WriteFile(file, data, 0o600))
	damaged := bytes.Clone(data)
	damaged[len(damaged)/4] ^= 1
	must(t, os.WriteFile(bad, damaged, 0o600))
	args := []string{"replay", "--speed", "max", "--json", "-f"}
	const late = `ts >= 900s and kind == "return"`
	want, _ := linesOf(t, append(args, `seq > 0 and not (ts < 900s) and kind == "return"`, file)...) // no bound that must hold
	if len(want) < 10 {
		t.Fatalf("the sample has %d lines so late", len(want))
	}
	if got, stderr := linesOf(t, append(args, late, bad)...); !slices.Equal(got, want) || strings.Contains(stderr, "corrupt") {
		t.Errorf("with the index: %d lines, want %d\n%s", len(got), len(want), stderr)
	}
	if got, stderr := linesOf(t, append(args, `ts < 20s`, bad)...); len(got) < 19 || strings.Contains(stderr, "corrupt") {
		t.Errorf("until a time: %d lines\n%s", len(got), stderr)
	}
	if _, stderr := linesOf(t, append(args, `pid == 1`, bad)...); !strings.Contains(stderr, "corrupt") {
		t.Errorf("the damage is not where this test thinks: %s", stderr)
	}
	cmd := exec.Command("acc", append(args, late, "-")...)
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	must(t, err)
	if got := strings.Split(strings.TrimSpace(string(out)), "\n"); !slices.Equal(got, want) {
		t.Errorf("of a pipe: %d lines, want %d", len(got), len(want))
	}
}

// steady is a whole capture of an accept each second.
func steady(seconds int64) []byte {
	var out bytes.Buffer
	clock := format.Clock{RealNS: 1.7e18}
	w, err := format.NewWriter(&out, format.Header{StartNS: clock.RealNS, Clock: clock}, format.WriterOptions{FrameEvents: 10})
	for i := int64(1); i <= seconds && err == nil; i++ {
		err = w.Event(&format.Event{BootNS: i * 1e9, Kind: format.Return, Hook: format.HookSysAccept4, CPUSeq: uint64(i), PID: 1, Ret: 7})
	}
	if err == nil {
		clock.BootNS, clock.RealNS = seconds*1e9, clock.RealNS+seconds*1e9
		err = w.Close(format.End{Clean: true, Clock: clock, Totals: []format.ProbeTotal{{Hook: format.HookSysAccept4, Kind: format.Return, Seen: uint64(seconds), Recorded: uint64(seconds)}}})
	}
	if err != nil {
		panic(err)
	}
	return out.Bytes()
}

// BenchmarkFiltered is what a filter costs a reader of a file that is named by ACC_BENCH_FILE: lists of
// connections and events with one that selects all, beside the same without. The cost is at most half as much again.
func BenchmarkFiltered(b *testing.B) {
	file := os.Getenv("ACC_BENCH_FILE")
	if file == "" {
		b.Skip("ACC_BENCH_FILE names no capture")
	}
	unconfined(b)
	const all = `lport >= 0 and (raddr in "0.0.0.0/0" or raddr in "::/0" or raddr == nil) and comm != "x"`
	for _, args := range [][]string{{"analyze", "--connections", "--json"}, {"analyze", "--pairs", "--json"}, {"replay", "--speed", "max", "--json"}} {
		for _, expr := range []string{"", all} {
			run := slices.Clone(args)
			if expr != "" {
				run = append(run, "-f", expr)
			}
			b.Run(strings.Join(args[:2], " ")+" "+map[bool]string{true: "filtered", false: "all"}[expr != ""], func(b *testing.B) {
				for b.Loop() {
					root := newRootCommand()
					root.SetArgs(append(slices.Clone(run), file))
					root.SetOut(io.Discard)
					root.SetErr(io.Discard)
					if err := root.Execute(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
