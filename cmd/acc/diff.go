package main

// This file is acc diff.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/compare"
	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/evidence"
	"github.com/acc-project/acc/format"
)

type diffOptions struct {
	json           bool
	failRegression bool
	top            int
	zoneOptions
}

func newDiffCommand() *cobra.Command {
	o := diffOptions{}
	cmd := &cobra.Command{
		Use:   "diff GOOD BAD",
		Short: "Compare two captures: what is new, gone or changed in the second one",
		Long: `Diff compares two captures, like one of a good hour with one of a bad hour: rates, time in
the accept queue, time in accept, durations, errors, listeners, processes, clients, findings.

A figure has changed only if all of this is true:

  - A Mann-Whitney U test says that the values of the windows (16 to 32 pieces of time of
    the shorter capture) are not of one distribution. All figures together have a chance
    of 1 % for one false alarm.
  - The difference is more than twice the noise: what each capture differs from itself,
    between alternating windows of all lengths, up to its two halves.
  - It is at least 10 %, and at least 0.1 a second or 50 µs.

Listeners, processes and clients are new or gone if they accepted so much in one capture
that it can't be chance that the other has none of it. What differs is sorted: findings
first, then the surest. Figures that differ by no more than the noise are counted (~). If
captures are hard to compare (another selection, an incomplete recording, another version,
the same recording), diff says why, and compares them nevertheless.

--fail-on-regression exits with 8 if the second capture is worse: a finding of warning or
worse is new or became worse; or durations, failed calls, refused packets or lost
connections went up.`,
		Example: `  acc diff good.acc bad.acc
  acc diff --json good.acc bad.acc
  acc diff --fail-on-regression before.acc after.acc`,
		ValidArgsFunction: captureFiles,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) != 2:
				return usage(cmd, errors.New("name two captures: the good one, then the other one"))
			case args[0] == "-" && args[1] == "-":
				return usage(cmd, errors.New("standard input can be read once"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.top < 0 {
				return &usageError{fmt.Errorf("--top must be 0 or more, not %d", o.top), "--top 0 shows all rows"}
			}
			return runDiff(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args, o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.json, "json", false, "print JSON: one object")
	f.BoolVar(&o.failRegression, "fail-on-regression", false, "exit with 8 if the second capture is worse")
	f.IntVar(&o.top, "top", 40, "`ROWS` that are printed at most; 0: all. JSON has all")
	o.zoneOptions.flags(cmd)
	takesIdentity(cmd)
	values(cmd, "top", "0\tall rows", "40")
	group(cmd, "What to print", "json", "top", "utc", "local")
	group(cmd, "What to read", "identity-file")
	group(cmd, "For scripts", "fail-on-regression")
	return cmd
}

func runDiff(ctx context.Context, out, errOut io.Writer, names []string, o diffOptions) error {
	ins := make([]*input, 2)
	for i, name := range names {
		var err error
		if ins[i], err = openOne(name); err != nil {
			return err
		}
		defer ins[i].Close()
	}
	confineReader()
	profiles := make([]*compare.Profile, 2)
	var verdict error
	for i, in := range ins {
		p, bad, err := in.profile(ctx, errOut)
		if err != nil {
			return err
		}
		profiles[i] = p
		if verdict == nil {
			verdict = bad
		}
	}
	d := compare.Compare(profiles[0], profiles[1])
	d.A.File, d.B.File = ins[0].name, ins[1].name
	var err error
	if o.json {
		err = encodeJSON(out, d)
	} else {
		err = diffText(textOut(out), d, widthOf(out), &o, []*time.Location{o.zone(profiles[0].Header.ZoneSec),
			o.zone(profiles[1].Header.ZoneSec)})
	}
	switch {
	case err != nil:
		return err
	case verdict != nil:
		return verdict
	case o.failRegression && d.Regression:
		return exited(exitFound)
	}
	return nil
}

// openOne opens one capture: a file, standard input, or the files of one recording in a folder.
func openOne(name string) (*input, error) {
	list := expandFolders([]string{name})
	if len(list) == 1 {
		return openFile(list[0])
	}
	ins, errs := openFiles(list)
	joinSets(ins)
	rest := slices.DeleteFunc(ins, func(in *input) bool { return in == nil })
	err := errors.Join(errs...)
	if err == nil && len(rest) > 1 {
		err = &usageError{fmt.Errorf("%s has %d captures", fileName(name), len(rest)),
			"name one of them, like " + fileName(rest[0].name)}
	}
	if err != nil {
		for _, in := range rest {
			in.Close()
		}
		return nil, err
	}
	return rest[0], nil
}

// profile reads a capture for a comparison. The verdict is nil if it is whole.
func (in *input) profile(ctx context.Context, errOut io.Writer) (p *compare.Profile, verdict, err error) {
	in.opts, in.inside = format.ReaderOptions{Parts: true, Omit: []string{"cgroup"}}, true
	if err := in.begin(in.source, false); err != nil {
		return nil, nil, err
	}
	p = compare.NewProfile(in.Start())
	opts := analysis.Options{Top: -1}
	p.Listen(&opts)
	x := evidence.Examine(in.Start(), opts)
	shown := in.showProgress(errOut, false, errOut)
	defer shown.stop()
	readErr := feed(ctx, in, x)
	if !evidence.Ended(readErr) && !errors.As(readErr, new(*format.CorruptError)) {
		return nil, nil, in.Verdict(readErr, x.End(), nil)
	}
	if p.Result, err = x.Finish(readErr, in.Skipped()); err != nil {
		return nil, nil, err
	}
	return p, in.Verdict(readErr, x.End(), p.Result), nil
}

// diffText prints what differs.
func diffText(out io.Writer, d *compare.Diff, width int, o *diffOptions, zones []*time.Location) error {
	var s sheet
	for i, x := range []*compare.Side{&d.A, &d.B} {
		began := "at a time that is not known"
		if x.StartNS != 0 {
			began = time.Unix(0, x.StartNS).In(zones[i]).Format("2006-01-02 15:04:05 -07:00")
		}
		s.row([]string{"first", "second"}[i], "%s: %s, %s, %s, %s accepted", fileName(x.File), format.Quote(x.Host), began,
			report.Duration(x.DurationNS), report.Count(x.Accepted))
	}
	head := "DOUBTFUL"
	for _, why := range d.Why {
		s.row(head, "%s", why)
		head = ""
	}
	if d.WindowNS > 0 {
		s.row("compared", "in windows of %s: %d of the first, %d of the second", report.Duration(d.WindowNS), d.A.Windows,
			d.B.Windows)
	}
	n := len(d.Differences)
	top := cmp.Or(o.top, n)
	shown, clients := 0, 0
	for _, x := range d.Differences {
		if x.Kind == "peer" { // they are many, and stand last
			clients++
		}
		if shown >= top || clients > 5 && n > 20 && o.top != 0 {
			continue
		}
		head := x.What
		if x.Worse {
			head = "WORSE"
		}
		if shown++; shown == 1 {
			s.row("", "")
		}
		p := ""
		if x.Kind != "finding" {
			p = fmt.Sprintf(", p %.1g", x.P)
			if x.P < 1e-15 {
				p = ", p < 1e-15"
			}
		}
		s.row(head, "%s%s", x.Text, p)
	}
	if n > shown {
		more := many(n-shown, "more difference")
		if clients > 5 {
			more += fmt.Sprintf("; %d of all are clients that are new or gone", clients)
		}
		s.row("", "and %s (--top 0)", more)
	}
	if n > 0 {
		s.row("", "")
	}
	switch {
	case n == 0 && d.WindowNS > 0:
		s.row("verdict", "no difference beyond the captures' own noise")
	case d.Regression:
		s.row("verdict", "the second capture is WORSE")
	case n > 0:
		s.row("verdict", "they differ, and nothing of that is worse")
	}
	if d.WindowNS > 0 {
		rare := ""
		if d.TooFew > 0 {
			rare = fmt.Sprintf("; %s too rare to be compared", humanize.Plural(uint64(d.TooFew), "figure")+" "+
				humanize.Were(uint64(d.TooFew)))
		}
		s.row("~", "%s %s within the noise%s", humanize.Plural(uint64(d.Same), "figure"), humanize.Were(uint64(d.Same)), rare)
	}
	return s.write(out, width)
}
