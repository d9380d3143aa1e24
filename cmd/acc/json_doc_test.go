package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/acc-project/acc/analysis/compare"
	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/selection"
	"github.com/acc-project/acc/replay/redact"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/pairing"
	"github.com/acc-project/acc/analysis/stats"
	"github.com/acc-project/acc/evidence"
	"github.com/acc-project/acc/format"
)

var update = flag.Bool("update", false, "write the tables of docs/JSON.md anew")

const jsonDoc = "../../docs/JSON.md"

// docs/JSON.md has every key that JSON of acc can have, by the types that it is made of,
// with what their comments say. Where they have none, the table of fields says it.
func TestJSONDocument(t *testing.T) {
	data, err := os.ReadFile(jsonDoc)
	if err != nil {
		t.Fatal(err)
	}
	src := readSource(t, ".", "../../analysis", "../../analysis/audit", "../../analysis/crosscheck",
		"../../analysis/stats", "../../analysis/meanwhile", "../../analysis/findings", "../../analysis/pairing", "../../analysis/selection", "../../analysis/report", "../../analysis/conntrack", "../../analysis/listeners", "../../evidence", "../../format", "../../replay/redact", "../../capture", "../../analysis/compare")
	parts := map[string]string{
		"events": fieldTable(eventFields()), "pairs": fieldTable(lineKinds["pairs"]()), "connections": fieldTable(lineKinds["connections"]()),
		"ends": endTable(), "why": src.words(t, "pairing.Why"), "severities": src.words(t, "findings.Severity"),
		"cross-check": src.words(t, "crosscheck.Verdict"), "halted": src.words(t, "format.Halted"),
	}
	roots := map[string]reflect.Type{"analyze": reflect.TypeFor[analysis.Result](),
		"info": reflect.TypeFor[evidence.Info](), "verify": reflect.TypeFor[evidence.Verification](),
		"revealed": reflect.TypeFor[redact.Revealed](), "checked": reflect.TypeFor[redact.Checked](), "diff": reflect.TypeFor[compare.Diff](),
		"selection": reflect.TypeFor[selection.Figures](), "unreadable": reflect.TypeFor[unreadable](), "hosts": reflect.TypeFor[hostList](), "diagnosis": reflect.TypeFor[diagnosis](), "fields": reflect.TypeFor[field]()}
	users := map[reflect.Type]int{}
	for _, root := range roots {
		for _, of := range objects(root) {
			users[of]++
		}
	}
	var shared []reflect.Type
	for name, root := range roots {
		var own []reflect.Type
		for _, of := range objects(root) {
			if users[of] == 1 {
				own = append(own, of)
			} else if !slices.Contains(shared, of) {
				shared = append(shared, of)
			}
		}
		parts[name] = src.tables(t, own, root)
	}
	slices.SortFunc(shared, func(a, b reflect.Type) int { return cmp.Compare(objectName(a), objectName(b)) })
	parts["shared"] = src.tables(t, shared, nil)
	doc, want := strings.ReplaceAll(string(data), "\r\n", "\n"), ""
	for rest := doc; ; {
		before, after, ok := strings.Cut(rest, "<!-- table ")
		if want += before; !ok {
			break
		}
		name, after, _ := strings.Cut(after, " -->\n")
		_, after, ok = strings.Cut(after, "<!-- end -->\n")
		if parts[name] == "" || !ok {
			t.Fatalf("docs/JSON.md has a table %q: it is not known, is there twice or has no end", name)
		}
		want += "<!-- table " + name + " -->\n" + parts[name] + "<!-- end -->\n"
		delete(parts, name)
		rest = after
	}
	if len(parts) > 0 {
		t.Errorf("docs/JSON.md lacks %q", slices.Sorted(maps.Keys(parts)))
	}
	if *update {
		err = os.WriteFile(jsonDoc, []byte(want), 0o644)
	} else if doc != want {
		err = fmt.Errorf("docs/JSON.md differs from the types that are printed; go test ./cmd/acc -run JSONDocument -update")
	}
	if err != nil {
		t.Error(err)
	}
	if whys := src.consts["pairing.Why"]; len(whys) != len(pairing.Whys) {
		t.Errorf("analysis.Whys has %d of %d", len(pairing.Whys), len(whys))
	}
}

// source is what Go files say.
type source struct {
	fields map[string]string      // comment of a member, by package.Type.Member
	consts map[string][][2]string // words and their comments, by package.Type; of plain strings by the start of their name
}

func readSource(t *testing.T, dirs ...string) *source {
	s := &source{map[string]string{}, map[string][][2]string{}}
	for _, dir := range dirs {
		files, _ := filepath.Glob(filepath.Join(dir, "*.go"))
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool { s.take(f.Name.Name, n); return true })
		}
	}
	return s
}

func (s *source) take(pkg string, n ast.Node) {
	switch n := n.(type) {
	case *ast.TypeSpec:
		if st, ok := n.Type.(*ast.StructType); ok {
			for _, f := range st.Fields.List {
				for _, name := range f.Names {
					s.fields[pkg+"."+n.Name.Name+"."+name.Name] = sentence(cmp.Or(f.Comment.Text(), f.Doc.Text()))
				}
			}
		}
	case *ast.ValueSpec:
		for i, name := range n.Names {
			if i >= len(n.Values) {
				continue
			}
			v, ok := n.Values[i].(*ast.BasicLit)
			if !ok || v.Kind != token.STRING {
				continue
			}
			of := regexp.MustCompile(`^[A-Z][a-z]*`).FindString(name.Name)
			if id, ok := n.Type.(*ast.Ident); ok {
				of = id.Name
			}
			word, _ := strconv.Unquote(v.Value)
			s.consts[pkg+"."+of] = append(s.consts[pkg+"."+of],
				[2]string{word, sentence(cmp.Or(n.Comment.Text(), n.Doc.Text()))})
		}
	}
}

// sentence is a comment as one line, without the marks of links.
func sentence(comment string) string {
	return regexp.MustCompile(`\[([A-Z][A-Za-z.]+)\]`).ReplaceAllString(strings.Join(strings.Fields(comment), " "), "$1")
}

func (s *source) words(t *testing.T, of string) string {
	var b strings.Builder
	b.WriteString("| word | meaning |\n|---|---|\n")
	list := s.consts[of]
	slices.SortFunc(list, func(x, y [2]string) int { return cmp.Compare(x[0], y[0]) })
	for _, c := range list {
		if c[1] == "" {
			t.Errorf("%s %q has no comment", of, c[0])
		}
		fmt.Fprintf(&b, "| `%s` | %s |\n", c[0], c[1])
	}
	return b.String()
}

func endTable() string {
	var b strings.Builder
	b.WriteString("| `end` | `end_reason` |\n|---|---|\n")
	for _, e := range conntrack.Ends() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", e.ID(), e)
	}
	return b.String()
}

// fieldTable has the keys of lines.
func fieldTable(list []field) string {
	var b strings.Builder
	b.WriteString("| key | type | unit | events | meaning |\n|---|---|---|---|---|\n")
	for _, f := range list {
		words := ""
		if n := len(f.Values); n > 0 && n <= 16 && f.Name != "mark" && f.Name != "end" && f.Name != "end_reason" && f.Name != "why" {
			words = " (" + strings.TrimPrefix(strings.Join(f.Values, ", "), ", ") + ")"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s%s |\n", f.Name, f.Type, f.Unit, cmp.Or(strings.Join(f.On, ", "), "all"), f.Doc, words)
	}
	if !slices.ContainsFunc(list, func(f field) bool { return len(f.On) > 0 }) { // all lines are alike
		return strings.NewReplacer(" events |", "", "|---|---|---|---|---|", "|---|---|---|---|", " all |", "").Replace(b.String())
	}
	return b.String()
}

var (
	timeType  = reflect.TypeFor[time.Time]()
	marshaler = reflect.TypeFor[json.Marshaler]()
)

// instead is for comments that speak of Go, or that stand at the struct.
var instead = map[string]string{
	"format.Clock.ErrNS": "half of the time that taking the reading took", "format.End.Totals": "the account of each probe", "format.End.Lost": "sum of lost in totals",
	"format.Loss.Count": "hits of the probe that were not written", "format.Header.Fields": "the columns of a block, in order",
	"format.Header.Repaired": "what was done to a repaired capture; null: this is the one that was recorded", "format.ListenSocket.Halted": "what keeps that process from running, if it is known",
}

// objects are the types of a JSON object and of those in it.
func objects(root reflect.Type) []reflect.Type {
	list := []reflect.Type{root}
	for i := 0; i < len(list); i++ {
		for f := range members(list[i]) {
			if _, inner := typeName(f.Type); inner != nil && !slices.Contains(list, inner) {
				list = append(list, inner)
			}
		}
	}
	return list
}

// tables has the keys of objects; root needs no name.
func (s *source) tables(t *testing.T, list []reflect.Type, root reflect.Type) string {
	var b strings.Builder
	for _, of := range list {
		if of != root {
			fmt.Fprintf(&b, "\n#### %s\n\n", objectName(of))
		}
		b.WriteString("| key | type | unit | meaning |\n|---|---|---|---|\n")
		for f := range members(of) {
			key, omitted := keyOf(f)
			doc := s.fields[of.String()+"."+f.Name]
			if field, ok := format.FieldByName(key); ok && (doc == "" || strings.HasPrefix(doc, "as Event.")) {
				doc = field.JSONDoc()
			}
			if rest, ok := strings.CutPrefix(doc, f.Name+" "); ok {
				doc = "`" + key + "` " + rest
			}
			doc = cmp.Or(instead[of.String()+"."+f.Name], doc)
			if doc == "" {
				t.Errorf("no comment says what %s.%s is", of, f.Name)
			}
			kind, _ := typeName(f.Type)
			if omitted {
				kind += ", or not there"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", key, kind, unitOf(of, key), strings.ReplaceAll(doc, "|", "\\|"))
		}
	}
	return b.String()
}

// members gives what JSON has of a struct.
func members(of reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range of.NumField() {
			if f := of.Field(i); f.IsExported() && f.Tag.Get("json") != "-" && !yield(f) {
				return
			}
		}
	}
}

func keyOf(f reflect.StructField) (key string, omitted bool) {
	key, rest, _ := strings.Cut(f.Tag.Get("json"), ",")
	return key, strings.Contains(rest, "omitempty")
}

// objectName is what the document calls objects of a type: its words.
func objectName(t reflect.Type) string {
	name := regexp.MustCompile(`([a-z])([A-Z])`).ReplaceAllString(t.Name(), "$1 $2")
	return strings.ToLower(name)
}

// typeName says what JSON has of a type, and gives the type of objects in it.
func typeName(t reflect.Type) (name string, inner reflect.Type) {
	switch {
	case t == timeType:
		return "string", nil
	case t.Implements(marshaler) && t.Kind() != reflect.Pointer:
		return "string", nil
	}
	switch t.Kind() {
	case reflect.Pointer:
		name, inner = typeName(t.Elem())
		return name + " or null", inner
	case reflect.Slice:
		name, inner = typeName(t.Elem())
		if word, rest, _ := strings.Cut(name, " "); rest != "" {
			name = word + "s " + rest
		} else {
			name += "s"
		}
		return "array of " + name, inner
	case reflect.Map:
		name, inner = typeName(t.Elem())
		return "object with " + name + " by name", inner
	case reflect.Struct:
		return fmt.Sprintf("object [%s](#%s)", objectName(t), strings.ReplaceAll(objectName(t), " ", "-")), t
	case reflect.String:
		return "string", nil
	case reflect.Bool:
		return "boolean", nil
	case reflect.Float32, reflect.Float64:
		return "number", nil
	}
	return "integer", nil
}

func unitOf(of reflect.Type, key string) string {
	switch {
	case of == reflect.TypeFor[stats.Quantiles]() && (key == "max" || strings.HasPrefix(key, "p")), strings.HasSuffix(key, "_ns"):
		return "ns"
	case strings.HasSuffix(key, "_us"):
		return "µs"
	case key == "zone_s":
		return "s"
	case key == "bytes", strings.HasPrefix(key, "bytes_"), strings.HasSuffix(key, "_bytes"), key == "offset", key == "at_byte":
		return "B"
	}
	return ""
}

// What acc prints has no key that docs/JSON.md does not name for that command, whatever
// the capture is, and all that it names for lines is there.
func TestJSONIsDocumented(t *testing.T) {
	data, err := os.ReadFile(jsonDoc)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]map[string]bool{} // by table
	table := ""
	for l := range strings.Lines(string(data)) {
		if name, ok := strings.CutPrefix(l, "<!-- table "); ok {
			table, _, _ = strings.Cut(name, " ")
			keys[table] = map[string]bool{}
		} else if m := regexp.MustCompile("^\\| `([^`]+)` \\|").FindStringSubmatch(l); m != nil && table != "" {
			keys[table][m[1]] = true
		} else if strings.HasPrefix(l, "<!-- end") {
			table = ""
		}
	}
	lists := map[string]bool{} // keys of lists
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| array").FindAllStringSubmatch(string(data), -1) {
		lists[m[1]] = true
	}
	if len(lists) < 20 {
		t.Errorf("docs/JSON.md has %d lists", len(lists))
	}
	dir := t.TempDir()
	whole, life := dir+"/whole.acc", dir+"/life.acc"
	cut, flipped, fixed := dir+"/cut.acc", dir+"/flipped.acc", dir+"/fixed.acc"
	sample := sampleOf("", 1000, nil)
	bad := bytes.Clone(sample)
	bad[len(bad)/2] ^= 1
	for name, b := range map[string][]byte{whole: sample, life: lifeSample(), cut: sample[:len(sample)*2/3], flipped: bad} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) []byte {
		out, err := exec.Command("acc", args...).Output()
		if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) { // the captures are bad on purpose
			t.Fatal(err)
		}
		return out
	}
	run("repair", flipped, "-o", fixed)
	files := []string{whole, life, cut, flipped, fixed, dir + "/none.acc"}
	for _, c := range []struct {
		table string
		lines bool
		args  []string
	}{
		{"events", true, []string{"replay", "--speed", "max", "--json", "--salvage"}}, {"pairs", true, []string{"analyze", "--pairs", "--json", "--salvage"}},
		{"connections", true, []string{"analyze", "--connections", "--json"}}, {"analyze", false, []string{"analyze", "--json"}},
		{"analyze", false, []string{"analyze", "--json", "--salvage"}}, {"info", false, []string{"info", "--json"}}, {"verify", false, []string{"verify", "--json", "--head", strings.Repeat("0", 64)}},
		{"fields", false, []string{"fields", "--json"}},
	} {
		seen := map[string]bool{}
		for _, name := range files {
			args := append(slices.Clone(c.args), name)
			if c.table == "fields" {
				args = c.args
			}
			for d := json.NewDecoder(bytes.NewReader(run(args...))); d.More(); {
				var v any
				if err := d.Decode(&v); err != nil {
					t.Fatalf("%q: %v", args, err)
				}
				known := maps.Clone(keys[c.table])
				if !c.lines && c.table != "fields" {
					maps.Copy(known, keys["shared"])
				}
				if o, ok := v.(map[string]any); ok && !c.lines && o["error"] != nil {
					known = keys["unreadable"]
				}
				eachNull(v, "", func(path string) {
					if !c.lines && lists[path[strings.LastIndexByte(path, '.')+1:]] {
						t.Errorf("%q: %s is null, and not []", args, path)
					}
				})
				eachKey(v, func(k string) {
					seen[k] = true
					if !known[k] {
						t.Errorf("%q: docs/JSON.md has no %s", args, k)
						known[k] = true
					}
				})
			}
		}
		if len(seen) < 3 {
			t.Errorf("%q gives the keys %v", c.args, seen)
		}
		for k := range keys[c.table] {
			if c.lines && !seen[k] {
				t.Errorf("%q never gives %s", c.args, k)
			}
		}
	}
}

// eachNull calls f with the path of every null in v.
func eachNull(v any, path string, f func(path string)) {
	switch v := v.(type) {
	case nil:
		f(path)
	case map[string]any:
		for k, x := range v {
			eachNull(x, path+"."+k, f)
		}
	case []any:
		for _, x := range v {
			eachNull(x, path, f)
		}
	}
}

// eachKey calls f with every key of objects in v. Those of counters and of conditions on
// fields are names.
func eachKey(v any, f func(string)) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if f(k); k != "counters" && k != "on" {
				eachKey(x, f)
			}
		}
	case []any:
		for _, x := range v {
			eachKey(x, f)
		}
	}
}
