package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each file of Go begins with a sentence that says what it holds, or with the package's comment.
func TestFilesSayWhatTheyHold(t *testing.T) {
	begins := regexp.MustCompile(`(?m)^// (This file|Package \w+|Command \w+|Acc ) ?`)
	n := 0
	for _, dir := range []string{"analysis", "cmd/acc", "confine", "evidence", "format", "replay"} {
		err := filepath.WalkDir(filepath.Join("../..", dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			n++
			if !begins.Match(text[:min(len(text), 2000)]) {
				t.Errorf("%s does not say what it holds: \"// This file …\" behind its package line", path)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if n < 150 {
		t.Errorf("only %d files", n)
	}
}
