package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/acc-project/acc/replay/redact"
)

// The keys of analyze --json whose text is no name of anything: they must be the same, too.
var sameTexts = []string{"id", "severity", "state", "end", "end_reason", "why", "verdict", "start", "ts", "since", "until",
	"first_event", "last_event", "via", "family", "proto", "errno", "peak_at"}

// figuresOf is a value of JSON without what redaction changes: names, addresses, ports, sentences. Lists are in an
// order that depends on what is left alone.
func figuresOf(key string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		own := map[string]any{}
		for k, e := range v {
			switch k {
			case "lport", "redacted", "zone_s", "uid": // of sentences, names and host
			case "capture":
				c := e.(map[string]any)
				delete(c, "id")
				own[k] = figuresOf(k, c)
			default:
				own[k] = figuresOf(k, e)
			}
		}
		return own
	case []any:
		own := make([]any, len(v))
		for i := range v {
			own[i] = figuresOf(key, v[i])
		}
		slices.SortFunc(own, func(a, b any) int {
			x, _ := json.Marshal(a)
			y, _ := json.Marshal(b)
			return strings.Compare(string(x), string(y))
		})
		return own
	case string:
		if slices.Contains(sameTexts, key) {
			return v
		}
		return v != ""
	}
	return v
}

// toRedact are captures: those of tests, those that are kept, and all in ACC_CORPUS.
func toRedact(t *testing.T) []string {
	dir := t.TempDir()
	for name, data := range map[string][]byte{"life": lifeSample(), "plain": sampleOf("", 1000, nil), "lossy": sampleOf("lossy", 1000, nil),
		"unclean": sampleOf("unclean", 1000, nil), "steady": steady(50), "crowd": crowd(3000), "adjusted": adjusted(), "crossed": crossed()} {
		must(t, os.WriteFile(filepath.Join(dir, name+".acc"), data, 0o600))
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.acc"))
	must(t, err)
	for _, more := range []string{"testdata", os.Getenv("ACC_CORPUS")} {
		list, err := filepath.Glob(filepath.Join(more, "*.acc"))
		must(t, err)
		if more != "" {
			files = append(files, list...)
		}
	}
	return files
}

// What acc analyze prints of a redacted capture has the figures that it has of the original: every number, every
// finding, every end. Names and addresses alone are other ones.
func TestRedactKeepsFigures(t *testing.T) {
	out := filepath.Join(t.TempDir(), "safe.acc")
	for _, file := range toRedact(t) {
		want := analyzed(t, file)
		for _, mode := range redact.AddressModes {
			cmd := exec.Command("acc", "redact", "--force", "--addresses", mode, "-o", out, file)
			if text, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s, %s: %v\n%s", filepath.Base(file), mode, err, text)
				continue
			}
			if got := analyzed(t, out); got != want {
				a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
				for i := range a {
					if i >= len(b) || a[i] != b[i] {
						t.Errorf("%s, %s: line %d is %s, of the original %s", filepath.Base(file), mode, i, slices.Concat(b, []string{"nothing"})[min(i, len(b))], a[i])
						break
					}
				}
			}
		}
	}
}

// analyzed gives the figures of a capture, a value a line.
func analyzed(t *testing.T, file string) string {
	t.Helper()
	text, _ := exec.Command("acc", "analyze", "--json", "--top", "0", "--salvage", file).Output() // unclean ones exit with 3
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	b, err := json.MarshalIndent(figuresOf("", v), "", " ")
	must(t, err)
	return string(b)
}
