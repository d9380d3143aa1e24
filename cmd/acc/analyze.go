package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/format"
)

type analyzeOptions struct {
	json    bool
	pairs   bool
	salvage bool
	top     int
	color   string
}

func newAnalyzeCommand() *cobra.Command {
	o := analyzeOptions{}
	cmd := &cobra.Command{
		Use:   "analyze FILE",
		Short: "Say what a capture shows: who accepted whom, how long it took, what failed",
		Long: `Analyze pairs the entries and returns of a capture and prints on one screen what
happened: attempts, failures by error, time in accept, rates, listeners with their
queues, processes and peers. What loss could falsify is marked with ≥ and explained.
--pairs lists the attempts instead, one a line. - reads standard input.`,
		Example: `  acc analyze incident.acc
  acc analyze --json incident.acc
  acc analyze --pairs incident.acc
  acc analyze --pairs --json incident.acc`,
		Args: oneCapture,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runAnalyze(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args[0], o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.json, "json", false, "print JSON: one object, with --pairs one a line")
	f.BoolVar(&o.pairs, "pairs", false, "list every attempt: its entry and its return")
	f.BoolVar(&o.salvage, "salvage", false, "skip what is corrupt, say what was skipped, and go on")
	f.IntVar(&o.top, "top", 10, "rows in each table; 0: all")
	f.StringVar(&o.color, "color", "auto", "auto, always or never; auto heeds NO_COLOR")
	return cmd
}

// colorOf decides whether to colour what goes to out.
func colorOf(choice string, out io.Writer) (bool, error) {
	switch choice {
	case "always":
		return true, nil
	case "never":
		return false, nil
	case "auto":
		f, ok := out.(*os.File)
		return ok && isTerminal(f) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb", nil
	}
	return false, &usageError{fmt.Errorf("--color %q is neither auto, always nor never", choice), "like --color never"}
}

func runAnalyze(ctx context.Context, out, errOut io.Writer, name string, o analyzeOptions) error {
	color, err := colorOf(o.color, out)
	if err != nil {
		return err
	}
	in, err := openCapture(name, o.salvage)
	if err != nil {
		return err
	}
	defer in.Close()
	w := bufio.NewWriterSize(out, 64<<10)
	clock, zone := in.Header().Clock, report.Zone(in.Header().ZoneSec)
	opts := analysis.Options{Top: o.top}
	if o.top == 0 {
		opts.Top = -1
	}
	if o.pairs {
		var line []byte
		opts.Pair = func(p *analysis.Pair) error {
			if o.json {
				line = report.AppendPairJSON(line[:0], p, clock)
			} else {
				line = report.AppendPairText(line[:0], p, clock, zone)
			}
			_, err := w.Write(append(line, '\n'))
			return err
		}
	}
	a := analysis.New(in.Header(), opts)
	end, readErr := feed(ctx, in, a, progress(errOut, in), &clock)
	var corrupt *format.CorruptError
	verdict := in.verdict(readErr, end)
	if verdict != nil && !errors.Is(verdict, format.ErrTruncated) && (!errors.As(verdict, &corrupt) || !o.salvage) {
		return errors.Join(w.Flush(), verdict)
	}
	result, err := a.Finish(analysis.Completeness{Truncated: end == nil || errors.Is(readErr, format.ErrTruncated), Skipped: in.Skipped()})
	if err != nil {
		return err
	}
	switch {
	case o.pairs:
	case o.json:
		err = encodeJSON(w, result)
	default:
		err = report.Text(w, result, report.TextOptions{Color: color})
	}
	if err := errors.Join(err, w.Flush()); err != nil {
		return err
	}
	if verdict == nil && result.LimitHit {
		fmt.Fprintf(errOut, "acc: a limit on memory was hit: the lists are not whole\n")
		return exited(exitLimit)
	}
	return verdict
}

// feed gives all batches to the analyzer. The error is what ended reading.
func feed(ctx context.Context, in *input, a *analysis.Analyzer, tell func(int64), clock *format.Clock) (*format.End, error) {
	var end *format.End
	for skipped := 0; ; {
		if ctx.Err() != nil {
			return end, exited(130)
		}
		b, err := in.Next()
		if err != nil {
			tell(-1)
			return end, err
		}
		for _, c := range b.Clocks {
			*clock = c
		}
		if err := a.Add(b, len(in.Skipped()) > skipped || len(b.Gaps) > 0); err != nil {
			return end, err
		}
		skipped = len(in.Skipped())
		if b.End != nil {
			e := *b.End
			end = &e
		}
		tell(b.Offset)
	}
}

// progress gives a function that tells on a terminal how far reading is, when it
// takes long; -1 ends it.
func progress(errOut io.Writer, in *input) func(int64) {
	f, ok := errOut.(*os.File)
	if !ok || in.bytes == 0 || !isTerminal(f) {
		return func(int64) {}
	}
	next := time.Now().Add(time.Second)
	shown := false
	return func(at int64) {
		switch {
		case at < 0 && shown:
			fmt.Fprint(f, "\r\x1b[K")
		case at >= 0 && time.Now().After(next):
			shown, next = true, time.Now().Add(200*time.Millisecond)
			fmt.Fprintf(f, "\r\x1b[Kreading %s: %d %%", format.Quote(in.name), at*100/in.bytes)
		}
	}
}
