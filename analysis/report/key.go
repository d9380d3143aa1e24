package report

// This file has the keys of JSON lines, with their types and meanings.

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/filter"
	"github.com/acc-project/acc/format"
)

// Key says of one key of JSON lines what stands there. It is always there, as null
// where Type has null and nothing is known.
type Key struct {
	Name   string
	Type   string   // "integer", "string", "boolean", each perhaps "or null"
	Unit   string   // "ns", "µs", "B", "" for others
	Values []string // words that the string can be; nil: any
	Doc    string   // what it means
}

// PairKeys are the keys of AppendPairJSON, in their order.
func PairKeys() []Key { return keysOf(pairKeys) }

// ConnectionKeys are the keys of AppendConnectionJSON, in their order.
func ConnectionKeys() []Key { return keysOf(connectionKeys) }

func keysOf[T any](list []lineKey[T]) []Key {
	keys := make([]Key, len(list))
	for i := range list {
		keys[i] = list[i].Key
	}
	return keys
}

// lineKey is a key of lines that each tell of a T.
type lineKey[T any] struct {
	Key
	label  string
	append func(dst []byte, v *T, c *format.Clocks) []byte
	ask    filter.Field[T] // what the language of filters has of it
	of     Of[T]           // the same of a value alone
	moment bool            // it is a time of the boot clock
	wide   bool            // an integer of 64 bits without a sign
}

// at says that a key in nanoseconds is a time.
func (k lineKey[T]) at() lineKey[T] {
	k.moment = true
	return k
}

// fieldsOf gives what expressions can ask for: the keys of lines and, of those with a unit, what they measure.
func fieldsOf[T any](keys []lineKey[T]) (list []filter.Field[T]) {
	for i := range keys {
		k := &keys[i]
		f := k.ask
		f.Name, f.Doc, f.Words = k.Name, k.Doc, k.Values
		if f.Kind == filter.Number {
			list = append(list, filter.Quantities(f, k.Unit, k.moment)...)
		} else {
			list = append(list, f)
		}
	}
	return list
}

// appendLine appends an object without a newline.
func appendLine[T any](dst []byte, keys []lineKey[T], v *T, c *format.Clocks) []byte {
	for i := range keys {
		dst = keys[i].append(append(dst, keys[i].label...), v, c)
	}
	return append(dst, '}')
}

// labelled makes the keys of an object. What has no Doc means what the event's field of
// that name does.
func labelled[T any](keys ...lineKey[T]) []lineKey[T] {
	for i := range keys {
		k, sign := &keys[i], ","
		if i == 0 {
			sign = "{"
		}
		k.label = sign + `"` + k.Name + `":`
		if f, ok := format.FieldByName(k.Name); ok && k.Doc == "" {
			k.Doc = f.JSONDoc()
		}
		switch {
		case strings.HasSuffix(k.Name, "_ns"):
			k.Unit = "ns"
		case strings.HasSuffix(k.Name, "_us"):
			k.Unit = "µs"
		case strings.HasPrefix(k.Name, "bytes_"):
			k.Unit = "B"
		}
	}
	return keys
}

// words says what a key's string can be.
func (k lineKey[T]) words(words ...string) lineKey[T] {
	k.Values = words
	return k
}

func timeKey[T any](name string, bootNS func(*T) int64, doc string) lineKey[T] {
	return lineKey[T]{Key: Key{Name: name, Type: "string or null", Doc: doc},
		ask: filter.Field[T]{Kind: filter.Time, Int: func(v *T, _ *filter.Env) (int64, bool) { return bootNS(v), true }},
		append: func(dst []byte, v *T, c *format.Clocks) []byte {
			ns := bootNS(v)
			return format.AppendTimeJSON(dst, ns, c.At(ns))
		}}
}

func intKey[T any](name string, of func(*T) int64, doc string) lineKey[T] {
	return lineKey[T]{Key: Key{Name: name, Type: "integer", Doc: doc},
		of:  Of[T]{Int: func(v *T) (int64, bool) { return of(v), true }},
		ask: filter.Field[T]{Kind: filter.Number, Int: func(v *T, _ *filter.Env) (int64, bool) { return of(v), true }},
		append: func(dst []byte, v *T, _ *format.Clocks) []byte {
			return strconv.AppendInt(dst, of(v), 10)
		}}
}

// intOrNull is an integer that need not be known.
func intOrNull[T any](name string, of func(*T) (n int64, known bool), doc string) lineKey[T] {
	return lineKey[T]{Key: Key{Name: name, Type: "integer or null", Doc: doc}, of: Of[T]{Int: of},
		ask: filter.Field[T]{Kind: filter.Number, Int: func(v *T, _ *filter.Env) (int64, bool) { return of(v) }},
		append: func(dst []byte, v *T, _ *format.Clocks) []byte {
			n, known := of(v)
			if !known {
				return append(dst, "null"...)
			}
			return strconv.AppendInt(dst, n, 10)
		}}
}

// wideOrNull is intOrNull with all values of 64 bits.
func wideOrNull[T any](name string, of func(*T) (n uint64, known bool), doc string) lineKey[T] {
	return lineKey[T]{Key: Key{Name: name, Type: "integer or null", Doc: doc}, wide: true,
		ask: filter.Field[T]{Kind: filter.Number, Int: func(v *T, _ *filter.Env) (int64, bool) {
			n, known := of(v)
			return int64(n), known
		}},
		append: func(dst []byte, v *T, _ *format.Clocks) []byte {
			n, known := of(v)
			if !known {
				return append(dst, "null"...)
			}
			return strconv.AppendUint(dst, n, 10)
		}}
}

func textKey[T any](name string, of func(*T) string, doc string) lineKey[T] {
	return lineKey[T]{Key: Key{Name: name, Type: "string", Doc: doc},
		of:  Of[T]{Text: func(v *T) (string, bool) { return of(v), true }},
		ask: filter.Field[T]{Kind: filter.Text, Text: func(v *T, _ *filter.Env) (string, bool) { return of(v), true }},
		append: func(dst []byte, v *T, _ *format.Clocks) []byte {
			return format.AppendJSONString(dst, of(v))
		}}
}

// textOrNull is text that need not be known.
func textOrNull[T any](name string, of func(*T) (s string, known bool), doc string) lineKey[T] {
	return lineKey[T]{Key: Key{Name: name, Type: "string or null", Doc: doc}, of: Of[T]{Text: of},
		ask: filter.Field[T]{Kind: filter.Text, Text: func(v *T, _ *filter.Env) (string, bool) { return of(v) }},
		append: func(dst []byte, v *T, _ *format.Clocks) []byte {
			s, known := of(v)
			if !known {
				return append(dst, "null"...)
			}
			return format.AppendJSONString(dst, s)
		}}
}

func boolKey[T any](name string, of func(*T) bool, doc string) lineKey[T] {
	return lineKey[T]{Key: Key{Name: name, Type: "boolean", Doc: doc},
		of:  Of[T]{Yes: func(v *T) (bool, bool) { return of(v), true }},
		ask: filter.Field[T]{Kind: filter.Flag, Yes: func(v *T, _ *filter.Env) (bool, bool) { return of(v), true }},
		append: func(dst []byte, v *T, _ *format.Clocks) []byte {
			return strconv.AppendBool(dst, of(v))
		}}
}

// boolOrNull is a boolean that need not be known.
func boolOrNull[T any](name string, of func(*T) (yes, known bool), doc string) lineKey[T] {
	return lineKey[T]{Key: Key{Name: name, Type: "boolean or null", Doc: doc}, of: Of[T]{Yes: of},
		ask: filter.Field[T]{Kind: filter.Flag, Yes: func(v *T, _ *filter.Env) (bool, bool) { return of(v) }},
		append: func(dst []byte, v *T, _ *format.Clocks) []byte {
			yes, known := of(v)
			if !known {
				return append(dst, "null"...)
			}
			return strconv.AppendBool(dst, yes)
		}}
}

// addrKey is an address.
func addrKey[T any](name string, of func(*T) (a netip.AddrPort, known bool), doc string) lineKey[T] {
	return lineKey[T]{Key: Key{Name: name, Type: "string or null", Doc: doc},
		ask: filter.Field[T]{Kind: filter.Address, Addr: func(v *T, _ *filter.Env) (netip.Addr, bool) {
			a, known := of(v)
			return a.Addr(), known && a.Addr().IsValid()
		}},
		append: func(dst []byte, v *T, _ *format.Clocks) []byte {
			a, known := of(v)
			if !known || !a.Addr().IsValid() {
				return append(dst, "null"...)
			}
			return append(a.Addr().AppendTo(append(dst, '"')), '"')
		}}
}

// portKey is the port that goes with an addrKey.
func portKey[T any](name string, of func(*T) (a netip.AddrPort, known bool), doc string) lineKey[T] {
	return intOrNull(name, func(v *T) (int64, bool) {
		a, known := of(v)
		return int64(a.Port()), known && a.Addr().IsValid()
	}, doc)
}

// wordsOf are the words of an event's field.
func wordsOf(field string) []string {
	f, _ := format.FieldByName(field)
	return f.JSONWords()
}

func endIDs() (ids []string) {
	for _, e := range conntrack.Ends() {
		ids = append(ids, e.ID())
	}
	return ids
}

func endReasons() (words []string) {
	for _, e := range conntrack.Ends() {
		words = append(words, string(e))
	}
	return words
}
