package main

// This file makes the changes of code that tests must notice.

import (
	"fmt"
	"go/ast"
	"go/build"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// pack is a package that was parsed and type-checked.
type pack struct {
	fset  *token.FileSet
	files []source
	types *types.Package
	info  types.Info
}

type source struct {
	name string
	text string
	ast  *ast.File
}

func load(dir string) (*pack, error) {
	p := &pack{fset: token.NewFileSet(), info: types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}}}
	list, err := build.ImportDir(dir, 0)
	if err != nil {
		return nil, err
	}
	var asts []*ast.File
	for _, name := range list.GoFiles {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		f, err := parser.ParseFile(p.fset, name, text, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		asts = append(asts, f)
		p.files = append(p.files, source{name, string(text), f})
	}
	conf := types.Config{Importer: importer.ForCompiler(p.fset, "source", nil)}
	p.types, err = conf.Check(list.ImportPath, p.fset, asts, &p.info)
	return p, err
}

// edit is text that goes in at a place.
type edit struct {
	at   int
	text string
}

// mutator rewrites one file so that each mutant can be switched on.
type mutator struct {
	*pack
	src   source
	base  int // of the file in the set
	muts  *[]string
	edits []edit
	skip  map[int]bool // lines
}

// mutate gives the text of a file with all its mutants, and adds their names.
func (p *pack) mutate(f source, muts *[]string) string {
	m := &mutator{pack: p, src: f, base: p.fset.File(f.ast.Pos()).Base(), muts: muts, skip: map[int]bool{}}
	for i, line := range strings.Split(f.text, "\n") {
		if strings.Contains(line, "mutate: ignore") {
			m.skip[i+1] = true
		}
	}
	for _, d := range f.ast.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
			m.block(fn.Body.List, fn.Type)
			ast.Inspect(fn.Body, m.visit)
		}
	}
	// Insertions at one place keep the order in which they were made: what goes
	// before an outer expression comes first; what goes behind was put in front.
	sort.SliceStable(m.edits, func(i, j int) bool { return m.edits[i].at < m.edits[j].at })
	var b strings.Builder
	at := 0
	for _, e := range m.edits {
		b.WriteString(f.text[at:e.at])
		b.WriteString(e.text)
		at = e.at
	}
	b.WriteString(f.text[at:])
	return b.String()
}

func (m *mutator) text(n ast.Node) string {
	return m.src.text[int(n.Pos())-m.base : int(n.End())-m.base]
}

// add makes a mutant of n: before and behind say what goes around it, with the mutant's number.
func (m *mutator) add(n ast.Node, what, before, behind string) {
	pos := m.fset.Position(n.Pos())
	if m.skip[pos.Line] {
		return
	}
	short := strings.Join(strings.Fields(m.text(n)), " ")
	*m.muts = append(*m.muts, fmt.Sprintf("%d %s:%d: %s: %.90s", len(*m.muts)+1, m.src.name, pos.Line, what, short))
	id := fmt.Sprint(len(*m.muts))
	start, end := int(n.Pos())-m.base, int(n.End())-m.base
	m.edits = append(m.edits, edit{start, strings.ReplaceAll(before, "#", id)})
	// In front of those at the same place: inner ones come later in the visit.
	at := len(m.edits)
	for i, e := range m.edits {
		if e.at == end {
			at = i
			break
		}
	}
	m.edits = append(m.edits[:at], append([]edit{{end, strings.ReplaceAll(behind, "#", id)}}, m.edits[at:]...)...)
}

var swapped = map[token.Token]token.Token{
	token.LSS: token.LEQ, token.LEQ: token.LSS, token.GTR: token.GEQ, token.GEQ: token.GTR, token.EQL: token.NEQ, token.NEQ: token.EQL,
	token.LAND: token.LOR, token.LOR: token.LAND, token.ADD: token.SUB, token.SUB: token.ADD, token.MUL: token.ADD, token.QUO: token.MUL,
	token.SHL: token.SHR, token.SHR: token.SHL, token.AND: token.OR, token.OR: token.AND, token.AND_NOT: token.AND, token.REM: token.MUL,
}

func (m *mutator) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.FuncLit:
		m.block(n.Body.List, n.Type)
	case *ast.GenDecl:
		return n.Tok != token.CONST
	case *ast.ArrayType:
		return false
	case *ast.CompositeLit:
		if a, ok := n.Type.(*ast.ArrayType); ok && a.Len != nil {
			return false
		}
	case *ast.IfStmt:
		m.add(n.Cond, "negate", "mutant_(#) != (", ")")
	case *ast.BinaryExpr:
		m.binary(n)
	case *ast.BasicLit:
		m.literal(n)
	}
	return true
}

func (m *mutator) binary(n *ast.BinaryExpr) {
	tv := m.info.Types[n]
	to, ok := swapped[n.Op]
	if !ok || tv.Value != nil {
		return
	}
	alt := m.text(n.X) + " " + to.String() + " " + m.text(n.Y)
	if strings.Contains(alt, "//") || strings.Contains(alt, "func(") {
		return
	}
	what := n.Op.String() + " to " + to.String()
	if b, ok := tv.Type.Underlying().(*types.Basic); ok && b.Info()&types.IsBoolean != 0 {
		m.add(n, what, "(mutant_(#) && ("+alt+") || !mutant_(#) && (", "))")
		return
	}
	b, ok := tv.Type.(*types.Basic)
	if !ok || b.Info()&types.IsInteger == 0 || b.Info()&types.IsUntyped != 0 || m.calls(n) {
		return
	}
	if n.Op == token.QUO && m.info.Types[n.Y].Value == nil {
		return
	}
	m.add(n, what, "pick_["+b.Name()+"](#, ", ", "+alt+")")
}

// calls reports whether an expression calls what can't be called twice.
func (m *mutator) calls(n ast.Node) bool {
	found := false
	ast.Inspect(n, func(n ast.Node) bool {
		if c, ok := n.(*ast.CallExpr); ok {
			tv := m.info.Types[c.Fun]
			found = found || !tv.IsType() && !tv.IsBuiltin()
		}
		return !found
	})
	return found
}

func (m *mutator) literal(n *ast.BasicLit) {
	tv := m.info.Types[n]
	b, ok := tv.Type.(*types.Basic)
	if n.Kind != token.INT || !ok || b.Info()&types.IsInteger == 0 || b.Info()&types.IsUntyped != 0 || n.Value == "0xff" || n.Value == "255" {
		return
	}
	m.add(n, "one more", "pick_["+b.Name()+"](#, ", ", "+n.Value+"+1)")
}

// block makes mutants that leave out statements.
func (m *mutator) block(list []ast.Stmt, fn *ast.FuncType) {
	for _, s := range list {
		switch s := s.(type) {
		case *ast.ExprStmt, *ast.IncDecStmt:
			m.add(s, "leave out", "if !mutant_(#) { ", " }")
		case *ast.AssignStmt:
			if s.Tok != token.DEFINE {
				m.add(s, "leave out", "if !mutant_(#) { ", " }")
			}
		case *ast.ReturnStmt:
			if r := fn.Results; r != nil && len(r.List) == 1 && len(s.Results) == 1 {
				if id, ok := r.List[0].Type.(*ast.Ident); ok && id.Name == "error" && m.text(s.Results[0]) != "nil" {
					m.add(s, "return nil", "if mutant_(#) { return nil }; ", "")
				}
			}
		}
		ast.Inspect(s, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncLit:
				return false
			case *ast.BlockStmt:
				m.block(n.List, fn)
				return false
			case *ast.CaseClause:
				m.block(n.Body, fn)
				return false
			}
			return true
		})
	}
}
