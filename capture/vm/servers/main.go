// Servers writes docs/SERVERS.md: what acc found at Debian's servers, and what they themselves counted, by
// the rows that make test-servers left (servers.tsv). Arguments: the files, those of the whole run first; a row of a
// later one replaces that of the same server. The text goes to standard output.
package main

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strings"
)

// A row is what one test says of one server.
type row struct{ kernel, kind, name, version, load, counter, acc, findings, verdict string }

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "servers: %v\n", err)
		os.Exit(1)
	}
}

func run(paths []string) error {
	var rows []row
	var kernels []string
	for _, path := range paths {
		list, err := read(path)
		if err != nil {
			return err
		}
		for _, r := range list {
			same := func(x row) bool { return x.kind == r.kind && x.name == r.name }
			if i := slices.IndexFunc(rows, same); i >= 0 {
				rows[i] = r
			} else {
				rows = append(rows, r)
			}
		}
	}
	for _, r := range rows {
		if !slices.Contains(kernels, r.kernel) {
			kernels = append(kernels, r.kernel)
		}
	}
	w := bufio.NewWriter(os.Stdout)
	fmt.Fprintf(w, `# Real servers

Written by %[1]smake test-servers%[1]s (Linux %[2]s, in an emulated machine). Each row is a test: it starts a server of Debian,
records, loads it, asks the server itself what it counted, and compares that with %[1]sacc analyze --json%[1]s.
Unless a row says that the test failed, both agreed, acc's connections were as many as the kernel's PassiveOpens, and
the capture was complete. What the findings mean, [FINDINGS.md](FINDINGS.md) says. haproxy is not here: it needs
cmpxchg16b, which this machine lacks.
`, "`", strings.Join(kernels, ", "))
	section(w, rows, "healthy", "Healthy", `Debian's own configuration, ordinary load: no finding is above notice.
The machine is slow, so that a wait of 100 ms can be its own. If a sleeper in it woke up 50 ms too late or more, it
stood still: then a row with a finding is tried again, at most six times in all.`)
	section(w, rows, "in trouble", "In trouble",
		"The trouble that such a server has when a limit is reached, or when it stops: the finding, and its number.")
	return w.Flush()
}

func section(w *bufio.Writer, rows []row, kind, title, text string) {
	fmt.Fprintf(w, "\n## %s\n\n%s\n\n| | package | load | the server's own count | acc | findings |\n|---|---|---|---|---|---|\n", title, text)
	for _, r := range rows {
		if r.kind != kind {
			continue
		}
		findings := r.findings
		if r.verdict != "pass" {
			findings = "**the test failed** " + findings
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s |\n", r.name, r.version, r.load, r.counter, r.acc, findings)
	}
}

func read(path string) (rows []row, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(data)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) != 9 {
			return nil, fmt.Errorf("%s: a line of %d fields", path, len(f))
		}
		rows = append(rows, row{f[0], f[1], f[2], f[3], f[4], f[5], f[6], f[7], f[8]})
	}
	return rows, nil
}
