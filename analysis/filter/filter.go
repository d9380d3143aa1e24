package filter

// This file has the filter that an expression becomes.

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
)

// maxSource is how long an expression may be, in bytes.
const maxSource = 16 << 10

// Filter is a condition on a T. It is for one goroutine.
type Filter[T any] struct {
	source  string
	match   func(*T, *Env) bool
	moments []*moment
	uses    []string
	from    []*moment // the time of T is not before any of these
	until   []*moment // nor after any of these
}

// moment is a time in an expression. What it is depends on the capture: see Bind.
type moment struct {
	text   string
	at     file.Location
	unixNS int64
}

// Options are what the language has for a T.
type Options[T any] struct {
	Fields []Field[T]
	Of     string // what a T is, for messages: "events"
	Time   string // name of the field by which T is placed in time, which an index leads to; "": there is none
	// Elsewhere says what other kinds of things have a field: "connections", by its name.
	Elsewhere map[string]string
}

// Compile makes a filter of an expression. The error is an *[Error].
func Compile[T any](source string, o Options[T]) (*Filter[T], error) {
	c := &compiler[T]{source: source, o: &o, fields: make(map[string]*Field[T], len(o.Fields))}
	for i := range o.Fields {
		c.fields[o.Fields[i].Name] = &o.Fields[i]
	}
	whole := file.Location{From: 0, To: utf8.RuneCountInString(source)}
	switch {
	case len(source) > maxSource:
		return nil, &Error{
			Reason: fmt.Sprintf("the expression has %d bytes, %d are the most", len(source), maxSource),
		}
	case !utf8.ValidString(source):
		return nil, &Error{
			Reason: "the expression is not UTF-8",
			Hint:   `such a byte of a name is matched by a dot: comm matches "^a.b$"`,
		}
	case strings.TrimSpace(source) == "":
		return nil, c.fail(
			whole,
			"the expression is empty",
			"like lport == 443; acc fields --filter lists what can be asked",
		)
	}
	plain, err := c.quantities()
	if err != nil {
		return nil, err
	}
	tree, err := parser.Parse(plain)
	if err != nil {
		return nil, c.parseError(err)
	}
	n, err := c.node(tree.Node)
	if err != nil {
		return nil, err
	}
	if n.kind != Flag {
		return nil, c.fail(span(tree.Node), fmt.Sprintf("%s is %s, not a condition", c.text(tree.Node), n.a()),
			"compare it, like "+c.text(tree.Node)+" == "+firstLike(n.kind))
	}
	f := &Filter[T]{source: source, match: n.yes, moments: c.moments, uses: c.uses}
	f.window(tree.Node, c)
	return f, nil
}

// firstLike is the first way in which a value of a kind is written.
func firstLike(k Kind) string {
	first, _, _ := strings.Cut(k.Like(), ",")
	return first
}

// parseError puts an error of the parser into the words of acc.
func (c *compiler[T]) parseError(err error) error {
	var at *file.Error
	if !errors.As(err, &at) {
		return &Error{Source: c.source, Reason: err.Error()}
	}
	reason, hint := strings.ToLower(at.Message[:min(1, len(at.Message))])+at.Message[min(1, len(at.Message)):], ""
	from := at.From
	switch {
	case strings.HasPrefix(reason, "unexpected token EOF"):
		reason, from = "the expression ends too early", utf8.RuneCountInString(c.source)
	case strings.Contains(reason, `unexpected token Operator("=")`):
		reason, hint = "a single = compares nothing", "write == to compare"
	case strings.HasPrefix(reason, "unexpected token "):
		what := strings.TrimPrefix(reason, "unexpected token ")
		if _, in, ok := strings.Cut(what, `("`); ok {
			what = strings.TrimSuffix(in, `")`)
		}
		reason = fmt.Sprintf("%q does not belong here", what)
		hint = "conditions are joined by and, or; text stands in quotes"
	}
	return c.fail(file.Location{From: from, To: max(at.To, from+1)}, reason, hint)
}

// String is the expression.
func (f *Filter[T]) String() string { return f.source }

// Match reports whether the condition holds for v.
func (f *Filter[T]) Match(v *T, env *Env) bool { return f.match(v, env) }

// Uses reports whether the expression names a field.
func (f *Filter[T]) Uses(field string) bool { return slices.Contains(f.uses, field) }

// Bind says what the times of the expression are in one capture; it must be called before Match
// where there are times. The error of parse is given with the place.
func (f *Filter[T]) Bind(parse func(text string) (time.Time, error)) error {
	for _, m := range f.moments {
		t, err := parse(m.text)
		if err != nil {
			return &Error{Source: f.source, From: m.at.From, To: m.at.To, Reason: err.Error()}
		}
		m.unixNS = t.UnixNano()
	}
	return nil
}

// Window is the time outside of which nothing can match, as far as the expression says so in
// conditions that must hold; a zero time leaves that side open. Call it after Bind.
func (f *Filter[T]) Window() (from, until time.Time) {
	for _, m := range f.from {
		if t := time.Unix(0, m.unixNS); from.IsZero() || t.After(from) {
			from = t
		}
	}
	for _, m := range f.until {
		if t := time.Unix(0, m.unixNS); until.IsZero() || t.Before(until) {
			until = t
		}
	}
	return from, until
}

// window finds the conditions on the time that must hold: those that and joins.
func (f *Filter[T]) window(n ast.Node, c *compiler[T]) {
	b, ok := n.(*ast.BinaryNode)
	if !ok {
		return
	}
	if b.Operator == "and" || b.Operator == "&&" {
		f.window(b.Left, c)
		f.window(b.Right, c)
		return
	}
	field, at, op := b.Left, b.Right, b.Operator
	if _, is := field.(*ast.IdentifierNode); !is || c.momentAt(at) == nil {
		field, at, op = b.Right, b.Left, mirrored[b.Operator]
	}
	name, is := field.(*ast.IdentifierNode)
	m := c.momentAt(at)
	if !is || m == nil || c.o.Time == "" || name.Value != c.o.Time {
		return
	}
	switch op {
	case ">", ">=":
		f.from = append(f.from, m)
	case "<", "<=":
		f.until = append(f.until, m)
	case "==":
		f.from, f.until = append(f.from, m), append(f.until, m)
	}
}

// mirrored are the operators for the sides exchanged.
var mirrored = map[string]string{"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "=="}

// momentAt gives the time that stands at a place of the expression, nil if there is none.
func (c *compiler[T]) momentAt(n ast.Node) *moment {
	for _, m := range c.moments {
		if m.at.From == n.Location().From {
			return m
		}
	}
	return nil
}
