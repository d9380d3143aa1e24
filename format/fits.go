package format

// This file holds the members of records against their types.

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
)

var (
	errNumber = errors.New("a number is out of its range")
	errBody   = errors.New("a body is not a map of names")
)

// bodies are the types of the small records' bodies.
var bodies = map[string]reflect.Type{
	"header": reflect.TypeFor[Header](), "process": reflect.TypeFor[Process](), "clock": reflect.TypeFor[Clock](),
	"loss":     reflect.TypeFor[Loss](),
	"snapshot": reflect.TypeFor[Snapshot](), "counters": reflect.TypeFor[Counters](), "gap": reflect.TypeFor[Gap](),
	"end": reflect.TypeFor[End](), "watch": reflect.TypeFor[Watch](), "doing": reflect.TypeFor[Doing](),
	"image": reflect.TypeFor[Image](), "stack": reflect.TypeFor[Stack](),
	"mark": reflect.TypeFor[Mark](), "counted": reflect.TypeFor[Counted](),
}

// members are the members of each type of struct in them, by name.
var members = membersOf(bodies)

func membersOf(types map[string]reflect.Type) map[reflect.Type]map[string]reflect.Type {
	all := map[reflect.Type]map[string]reflect.Type{}
	var add func(t reflect.Type)
	add = func(t reflect.Type) {
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			add(t.Elem())
		case reflect.Struct:
			if _, asArray := t.FieldByName("_msgpack"); asArray || all[t] != nil {
				return // FieldSpec, whose numbers plan looks at
			}
			all[t] = map[string]reflect.Type{}
			for i := range t.NumField() {
				f := t.Field(i)
				name, _, _ := strings.Cut(f.Tag.Get("msgpack"), ",")
				all[t][name] = f.Type
				add(f.Type)
			}
		}
	}
	for _, t := range types {
		add(t)
	}
	return all
}

// inRange reports an error if a number in the body of a record does not fit what it
// is read into: the library would cut it off. b must have passed check.
func inRange(tag string, b []byte) error {
	t, ok := bodies[tag]
	if !ok {
		return nil // a record that this version does not know
	}
	_, err := fit(b, t)
	return err
}

// fit holds the value at the head of b against a type, and gives what follows it. Of
// what is not a number where one should be the library says what is wrong.
func fit(b []byte, t reflect.Type) ([]byte, error) {
	if len(b) == 0 {
		return nil, errShort
	}
	empty := b[0] == 0xc0 // nil, for anything
	switch k := t.Kind(); {
	case empty:
	case k == reflect.Pointer:
		return fit(b, t.Elem())
	case k == reflect.Struct && members[t] != nil:
		return fitMembers(b, members[t])
	case k == reflect.Slice || k == reflect.Map:
		return fitElements(b, t)
	case reflect.Zero(t).CanInt() || reflect.Zero(t).CanUint():
		v, rest, ok := parseInt(b)
		if !ok {
			break
		}
		if !fitsInt(v, b[0] == 0xcf && v < 0, t) {
			return nil, errNumber
		}
		return rest, nil
	}
	return pass(b)
}

// pass gives what follows the value at the head of b.
func pass(b []byte) ([]byte, error) {
	n, err := check(b)
	if err != nil {
		return nil, err
	}
	return b[n:], nil
}

// fitsInt reports whether a number, which is 1<<64 more if it is huge, is one of t.
func fitsInt(v int64, huge bool, t reflect.Type) bool {
	unused := 64 - t.Bits()
	if reflect.Zero(t).CanInt() {
		return !huge && v<<unused>>unused == v
	}
	return (huge || v >= 0) && uint64(v)<<unused>>unused == uint64(v)
}

func fitMembers(b []byte, types map[string]reflect.Type) ([]byte, error) {
	n, b, ok := parseLen(b, 0x80, 0xde)
	if !ok {
		return nil, errBody
	}
	var names keySet
	for range n {
		var name []byte
		if name, b, ok = parseBin(b); !ok {
			return nil, errBody
		}
		if !names.add(name) {
			return nil, fmt.Errorf("%q: %w", name, errTwice)
		}
		var err error
		if t := types[string(name)]; t != nil {
			b, err = fit(b, t)
		} else {
			b, err = pass(b)
		}
		if errors.Is(err, errNumber) {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if err != nil {
			return nil, err
		}
	}
	return b, nil
}

func fitElements(b []byte, t reflect.Type) ([]byte, error) {
	keyed := t.Kind() == reflect.Map
	fix, wide := byte(0x90), byte(0xdc)
	if keyed {
		fix, wide = 0x80, 0xde
	}
	n, rest, ok := parseLen(b, fix, wide)
	if !ok {
		return pass(b)
	}
	var err error
	var names keySet
	for range n {
		if keyed {
			name, _, named := parseBin(rest)
			if rest, err = pass(rest); err != nil {
				return nil, err
			}
			if named && !names.add(name) {
				return nil, fmt.Errorf("%q: %w", name, errTwice)
			}
		}
		if rest, err = fit(rest, t.Elem()); err != nil {
			return nil, err
		}
	}
	return rest, nil
}

var errTwice = errors.New("a map has the key twice")

// keySet holds the keys of one map: a few in a list, more in a map of their own.
type keySet struct {
	few  [32][]byte
	n    int
	many map[string]bool
}

// add reports whether the key is new.
func (s *keySet) add(key []byte) bool {
	for _, k := range s.few[:s.n] {
		if string(k) == string(key) {
			return false
		}
	}
	if s.n < len(s.few) {
		s.few[s.n] = key
		s.n++
		return true
	}
	if s.many[string(key)] {
		return false
	}
	if s.many == nil {
		s.many = map[string]bool{}
	}
	s.many[string(key)] = true
	return true
}
