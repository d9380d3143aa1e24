//go:build linux && (amd64 || arm64)

package capture

import (
	"encoding/binary"
	"reflect"
	"slices"
	"testing"
	"unsafe"

	"github.com/acc-project/acc/bpf"
	"github.com/acc-project/acc/format"
)

// lifeOnly are the members of an event that only the life of a connection has.
var lifeOnly = map[string]bool{
	"OldState": true, "SockErr": true, "Shutdown": true, "SynQueue": true, "HandshakeUS": true, "BytesIn": true, "BytesOut": true,
	"SegsIn": true, "SegsOut": true, "Retransmits": true, "SRTTUS": true, "MinRTTUS": true,
}

// Every member of what a probe writes reaches the event, but those that only the
// recorder uses: an event of an IPv6 success, all other bytes different from zero.
func TestConvertArrives(t *testing.T) {
	var raw bpf.AccEvent
	b := unsafe.Slice((*byte)(unsafe.Pointer(&raw)), unsafe.Sizeof(raw))
	for i := range b {
		b[i] = byte(i%100 + 1)
	}
	raw.Kind, raw.Facts.Family, raw.Facts.Inner, raw.Ret = uint8(format.Return), uint16(format.FamilyIPv6), 0, 7
	raw.Mark, raw.Told.Family = format.MarkAddrDiffers, uint16(format.FamilyIPv6)
	raw.Comm = [16]int8{'a', 'b', 0, 'x'} // what stands behind the end is not the name's
	var n names
	var e format.Event
	convert(&e, &raw, &n)
	v := reflect.ValueOf(e)
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		others := lifeOnly[name] || name == "Seq" || name == "Proc" || name == "LName" || name == "RName" || name == "PeerPID" || name == "PeerUID"
		if set := !v.Field(i).IsZero(); set == others {
			t.Errorf("%s is set: %v", name, set)
		}
	}
	if e.Comm != "ab" || e.LPort != raw.Facts.Lport || e.Cookie != raw.Facts.Cookie {
		t.Errorf("converted to %+v", e)
	}
	// Each member changes the event that it belongs to.
	typ := reflect.TypeFor[bpf.AccEvent]()
	for i := range typ.NumField() {
		m := typ.Field(i)
		if m.Name == "_" || m.Name == "Unused" || m.Name == "StartNs" || m.Name == "Facts" || m.Name == "Kind" {
			continue // StartNs is for the process's record
		}
		changed := raw
		unsafe.Slice((*byte)(unsafe.Pointer(&changed)), unsafe.Sizeof(raw))[m.Offset] ^= 0x7f
		if m.Name == "HasAddr" || m.Name == "HasAddrlen" {
			unsafe.Slice((*byte)(unsafe.Pointer(&changed)), unsafe.Sizeof(raw))[m.Offset] = 0
		}
		var other format.Event
		convert(&other, &changed, &n)
		if other == e {
			t.Errorf("%s does not reach the event", m.Name)
		}
	}
}

// Every member of an event of a connection's life reaches the event.
func TestConvertLifeArrives(t *testing.T) {
	var raw bpf.AccLifeEvent
	b := unsafe.Slice((*byte)(unsafe.Pointer(&raw)), unsafe.Sizeof(raw))
	for i := range b {
		b[i] = byte(i%100 + 1)
	}
	raw.Family = uint16(format.FamilyIPv6)
	var e format.Event
	convertLife(&e, &raw)
	v := reflect.ValueOf(e)
	shared := []string{
		"BootNS", "Kind", "Hook", "Mark", "CPU", "CPUSeq", "NetNS", "Listener", "Backlog", "BacklogMax", "Family", "Type", "Proto", "State",
		"LAddr", "LPort", "RAddr", "RPort", "Inode", "Cookie",
	}
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if set := !v.Field(i).IsZero(); set != (lifeOnly[name] || slices.Contains(shared, name)) {
			t.Errorf("%s is set: %v", name, set)
		}
	}
	typ := reflect.TypeFor[bpf.AccLifeEvent]()
	for i := range typ.NumField() {
		m := typ.Field(i)
		if m.Name == "_" || m.Name == "Unused" {
			continue
		}
		changed := raw
		unsafe.Slice((*byte)(unsafe.Pointer(&changed)), unsafe.Sizeof(raw))[m.Offset] ^= 0x7f
		var other format.Event
		convertLife(&other, &changed)
		if other == e {
			t.Errorf("%s does not reach the event", m.Name)
		}
	}
	sizes := map[uintptr]bool{
		unsafe.Sizeof(raw): true, unsafe.Sizeof(bpf.AccEvent{}): true, unsafe.Sizeof(bpf.AccNamedEvent{}): true, unsafe.Sizeof(bpf.AccProcess{}): true,
	}
	if len(sizes) != 4 {
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
