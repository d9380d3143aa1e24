package format

// This file says where each column of a repeat comes from.

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"unsafe"
)

const (
	maxFields = 64 // of Fields, a power of two
	fieldMask = maxFields - 1
	maxKeyed  = 8 // of plans.keyed, a power of two
	keyedMask = maxKeyed - 1
)

// A place is where a blockEncoder keeps what belongs to a field.
type place uint8

// The places of the fields that the code names; the others have those behind them.
const (
	atKind place = iota
	atErrno
	atCPU
	atHook
	atSeq
	atTID
	atBootNS
	atRet
	atBacklog
	atInode
	atCookie
	atRAddr
	atRPort
	atOldState
	atSockErr
	atSynQueue
	atHandshake
	numRepeated // a repeat tells of those before, and of all fields of keyedClosed

	atMark place = iota - 1
	atLPort
	atRName
	numNamed
)

var named = [numNamed]string{
	atKind: "kind", atErrno: "errno", atCPU: "cpu", atHook: "hook", atSeq: "cpu_seq", atTID: "tid", atBootNS: "boot_ns",
	atRet:     "ret",
	atBacklog: "backlog", atInode: "inode", atCookie: "cookie", atRAddr: "raddr", atRPort: "rport",
	atOldState: "old_state",
	atSockErr:  "sock_err", atSynQueue: "syn_queue", atHandshake: "handshake_us",
	atMark: "mark", atLPort: "lport", atRName: "rname",
}

// The places in plans.keyed that the code names.
const (
	keyedCPU = iota
	keyedProbe
	keyedConn
	keyedState
	keyedClosed
	keyedQueue
	keyedQueued

	numPeer = 2 // fields of keyedConn
)

// plans are what a blockEncoder has to do for an event of each class.
type plans struct {
	of     [numClasses]classPlan
	keyed  []group
	at     [maxFields]place // of each of Fields
	fields [maxFields]*Field
	inWord [len(eventWords{})]uint64 // fields that have a part in a word of an event
	// fields of which equal words say nothing: texts lie elsewhere, repeats change values alone
	always   uint64
	repeated uint64       // fields that repeats tell of
	closed   []lifeMember // the fields of keyedClosed
}

// A lifeMember is where a field is in a LifeRow; size 0: it is as in the event before.
type lifeMember struct {
	place
	at, size uintptr
}

// inLife finds the member of a LifeRow that has the name of the field's member of Event.
func (f *Field) inLife(at place) lifeMember {
	event := reflect.TypeFor[Event]()
	for i := range event.NumField() {
		if m := event.Field(i); m.Offset == f.at && f.size > 0 {
			if l, ok := reflect.TypeFor[LifeRow]().FieldByName(m.Name); ok {
				return lifeMember{at, l.Offset, l.Type.Size()}
			}
		}
	}
	return lifeMember{place: at}
}

// A classPlan lists the fields of a class of events by what they are the difference to. Sets of
// fields have the bits 1<<place.
type classPlan struct {
	sets  []onSet
	has   uint64
	task  uint64             // to the last event of the task
	read  [numReads][]member // those whose key is not that
	plain []place            // of those, to nothing
	prev  []place            // to the row before
	keyed []uint8            // places in plans.keyed of the rest
}

// A member is where a field is in an Event.
type member struct {
	place
	at uintptr
}

// The ways to read a field.
const (
	readByte = iota
	readHalf
	readWord
	readSigned
	readLong
	readText
	readAddr
	numReads
)

// way is how a field is read; numReads if it is no member of Event.
func (f *Field) way() int {
	switch {
	case f.size == 0:
		return numReads
	case f.Type == String:
		return readText
	case f.Type == Addr:
		return readAddr
	case f.size == 1:
		return readByte
	case f.size == 2:
		return readHalf
	case f.size == 4 && f.sign:
		return readSigned
	case f.size == 4:
		return readWord
	}
	return readLong
}

// eventWords is an Event, to be compared.
type eventWords [unsafe.Sizeof(Event{}) / 8]uint64

// A group is the fields that have a condition and a key in common that is neither the task nor the
// row before.
type group struct {
	key    keyKind
	on     onSet
	fields []place
}

var encoding = makePlans()

func makePlans() *plans {
	p := &plans{repeated: 1<<numRepeated - 1}
	p.place()
	// in the order of keyedCPU ...
	for _, at := range []place{atTID, atSeq, atRAddr, atOldState, atSockErr, atSynQueue, atHandshake} {
		p.group(p.fields[at])
	}
	for i := range Fields {
		f, at := &Fields[i], p.at[i]
		for byte := f.at; byte < f.at+f.size; byte++ {
			p.inWord[byte/8] |= 1 << at
		}
		if f.Type == String {
			p.always |= 1 << at
		}
		in := -1
		if f.key != byPlain && f.key != byTask && f.key != byPrev {
			in = p.group(f)
			p.keyed[in].fields = append(p.keyed[in].fields, at)
		}
		for class := range p.of {
			if onMasks[f.on]>>class&1 != 0 {
				p.of[class].add(f, at, in)
			}
		}
	}
	if len(p.keyed[keyedConn].fields) != numPeer {
		panic("format: repeats do not cover all fields")
	}
	for _, at := range p.keyed[keyedClosed].fields {
		p.repeated |= 1 << at
		p.closed = append(p.closed, p.fields[at].inLife(at))
	}
	p.always |= p.repeated
	for class := range p.of {
		for on, mask := range onMasks {
			if mask>>class&1 != 0 {
				p.of[class].sets = append(p.of[class].sets, onSet(on))
			}
		}
	}
	return p
}

// place gives each field its place.
func (p *plans) place() {
	if len(Fields) > maxFields {
		panic(fmt.Sprintf("format: %d fields, more than %d", len(Fields), maxFields))
	}
	next := numNamed
	for i := range Fields {
		at := place(slices.Index(named[:], Fields[i].Name))
		if at >= numNamed { // -1
			at = next
			next++
		}
		p.at[i], p.fields[at] = at, &Fields[i]
	}
}

// group gives the place of a field's group.
func (p *plans) group(f *Field) int {
	for i := range p.keyed {
		if g := &p.keyed[i]; g.key == f.key && g.on == f.on {
			return i
		}
	}
	if p.keyed = append(p.keyed, group{key: f.key, on: f.on}); len(p.keyed) > maxKeyed {
		panic("format: too many kinds of keys")
	}
	return len(p.keyed) - 1
}

// add adds a field of the class. in: the place of its group, -1 without.
func (p *classPlan) add(f *Field, at place, in int) {
	p.has |= 1 << at
	if f.key == byTask {
		p.task |= 1 << at
		return
	}
	if way := f.way(); way < numReads {
		p.read[way] = append(p.read[way], member{at, f.at})
	}
	switch {
	case f.key == byPlain:
		p.plain = append(p.plain, at)
	case f.key == byPrev:
		p.prev = append(p.prev, at)
	case !slices.Contains(p.keyed, uint8(in)):
		p.keyed = append(p.keyed, uint8(in))
	}
}

// values are those of an event's fields, by their places; of texts and addresses
// the numbers in the column's dictionary.
type values [maxFields]int64

// of gives the value of a field.
func (v *values) of(f place) int64 { return v[f&fieldMask] }

// key packs what the row's key consists of into two words.
func (v *values) key(k keyKind) (a, b uint64) {
	switch k {
	case byConn:
		return uint64(v.of(atErrno)), uint64(v.of(atCookie))
	case byPort:
		return uint64(v.of(atLPort)), 0
	case byCPU:
		return uint64(v.of(atCPU)), 0
	case byProbe:
		return uint64(v.of(atCPU)), uint64(v.of(atHook)<<8 | v.of(atKind))
	}
	return 0, 0
}

// read fills in the values of the event's fields whose key is not the task.
func (c *blockEncoder) read(v *values, p *classPlan, e *Event) {
	at := unsafe.Pointer(e)
	for _, m := range p.read[readByte] {
		v[m.place&fieldMask] = int64(*(*uint8)(unsafe.Add(at, m.at)))
	}
	for _, m := range p.read[readHalf] {
		v[m.place&fieldMask] = int64(*(*uint16)(unsafe.Add(at, m.at)))
	}
	for _, m := range p.read[readWord] {
		v[m.place&fieldMask] = int64(*(*uint32)(unsafe.Add(at, m.at)))
	}
	for _, m := range p.read[readSigned] {
		v[m.place&fieldMask] = int64(*(*int32)(unsafe.Add(at, m.at)))
	}
	for _, m := range p.read[readLong] {
		v[m.place&fieldMask] = *(*int64)(unsafe.Add(at, m.at))
	}
	for _, m := range p.read[readText] {
		v[m.place&fieldMask] = c.texts[m.place&fieldMask].number(*(*string)(unsafe.Add(at, m.at)))
	}
	for _, m := range p.read[readAddr] {
		v[m.place&fieldMask] = c.addrs[m.place&fieldMask].number(*(*netip.Addr)(unsafe.Add(at, m.at)))
	}
	v[atErrno] = int64(e.Errno())
}

// value gives an event's value of a field.
func (c *blockEncoder) value(at place, e *Event) int64 {
	f := encoding.fields[at&fieldMask]
	switch p := unsafe.Add(unsafe.Pointer(e), f.at); f.Type {
	case String:
		return c.texts[at&fieldMask].number(*(*string)(p))
	case Addr:
		return c.addrs[at&fieldMask].number(*(*netip.Addr)(p))
	}
	return f.Int(e)
}

// taskKey is the key of the fields that are the difference to the last event of the task.
func taskKey(e *Event) (a, b uint64) {
	return uint64(e.TID), uint64(uint32(e.Errno()))<<8 | uint64(e.Kind)
}
