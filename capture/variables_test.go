//go:build linux && (amd64 || arm64)

package capture

import (
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/acc-project/acc/bpf"
)

// Two CPUs that shared a place would give two events one number.
func TestRoomForCPUs(t *testing.T) {
	for possible, want := range map[int]uint32{1: 1, 2: 2, 3: 4, 4: 4, 5: 8, 128: 128, 129: 256, 8192: 8192} {
		if n := roomForCPUs(possible); n != want {
			t.Errorf("for %d CPUs there are %d places, want %d", possible, n, want)
		}
	}
}

// Where programs name a variable, they have its address, of its first byte.
func TestMakeVariables(t *testing.T) {
	possible, err := ebpf.PossibleCPU()
	if err != nil {
		t.Skip(err)
	}
	for _, object := range objects {
		spec, err := object()
		if err != nil {
			t.Fatal(err)
		}
		if err := makeVariables(spec); err != nil {
			t.Fatal(err)
		}
		named := map[string]int{}
		for name, p := range spec.Programs {
			for i := range p.Instructions {
				ins := &p.Instructions[i]
				m := spec.Maps[ins.Reference()]
				if !ins.IsLoadFromMap() || m == nil || !isVariable(m) {
					continue
				}
				named[m.Name]++
				if ins.Src != asm.PseudoMapValue || ins.Constant != 0 {
					t.Errorf("%s: %v is not the address of %s", name, ins, m.Name)
				}
			}
		}
		for _, name := range []string{"buckets", "closings", "cpus", "endings", "placed_last"} {
			if named[name] == 0 {
				t.Errorf("no program uses %s as a variable", name)
			}
		}
		if size := spec.Maps["cpus"].ValueSize; size < uint32(possible)*uint32(unsafe.Sizeof(bpf.AccPerCpu{})) {
			t.Errorf("%d bytes for %d CPUs", size, possible)
		}
	}
}
