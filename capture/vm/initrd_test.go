//go:build linux

package main

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Another cpio reads what is written: names, contents, directories before files.
func TestCPIO(t *testing.T) {
	tool, err := exec.LookPath("cpio")
	args := []string{"-i", "-d", "--quiet"}
	if err != nil {
		if tool, err = exec.LookPath("busybox"); err != nil {
			t.Skip("neither cpio nor busybox is here")
		}
		args = []string{"cpio", "-i", "-d"}
	}
	var out bytes.Buffer
	c := &cpio{w: bufio.NewWriter(&out), made: map[string]bool{}}
	for _, err := range []error{c.text("a/b/c", 0o100644, "hello"), c.text("a/d", 0o100755, strings.Repeat("x", 1001)), c.text("TRAILER!!!", 0, ""), c.w.Flush()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(tool, args...)
	cmd.Dir, cmd.Stdin = t.TempDir(), &out
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, msg)
	}
	if b, _ := os.ReadFile(filepath.Join(cmd.Dir, "a/b/c")); string(b) != "hello" {
		t.Errorf("a/b/c is %q", b)
	}
	if b, _ := os.ReadFile(filepath.Join(cmd.Dir, "a/d")); len(b) != 1001 {
		t.Errorf("a/d has %d bytes", len(b))
	}
}
