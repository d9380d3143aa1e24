// Reliability writes the figures of runs into docs/RELIABILITY.md: the rows that
// tests left in the files named, see package figures. Each file is a run with a
// section of its own, which replaces that of an earlier run with the same name: that
// of its folder for a virtual machine, else host. Sections of others stay. Usage:
//
//	go run ./testdata/reliability [-seed N] DOC ROWS.tsv...
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

const begin, end = "<!-- figures: make torture writes what follows -->\n", "<!-- end of figures -->\n"

// heading begins a section.
const heading = "### "

func main() {
	log := func(err error) {
		fmt.Fprintln(os.Stderr, "reliability:", err)
		os.Exit(1)
	}
	seed := flag.String("seed", "", "of the run on the host")
	flag.Parse()
	if flag.NArg() < 2 {
		log(errors.New("name the document and files of rows"))
	}
	sections, failed := map[string]string{}, []string{}
	for _, name := range flag.Args()[1:] {
		rows, err := read(name)
		if errors.Is(err, fs.ErrNotExist) || err == nil && len(rows) == 0 {
			continue // that part did not run
		}
		if err != nil {
			log(err)
		}
		title, text, err := section(name, *seed, rows)
		if err != nil {
			log(err)
		}
		sections[title] = text
		for _, r := range rows {
			if r[3] != "pass" {
				failed = append(failed, r[1]+": "+r[4])
			}
		}
	}
	if len(sections) == 0 {
		log(errors.New("no rows"))
	}
	if err := write(flag.Arg(0), sections); err != nil {
		log(err)
	}
	if len(failed) > 0 {
		log(fmt.Errorf("did not pass: %s", strings.Join(failed, "; ")))
	}
}

// read gives the rows of a file: where, test, mode, verdict, figures.
func read(name string) (rows [][]string, err error) {
	data, err := os.ReadFile(name)
	for line := range strings.Lines(string(data)) {
		if row := strings.Split(strings.TrimSuffix(line, "\n"), "\t"); len(row) == 5 {
			rows = append(rows, row)
		}
	}
	return rows, err
}

// maxRows is how many rows of one test and mode are shown; of more, the last one.
const maxRows = 4

// section gives the part of the document that tells of a run: when it ended, of which
// commit it was (as the file commit beside the rows says, else this one's), and its rows.
func section(name, seed string, rows [][]string) (title, text string, err error) {
	st, err := os.Stat(name)
	if err != nil {
		return "", "", err
	}
	title = "host"
	folder := filepath.Dir(name)
	if base := filepath.Base(folder); strings.HasPrefix(base, "vm-") {
		title, seed = base, ""
	}
	commit := output("git", "describe", "--always", "--dirty")
	if b, err := os.ReadFile(filepath.Join(folder, "commit")); err == nil && title != "host" {
		commit = strings.TrimSpace(string(b))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s\n\n%s, commit %s, %s, on %s %s", heading, title, st.ModTime().UTC().Format("2006-01-02 15:04 MST"), commit,
		runtime.Version(), output("uname", "-sr"), runtime.GOARCH)
	if seed != "" {
		fmt.Fprintf(&b, ", seed %s", seed)
	}
	b.WriteString(".\n\n| test | where | | figures |\n|---|---|---|---|\n")
	slices.SortStableFunc(rows, func(x, y []string) int { return cmp.Or(cmp.Compare(x[1], y[1]), cmp.Compare(x[0], y[0])) })
	cell := strings.NewReplacer("|", `\|`, "<", "&lt;").Replace
	for from := 0; from < len(rows); {
		to := from + 1
		for to < len(rows) && slices.Equal(rows[to][:3], rows[from][:3]) {
			to++
		}
		group := rows[from:to]
		if from = to; len(group) > maxRows {
			last := slices.Clone(group[len(group)-1])
			last[4] = fmt.Sprintf("%d rounds, the last: %s", len(group), last[4])
			if i := slices.IndexFunc(group, func(r []string) bool { return r[3] != "pass" }); i >= 0 {
				last = group[i]
			}
			group = [][]string{last}
		}
		for _, r := range group {
			where := r[0]
			if r[2] != "-" && r[2] != "" {
				where += ", " + r[2]
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", cell(r[1]), cell(where), cell(r[3]), cell(r[4]))
		}
	}
	return title, b.String(), nil
}

// write replaces sections between the marks of the document.
func write(name string, sections map[string]string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	head, rest, ok := strings.Cut(string(data), begin)
	old, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no place for figures", name)
	}
	for _, s := range strings.Split("\n"+old, "\n"+heading)[1:] {
		title, _, _ := strings.Cut(s, "\n")
		if _, again := sections[title]; !again {
			sections[title] = heading + strings.TrimRight(s, "\n") + "\n"
		}
	}
	var parts []string
	for _, title := range slices.Sorted(maps.Keys(sections)) {
		parts = append(parts, sections[title])
	}
	return os.WriteFile(name, []byte(head+begin+strings.Join(parts, "\n")+end+tail), 0o644)
}

func output(name string, args ...string) string {
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		return "?"
	}
	return strings.TrimSpace(string(out))
}
