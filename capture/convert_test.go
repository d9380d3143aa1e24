//go:build linux && (amd64 || arm64)

package capture

import (
	"reflect"
	"testing"
	"unsafe"

	"github.com/acc-project/acc/bpf"
	"github.com/acc-project/acc/format"
)

// Every member of what a probe writes reaches the event, but those that only the
// recorder uses: an event of an IPv6 success, all other bytes different from zero.
func TestConvertArrives(t *testing.T) {
	var raw bpf.AccEvent
	b := unsafe.Slice((*byte)(unsafe.Pointer(&raw)), unsafe.Sizeof(raw))
	for i := range b {
		b[i] = byte(i%100 + 1)
	}
	raw.Kind, raw.Facts.Family, raw.Ret = uint8(format.Return), uint16(format.FamilyIPv6), 7
	raw.Comm = [16]int8{'a', 'b', 0, 'x'} // what stands behind the end is not the name's
	var n names
	var e format.Event
	convert(&e, &raw, &n)
	v := reflect.ValueOf(e)
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if set := !v.Field(i).IsZero(); set == (name == "Seq" || name == "Proc") {
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
