package main

// This file answers command lines that make no sense.

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// usageError is a command line that makes no sense.
type usageError struct {
	err  error
	hint string
}

func (e *usageError) Error() string { return e.err.Error() }

func usage(cmd *cobra.Command, err error) error {
	return &usageError{err, fmt.Sprintf("see %q", cmd.CommandPath()+" --help")}
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(cmd, fmt.Errorf("unexpected argument %q", args[0]))
	}
	return nil
}

// rootArgs refuses what is no command, and says which one could be meant.
func rootArgs(root *cobra.Command, args []string) error {
	if len(args) > 0 {
		return unknownCommand(root, args)
	}
	return nil
}

// onlyCommands refuses what is none of the commands of a command.
func onlyCommands(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return mistypedCommand(cmd, args[0])
	}
	return nil
}

// unknownCommand is the error for a first argument that is no command: a capture, or
// a command with a letter wrong.
func unknownCommand(root *cobra.Command, args []string) error {
	name := args[0]
	st, err := os.Stat(name)
	if name == "-" || strings.HasSuffix(name, ".acc") || err == nil && st.Mode().IsRegular() {
		return &usageError{fmt.Errorf(`"%s" is not a command`, name), "did you mean: acc analyze " + fileName(name)}
	}
	return mistypedCommand(root, name)
}

// mistypedCommand is the error for an argument that should be one of the commands of a command.
func mistypedCommand(cmd *cobra.Command, name string) error {
	err := fmt.Errorf("unknown command %q", name)
	cmd.SuggestionsMinimumDistance = 2
	if like := cmd.SuggestionsFor(name); len(like) > 0 {
		for i := range like {
			like[i] = cmd.CommandPath() + " " + like[i]
		}
		return &usageError{err, "did you mean: " + strings.Join(like, ", or ")}
	}
	for _, c := range cmd.Commands() { // cobra suggests neither topics of help nor help itself
		switch {
		case distance(name, c.Name()) > 2:
		case c.IsAdditionalHelpTopicCommand():
			return &usageError{err, "did you mean: " + cmd.CommandPath() + " help " + c.Name()}
		case c.Name() == "help":
			return &usageError{err, "did you mean: acc help"}
		}
	}
	return usage(cmd, err)
}

// flagError puts an error of a flag into plain words.
func flagError(cmd *cobra.Command, err error) error {
	if !cmd.HasParent() && cmd.Flags().NArg() > 0 { // acc recrod -o x.acc
		return unknownCommand(cmd, cmd.Flags().Args())
	}
	var unknown *pflag.NotExistError
	var value *pflag.InvalidValueError
	cause := err
	if errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() != "" {
		err = fmt.Errorf("unknown flag: -%s", unknown.GetSpecifiedName())
	}
	switch {
	case errors.As(cause, &unknown) && !cmd.HasParent() && unknown.GetSpecifiedName() == "r":
		return &usageError{err, "did you mean: acc analyze -r FILE"}
	case errors.As(cause, &unknown) && unknown.GetSpecifiedName() == "f" && ofOthers(cmd, "filter") != "":
		return &usageError{err, ofOthers(cmd, "filter")}
	case errors.As(cause, &unknown) && ofOthers(cmd, unknown.GetSpecifiedName()) != "":
		return &usageError{err, ofOthers(cmd, unknown.GetSpecifiedName())}
	case errors.As(cause, &unknown) && len(unknown.GetSpecifiedName()) > 1:
		if like := flagLike(cmd, unknown.GetSpecifiedName()); like != "" {
			return &usageError{err, "did you mean: --" + like}
		}
	case errors.As(cause, &value):
		f := value.GetFlag()
		return usage(cmd, fmt.Errorf("--%s %q is not %s", f.Name, value.GetValue(), kindOf(f)))
	}
	return usage(cmd, err)
}

// notHere says why a command has not a flag that others have, by the command and the flag.
var notHere = []struct {
	commands, flags []string
	why             string // COMMAND and FLAG stand for these
}{
	{[]string{"record"}, []string{"r", "read"}, "acc COMMAND writes a capture, to -o FILE; acc replay -r FILE reads one"},
	{[]string{"explain"}, []string{"from", "until"},
		"acc COMMAND is about one event; acc replay --FLAG prints those of a time"},
	{[]string{"info", "verify", "repair", "sign"}, []string{"from", "until"}, "acc COMMAND is about a whole capture; " +
		"acc replay --FLAG prints the events of a time, acc analyze --connections --FLAG the connections"},
	{[]string{"explain"}, []string{"filter"},
		"acc COMMAND is about one event; acc replay -f prints those that meet a condition"},
	{[]string{"info", "verify", "repair", "sign"}, []string{"filter"}, "acc COMMAND is about a whole capture; " +
		"acc replay -f chooses events, acc analyze --connections -f connections"},
	{[]string{"verify"}, []string{"utc", "local"},
		"acc COMMAND prints times in UTC; acc info, analyze, replay and explain have --FLAG"},
	{[]string{"repair", "sign"}, []string{"utc", "local"},
		"acc COMMAND prints no times; acc info, analyze, replay and explain have --FLAG"},
	{[]string{"replay"}, []string{"top", "sort"},
		"acc COMMAND prints all events in order of time; acc analyze has tables with --FLAG"},
	{[]string{"info", "verify", "explain"}, []string{"top", "sort"},
		"acc COMMAND has no tables; acc analyze has --FLAG"},
}

// ofOthers says why a flag of other readers is none of this command, "" if there is nothing to say.
func ofOthers(cmd *cobra.Command, flag string) string {
	for _, x := range notHere {
		if slices.Contains(x.commands, cmd.Name()) && slices.Contains(x.flags, flag) {
			return strings.ReplaceAll(strings.ReplaceAll(x.why, "COMMAND", cmd.Name()), "FLAG", flag)
		}
	}
	return ""
}

// kindOf says what the value of a flag must be.
func kindOf(f *pflag.Flag) string {
	switch f.Value.Type() {
	case "int":
		return "a whole number"
	case "uint64", "uint32", "uint":
		return "a whole number, 0 or more"
	case "bool":
		return "true or false"
	}
	return "a " + f.Value.Type()
}

// flagLike gives the flag that a name could be meant for, or "".
func flagLike(cmd *cobra.Command, name string) (best string) {
	least := min(3, len(name))
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		d := distance(name, f.Name)
		if strings.HasPrefix(f.Name, name) {
			d = min(d, 1)
		}
		if d < least && !f.Hidden {
			best, least = f.Name, d
		}
	})
	return best
}

// distance is how many letters must be put in, taken out or changed to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := before
			if a[i] != b[j] {
				d = 1 + min(before, row[j], row[j+1])
			}
			before, row[j+1] = row[j+1], d
		}
	}
	return row[len(b)]
}

// noEmptyFlags refuses an option that is given without a value, as by a variable that
// is not set: it must not count as one that is not given.
func noEmptyFlags(cmd *cobra.Command, _ []string) error {
	var empty error
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.Value.Type() == "string" && f.Value.String() == "" && empty == nil {
			empty = usage(cmd, fmt.Errorf("--%s is empty", f.Name))
		}
	})
	return empty
}

// takesRead lets a command that reads captures take -r FILE for an argument, as
// tcpdump and perf do.
func takesRead(cmd *cobra.Command) *cobra.Command {
	var files []string
	cmd.Flags().StringArrayVarP(&files, "read", "r", nil, "the capture `FILE`; the same as the argument")
	complete(cmd, "read", captureFiles)
	takesIdentity(cmd)
	check, run := cmd.Args, cmd.RunE
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		for _, name := range files {
			if name == "" {
				return usage(cmd, errors.New("--read is empty"))
			}
		}
		return check(cmd, slices.Concat(args, files))
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return run(cmd, slices.Concat(args, files)) }
	return cmd
}
