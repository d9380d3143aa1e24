// Package figures lets tests leave what they measured for docs/RELIABILITY.md.
//
// A row is a line of five columns with tabs between them: where it ran, test,
// mode, verdict, figures. Tests in a virtual machine append such rows to
// /out/reliability.tsv on their own.
package figures

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Torture reports whether all of a test is to run, and not its quick share.
func Torture() bool { return os.Getenv("ACC_TORTURE") != "" }

// Seed is what a test's random numbers begin with: ACC_SEED; else the time where
// all of a test runs, and 1 in the quick share. The test's log says it.
func Seed(t testing.TB) uint64 {
	seed, err := strconv.ParseUint(os.Getenv("ACC_SEED"), 10, 64)
	if err != nil {
		seed = 1
		if Torture() {
			seed = uint64(time.Now().UnixNano())
		}
	}
	t.Logf("ACC_SEED=%d", seed)
	return seed
}

// Tell logs what a test found and, if the environment names a file in
// ACC_FIGURES, appends a row to it. What is the row's name, as "A1 cut at every byte".
func Tell(t testing.TB, what, format string, args ...any) {
	t.Helper()
	text := fmt.Sprintf(format, args...)
	t.Logf("%s: %s", what, text)
	name := os.Getenv("ACC_FIGURES")
	if name == "" {
		return
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	verdict := "pass"
	if t.Failed() {
		verdict = "FAIL"
	}
	clean := strings.NewReplacer("\t", " ", "\n", " ")
	fmt.Fprintf(f, "host\t%s\t-\t%s\t%s\n", clean.Replace(what), verdict, clean.Replace(text))
}
