package report

// This file writes a result in Markdown, for a comment of a bug tracker.

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/acc-project/acc/analysis"
)

// MaxMarkdown is how many characters a comment of GitHub can have.
const MaxMarkdown = 65_536

// Markdown writes the result for a comment: verdict, findings, figures and tables, the worst first, with at most
// so many characters (0: MaxMarkdown). It says what did not fit. All that comes from the capture stands in blocks of
// code, where nothing in it is a link, a mention or HTML. The lines after, which are the caller's, stand at the end.
func Markdown(w io.Writer, r *analysis.Result, o TextOptions, most int, after ...string) error {
	if most <= 0 {
		most = MaxMarkdown
	}
	o.Color, o.Height = false, 0
	m := &markdown{r: r, o: o}
	end := ""
	for _, line := range after {
		end += fence(line)
	}
	m.block("", func(t *text) {
		t.fold("", t.verdict(), "")
		t.notices()
	})
	t := newText(r, o)
	total := r.FindingCounts.Critical + r.FindingCounts.Warning + r.FindingCounts.Notice
	if total == 0 {
		m.parts = append(m.parts, markdownPart{text: "**Findings: none**\n\n", what: "findings"})
	} else {
		m.parts = append(m.parts, markdownPart{text: "### Findings: " + t.findingCounts() + "\n\n", what: "findings"})
	}
	for i := range r.Findings {
		m.block("findings", func(t *text) { t.finding(&r.Findings[i]) })
	}
	if n := r.Others.Findings; n > 0 {
		m.parts = append(m.parts, markdownPart{text: fmt.Sprintf("%d more findings: `acc analyze --top 0`\n\n", n),
			what: "findings"})
	}
	for _, s := range []struct {
		what string
		add  func(t *text)
	}{{"what was recorded", func(t *text) { t.head() }}, {"marks", (*text).marks},
		{"what is missing", (*text).footnotes}, {"attempts", (*text).totals}, {"time in accept", (*text).times},
		{"connections", (*text).connections}, {"listeners", (*text).listeners}, {"processes", (*text).processes}} {
		m.block(s.what, s.add)
	}
	_, err := io.WriteString(w, m.fit(most, end))
	return err
}

// markdown collects the parts of a comment, the most important first.
type markdown struct {
	r     *analysis.Result
	o     TextOptions
	parts []markdownPart
}

type markdownPart struct{ text, what string }

// block adds what write writes as a block of code.
func (m *markdown) block(what string, write func(*text)) {
	t := newText(m.r, m.o)
	write(t)
	if s := strings.Trim(t.String(), "\n"); s != "" {
		m.parts = append(m.parts, markdownPart{fence(s), what})
	}
}

// fence makes a text a block of code that nothing in it ends.
func fence(s string) string {
	marks, run := 2, 0
	for _, r := range s {
		if run++; r != '`' {
			run = 0
		}
		marks = max(marks, run)
	}
	f := strings.Repeat("`", marks+1)
	return f + "text\n" + s + "\n" + f + "\n\n"
}

// fit joins as many parts as there is room for, and says which ones are left out.
func (m *markdown) fit(most int, end string) string {
	room := most - utf8.RuneCountInString(end) - 400 // for what is said of the rest
	var b strings.Builder
	var left []string
	count := map[string]int{}
	for _, p := range m.parts {
		n := utf8.RuneCountInString(p.text)
		if room -= n; room >= 0 && len(left) == 0 {
			b.WriteString(p.text)
			continue
		}
		if count[p.what]++; count[p.what] == 1 {
			left = append(left, p.what)
		}
	}
	if len(left) > 0 {
		for i, what := range left {
			if what == "findings" {
				left[i] = fmt.Sprintf("%s less bad ones of the findings", Count(uint64(count[what])))
			}
		}
		fmt.Fprintf(&b, "**Left out, for a comment has at most %s characters: %s.** `acc analyze` prints all.\n\n",
			Count(uint64(most)), strings.Join(left, ", "))
	}
	return b.String() + end
}
