package filter

// This file turns the parsed expression into Go functions, and checks its types.

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
)

// compiler makes a filter of one expression.
type compiler[T any] struct {
	source   string
	o        *Options[T]
	fields   map[string]*Field[T]
	literals map[int]quantity // by place
	moments  []*moment
	uses     []string
}

// operand is a part of an expression. Of the functions it has the one of its kind; a constant has
// its value, too.
type operand[T any] struct {
	kind  Kind
	field *Field[T] // that it is; nil: it is none
	none  bool      // it is nil
	bare  bool      // a name that is no field: perhaps a word of the other side
	fixed bool      // it is the same for all
	n     int64
	s     string

	yes  func(*T, *Env) bool
	num  func(*T, *Env) (int64, bool)
	text func(*T, *Env) (string, bool)
	addr func(*T, *Env) (netip.Addr, bool)
	list func(*T, *Env) []string
}

// a is what the operand is, for messages.
func (x *operand[T]) a() string {
	if x.none {
		return "nil"
	}
	return kindWords[x.kind].a
}

// span is the place of all of a part.
func span(n ast.Node) file.Location {
	at := n.Location()
	at.To = max(at.To, at.From+1)
	grow := func(parts ...ast.Node) {
		for _, p := range parts {
			if p != nil {
				s := span(p)
				at.From, at.To = min(at.From, s.From), max(at.To, s.To)
			}
		}
	}
	switch n := n.(type) {
	case *ast.BinaryNode:
		grow(n.Left, n.Right)
	case *ast.UnaryNode:
		grow(n.Node)
	case *ast.ArrayNode:
		grow(n.Nodes...)
	}
	return at
}

// text is the part as it stands in the source.
func (c *compiler[T]) text(n ast.Node) string {
	src, at := []rune(c.source), span(n)
	return string(src[min(at.From, len(src)):min(at.To, len(src))])
}

// node compiles a part.
func (c *compiler[T]) node(n ast.Node) (*operand[T], error) {
	switch n := n.(type) {
	case *ast.IdentifierNode:
		return c.name(n)
	case *ast.NilNode:
		return &operand[T]{none: true}, nil
	case *ast.BoolNode:
		v := n.Value
		return &operand[T]{kind: Flag, fixed: true, yes: func(*T, *Env) bool { return v }}, nil
	case *ast.IntegerNode:
		return constant[T](Number, int64(n.Value)), nil
	case *ast.FloatNode:
		return nil, c.fail(n.Location(), "numbers are whole here", "a part of a second is 1.5ms, a part of a MiB 0.5MiB")
	case *ast.StringNode:
		s := n.Value
		return &operand[T]{kind: Text, fixed: true, s: s, text: func(*T, *Env) (string, bool) { return s, true }}, nil
	case *ast.UnaryNode:
		return c.unary(n)
	case *ast.BinaryNode:
		return c.binary(n)
	case *ast.ArrayNode:
		return nil, c.fail(span(n), "a list stands behind in alone", `like lport in [80, 443]`)
	case *ast.CallNode, *ast.BuiltinNode:
		return nil, c.fail(span(n), "filters have no functions", "compare fields by ==, <, in, contains, startsWith, "+
			"endsWith and matches")
	case *ast.MemberNode, *ast.SliceNode, *ast.ChainNode:
		return nil, c.fail(span(n), "fields have no parts", "a word of a list is asked for by in, like \"armed\" in mark")
	}
	return nil, c.fail(span(n), "this is not part of the language of filters",
		"it has comparisons, and, or, not, in, and + - * / of numbers")
}

func constant[T any](kind Kind, v int64) *operand[T] {
	return &operand[T]{kind: kind, fixed: true, n: v, num: func(*T, *Env) (int64, bool) { return v, true }}
}

// name compiles a field or a quantity. A name that is neither is bare: it may be a word.
func (c *compiler[T]) name(n *ast.IdentifierNode) (*operand[T], error) {
	if q, ok := c.literals[n.Location().From]; ok {
		return constant[T](q.kind, q.n), nil
	}
	f := c.fields[n.Value]
	if f == nil {
		return &operand[T]{kind: Text, bare: true, fixed: true, s: n.Value}, nil
	}
	if !slices.Contains(c.uses, f.Name) {
		c.uses = append(c.uses, f.Name)
	}
	x := &operand[T]{kind: f.Kind, field: f, num: f.Int, text: f.Text, addr: f.Addr, list: f.List}
	if f.Kind == Flag {
		x.yes = func(v *T, env *Env) bool {
			yes, known := f.Yes(v, env)
			return yes && known
		}
	}
	return x, nil
}

// unknown says that a name is no field.
func (c *compiler[T]) unknown(n ast.Node, name string) error {
	hint := fmt.Sprintf("acc fields --filter %s lists what can be asked; text stands in quotes", c.o.Of)
	if of := c.o.Elsewhere[name]; of != "" {
		hint = fmt.Sprintf("%s have it: acc fields --filter %s", of, of)
	} else if like := near(name, slices.Sorted(maps.Keys(c.fields))); len(like) > 0 {
		hint = "did you mean " + list(like) + "?"
	}
	return c.fail(n.Location(), fmt.Sprintf("%s have no field %q", c.o.Of, name), hint)
}

// operand compiles a part that must be a value: no bare word.
func (c *compiler[T]) operand(n ast.Node) (*operand[T], error) {
	x, err := c.node(n)
	if err == nil && x.bare {
		err = c.unknown(n, x.s)
	}
	return x, err
}

// condition compiles a part that must be yes or no.
func (c *compiler[T]) condition(n ast.Node) (*operand[T], error) {
	x, err := c.operand(n)
	if err != nil {
		return nil, err
	}
	if x.none || x.kind != Flag {
		return nil, c.fail(span(n), fmt.Sprintf("%s is %s, not a condition", c.text(n), x.a()), c.compareHint(n, x))
	}
	return x, nil
}

func (c *compiler[T]) compareHint(n ast.Node, x *operand[T]) string {
	if x.none {
		return "compare a field with it, like errno == nil"
	}
	return "compare it, like " + c.text(n) + " == " + firstLike(x.kind)
}

func (c *compiler[T]) unary(n *ast.UnaryNode) (*operand[T], error) {
	switch n.Operator {
	case "not", "!":
		x, err := c.operand(n.Node)
		if err != nil {
			return nil, err
		}
		if x.none || x.kind != Flag {
			return nil, c.fail(span(n), n.Operator+" stands before a condition, and "+c.text(n.Node)+" is "+x.a(),
				"with brackets: "+n.Operator+" (a == b)")
		}
		yes := x.yes
		return &operand[T]{kind: Flag, yes: func(v *T, env *Env) bool { return !yes(v, env) }}, nil
	}
	x, err := c.operand(n.Node)
	if err != nil {
		return nil, err
	}
	if x.none || x.kind != Number && x.kind != Duration && x.kind != Size {
		return nil, c.fail(span(n), n.Operator+" stands before a number, and "+c.text(n.Node)+" is "+x.a(), "")
	}
	if n.Operator == "+" {
		return x, nil
	}
	if x.fixed {
		return constant[T](x.kind, -x.n), nil
	}
	num := x.num
	return &operand[T]{kind: x.kind, num: func(v *T, env *Env) (int64, bool) {
		i, known := num(v, env)
		return -i, known
	}}, nil
}

func (c *compiler[T]) binary(n *ast.BinaryNode) (*operand[T], error) {
	switch n.Operator {
	case "and", "&&", "or", "||":
		l, err := c.condition(n.Left)
		if err != nil {
			return nil, err
		}
		r, err := c.condition(n.Right)
		if err != nil {
			return nil, err
		}
		a, b := l.yes, r.yes
		if n.Operator == "or" || n.Operator == "||" {
			return &operand[T]{kind: Flag, yes: func(v *T, env *Env) bool { return a(v, env) || b(v, env) }}, nil
		}
		return &operand[T]{kind: Flag, yes: func(v *T, env *Env) bool { return a(v, env) && b(v, env) }}, nil
	case "==", "!=", "<", "<=", ">", ">=":
		return c.comparison(n)
	case "in":
		return c.in(n)
	case "contains", "startsWith", "endsWith", "matches":
		return c.textual(n)
	case "+", "-", "*", "/", "%":
		return c.arithmetic(n)
	case "..":
		return nil, c.fail(span(n), "a range stands behind in alone", "like lport in 8000..8999")
	}
	return nil, c.fail(n.Location(), fmt.Sprintf("filters have no %s", n.Operator),
		"they have ==, !=, <, <=, >, >=, in, contains, startsWith, endsWith, matches, and, or, not")
}
