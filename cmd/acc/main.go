// Acc records what happens at accept(2) on a Linux host, and replays and
// analyses the recordings anywhere.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/acc-project/acc/capture"
	"github.com/acc-project/acc/format"
)

// version is set by the Makefile; otherwise the module's is used.
var version string

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
)

const exitCodes = `
Exit codes:
  0  clean
  1  error
  2  usage
  3  the capture is truncated, its recording ended in disorder, or it was repaired
  4  the capture is corrupt
  5  a limit was hit, the result is not whole; the disk is full
  6  not confirmed: a signature or a kept chain head fails, or there is none of it
  7  this environment can't: privileges, kernel
  8  acc analyze --fail-on found something`

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
	root.SetArgs(args)
	return exitCode(root.ExecuteContext(ctx), os.Stderr)
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "acc",
		Short: "Record, replay and analyse what happens at accept(2)",
		Long: `Acc records what happens at accept(2) on a Linux host, by eBPF probes in the
kernel, into a capture file; and replays and analyses captures anywhere.
` + exitCodes,
		Example: `  sudo acc record -o incident.acc
  acc info incident.acc
  acc replay incident.acc
  acc analyze incident.acc
  ssh prod sudo acc record -o - | acc replay -`,
		Version:       toolVersion(),
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		Args:          noArgs,

		PersistentPreRunE: noEmptyFlags,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usage(cmd, err) })
	root.AddCommand(newRecordCommand(), newInfoCommand(), newAnalyzeCommand(), newExplainCommand(), newReplayCommand(), newVerifyCommand(),
		newSignCommand(), newRepairCommand(), newFieldsCommand())
	for _, c := range root.Commands() {
		c.Long += "\n" + exitCodes
	}
	return root
}

// toolVersion is what `acc --version` and captures say.
func toolVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(unknown)"
}

// usageError is a command line that makes no sense.
type usageError struct {
	err  error
	hint string
}

func (e *usageError) Error() string { return e.err.Error() }

func usage(cmd *cobra.Command, err error) error {
	return &usageError{err, cmd.CommandPath() + " --help lists what there is"}
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(cmd, fmt.Errorf("unknown command or argument %q", args[0]))
	}
	return nil
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
		env     *capture.EnvError
		corrupt *format.CorruptError
		newer   *format.VersionError
		hint    *hinted
	)
	say := func(code int, hint string) int {
		fmt.Fprintf(stderr, "acc: %s\n", strings.TrimSpace(format.Quote(err.Error())))
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
	case errors.As(err, &use):
		return say(exitUsage, use.hint)
	case errors.As(err, &env):
		return say(exitEnv, env.Hint)
	case errors.Is(err, format.ErrTruncated):
		next := "everything before that place was read; acc info says what is missing"
		if errors.As(err, new(*unclean)) {
			next = "all that is in it was read; acc info says more"
		}
		return say(exitTruncated, hintOr(next))
	case errors.As(err, &corrupt):
		return say(exitCorrupt, hintOr("everything before that place was read; --salvage goes on behind it"))
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return say(exitLimit, hintOr("make room, or write to another disk"))
	case errors.As(err, &newer):
		return say(exitError, "read it with a newer acc")
	case errors.As(err, &hint):
		return say(exitError, hint.hint)
	case strings.HasPrefix(err.Error(), "unknown command"), strings.Contains(err.Error(), "arg(s)"):
		return say(exitUsage, "acc --help lists the commands")
	}
	return say(exitError, "")
}
