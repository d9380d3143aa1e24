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
	"slices"
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
as one capture. It reads captures of several hosts together (several files, a folder, or what
acc merge wrote; 32 at most): each line has its host. "order unknown ± 3 ms" says that the clocks of two
hosts can be wrong by so much together that the event may have been before a line above it.`,
		Example: `  acc replay incident.acc
  acc replay --speed 10 --max-gap 2s incident.acc
  acc replay --speed max --json incident.acc
  acc replay --from 90s incident.acc
  acc replay --from 22:13:20 --until 22:13:25 incident.acc
  acc replay --speed max -f 'kind == "drop" and lport == 443' incident.acc
  acc replay --speed max web-1.acc web-2.acc
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
	if o.filter != "" {
		if _, err := compileEvents(o.filter); err != nil {
			return err
		}
	}
	ins, errs := openUnits(names)
	if len(ins) == 0 {
		return errors.Join(errs...)
	}
	worst := exitOK
	for _, err := range errs {
		worst = max(worst, exitCode(err, errOut))
	}
	dropCopies(ins, errOut)
	ins = slices.DeleteFunc(ins, func(in *input) bool { return in == nil })
	defer closeAll(ins)
	play := replay.PlayOptions{Speed: speed, MaxGap: gap}
	if len(ins) > 1 {
		err = o.replaySeveral(ctx, out, errOut, ins, play)
	} else {
		err = o.replayOne(ctx, out, errOut, ins[0], names[0], play)
	}
	if worst != exitOK {
		return exited(max(worst, exitCode(err, errOut)))
	}
	return err
}

// replayOne replays a capture.
func (o *replayOptions) replayOne(ctx context.Context, out, errOut io.Writer, in *input, name string,
	play replay.PlayOptions) error {
	go func() { // a pipe that gives nothing must not keep us
		<-ctx.Done()
		in.file.SetReadDeadline(time.Now())
		if name == "-" {
			os.Stdin.Close()
		}
	}()
	r := &replayer{o: *o, in: in, errOut: errOut, day: new(string)}
	if err := r.open(ctx); err != nil {
		return err
	}
	r.zone, r.host = o.zone(in.Header().ZoneSec), format.Quote(in.Header().Host)
	if err := r.begin(); err != nil {
		return err
	}
	p := in.showProgress(errOut, true, out)
	defer p.stop()
	r.errOut = p
	r.width = widthOf(out)
	if !o.json {
		out = textOut(out)
	}
	r.w = bufio.NewWriterSize(out, 64<<10)
	if !o.json {
		if _, err := r.w.WriteString(notices(in.Header())); err != nil {
			return err
		}
	}
	if err := r.filtered(); err != nil {
		return err
	}
	play.Idle = r.w.Flush
	err := replay.Play(ctx, r.source, play, r.batch, func(e *format.Event) error { return r.event(e, nil) })
	var noteErr error
	if !errors.Is(err, errUntil) {
		noteErr = r.note(math.MaxInt64)
	}
	if flushErr := errors.Join(noteErr, r.w.Flush()); flushErr != nil {
		return flushErr
	}
	p.stop()
	r.errOut = errOut
	if ctx.Err() != nil {
		r.late()
		return exited(130)
	}
	return r.conclude(err)
}

// replayer prints the events of a capture.
type replayer struct {
	o      replayOptions
	in     *input
	choose eventFilter
	source *later
	until  time.Time
	zone   *time.Location
	host   string
	w      *bufio.Writer
	errOut io.Writer
	width  int
	day    *string // that was printed last
	end    *format.End
	notes  []format.Mark // that come before the next event, as many as there is room for
	line   []byte
	text   []byte

	number int    // of several captures, from 1; 0: it is the only one
	label  string // of several, in text
	widest int    // label

	noteRoom format.Room
}

// maxNoteBytes bounds the marks that wait for a later event. Beyond it, the first of them is printed before its time.
const maxNoteBytes = 1 << 20

// open begins to read the capture.
func (r *replayer) open(ctx context.Context) (err error) {
	if r.o.filter != "" {
		if r.choose.f, err = compileEvents(r.o.filter); err != nil {
			return err
		}
	}
	return r.choose.open(ctx, r.in, r.o.salvage)
}

// begin goes to where the replay begins.
func (r *replayer) begin() (err error) {
	in, o := r.in, &r.o
	in.zone = r.zone
	given := o.until
	if o.from, o.until, err = r.choose.window(in, o.from, o.until); err != nil {
		return err
	}
	o.untilFilter = o.until != given
	if r.source, err = newLater(in, o.from); err != nil {
		return err
	}
	if r.until, err = r.source.untilOf(o.until); err != nil {
		return err
	}
	r.choose.begin(in, r.source.clocks)
	if o.from != "" && r.number == 0 {
		if why := early(r.source.from, startOf(in.Start()), r.zone); why != "" {
			fmt.Fprintf(r.errOut, "acc: %s\n", why)
		}
	}
	return nil
}

// filtered prints that the events are selected.
func (r *replayer) filtered() (err error) {
	if r.o.filter != "" && !r.o.json {
		_, err = r.w.WriteString(filteredLine(r.o.filter))
	}
	return err
}

func (r *replayer) batch(b *format.Batch) error {
	clocks := r.source.clocks
	for _, l := range b.Losses {
		fmt.Fprintf(r.errOut, "acc: %s of %s lost on cpu%d between %s and %s\n",
			humanize.Plural(l.Count, l.Kind.String()+" event"), l.Hook, l.CPU,
			clocks.AppendMoment(nil, l.FromNS, r.zone, lossLayout),
			clocks.AppendMoment(nil, l.ToNS, r.zone, lossLayout))
	}
	for i := range b.Counted {
		sayCounted(r.errOut, &b.Counted[i], clocks, r.zone)
	}
	if b.End != nil {
		e := *b.End
		r.end = &e
	}
	r.noteRoom.Max = maxNoteBytes
	for i := range b.Marks {
		m := b.Marks[i]
		for !r.noteRoom.Takes(&m) && len(r.notes) > 0 {
			if err := r.writeNote(); err != nil {
				return err
			}
		}
		r.notes = append(r.notes, m)
	}
	return nil
}

// writeNote prints the first of the marks.
func (r *replayer) writeNote() error {
	r.noteRoom.Gives(&r.notes[0])
	line := markLine(&r.notes[0], r.source.clocks, r.zone, r.o.json)
	if r.number > 0 {
		line = r.labelled(nil, line)
	}
	r.notes = r.notes[1:]
	_, err := r.w.Write(line)
	return err
}

// note prints the marks up to a time.
func (r *replayer) note(upToNS int64) error {
	for len(r.notes) > 0 && r.notes[0].BootNS <= upToNS {
		if err := r.writeNote(); err != nil {
			return err
		}
	}
	return nil
}

// event prints an event; m is what is known of its order, nil: it is of the only capture.
func (r *replayer) event(e *format.Event, m *replay.Moment) error {
	clock := r.source.clocks.At(e.BootNS)
	if !r.until.IsZero() && clock.Known() && clock.Time(e.BootNS).After(r.until) {
		return errUntil
	}
	if !r.choose.has(e) {
		return nil
	}
	if err := r.note(e.BootNS); err != nil {
		return err
	}
	if r.o.json {
		r.line = format.AppendJSON(r.line[:0], e, clock)
		if m != nil {
			r.text = r.labelled(r.text[:0], r.line)
			r.line = appendOrderJSON(append(r.line[:0], r.text...), m)
		}
	} else {
		if d := dayOf(e.BootNS, clock, r.zone); d != *r.day {
			*r.day = d
			fmt.Fprintln(r.w, strings.TrimRight(d+"  "+r.host, " "))
		}
		r.text = format.AppendText(r.text[:0], e, clock, r.zone)
		if m != nil {
			r.line = r.labelled(r.line[:0], r.text)
			r.text = appendOrder(append(r.text[:0], r.line...), m)
		}
		r.line = report.AppendFolded(r.line[:0], r.text, r.width, 10+r.widest)
	}
	_, err := r.w.Write(append(r.line, '\n'))
	return err
}

// late says which events did not come in order of time.
func (r *replayer) late() {
	if late := r.source.order.Late().String(); late != "" {
		fmt.Fprintf(r.errOut, "acc: %s\n", late)
	}
}

// conclude says what is known at the end, and gives the verdict.
func (r *replayer) conclude(err error) error {
	r.late()
	r.choose.tell(r.errOut, r.o.filter)
	if errors.Is(err, errUntil) && r.number > 0 {
		return nil // it is said once, of all
	}
	if errors.Is(err, errUntil) {
		fmt.Fprintf(r.errOut, "acc: %s: stopped at %s as %s says; what follows was not read\n", r.in.name,
			r.until.In(r.zone).Format(fromLayout), r.o.stops())
		return nil
	}
	return r.source.conclude(r.errOut, r.in, err, r.end, r.zone)
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
