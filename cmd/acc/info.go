package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/audit"
	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/evidence"
	"github.com/acc-project/acc/format"
)

func newInfoCommand() *cobra.Command {
	o := infoOptions{}
	cmd := &cobra.Command{
		Use:   "info FILE|FOLDER...",
		Short: "Say what a capture is, whether its file is intact and its recording complete, and what was lost",
		Long: `Info prints where, when and how captures were taken, whether the file is intact, whether
the recording is complete, and what was lost or missed. It reads all of a file of up to 4 MiB. Of a larger one that was closed
cleanly it reads the beginning, the end and the index between them, and says that it did
not look at the rest; --full reads it. It works on truncated and on corrupt files. - reads
standard input; of a folder, all *.acc in it are read. With --json, a file of which nothing can be read is an object, too: its
error says why.`,
		ValidArgsFunction: captureFiles,
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
			args = expandFolders(args)
			worst := exitOK
			ins, errs := openFiles(args)
			confineReader(false)
			for i, in := range ins {
				if i > 0 && !o.json {
					fmt.Fprintln(cmd.OutOrStdout())
				}
				err := errs[i]
				if err == nil {
					err = runInfo(cmd.OutOrStdout(), cmd.ErrOrStderr(), in, o)
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
	takesRead(cmd)
	cmd.Flags().BoolVar(&o.json, "json", false, "print JSON, one object a file")
	cmd.Flags().BoolVar(&o.full, "full", false, "read all of a large capture, too")
	o.zoneOptions.flags(cmd)
	return cmd
}

type infoOptions struct {
	json, full bool
	zoneOptions
}

// info is what a capture says of itself. What only its events and records tell is
// nil if they were not read.
type info struct {
	Schema    int                     `json:"schema"`           // as in analyze
	File      string                  `json:"file"`             // as it was named
	Verdict   string                  `json:"verdict"`          // intact, unclean, truncated, corrupt or unreadable (by the input); unchecked: closed cleanly, by the index alone
	Why       string                  `json:"why"`              // what is wrong, "" if nothing
	Integrity audit.File              `json:"integrity"`        // whether the file is as its recorder wrote it
	Recording audit.Recording         `json:"recording"`        // whether what happened is in it
	Read      string                  `json:"read"`             // all, or index: beginning, end and index
	Bytes     int64                   `json:"bytes"`            // of the file, or that were read of a pipe
	InFrames  int64                   `json:"frame_bytes"`      // bytes of the complete frames: without what can't be read, the index and the tail
	Frames    int                     `json:"frames"`           // that are complete
	Events    uint64                  `json:"events"`           // in the capture
	Returns   *uint64                 `json:"returns"`          // of attempts, events
	Accepted  *uint64                 `json:"accepted"`         // connections
	PerAccept *float64                `json:"bytes_per_accept"` // bytes of complete frames a connection, 0 without any
	First     *time.Time              `json:"first"`            // time of the first event; null, too, if only the index was read: the clock pairs are in what lies between
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
	clock     format.Clock            // see input.Clock
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

func runInfo(out, errOut io.Writer, in *input, o infoOptions) error {
	defer in.Close()
	p := in.showProgress(errOut, false, out)
	defer p.stop()
	i := &info{}
	verdict, ok := error(nil), false
	counted := &countedReader{}
	if !o.full && in.bytes > smallCapture {
		if verdict, ok = i.readIndex(in); !ok {
			if _, err := in.source.Seek(0, io.SeekStart); err != nil {
				return fmt.Errorf("%s: %w", in.name, err)
			}
		}
	}
	if !ok {
		counted.r = in.source
		if err := in.begin(counted, true); err != nil {
			if o.json {
				err = errors.Join(err, tellUnreadable(out, in.name, err))
			}
			return err
		}
		*i = info{Read: readAll, Losses: []format.Loss{}, Steps: []clockStep{}, Start: newShot(), Finish: newShot(), Returns: new(uint64), Accepted: new(uint64),
			PerAccept: new(float64), Processes: new(int)}
		var err error
		if verdict, err = i.read(in); err != nil {
			return err
		}
	}
	p.stop()
	i.Bytes = cmp.Or(in.bytes, counted.n)
	i.Schema = analysis.SchemaVersion
	i.judge(in, verdict)
	w := bufio.NewWriter(out)
	var err error
	if o.json {
		err = encodeJSON(w, i)
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
	case errors.As(verdict, new(*unclean)):
		return &hinted{verdict, ""}
	case errors.As(verdict, new(*format.CorruptError)):
		return &hinted{verdict, "acc verify lists the places; acc analyze --salvage and acc repair go on behind them"}
	case errors.Is(verdict, format.ErrTruncated):
		return &hinted{verdict, "acc verify says what is missing; acc analyze reads what is there"}
	}
	return verdict
}

// read goes through the capture and examines it.
func (i *info) read(in *input) (verdict, err error) {
	var readErr error
	clock := in.Clock()
	x := evidence.Examine(in.Start(), analysis.Options{})
	for {
		var b *format.Batch
		if b, readErr = in.Next(); readErr != nil {
			break
		}
		i.add(b, &clock)
		if err := x.Add(b, len(in.Skipped())); err != nil {
			return nil, err
		}
	}
	r, err := x.Finish(readErr, in.Skipped())
	if err != nil {
		return nil, err
	}
	*i.Accepted = r.Totals.Accepted
	if *i.Accepted > 0 {
		*i.PerAccept = float64(i.InFrames) / float64(*i.Accepted)
	}
	i.Events, i.Lost, i.First, i.Last = r.Capture.Events, r.Recording.Lost, r.Capture.First, r.Capture.Last
	i.Witness, i.Integrity, i.Recording = &r.Witness, r.Integrity, r.Recording
	return in.verdict(readErr, x.End(), r), nil
}

// judge puts the verdict into words.
func (i *info) judge(in *input, verdict error) {
	i.clock = in.Clock()
	i.File, i.Header, i.Skipped = in.name, in.Header(), append([]format.Skip{}, in.Skipped()...)
	var corrupt *format.CorruptError
	switch {
	case verdict == nil && i.Read == readIndex:
		i.Verdict = "unchecked"
	case verdict == nil:
		i.Verdict = "intact"
	case errors.As(verdict, new(*unclean)):
		i.Verdict = "unclean"
	case errors.As(verdict, &corrupt), errors.As(verdict, new(*evidence.MismatchError)):
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
	i.Frames++
	i.InFrames += b.Bytes
	*i.Processes += len(b.Processes)
	for _, c := range b.Clocks {
		i.step(clock, c)
	}
	for _, l := range b.Losses {
		if len(i.Losses) < 100 {
			i.Losses = append(i.Losses, l)
		}
	}
	for n := range b.Events {
		e := &b.Events[n]
		if e.Kind == format.Return {
			*i.Returns++
		}
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
