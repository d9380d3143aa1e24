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
// is read into, which the library would cut off, or if there is more than a recorder writes. Left is how many elements
// the frame may still have. b must have passed check.
func inRange(tag string, b []byte, left *int) error {
	t, ok := bodies[tag]
	if !ok {
		return nil // a record that this version does not know
	}
	_, err := boundsOf(tag, left).fit(b, t)
	return err
}

// fit holds the value at the head of b against a type, and gives what follows it. Of
// what is not a number where one should be the library says what is wrong.
func (x bounds) fit(b []byte, t reflect.Type) ([]byte, error) {
	if len(b) == 0 {
		return nil, errShort
	}
	empty := b[0] == 0xc0 // nil, for anything
	switch k := t.Kind(); {
	case empty:
	case k == reflect.Pointer:
		return x.fit(b, t.Elem())
	case k == reflect.Struct && members[t] != nil:
		return x.fitMembers(b, members[t])
	case k == reflect.Slice || k == reflect.Map:
		return x.fitElements(b, t)
	case k == reflect.String:
		rest, err := pass(b)
		if err == nil && len(b)-len(rest)-textHead(b[0]) > x.text {
			err = errText
		}
		return rest, err
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

// textHead is how long the head of a text or of binary is, by its first byte.
func textHead(first byte) int {
	switch first {
	case 0xc4, 0xd9:
		return 2
	case 0xc5, 0xda:
		return 3
	case 0xc6, 0xdb:
		return 5
	}
	return 1
}

func (x bounds) fitMembers(b []byte, types map[string]reflect.Type) ([]byte, error) {
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
			return nil, fmt.Errorf("%s: %w", shown(name), errTwice)
		}
		var err error
		if t := types[string(name)]; t != nil {
			b, err = x.of(name).fit(b, t)
		} else {
			b, err = pass(b)
		}
		if errors.Is(err, errNumber) || errors.Is(err, errText) || errors.Is(err, errElements) {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (x bounds) fitElements(b []byte, t reflect.Type) ([]byte, error) {
	keyed := t.Kind() == reflect.Map
	fix, wide := byte(0x90), byte(0xdc)
	if keyed {
		fix, wide = 0x80, 0xde
	}
	n, rest, ok := parseLen(b, fix, wide)
	if !ok {
		return pass(b)
	}
	err := x.elements(n, t)
	if err != nil {
		return nil, err
	}
	var names keySet
	for range n {
		if keyed {
			name, _, named := parseBin(rest)
			if rest, err = x.fit(rest, t.Key()); err != nil {
				return nil, err
			}
			if named && !names.add(name) {
				return nil, fmt.Errorf("%s: %w", shown(name), errTwice)
			}
		}
		if rest, err = x.fit(rest, t.Elem()); err != nil {
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
