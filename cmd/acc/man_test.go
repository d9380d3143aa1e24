package main

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cpuguy83/go-md2man/v2/md2man"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// manPage is a page of the manual, in Markdown.
type manPage struct {
	name, section, about, text string
}

// file is what the page is called.
func (p manPage) file() string { return p.name + "." + p.section }

// roff is the page as man(1) reads it. The date and the version are the release's.
func (p manPage) roff() []byte {
	head := fmt.Sprintf("%% %q %q %q %q %q\n# NAME\n%s \\- %s\n\n", strings.ToUpper(p.name), p.section,
		cmp.Or(os.Getenv("ACC_DATE"), time.Now().Format(time.DateOnly)), strings.TrimSpace("acc "+os.Getenv("ACC_VERSION")), "acc manual", p.name, p.about)
	return foldRoff(asciiRoff(md2man.Render([]byte(head + p.text))))
}

// asciiRoff names characters by their numbers, as every roff knows them, whatever it takes the page's encoding for.
func asciiRoff(page []byte) (out []byte) {
	for _, r := range string(page) {
		if r < 128 {
			out = append(out, byte(r))
		} else {
			out = fmt.Appendf(out, `\[u%04X]`, r)
		}
	}
	return out
}

// foldRoff breaks lines of text at 80 bytes, as mandoc -T lint wants them. Examples and tables stay.
func foldRoff(page []byte) []byte {
	var out strings.Builder
	stays := false
	for line := range strings.Lines(string(page)) {
		switch strings.TrimSpace(line) {
		case ".EX", ".TS":
			stays = true
		case ".EE", ".TE":
			stays = false
		}
		for !stays && len(line) > 80 && line[0] != '.' && line[0] != '\'' {
			at := strings.LastIndexByte(line[:80], ' ')
			for at > 0 && strings.ContainsRune(".' \n", rune(line[at+1])) { // which mean something there
				at = strings.LastIndexByte(line[:at], ' ')
			}
			if at < 1 {
				break
			}
			out.WriteString(line[:at] + "\n")
			line = line[at+1:]
		}
		out.WriteString(line)
	}
	return []byte(out.String())
}

// manPages are all of them: one for each command, for the format, the findings and the
// exit codes.
func manPages(t *testing.T) (pages []manPage) {
	root := newRootCommand()
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	pages = append(pages, commandPage(root, "acc"))
	for _, c := range root.Commands() {
		switch {
		case hasCommandPage(c):
			pages = append(pages, commandPage(c, "acc-"+c.Name()))
		case c.Name() != "exit-codes": // whose page is made of the codes
			pages = append(pages, topicPage(c))
		}
	}
	var codes strings.Builder
	codes.WriteString("# DESCRIPTION\nThe exit codes of acc(1) are the same for every command.\n\n")
	for _, c := range exitCodes {
		fmt.Fprintf(&codes, "**%d**\n: %s\n\n", c.code, escapeMarkdown(c.meaning))
	}
	codes.WriteString("acc record -- COMMAND exits with the exit code of the command. A command that a signal ended has 128 and the\n" +
		"number of the signal.\n\n# SEE ALSO\nacc(1)\n")
	return append(pages,
		manPage{"acc-exit-codes", "7", "exit codes of acc", codes.String()},
		documentPage(t, "acc", "5", "format of acc captures", "../../docs/FORMAT.md"),
		documentPage(t, "acc-findings", "7", "what acc analyze finds in a capture", "../../docs/FINDINGS.md"))
}

// hasCommandPage tells a command from a topic of help.
func hasCommandPage(c *cobra.Command) bool { return c.Runnable() || c.HasSubCommands() }

// commandPage is the page of a command.
func commandPage(cmd *cobra.Command, name string) manPage {
	var b strings.Builder
	line := cmd.UseLine()
	if !cmd.HasParent() {
		line = "acc COMMAND"
	}
	fmt.Fprintf(&b, "# SYNOPSIS\n**%s**%s\n\n# DESCRIPTION\n%s\n\n", cmd.CommandPath(), escapeMarkdown(strings.TrimPrefix(line, cmd.CommandPath())), cmd.Long)
	for _, g := range cmd.Groups() {
		fmt.Fprintf(&b, "# %s\n", strings.ToUpper(strings.TrimSuffix(g.Title, ":")))
		for _, c := range cmd.Commands() {
			if c.GroupID == g.ID {
				page := "acc-" + c.Name() + "(1)"
				if !hasCommandPage(c) {
					page = "acc-" + c.Name() + "(7)"
				}
				fmt.Fprintf(&b, "**%s**\n: %s. See %s.\n\n", c.Name(), escapeMarkdown(c.Short), page)
			}
		}
	}
	if cmd.HasParent() {
		for _, c := range cmd.Commands() {
			fmt.Fprintf(&b, "# %s\n**%s**%s\n\n%s\n\n", strings.ToUpper(c.Name()), c.CommandPath(),
				escapeMarkdown(strings.TrimPrefix(c.UseLine(), c.CommandPath())), c.Long)
			c.InheritedFlags() // adds its own --help
			writeFlags(&b, c.LocalFlags())
		}
	}
	for _, h := range flagHeadings(cmd) {
		fmt.Fprintf(&b, "# %s\n", strings.ToUpper(h.title))
		writeFlags(&b, h.flags)
	}
	if cmd.HasExample() {
		b.WriteString("# EXAMPLES\n")
		for line := range strings.Lines(cmd.Example) {
			b.WriteString("    " + strings.TrimSpace(line) + "\n")
		}
		b.WriteString("\n")
	}
	b.WriteString("# EXIT STATUS\nacc-exit-codes(7) has the table, which is the same for every command.\n\n# SEE ALSO\n")
	if cmd.HasParent() {
		b.WriteString("acc(1), ")
	}
	b.WriteString("acc-exit-codes(7), acc-findings(7), acc(5)\n")
	return manPage{name, "1", cmd.Short, b.String()}
}

// writeFlags writes a list of flags with what they mean.
func writeFlags(b *strings.Builder, flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		value, text := pflag.UnquoteUsage(f)
		names := "**--" + f.Name + "**"
		if f.Shorthand != "" {
			names = "**-" + f.Shorthand + "**, " + names
		}
		if value != "" {
			names += " *" + value + "*"
		}
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" && f.DefValue != "0" {
			text += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(b, "%s\n: %s\n\n", names, escapeMarkdown(text))
	})
}

// topicPage is the page of a topic of acc help: its text as it is, behind its first paragraph.
func topicPage(cmd *cobra.Command) manPage {
	first, rest, _ := strings.Cut(cmd.Long, "\n\n")
	var b strings.Builder
	fmt.Fprintf(&b, "# DESCRIPTION\n%s\n\n", escapeMarkdown(first))
	for line := range strings.Lines(rest) {
		b.WriteString("    " + line)
	}
	b.WriteString("\n\n# SEE ALSO\nacc(1), acc-analyze(1)\n")
	return manPage{"acc-" + cmd.Name(), "7", cmd.Short, b.String()}
}

var (
	markdownLink = regexp.MustCompile(`\[([^\]]+)\]\([^)]+\)`)
	special      = regexp.MustCompile("[*_<>\\[\\]|`]")
)

func escapeMarkdown(s string) string { return special.ReplaceAllString(s, `\$0`) }

// documentPage is the page of a document.
func documentPage(t *testing.T, name, section, about, file string) manPage {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(data), "\n") // its title
	text = markdownLink.ReplaceAllString(text, "$1")
	return manPage{name, section, about, "# DESCRIPTION\n" + strings.TrimSpace(text) + "\n\n# SEE ALSO\nacc(1), acc-analyze(1), acc-verify(1)\n"}
}

// The manual is made from the commands and the documents, into the folder that $ACC_MAN
// names, if it does; mandoc, where it is installed, finds nothing in it.
func TestManPages(t *testing.T) {
	dir := cmp.Or(os.Getenv("ACC_MAN"), t.TempDir())
	var files []string
	for _, p := range manPages(t) {
		roff := p.roff()
		if !strings.HasPrefix(string(roff), ".nh\n.TH ") && !strings.HasPrefix(string(roff), "'\\\" t\n.nh\n.TH ") {
			t.Errorf("%s begins with %.40q", p.file(), roff)
		}
		name := filepath.Join(dir, p.file())
		if err := os.WriteFile(name, roff, 0o644); err != nil {
			t.Fatal(err)
		}
		files = append(files, name)
	}
	if _, err := exec.LookPath("mandoc"); err != nil {
		return
	}
	for _, name := range files {
		if out, _ := exec.Command("mandoc", "-T", "lint", "-W", "style", name).CombinedOutput(); len(out) > 0 {
			t.Errorf("%s", out)
		}
	}
}
