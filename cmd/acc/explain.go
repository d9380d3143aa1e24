package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/format"
)

func newExplainCommand() *cobra.Command {
	salvage := false
	cmd := &cobra.Command{
		Use:   "explain SEQ FILE",
		Short: "Say in words what one event means",
		Long: `Explain prints what the event with sequence number SEQ means, in a few sentences, and
then all its fields with their meanings. Findings of acc analyze name events so; for the
whole story of an event's connection there is acc analyze --connection SEQ FILE. Of an
event in a part that --salvage or a repair left out it says so.`,
		Example: `  acc explain 3 incident.acc
  acc explain -r incident.acc 3`,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return eventsOfFindings(cmd, args, word)
			}
			return oneCaptureFile(cmd, args[1:], word)
		},
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usage(cmd, errors.New("name the sequence number of an event and a capture file"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			seq, err := strconv.ParseUint(args[0], 10, 64)
			if err != nil || seq == 0 {
				return usage(cmd, fmt.Errorf("%q is no sequence number", args[0]))
			}
			return runExplain(cmd.Context(), cmd.OutOrStdout(), seq, args[1], salvage)
		},
	}
	takesRead(cmd)
	cmd.Flags().BoolVar(&salvage, "salvage", false, "skip what is corrupt and go on")
	return cmd
}

// maxExplained bounds the process records that are kept until the event comes.
const maxExplained = 50_000

func runExplain(ctx context.Context, out io.Writer, seq uint64, name string, salvage bool) error {
	in, err := openCapture(name, format.ReaderOptions{Salvage: salvage})
	if err != nil {
		return err
	}
	defer in.Close()
	clock := in.Clock()
	var end *format.End
	procs := map[uint32]*format.Process{}
	next, hole := uint64(1), [2]uint64{} // event that follows; first and last of the missing ones that it is among
	for ctx.Err() == nil {
		b, err := in.Next()
		if err != nil {
			if err := in.verdict(err, end); err != nil && hole[0] > 0 {
				return fmt.Errorf("event %d is in a part that was left out, of events %d to %d: %w", seq, hole[0], hole[1], err)
			} else if err != nil {
				return err
			}
			return &hinted{fmt.Errorf("%s has no event %d", in.name, seq), "acc info says how many there are; they count from 1"}
		}
		if seq >= next && seq < b.FirstSeq {
			hole = [2]uint64{next, b.FirstSeq - 1}
		}
		next = b.FirstSeq + uint64(len(b.Events))
		if n := len(b.Clocks); n > 0 {
			clock = b.Clocks[n-1]
		}
		if b.End != nil {
			e := *b.End
			end = &e
		}
		for _, p := range b.Processes {
			if len(procs) < maxExplained {
				procs[p.Num] = &p
			}
		}
		for i := range b.Events {
			if e := &b.Events[i]; e.Seq == seq {
				_, err := io.WriteString(out, report.Explain(e, procs[e.Proc], in.Header(), clock, report.Zone(in.Header().ZoneSec)))
				return err
			}
		}
	}
	return exited(130)
}
