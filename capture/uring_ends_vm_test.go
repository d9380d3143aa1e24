//go:build linux && (amd64 || arm64)

package capture

import (
	"os/exec"
	"strings"
	"testing"
)

// How multishot accepts of io_uring end, as the completions say that the program got: those of the cases of
// TestVMPaths, at once.
func TestVMUringEnds(t *testing.T) {
	needVM(t)
	list, err := exec.Command("/in/accepts", "-list").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range modes(t) {
		var runs []caseRun
		r := recordWhile(t, Options{Mode: mode}, func() {
			for _, name := range strings.Fields(string(list)) {
				if strings.HasPrefix(name, "uring-multishot") || name == "uring-registered-emfile" {
					runs = append(runs, runCase(t, "/in/accepts", name))
				}
			}
		})
		if len(runs) < 10 {
			t.Fatalf("%d cases", len(runs))
		}
		for _, run := range runs {
			t.Run(string(mode)+"/"+run.Case, func(t *testing.T) { checkCase(t, &r, &run, mode) })
		}
	}
}
