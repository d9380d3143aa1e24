//go:build amd64 || arm64

package capture

import "testing"

// What is kept is enough for the rest of a recording with whatever it began: in a container SYS_ADMIN may be all there is
// to trace by, and DAC_OVERRIDE, which runtimes give, to read by.
func TestKeep(t *testing.T) {
	const all = 1<<41 - 1
	for _, x := range []struct {
		name     string
		held     uint64
		has, not uint64
	}{
		{"root", all, capBPF | capPerfmon | capSysPtrace | capDACReadSearch, capKill | capChown | capFowner},
		{"BPF and PERFMON", capBPF | capPerfmon, capBPF | capPerfmon, capSysAdmin | capSysPtrace},
		{"container", capSysAdmin | capSysPtrace | capDACReadSearch, capSysAdmin | capSysPtrace | capDACReadSearch, 0},
		{"what runtimes give", capSysAdmin | capSysPtrace | capDACOverride | capChown | capKill | capFowner,
			capSysAdmin | capSysPtrace | capDACOverride, capChown | capKill | capFowner},
	} {
		if got := keep(x.held, false, false, nil); got&x.has != x.has || got&x.not != 0 {
			t.Errorf("%s: of %x it keeps %x", x.name, x.held, got)
		}
	}
}
