//go:build amd64 || arm64

package capture

// This file decides whether programs tell the verifier what pointers point to.

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// castFunc is the kernel's function for it, from Linux 6.2 on.
const castFunc = "bpf_rdonly_cast"

// hasCasts reports whether the kernel has it. It need not take programs that call it: one that interprets programs
// (net.core.bpf_jit_enable=0) does not.
func hasCasts(types *btf.Cache) bool {
	kernel, err := types.Kernel()
	if err != nil {
		return false
	}
	var f *btf.Func
	return kernel.TypeByName(castFunc, &f) == nil
}

// setCasts lets programs cast, or takes the calls out, which are in dead code then: else the library would look for the
// function in the types of every module.
func setCasts(spec *ebpf.CollectionSpec, with bool) error {
	v := spec.Variables["with_casts"]
	if v == nil {
		return nil // the programs for the oldest kernels have none
	}
	if with {
		if err := v.Set(uint32(1)); err != nil {
			return fmt.Errorf("set up the programs: %w", err)
		}
		return nil
	}
	for _, p := range spec.Programs {
		for i := range p.Instructions {
			if p.Instructions[i].IsKfuncCall() {
				p.Instructions[i] = asm.Mov.Imm(asm.R0, 0)
			}
		}
	}
	return nil
}
