package main

import (
	"bytes"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Packages that others import.
var publicPackages = []string{"format", "replay", "analysis", "analysis/audit", "analysis/report", "analysis/stats", "analysis/findings", "analysis/meanwhile", "analysis/pairing", "analysis/conntrack", "analysis/listeners", "evidence", "evidence/sshsig",
	"evidence/checkpoints"}

// docs/API.txt has each exported name with its type, so that a change of one is seen in the
// diff: one that goes or changes breaks programs that import acc.
func TestAPI(t *testing.T) {
	const name = "../../docs/API.txt"
	var b bytes.Buffer
	b.WriteString("The exported names of the packages that can be imported. Written by go test ./cmd/acc -run TestAPI -update.\n")
	for _, dir := range publicPackages {
		b.WriteString("\npackage " + dir + "\n\n")
		for _, line := range exported(t, filepath.Join("../..", dir)) {
			b.WriteString(line + "\n")
		}
	}
	if *update {
		must(t, os.WriteFile(name, b.Bytes(), 0o644))
	}
	have, err := os.ReadFile(name)
	must(t, err)
	if !bytes.Equal(bytes.ReplaceAll(have, []byte("\r\n"), []byte("\n")), b.Bytes()) {
		t.Errorf("exported names changed: look at what go test ./cmd/acc -run TestAPI -update makes of docs/API.txt; one that goes or changes belongs into CHANGELOG.md")
	}
}

// exported lists the exported names of a package, a line each: func, method, type, field, const and var.
func exported(t *testing.T, dir string) []string {
	files, _ := filepath.Glob(filepath.Join(dir, "*.go"))
	lines := map[string]bool{}
	set := token.NewFileSet()
	text := func(n ast.Node) string {
		var b bytes.Buffer
		must(t, format.Node(&b, set, n))
		return strings.Join(strings.Fields(b.String()), " ")
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(set, name, nil, 0)
		must(t, err)
		ast.FileExports(f)
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				d.Body = nil
				lines[text(d)] = true
			case *ast.GenDecl:
				for _, s := range d.Specs {
					exportedSpec(d.Tok, s, text, lines)
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(lines))
}

func exportedSpec(tok token.Token, s ast.Spec, text func(ast.Node) string, lines map[string]bool) {
	switch s := s.(type) {
	case *ast.ValueSpec:
		for _, n := range s.Names {
			line := tok.String() + " " + n.Name
			if s.Type != nil {
				line += " " + text(s.Type)
			}
			lines[line] = true
		}
	case *ast.TypeSpec:
		st, ok := s.Type.(*ast.StructType)
		if !ok {
			lines["type "+text(s)] = true
			return
		}
		lines["type "+s.Name.Name+" struct"] = true
		for _, f := range st.Fields.List {
			for _, n := range f.Names {
				lines["field "+s.Name.Name+"."+n.Name+" "+text(f.Type)] = true
			}
		}
	}
}
