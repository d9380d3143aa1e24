package main

// This file is acc cut.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/filter"
	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/analysis/pairing"
	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/format"
	"github.com/acc-project/acc/replay/cut"
)

type cutOptions struct {
	output      string
	force       bool
	to          []string
	from, until string
	filter      string
	connections []string
	zoneOptions

	pairFilter       *filter.Filter[pairing.Pair]
	connectionFilter *filter.Filter[conntrack.Connection]
	named            []func(*conntrack.Connection) bool
}

func newCutCommand() *cobra.Command {
	o := cutOptions{}
	cmd := &cobra.Command{
		Use:   "cut FILE|FOLDER... -o PART",
		Short: "Write a part of a capture: a time, a condition, some connections",
		Long: `Cut writes a new capture that has a part of another one: the events from --from to --until,
and with -f or --connections only those of some attempts and connections. Events keep their
numbers, and their times are those of the original. Files of one recording count as one
capture.

What was there when the part begins goes with it: listeners and their queues, open
connections, threads that wait in accept, and processes. Every command prints that the
capture is a cut. What began before the cut is named as such, and nothing is concluded from
what the part does not have. The kernel's counters are of the whole recording: a cut has none.

The part's header has the SHA-256 and the chain head of the original, its id, what was
selected, and what the original says of lost events. A cut of a cut names both originals.
The original's signature is not valid for the part. acc verify --parent ORIGINAL PART cuts
again, and so proves that the part is what was cut out of the original.

-f takes the conditions of acc analyze -f (acc help filter), on attempts and on connections.
An attempt comes with the connection that it accepted, and a connection with the attempt.
--connections takes numbers of events and client addresses, as acc analyze --connection does.`,
		Example: `  acc cut incident.acc --from 14:03:20 --until 14:05:20 -o part.acc
  acc cut incident.acc --from 90s --until 2m -f 'lport == 443' -o part.acc
  acc cut incident.acc --connections 12,192.0.2.1:40000 -o part.acc
  acc verify --parent incident.acc part.acc`,
		ValidArgsFunction: captureFiles,
		Args: func(cmd *cobra.Command, args []string) error {
			if slices.Contains(args, "-") {
				return usage(cmd, errors.New("name a file: standard input can't be read twice"))
			}
			return someCaptures(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.complain(); err != nil {
				return err
			}
			return runCut(cmd.Context(), cmd.ErrOrStderr(), args, o)
		},
	}
	takesRead(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", "", "the new capture `FILE`, - for standard output")
	f.BoolVar(&o.force, "force", false, "overwrite the new capture if it exists")
	f.StringVar(&o.from, "from", "", "the first `TIME` of the part: 15:04:05 (the recorded host's clock), "+
		"2026-11-24T15:04:05Z, or 90s (after the start)")
	f.StringVar(&o.until, "until", "", "its last `TIME`; same forms as --from")
	filterFlag(cmd, &o.filter, ofPairs, ofConnections)
	f.StringSliceVar(&o.connections, "connections", nil,
		"only these connections: `IDS` are numbers of events, or addresses and ports of clients")
	o.zoneOptions.flags(cmd)
	values(cmd, "from")
	values(cmd, "until")
	values(cmd, "connections")
	complete(cmd, "output", captureFiles)
	sealTo(cmd, &o.to)
	group(cmd, "What to write", "output", "force", "to")
	group(cmd, "What to cut out", "from", "until", "filter", "connections", "utc", "local")
	group(cmd, "What to read", "read", "identity-file")
	return cmd
}

// complain refuses options that do not go together.
func (o *cutOptions) complain() error {
	switch {
	case o.output == "":
		return &usageError{errors.New("-o is missing"), "like acc cut incident.acc --from 90s --until 2m -o part.acc"}
	case o.filter != "" && len(o.connections) > 0:
		return &usageError{errors.New("-f and --connections both choose connections"), "use one of them"}
	case o.from == "" && o.until == "" && o.filter == "" && len(o.connections) == 0:
		return &usageError{errors.New("say what to cut out"), "with --from and --until, -f or --connections"}
	}
	return o.compile()
}

// compile makes ready what chooses.
func (o *cutOptions) compile() (err error) {
	if o.filter != "" {
		a := analyzeOptions{filter: o.filter}
		if o.pairFilter, o.connectionFilter, err = a.compileBoth(); err != nil {
			return err
		}
	}
	for _, name := range o.connections {
		a := analyzeOptions{connection: name}
		is, err := a.which()
		if err != nil {
			return &usageError{
				fmt.Errorf("--connections %q is neither the number of an event nor an address and port", name),
				"like --connections 12, or --connections 192.0.2.1:40000",
			}
		}
		o.named = append(o.named, is)
	}
	return nil
}

// openWholes opens files that can be read several times, which are one capture. Ready is called when all are open.
func openWholes(names []string, ready func() error) (*input, error) {
	ins, errs := openFiles(expandFolders(names))
	err := errors.Join(errs...)
	if err == nil {
		err = ready()
	}
	if err != nil {
		closeAll(ins)
		return nil, err
	}
	for _, in := range ins {
		if err = in.again(); err != nil {
			break
		}
		if _, err = in.unwrap(nil); err != nil {
			err = fmt.Errorf("%s: %w", in.name, err)
			break
		}
	}
	if err == nil && len(ins) > 1 {
		joinSets(ins)
		ins = slices.DeleteFunc(ins, func(in *input) bool { return in == nil })
		if len(ins) > 1 {
			err = &usageError{fmt.Errorf("these are %d captures: each has a clock and events of its own", len(ins)),
				"name one, like " + fileName(ins[0].name) + ", or files of one recording that follow each other"}
		}
	}
	if err != nil {
		closeAll(ins)
		return nil, err
	}
	in := ins[0]
	in.opts = format.ReaderOptions{Parts: true}
	return in, nil
}

// survey reads what the files of an input say beside their events.
func (in *input) survey(ctx context.Context) (*cut.Survey, []format.CutFile, error) {
	var list []*cut.Survey
	for _, x := range append([]*input{in}, in.more...) {
		s, err := cut.Take(io.NewSectionReader(stoppableAt{ctx, x.source}, 0, x.bytes))
		if err != nil {
			return nil, nil, x.uncuttable(err)
		}
		list = append(list, s)
	}
	s, files := cut.Join(list)
	return s, files, nil
}

// stoppableAt gives what r gives until the command is to end.
type stoppableAt struct {
	ctx context.Context
	r   io.ReaderAt
}

func (s stoppableAt) ReadAt(p []byte, off int64) (int, error) {
	if s.ctx.Err() != nil {
		return 0, errStopped
	}
	return s.r.ReadAt(p, off)
}

// uncuttable is an error of a capture that can't be cut, with what to do.
func (in *input) uncuttable(err error) error {
	switch {
	case errors.Is(err, errStopped):
		return exited(130)
	case errors.As(err, new(*format.CorruptError)):
		return &hinted{fmt.Errorf("%s: %w", in.name, err), "acc repair writes what can be read of it; cut that"}
	case errors.Is(err, format.ErrTruncated): // elsewhere it is an end
		return &hinted{fmt.Errorf("%s: %w", in.name, err), nothingRead}
	case errors.Is(err, cut.ErrTooOften):
		return &hinted{fmt.Errorf("%s: %w", in.name, err), "cut the original again: acc info names it"}
	}
	return fmt.Errorf("%s: %w", in.name, err)
}

// cutInput is what cut.Write reads.
func (in *input) cutInput(ctx context.Context, s *cut.Survey, files []format.CutFile) *cut.Input {
	return &cut.Input{Survey: s, Files: files, Seek: len(in.more) == 0, Open: func() (cut.Source, error) {
		if _, err := in.source.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
		if err := in.begin(in.source, false); err != nil {
			return nil, err
		}
		return in.Capture, nil
	}, Stop: func() error {
		if ctx.Err() != nil {
			return errStopped
		}
		return nil
	}}
}

// span finds the boot times that are asked for.
func (o *cutOptions) span(in *input, s *cut.Survey) (from, until int64, err error) {
	from, until = math.MinInt64, math.MaxInt64
	if o.from == "" && o.until == "" {
		return from, until, nil
	}
	if !s.Header.Clock.Known() {
		return 0, 0, &hinted{fmt.Errorf("%s: --from and --until need a clock, and that of the capture is not known", in.name),
			"without them, -f and --connections choose"}
	}
	end, zone := format.Clock{}, o.zone(s.Header.ZoneSec)
	if s.End != nil {
		end = s.End.Clock
	}
	var first, last time.Time
	if o.from != "" {
		if first, err = timeOf("--from", o.from, &s.Header, end, zone); err != nil {
			return 0, 0, err
		}
		from = s.Clocks.From(first)
	}
	if o.until != "" {
		if last, err = timeOf("--until", o.until, &s.Header, end, zone); err != nil {
			return 0, 0, err
		}
		until = s.Clocks.Until(last)
	}
	if o.from != "" && o.until != "" && last.Before(first) {
		return 0, 0, &usageError{errors.New("--until is before --from"),
			"times of the day are in the zone in which they are shown: the recorded host's, or that of --utc or --local"}
	}
	return from, until, nil
}

func runCut(ctx context.Context, errOut io.Writer, names []string, o cutOptions) error {
	encrypt, err := sealer(o.to)
	if err != nil {
		return err
	}
	var out *target
	in, err := openWholes(names, func() (err error) {
		for _, name := range expandFolders(names) {
			if in, err := openFile(name); err == nil {
				err = notItself(in, o.output)
				if in.Close(); err != nil {
					return err
				}
			}
		}
		if out, err = newBinaryTarget("capture", o.output, o.force); err == nil {
			writing.Store(true)
			confineExport("")
		}
		return err
	})
	if err != nil {
		if out != nil {
			out.discard()
		}
		return err
	}
	defer in.Close()
	defer out.discard()
	p := in.showProgress(errOut, false, errOut)
	defer p.stop()
	note, end, s, err := o.write(ctx, through(encrypt, out), in)
	p.stop()
	if err != nil {
		return err
	}
	if err := out.commit(); err != nil {
		return err
	}
	o.say(errOut, in, out, note, end, s)
	if f, _ := in.sealed(); f != nil && encrypt == nil {
		fmt.Fprintf(errOut, "acc: the original is encrypted, and %s is not: --to encrypts it\n", fileName(out.name))
	}
	return nil
}

// write writes the part of an input.
func (o *cutOptions) write(ctx context.Context, w io.Writer, in *input) (*format.Cut, *format.End, *cut.Survey, error) {
	s, files, err := in.survey(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	from, until, err := o.span(in, s)
	if err != nil {
		return nil, nil, nil, err
	}
	c, err := o.choose(ctx, in)
	if err != nil {
		return nil, nil, nil, err
	}
	opts := cut.Options{Tool: "acc " + toolVersion(), FromNS: from, UntilNS: until, Filter: o.filter,
		Connections: o.connections}
	if c != nil {
		if c.events+uint64(len(c.listed)) == 0 {
			return nil, nil, nil, &hinted{fmt.Errorf("nothing of %s is selected: there would be nothing in the part", in.name),
				"acc analyze --connections lists all connections"}
		}
		opts.Chooser = c
	}
	note, end, err := cut.Write(w, in.cutInput(ctx, s, files), opts)
	if errors.Is(err, cut.ErrOutside) {
		zone := o.zone(s.Header.ZoneSec)
		return nil, nil, nil, &hinted{fmt.Errorf("%s: that time is outside of the recording", in.name),
			"it is of " + s.Clocks.Time(s.StartNS()).In(zone).Format(fromLayout) + " to " +
				s.Clocks.Time(s.EndNS()).In(zone).Format(fromLayout)}
	}
	if err != nil {
		return nil, nil, nil, in.uncuttable(err)
	}
	return note, end, s, nil
}

// say says what was written.
func (o *cutOptions) say(errOut io.Writer, in *input, out *target, note *format.Cut, end *format.End, s *cut.Survey) {
	q := fileName
	fmt.Fprintf(errOut, "acc: %s has %s of %s of %s\n", q(out.name), humanize.Count(end.Events),
		humanize.Plural(note.Events, "event"), q(in.name))
	fmt.Fprintf(errOut, "acc: it is %s\n", cutSpan(note, s.Clocks, o.zone(s.Header.ZoneSec)))
	if end.Events == 0 {
		what := ""
		if note.Chosen() {
			what = " that is selected"
		}
		fmt.Fprintf(errOut, "acc: no event%s lies in that time; what was there then is in the part\n", what)
	}
	if s.End == nil {
		fmt.Fprintf(errOut, "acc: the original stops before its end: whether events are missing is not known\n")
	}
	if !out.stdout {
		fmt.Fprintf(errOut, "acc: next: acc analyze %s\n", q(out.name))
	}
}

// cutSpan says which time a cut has.
func cutSpan(c *format.Cut, clocks *format.Clocks, zone *time.Location) string {
	at := func(ns int64, is bool, whole string) string {
		text := "a time that is not known"
		if clocks.Known(ns) {
			text = clocks.Time(ns).In(zone).Format(fromLayout)
		}
		if is {
			text += whole
		}
		return text
	}
	text := fmt.Sprintf("%s: %s to %s", report.Duration(c.UntilNS-c.FromNS),
		at(c.FromNS, c.Begin, " (its beginning)"), at(c.UntilNS, c.End, " (its end)"))
	if c.Filter != "" {
		text += "; selected: " + format.Quote(oneLine(c.Filter))
	} else if len(c.Connections) > 0 {
		text += "; connections " + format.Quote(strings.Join(c.Connections, ", "))
	}
	return text
}
