// Reliability writes the figures of a run into docs/RELIABILITY.md: the rows that
// tests left in the files named, see package figures. Usage:
//
//	go run ./testdata/reliability [-seed N] DOC ROWS.tsv...
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

const begin, end = "<!-- figures: make torture writes what follows -->\n", "<!-- end of figures -->\n"

func main() {
	log := func(err error) {
		fmt.Fprintln(os.Stderr, "reliability:", err)
		os.Exit(1)
	}
	seed := flag.String("seed", "", "of the run")
	flag.Parse()
	if flag.NArg() < 2 {
		log(errors.New("name the document and files of rows"))
	}
	var rows [][]string
	for _, name := range flag.Args()[1:] {
		data, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // that part did not run
		}
		if err != nil {
			log(err)
		}
		for line := range strings.Lines(string(data)) {
			if row := strings.Split(strings.TrimSuffix(line, "\n"), "\t"); len(row) == 5 {
				rows = append(rows, row)
			}
		}
	}
	if len(rows) == 0 {
		log(errors.New("no rows"))
	}
	if err := write(flag.Arg(0), *seed, rows); err != nil {
		log(err)
	}
	for _, r := range rows {
		if r[3] != "pass" {
			log(fmt.Errorf("%s did not pass: %s", r[1], r[4]))
		}
	}
}

// write replaces what stands between the marks of the document.
func write(name, seed string, rows [][]string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	head, rest, ok := strings.Cut(string(data), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no place for figures", name)
	}
	slices.SortStableFunc(rows, func(a, b []string) int { return cmp.Or(cmp.Compare(a[1], b[1]), cmp.Compare(a[0], b[0])) })
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s, commit %s, %s, %s %s, seed %s.\n\n", head+begin, time.Now().UTC().Format("2006-01-02 15:04 MST"),
		output("git", "describe", "--always", "--dirty"), runtime.Version(), output("uname", "-sr"), runtime.GOARCH, cmp.Or(seed, "of each test"))
	b.WriteString("| test | where | | figures |\n|---|---|---|---|\n")
	cell := strings.NewReplacer("|", `\|`, "<", "&lt;").Replace
	for _, r := range rows {
		where := r[0]
		if r[2] != "-" && r[2] != "" {
			where += ", " + r[2]
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", cell(r[1]), cell(where), cell(r[3]), cell(r[4]))
	}
	return os.WriteFile(name, []byte(b.String()+end+tail), 0o644)
}

func output(name string, args ...string) string {
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		return "?"
	}
	return strings.TrimSpace(string(out))
}
