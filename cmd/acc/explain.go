package main

// This file is acc explain.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/evidence"
	"github.com/acc-project/acc/format"
)

type explainOptions struct {
	salvage bool
	zoneOptions
}

func newExplainCommand() *cobra.Command {
	o := explainOptions{}
	cmd := &cobra.Command{
		Use:   "explain SEQ FILE...|FOLDER",
		Short: "Explain in words what one event means",
		Long: `Explain prints what the event with sequence number SEQ means, in a few sentences, and then
all its fields with their meanings. The findings of acc analyze name events by these
numbers. For the whole story of the event's connection: acc analyze --connection SEQ FILE.
If the event is in a part that --salvage or a repair left out, explain says so. It reads
the whole capture, and prints on standard error whether the file is intact and the
recording complete.`,
		Example: `  acc explain 3 incident.acc
  acc explain -r incident.acc 3`,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return eventsOfFindings(cmd, args, word)
			}
			return captureFiles(cmd, args[1:], word)
		},
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usage(cmd, errors.New("name the sequence number of an event and a capture file"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			seq, err := strconv.ParseUint(args[0], 10, 64)
			if err != nil || seq == 0 {
				return usage(cmd, fmt.Errorf("%q is no sequence number", args[0]))
			}
			return runExplain(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), seq, args[1:], o)
		},
	}
	takesRead(cmd)
	cmd.Flags().BoolVar(&o.salvage, "salvage", false, "skip what is corrupt and go on")
	o.zoneOptions.flags(cmd)
	return cmd
}

// maxExplained bounds the process records, and the listeners, that are kept until the event comes.
const maxExplained = 50_000

// listenerAddrs are what listening sockets are bound to, by inode number.
type listenerAddrs map[uint64]netip.AddrPort

// add keeps those that a batch names up to an event.
func (l listenerAddrs) add(b *format.Batch, upTo uint64) {
	keep := func(inode uint64, at netip.AddrPort) {
		if _, known := l[inode]; at.IsValid() && inode != 0 && (known || len(l) < maxExplained) {
			l[inode] = at
		}
	}
	for i := range b.Snapshots {
		for _, s := range b.Snapshots[i].Listeners {
			if addr, err := netip.ParseAddr(s.LAddr); err == nil {
				keep(s.Listener, netip.AddrPortFrom(addr, s.LPort))
			}
		}
	}
	for i := range b.Events {
		e := &b.Events[i]
		if e.Seq > upTo {
			return
		}
		if e.Kind == format.Listen || e.Kind == format.Enter { // others have the connection's end
			keep(e.Listener, e.Local())
		}
	}
}

func runExplain(ctx context.Context, out, errOut io.Writer, seq uint64, names []string, o explainOptions) error {
	in, err := openCaptures(names, format.ReaderOptions{Salvage: o.salvage})
	if err != nil {
		return err
	}
	defer in.Close()
	procs, listeners := newProcesses(), listenerAddrs{}
	p := in.showProgress(errOut, false, out)
	defer p.stop()
	x := evidence.Examine(in.Start(), analysis.Options{VerdictOnly: true})
	text := ""
	next, hole := uint64(1), [2]uint64{} // event that follows; first and last of the missing ones that it is among
	var readErr error
	for readErr == nil {
		if ctx.Err() != nil {
			return exited(130)
		}
		var b *format.Batch
		if b, readErr = in.Next(); readErr != nil {
			break
		}
		if len(b.Events) > 0 {
			if first := b.Events[0].Seq; seq >= next && seq < first {
				hole = [2]uint64{next, first - 1}
			}
			next = b.Events[len(b.Events)-1].Seq + 1
		}
		procs.add(b)
		listeners.add(b, seq)
		if err := x.Add(b, len(in.Skipped())); err != nil {
			return err
		}
		i, found := slices.BinarySearchFunc(b.Events, seq,
			func(e format.Event, seq uint64) int { return cmp.Compare(e.Seq, seq) })
		if found {
			e := &b.Events[i]
			text = report.Explain(e, procs.of[e.Proc], listeners[e.Listener], in.Header(), x.Clocks(),
				o.zone(in.Header().ZoneSec), widthOf(out))
			p.hide()
			text = notices(in.Header()) + text
			if _, err := io.WriteString(textOut(out), text); err != nil {
				return err
			}
		}
	}
	p.stop()
	if !evidence.Ended(readErr) && !errors.As(readErr, new(*format.CorruptError)) {
		return in.Verdict(readErr, x.End(), nil)
	}
	r, err := x.Finish(readErr, in.Skipped())
	if err != nil {
		return err
	}
	verdict := in.Verdict(readErr, x.End(), r)
	tellState(errOut, in, r)
	switch {
	case text != "":
		return verdict
	case verdict != nil && hole[0] > 0:
		return fmt.Errorf("event %d is in a part that was left out, of events %d to %d: %w", seq, hole[0], hole[1],
			verdict)
	case verdict != nil:
		return verdict
	}
	if cuts := in.Header().Cuts; len(cuts) > 0 {
		return &hinted{fmt.Errorf("%s has no event %d: it is a cut", in.name, seq),
			"the capture that it was cut out of may have it; acc info names that"}
	}
	return &hinted{fmt.Errorf("%s has no event %d", in.name, seq),
		"acc info says how many there are; they count from 1"}
}
