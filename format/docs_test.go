package format

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/FORMAT.md's table of fields")

// The specification shows the script that TestPythonReaderAgrees runs, and every field.
func TestSpecification(t *testing.T) {
	const path = "../docs/FORMAT.md"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	doc := strings.ReplaceAll(string(data), "\r\n", "\n")
	script, err := os.ReadFile("testdata/read.py")
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(doc, "```python\n")
	_, rest, ok2 := strings.Cut(rest, "```\n")
	body, _, ok3 := strings.Cut(rest, "\n| field |")
	if !ok || !ok2 || !ok3 {
		if body, _, ok3 = strings.Cut(rest, "\nFIELDS"); !ok3 {
			t.Fatal("docs/FORMAT.md has no script or no table of fields")
		}
	}
	want := head + "```python\n" + string(script) + "```\n" + body + "\n" + fieldTable()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if doc != want {
		t.Error("docs/FORMAT.md differs from the table of fields or the script; go test ./format -run Specification -update")
	}
}

func fieldTable() string {
	var b strings.Builder
	b.WriteString("| field | type | on | key | meaning | source |\n|---|---|---|---|---|---|\n")
	for _, f := range Fields {
		on := "all"
		if f.On != nil {
			var kinds []string
			for _, k := range f.On["kind"] {
				kinds = append(kinds, Kind(k).String())
			}
			on = strings.Join(kinds, ", ")
			if f.On["errno"] != nil {
				on += "; errno 0"
			}
		}
		key := "nil"
		if f.Key != nil {
			key = "[" + strings.Join(f.Key, ", ") + "]"
		}
		unit := f.Unit
		if unit != "" {
			unit = " (" + unit + ")"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s%s | %s |\n", f.Name, f.Type, on, key, f.Doc, unit, f.Source)
	}
	b.WriteString("\n## Numbers of words\n\nThe numbers that stand for words, in columns and in records: `family`, `proto` and `state` of a snapshot, " +
		"`hook` and `kind` of probes,\nlosses and totals are the same. A number that is not here has no word; readers keep it. " +
		"`errno` and `sock_err` are Linux's own (asm-generic/errno.h).\n`mark`, `uring` and `shutdown` are sums, whose parts the table above has.\n\n| field | numbers |\n|---|---|\n")
	for _, f := range Fields {
		if f.Names == nil || strings.Contains(f.Name, "err") {
			continue
		}
		var list []string
		for _, n := range slices.Sorted(maps.Keys(f.Names)) {
			if word := f.Names[n]; word != "" {
				list = append(list, fmt.Sprintf("%d %s", n, word))
			}
		}
		fmt.Fprintf(&b, "| `%s` | %s |\n", f.Name, strings.Join(list, ", "))
	}
	return b.String()
}
