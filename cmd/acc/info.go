package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/format"
)

func newInfoCommand() *cobra.Command {
	o := infoOptions{}
	cmd := &cobra.Command{
		Use:   "info FILE...",
		Short: "Say what a capture is, whether it is whole, and what was lost",
		Long: `Info prints where, when and how captures were taken, whether they are whole, and what
the recorder lost. It reads all of a file of up to 4 MiB. Of a larger one that was closed
in order it reads the beginning, the end and the index between them, and says that it did
not look at the rest; --full reads it. It works on truncated and on corrupt files. - reads
standard input. With --json, a file of which nothing can be read is an object, too: its
error says why.`,
		Example: `  acc info incident.acc
  acc info --full incident.acc
  acc info --json incident.acc`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage(cmd, errors.New("name a capture file, or - for standard input"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			worst := exitOK
			ins, errs := openFiles(args)
			confine(false)
			for i, in := range ins {
				if i > 0 && !o.json {
					fmt.Fprintln(cmd.OutOrStdout())
				}
				err := errs[i]
				if err == nil {
					err = runInfo(cmd.OutOrStdout(), in, o)
				} else if o.json {
					err = errors.Join(err, tellUnreadable(cmd.OutOrStdout(), args[i], err))
				}
				if err != nil {
					worst = max(worst, exitCode(err, cmd.ErrOrStderr()))
				}
			}
			if worst != exitOK {
				return exited(worst)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&o.json, "json", false, "print JSON, one object a file")
	cmd.Flags().BoolVar(&o.full, "full", false, "read all of a large capture, too")
	return cmd
}

type infoOptions struct{ json, full bool }

// info is what a capture says of itself. What only its events and records tell is
// nil if they were not read.
type info struct {
	File      string                  `json:"file"`             // as it was named
	Verdict   string                  `json:"verdict"`          // whole, unclean, truncated, corrupt or unreadable (by the input); unchecked: closed in order, by the index alone
	Why       string                  `json:"why"`              // what is wrong, "" if nothing
	Read      string                  `json:"read"`             // all, or index: beginning, end and index
	Bytes     int64                   `json:"bytes"`            // of the file, or that were read of a pipe
	InFrames  int64                   `json:"frame_bytes"`      // bytes of the complete frames: without what can't be read, the index and the tail
	Frames    int                     `json:"frames"`           // that are complete
	Events    uint64                  `json:"events"`           // in the capture
	Returns   *uint64                 `json:"returns"`          // of attempts, events
	Accepted  *uint64                 `json:"accepted"`         // connections
	PerAccept *float64                `json:"bytes_per_accept"` // bytes of complete frames a connection, 0 without any
	First     *time.Time              `json:"first"`            // time of the first event
	Last      *time.Time              `json:"last"`             // time of the last event
	Lost      uint64                  `json:"lost"`             // events, while recording: without what a repair left out
	Processes *int                    `json:"processes"`        // records of processes
	Steps     []clockStep             `json:"clock_steps"`      // the first hundred times that the wall clock was set
	Skipped   []format.Skip           `json:"skipped"`          // what is corrupt and was left out
	Header    *format.Header          `json:"header"`           // of the capture
	End       *format.End             `json:"end"`              // null if it is missing
	Losses    []format.Loss           `json:"losses"`           // the first hundred
	Start     *shot                   `json:"at_start"`         // what was there when recording began
	Finish    *shot                   `json:"at_end"`           // what was there when it ended; the tasks are also in end
	Witness   *analysis.WitnessResult `json:"witness"`          // what the kernel's own counters say
	witness   *analysis.Witness
	clock     format.Clock // see input.Clock
	lostBy    map[lossKey]uint64
}

// What info reads of a capture.
const (
	readAll   = "all"
	readIndex = "index"
)

// clockStep is a wall clock that was set while recording.
type clockStep struct {
	At time.Time `json:"at"`    // by the new time, when it was seen
	By int64     `json:"by_ns"` // forwards, if positive
}

// leastStep is less than what slewing moves a clock by between two pairs.
const leastStep = int64(100 * time.Millisecond)

// step takes the next clock pair, and notes if the clock was set since the last one.
func (i *info) step(clock *format.Clock, next format.Clock) {
	if !next.Known() { // as in an END of acc repair
		return
	}
	if !clock.Known() {
		*clock = next
		return
	}
	by := (next.RealNS - next.BootNS) - (clock.RealNS - clock.BootNS)
	if (by >= leastStep || by <= -leastStep) && len(i.Steps) < fewShot {
		i.Steps = append(i.Steps, clockStep{next.Time(next.BootNS), by})
	}
	*clock = next
}

// shot is what was there when the recording began or ended.
type shot struct {
	Listeners        int                   `json:"listeners_count"`   // sockets that listened
	ListenersKnown   bool                  `json:"listeners_known"`   // it is all of them, of the families that are looked at
	FirstListeners   []format.ListenSocket `json:"listeners"`         // the first hundred
	Connections      int                   `json:"connections_count"` // TCP connections of theirs
	ConnectionsKnown bool                  `json:"connections_known"` // it is all of them
	Blocked          int                   `json:"blocked_count"`     // tasks that sat in accept
	BlockedKnown     bool                  `json:"blocked_known"`     // it is all of them
	FirstBlocked     []format.Blocked      `json:"blocked"`           // the first hundred
}

const fewShot = 100

func newShot() *shot {
	return &shot{FirstListeners: []format.ListenSocket{}, FirstBlocked: []format.Blocked{}}
}

func (s *shot) add(x *format.Snapshot) {
	s.ListenersKnown, s.ConnectionsKnown, s.BlockedKnown = x.ListenersKnown, x.ConnectionsKnown, x.BlockedKnown
	s.Listeners += len(x.Listeners)
	s.Connections += len(x.Connections)
	s.Blocked += len(x.Blocked)
	s.FirstListeners = append(s.FirstListeners, x.Listeners[:min(len(x.Listeners), fewShot-len(s.FirstListeners))]...)
	s.FirstBlocked = append(s.FirstBlocked, x.Blocked[:min(len(x.Blocked), fewShot-len(s.FirstBlocked))]...)
}

// text names listeners and tasks, a few of them.
func (s *shot) text(row func(name, format string, args ...any), when string) {
	if s.Listeners > 0 {
		row(when, "%s%s sockets listened", atLeast(s.ListenersKnown), report.Count(uint64(s.Listeners)))
		when = ""
		for _, l := range s.FirstListeners[:min(len(s.FirstListeners), 10)] {
			full := ""
			if l.BacklogMax > 0 {
				full = fmt.Sprintf(" of %d", l.BacklogMax)
			}
			row("", "  %s%s, %d in its queue%s", listenerName(&l), netnsName(l.NetNS), l.Backlog, full)
		}
		more(row, s.Listeners, 10)
	}
	if s.Connections > 0 {
		row(when, "%s%s connections of theirs", atLeast(s.ConnectionsKnown), report.Count(uint64(s.Connections)))
		when = ""
	}
	tasks(row, when, s.FirstBlocked, s.Blocked, s.BlockedKnown)
}

// tasks names threads that sit in accept.
func tasks(row func(name, format string, args ...any), when string, first []format.Blocked, n int, known bool) {
	if n == 0 {
		return
	}
	row(when, "%s%s tasks sat in accept", atLeast(known), report.Count(uint64(n)))
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

type lossKey struct {
	hook format.Hook
	kind format.Kind
}

func runInfo(out io.Writer, in *input, o infoOptions) error {
	defer in.Close()
	i := &info{}
	verdict, ok := error(nil), false
	counted := &countedReader{}
	if !o.full && in.bytes > smallCapture {
		if verdict, ok = i.readIndex(in); !ok {
			if _, err := in.file.Seek(0, io.SeekStart); err != nil {
				return fmt.Errorf("%s: %w", in.name, err)
			}
		}
	}
	if !ok {
		counted.r = in.file
		if err := in.begin(counted, true); err != nil {
			if o.json {
				err = errors.Join(err, tellUnreadable(out, in.name, err))
			}
			return err
		}
		*i = info{Read: readAll, Losses: []format.Loss{}, Steps: []clockStep{}, Start: newShot(), Finish: newShot(), Returns: new(uint64), Accepted: new(uint64),
			PerAccept: new(float64), Processes: new(int), lostBy: map[lossKey]uint64{}, witness: analysis.NewWitness(in.Header())}
		verdict = i.read(in)
	}
	i.Bytes = cmp.Or(in.bytes, counted.n)
	i.judge(in, verdict)
	w := bufio.NewWriter(out)
	var err error
	if o.json {
		err = encodeJSON(w, i)
	} else {
		err = i.text(w)
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
	case errors.As(verdict, new(*unclean)):
		return &hinted{verdict, ""}
	case errors.As(verdict, new(*format.CorruptError)):
		return &hinted{verdict, "acc verify lists the places; acc analyze --salvage and acc repair go on behind them"}
	case errors.Is(verdict, format.ErrTruncated):
		return &hinted{verdict, "acc verify says what is missing; acc analyze reads what is there"}
	}
	return verdict
}

// read goes through the capture and judges it.
func (i *info) read(in *input) error {
	var readErr error
	clock := in.Clock()
	for {
		var b *format.Batch
		if b, readErr = in.Next(); readErr != nil {
			break
		}
		i.add(b, &clock)
	}
	if i.End != nil {
		i.Lost = max(i.Lost, i.End.Lost)
	}
	if *i.Accepted > 0 {
		*i.PerAccept = float64(i.InFrames) / float64(*i.Accepted)
	}
	witness := i.witness.Finish()
	i.Witness = &witness
	return in.verdict(readErr, i.End)
}

// judge puts the verdict into words.
func (i *info) judge(in *input, verdict error) {
	i.clock = in.Clock()
	if r := in.Header().Repaired; r != nil && r.Ended {
		i.Lost -= min(r.Events, i.Lost)
	}
	i.File, i.Header, i.Skipped = in.name, in.Header(), append([]format.Skip{}, in.Skipped()...)
	var corrupt *format.CorruptError
	switch {
	case verdict == nil && i.Read == readIndex:
		i.Verdict = "unchecked"
	case verdict == nil:
		i.Verdict = "whole"
	case errors.As(verdict, new(*unclean)):
		i.Verdict = "unclean"
	case errors.As(verdict, &corrupt):
		i.Verdict = "corrupt"
	case errors.Is(verdict, format.ErrTruncated):
		i.Verdict = "truncated"
	default: // an error of reading
		i.Verdict = "unreadable"
	}
	if verdict != nil {
		i.Why = verdict.Error()
	}
}

func (i *info) add(b *format.Batch, clock *format.Clock) {
	i.witness.Add(b)
	i.Frames++
	i.InFrames += b.Bytes
	*i.Processes += len(b.Processes)
	for _, c := range b.Clocks {
		i.step(clock, c)
	}
	for _, l := range b.Losses {
		i.Lost += l.Count
		i.lostBy[lossKey{l.Hook, l.Kind}] += l.Count
		if len(i.Losses) < 100 {
			i.Losses = append(i.Losses, l)
		}
	}
	for n := range b.Events {
		e := &b.Events[n]
		if e.Kind == format.Return {
			*i.Returns++
			if e.Ret >= 0 {
				*i.Accepted++
			}
		}
	}
	if n := len(b.Events); n > 0 {
		i.Events += uint64(n)
	}
	if n := len(b.Events); n > 0 && clock.Known() {
		first, last := clock.Time(b.Events[0].BootNS), clock.Time(b.Events[n-1].BootNS)
		if i.First == nil {
			i.First = &first
		}
		i.Last = &last
	}
	for n := range b.Snapshots {
		if x := &b.Snapshots[n]; x.Final {
			i.Finish.add(x)
		} else {
			i.Start.add(x)
		}
	}
	if b.End != nil {
		e := *b.End
		i.End = &e
		i.step(clock, e.Clock)
	}
}

// text prints it for a person.
func (i *info) text(out io.Writer) error {
	h := i.Header
	zone := report.Zone(h.ZoneSec)
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	q := format.Quote
	disorder := "but the recording ended in disorder"
	if h.Repaired != nil {
		disorder = "but it was repaired"
	}
	verdict := map[string]string{"whole": "whole: closed in order, every frame checked", "unclean": "whole, " + disorder,
		"truncated": "TRUNCATED: it stops before its end", "corrupt": "CORRUPT", "unreadable": "UNREADABLE: reading it failed"}[i.Verdict]
	row("capture", "%s", q(i.File))
	if i.Read == readIndex {
		verdict = map[string]string{"unchecked": "closed in order", "unclean": "closed, " + disorder}[i.Verdict] +
			"; beginning, end and index fit. NOT looked at: what lies between (acc verify)"
	}
	row("verdict", "%s", verdict)
	if i.Why != "" {
		row("", "%s", q(i.Why))
	}
	if r := h.Repaired; r != nil {
		row("repaired", "this is what could be read of a damaged capture of %s, SHA-256 %s", report.Bytes(r.Bytes), q(r.SHA256))
		row("", "%s", q(r.Why))
		row("", "not in here: %s", analysis.LeftOut(r.Lost, max(r.Places, 1), r.Events))
		list(row, "", r.Notes)
	}
	row("host", "%s, Linux %s %s, %d CPUs", q(h.Host), q(h.Kernel), q(h.Arch), h.CPUs)
	row("recorded by", "%s, %s probes", q(h.Tool), q(h.Mode))
	i.time(row, zone)
	for _, s := range i.Steps[:min(len(i.Steps), 10)] {
		row("clock", "was set by %+.3f s, seen at %s", float64(s.By)/1e9, s.At.In(zone).Format("2006-01-02 15:04:05.000 -07:00"))
	}
	more(row, len(i.Steps), 10)
	if i.Read == readAll {
		i.whole(row)
	} else {
		i.outline(row)
	}
	for n, p := range h.Probes {
		name := ""
		if n == 0 {
			name = "probes"
		}
		extra := ""
		if p.MaxActive > 0 {
			extra = fmt.Sprintf(", %d instances", p.MaxActive)
		}
		row(name, "%s of %s%s", q(p.How), q(p.Symbol), extra)
	}
	list(row, "can't show", h.Limits)
	list(row, "filters", h.Filters)
	var sys []string
	for _, s := range h.Sysctls {
		sys = append(sys, s.Name+" = "+s.Value)
	}
	list(row, "settings", sys)
	row("command", "%s", q(strings.Join(h.Command, " ")))
	row("id", "%s", q(h.ID))
	return w.Flush()
}

// time prints from when on it is, and for how long.
func (i *info) time(row func(name, format string, args ...any), zone *time.Location) {
	const layout = "2006-01-02 15:04:05.000 -07:00"
	start := "not known"
	switch {
	case i.Header.StartNS != 0:
		start = time.Unix(0, i.Header.StartNS).In(zone).Format(layout)
	case i.clock.Known():
		start = i.clock.Time(i.clock.BootNS).UTC().Format(layout) + ", the first event, by a later clock: the header is lost"
	case i.clock.BootNS != 0:
		start = string(format.AppendBoot(nil, i.clock.BootNS)) + ", the first event; the date is not known: the header is lost"
	}
	switch {
	case i.End == nil:
		row("time", "from %s, end unknown", start)
	case i.End.Clock == format.Clock{}:
		row("time", "from %s, ended by %s", start, format.Quote(cmp.Or(i.End.Reason, "?")))
	case i.End.Clock.BootNS < i.clock.BootNS || i.End.Clock.BootNS-i.clock.BootNS < 0: // which may overflow
		row("time", "from %s, ended by %s; END's time does not fit", start, format.Quote(cmp.Or(i.End.Reason, "?")))
	case i.Header.Repaired != nil && !i.Header.Repaired.Ended:
		row("time", "%s for at least %s, end unknown", start, report.Duration(i.End.Clock.BootNS-i.clock.BootNS))
	default:
		row("time", "%s for %s, ended by %s", start, report.Duration(i.End.Clock.BootNS-i.clock.BootNS), format.Quote(cmp.Or(i.End.Reason, "?")))
	}
}

// whole prints what the events and records of a capture say.
func (i *info) whole(row func(name, format string, args ...any)) {
	row("events", "%s: %s returns, %s accepted; %d processes", report.Count(i.Events), report.Count(*i.Returns), report.Count(*i.Accepted), *i.Processes)
	size := i.size()
	if *i.PerAccept > 0 {
		size += fmt.Sprintf(", %.1f bytes an accepted connection", *i.PerAccept)
	}
	row("size", "%s", size)
	i.losses(row)
	row("kernel", "%s", i.Witness.Text)
	i.Start.text(row, "at the start")
	if i.End != nil && i.Finish.Blocked == 0 {
		tasks(row, "at the end", i.End.Blocked, len(i.End.Blocked), i.End.BlockedKnown)
	}
	i.Finish.text(row, "at the end")
}

// size is that of the file, and what can be read of it.
func (i *info) size() string {
	if damaged := i.Verdict == "truncated" || i.Verdict == "corrupt" || i.Verdict == "unreadable"; damaged && i.InFrames < i.Bytes {
		return fmt.Sprintf("%s, of which %s in %d frames can be read", report.Bytes(i.Bytes), report.Bytes(i.InFrames), i.Frames)
	}
	return fmt.Sprintf("%s in %d frames", report.Bytes(i.Bytes), i.Frames)
}

// losses prints the account: what was seen, recorded, lost and missed.
func (i *info) losses(row func(name, format string, args ...any)) {
	if i.End == nil {
		row("lost", "at least %s; the account at the end is missing", report.Count(i.Lost))
		return
	}
	r := i.Header.Repaired
	switch {
	case r != nil && !r.Ended:
		row("lost", "at least %s while recording; the original's account at the end is missing", report.Count(i.Lost))
	case r != nil && r.Events > 0:
		lost := "nothing"
		if i.Lost > 0 {
			lost = report.Count(i.Lost) + " events"
		}
		row("lost", "%s while recording; the repair left out %s events, which count as lost here:", lost, report.Count(r.Events))
	case i.Lost == 0:
		row("lost", "nothing")
	default:
		row("lost", "%s events", report.Count(i.Lost))
	}
	ofEnds, any := true, false
	for _, t := range i.End.Totals {
		if t.Seen == 0 && t.Missed == 0 {
			continue
		}
		missed := ""
		if t.Missed > 0 {
			ofEnds, any = ofEnds && t.Kind == format.Closed, true
			missed = fmt.Sprintf(", %s MISSED", report.Count(t.Missed))
		}
		row("", "%s of %s: %s seen = %s recorded + %s lost%s", t.Kind, t.Hook, report.Count(t.Seen), report.Count(t.Recorded), report.Count(t.Lost), missed)
	}
	if any {
		row("", "MISSED: the kernel did not run a probe, for one ran on that CPU already (an interrupt in it called the function again), or a kretprobe had no instance left")
	}
	if any && ofEnds {
		row("", "the other end of a connection on this host may be all that is missed: acc analyze finds out whether each one that a listener got has its end")
	}
}

func list(row func(name, format string, args ...any), name string, items []string) {
	for n, s := range items {
		if n > 0 {
			name = ""
		}
		row(name, "%s", format.Quote(s))
	}
}
