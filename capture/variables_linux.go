//go:build amd64 || arm64

package capture

// This file makes variables of the maps that programs find without a look-up, and reads what CPUs have in one.

import (
	"fmt"
	"math/bits"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/bpf"
)

// makeVariables makes variables of the maps that VARIABLE in the programs declares: where programs name one,
// they get the address of its one element.
func makeVariables(spec *ebpf.CollectionSpec) error {
	for _, p := range spec.Programs {
		for i := range p.Instructions {
			ins := &p.Instructions[i]
			if m := spec.Maps[ins.Reference()]; ins.IsLoadFromMap() && m != nil && isVariable(m) {
				ins.Src = asm.PseudoMapValue
			}
		}
	}
	possible, err := ebpf.PossibleCPU()
	if err != nil {
		return fmt.Errorf("set up the programs: %w", err)
	}
	n := roomForCPUs(possible)
	if err := spec.Variables["cpu_mask"].Set(n - 1); err != nil {
		return fmt.Errorf("set up the programs: %w", err)
	}
	cpus := spec.Maps["cpus"]
	cpus.ValueSize *= n
	cpus.Key, cpus.Value = nil, nil // types of one CPU
	return nil
}

// roomForCPUs is a number of CPUs up to the next power of two, so that programs need but a mask to stay within it.
func roomForCPUs(possible int) uint32 { return 1 << bits.Len32(uint32(possible-1)) }

func isVariable(m *ebpf.MapSpec) bool {
	return m.Type == ebpf.Array && m.MaxEntries == 1 && m.Flags&unix.BPF_F_MMAPABLE != 0
}

// mapVariable maps such a map, to be read.
func mapVariable(m *ebpf.Map) ([]byte, error) {
	mem, err := unix.Mmap(m.FD(), 0, int(m.ValueSize()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map a variable of the programs: %w", err)
	}
	return mem, nil
}

func unmapVariable(mem *[]byte) {
	if *mem != nil {
		_ = unix.Munmap(*mem)
		*mem = nil
	}
}

// perCPU reads what each CPU that there can be has of its own, each number at once.
func (a *attached) perCPU() ([]bpf.AccPerCpu, error) {
	possible, err := ebpf.PossibleCPU()
	if err != nil {
		return nil, fmt.Errorf("read counters: %w", err)
	}
	list := make([]bpf.AccPerCpu, possible)
	to := unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(list))), uintptr(possible)*unsafe.Sizeof(list[0])/8)
	from := unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(a.cpus))), len(to))
	for i := range to {
		to[i] = atomic.LoadUint64(&from[i])
	}
	return list, nil
}
