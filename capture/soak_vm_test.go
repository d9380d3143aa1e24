//go:build linux && (amd64 || arm64)

package capture

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
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
	memory := func() int { // its share, by which the ring counts once though it is mapped four times
		out, err := exec.Command("/bin/busybox", "awk", `$1 == "Pss:" { print $2 }`, fmt.Sprintf("/proc/%d/smaps_rollup", r.Process.Pid)).Output()
		kib, err2 := strconv.Atoi(strings.TrimSpace(string(out)))
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		return kib
	}
	var sizes []int // KiB after each step
	for from := bootNS(); p.made < connections; {
		p.do(step)
		sizes = append(sizes, memory())
		t.Logf("%d connections in %d s, %d KiB", p.made, (bootNS()-from)/1e9, sizes[len(sizes)-1])
	}
	r.stop(t)
	i := info(t, path)
	exact(t, &i, p.made)
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	half := len(sizes) / 2
	first, second := slices.Max(sizes[:half]), slices.Max(sizes[half:])
	if i.Lost != 0 || second > first*5/4 || slices.Max(sizes) > most {
		t.Errorf("%d lost, memory in KiB %v", i.Lost, sizes)
	}
	figure(t, ModeAuto, "%d connections, %d lost, capture of %d bytes; memory of the recorder after each %d: %d to %d KiB in the first half, %d to %d in the second",
		p.made, i.Lost, st.Size(), step, slices.Min(sizes[:half]), first, slices.Min(sizes[half:]), second)
}
