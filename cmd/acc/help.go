package main

// This file is acc help, and makes the short --help.

import (
	"cmp"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/acc-project/acc/analysis/report"
)

// Exit codes, the same for every command.
const (
	exitOK        = 0
	exitError     = 1
	exitUsage     = 2
	exitTruncated = 3
	exitCorrupt   = 4
	exitLimit     = 5
	exitVerify    = 6
	exitEnv       = 7
	exitFound     = 8
	exitCounters  = 9
)

// exitCodes says what each means; README.md has the same table.
var exitCodes = []struct {
	code    int
	meaning string
}{
	{exitOK, "success"},
	{exitError, "error"},
	{exitUsage, "the command line is wrong"},
	{exitTruncated, "the capture is truncated, its recording did not close cleanly, or it was repaired"},
	{exitCorrupt, "the capture is corrupt: damaged, or its parts contradict each other"},
	{exitLimit, "acc analyze: the memory limit was reached, and the lists are incomplete; or the disk is full"},
	{exitVerify, "acc verify: a signature or a kept chain head does not match, or the one asked for is missing"},
	{exitEnv, "cannot record here: missing privileges or kernel support"},
	{exitFound, "acc analyze --fail-on: there is a finding of that severity or worse; acc diff --fail-on-regression: " +
		"the second capture is worse"},
	{exitCounters, "acc verify: the file is intact, but the kernel counted more or fewer connections than acc"},
}

// Groups of commands in acc --help.
var commandGroups = []*cobra.Group{
	{ID: "record", Title: "Record (root):"},
	{ID: "read", Title: "Read (no root):"},
	{ID: "evidence", Title: "Evidence:"},
	{ID: "other", Title: "Other:"},
}

// addGroup adds commands to the root under a heading.
func addGroup(root *cobra.Command, id string, commands ...*cobra.Command) {
	for _, c := range commands {
		c.GroupID = id
	}
	root.AddCommand(commands...)
}

// newExitCodesTopic is what acc help exit-codes prints.
func newExitCodesTopic() *cobra.Command {
	var b strings.Builder
	b.WriteString("Exit codes, the same for every command:\n\n")
	for _, c := range exitCodes {
		fmt.Fprintf(&b, "  %d  %s\n", c.code, c.meaning)
	}
	b.WriteString("\nacc record -- COMMAND exits with the exit code of the command. If a signal ended the\n" +
		"command, that is 128 plus the number of the signal.")
	return &cobra.Command{Use: "exit-codes", Short: "What each exit code means", Long: b.String()}
}

// newScreenTopic is what acc help screen prints.
func newScreenTopic() *cobra.Command {
	return &cobra.Command{Use: "screen", Short: "How to read what acc analyze prints",
		Long: `How to read what acc analyze prints

The first lines are the answer: whether the file is intact and the recording complete, then
the findings, worst first. "acc analyze --brief" prints these lines alone. If the text has
more lines than the terminal, acc prints them once more at the end.

Signs before a number
  ≥ 12       12 or more: events are missing that would have been counted
  ~ 12       the true number may be lower or higher
  12         exactly 12

Words
  attempt           one call of accept or accept4, or one request of io_uring
  without a return  its return is not in the capture: it was still waiting, or events are missing
  EAGAIN            (failures) nothing was queued; normal for a non-blocking server
  queued            the handshake is done; the connection waits in the accept queue
  queue high        the longest accept queue seen, "of" its limit; FULL: longer than the limit
  p99 queued        99 of 100 accepted connections waited no longer than this in the queue
  longest wait      no accepted connection of the host waited longer than this in the queue
  p99 in call       99 of 100 attempts took no longer than this
  in accept         calls that were still waiting when the recording ended
  time in accept    how long the calls took; time in: how long connections were in each state
  served            from accept to the server's close, or to the end of the connection
  dead on arrival   the client had reset the connection before accept returned it
  cross-check       the kernel's own count of TCP connections, compared with the capture's
  not shown         what this recording can't show, or what only the kernel's counters show
  events 13, 35     numbers of events that show a finding: acc explain 13 FILE
  next              what to look at, or to do, about a finding

The small bars show accepted connections over time, left to right; a dot is none.
--timeline draws one lane for each connection; its first line explains the signs. Threads
that acc looked at while clients waited have a lane, too.

How it looks
  width       the terminal's, or COLUMNS where the output is no terminal; columns that do
              not fit are shortened or left out
  colour      --color, NO_COLOR, TERM=dumb
  characters  ASCII where LC_ALL, LC_CTYPE or LANG names no UTF-8, or TERM is an old terminal
  times       in the recorded host's zone; --utc and --local (TZ) change that
acc starts no pager. For one: acc analyze --color always FILE | less -R`}
}

// newHelpCommand is acc help, which says everything about a command; --help is short.
func newHelpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND | exit-codes | filter | screen]",
		Short: "Explain a command in full",
		Long: `Help explains a command: what it does, its examples and its flags. "acc COMMAND --help" is
the short form. "acc help exit-codes" explains the exit codes,
"acc help screen" what acc analyze prints, "acc help filter" the conditions of -f.`,
		Example: `  acc help record
  acc help exit-codes
  acc help screen`,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, c := range cmd.Root().Commands() {
				if len(args) == 0 && !c.Hidden {
					names = append(names, cobra.CompletionWithDesc(c.Name(), c.Short))
				}
			}
			return beginning(names, word), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(cmd.Root(), rest)
			}
			return printHelp(cmd.OutOrStdout(), about, true)
		},
	}
}

// flagGroup is the annotation of a flag that has the heading it stands under.
const flagGroup = "acc_group"

// group puts flags under a heading in --help; those without one come last.
func group(cmd *cobra.Command, title string, names ...string) {
	for _, name := range names {
		if err := cmd.Flags().SetAnnotation(name, flagGroup, []string{title}); err != nil {
			panic(err) // no such flag
		}
	}
	if cmd.Annotations == nil {
		cmd.Annotations = map[string]string{}
	}
	cmd.Annotations[flagGroup] += title + "\n"
}

// flagHeading is a heading and the flags under it.
type flagHeading struct {
	title string
	flags *pflag.FlagSet
}

// flagHeadings gives the flags of a command under their headings, in order.
func flagHeadings(cmd *cobra.Command) (list []flagHeading) {
	titles := strings.FieldsFunc(cmd.Annotations[flagGroup], func(r rune) bool { return r == '\n' })
	last := "Flags"
	if len(titles) > 0 {
		last = "Other flags"
	}
	for _, title := range append(titles, last) {
		list = append(list, flagHeading{title, pflag.NewFlagSet(title, pflag.ContinueOnError)})
	}
	cmd.InitDefaultHelpFlag()
	cmd.InitDefaultVersionFlag()
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		i := len(titles)
		if of := f.Annotations[flagGroup]; len(of) > 0 {
			i = slices.Index(titles, of[0])
		}
		list[i].flags.AddFlag(f)
	})
	return slices.DeleteFunc(list, func(h flagHeading) bool { return !h.flags.HasAvailableFlags() })
}

// helpWidth is how wide help is at most.
const helpWidth = 100

// printHelp explains a command: in short, or with all that is to say.
func printHelp(out io.Writer, cmd *cobra.Command, full bool) error {
	var b strings.Builder
	width := widthOf(out)
	writeHelp(&b, cmd, full, width)
	_, err := io.WriteString(out, fitHelp(b.String(), width))
	return err
}

// fitHelp breaks what is too wide for so many columns, 0: for none. Sentences flow on; what is set in, as tables and
// examples are, stays line by line, and goes on below its last column; commands stay whole.
func fitHelp(text string, columns int) string {
	if columns <= 0 {
		return text
	}
	var out []byte
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		below := setIn(line)
		if at := strings.LastIndex(line, "  ") + 2; below > 0 && at > below {
			below = utf8.RuneCountInString(line[:at])
		}
		if below > 0 && isCommand(line) { // to be copied
			out = append(append(out, line...), '\n')
			continue
		}
		for wide := tooWide(lines[i:], columns); wide && i+1 < len(lines) && lines[i+1] != "" &&
			setIn(lines[i+1]) == below && (below == 0 || below > setIn(line)); {
			i++
			line += " " + strings.TrimSpace(lines[i])
		}
		out = append(report.AppendFolded(out, []byte(line), columns, min(below, columns/2)), '\n')
	}
	return strings.TrimSuffix(string(out), "\n")
}

// setIn is how far a line is set in.
func setIn(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

// isCommand reports whether a line of help is a command to type.
func isCommand(line string) bool {
	line = strings.TrimPrefix(strings.TrimSpace(line), "sudo ")
	return strings.HasPrefix(line, "acc ") || strings.Contains(line, "| acc ")
}

// tooWide reports whether one of the lines up to the next empty one does not fit.
func tooWide(lines []string, columns int) bool {
	for _, line := range lines {
		if line == "" {
			return false
		}
		if utf8.RuneCountInString(line) > columns {
			return true
		}
	}
	return false
}

// writeHelp does so for a terminal of so many columns, 0: none.
func writeHelp(w io.Writer, cmd *cobra.Command, full bool, columns int) {
	topic := !cmd.Runnable() && !cmd.HasSubCommands()
	nested := cmd.HasParent() && cmd.Parent().HasParent() // acc completion bash
	text := cmd.Short + "."
	if full || topic || nested {
		text = cmp.Or(cmd.Long, text)
	}
	fmt.Fprintf(w, "%s\n", strings.TrimSpace(text))
	if topic {
		return
	}
	fmt.Fprintf(w, "\nUsage:\n")
	if cmd.Runnable() && cmd.HasParent() {
		fmt.Fprintf(w, "  %s\n", cmd.UseLine())
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(w, "  %s COMMAND\n", cmd.CommandPath())
	}
	if len(cmd.Aliases) > 0 {
		fmt.Fprintf(w, "\nAlso: %s\n", strings.Join(cmd.Aliases, ", "))
	}
	if cmd.HasExample() {
		examples := cmd.Example
		if lines := strings.Split(examples, "\n"); !full && len(lines) > shortExamples {
			examples = strings.Join(lines[:shortExamples], "\n")
		}
		fmt.Fprintf(w, "\nExamples:\n%s\n", examples)
	}
	printCommands(w, cmd)
	width := helpWidth
	if columns > 0 {
		width = min(width, max(columns, 40))
	}
	for _, h := range flagHeadings(cmd) {
		usages := h.flags.FlagUsagesWrapped(width)
		if !full {
			usages = shortUsages(h.flags.FlagUsages(), width)
		}
		fmt.Fprintf(w, "\n%s:\n%s", h.title, usages)
	}
	switch {
	case !cmd.HasParent():
		fmt.Fprintf(w, "\n\"acc COMMAND --help\" is short, \"acc help COMMAND\" explains all. Exit codes: acc help "+
			"exit-codes\n")
	case full:
		fmt.Fprintf(w, "\nExit codes: acc help exit-codes\n")
	case !nested:
		fmt.Fprintf(w, "\nMore: acc help %s    Exit codes: acc help exit-codes\n", cmd.Name())
	}
}

// shortExamples is how many examples --help has at most.
const shortExamples = 5

var (
	defaultOf = regexp.MustCompile(` \(default [^();]*\)$`)
	listed    = regexp.MustCompile(`: [\w-]+(, [\w-]+)*(,? or [\w-]+)?$`)
)

// shortUsages gives each flag one line of helpWidth columns: of its explanation what comes before a colon, a
// semicolon or a parenthesis, else before a comma. If that is not enough, if it would take away the list of a
// flag's values, or if there are fewer columns, the line is folded.
func shortUsages(usages string, columns int) string {
	var out []byte
	for line := range strings.Lines(usages) {
		line = strings.TrimSuffix(line, "\n")
		given := defaultOf.FindString(line)
		text := strings.TrimSuffix(line, given)
		name := strings.Index(text, "--")
		column := name + max(0, strings.Index(text[name:], "   ")) + 3
		if utf8.RuneCountInString(line) > helpWidth && !listed.MatchString(text) {
			if at := shortEnd(text[column:], helpWidth-column-utf8.RuneCountInString(given)); at > 0 {
				line = text[:column+at] + given
			}
		}
		column += len(text[column:]) - len(strings.TrimLeft(text[column:], " "))
		out = append(report.AppendFolded(out, []byte(line), columns, column), '\n')
	}
	return string(out)
}

// shortEnd is where the first part of an explanation ends that has at most so many columns, 0: nowhere.
func shortEnd(text string, columns int) (end int) {
	comma, depth, column := 0, 0, 0
	for i, r := range text {
		rest := text[i:]
		switch {
		case column > columns:
			return cmp.Or(end, comma)
		case depth == 0 && (strings.HasPrefix(rest, ": ") || strings.HasPrefix(rest, "; ") || strings.HasPrefix(rest, " (")):
			end = i
		case depth == 0 && strings.HasPrefix(rest, ", "):
			comma = i
		}
		switch r {
		case '(':
			depth++
		case ')':
			depth--
		}
		column++
	}
	return cmp.Or(end, comma)
}

// printCommands lists the commands below one, by group.
func printCommands(w io.Writer, cmd *cobra.Command) {
	groups := slices.Concat(cmd.Groups(), []*cobra.Group{{Title: "Commands:"}})
	for _, g := range groups {
		title := "\n" + g.Title + "\n"
		for _, c := range cmd.Commands() {
			if c.GroupID == g.ID && !c.Hidden && (c.IsAvailableCommand() || c.Name() == "help" ||
				c.IsAdditionalHelpTopicCommand()) {
				fmt.Fprintf(w, "%s  %-10s  %s\n", title, c.Name(), c.Short)
				title = ""
			}
		}
	}
}
