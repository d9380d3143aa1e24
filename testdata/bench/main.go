// Bench measures acc against its peers, and writes what it finds into
// docs/BENCHMARKS.md, a section for each of its commands:
//
//	bench record VM ACC LOOP   cost, in instructions, in a machine that counts them
//	bench size VM ACC TIME     bytes on disk, nginx under wrk for so long; -: of the run before
//	bench read ACC DIR N       time and memory to read what size left in DIR, and N made events
//	bench make FILE N          a capture of N made events, in bounded memory
//
// `make bench` runs it. The peers are Debian's packages.
package main

import (
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"
)

const page = "docs/BENCHMARKS.md"

func main() {
	log.SetFlags(0)
	log.SetPrefix("bench: ")
	args := os.Args[1:]
	var err error
	switch {
	case len(args) == 4 && args[0] == "record":
		err = record(args[1], args[2], args[3])
	case len(args) == 4 && args[0] == "size":
		err = size(args[1], args[2], args[3])
	case len(args) == 4 && args[0] == "read":
		var n int
		if n, err = strconv.Atoi(args[3]); err == nil {
			err = read(args[1], args[2], n)
		}
	case len(args) == 3 && args[0] == "make":
		var n int
		if n, err = strconv.Atoi(args[2]); err == nil {
			err = generate(args[1], n)
		}
	default:
		err = fmt.Errorf("usage: bench record VM ACC LOOP | size VM ACC TIME | read ACC DIR N | make FILE N")
	}
	if err != nil {
		log.Fatal(err)
	}
}

// table is a Markdown table that grows a row at a time.
type table struct{ strings.Builder }

func newTable(head ...string) *table {
	t := &table{}
	t.row(head...)
	t.WriteString("|---" + strings.Repeat("|---:", len(head)-1) + "|\n")
	return t
}

func (t *table) row(cells ...string) { t.WriteString("| " + strings.Join(cells, " | ") + " |\n") }

// section puts text into the page, in place of what stood in that section.
func section(name, text string) error {
	data, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	begin, end := "<!-- "+name+" -->\n", "<!-- end "+name+" -->\n"
	head, rest, ok := strings.Cut(string(data), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("write %s: it has no section %s", page, name)
	}
	return os.WriteFile(page, []byte(head+begin+text+end+tail), 0o644)
}

// count writes a number with commas.
func count(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// ratio says how many times as much as base n is.
func ratio(n, base float64) string {
	if base <= 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", n/base)
}
