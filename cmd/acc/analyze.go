package main

// This file is acc analyze.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/acc-project/acc/analysis/listeners"

	"github.com/spf13/cobra"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/filter"
	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/analysis/pairing"
	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/evidence"
	"github.com/acc-project/acc/format"
)

type analyzeOptions struct {
	json        bool
	pairs       bool
	connections bool
	connection  string
	symbols     string
	timeline    bool
	salvage     bool
	top         int
	sort        string
	color       string
	failOn      string
	brief       bool
	hosts       bool
	topAsked    bool     // --top was given
	source      int      // number of the capture of several, from 1; 0: it is the only one
	host        string   // of it
	name        string   // of it
	head        string   // what stands above it
	told        *[]*told // stories that were printed, whose other side is looked for; nil: it is not
	from, until string
	filter      string
	zoneOptions

	pairFilter       *filter.Filter[pairing.Pair] // of filter, nil without one
	connectionFilter *filter.Filter[conntrack.Connection]
}

func newAnalyzeCommand() *cobra.Command {
	o := analyzeOptions{}
	cmd := &cobra.Command{
		Use:     "analyze FILE|FOLDER...",
		Aliases: []string{"analyse"},
		Short:   "Print what a capture shows: problems, who accepted whom, how long it took, what failed",
		Long: `Analyze prints on one screen what a capture shows. First comes the answer: is the file
intact, is the recording complete, and the worst findings. Then attempts to accept, failures
by error, time in accept, rates, what became of connections, listeners with their queues,
processes and peers; and at the end all findings. A finding is a problem that acc recognises:
docs/FINDINGS.md (man acc-findings) explains each. If events are missing, ≥ marks a number
that may be higher in truth, ~ one that may be lower or higher. acc help screen explains the
words.

Instead of the screen, --pairs lists the attempts and --connections the connections, one a
line. --connection prints the story of one connection: name it by the number of any of its
events, or by the client's address and port. --timeline draws connections. --from and
--until choose attempts and connections by time, -f by a condition ("acc help filter"). With
-f, the screen has the figures of what is selected beside those of the capture. It then has
the findings of a listener only if all of the listener is selected. docs/JSON.md explains
the keys of --json. FILE - is standard input. For a folder, analyze reads all *.acc in it (if
there are none, those in its folders), each by itself; but it reads the files of one recording
(acc record --rotate-size) as one capture. Of captures of several hosts, also in one file
(acc merge), it prints one line for each host, worst first (--hosts; --brief prints each
capture). Lists then have the lines of each capture below its name; in JSON, each line has
source (its number) and host. The story of a connection (--connection ADDRESS:PORT) then says
which other capture has it, too, and which connections there were at a server on another host
that the program waited for.`,
		Example: `  acc analyze incident.acc
  acc analyze --json incident.acc
  acc analyze --fail-on warning incident.acc
  acc analyze --timeline incident.acc
  acc analyze --brief *.acc
  acc analyze --hosts *.acc
  acc analyze --connections --from 22:13:20 --until 22:13:25 incident.acc
  acc analyze --connections incident.acc
  acc analyze --connections --json incident.acc
  acc analyze -f 'lport == 8080' incident.acc
  acc analyze --connections -f 'lport == 8080 and queue_wait > 10ms' incident.acc
  acc analyze --connection 3 incident.acc
  acc analyze --pairs incident.acc
  acc analyze --pairs --json incident.acc`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage(cmd, errors.New("name a capture file, or - for standard input"))
			}
			return nil
		},
		ValidArgsFunction: captureFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("connection") && o.connection == "" {
				return &usageError{errors.New("--connection names no connection"),
					"like --connection 12, or --connection 192.0.2.1:40000"}
			}
			if err := o.check(cmd); err != nil {
				return err
			}
			o.topAsked = cmd.Flags().Changed("top")
			names := expandFolders(args)
			if len(names) > 1 || o.hosts {
				return analyzeAll(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), names, o)
			}
			return runAnalyze(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), names[0], o)
		},
	}
	takesRead(cmd)
	f := cmd.Flags()
	f.BoolVar(&o.json, "json", false, "print JSON: one object, with an error if the file can't be read; with "+
		"--pairs or --connections, one object a line")
	f.BoolVar(&o.brief, "brief", false, "print only whether the file is intact and the recording complete, and "+
		"the worst findings: five lines at most")
	f.BoolVar(&o.hosts, "hosts", false, "print one line for each host, worst first; the default for captures of several "+
		"hosts")
	f.BoolVar(&o.pairs, "pairs", false, "list every attempt to accept: its call and its return; in brackets, why one "+
		"of them is missing (no-call: io_uring or the kernel accepted, without a system call)")
	f.BoolVar(&o.connections, "connections", false, "list every TCP connection, in the order in which they ended")
	f.StringVar(&o.connection, "connection", "", "print the story of `ONE` connection: the number of one of its events "+
		"(--connections prints it as id), or the client's ADDRESS:PORT")
	f.StringVar(&o.symbols, "symbols", "", "name functions of programs by the files in `DIR` (or one file) that have "+
		"their build ids: programs with symbols, or debug files")
	f.BoolVar(&o.timeline, "timeline", false, "draw connections as lanes, for each listener")
	f.StringVar(&o.failOn, "fail-on", "", "exit with 8 if a finding is `SEVERITY` or worse: notice, warning or critical")
	f.BoolVar(&o.salvage, "salvage", false, "skip corrupt parts, report them, and go on")
	f.IntVar(&o.top, "top", 10, "`ROWS` in each table; 0: all")
	f.StringVar(&o.sort, "sort", string(listeners.SortAccepted),
		"order by `COLUMN`: accepted, failed, queue, wait or name")
	f.StringVar(&o.from, "from", "", "list attempts or connections that were there at this `TIME` or later: "+
		"15:04:05 (the recorded host's clock), 2026-11-24T15:04:05Z, or 90s (after the start); with "+
		"--pairs, --connections or --timeline")
	f.StringVar(&o.until, "until", "", "list those that were there at this `TIME` or earlier; same forms as --from")
	f.StringVar(&o.color, "color", "auto", "colour `WHEN`: auto, always or never "+
		"(auto: on a terminal, unless NO_COLOR is set)")
	filterFlag(cmd, &o.filter, ofPairs, ofConnections)
	o.zoneOptions.flags(cmd)
	severities := make([]string, len(findings.Severities))
	for i, s := range findings.Severities {
		severities[i] = string(s)
	}
	values(cmd, "fail-on", severities...)
	values(cmd, "color", "auto", "always", "never")
	sorts := make([]string, len(listeners.Sorts))
	for i, s := range listeners.Sorts {
		sorts[i] = string(s)
	}
	values(cmd, "sort", sorts...)
	values(cmd, "top", "0\tall rows", "10", "50", "100")
	complete(cmd, "connection", clients)
	anyFile(cmd, "symbols")
	group(cmd, "What to print", "brief", "hosts", "pairs", "connections", "connection", "timeline", "json", "top", "sort",
		"color", "utc", "local")
	group(cmd, "What to read", "read", "identity-file", "salvage", "filter", "from", "until", "symbols")
	group(cmd, "For scripts", "fail-on")
	values(cmd, "from")
	values(cmd, "until")
	return cmd
}

// check refuses options that do not go together, and says why.
func (o *analyzeOptions) check(cmd *cobra.Command) error {
	view, err := o.view()
	if err != nil {
		return err
	}
	if o.hosts && (view != viewScreen || o.filter != "" || cmd.Flags().Changed("sort")) {
		return &usageError{errors.New("--hosts is a view of its own: a line for each host"),
			"without --brief, --pairs, --connections, --connection, --timeline, --sort and -f"}
	}
	lists := view == viewPairs || view == viewConnections
	if o.pairFilter, o.connectionFilter, err = o.compile(view); err != nil {
		return err
	}
	switch {
	case o.top < 0:
		return &usageError{fmt.Errorf("--top must be 0 or more, not %d", o.top), "--top 0 shows all rows"}
	case !slices.Contains(listeners.Sorts, listeners.Sort(o.sort)):
		return &usageError{fmt.Errorf("--sort %q is neither accepted, failed, queue, wait nor name", o.sort),
			"like --sort wait"}
	case o.failOn != "" && !slices.Contains(findings.Severities, findings.Severity(o.failOn)):
		return &usageError{fmt.Errorf("--fail-on %q is neither notice, warning nor critical", o.failOn),
			"like --fail-on warning"}
	case (o.from != "" || o.until != "") && !lists && view != viewTimeline:
		return &usageError{
			errors.New("--from and --until choose lines of a list: counts and findings are of the whole capture, as " +
				"its account of losses is"),
			"add --connections, --pairs or --timeline; acc replay --from prints events",
		}
	case o.filter != "" && o.failOn != "":
		return &usageError{errors.New("--fail-on is about the findings of the whole capture, -f selects a part"),
			"without -f, or without --fail-on"}
	case cmd.Flags().Changed("sort") && o.filter != "":
		return &usageError{errors.New("--sort is for the tables of the whole capture"), "without --sort: most is first"}
	case cmd.Flags().Changed("sort") && view != viewScreen && view != viewBrief:
		return &usageError{errors.New("--sort is for the tables of the screen: lists are in order of time"),
			"without --sort; for another order: --json and jq"}
	case cmd.Flags().Changed("top") && (lists || view == viewConnection):
		return &usageError{errors.New("--top is for tables: a list has every line"),
			"without --top; for the first lines: | head"}
	}
	return nil
}

// unreadable is an error of reading with what JSON of one object says of it.
func (o *analyzeOptions) unreadable(out io.Writer, name string, err error) error {
	if view, _ := o.view(); !o.json || view != viewScreen {
		return err
	}
	return errors.Join(err, tellUnreadable(out, name, err))
}

func runAnalyze(ctx context.Context, out, errOut io.Writer, name string, o analyzeOptions) error {
	if _, err := colorOf(o.color, out); err != nil {
		return err
	}
	in, err := openFile(name)
	if err != nil {
		return o.unreadable(out, name, err)
	}
	return analyzeInput(ctx, out, errOut, in, o)
}

// chosen gives the time that is asked for, and makes the conditions ready for the capture.
func (o *analyzeOptions) chosen(errOut io.Writer, in *input, filters []bound) (shown window, err error) {
	if shown, err = in.window(o.from, o.until); err != nil {
		return shown, err
	}
	for _, f := range filters {
		if err := in.bind(f); err != nil {
			return shown, err
		}
	}
	if !shown.from.IsZero() {
		if why := early(shown.from, startOf(in.Start()), in.zone); why != "" {
			fmt.Fprintf(errOut, "acc: %s\n", why)
		}
	}
	return shown, nil
}

// analyzeInput analyzes an input of which nothing was read, and closes it.
func analyzeInput(ctx context.Context, out, errOut io.Writer, in *input, o analyzeOptions) error {
	defer in.Close()
	color, err := colorOf(o.color, out)
	if err != nil {
		return err
	}
	view, err := o.view()
	if err != nil {
		return err
	}
	sym, err := o.openSymbols()
	if err != nil {
		return err
	}
	name := in.name
	// which nothing here looks at
	in.opts, in.inside = format.ReaderOptions{Salvage: o.salvage, Parts: true, Omit: []string{"cgroup"}}, true
	confineReader(o.readable()...)
	filters := o.bounds()
	var byListener map[listenerKey][]string
	if slices.ContainsFunc(filters, func(f bound) bool { return f.Uses(filter.FindingsName) }) {
		if byListener, err = in.findingsFirst(ctx, o.salvage); err != nil {
			return o.unreadable(out, name, err)
		}
	}
	if err := in.begin(in.source, o.salvage); err != nil {
		return o.unreadable(out, name, err)
	}
	text := report.TextOptions{Color: color, Width: widthOf(out), Height: heightOf(out),
		Zone: o.zone(in.Header().ZoneSec)}
	in.zone = text.Zone
	shown, err := o.chosen(errOut, in, filters)
	if err != nil {
		return err
	}
	if !o.json {
		out = textOut(out)
	}
	w := bufio.NewWriterSize(out, 64<<10)
	opts := analysis.Options{Top: o.top, Sort: listeners.Sort(o.sort)}
	if sym != nil {
		opts.Functions = sym.names
	}
	if o.top == 0 || view == viewScreen && len(filters) > 0 { // of which the findings of some are shown
		opts.Top = -1
	}
	v := &viewer{o: &o, w: w, view: view, header: in.Header(), zone: text.Zone, width: text.Width, file: in.bytes > 0,
		shown: shown}
	if err := v.listen(&opts); err != nil {
		return err
	}
	x := evidence.Examine(in.Start(), opts)
	v.clocks = x.Clocks()
	procs := newProcesses()
	if len(filters) > 0 {
		in.each, v.env = procs.add, procs.environment(v.clocks, byListener)
	}
	p := in.showProgress(errOut, view == viewPairs || view == viewConnections || view == viewConnection, out)
	defer p.stop()
	readErr := feed(ctx, in, x)
	p.stop()
	if !evidence.Ended(readErr) && !errors.As(readErr, new(*format.CorruptError)) {
		return errors.Join(v.ordered.flush(), w.Flush(), o.unreadable(out, name, in.Verdict(readErr, x.End(), nil)))
	}
	// What stands before a damaged place is right.
	result, err := x.Finish(readErr, in.Skipped())
	if err != nil {
		return err
	}
	result.LimitHit = result.LimitHit || procs.more
	verdict := in.Verdict(readErr, x.End(), result)
	if sym != nil {
		sym.say(errOut)
	}
	if err := v.result(result, text); err != nil {
		return errors.Join(w.Flush(), err)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return v.conclude(errOut, in, result, text.Zone, verdict)
}

// conclude says on standard error what stands beside a list, and gives the exit code.
func (v *viewer) conclude(errOut io.Writer, in *input, result *analysis.Result, zone *time.Location,
	verdict error) error {
	o, list := v.o, v.view == viewPairs || v.view == viewConnections
	if v.view != viewScreen && v.view != viewBrief {
		if tellState(errOut, in, result); o.filter != "" {
			tellSelected(errOut, in.name, o.filter, v.chosen.say(v.what()))
		}
	}
	if (o.from != "" || o.until != "") && v.lines == 0 && list {
		fmt.Fprintf(errOut, "acc: nothing of %s lies in that time: it was recorded %s\n", fileName(in.name),
			recorded(&result.Capture, zone))
	}
	if v.view == viewConnection && v.lines == 0 && verdict == nil && o.source > 0 {
		return errNoConnection
	}
	if v.view == viewConnection && v.lines == 0 && verdict == nil {
		return &hinted{fmt.Errorf("no connection of %s has %s", in.name, o.connection),
			"acc analyze --connections lists them; acc explain SEQ FILE says what an event is that is of no connection"}
	}
	if verdict == nil && o.failOn != "" && slices.ContainsFunc(result.Findings,
		func(f findings.Finding) bool { return f.Severity.AtLeast(findings.Severity(o.failOn)) }) {
		return exited(exitFound)
	}
	if verdict == nil && result.LimitHit {
		fmt.Fprintf(errOut, "acc: a limit on memory was hit: the lists are incomplete\n")
		return exited(exitLimit)
	}
	return verdict
}

// recorded says when a capture was recorded.
func recorded(c *analysis.CaptureInfo, zone *time.Location) string {
	if c.Start == nil || c.End == nil {
		return "at a time that is not known"
	}
	return "from " + c.Start.In(zone).Format(fromLayout) + " to " + c.End.In(zone).Format(fromLayout)
}

// feed gives all batches to the examination. The error is what ended reading.
func feed(ctx context.Context, in *input, x *evidence.Examination) error {
	for {
		if ctx.Err() != nil {
			return exited(130)
		}
		b, err := in.Next()
		if err != nil {
			return err
		}
		if in.settle != nil {
			if err := in.settle(); err != nil {
				return err
			}
		}
		if in.each != nil {
			in.each(b)
		}
		if err := x.Add(b, len(in.Skipped())); err != nil {
			return err
		}
	}
}

// tellState says on standard error, beside a list, whether the file is intact and the
// recording complete.
func tellState(errOut io.Writer, in *input, r *analysis.Result) {
	fmt.Fprintf(errOut, "acc: %s: %s\n", fileName(in.name), report.Statement(&r.Integrity, &r.Recording))
	for _, line := range report.Notices(in.Header().Redacted, in.Header().Cuts) {
		fmt.Fprintf(errOut, "acc: %s: %s\n", fileName(in.name), line)
	}
}

// notices are the first lines of what people read of a capture that is not the one that was recorded.
func notices(h *format.Header) string {
	text := ""
	for _, line := range report.Notices(h.Redacted, h.Cuts) {
		text += line + "\n"
	}
	return text
}
