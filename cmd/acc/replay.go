package main

// This file is acc replay.

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/evidence"
	"github.com/acc-project/acc/format"
	"github.com/acc-project/acc/replay"
)

type replayOptions struct {
	speed   string
	maxGap  string
	from    string
	until   string
	json    bool
	salvage bool
	filter  string

	untilFilter bool // until is what filter says
	zoneOptions
}

func newReplayCommand() *cobra.Command {
	o := replayOptions{}
	cmd := &cobra.Command{
		Use:   "replay FILE...|FOLDER",
		Short: "Print the events of a capture, at the pace at which they happened",
		Long: `Replay prints the events of a capture, one a line, in order of time, at the pace at which
they happened. FILE - is standard input, also while the capture is being recorded. Then an
event can come too late for that order, by more than 200 ms; replay counts these.
Times are in the zone of the recorded host; in JSON they are UTC. acc fields lists the keys
of --json. With --from, replay jumps to that time and does not check the file before it. If
the capture has no event at that time or later, replay reports that. -f prints only
the events that meet a condition ("acc help filter"); if the condition asks for a time (ts),
replay jumps there, too. Replay reads the files of one recording (acc record --rotate-size)
as one capture.`,
		Example: `  acc replay incident.acc
  acc replay --speed 10 --max-gap 2s incident.acc
  acc replay --speed max --json incident.acc
  acc replay --from 90s incident.acc
  acc replay --from 22:13:20 --until 22:13:25 incident.acc
  acc replay --speed max -f 'kind == "drop" and lport == 443' incident.acc
  ssh prod sudo acc record -o - | acc replay -`,
		Args:              someCaptures,
		ValidArgsFunction: captureFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runReplay(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args, o)
		},
	}
	takesRead(cmd)
	f := cmd.Flags()
	f.StringVar(&o.speed, "speed", "1", "this many `TIMES` as fast as it happened; max: all at once")
	f.StringVar(&o.maxGap, "max-gap", "0", "longest pause between two events, a `TIME` like 2s; 0: no limit")
	f.StringVar(&o.from, "from", "", "begin at this `TIME`: 15:04:05 (the recorded host's clock), "+
		"2026-11-24T15:04:05Z, or 90s (after the start)")
	f.StringVar(&o.until, "until", "", "stop at this `TIME`, same forms as --from; replay does not read the rest")
	f.BoolVar(&o.json, "json", false, "print JSON, one object a line")
	f.BoolVar(&o.salvage, "salvage", false, "skip corrupt parts, report them, and go on")
	filterFlag(cmd, &o.filter, ofEvents)
	o.zoneOptions.flags(cmd)
	values(cmd, "speed", "1\tas fast as it happened", "10\tten times as fast", "max\tat once")
	values(cmd, "max-gap", "0\tas long as it was", "1s", "10s")
	values(cmd, "from")
	values(cmd, "until")
	group(cmd, "Pace", "speed", "max-gap", "from", "until")
	group(cmd, "Times", "utc", "local")
	group(cmd, "What to read", "read", "identity-file", "salvage", "filter")
	return cmd
}

// stops names the flag that a replay stops by.
func (o *replayOptions) stops() string {
	if o.untilFilter {
		return "-f"
	}
	return "--until"
}

// speedOf reads a --speed; 0 is max.
func speedOf(s string) (float64, error) {
	if s == "max" {
		return 0, nil
	}
	v, err := strconv.ParseFloat(strings.TrimSuffix(s, "x"), 64)
	if err != nil || !(v > 0) || v > 1e9 {
		return 0, &usageError{fmt.Errorf("--speed %q is not a number above 0, nor max", s),
			"like --speed 10, or --speed max"}
	}
	return v, nil
}

// durationOf reads a duration; a bare number is seconds.
func durationOf(flag, s string) (time.Duration, error) {
	if n, err := strconv.ParseFloat(s, 64); err == nil && n >= 0 && n < 1e9 {
		return time.Duration(n * float64(time.Second)), nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, &usageError{fmt.Errorf("%s %q is not a duration", flag, s), "like " + flag + " 30s, or " + flag +
			" 5m"}
	}
	return d, nil
}

// lossLayout is the time of a loss.
const lossLayout = "2006-01-02T15:04:05.000000000Z07:00"

func runReplay(ctx context.Context, out, errOut io.Writer, names []string, o replayOptions) error {
	speed, err := speedOf(o.speed)
	if err != nil {
		return err
	}
	gap, err := durationOf("--max-gap", o.maxGap)
	if err != nil {
		return err
	}
	choose := &eventFilter{}
	if o.filter != "" {
		if choose.f, err = compileEvents(o.filter); err != nil {
			return err
		}
	}
	in, err := choose.open(ctx, names, o.salvage)
	if err != nil {
		return err
	}
	defer in.Close()
	go func() { // a pipe that gives nothing must not keep us
		<-ctx.Done()
		in.file.SetReadDeadline(time.Now())
		if names[0] == "-" {
			os.Stdin.Close()
		}
	}()
	zone, host := o.zone(in.Header().ZoneSec), format.Quote(in.Header().Host)
	in.zone = zone
	given := o.until
	if o.from, o.until, err = choose.window(in, o.from, o.until); err != nil {
		return err
	}
	o.untilFilter = o.until != given
	source, err := newLater(in, o.from)
	if err != nil {
		return err
	}
	until, err := source.untilOf(o.until)
	if err != nil {
		return err
	}
	choose.begin(in, source.clocks)
	if o.from != "" {
		if why := early(source.from, startOf(in.Start()), zone); why != "" {
			fmt.Fprintf(errOut, "acc: %s\n", why)
		}
	}
	p := in.showProgress(errOut, true, out)
	defer p.stop()
	errOut = p
	width := widthOf(out)
	if !o.json {
		out = textOut(out)
	}
	w := bufio.NewWriterSize(out, 64<<10)
	if !o.json {
		if _, err := w.WriteString(notices(in.Header())); err != nil {
			return err
		}
	}
	if o.filter != "" && !o.json {
		if _, err := w.WriteString(filteredLine(o.filter)); err != nil {
			return err
		}
	}
	clocks := source.clocks
	var end *format.End
	var line, text []byte
	var notes []format.Mark // that come before the next event
	day := ""
	batch := func(b *format.Batch) error {
		for _, l := range b.Losses {
			fmt.Fprintf(errOut, "acc: %s of %s lost on cpu%d between %s and %s\n",
				humanize.Plural(l.Count, l.Kind.String()+" event"), l.Hook, l.CPU,
				clocks.AppendMoment(nil, l.FromNS, zone, lossLayout),
				clocks.AppendMoment(nil, l.ToNS, zone, lossLayout))
		}
		for i := range b.Counted {
			sayCounted(errOut, &b.Counted[i], clocks, zone)
		}
		if b.End != nil {
			e := *b.End
			end = &e
		}
		notes = append(notes, b.Marks...)
		return nil
	}
	note := func(upToNS int64) error {
		for len(notes) > 0 && notes[0].BootNS <= upToNS {
			if _, err := w.Write(markLine(&notes[0], clocks, zone, o.json)); err != nil {
				return err
			}
			notes = notes[1:]
		}
		return nil
	}
	event := func(e *format.Event) error {
		clock := clocks.At(e.BootNS)
		if !until.IsZero() && clock.Known() && clock.Time(e.BootNS).After(until) {
			return errUntil
		}
		if !choose.has(e) {
			return nil
		}
		if err := note(e.BootNS); err != nil {
			return err
		}
		if o.json {
			line = format.AppendJSON(line[:0], e, clock)
		} else {
			if d := dayOf(e.BootNS, clock, zone); d != day {
				day = d
				fmt.Fprintf(w, "%s  %s\n", d, host)
			}
			text = format.AppendText(text[:0], e, clock, zone)
			line = report.AppendFolded(line[:0], text, width, 10)
		}
		_, err := w.Write(append(line, '\n'))
		return err
	}
	err = replay.Play(ctx, source, replay.PlayOptions{Speed: speed, MaxGap: gap, Idle: w.Flush}, batch, event)
	var noteErr error
	if !errors.Is(err, errUntil) {
		noteErr = note(math.MaxInt64)
	}
	if flushErr := errors.Join(noteErr, w.Flush()); flushErr != nil {
		return flushErr
	}
	p.stop()
	if late := source.order.Late().String(); late != "" {
		fmt.Fprintf(errOut, "acc: %s\n", late)
	}
	if ctx.Err() != nil {
		return exited(130)
	}
	choose.tell(errOut, o.filter)
	if errors.Is(err, errUntil) {
		fmt.Fprintf(errOut, "acc: %s: stopped at %s as %s says; what follows was not read\n", in.name,
			until.In(zone).Format(fromLayout), o.stops())
		return nil
	}
	return source.conclude(errOut, in, err, end, zone)
}

// conclude says what follows from what ended reading, and gives the verdict.
func (l *later) conclude(errOut io.Writer, in *input, err error, end *format.End, zone *time.Location) error {
	if why := l.nothing(startOf(in.Start()), end, zone); why != "" {
		fmt.Fprintf(errOut, "acc: %s\n", why)
	}
	if l.examination == nil || !evidence.Ended(err) && !errors.As(err, new(*format.CorruptError)) {
		return in.Verdict(err, end, nil)
	}
	r, finishErr := l.examination.Finish(err, in.Skipped())
	if finishErr != nil {
		return finishErr
	}
	tellState(errOut, in, r)
	return in.Verdict(err, end, r)
}

// markLine is the line of a mark.
func markLine(m *format.Mark, clocks *format.Clocks, zone *time.Location, asJSON bool) []byte {
	if !asJSON {
		return append(clocks.AppendMoment(nil, m.BootNS, zone, "15:04:05.000000"), "  mark: "+format.Quote(m.Text)+"\n"...)
	}
	line := struct {
		TS     string `json:"ts,omitempty"`
		BootNS int64  `json:"boot_ns"`
		Kind   string `json:"kind"`
		Text   string `json:"text"`
		UID    uint32 `json:"uid"`
	}{"", m.BootNS, "mark", m.Text, m.UID}
	if clocks.Known(m.BootNS) {
		line.TS = clocks.Time(m.BootNS).UTC().Format(time.RFC3339Nano)
	}
	b, _ := json.Marshal(line) // of texts and numbers
	return append(b, '\n')
}

// sayCounted says that failed calls were counted, which have no events.
func sayCounted(w io.Writer, c *format.Counted, clocks *format.Clocks, zone *time.Location) {
	if c.Calls == 0 {
		return
	}
	who := fmt.Sprintf("user %d", c.UID)
	switch {
	case c.PID != 0:
		who = fmt.Sprintf("%s[%d]", format.Quote(c.Comm), c.PID)
	case c.UID == format.SeveralUsers:
		who = "several users"
	}
	fmt.Fprintf(w, "acc: %s of %s, %s between %s and %s\n", humanize.Counted(c.Calls), who,
		cmp.Or(format.ErrnoName(-c.Ret), "several errors"), clocks.AppendMoment(nil, c.FromNS, zone, lossLayout),
		clocks.AppendMoment(nil, c.ToNS, zone, lossLayout))
}
