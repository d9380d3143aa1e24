package filter

// This file compiles in, the operators of text, and arithmetic.

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
)

// in compiles membership: of an address in networks, of a value in a list or a range, of a word in a
// list of the capture.
func (c *compiler[T]) in(n *ast.BinaryNode) (*operand[T], error) {
	l, err := c.node(n.Left)
	if err != nil {
		return nil, err
	}
	if l.none {
		return nil, c.fail(span(n.Left), "nil is in nothing", "compare a field with it, like errno == nil")
	}
	if _, isList := n.Right.(*ast.ArrayNode); !isList {
		if r, err := c.node(n.Right); err == nil && r.kind == List && r.field != nil {
			return c.inWords(n, l, r)
		}
	}
	if l.bare {
		return nil, c.unknown(n.Left, l.s)
	}
	values := []ast.Node{n.Right}
	switch right := n.Right.(type) {
	case *ast.ArrayNode:
		values = right.Nodes
	case *ast.BinaryNode:
		if right.Operator == ".." {
			return c.inRange(n, l, right)
		}
	}
	if l.kind == Address {
		return c.inNetworks(l, n.Left, values)
	}
	if _, isList := n.Right.(*ast.ArrayNode); !isList {
		return nil, c.fail(span(n.Right), "behind in stands a list, a range or, for an address, a network",
			`like lport in [80, 443], lport in 8000..8999, raddr in "10.0.0.0/8"`)
	}
	var each []func(*T, *Env) bool
	for _, value := range values {
		same, err := c.comparison(&ast.BinaryNode{Operator: "==", Left: n.Left, Right: value})
		if err != nil {
			return nil, err
		}
		each = append(each, same.yes)
	}
	return &operand[T]{kind: Flag, yes: func(v *T, env *Env) bool {
		for _, is := range each {
			if is(v, env) {
				return true
			}
		}
		return false
	}}, nil
}

// inWords compiles a word in a list of the capture.
func (c *compiler[T]) inWords(n *ast.BinaryNode, l, r *operand[T]) (*operand[T], error) {
	if !l.fixed || l.kind != Text {
		return nil, c.fail(span(n.Left), fmt.Sprintf("%s is a list of words, and %s is no word", c.text(n.Right),
			c.text(n.Left)), "like "+`"`+firstWord(r.field.Words)+`" in `+r.field.Name)
	}
	if err := c.word(r, l, n.Right, n.Left); err != nil {
		return nil, err
	}
	word, words := l.s, r.list
	return &operand[T]{
		kind: Flag,
		yes:  func(v *T, env *Env) bool { return slices.Contains(words(v, env), word) },
	}, nil
}

func firstWord(words []string) string {
	if len(words) == 0 {
		return "word"
	}
	return words[0]
}

// inRange compiles a number in a range.
func (c *compiler[T]) inRange(n *ast.BinaryNode, l *operand[T], r *ast.BinaryNode) (*operand[T], error) {
	from, err := c.operand(r.Left)
	if err != nil {
		return nil, err
	}
	to, err := c.operand(r.Right)
	if err != nil {
		return nil, err
	}
	if l.num == nil || l.kind != from.kind || l.kind != to.kind || !from.fixed || !to.fixed {
		return nil, c.fail(
			span(n),
			fmt.Sprintf("%s is %s, and a range goes from one constant to another of that kind",
				c.text(n.Left), l.a()),
			"like lport in 8000..8999, or queue_wait in 10ms..1s",
		)
	}
	if from.n > to.n {
		return nil, c.fail(span(r), "the range ends before it begins", "the smaller one stands first")
	}
	num, low, high := l.num, from.n, to.n
	return &operand[T]{kind: Flag, yes: func(v *T, env *Env) bool {
		x, known := num(v, env)
		return known && x >= low && x <= high
	}}, nil
}

// inNetworks compiles an address in networks, which are texts.
func (c *compiler[T]) inNetworks(l *operand[T], left ast.Node, values []ast.Node) (*operand[T], error) {
	var nets []netip.Prefix
	for _, value := range values {
		s, ok := value.(*ast.StringNode)
		if !ok {
			return nil, c.fail(span(value), fmt.Sprintf("%s is an address, and %s is no network", c.text(left),
				c.text(value)), `like raddr in "10.0.0.0/8", or in ["10.0.0.0/8", "fd00::/8"]`)
		}
		p, err := netip.ParsePrefix(s.Value)
		if err != nil {
			a, aErr := netip.ParseAddr(s.Value)
			if aErr != nil {
				return nil, c.fail(value.Location(), fmt.Sprintf("%q is neither an address nor a network", s.Value),
					`like "10.0.0.0/8", "fd00::/8" or "10.0.0.1"`)
			}
			a = a.Unmap().WithZone("")
			p = netip.PrefixFrom(a, a.BitLen())
		}
		if m := p.Masked(); m != p {
			return nil, c.fail(value.Location(), fmt.Sprintf("%q has bits behind its length", s.Value),
				fmt.Sprintf("the network is %q", m.String()))
		}
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		nets = append(nets, p)
	}
	addr := l.addr
	return &operand[T]{kind: Flag, yes: func(v *T, env *Env) bool {
		a, known := addr(v, env)
		if !known {
			return false
		}
		a = a.Unmap()
		for _, p := range nets {
			if p.Contains(a) {
				return true
			}
		}
		return false
	}}, nil
}

// textual compiles contains, startsWith, endsWith and matches.
func (c *compiler[T]) textual(n *ast.BinaryNode) (*operand[T], error) {
	l, err := c.operand(n.Left)
	if err != nil {
		return nil, err
	}
	r, err := c.operand(n.Right)
	if err != nil {
		return nil, err
	}
	if l.none || l.kind != Text {
		hint := "these are for text"
		if l.kind == Address && !l.none {
			hint = `for a network: in "10.0.0.0/8"`
		}
		return nil, c.fail(span(n.Left), fmt.Sprintf("%s is %s, not text", c.text(n.Left), l.a()), hint)
	}
	if r.none || r.kind != Text || !r.fixed {
		return nil, c.fail(span(n.Right), fmt.Sprintf("behind %s stands text in quotes", n.Operator),
			fmt.Sprintf("like comm %s \"ngin\"", n.Operator))
	}
	has := map[string]func(s, part string) bool{
		"contains": strings.Contains, "startsWith": strings.HasPrefix, "endsWith": strings.HasSuffix,
	}[n.Operator]
	if n.Operator == "matches" {
		re, err := regexp.Compile(r.s)
		if err != nil {
			return nil, c.fail(n.Right.Location(), strings.TrimPrefix(err.Error(), "error parsing regexp: "),
				"the language of patterns is Go's, RE2")
		}
		has = func(s, _ string) bool { return re.MatchString(s) }
	}
	text, part := l.text, r.s
	return &operand[T]{kind: Flag, yes: func(v *T, env *Env) bool {
		s, known := text(v, env)
		return known && has(s, part)
	}}, nil
}

// arithmetic compiles + - * / % of numbers, durations and sizes, and the difference of times.
func (c *compiler[T]) arithmetic(n *ast.BinaryNode) (*operand[T], error) {
	l, err := c.operand(n.Left)
	if err != nil {
		return nil, err
	}
	r, err := c.operand(n.Right)
	if err != nil {
		return nil, err
	}
	kind, ok := resultOf(n.Operator, l, r)
	if !ok {
		return nil, c.fail(
			span(n),
			fmt.Sprintf("%s is %s, and %s is %s: there is no %s of these", c.text(n.Left), l.a(),
				c.text(n.Right), r.a(), n.Operator),
			"",
		)
	}
	a, b := l.num, r.num
	var do func(x, y int64) int64
	switch n.Operator {
	case "+":
		do = func(x, y int64) int64 { return x + y }
	case "-":
		do = func(x, y int64) int64 { return x - y }
	case "*":
		do = func(x, y int64) int64 { return x * y }
	case "/":
		do = func(x, y int64) int64 { return x / y }
	default:
		do = func(x, y int64) int64 { return x % y }
	}
	divides := n.Operator == "/" || n.Operator == "%"
	if divides && r.fixed && r.n == 0 {
		return nil, c.fail(span(n.Right), "nothing can be divided by 0", "")
	}
	if l.fixed && r.fixed {
		return constant[T](kind, do(l.n, r.n)), nil
	}
	return &operand[T]{kind: kind, num: func(v *T, env *Env) (int64, bool) {
		x, known := a(v, env)
		y, too := b(v, env)
		if !known || !too || divides && y == 0 {
			return 0, false
		}
		return do(x, y), true
	}}, nil
}

// resultOf is the kind of a result; false: there is none.
func resultOf[T any](op string, l, r *operand[T]) (Kind, bool) {
	quantity := func(k Kind) bool { return k == Duration || k == Size }
	switch {
	case l.none || r.none || l.num == nil || r.num == nil:
		return 0, false
	case l.kind == Time:
		return Duration, r.kind == Time && op == "-"
	case l.kind == Number && r.kind == Number:
		return Number, true
	case l.kind == r.kind && quantity(l.kind):
		switch op {
		case "+", "-", "%":
			return l.kind, true
		case "/":
			return Number, true
		}
	case quantity(l.kind) && r.kind == Number && (op == "*" || op == "/"):
		return l.kind, true
	case l.kind == Number && quantity(r.kind) && op == "*":
		return r.kind, true
	}
	return 0, false
}
