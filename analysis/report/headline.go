package report

// This file writes the answer: the few lines that a screen begins with.

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/audit"
	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/format"
)

// maxHeadlines is how many lines the answer takes at most, with the one about the capture itself.
const maxHeadlines = 5

// Brief writes the answer alone: in one line whether the file is intact and the
// recording complete, then the findings, worst first; five lines at most. A finding takes a line, or
// several while there is room.
func Brief(w io.Writer, r *analysis.Result, o TextOptions) error {
	t := newText(r, o)
	t.answer()
	_, err := w.Write(t.Bytes())
	return err
}

// answer writes what Brief does.
func (t *text) answer() {
	code := ""
	if !t.certain() {
		code = red
	}
	t.line(code, t.verdict(), "")
	t.notices()
	total := t.r.FindingCounts.Critical + t.r.FindingCounts.Warning + t.r.FindingCounts.Notice
	list, room := t.r.Findings, maxHeadlines-1
	if i := slices.IndexFunc(list, func(f findings.Finding) bool { return f.ID == "incomplete" }); i >= 0 {
		list, total = slices.Delete(slices.Clone(list), i, i+1), total-1 // the first line says it
	}
	switch {
	case total == 0 && len(t.r.Findings) > 0:
		t.line(amber, "", "findings: none in what could be read (1 warning: incomplete)")
		return
	case total == 0:
		t.line(bold, "findings:", " none")
		return
	case total > room || len(list) < total:
		list = list[:min(len(list), room-1)]
	}
	spare := room - len(list)
	if total > len(list) {
		spare--
	}
	for i := range list { // the worst ones may take two lines, or what is left
		spare -= t.headline(&list[i], 1+spare) - 1
	}
	if total > len(list) {
		t.line("", "", fmt.Sprintf("findings in all: %s", t.findingCounts()))
	}
}

// notices says that the capture is not the one that was recorded.
func (t *text) notices() {
	for _, line := range Notices(t.r.Capture.Redacted, t.r.Capture.Cuts) {
		t.line(amber, "", line)
	}
}

// Notices are what stands on every screen of a capture that is not the one that was recorded.
func Notices(redacted *format.Redacted, cuts []format.Cut) (lines []string) {
	if redacted != nil {
		lines = append(lines, redactedLine)
	}
	if n := len(cuts); n > 0 {
		lines = append(lines, cutLine(&cuts[n-1]))
	}
	return lines
}

// cutLine says of which part of a recording a capture is.
func cutLine(c *format.Cut) string {
	of := "a recording whose end is not known"
	if c.EndNS > c.StartNS {
		of = Duration(c.EndNS-c.StartNS) + " of recording"
	}
	text := fmt.Sprintf("CUT: %s of %s", Duration(c.UntilNS-c.FromNS), of)
	if c.Chosen() {
		text += ", and of that what was selected"
	}
	if !c.Begin {
		text += "; what began before the cut is named as such"
	}
	return text
}

// redactedLine is what stands on every screen of a redacted capture.
const redactedLine = "REDACTED: names, addresses and ports are not the original ones (acc info says what was kept)"

// headline writes a finding in so many lines at most, and gives how many it took. If it is known why it is so, that
// stands there, too, where there are two lines or more.
func (t *text) headline(f *findings.Finding, most int) int {
	color, head := colors[f.Severity], t.severity(f)+" "+headID(f)+":"
	if m := f.Meanwhile; m != nil && m.Because && most > 1 {
		n := t.headed(color, head, f.Text, most/2)
		return n + t.headed("", "  because:", m.Text, most-n)
	}
	return t.headed(color, head, f.Text, most)
}

// headed writes a text behind a head in so many lines at most, and gives how many it took.
func (t *text) headed(color, head, words string, most int) int {
	name := strings.TrimLeft(head, " ")
	indent := head[:len(head)-len(name)]
	width := t.o.Width
	if width > 0 {
		width -= len(indent)
	}
	lines := strings.Split(string(AppendFolded(nil, []byte(name+" "+words), width, 2)), "\n")
	if len(lines) > most { // the last one has the rest, as far as there is room
		rest := strings.Join(strings.Fields(strings.Join(lines[most-1:], " ")), " ")
		if most > 1 {
			rest = "  " + rest
		}
		lines = append(lines[:most-1], cut(rest, width))
	}
	first, whole := strings.CutPrefix(lines[0], name)
	if whole {
		t.line(color, head, first)
	} else {
		t.line(color, indent+lines[0], "")
	}
	for _, l := range lines[1:] {
		t.line("", "", indent+l)
	}
	return len(lines)
}

// headID names a finding, and what it is the cause of.
func headID(f *findings.Finding) string {
	ids := []string{f.ID}
	for _, p := range f.Parts {
		if !slices.Contains(ids, p.ID) {
			ids = append(ids, p.ID)
		}
	}
	return strings.Join(ids, ", ")
}

// certain reports whether the file is intact and the recording complete.
func (t *text) certain() bool {
	return t.r.Integrity.State == audit.Intact && t.r.Recording.State == audit.Complete
}

// verdict says in one line whether the file is intact and the recording complete.
func (t *text) verdict() string {
	file, _, _ := strings.Cut(FileState(&t.r.Integrity), ":")
	return "file " + file + "; recording " + RecordingState(&t.r.Recording)
}

// severity is that of a finding, the worst in capitals.
func (t *text) severity(f *findings.Finding) string {
	if f.Severity == findings.Critical {
		return strings.ToUpper(string(f.Severity))
	}
	return string(f.Severity)
}

// findingCounts says how many findings there are of each severity.
func (t *text) findingCounts() string {
	var counts []string
	for i, n := range []int{t.r.FindingCounts.Critical, t.r.FindingCounts.Warning, t.r.FindingCounts.Notice} {
		if n > 0 {
			word := string(findings.Severities[i])
			if findings.Severities[i] != findings.Critical {
				word = humanize.Nouns(uint64(n), word)
			}
			counts = append(counts, fmt.Sprintf("%d %s", n, word))
		}
	}
	return strings.Join(counts, ", ")
}
