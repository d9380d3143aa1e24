package format

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
)

// plainColumns makes the columns of events by the words of docs/FORMAT.md, slowly.
func plainColumns(events []Event) []byte {
	b := appendArrayLen(nil, len(Fields))
	for i := range Fields {
		b = append(b, plainColumn(events, &Fields[i])...)
	}
	return b
}

func plainColumn(events []Event, f *Field) (b []byte) {
	member := func(name string, e *Event) string {
		f, _ := FieldByName(name)
		if !f.applies(e) {
			return "0"
		}
		return fmt.Sprint(f.Int(e))
	}
	var texts []string
	var nums []int64
	seen, last := map[string]int64{}, int64(0)
	for at := range events {
		e := &events[at]
		if !f.applies(e) {
			continue
		}
		v := f.Int(e)
		if f.Type == String || f.Type == Addr {
			word := f.bytes(e)
			v = -1
			for n, known := range texts {
				if known == word {
					v = int64(n)
				}
			}
			if v < 0 {
				v = int64(len(texts))
				texts = append(texts, word)
			}
		}
		key := "\x00"
		for _, name := range f.Key {
			key += member(name, e) + " "
		}
		before, ok := seen[key]
		if !ok {
			before = last
		}
		if f.Key == nil {
			before = 0
		}
		nums = append(nums, v-before)
		seen[key], last = v, v
	}
	if f.Type == String || f.Type == Addr {
		b = appendArrayLen(appendArrayLen(b, 2), len(texts))
		for _, s := range texts {
			b = append(appendBinLen(b, len(s)), s...)
		}
	}
	return appendColumn(b, nums, statsOf(nums), nil)
}

// bytes is what the dictionary of a field has for an event.
func (f *Field) bytes(e *Event) string {
	switch f.Name {
	case "comm":
		return e.Comm
	case "lname":
		return e.LName
	case "rname":
		return e.RName
	}
	addr := map[string]netip.Addr{"laddr": e.LAddr, "raddr": e.RAddr, "told_addr": e.ToldAddr}[f.Name]
	return string(addr.AsSlice())
}

// A block is what docs/FORMAT.md says that it is.
func TestBlockIsAsSpecified(t *testing.T) {
	for name, events := range map[string][]Event{"sample": sample(3000, 9), "odd": odd(), "one": sample(1, 1)} {
		if got, want := encode(events).append(nil), plainColumns(events); !bytes.Equal(got, want) {
			t.Errorf("%s: the columns differ from those that the specification gives, of %d and %d bytes", name, len(got), len(want))
		}
	}
}
