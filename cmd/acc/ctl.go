package main

// This file is acc ctl.

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/format"
)

func newCtlCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ctl",
		Short: "Control a running recording: status, mark, dump, rotate, stop",
		Long: `Ctl controls a recording that was begun with acc record --name NAME. A recording without
--name can't be controlled. Ctl uses the socket /run/acc/NAME.sock, to which only the user of
the recording has access. If only one such recording runs, you can leave out its name. A mark
is a text with a time in the capture: analyze, replay and the timeline show it.`,
		Example: `  sudo acc record -o /var/lib/acc --rotate-size 64MB --name web
  sudo acc ctl status web
  sudo acc ctl mark --name web "deploy started"
  sudo acc ctl stop web`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		Args: onlyCommands,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, nothing // but the commands
		},
	}
	cmd.AddCommand(
		newCtlOne("status", "Print how long a recording has run, what it has recorded and lost"),
		newCtlMark(),
		newCtlDump(),
		newCtlOne("rotate", "Close the file of a recording and go on in the next one"),
		newCtlOne("stop", "End a recording and close its file"),
	)
	return cmd
}

// newCtlOne is a command of ctl that has no argument but the recording's name.
func newCtlOne(command, short string) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use: command + " [NAME]", Short: short, Long: short + ".",
		Example:           "  sudo acc ctl " + command + "\n  sudo acc ctl " + command + " web",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: recordings,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runCtl(cmd, strings.Join(args, ""), controlRequest{Command: command}, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newCtlMark() *cobra.Command {
	asJSON, name := false, ""
	cmd := &cobra.Command{
		Use: "mark TEXT", Short: "Write a text with the time into the capture",
		Long:    "Mark writes a text with the time into the capture. All commands that read the capture show it.",
		Example: "  sudo acc ctl mark \"deploy started\"\n  sudo acc ctl mark --name web \"deploy started\"",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] == "" {
				return usage(cmd, errors.New("give one text, in quotes"))
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, nothing
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return runCtl(cmd, name, controlRequest{Command: "mark", Text: args[0]}, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().StringVar(&name, "name", "", "the recording's `NAME`, where several run")
	complete(cmd, "name", recordings)
	return cmd
}

func newCtlDump() *cobra.Command {
	asJSON, begin, end, why := false, "", "", ""
	cmd := &cobra.Command{
		Use: "dump [NAME]", Short: "Have a flight recorder keep what happened in the last minutes",
		Long: `Dump has a flight recorder (acc record --ring) keep what happened: the files of the last
minutes, and those of the time of --after that follows, get a second name in a folder
dump-TIME, which dump prints. There they stay when the flight recorder removes the first
name. With --begin and --end, dump keeps only files that have a part of that time.`,
		Example: `  sudo acc ctl dump
  sudo acc ctl dump --why "clients see timeouts" web
  sudo acc ctl dump --begin -15m --end -5m`,
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: recordings,
		RunE: func(cmd *cobra.Command, args []string) error {
			req := controlRequest{Command: "dump", Text: why}
			for flag, to := range map[string]*time.Duration{"begin": &req.FromNS, "end": &req.UntilNS} {
				if !cmd.Flags().Changed(flag) {
					continue
				}
				text := cmd.Flags().Lookup(flag).Value.String()
				d, err := time.ParseDuration(text)
				if err != nil || d >= 0 {
					return &usageError{
						fmt.Errorf("--%s %q is no time before now", flag, text),
						"like --" + flag + " -15m",
					}
				}
				*to = -d
			}
			if req.FromNS > 0 && req.UntilNS >= req.FromNS {
				return &usageError{errors.New("--begin must be before --end"), "like --begin -15m --end -5m"}
			}
			return runCtl(cmd, strings.Join(args, ""), req, asJSON)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&asJSON, "json", false, "print JSON")
	f.StringVar(&begin, "begin", "", "keep what happened from this `TIME` on: -15m is 15 minutes ago (default all)")
	f.StringVar(&end, "end", "", "keep what happened until this `TIME`, like -5m, and nothing after now")
	f.StringVar(&why, "why", "", "`TEXT` that the capture has as the reason for the dump")
	values(cmd, "begin", "-1m", "-15m")
	values(cmd, "end", "-30s", "-5m")
	values(cmd, "why")
	return cmd
}

// recordings completes the names of recordings that have a socket.
func recordings(_ *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, nothing
	}
	return beginning(recordingNames(), word), nothing
}

// recordingNames are those of the recordings that have a socket.
func recordingNames() (names []string) {
	paths, _ := filepath.Glob(filepath.Join(controlFolder, "*.sock")) // fails for a bad pattern only
	for _, p := range paths {
		names = append(names, strings.TrimSuffix(filepath.Base(p), ".sock"))
	}
	slices.Sort(names)
	return names
}

// runCtl asks a recording; name is "" if there is one only.
func runCtl(cmd *cobra.Command, name string, req controlRequest, asJSON bool) error {
	if name == "" {
		names := recordingNames()
		if len(names) > 1 {
			return &usageError{fmt.Errorf("several recordings run: %s", format.Quote(strings.Join(names, ", "))),
				"name one of them"}
		}
		name = cmp.Or(strings.Join(names, ""), "acc")
	}
	if !controlName.MatchString(name) {
		return &usageError{fmt.Errorf("%q is no name of a recording", name), "acc record --name NAME gives one"}
	}
	req.UID = uint32(os.Getuid())
	if uid, _ := caller(); uid > 0 {
		req.UID = uint32(uid)
	}
	answer, err := askRecording(cmd.Context(), name, req)
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	switch s := answer.Status; {
	case asJSON && answer.Folder != "":
		return encodeJSON(out, struct {
			Folder string `json:"folder"`
		}{answer.Folder})
	case answer.Folder != "":
		_, err = fmt.Fprintln(out, fileName(answer.Folder))
	case asJSON && s != nil:
		return encodeJSON(out, s)
	case asJSON:
		return encodeJSON(out, struct {
			Done string `json:"done"`
		}{req.Command})
	case s != nil:
		_, err = fmt.Fprintf(out, "%s[%d]: recording for %s to %s: %s, %s lost; %s\n", format.Quote(s.Name), s.PID,
			time.Duration(s.ElapsedNS).Round(time.Second), fileName(s.File), humanize.Plural(s.Events, "event"),
			report.Count(s.Lost), report.Bytes(s.Bytes))
	}
	return err
}
