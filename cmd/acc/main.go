// Acc records what happens at accept(2) on a Linux host, and replays and
// analyses the recordings anywhere.
package main

// This file has the command line and the exit codes.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/acc-project/acc/analysis/filter"
	"github.com/acc-project/acc/capture"
	"github.com/acc-project/acc/evidence"
	"github.com/acc-project/acc/format"
)

func main() {
	os.Exit(run(os.Args[1:]))
}

// stuck is after how long a signal ends what waits without looking, as opening a
// pipe that nobody writes to does.
const stuck = 2 * time.Second

// writing is set while there is a capture to end in order.
var writing atomic.Bool

// run executes one command line and gives the exit code.
func run(args []string) int {
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT}
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	defer stop()
	done := make(chan struct{})
	defer close(done)
	go func() {
		<-ctx.Done()
		stop() // a second signal ends at once
		select {
		case <-done:
		case <-time.After(stuck):
			if !writing.Load() {
				os.Exit(exitError)
			}
		}
	}()
	root := newRootCommand()
	if len(args) > 0 && args[0] == cobra.ShellCompRequestCmd {
		plainUsage(root)
	}
	root.SetArgs(args)
	return exitCode(root.ExecuteContext(ctx), os.Stderr)
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "acc",
		Short: "Record, replay and analyse how servers accept connections, accept(2)",
		Long: `Acc records what happens at accept(2) on a Linux host, by eBPF probes in the kernel, into
a capture file. It replays and analyses captures on Linux, macOS and Windows, without root.`,
		Example: `  sudo acc record -o incident.acc
  acc info incident.acc
  acc analyze incident.acc
  acc replay incident.acc
  ssh prod sudo acc record -o - | acc replay -`,
		Version:       thisBuild().lines(),
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		Args:          rootArgs,

		PersistentPreRunE: noEmptyFlags,
	}
	root.SetFlagErrorFunc(flagError)
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) {
		if err := printHelp(cmd.OutOrStdout(), cmd, false); err != nil { // cobra takes no error from here
			os.Exit(exitCode(err, cmd.ErrOrStderr()))
		}
	})
	root.SetHelpCommand(newHelpCommand())
	root.AddGroup(commandGroups...)
	root.SetHelpCommandGroupID("other")
	root.SetCompletionCommandGroupID("other")
	addGroup(root, "record", newRecordCommand(), newCtlCommand(), newDoctorCommand())
	addGroup(root, "read", newAnalyzeCommand(), newExplainCommand(), newExportCommand(), newFieldsCommand(),
		newInfoCommand(), newReplayCommand())
	addGroup(root, "evidence", newCutCommand(), newMergeCommand(), newRedactCommand(), newRepairCommand(),
		newSignCommand(), newUnredactCommand(), newVerifyCommand())
	addGroup(root, "read", newDiffCommand(), newReportCommand())
	addGroup(root, "evidence", newShareCommand())
	addGroup(root, "other", newExitCodesTopic(), newFilterTopic(), newScreenTopic(), newVersionCommand())
	root.InitDefaultCompletionCmd()
	if c, _, err := root.Find([]string{"completion"}); err == nil { // cobra's own answers any name of a shell with its help
		c.Args, c.RunE = onlyCommands, func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	if c, _, err := root.Find([]string{"completion", "fish"}); err == nil {
		c.RunE = fishScript
	}
	return root
}

// hinted is an error with what to do next.
type hinted struct {
	error
	hint string
}

func (e *hinted) Unwrap() error { return e.error }

// exited carries an exit code of which everything has been said.
type exited int

func (e exited) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// exitCode says what went wrong, with a hint, and gives the exit code for it.
func exitCode(err error, stderr io.Writer) int {
	var (
		done    exited
		use     *usageError
		wrong   *filter.Error
		env     *capture.EnvError
		corrupt *format.CorruptError
		newer   *format.VersionError
		hint    *hinted
	)
	say := func(code int, hint string) int {
		lines := slices.Compact(strings.Split(err.Error(), "\n")) // of errors.Join, which need not differ
		fmt.Fprintf(stderr, "acc: %s\n", strings.TrimSpace(fileName(strings.Join(lines, "; "))))
		if hint != "" {
			fmt.Fprintf(stderr, "hint: %s\n", hint)
		}
		return code
	}
	hintOr := func(usual string) string {
		if errors.As(err, &hint) {
			return hint.hint
		}
		return usual
	}
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &done):
		return int(done)
	case errors.Is(err, syscall.EPIPE):
		return exitOK // the reader of our output had enough
	case errors.As(err, &wrong):
		return sayFilterError(wrong, stderr)
	case errors.As(err, &use):
		return say(exitUsage, use.hint)
	case errors.As(err, &env):
		return say(exitEnv, env.Hint)
	case errors.Is(err, format.ErrTruncated):
		next := "everything before that place was read; acc verify says what is missing"
		if errors.As(err, new(*evidence.UncleanError)) {
			next = "all that is in it was read; acc info says more"
		}
		return say(exitTruncated, hintOr(next))
	case errors.As(err, new(*evidence.MismatchError)):
		return say(exitCorrupt, hintOr("acc verify lists all that does not fit"))
	case errors.As(err, new(*evidence.SalvagedError)):
		return say(exitCorrupt, hintOr("acc verify lists each place that was left out; acc repair makes a whole file of "+
			"what is there"))
	case errors.As(err, &corrupt):
		return say(exitCorrupt, hintOr("everything before that place was read; --salvage goes on behind it"))
	case errors.Is(err, format.ErrWrapper):
		return say(exitCorrupt, hintOr("everything before that place was read"))
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return say(exitLimit, hintOr("make room, or write to another disk"))
	case errors.As(err, &newer):
		return say(exitError, "read it with a newer acc")
	case errors.As(err, &hint):
		return say(exitError, hint.hint)
	case strings.Contains(err.Error(), "arg(s)"): // cobra's own commands
		return say(exitUsage, `see "acc --help"`)
	}
	return say(exitError, usualHint(err))
}

// usualHint is what to do about an error that nobody gave a hint for.
func usualHint(err error) string {
	switch {
	case errors.Is(err, format.ErrNotCapture):
		return "acc reads captures that acc record wrote"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return "check the name, and whether its folder is there"
	case errors.Is(err, fs.ErrPermission):
		return "run acc with sudo, or name a file that you can read"
	}
	return ""
}
