package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/compare"
	"github.com/acc-project/acc/analysis/selection"
	"github.com/acc-project/acc/evidence"
	"github.com/acc-project/acc/format"
	"github.com/acc-project/acc/replay/redact"
)

// schemaRoots are the kinds of JSON objects that acc prints, other than lines.
var schemaRoots = map[string]reflect.Type{
	"analyze": reflect.TypeFor[analysis.Result](), "info": reflect.TypeFor[evidence.Info](),
	"verify":  reflect.TypeFor[evidence.Verification](),
	"figures": reflect.TypeFor[selection.Figures](), "revealed": reflect.TypeFor[redact.Revealed](), "checked": reflect.TypeFor[redact.Checked](), "diff": reflect.TypeFor[compare.Diff](),
	"unreadable": reflect.TypeFor[unreadable](), "hosts": reflect.TypeFor[hostList](), "diagnosis": reflect.TypeFor[diagnosis](), "field": reflect.TypeFor[field](),
}

// object is one of a schema, whose keys stand in the order of the alphabet.
type object = map[string]any

// schemaMaker makes the JSON Schema of what acc prints, from the types that it prints and their comments.
type schemaMaker struct {
	src  *source
	defs object
}

func (m *schemaMaker) of(t reflect.Type) object {
	switch {
	case t == timeType:
		return object{"type": "string", "format": "date-time"}
	case t.Implements(marshaler) && t.Kind() != reflect.Pointer:
		return object{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return object{"anyOf": []object{m.of(t.Elem()), {"type": "null"}}}
	case reflect.Slice:
		return object{"type": "array", "items": m.of(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": m.of(t.Elem())}
	case reflect.Struct:
		m.define(t)
		return object{"$ref": "#/$defs/" + strings.ReplaceAll(objectName(t), " ", "_")}
	case reflect.String:
		if words := m.src.consts[t.String()]; len(words) > 0 {
			enum := []string{""}
			for _, w := range words {
				enum = append(enum, w[0])
			}
			slices.Sort(enum)
			return object{"enum": slices.Compact(enum)}
		}
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Float32, reflect.Float64:
		return object{"type": "number"}
	}
	return object{"type": "integer"}
}

func (m *schemaMaker) define(t reflect.Type) {
	name := strings.ReplaceAll(objectName(t), " ", "_")
	if m.defs[name] != nil {
		return
	}
	keys, required := object{}, []string{}
	m.defs[name] = object{"type": "object", "properties": keys}
	for f := range members(t) {
		key, omitted := keyOf(f)
		of := m.of(f.Type)
		if doc := m.describe(t, f, key); doc != "" {
			of["description"] = doc
		}
		if keys[key] = of; !omitted {
			required = append(required, key)
		}
	}
	m.defs[name].(object)["required"] = required
}

// describe says what a key means, as docs/JSON.md does.
func (m *schemaMaker) describe(t reflect.Type, f reflect.StructField, key string) string {
	doc := m.src.fields[t.String()+"."+f.Name]
	if field, ok := format.FieldByName(key); ok && (doc == "" || strings.HasPrefix(doc, "as Event.")) {
		doc = field.JSONDoc()
	}
	doc = cmp.Or(instead[t.String()+"."+f.Name], doc)
	if unit := unitOf(t, key); unit != "" {
		doc += " (" + unit + ")"
	}
	return doc
}

// lines defines the objects of JSON lines.
func (m *schemaMaker) lines(name string, list []field) {
	keys, required := object{}, []string{}
	for _, f := range list {
		first, null := strings.CutSuffix(f.Type, " or null")
		of := object{"type": first}
		if first == "array of strings" {
			of = object{"type": "array", "items": object{"type": "string"}}
		}
		if null {
			of = object{"anyOf": []object{of, {"type": "null"}}}
		}
		of["description"] = f.Doc
		if f.Unit != "" {
			of["description"] = f.Doc + " (" + f.Unit + ")"
		}
		if keys[f.Name] = of; len(f.On) == 0 {
			required = append(required, f.Name)
		}
	}
	m.defs[name] = object{"type": "object", "properties": keys, "required": required}
}

// schemaFile is committed: acc fields --schema prints it.
const schemaFile = "schema.json"

// The schema is that of the types that are printed.
func TestSchema(t *testing.T) {
	m := &schemaMaker{readSource(t, ".", "../../analysis", "../../analysis/audit", "../../analysis/crosscheck",
		"../../analysis/stats", "../../analysis/meanwhile", "../../analysis/findings", "../../analysis/pairing", "../../analysis/selection", "../../analysis/report", "../../analysis/conntrack", "../../analysis/listeners", "../../evidence", "../../format", "../../replay/redact", "../../capture", "../../analysis/compare"),
		object{}}
	for name, of := range schemaRoots {
		m.define(of)
		if own := strings.ReplaceAll(objectName(of), " ", "_"); own != name {
			m.defs[name] = object{"$ref": "#/$defs/" + own}
		}
	}
	for kind, name := range map[string]string{"events": "event_line", "pairs": "pair_line", "connections": "connection_line"} {
		m.lines(name, lineKinds[kind]())
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(object{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "JSON of acc", "$defs": m.defs,
		"description": "Each of $defs is one kind of object: analyze, figures, info, revealed, checked, verify, unreadable, hosts, diagnosis, field; event_line, pair_line, connection_line.",
	}); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(schemaFile, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(schema, b.Bytes()) {
		t.Errorf("%s differs from the types that are printed: go test ./cmd/acc -run TestSchema -update", schemaFile)
	}
}

// What acc prints is valid by its schema, as a validator that is not acc's finds.
func TestSchemaHolds(t *testing.T) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	must(t, err)
	c := jsonschema.NewCompiler()
	must(t, c.AddResource("acc.json", doc))
	dir := t.TempDir()
	sample := sampleOf("", 300, nil)
	bad := bytes.Clone(sample)
	bad[len(bad)/2] ^= 1
	for name, b := range map[string][]byte{"whole": sample, "life": lifeSample(), "cut": sample[:len(sample)*2/3], "bad": bad} {
		must(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
	for _, x := range []struct {
		def  string
		args []string
	}{
		{"analyze", []string{"analyze", "--json", "--salvage"}}, {"info", []string{"info", "--json"}}, {"revealed", []string{"info", "--reveals", "--json"}},
		{"verify", []string{"verify", "--json"}}, {"figures", []string{"analyze", "--json", "--salvage", "-f", "listen_port >= 0"}},
		{"event_line", []string{"replay", "--speed", "max", "--json"}}, {"pair_line", []string{"analyze", "--pairs", "--json"}},
		{"connection_line", []string{"analyze", "--connections", "--json"}},
	} {
		s, err := c.Compile("acc.json#/$defs/" + x.def)
		must(t, err)
		for _, name := range []string{"whole", "life", "cut", "bad"} {
			out, err := exec.Command("acc", append(slices.Clone(x.args), filepath.Join(dir, name))...).Output()
			if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			n := 0
			for d := json.NewDecoder(bytes.NewReader(out)); d.More(); n++ {
				d.UseNumber()
				var v any
				must(t, d.Decode(&v))
				if err := s.Validate(v); err != nil {
					t.Fatalf("%q of %s: %v", x.args, name, err)
				}
				if o := v.(object); n == 0 {
					for key := range o { // the schema would notice that one is not there
						rest := make(object, len(o))
						for k, v := range o {
							if k != key {
								rest[k] = v
							}
						}
						if required := requiredOf(doc, x.def); slices.Contains(required, any(key)) && s.Validate(rest) == nil {
							t.Errorf("%s is valid without %s", x.def, key)
						}
					}
				}
			}
			if n == 0 && name == "whole" {
				t.Errorf("%q prints nothing", x.args)
			}
		}
	}
}

// requiredOf is what a definition requires.
func requiredOf(doc any, def string) []any {
	defs := doc.(object)["$defs"].(object)
	of := defs[def].(object)
	if ref, ok := of["$ref"].(string); ok {
		of = defs[strings.TrimPrefix(ref, "#/$defs/")].(object)
	}
	required, _ := of["required"].([]any)
	return required
}
