package main

// This file is acc info.

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/evidence"
	"github.com/acc-project/acc/format"
	"github.com/acc-project/acc/replay/redact"
)

func newInfoCommand() *cobra.Command {
	o := infoOptions{}
	cmd := &cobra.Command{
		Use:   "info FILE|FOLDER...",
		Short: "Print what a capture is, whether its file is intact and its recording complete",
		Long: `Info prints where, when and how captures were taken, whether the file is intact, whether
the recording is complete, and what was lost or missed. It reads all of a file of up to
4 MiB. Of a larger one that was closed cleanly it reads the beginning, the end and the
index, and says that it did not look at the rest; --full reads all. It works on truncated
and corrupt files. --reveals lists what the capture gives away: addresses, names, paths,
users, by kind, with counts and samples. FILE - is standard input; for a folder, info reads
all *.acc in it; if there are none, those in its folders. With --json, info prints an object
for a file that can't be read, too: its "error" says why. If a recording has several files
(acc record --rotate-size), the last lines say which of them are here, and whether each follows
the one before it.`,
		ValidArgsFunction: captureFiles,
		Example: `  acc info incident.acc
  acc info --full incident.acc
  acc info --json incident.acc
  acc info --reveals incident.acc`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage(cmd, errors.New("name a capture file, or - for standard input"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			args = expandFolders(args)
			worst := exitOK
			ins, errs := openFiles(args)
			confineReader()
			orderSets(ins)
			var shown []*evidence.Info
			for i, in := range ins {
				if i > 0 && !o.json {
					fmt.Fprintln(cmd.OutOrStdout())
				}
				err := errs[i]
				if err == nil && o.reveals {
					err = runReveals(cmd.Context(), cmd.OutOrStdout(), in, o)
				} else if err == nil {
					err = runInfo(cmd.OutOrStdout(), cmd.ErrOrStderr(), in, o, &shown)
				} else if o.json {
					err = errors.Join(err, tellUnreadable(cmd.OutOrStdout(), args[i], err))
				}
				if err != nil {
					worst = max(worst, exitCode(err, cmd.ErrOrStderr()))
				}
			}
			if !o.json {
				if err := printSets(cmd.OutOrStdout(), shown, widthOf(cmd.OutOrStdout()), o.zone); err != nil {
					return err
				}
				if err := printHosts(cmd.OutOrStdout(), shown, widthOf(cmd.OutOrStdout()), o.zone); err != nil {
					return err
				}
			}
			if worst != exitOK {
				return exited(worst)
			}
			return nil
		},
	}
	takesRead(cmd)
	cmd.Flags().BoolVar(&o.json, "json", false, "print JSON, one object a file")
	cmd.Flags().BoolVar(&o.full, "full", false, "read all of a large capture, not only its beginning, end and index")
	cmd.Flags().BoolVar(&o.reveals, "reveals", false, "list the names, addresses and paths that the capture reveals")
	o.zoneOptions.flags(cmd)
	return cmd
}

type infoOptions struct {
	json, full, reveals bool
	zoneOptions
}

// info is what a capture says of itself, to be printed.
type info struct{ *evidence.Info }

// inventoryText names listeners and tasks, a few of them.
func inventoryText(s *evidence.Inventory, row func(name, format string, args ...any), when string) {
	if s.Listeners > 0 {
		row(when, "%s%s listened", atLeast(s.ListenersKnown), many(s.Listeners, "socket"))
		when = ""
		for _, l := range s.FirstListeners[:min(len(s.FirstListeners), 10)] {
			full := ""
			if l.BacklogMax > 0 {
				full = fmt.Sprintf(" of %d", l.BacklogMax)
			}
			halted := ""
			if l.Halted != "" {
				halted = fmt.Sprintf("; %s[%d] is %s", format.Quote(l.Comm), l.PID, format.Quote(l.Halted))
			}
			row("", "  %s%s, %d in its queue%s%s", listenerName(&l), netnsName(l.NetNS), l.Backlog, full, halted)
		}
		more(row, s.Listeners, 10)
	}
	if s.Connections > 0 {
		row(when, "%s%s of theirs", atLeast(s.ConnectionsKnown), many(s.Connections, "connection"))
		when = ""
	}
	tasks(row, when, s.FirstBlocked, s.Blocked, s.BlockedKnown)
}

// tasks names threads that sit in accept.
func tasks(row func(name, format string, args ...any), when string, first []format.Blocked, n int, known bool) {
	if n == 0 {
		return
	}
	row(when, "%s%s sat in accept", atLeast(known), many(n, "task"))
	for _, b := range first[:min(len(first), 10)] {
		row("", "  pid %d, thread %d, on descriptor %d", b.PID, b.TID, b.SockFD)
	}
	more(row, n, 10)
}

func more(row func(name, format string, args ...any), n, shown int) {
	if n > shown {
		row("", "  and %s more", report.Count(uint64(n-shown)))
	}
}

// many is a count of something.
func many(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return report.Count(uint64(n)) + " " + what
}

func atLeast(known bool) string {
	if known {
		return ""
	}
	return "at least "
}

func listenerName(l *format.ListenSocket) string {
	if l.LAddr == "" {
		return l.Family.String() + " " + cmp.Or(format.Quote(l.LName), "without a name")
	}
	if a, err := netip.ParseAddr(l.LAddr); err == nil {
		return netip.AddrPortFrom(a, l.LPort).String()
	}
	return format.Quote(l.LAddr)
}

func netnsName(ns uint32) string {
	if ns == 0 {
		return ""
	}
	return fmt.Sprintf(" (netns %d)", ns)
}

// runReveals lists what a capture gives away.
func runReveals(ctx context.Context, out io.Writer, in *input, o infoOptions) error {
	defer in.Close()
	in.inside = true
	r, err := in.unwrap(in.source)
	if err != nil {
		return fmt.Errorf("%s: %w", in.name, err)
	}
	revealed, err := redact.Reveal(stoppable{ctx, r})
	if err != nil {
		return in.unredactable(err)
	}
	if revealed.File = in.name; o.json {
		return encodeJSON(out, revealed)
	}
	return revealsText(out, revealed, nil)
}

// runInfo describes an input, and adds that to those that are shown.
func runInfo(out, errOut io.Writer, in *input, o infoOptions, shown *[]*evidence.Info) error {
	defer in.Close()
	p := in.showProgress(errOut, false, out)
	defer p.stop()
	i := &info{}
	verdict, ok := error(nil), false
	counted := &evidence.CountedReader{}
	if !o.full && in.bytes > smallCapture {
		i.Info, verdict, ok = evidence.DescribeByIndex(in.source, in.bytes, func() (*evidence.Capture, error) {
			err := in.begin(in.source, false)
			return in.Capture, err
		})
		if !ok {
			if _, err := in.source.Seek(0, io.SeekStart); err != nil {
				return fmt.Errorf("%s: %w", in.name, err)
			}
		}
	}
	if !ok {
		src, err := in.contents()
		if err != nil {
			return fmt.Errorf("%s: %w", in.name, err)
		}
		counted.R, in.opts.Parts = src, true
		if err := in.begin(counted, true); err != nil {
			if o.json {
				err = errors.Join(err, tellUnreadable(out, in.name, err))
			}
			return err
		}
		if i.Info, verdict, err = evidence.Describe(in.Capture); err != nil {
			return err
		}
	}
	p.stop()
	if verdict == nil {
		verdict = in.mergedVerdict()
	}
	i.Bytes = cmp.Or(in.bytes, counted.N)
	*shown = append(*shown, i.Info)
	evidence.Chain(*shown)
	w := bufio.NewWriter(out)
	var err error
	if o.json {
		err = encodeJSON(w, i.Info)
	} else {
		err = i.text(w, widthOf(out), o.zone(i.Header.ZoneSec))
	}
	if err := errors.Join(err, w.Flush()); err != nil {
		return err
	}
	return afterInfo(verdict)
}

// afterInfo gives a verdict with what to do next, which is not to ask info.
func afterInfo(verdict error) error {
	switch {
	case verdict == nil:
		return nil
	case errors.As(verdict, new(*evidence.UncleanError)):
		return &hinted{verdict, ""}
	case errors.As(verdict, new(*format.CorruptError)):
		return &hinted{verdict, "acc verify lists the places; acc analyze --salvage and acc repair go on behind them"}
	case errors.Is(verdict, format.ErrTruncated):
		return &hinted{verdict, "acc verify says what is missing; acc analyze reads what is there"}
	}
	return verdict
}
