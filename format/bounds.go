package format

// This file bounds what records may hold. No recorder writes more, and what readers keep of a capture has its bounds by
// these: where they count records, they bound bytes, too.

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
)

const (
	maxOther    = 8 << 20   // bytes of the records of a frame, but its block
	maxElements = 1 << 17   // elements of the lists and maps in them, but numbers
	maxMember   = 16 << 10  // bytes of a text in a record
	maxListed   = 256       // elements of a list in a record of watch or stack
	maxComm     = 64        // bytes of the name of a thread
	maxIP       = 64        // bytes of an address that is text
	maxSockName = 512       // bytes of the name of a socket
	maxFunction = 1024      // bytes of the name of a function
	maxCounter  = 128       // bytes of the name of a counter or a setting
	anyLength   = maxRecord // as long as the record may be
)

// textBounds are the bounds of texts by the names of their members. Others have maxMember.
var textBounds = map[string]int{
	"comm": maxComm, "laddr": maxIP, "raddr": maxIP, "lname": maxSockName, "rname": maxSockName, "func": maxFunction,
	"values": maxCounter, "settings": maxCounter,
}

var (
	errText     = errors.New("a text is longer than any that is recorded")
	errElements = errors.New("more elements of lists than are recorded")
)

// bounds are those of one record.
type bounds struct {
	text int // bytes of a text whose member has no bound of its own
	list int // elements of a list; 0: as many as there are left
	left *int
}

// boundsOf are the bounds of a record by its tag. Left is how many elements the frame may still have. Header and END,
// of which a capture has one each, have texts of any length.
func boundsOf(tag string, left *int) bounds {
	b := bounds{text: maxMember, left: left}
	switch tag {
	case "header", "end":
		b.text = anyLength
	case "watch", "stack":
		b.list = maxListed
	}
	return b
}

// of are the bounds of a member.
func (b bounds) of(member []byte) bounds {
	if most, ok := textBounds[string(member)]; ok && b.text != anyLength {
		b.text = most
	}
	return b
}

// most is how long a text of the field may be.
func (f *Field) most() int {
	if most, ok := textBounds[f.Name]; ok {
		return most
	}
	return maxMember
}

// elements books those of a list or a map.
func (b bounds) elements(n int, t reflect.Type) error {
	if e := reflect.Zero(t.Elem()); t.Kind() == reflect.Slice && (e.CanInt() || e.CanUint()) {
		return nil // they take no more memory than they have in the file
	}
	if *b.left -= n; *b.left < 0 || b.list > 0 && n > b.list {
		return errElements
	}
	return nil
}

// cut gives a copy of a value with texts and lists that are no longer than they may be. Maps stay as they are.
func (b bounds) cut(v reflect.Value) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	out.Set(v)
	switch v.Kind() {
	case reflect.String:
		out.SetString(v.String()[:min(v.Len(), b.text)])
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				name, _, _ := strings.Cut(f.Tag.Get("msgpack"), ",")
				out.Field(i).Set(b.of([]byte(name)).cut(v.Field(i)))
			}
		}
	case reflect.Slice:
		n := v.Len()
		if b.list > 0 {
			n = min(n, b.list)
		}
		if v.IsNil() {
			break
		}
		out.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			out.Index(i).Set(b.cut(v.Index(i)))
		}
	}
	return out
}

// shown is the beginning of a name of a file, for an error that is kept.
func shown(name []byte) string { return fmt.Sprintf("%q", name[:min(len(name), 64)]) }

// A Room bounds the memory of the records that a reader keeps of a capture. It is for one goroutine.
type Room struct {
	Max  int  // bytes
	Full bool // there was no room for a record
	used int
}

// Takes reports whether there is room for the record that v points to, and books it.
func (r *Room) Takes(v any) bool {
	n := MemoryOf(v)
	if r.used+n > r.Max {
		r.Full = true
		return false
	}
	r.used += n
	return true
}

// Gives gives back the room of a record that Takes had room for, and that is as it was then.
func (r *Room) Gives(v any) { r.used -= MemoryOf(v) }

// MemoryOf is about how much memory the record that v points to takes, with all that it refers to, where it stands in a
// map or a list.
func MemoryOf(v any) int { return 64 + memoryOf(reflect.ValueOf(v).Elem()) }

func memoryOf(v reflect.Value) int {
	n := int(v.Type().Size())
	switch v.Kind() {
	case reflect.String:
		return n + v.Len()
	case reflect.Struct:
		for i := range v.NumField() {
			n += memoryOf(v.Field(i)) - int(v.Field(i).Type().Size())
		}
	case reflect.Slice:
		for i := range v.Len() {
			n += memoryOf(v.Index(i))
		}
	case reflect.Map:
		for i := v.MapRange(); i.Next(); {
			n += 2 * (memoryOf(i.Key()) + memoryOf(i.Value()))
		}
	}
	return n
}
