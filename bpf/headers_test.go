package bpf

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Each header can be included alone: it includes what it needs.
func TestHeadersAlone(t *testing.T) {
	if _, err := exec.LookPath("clang-19"); err != nil || testing.Short() {
		t.Skip("compiles the programs: needs clang-19 (make clang), and is not short")
	}
	headers, err := filepath.Glob("*.h")
	if err != nil || len(headers) < 20 {
		t.Fatal(headers, err)
	}
	for _, name := range headers {
		for _, flags := range []string{"-mcpu=v3 -DACC_MODERN", "-mcpu=v2"} {
			cmd := exec.Command("clang-19", strings.Fields("-target bpf -D__TARGET_ARCH_x86 -fsyntax-only -Wall -Werror "+
				"-Wno-unused-function -I/usr/include/x86_64-linux-gnu -I. -x c - "+flags)...)
			cmd.Stdin = strings.NewReader("#include \"" + name + "\"\n")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s %s: %v\n%s", name, flags, err, out)
			}
		}
	}
}
