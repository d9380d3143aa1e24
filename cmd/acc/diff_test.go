package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/acc-project/acc/analysis/compare"
)

// What acc diff prints, as text and as JSON, and its exit codes.
func TestDiffCommand(t *testing.T) {
	dir := t.TempDir()
	for name, data := range map[string][]byte{"life.acc": lifeSample(), "other.acc": sample("whole"), "cut.acc": lifeSample()[:len(lifeSample())*2/3], "text.acc": []byte("hello")} {
		must(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	accOut(t, dir, nil, "report", "life.acc")
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"diff life.acc life.acc", exitOK, "DOUBTFUL  both are the same recording"},
		{"diff life.acc life.html", exitOK, "no difference"},
		{"diff other.acc life.acc", exitOK, "WORSE"},
		{"diff --fail-on-regression other.acc life.acc", exitFound, "the second capture is WORSE"},
		{"diff life.acc other.acc", exitOK, "gone: critical queue-overflow"},
		{"diff life.acc cut.acc", exitTruncated, "the second capture is not complete"},
		{"diff life.acc", exitUsage, "name two captures"},
		{"diff - -", exitUsage, "standard input can be read once"},
		{"diff life.acc none.acc", exitError, "none.acc"},
		{"diff text.acc life.acc", exitError, "not an acc capture"},
		{"diff --top -1 life.acc other.acc", exitUsage, "0 or more"},
	} {
		out, said, code := accOut(t, dir, nil, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(out+said, c.says) {
			t.Errorf("acc %s: %d, want %d with %q:\n%s%s", c.args, code, c.code, c.says, out, said)
		}
	}
	out, said, code := accOut(t, dir, lifeSample(), "diff", "--json", "other.acc", "-")
	var d compare.Diff
	if err := json.Unmarshal([]byte(out), &d); err != nil || code != exitOK {
		t.Fatalf("--json: %d, %v\n%s", code, err, said)
	}
	if d.A.File != "other.acc" || d.B.File != "standard input" || !d.Regression || len(d.Differences) == 0 || d.Differences[0].Kind != "finding" {
		t.Errorf("--json: %s", out)
	}
}
