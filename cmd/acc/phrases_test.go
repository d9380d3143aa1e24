package main

// This file holds what acc says in its documents, in --help and in hints against phrases that may not
// come back.

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// phrases may not come back: what stands in place of each.
var phrases = []struct{ pattern, instead string }{
	{`\bis told\b|\bare told\b|\bwas told\b|\bas told\b|\btold apart\b|\btells? (?:of|that|how|whether|which|more)\b`, "say, print, show, report"},
	{`\bends? of attempts\b|\b0 without a return\b`, "accept calls"},
	{`\bkept heads?\b|\b(?:a|the|its) heads? that (?:was|were) kept\b`, "kept chain heads"},
	{`\b(?:second|kernel's) witness\b|\bwitness says\b`, "cross-check with kernel counters"},
	{`\bforgers?\b`, "altered; who edits the file"},
	{`\bgoes without saying\b|\bless than nothing\b|\bthere is none of it\b|\bof which nothing\b|\bas is everything else\b`, "a sentence"},
	{`\bhung up\b|\bcloses? its side\b|\bclosed its side\b`, "sent FIN"},
	{`\bstrangers?\b|\btwins?\b`, "what it is"},
	{`\bcomes to accept\b|\bnobody came\b|\bwhich it was not in\b`, "calls accept"},
	{`\bthan there were\b`, "than the kernel counted"},
	{`\bnobody who may\b`, "an allowed signer"},
	{`\bwhat there is\b`, "a noun"},
	{`\bends? (?:it |the recording )?in order\b|\bcloses? in order\b|\bclean end\b|\bnot in order\b`, "closed cleanly"},
	{`\bcan't: privileges\b|\bthis environment can't\b`, "cannot record here: missing privileges or kernel support"},
}

// Documents, help and messages are free of them.
func TestPhrases(t *testing.T) {
	texts := map[string]string{}
	files, _ := filepath.Glob("../../docs/*.md")
	for _, name := range append(files, "../../README.md", "../../CONTRIBUTING.md", "../../SECURITY.md") {
		if filepath.Base(name) == "LICENSES.md" {
			continue // texts of others
		}
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text := string(data)
		if filepath.Base(name) == "RELIABILITY.md" { // its figures are what tests say
			text = regexp.MustCompile(`(?m)^\|.*$`).ReplaceAllString(text, "")
		}
		texts[filepath.Base(name)] = text
	}
	for _, dir := range []string{".", "../../analysis", "../../analysis/*", "../../evidence", "../../evidence/*",
		"../../replay", "../../format"} {
		sources, _ := filepath.Glob(filepath.Join(dir, "*.go"))
		for _, name := range sources {
			if !strings.HasSuffix(name, "_test.go") {
				texts[name] = literals(t, name)
			}
		}
	}
	if len(texts) < 100 {
		t.Fatalf("%d texts", len(texts))
	}
	for _, p := range phrases {
		re := regexp.MustCompile(`(?i)` + strings.ReplaceAll(p.pattern, " ", `\s+`))
		for name, text := range texts {
			for _, at := range re.FindAllStringIndex(text, -1) {
				near := text[max(at[0]-40, 0):min(at[1]+40, len(text))]
				t.Errorf("%s says %q; say %s: …%s…", name, text[at[0]:at[1]], p.instead,
					strings.Join(strings.Fields(near), " "))
			}
		}
	}
}

// literals are the strings of a Go file, a paragraph each, without tags and imports.
func literals(t *testing.T, name string) string {
	f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.Field:
			if n.Tag != nil {
				n.Tag = nil
			}
		case *ast.BasicLit:
			if s, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING {
				b.WriteString(s + "\n\n")
			}
		}
		return true
	})
	return b.String()
}
