package format

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// What is told of a field's JSON is what AppendJSON prints, by another package's reading
// of it: of every kind of event, with every number that has a word and with others.
func TestFieldsTellOfJSON(t *testing.T) {
	on := map[string]map[string]bool{}
	seen := map[string]map[string]bool{} // words
	one := func(e *Event) {
		var got map[string]any
		if err := json.Unmarshal(AppendJSON(nil, e, Clock{}), &got); err != nil {
			t.Fatal(err)
		}
		for i := range Fields {
			f := &Fields[i]
			v, there := got[f.Name]
			if !there {
				continue
			}
			kind := e.Kind.String()
			if e.Accepted() {
				kind = "accepted return"
			}
			if on[f.Name] == nil {
				on[f.Name], seen[f.Name] = map[string]bool{}, map[string]bool{}
			}
			on[f.Name][kind] = true
			is := ""
			switch v := v.(type) {
			case nil:
				is = "null"
			case bool:
				is = "boolean"
			case float64:
				is = "integer"
			case string:
				is = "string"
				seen[f.Name][v] = true
			case []any:
				is = "array of strings"
				for _, w := range v {
					seen[f.Name][w.(string)] = true
				}
			}
			if !slices.Contains(strings.Split(f.JSONType(), " or "), is) {
				t.Errorf("%s of %s is %s, told is %s", f.Name, kind, is, f.JSONType())
			}
		}
	}
	for _, kind := range []Kind{Enter, Return, Queued, Closed, Drop, State, Listen, Stop} {
		for n := int64(0); n < 1<<10; n++ {
			e := Event{Kind: kind, Hook: HookSysAccept4, Mark: uint16(n), Ret: int32(-n)}
			for i := range Fields {
				if f := &Fields[i]; f.Names != nil && f.Name != "kind" && f.size != 0 && n < 1<<(8*f.size) && (n > 0 || f.Name != "hook") {
					set(&e, f, n)
				}
			}
			one(&e)
			e.Mark = uint16(n) << 6
			e.Ret = int32(n)
			one(&e)
		}
	}
	for i := range Fields {
		f := &Fields[i]
		var want []string
		all := on[f.Name]
		for _, k := range f.JSONOn() {
			if want = append(want, k); k == "return" {
				want = append(want, "accepted return")
			}
		}
		if len(want) != len(all) {
			t.Errorf("%s is in %v, told is %q", f.Name, all, f.JSONOn())
		}
		for _, k := range want {
			if !all[k] {
				t.Errorf("%s is in %v, told is %q", f.Name, all, f.JSONOn())
			}
		}
		words := f.JSONWords()
		for _, w := range words {
			if !seen[f.Name][w] && f.Name != "kind" {
				t.Errorf("%s is never %q", f.Name, w)
			}
		}
		for w := range seen[f.Name] {
			if digits := strings.Trim(w, "0123456789") == "" && w != ""; words != nil && !digits && !slices.Contains(words, w) {
				t.Errorf("%s is %q, which is not told", f.Name, w)
			}
		}
		if words == nil && (f.Names != nil || f.JSONType() == "array of strings") {
			t.Errorf("%s: no words", f.Name)
		}
		doc := f.JSONDoc()
		if doc == "" || (words != nil && strings.Contains(doc, "a sum:")) || strings.Contains(doc, "error number") {
			t.Errorf("%s: %q", f.Name, doc)
		}
	}
	for _, w := range MarkNames(math.MaxUint16) {
		if f, _ := FieldByName("mark"); !strings.Contains(f.JSONDoc(), w+": ") {
			t.Errorf("%s is not explained", w)
		}
	}
}

// set puts a number into a field.
func set(e *Event, f *Field, n int64) {
	p := unsafe.Add(unsafe.Pointer(e), f.at)
	switch f.size {
	case 1:
		*(*uint8)(p) = uint8(n)
	case 2:
		*(*uint16)(p) = uint16(n)
	default:
		panic(f.Name)
	}
}
