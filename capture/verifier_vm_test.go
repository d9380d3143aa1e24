//go:build linux && (amd64 || arm64)

package capture

import (
	"cmp"
	"slices"
	"testing"
)

// What the kernel's verifier goes through before it takes the programs, of a million instructions that each may take:
// it is most of the time that a recording takes to begin, and what is near the bound is refused by another kernel.
func TestVMVerifier(t *testing.T) {
	needVM(t)
	if !torture() {
		t.Skip("takes no part in judging acc: make torture-vm")
	}
	const most = 250_000
	for _, mode := range modes(t) {
		a, err := startProbes(&Options{Mode: mode})
		if err != nil {
			t.Fatal(err)
		}
		type program struct {
			name     string
			verified uint32
		}
		var list []program
		all := uint32(0)
		for name, p := range a.collection.Programs {
			i, err := p.Info()
			if err != nil {
				t.Fatal(err)
			}
			n, ok := i.VerifiedInstructions()
			if !ok {
				a.close()
				t.Skip("kernels before 5.16 don't say")
			}
			if n > most {
				t.Errorf("%s: %s: %d instructions, more than %d", mode, name, n, most)
			}
			list = append(list, program{name, n})
			all += n
		}
		slices.SortFunc(list, func(a, b program) int { return cmp.Compare(b.verified, a.verified) })
		figure(t, mode, "%d instructions verified, most of them in %v", all, list[:min(5, len(list))])
		a.close()
	}
}
