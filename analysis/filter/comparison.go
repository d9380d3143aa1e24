package filter

// This file compiles == != < <= > >=.

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"
)

// comparison compiles == != < <= > >=.
func (c *compiler[T]) comparison(n *ast.BinaryNode) (*operand[T], error) {
	l, err := c.node(n.Left)
	if err != nil {
		return nil, err
	}
	r, err := c.node(n.Right)
	if err != nil {
		return nil, err
	}
	left, right, op := n.Left, n.Right, n.Operator
	if l.fixed && !r.fixed && !r.none || l.none { // the constant stands right
		l, r, left, right = r, l, right, left
		if m := mirrored[op]; m != "" {
			op = m
		}
	}
	if l.bare {
		return nil, c.unknown(left, l.s)
	}
	if l.none {
		return nil, c.fail(span(n), "nil is compared with nil", "")
	}
	if r.none {
		return c.known(n, l, op)
	}
	if err := c.adapt(l, r, left, right); err != nil {
		return nil, err
	}
	order := op != "==" && op != "!="
	if order && (l.kind == Text || l.kind == Address || l.kind == Flag || l.kind == List) {
		return nil, c.fail(
			n.Location(),
			fmt.Sprintf("%s is %s, and has no order", c.text(left), l.a()),
			orderHint(l.kind),
		)
	}
	if l.kind == List {
		return nil, c.fail(
			span(n),
			fmt.Sprintf("%s is %s", c.text(left), l.a()),
			fmt.Sprintf("ask for a word of it: %s in %s",
				c.text(right), c.text(left)),
		)
	}
	yes := compare(l, r, op)
	if op == "!=" {
		same := compare(l, r, "==")
		yes = func(v *T, env *Env) bool { return !same(v, env) }
	}
	return &operand[T]{kind: Flag, yes: yes}, nil
}

func orderHint(k Kind) string {
	if k == Address {
		return `for a network: in "10.0.0.0/8"`
	}
	return "compare by == or !="
}

// known compiles a comparison with nil.
func (c *compiler[T]) known(n *ast.BinaryNode, x *operand[T], op string) (*operand[T], error) {
	var is func(*T, *Env) bool
	switch {
	case op != "==" && op != "!=":
		return nil, c.fail(n.Location(), "nil has no order", "compare by == or !=")
	case x.kind == List:
		is = func(v *T, env *Env) bool { return len(x.list(v, env)) > 0 }
	case x.kind == Flag && x.field != nil:
		is = func(v *T, env *Env) bool { _, known := x.field.Yes(v, env); return known }
	case x.kind == Flag:
		return nil, c.fail(span(n), "a condition is never nil", "")
	case x.kind == Text:
		is = func(v *T, env *Env) bool { _, known := x.text(v, env); return known }
	case x.kind == Address:
		is = func(v *T, env *Env) bool { _, known := x.addr(v, env); return known }
	default:
		is = func(v *T, env *Env) bool { _, known := x.num(v, env); return known }
	}
	if op == "!=" {
		return &operand[T]{kind: Flag, yes: is}, nil
	}
	return &operand[T]{kind: Flag, yes: func(v *T, env *Env) bool { return !is(v, env) }}, nil
}

// adapt makes the right side of a comparison the kind of the left one, or says why it can't be.
func (c *compiler[T]) adapt(l, r *operand[T], left, right ast.Node) error {
	switch {
	case l.kind == Text && r.fixed && r.kind == Text:
		if r.bare && !slices.Contains(l.wordsOf(), r.s) {
			if len(l.wordsOf()) == 0 || c.o.Elsewhere[r.s] != "" {
				return c.unknown(right, r.s)
			}
		}
		return c.word(l, r, left, right)
	case r.bare:
		return c.unknown(right, r.s)
	case l.kind == r.kind:
		return nil
	case l.kind == Size && r.kind == Number || l.kind == Number && r.kind == Size && r.field != nil: // bytes
		return nil
	case l.kind == Address && r.fixed && r.kind == Text:
		a, err := netip.ParseAddr(r.s)
		if _, isNet := netip.ParsePrefix(r.s); isNet == nil {
			return c.fail(right.Location(), fmt.Sprintf("%q is a network, not an address", r.s),
				fmt.Sprintf("ask whether the address is in it: %s in %s", c.text(left), c.text(right)))
		}
		if err != nil {
			return c.fail(
				right.Location(),
				fmt.Sprintf("%q is not an address", r.s),
				`like "10.0.0.1" or "2001:db8::1"`,
			)
		}
		a = a.Unmap()
		r.kind, r.addr = Address, func(*T, *Env) (netip.Addr, bool) { return a, true }
		return nil
	case l.kind == Time && r.fixed && (r.kind == Text || r.kind == Duration):
		return c.moment(l, r, right)
	}
	return c.fail(span(right), fmt.Sprintf("%s is %s, and %s is %s", c.text(left), l.a(), c.text(right), r.a()),
		fmt.Sprintf("%s is written like %s", kindWords[l.kind].a, l.kind.Like()))
}

// wordsOf are the words that a text can be; nil: any.
func (x *operand[T]) wordsOf() []string {
	if x.field == nil {
		return nil
	}
	return x.field.Words
}

// word refuses a word that a field can't be. Of what has no word, the digits of its number are one.
func (c *compiler[T]) word(l, r *operand[T], left, right ast.Node) error {
	r.text = func(*T, *Env) (string, bool) { return r.s, true }
	words := l.wordsOf()
	if len(words) == 0 || r.s == "" || slices.Contains(words, r.s) || strings.Trim(r.s, "0123456789") == "" {
		return nil
	}
	hint := "it is one of: " + strings.Join(words[:min(len(words), 24)], ", ")
	if len(words) > 24 {
		hint = "acc fields --json " + c.o.Of + " lists its words"
	}
	if like := near(r.s, words); len(like) > 0 {
		hint = "did you mean " + list(like) + "?"
	}
	return c.fail(right.Location(), fmt.Sprintf("%s is never %q", c.text(left), r.s), hint)
}

// moment makes a time of a constant.
func (c *compiler[T]) moment(l, r *operand[T], right ast.Node) error {
	text := r.s
	if r.kind == Duration {
		text = time.Duration(r.n).String()
	} else if !isTime(text) {
		return c.fail(right.Location(), fmt.Sprintf("%q is not a time", text), "like "+Time.Like())
	}
	m := &moment{text: text, at: right.Location()}
	c.moments = append(c.moments, m)
	boot := l.num
	l.num = func(v *T, env *Env) (int64, bool) {
		ns, known := boot(v, env)
		if !known || env.Clocks == nil {
			return 0, false
		}
		clock := env.Clocks.At(ns)
		return clock.RealNS + (ns - clock.BootNS), clock.Known()
	}
	r.kind, r.fixed = Time, false
	r.num = func(*T, *Env) (int64, bool) { return m.unixNS, true }
	return nil
}

// isTime reports whether a text has the form of a time; which one it is, Bind says.
func isTime(s string) bool {
	for _, layout := range []string{time.RFC3339Nano, "15:04:05"} {
		if _, err := time.Parse(layout, s); err == nil {
			return true
		}
	}
	if n, err := strconv.ParseFloat(s, 64); err == nil && n >= 0 {
		return true
	}
	_, err := time.ParseDuration(s)
	return err == nil
}

// compare gives the function for two operands of one kind. What is not known is equal to nothing.
func compare[T any](l, r *operand[T], op string) func(*T, *Env) bool {
	switch l.kind {
	case Flag:
		if l.field != nil {
			own := l.field.Yes
			return func(v *T, env *Env) bool {
				yes, known := own(v, env)
				return known && yes == r.yes(v, env)
			}
		}
		return func(v *T, env *Env) bool { return l.yes(v, env) == r.yes(v, env) }
	case Text:
		a := l.text
		if r.fixed {
			s := r.s
			return func(v *T, env *Env) bool {
				x, known := a(v, env)
				return known && x == s
			}
		}
		b := r.text
		return func(v *T, env *Env) bool {
			x, known := a(v, env)
			y, too := b(v, env)
			return known && too && x == y
		}
	case Address:
		a, b := l.addr, r.addr
		return func(v *T, env *Env) bool {
			x, known := a(v, env)
			y, too := b(v, env)
			return known && too && x.Unmap() == y.Unmap()
		}
	}
	a, b := l.num, r.num
	if r.fixed {
		n := r.n
		switch op {
		case "==":
			return func(v *T, env *Env) bool { x, known := a(v, env); return known && x == n }
		case "<":
			return func(v *T, env *Env) bool { x, known := a(v, env); return known && x < n }
		case "<=":
			return func(v *T, env *Env) bool { x, known := a(v, env); return known && x <= n }
		case ">":
			return func(v *T, env *Env) bool { x, known := a(v, env); return known && x > n }
		}
		return func(v *T, env *Env) bool { x, known := a(v, env); return known && x >= n }
	}
	both := func(is func(x, y int64) bool) func(*T, *Env) bool {
		return func(v *T, env *Env) bool {
			x, known := a(v, env)
			y, too := b(v, env)
			return known && too && is(x, y)
		}
	}
	switch op {
	case "==":
		return both(func(x, y int64) bool { return x == y })
	case "<":
		return both(func(x, y int64) bool { return x < y })
	case "<=":
		return both(func(x, y int64) bool { return x <= y })
	case ">":
		return both(func(x, y int64) bool { return x > y })
	}
	return both(func(x, y int64) bool { return x >= y })
}
