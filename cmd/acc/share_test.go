package main

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// unzipped gives the files of a zip file. What a page has compressed in it is unpacked behind it.
func unzipped(t *testing.T, file string) map[string]string {
	t.Helper()
	z, err := zip.OpenReader(file)
	must(t, err)
	defer z.Close()
	files := map[string]string{}
	for _, f := range z.File {
		r, err := f.Open()
		must(t, err)
		data, err := io.ReadAll(r)
		must(t, err)
		for _, m := range regexp.MustCompile(`data-encoding="gzip,base64">([^<]*)</template>`).FindAllSubmatch(data, -1) {
			packed, err := base64.StdEncoding.DecodeString(string(m[1]))
			must(t, err)
			g, err := gzip.NewReader(bytes.NewReader(packed))
			must(t, err)
			plain, err := io.ReadAll(g)
			must(t, err)
			data = append(data, plain...)
		}
		files[f.Name] = string(data)
	}
	return files
}

// What is shared has nothing of the original's names and addresses, in any of its parts, and the same figures.
func TestShare(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "secret-customer.acc"), lifeSample(), 0o600))
	said, errs, code := accOut(t, dir, nil, "share", "secret-customer.acc")
	if code != exitOK || errs != "" {
		t.Fatalf("acc share: %d\n%s%s", code, said, errs)
	}
	for _, want := range []string{"leaves", "gone", "checked", "key       not kept"} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q:\n%s", want, said)
		}
	}
	files := unzipped(t, filepath.Join(dir, "acc-share.zip"))
	if len(files) != 2 || files["report.html"] == "" || files["summary.md"] == "" {
		t.Fatalf("%d files", len(files))
	}
	for name, text := range files {
		for _, secret := range []string{"web1", "secret-customer", "/srv/app", "192.0.2.1", "10.0.0.13", "10.0.0.20", "10.0.0.99", "3b1f0a52"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s has %q", name, secret)
			}
		}
	}
	page := filepath.Join(dir, "report.html")
	text, _, _ := strings.Cut(files["report.html"], "</html>")
	must(t, os.WriteFile(page, []byte(text+"</html>\n"), 0o600))
	figures := func(file string) string {
		out, _, _ := accOut(t, dir, nil, "analyze", file)
		return strings.Join(regexp.MustCompile(`(?m)^\d+ (attempts|connections):.*$|^  (handshake|accept queue|served) .*$`).FindAllString(out, -1), "\n")
	}
	if a, b := figures("secret-customer.acc"), figures(page); a != b || a == "" {
		t.Errorf("the figures differ:\n%s\n%s", a, b)
	}
	if out, _, code := accOut(t, dir, nil, "redact", "--check", "secret-customer.acc", page); code != exitOK {
		t.Errorf("acc redact --check of the page: %d\n%s", code, out)
	}
	if out, _, _ := accOut(t, dir, nil, "verify", page); !strings.Contains(out, strings.Fields(said[strings.Index(said, "sha256"):])[1][:64]) {
		t.Errorf("verify has another SHA-256:\n%s%s", out, said)
	}
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"share", exitUsage, "name one capture file"}, {"share -", exitUsage, "can't be read twice"}, {"share secret-customer.acc", exitError, "--force"},
		{"share none.acc -o b.zip", exitError, "none.acc"}, {"share acc-share.zip -o b.zip", exitError, "not an acc capture"}, {"share secret-customer.acc -o b.zip --keep nonsense", exitUsage, "neither a class nor a field"},
		{"share secret-customer.acc -o b.zip --key acc-share.zip", exitError, "acc-share.zip"}, {"share secret-customer.acc -o no/b.zip", exitError, "no"},
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
}
