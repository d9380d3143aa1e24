// Matrix writes docs/KERNELS.md: what the tests of recording saw on each kernel, by
// the rows that they left (paths.tsv). Arguments: the files; the table goes to
// standard output.
package main

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strings"
)

// A row is what one test says of one case: kernel, architecture, release, mode,
// case, verdict, note.
type row [7]string

// column is a kernel and a mode.
func (r row) column() string { return r[0] + " " + r[1] + " " + r[3] }

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "matrix: %v\n", err)
		os.Exit(1)
	}
}

func run(paths []string) error {
	var columns, cases, releases, notes []string
	cells := map[[2]string]row{}
	for _, path := range paths {
		rows, err := read(path)
		if err != nil {
			return err
		}
		for _, r := range rows {
			for _, add := range []struct {
				list *[]string
				s    string
			}{{&columns, r.column()}, {&cases, r[4]}, {&releases, r[2] + " (" + r[1] + ")"}} {
				if !slices.Contains(*add.list, add.s) {
					*add.list = append(*add.list, add.s)
				}
			}
			cells[[2]string{r[4], r.column()}] = r
		}
	}
	w := bufio.NewWriter(os.Stdout)
	fmt.Fprintf(w, `# What is recorded on which kernel

Written by %[1]smake test-vm-all%[1]s: each row is a case of %[1]stestdata/accepts%[1]s, a program that accepts
in every way and counts what it did, or a test of %[1]scapture%[1]s; each cell says whether all of its attempts, and
nothing else, were in the capture, with errno, descriptor, listener, queue, addresses and process as the program
saw them. %[1]s–%[1]s: the kernel has no such thing, or its build leaves it out.

Kernels: %[2]s.

`, "`", strings.Join(releases, ", "))
	fmt.Fprintf(w, "| case | %s |\n|---|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
	for _, c := range cases {
		fmt.Fprintf(w, "| %s |", c)
		for _, col := range columns {
			r, ok := cells[[2]string{c, col}]
			cell := "not run"
			if ok {
				cell = strings.ReplaceAll(r[5], "-", "–")
				if note := r[6]; note != "" {
					i := slices.Index(notes, note)
					if i < 0 {
						i, notes = len(notes), append(notes, note)
					}
					cell += fmt.Sprintf(" [%d]", i+1)
				}
			}
			fmt.Fprintf(w, " %s |", cell)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w)
	for i, note := range notes {
		fmt.Fprintf(w, "%d. %s\n", i+1, note)
	}
	return w.Flush()
}

func read(path string) (rows []row, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(fields) != len(row{}) {
			return nil, fmt.Errorf("%s: a line of %d fields", path, len(fields))
		}
		rows = append(rows, row(fields))
	}
	return rows, nil
}
