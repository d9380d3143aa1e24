package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/acc-project/acc/format"
	"github.com/acc-project/acc/testdata/figures"
	"github.com/acc-project/acc/testdata/museum"
)

// accOut runs acc in a folder and gives its output and exit code.
func accOut(t *testing.T, dir string, stdin []byte, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.Command("acc", args...)
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run()
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// A report is the capture: every command reads it there, and says the same as of the capture itself; as a file, by
// standard input, and with a name of its own.
func TestReportIsTheCapture(t *testing.T) {
	dir := t.TempDir()
	data := lifeSample()
	must(t, os.WriteFile(filepath.Join(dir, "a.acc"), data, 0o600))
	_, said, code := accOut(t, dir, nil, "report", "a.acc")
	if code != exitOK {
		t.Fatalf("acc report: %d\n%s", code, said)
	}
	page, err := os.ReadFile(filepath.Join(dir, "a.html"))
	must(t, err)
	sum := sha256.Sum256(data)
	for _, text := range []string{string(page), said} {
		if !strings.Contains(text, hex.EncodeToString(sum[:])) {
			t.Errorf("no SHA-256 of the capture in %.200s", text)
		}
	}
	if !strings.Contains(said, "NOT redacted") || !strings.Contains(said, "acc share") {
		t.Errorf("no warning of what it gives away: %s", said)
	}
	for _, args := range [][]string{{"verify"}, {"verify", "--json"}, {"info"}, {"info", "--full"}, {"analyze"}, {"analyze", "--connections", "--json"}, {"analyze", "--connection", "5"},
		{"analyze", "--pairs"}, {"replay", "--speed", "max"}, {"replay", "--speed", "max", "--from", "1s"}, {"explain", "5"}, {"info", "--reveals"}, {"report", "--markdown"}} {
		same := func(text string) string {
			return strings.NewReplacer("a.html", "a.acc", "standard input", "a.acc").Replace(text)
		}
		want, _, wantCode := accOut(t, dir, nil, append(args, "a.acc")...)
		got, said, gotCode := accOut(t, dir, nil, append(args, "a.html")...)
		if same(got) != want || gotCode != wantCode {
			t.Errorf("acc %v: not the same of the page: %d, want %d\n%s\n%s\nwant %s", args, gotCode, wantCode, got, said, want)
		}
		if args[0] == "report" {
			continue
		}
		got, said, gotCode = accOut(t, dir, page, append(args, "-")...)
		if want, _, wantCode = accOut(t, dir, data, append(args, "-")...); got != want || gotCode != wantCode {
			t.Errorf("acc %v: not the same of the page by standard input: %d, want %d\n%s\n%s\nwant %s", args, gotCode, wantCode, got, said, want)
		}
	}
	// A report of the report has the same capture.
	if _, said, code := accOut(t, dir, page, "report", "-", "-o", "b.html"); code != exitOK || !strings.Contains(said, hex.EncodeToString(sum[:])) {
		t.Errorf("report of a report: %d\n%s", code, said)
	}
	for _, name := range []string{"c.html", "d.html"} {
		accOut(t, dir, nil, "report", "a.acc", "-o", name)
	}
	c, _ := os.ReadFile(filepath.Join(dir, "c.html"))
	d, _ := os.ReadFile(filepath.Join(dir, "d.html"))
	if len(c) == 0 || string(d) != strings.ReplaceAll(string(c), "c.html", "d.html") {
		t.Error("two reports of a capture differ")
	}
}

// What the page allows itself is its own script and style, to the byte, and nothing else.
func TestReportPolicy(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "a.acc"), lifeSample(), 0o600))
	accOut(t, dir, nil, "report", "a.acc")
	page, err := os.ReadFile(filepath.Join(dir, "a.html"))
	must(t, err)
	policy := regexp.MustCompile(`http-equiv="Content-Security-Policy" content="([^"]*)"`).FindSubmatch(page)
	if policy == nil {
		t.Fatal("no policy")
	}
	want := "default-src 'none'; script-src 'sha256-%s'; style-src 'sha256-%s'; img-src data:; base-uri 'none'; form-action 'none'"
	hash := func(tag string) string {
		parts := regexp.MustCompile(`(?s)<`+tag+`>(.*?)</`+tag+`>`).FindAllSubmatch(page, -1)
		if len(parts) != 1 {
			t.Fatalf("%d times %s", len(parts), tag)
		}
		sum := sha256.Sum256(parts[0][1])
		return base64.StdEncoding.EncodeToString(sum[:])
	}
	if got := html.UnescapeString(string(policy[1])); got != fmt.Sprintf(want, hash("script"), hash("style")) {
		t.Errorf("the policy is %s", got)
	}
	for _, bad := range []string{`(?i)\son[a-z]+\s*=\s*"`, `(?i)javascript:`, `(?i)<(iframe|object|embed|img|form action|base|link rel="s)`, `\sstyle="`, `(?i)(src|href)="(https?:)?//`} {
		outside := regexp.MustCompile(`(?s)<(script|style)>.*?</(script|style)>`).ReplaceAll(page, nil)
		if m := regexp.MustCompile(bad).Find(outside); m != nil {
			t.Errorf("the page has %q", m)
		}
	}
	for _, bad := range []string{"innerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "fetch(", "XMLHttpRequest", "import("} {
		script := regexp.MustCompile(`(?s)"use strict";\n\(\(\) => \{.*</script>`).Find(page)
		if len(script) == 0 || bytes.Contains(script, []byte(bad)) {
			t.Errorf("the page's own script has %s", bad)
		}
	}
}

var markup = regexp.MustCompile(`<[!/a-zA-Z?][^>]*>`)

// Names make no element and no attribute: the page of hostile names has the tags of one of harmless names. The test
// in a browser is TestBrowserNames.
func TestReportNames(t *testing.T) {
	dir := t.TempDir()
	names := hostileNames(1)
	tags := map[string][]string{}
	for kind, list := range map[string][]string{"hostile": names, "harmless": harmless(len(names))} {
		must(t, os.WriteFile(filepath.Join(dir, kind+".acc"), namedCapture(t, list), 0o600))
		if _, said, code := accOut(t, dir, nil, "report", kind+".acc", "-o", "page.html", "--force", "--without-capture"); code != exitOK && code != exitTruncated {
			t.Fatalf("%s: %d\n%s", kind, code, said)
		}
		page, err := os.ReadFile(filepath.Join(dir, "page.html"))
		must(t, err)
		page = regexp.MustCompile(`(?s)<(script|style)>.*?</(script|style)>`).ReplaceAll(page, nil)
		if bad := steers([]byte(strings.NewReplacer("\u00ad", "").Replace(string(page)))); bad != "" {
			t.Errorf("%s: %s", kind, bad)
		}
		for _, tag := range markup.FindAllString(string(page), -1) {
			tag = regexp.MustCompile(`(title|data-name|content)="[^"]*"`).ReplaceAllString(tag, "")
			tags[kind] = append(tags[kind], strings.ReplaceAll(strings.Join(strings.Fields(tag), " "), " >", ">"))
		}
	}
	a, b := tags["hostile"], tags["harmless"]
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			t.Fatalf("tag %d is %q, and with harmless names %q", i, a[i], b[i])
		}
	}
	if len(a) != len(b) || len(a) < 100 {
		t.Errorf("%d tags, and with harmless names %d", len(a), len(b))
	}
}

// harmless are as many names, of the same kind of lengths.
func harmless(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("name%d-of-somebody-with-a-long-one", i))
	}
	return names
}

// A comment has at most 65,536 characters, whatever the capture; outside of blocks of code there is nothing of it.
func TestReportMarkdown(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "names.acc"), namedCapture(t, hostileNames(1)), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "life.acc"), lifeSample(), 0o600))
	ours := regexp.MustCompile("^(|\\*\\*Findings: none\\*\\*|### Findings: [0-9a-z, ]+|[0-9,]+ more findings: `acc analyze --top 0`|\\*\\*Left out, for a comment has at most 65,536 characters: [a-z0-9, ]+\\.\\*\\* `acc analyze` prints all\\.)$")
	for _, c := range []struct {
		name string
		left bool
	}{{"names.acc", true}, {"life.acc", false}} {
		text, said, _ := accOut(t, dir, nil, "report", "--markdown", "--top", "0", c.name)
		if n := utf8.RuneCountInString(text); n > 65_536 || n < 500 {
			t.Errorf("%s: %d characters\n%s", c.name, n, said)
		}
		if strings.Contains(text, "**Left out") != c.left {
			t.Errorf("%s: says that something is left out: %v", c.name, !c.left)
		}
		fence := ""
		for line := range strings.Lines(text) {
			line = strings.TrimRight(line, "\n")
			switch {
			case fence == "" && strings.HasPrefix(line, "```"):
				fence = strings.TrimSuffix(line, "text")
			case line == fence && fence != "":
				fence = ""
			case fence == "" && !ours.MatchString(line):
				t.Errorf("%s: outside of a block of code: %q", c.name, line)
			}
		}
		if fence != "" || !strings.Contains(text, "sha256      ") {
			t.Errorf("%s: it does not end as it must", c.name)
		}
		first, _, _ := strings.Cut(text, "\n\n")
		if !strings.Contains(first, "recording") {
			t.Errorf("%s: it begins with %q", c.name, first)
		}
	}
}

// What can be wrong: each has a message that says what to do, and leaves no file.
func TestReportErrors(t *testing.T) {
	dir := t.TempDir()
	data := lifeSample()
	for name, b := range map[string][]byte{"a.acc": data, "b.acc": data, "empty.acc": nil, "text.acc": []byte("hello"), "page.html": []byte("<!DOCTYPE html><p>hello</p>"),
		"there.html": []byte("mine"), "gz.acc": gzipOf(data)} {
		must(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"report", exitUsage, "name a capture file"},
		{"report a.acc b.acc", exitUsage, "a report is of one capture, not of 2"},
		{"report a.acc -", exitUsage, "a report is of one capture"},
		{"report a.acc -o there.html", exitError, "--force"},
		{"report a.acc -o a.acc", exitError, "it stays as it is"},
		{"report a.acc -o no/where.html", exitError, "its folder is not there"},
		{"report empty.acc", exitTruncated, "it is empty"},
		{"report text.acc -o x.html", exitError, "not an acc capture"},
		{"report page.html -o x.html", exitError, "no capture is in it"},
		{"info page.html", exitError, "no capture is in it"},
		{"report gz.acc -o x.html", exitError, "gzip -dc"},
		{"report none.acc", exitError, "none.acc"},
		{"report a.acc --markdown --zip", exitUsage, "different outputs"},
		{"report a.acc --connections 0", exitUsage, "between 1 and"},
		{"report a.acc --top -1", exitUsage, "0 or more"},
	} {
		before, _ := os.ReadDir(dir)
		_, said, code := accOut(t, dir, nil, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(said, c.says) {
			t.Errorf("acc %s: %d, want %d with %q: %s", c.args, code, c.code, c.says, said)
		}
		if after, _ := os.ReadDir(dir); len(after) != len(before) {
			t.Errorf("acc %s: leaves a file", c.args)
		}
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "there.html")); string(b) != "mine" {
		t.Error("a file was overwritten without --force")
	}
	// A cut capture gives a page that says so, and its exit code.
	must(t, os.WriteFile(filepath.Join(dir, "cut.acc"), data[:len(data)*2/3], 0o600))
	_, said, code := accOut(t, dir, nil, "report", "cut.acc")
	page, _ := os.ReadFile(filepath.Join(dir, "cut.html"))
	if code != exitTruncated || !bytes.Contains(page, []byte("DAMAGED (truncated)")) {
		t.Errorf("of a cut capture: %d, %s", code, said)
	}
	if _, _, code := accOut(t, dir, nil, "report", "a.acc", "--zip", "-o", "a.zip"); code != exitOK {
		t.Errorf("--zip: %d", code)
	}
	if out, err := exec.Command("python3", "-c", "import zipfile,sys; z=zipfile.ZipFile(sys.argv[1]); print(z.testzip(), z.namelist())", filepath.Join(dir, "a.zip")).CombinedOutput(); err == nil && string(out) != "None ['a.html']\n" {
		t.Errorf("python reads the zip file as %s", out)
	}
}

// small keeps what is written, and refuses more than 1 MiB.
type small struct{ bytes.Buffer }

func (s *small) Write(p []byte) (int, error) {
	if s.Len()+len(p) > 1<<20 {
		return 0, errors.New("too long")
	}
	return s.Buffer.Write(p)
}

func gzipOf(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(b)
	_ = z.Close()
	return out.Bytes()
}

// A hostile capture is as safe in a page as it is alone: the same exit code, no crash.
func TestReportMuseum(t *testing.T) {
	dir := t.TempDir()
	n := 0
	for _, e := range museum.Exhibits() {
		if n == 24 && !figures.Torture() {
			break
		}
		raw := &small{}
		if e.Write(raw) != nil {
			continue
		}
		n++
		must(t, os.WriteFile(filepath.Join(dir, "raw.acc"), raw.Bytes(), 0o600))
		var page bytes.Buffer
		page.WriteString("<!DOCTYPE html>\n<html>")
		must(t, format.Embed(&page, bytes.NewReader(raw.Bytes()), int64(raw.Len())))
		must(t, os.WriteFile(filepath.Join(dir, "page.html"), page.Bytes(), 0o600))
		_, said, code := accOut(t, dir, nil, "verify", "page.html")
		if _, _, want := accOut(t, dir, nil, "verify", "raw.acc"); code != want {
			t.Errorf("%s: exit code %d, want %d: %s", e.Name, code, want, said)
		}
		_, said, code = accOut(t, dir, nil, "report", "--salvage", "raw.acc", "-o", "out.html", "--force")
		if strings.Contains(said, "goroutine ") || code > exitLimit {
			t.Errorf("%s: acc report: %d %.2000s", e.Name, code, said)
		}
	}
	if n < 10 {
		t.Errorf("%d exhibits", n)
	}
}
