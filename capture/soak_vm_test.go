//go:build linux && (amd64 || arm64)

package capture

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A million connections: nothing is lost with the default ring, and the recorder
// stays within 64 MiB and does not grow.
func TestVMSoak(t *testing.T) {
	needVM(t)
	if !torture() {
		t.Skip("make torture-vm")
	}
	const connections, step, most = 1_000_000, 50_000, 64 << 10
	p := newPingPong(t)
	path := filepath.Join(t.TempDir(), "soak.acc")
	r := startRecorder(t, "/in/acc", "record", "-o", path)
	memory := func(name string) int {
		kib, err := strconv.Atoi(strings.TrimSuffix(statuses(strconv.Itoa(r.Process.Pid), name)[0][0], " kB"))
		if err != nil {
			t.Fatal(err)
		}
		return kib
	}
	var sizes []int // KiB after each step
	for from := bootNS(); p.made < connections; {
		p.do(step)
		sizes = append(sizes, memory("VmRSS"))
		t.Logf("%d connections in %d s, %d KiB", p.made, (bootNS()-from)/1e9, sizes[len(sizes)-1])
	}
	peak := memory("VmHWM")
	r.stop(t)
	i := info(t, path)
	exact(t, &i, p.made)
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	half := len(sizes) / 2
	first, second := slices.Max(sizes[:half]), slices.Max(sizes[half:])
	if i.Lost != 0 || second > first*5/4 || peak > most {
		t.Errorf("%d lost, memory in KiB %v, at most %d", i.Lost, sizes, peak)
	}
	figure(t, ModeAuto, "%d connections, %d lost, capture of %d bytes; memory of the recorder after each %d: %d to %d KiB in the first half, %d to %d in the second, at most %d",
		p.made, i.Lost, st.Size(), step, slices.Min(sizes[:half]), first, slices.Min(sizes[half:]), second, peak)
}
