//go:build linux && (amd64 || arm64)

package capture

// This file recognises events that are like the one before of their task, of which only the rest is converted.

import (
	"unsafe"

	"github.com/acc-project/acc/bpf"
	"github.com/acc-project/acc/format"
)

// repeats knows, of the tasks that had events last, the last record of each kind.
// A task mostly does what it did last: then the new event is a copy of that, but
// for the few things that differ.
type repeats [1 << 8]repeat

type repeat struct {
	raw     bpf.AccEvent
	row     format.Row // its event
	version uint32     // of processes, then
}

// What mostly stays the same, the end of a record.
const (
	eventFrom = unsafe.Offsetof(bpf.AccEvent{}.Facts) + unsafe.Offsetof(bpf.AccEvent{}.Facts.Listener)
	lifeFrom  = unsafe.Offsetof(bpf.AccLifeEvent{}.BacklogMax)
)

type (
	steadyEvent [unsafe.Sizeof(bpf.AccEvent{}) - eventFrom]byte
	steadyLife  [(unsafe.Sizeof(bpf.AccLifeEvent{}) - lifeFrom) / 8]uint64
)

// Words compare all of a life: a byte that is left over does not compile.
const _ = -((unsafe.Sizeof(bpf.AccLifeEvent{}) | lifeFrom) % 8)

func steadyOf(raw *bpf.AccEvent) *steadyEvent {
	return (*steadyEvent)(unsafe.Add(unsafe.Pointer(raw), eventFrom))
}

// of gives the place for records of the task and kind of raw.
func (r *repeats) of(raw *bpf.AccEvent) *repeat {
	return &r[(raw.Tid*4+uint32(raw.Kind)*2+uint32(raw.Ret)>>31)%uint32(len(r))]
}

// again reports whether raw is what the task did last.
func (r *repeat) again(raw *bpf.AccEvent) bool {
	return *steadyOf(raw) == *steadyOf(&r.raw) && (raw.Ret == r.raw.Ret || raw.Ret >= 0 && r.raw.Ret >= 0) &&
		raw.Mark == 0 && inet(raw) &&
		raw.Kind < uint8(format.Listen)
}

func inet(raw *bpf.AccEvent) bool {
	return raw.Facts.Inner == 0 && (raw.Facts.Family == uint16(format.FamilyIPv4) ||
		raw.Facts.Family == uint16(format.FamilyIPv6))
}

// lives knows, of the ports that had events last, what was the same in the last one of each kind.
type lives [1 << 6]struct {
	steadyLife
	row format.Row
}

// of gives the place for events of the port and kind of raw.
func (l *lives) of(raw *bpf.AccLifeEvent) (last *steadyLife, row *format.Row) {
	at := &l[(uint32(raw.Lport)*4+uint32(raw.Kind))%uint32(len(l))]
	return &at.steadyLife, &at.row
}

func lifeOf(raw *bpf.AccLifeEvent) *steadyLife {
	return (*steadyLife)(unsafe.Add(unsafe.Pointer(raw), lifeFrom))
}

// equal is ==, mostly without the call that compiles to.
func (l *steadyLife) equal(o *steadyLife) bool {
	differ := (l[0] ^ o[0]) | (l[1] ^ o[1]) | (l[2] ^ o[2]) | (l[3] ^ o[3]) | (l[4] ^ o[4]) | (l[5] ^ o[5])
	return differ == 0 && (len(l) == 6 || *l == *o) // a constant, as long as no field comes to it
}

// again reports whether raw is of the same.
func (l *steadyLife) again(raw *bpf.AccLifeEvent) bool {
	return l.equal(lifeOf(raw)) && raw.Mark == 0 && (raw.Kind == uint8(format.Queued) || raw.Kind == uint8(format.Closed))
}
