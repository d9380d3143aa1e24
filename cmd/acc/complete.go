package main

// This file completes arguments and values of flags for shells.

import (
	"cmp"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/acc-project/acc/analysis/conntrack"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/evidence"
	"github.com/acc-project/acc/format"
)

// nothing is what a shell shows where acc knows no values: no files either.
const nothing = cobra.ShellCompDirectiveNoFileComp

// listsFiles is set by the script for fish, which can't choose files by how their names end.
const listsFiles = "ACC_COMPLETE_FILES"

// captureFiles completes arguments that are captures: *.acc files, and folders.
func captureFiles(_ *cobra.Command, _ []string, word string) (list []string, _ cobra.ShellCompDirective) {
	if os.Getenv(listsFiles) == "" {
		return []string{"acc"}, cobra.ShellCompDirectiveFilterFileExt
	}
	folder, begun := filepath.Split(word)
	from := cmp.Or(folder, ".")
	if home, err := os.UserHomeDir(); err == nil && strings.HasPrefix(folder, "~/") {
		from = home + folder[1:]
	}
	entries, _ := os.ReadDir(from)
	end := nothing
	for _, e := range entries {
		name := e.Name()
		if !strings.HasPrefix(name, begun) || begun == "" && name[0] == '.' {
			continue
		}
		if st, err := os.Stat(filepath.Join(from, name)); err == nil && st.IsDir() {
			list = append(list, folder+name+"/")
			end |= cobra.ShellCompDirectiveNoSpace
		} else if strings.HasSuffix(name, ".acc") {
			list = append(list, folder+name)
		}
	}
	return list, end
}

// fishScript is acc completion fish: cobra's script, with captures listed by acc.
func fishScript(cmd *cobra.Command, _ []string) error {
	bare, _ := cmd.Flags().GetBool("no-descriptions")
	var b strings.Builder
	if err := cmd.Root().GenFishCompletion(&b, !bare); err != nil {
		return err
	}
	_, err := io.WriteString(cmd.OutOrStdout(), strings.Replace(b.String(), `"ACC_ACTIVE_HELP=0 `,
		`"`+listsFiles+`=1 ACC_ACTIVE_HELP=0 `, 1))
	return err
}

// oneCaptureFile completes the argument of a command that takes one capture.
func oneCaptureFile(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, nothing
	}
	return captureFiles(cmd, args, word)
}

// values completes a flag by words, each with what it means behind a tab, if that helps.
func values(cmd *cobra.Command, flag string, words ...string) {
	complete(cmd, flag, func(_ *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		return beginning(words, word), nothing | cobra.ShellCompDirectiveKeepOrder
	})
}

// beginning gives those of the words that begin with what is typed.
func beginning(words []string, typed string) (list []string) {
	for _, w := range words {
		if strings.HasPrefix(w, typed) {
			list = append(list, w)
		}
	}
	return list
}

// lists completes a flag that takes several values, with commas between them, by words like those of values.
func lists(cmd *cobra.Command, flag string, words ...string) {
	complete(cmd, flag, func(_ *cobra.Command, _ []string, word string) (list []string, _ cobra.ShellCompDirective) {
		before, last := lastOfList(word)
		for _, w := range beginning(words, last) {
			list = append(list, before+w)
		}
		return list, nothing | cobra.ShellCompDirectiveKeepOrder
	})
}

// lastOfList splits what is typed of a list behind its last comma.
func lastOfList(word string) (before, last string) {
	at := strings.LastIndexByte(word, ',') + 1
	return word[:at], word[at:]
}

// complete says how the value of a flag is completed.
func complete(cmd *cobra.Command, flag string, by cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, by); err != nil {
		panic(err) // no such flag, or twice
	}
}

// anyFile completes the value of flags by any file.
func anyFile(cmd *cobra.Command, flags ...string) {
	for _, f := range flags {
		complete(cmd, f, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveDefault
		})
	}
}

// afterDashes completes a command to run, behind --.
func afterDashes(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	if slices.Contains(os.Args, "--") {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return nil, nothing
}

// completedRows is how many values that a capture has are offered at most.
const completedRows = 60

// analyzeSmall reads the first of some captures for completing a value, if it is
// quickly read; nil: it is not, or there is none.
func analyzeSmall(ctx context.Context, files []string, o analysis.Options) *analysis.Result {
	if len(files) == 0 {
		return nil
	}
	st, err := os.Stat(files[0])
	if err != nil || !st.Mode().IsRegular() || st.Size() > smallCapture {
		return nil
	}
	in, err := openCaptures(files[:1], format.ReaderOptions{Parts: true})
	if err != nil {
		return nil
	}
	defer in.Close()
	x := evidence.Examine(in.Start(), o)
	readErr := feed(ctx, in, x) // what was read will do
	r, err := x.Finish(readErr, nil)
	if err != nil {
		return nil
	}
	return r
}

// capturesOf gives the captures that a command line names, but for its first n arguments.
func capturesOf(cmd *cobra.Command, args []string, n int) []string {
	read, _ := cmd.Flags().GetStringArray("read")
	return slices.Concat(read, args[min(n, len(args)):])
}

// eventsOfFindings completes the number of an event by those that findings name.
func eventsOfFindings(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	var words []string
	if r := analyzeSmall(cmd.Context(), capturesOf(cmd, args, len(args)), analysis.Options{Top: -1}); r != nil {
		for _, f := range r.Findings {
			for _, e := range f.Evidence {
				if len(words) < completedRows {
					words = append(words, cobra.CompletionWithDesc(strconv.FormatUint(e.Seq, 10), f.ID+" ("+
						string(f.Severity)+")"))
				}
			}
		}
	}
	return beginning(words, word), nothing | cobra.ShellCompDirectiveKeepOrder
}

// clients completes a connection by the addresses of clients.
func clients(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	var words []string
	analyzeSmall(cmd.Context(), capturesOf(cmd, args, 0),
		analysis.Options{Connection: func(c *conntrack.Connection) error {
			if a := c.Remote.String(); len(words) < completedRows && strings.HasPrefix(a, word) {
				words = append(words, a)
			}
			return nil
		}})
	return words, nothing
}

// plainUsage takes the quotes away in which flags name their values: shells show them as they are.
func plainUsage(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) { f.Usage = strings.ReplaceAll(f.Usage, "`", "") })
	for _, c := range cmd.Commands() {
		plainUsage(c)
	}
}
