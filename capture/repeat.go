//go:build linux && (amd64 || arm64)

package capture

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

// The parts of a record that mostly stay the same.
var (
	steadyEvent = part{unsafe.Offsetof(bpf.AccEvent{}.Cgroup), unsafe.Offsetof(bpf.AccEvent{}.Facts)}
	steadyFacts = part{unsafe.Offsetof(bpf.AccEvent{}.Facts) + unsafe.Offsetof(bpf.AccEvent{}.Facts.Lport), unsafe.Sizeof(bpf.AccEvent{})}
)

type part struct{ from, to uintptr }

func (p part) of(raw *bpf.AccEvent) string {
	return unsafe.String((*byte)(unsafe.Add(unsafe.Pointer(raw), p.from)), p.to-p.from)
}

// of gives the place for records of the task and kind of raw.
func (r *repeats) of(raw *bpf.AccEvent) *repeat {
	return &r[(raw.Tid*4+uint32(raw.Kind)*2+uint32(raw.Ret)>>31)%uint32(len(r))]
}

// again reports whether raw is what the task did last.
func (r *repeat) again(raw *bpf.AccEvent) bool {
	return (raw.Ret == r.raw.Ret || raw.Ret >= 0 && r.raw.Ret >= 0) && raw.Mark == 0 && inet(raw) &&
		steadyEvent.of(raw) == steadyEvent.of(&r.raw) && steadyFacts.of(raw) == steadyFacts.of(&r.raw)
}

func inet(raw *bpf.AccEvent) bool {
	return raw.Facts.Family == uint16(format.FamilyIPv4) || raw.Facts.Family == uint16(format.FamilyIPv6)
}

// update sets what may differ from the event that e is a copy of, as convert does.
func update(e *format.Event, raw *bpf.AccEvent) {
	f := &raw.Facts
	e.BootNS, e.CPU, e.CPUSeq, e.Ret, e.Backlog = int64(raw.BootNs), raw.Cpu, raw.CpuSeq, raw.Ret, f.Backlog
	if e.Accepted() {
		e.Inode, e.Cookie, e.RPort = f.Inode, f.Cookie, f.Rport
		e.RAddr = address(e.Family, &f.Raddr)
	}
}
