package main

// This file holds the sentences that commands print against what they may not contain.

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// ones matches "1 events", "1 more processes" and the like: a word behind a lone 1 that is a
// plural.
var ones = regexp.MustCompile(`(?:^|[^\d.,:≥~\w-]|≥|~)1 (?:[a-z-]+ )?(?:` + strings.Join([]string{
	"accepts", "ACKs", "addresses", "attempts", "bytes", "calls", "captures", "changes", "clients", "CPUs",
	"connections",
	"counters", "days", "descriptors", "entries", "errors", "events", "failures", "files", "findings", "frames",
	"handshakes",
	"heads", "hits", "lines", "listeners", "losses", "namespaces", "packets", "peers", "places", "probes", "processes",
	"returns", "segments", "signatures", "sockets", "SYNs", "tasks", "threads", "times", "workers",
}, "|") + `)\b`)

// forbidden are mistakes of language by their kind, in what commands print.
var forbidden = map[string]*regexp.Regexp{
	"a plural of one":                     ones,
	"a verb that does not fit one":        regexp.MustCompile(`(?:^|[^\d.,:])1 (?:client|connection|process|socket|of them) (?:were|have|are)\b`),
	"one event called events":             regexp.MustCompile(`\bevents \d+ (?:at|from)\b`),
	"a span of one event":                 regexp.MustCompile(`\b1 time in|\bin [≥~]?0 ns\b`),
	"a count of many beside a singular":   regexp.MustCompile(`(?:^|[^\d.,:])(?:[2-9]|\d\d+) (?:accept|attempt|client|connection|event|frame|listener|packet|peer|process|socket|time)\b[^-\[…]`),
	"names without a comma between them":  regexp.MustCompile(`before \w+ \w[\w.]* \(\d+\) accepted`),
	"an ordinary number with a full stop": regexp.MustCompile(`\bfor the \d+\. time`),
	"a value that Go prints":              regexp.MustCompile(`%!|<nil>|\{\d|\bmap\[`),
	"a space before a mark":               regexp.MustCompile(`\w ,|\w ;|\( | \)`),
	"two marks":                           regexp.MustCompile(`[,;:]\s*[,;]|[^.]\.\.(?:[^./]|$)`),
	"a word twice":                        regexp.MustCompile(`\b(?:the the|of of|is is|to to|in in|a a|and and|at at)\b`),
	"a word that WORDS forbids":           badWords,
}

// badWords are terms for which another one is used everywhere.
var badWords = regexp.MustCompile(`(?i)\bends of attempts\b|\bwitness(?:es)?\b|\bis told\b|\btold apart\b|\bgoes without saying\b|\bhung up\b|` +
	`\bclosed its side\b|\bforged\b|\bstrangers?\b|\bits twin\b|\bthan there were\b|\bless than nothing\b|\bcomes to accept\b|` +
	`\bwhich it was not in\b|\bkept heads?\b|\bof which nothing\b|\bin order\b|\bnot seen\b`)

// seccompLimit is what recorders write into the header of captures, which readers print.
var seccompLimit = regexp.MustCompile(`accepts that seccomp refuses are not\s+seen`)

// notLooked is the part of a wait in which nobody looked at the server's threads, which is called so (docs/FINDINGS.md).
var notLooked = regexp.MustCompile(`\d %\s+not\s+seen`)

// What commands print of any capture is free of mistakes of these kinds.
func TestSentences(t *testing.T) {
	unconfined(t)
	smallCapture = 4 << 20
	dump := os.Getenv("ACC_DUMP") // a folder that gets all that is printed
	for _, x := range corpus(t, testing.Short()) {
		if strings.HasPrefix(x.name, "museum: ") {
			continue // names in it are hostile
		}
		file := writeFile(t, "x", x.data)
		var all strings.Builder
		for _, columns := range []string{"80", "200"} {
			t.Setenv("COLUMNS", columns)
			for _, args := range sentenceCommands {
				got := runHere(t, append(strings.Fields(args), file)...)
				text := strings.ReplaceAll(got.out+got.err, file, "x.acc")
				fmt.Fprintf(&all, "$ COLUMNS=%s acc %s x.acc\n%s\n", columns, args, text)
			}
		}
		if dump != "" {
			name := strings.Map(func(r rune) rune {
				if strings.ContainsRune(" ,:/", r) {
					return '-'
				}
				return r
			}, x.name)
			if err := os.WriteFile(filepath.Join(dump, name+".txt"), []byte(all.String()), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		text := notLooked.ReplaceAllString(all.String(), "")
		checkSentences(t, x.name, seccompLimit.ReplaceAllString(text, ""))
	}
}

// sentenceCommands are what is run on each capture.
var sentenceCommands = []string{
	"analyze", "analyze --brief", "analyze --salvage --top 1", "analyze --connections", "analyze --pairs",
	"analyze --timeline",
	"explain 1", "explain 3", "analyze --connection 1", "info", "info --full", "verify", "replay --speed max",
	"replay --speed max --salvage",
}

// The texts that tests of package report hold are free of them, too.
func TestSentencesOfReports(t *testing.T) {
	files, err := filepath.Glob("../../analysis/report/testdata/*.txt")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		checkSentences(t, filepath.Base(name), string(data))
	}
}

// checkSentences looks for mistakes, also where a line is broken in the midst of one.
func checkSentences(t *testing.T, name, text string) {
	t.Helper()
	for kind, bad := range forbidden {
		seen := map[string]bool{}
		for _, at := range bad.FindAllStringIndex(text, -1) {
			line := text[strings.LastIndexByte(text[:at[0]], '\n')+1:]
			line, _, _ = strings.Cut(line, "\n")
			if found := text[at[0]:at[1]]; !seen[found] {
				seen[found] = true
				t.Errorf("%s: %s: %q in %q", name, kind, found, line)
			}
		}
	}
}
