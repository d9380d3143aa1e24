//go:build linux && (amd64 || arm64)

package capture

import (
	"encoding/binary"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/acc-project/acc/bpf"
	"github.com/acc-project/acc/format"
)

// has reports whether a record's type has a leaf of an event's name.
func has(record reflect.Type, name string) bool {
	return slices.ContainsFunc(leavesOf(record), func(l leaf) bool {
		return strings.EqualFold(l.name[strings.LastIndexByte(l.name, '.')+1:], name)
	})
}

// A leaf is a member of a record that has no members of its own.
type leaf struct {
	name     string // with those that it is in: Facts.Laddr
	at, size uintptr
}

// leavesOf lists the leaves of a record's type.
func leavesOf(typ reflect.Type) (list []leaf) {
	for i := range typ.NumField() {
		m := typ.Field(i)
		switch {
		case m.Name == "_" || m.Name == "Unused" || m.Name == "Spare":
		case m.Type.Kind() == reflect.Struct:
			for _, l := range leavesOf(m.Type) {
				list = append(list, leaf{m.Name + "." + l.name, m.Offset + l.at, l.size})
			}
		default:
			list = append(list, leaf{m.Name, m.Offset, m.Type.Size()})
		}
	}
	return list
}

func bytesOf[T any](raw *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(raw)), unsafe.Sizeof(*raw))
}

// arrives fails for each byte of a record's leaves that changes the event of none of some records. narrow:
// leaves of which fewer bytes matter.
func arrives[T any](t *testing.T, like []T, narrow map[string]uintptr, convert func(raw *T) format.Event) {
	t.Helper()
	for _, l := range leavesOf(reflect.TypeFor[T]()) {
		n := l.size
		if few, ok := narrow[l.name]; ok {
			n = few
		}
		for byte := l.at; byte < l.at+n; byte++ {
			changes := slices.ContainsFunc(like, func(raw T) bool {
				before := convert(&raw)
				for _, to := range []uint8{0, bytesOf(&raw)[byte] ^ 0x7f} { // flags are zero or not
					changed := raw
					bytesOf(&changed)[byte] = to
					if convert(&changed) != before {
						return true
					}
				}
				return false
			})
			if !changes {
				t.Errorf("byte %d of %s does not reach the event", byte-l.at, l.name)
			}
		}
	}
}

// Every byte of what a probe writes reaches the event, but what only the recorder uses. The event of an
// IPv6 success has all that its kind can have.
func TestConvertArrives(t *testing.T) {
	var raw bpf.AccEvent
	for i, b := range bytesOf(&raw) {
		bytesOf(&raw)[i] = b + byte(i%100+1)
	}
	raw.Kind, raw.Facts.Family, raw.Facts.Inner, raw.Ret = uint8(format.Return), uint16(format.FamilyIPv6), 0, 7
	raw.Mark, raw.Told.Family = format.MarkAddrDiffers, uint16(format.FamilyIPv6)
	raw.Comm = [16]int8{'a', 'b', 0, 'x'} // what stands behind the end is not the name's
	var n names
	made := func(raw *bpf.AccEvent) (e format.Event) {
		convert(&e, raw, &n)
		return e
	}
	e := made(&raw)
	v := reflect.ValueOf(e)
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		others := !has(reflect.TypeFor[bpf.AccEvent](), name) && !strings.HasPrefix(name, "Told") && name != "TaskNetNS" ||
			name == "PeerPID" || name == "PeerUID" // of other families
		if set := !v.Field(i).IsZero(); set == others {
			t.Errorf("%s is set: %v", name, set)
		}
	}
	if e.Comm != "ab" || e.LPort != raw.Facts.Lport || e.Cookie != raw.Facts.Cookie {
		t.Errorf("converted to %+v", e)
	}
	raw.Comm = [16]int8{'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', 0}
	local, inner := raw, raw
	local.Facts.Family = uint16(format.FamilyUnix)
	inner.Facts.Family, inner.Facts.Inner = uint16(format.FamilySMC), uint16(format.FamilyIPv6)
	arrives(t, []bpf.AccEvent{raw, local, inner}, map[string]uintptr{"StartNs": 0, "Facts.Type": 1, "Facts.State": 1, "UringEnd": 1}, made)
}

// Every byte of an event of a connection's life reaches the event.
func TestConvertLifeArrives(t *testing.T) {
	var raw bpf.AccLifeEvent
	for i := range bytesOf(&raw) {
		bytesOf(&raw)[i] = byte(i%100 + 1)
	}
	raw.Family = uint16(format.FamilyIPv6)
	made := func(raw *bpf.AccLifeEvent) (e format.Event) {
		convertLife(&e, raw)
		return e
	}
	v := reflect.ValueOf(made(&raw))
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if set := !v.Field(i).IsZero(); set != has(reflect.TypeFor[bpf.AccLifeEvent](), name) {
			t.Errorf("%s is set: %v", name, set)
		}
	}
	arrives(t, []bpf.AccLifeEvent{raw}, map[string]uintptr{"Type": 1}, made)
}

// The rows that the writer takes are the records, from their beginning.
func TestRows(t *testing.T) {
	for row, raw := range map[reflect.Type]reflect.Type{
		reflect.TypeFor[format.LifeRow](): reflect.TypeFor[bpf.AccLifeEvent](),
		reflect.TypeFor[format.CallRow](): reflect.TypeFor[bpf.AccSameCall](),
	} {
		for i, to := range leavesOf(row) {
			if from := leavesOf(raw)[i]; !strings.EqualFold(to.name, from.name) || to.at != from.at || to.size != from.size {
				t.Errorf("%s: %s at %d, %s at %d in C", row, to.name, to.at, from.name, from.at)
			}
		}
	}
	if size := unsafe.Sizeof(format.LifeRow{}); size != lifeFrom {
		t.Errorf("a LifeRow has %d bytes, what varies %d", size, lifeFrom)
	}
}

// The size of a record tells which kind it is of.
func TestRecordSizes(t *testing.T) {
	sizes := map[uintptr]bool{
		unsafe.Sizeof(bpf.AccLifeEvent{}): true, unsafe.Sizeof(bpf.AccEvent{}): true, unsafe.Sizeof(bpf.AccNamedEvent{}): true,
		unsafe.Sizeof(bpf.AccProcess{}): true, unsafe.Sizeof(bpf.AccCall{}): true,
		unsafe.Sizeof(bpf.AccSameCall{}): true,
	}
	if len(sizes) != 6 {
		t.Error("two kinds of records have one size")
	}
}

// Families without IP addresses, or with another family's.
func TestConvertFamilies(t *testing.T) {
	var n names
	event := func(family, inner format.Family) (e format.Event) {
		raw := bpf.AccEvent{Kind: uint8(format.Return), Ret: 5}
		f := &raw.Facts
		f.Family, f.Inner, f.PeerPid, f.PeerUid, f.Lport, f.Rport = uint16(family), uint16(inner), 42, 33, 80, 4242
		binary.NativeEndian.PutUint32(f.Laddr[:], 1<<32-1)
		binary.NativeEndian.PutUint32(f.Laddr[4:], 1024)
		binary.NativeEndian.PutUint32(f.Raddr[:], 2)
		binary.NativeEndian.PutUint32(f.Raddr[4:], 1<<31)
		convert(&e, &raw, &n)
		return e
	}
	if e := event(format.FamilyVSock, 0); e.LName != "*:1024" || e.RName != "2:2147483648" || e.LPort != 0 || e.RAddr.IsValid() {
		t.Errorf("vsock: %+v", e)
	}
	if e := event(format.FamilyUnix, 0); e.PeerPID != 42 || e.PeerUID != 33 || e.RName != "" || e.LAddr.IsValid() {
		t.Errorf("unix: %+v", e)
	}
	if e := event(format.FamilySMC, format.FamilyIPv4); !e.RAddr.Is4() || e.RPort != 4242 || e.Family != format.FamilySMC {
		t.Errorf("smc: %+v", e)
	}
	named := bpf.AccNamedEvent{}
	named.Name.Len = 5
	copy(named.Name.Path[:], "\x00abc\x00junk")
	if got := unixName(&named); got != "@abc\x00" {
		t.Errorf("an abstract name is %q", got)
	}
	copy(named.Name.Path[:], "/run/")
	if got := unixName(&named); got != "/run/" {
		t.Errorf("a path is %q", got)
	}
}

// Allocation would be paid for by the recorded host.
func TestConvertAllocatesNothing(t *testing.T) {
	var raw bpf.AccEvent
	raw.Comm = [16]int8{'n', 'g', 'i', 'n', 'x'}
	var n names
	var e format.Event
	convert(&e, &raw, &n)
	if got := testing.AllocsPerRun(100, func() { convert(&e, &raw, &n) }); got != 0 {
		t.Errorf("%v allocations an event", got)
	}
}
