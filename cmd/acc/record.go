package main

// This file is acc record.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/capture"
	"github.com/acc-project/acc/format"
)

type recordOptions struct {
	events   string
	output   string
	force    bool
	probe    string
	count    uint64
	duration string
	ring     string
	denied   bool
	noCauses bool
	failures uint32 // a second, of a process
	to       []string
	command  []string
	selects  selectOptions

	checkpoint      string
	checkpointEvery string

	rotate rotateOptions
	flight ringOptions
	bounds boundOptions
	name   string
	given  func(flag string) bool
}

func newRecordCommand() *cobra.Command {
	o := recordOptions{}
	cmd := &cobra.Command{
		Use:   "record [-o FILE] [flags] [-- COMMAND ARG...]",
		Short: "Record how servers on this host accept connections",
		Long: `Record writes every accept call of this host into a capture file, and what becomes of TCP
connections. It ends at Ctrl-C, after --count or --duration, or when COMMAND ends; acc then
exits with the exit code of COMMAND. When the recording ends first, acc ends COMMAND. A
COMMAND does not limit what is recorded: that is the whole host, unless --only-command or
another flag selects a part of it. Recording needs Linux 5.10.162 or newer, and root or, from
Linux 6.1, CAP_BPF and CAP_PERFMON: acc doctor checks that.

Flags like --port, --pid or --unit select what is recorded, in the kernel, before acc records
an event. If a flag has several values, one of them must fit; if there are several flags, all
of them must fit: --port 80,443 --uid www-data records the accept calls of that user's
processes at either port. Each flag may be given several times. acc records the life of a
connection if its listener, or the process that accepts it, is selected. With an address, or
--failed-only, acc selects when accept has returned, or the connection was dropped. acc counts
what is not selected as filtered: seen = recorded + lost + filtered + counted. The capture holds
what was selected, and every command that reads it prints that.

A process that fails to accept more often than --failed-rate allows is counted: acc keeps how
many of its calls failed, with which error, at which listener, from when to when, instead of
two events each. So a program that fails in a loop, whoever runs it, neither pushes the events
of others out of the ring buffer nor fills the disk. Accepted connections are always recorded.

The file has mode 0600 and belongs to the user who called sudo. An existing file is
overwritten only with --force. -o - writes to standard output. The first Ctrl-C closes the
capture cleanly, a second one stops at once. --probe auto uses fentry probes, which cost
less, where the kernel has them and can't switch to another task inside one; else it uses
kprobes, which work on every kernel.

Once it records, acc gives up the rights that it no longer needs. COMMAND runs with the
rights of its caller. When the disk is full, acc closes the capture cleanly, counts what
was lost, and exits with 5. When the file is deleted, replaced, truncated or overwritten,
acc notices within a second, ends the recording and exits with 1. While acc writes a file,
no other acc overwrites it.

With --ring the recording is a flight recorder: it runs all the time and keeps only the last
minutes, or megabytes, in the folder that -o names. SIGUSR2, acc ctl dump or a finding (--on)
dumps them: the files of that time, and of the time of --after that follows, get a second name
in a folder dump-TIME below, where they stay. --on takes the ids of findings of acc analyze
(docs/FINDINGS.md), and rates in any second: 'errno=EMFILE rate>10/s' (calls that failed so),
'failed rate>100/s', 'rate>5000/s' (accepted connections), 'rate x3' (three times the mean of
the last ten minutes). acc looks for them in each file when it closes the file: after a minute
at most, a tenth of the ring, or 16 MiB. What lasts over several files dumps once.

With --exec CMD, a shell that acc starts at its beginning runs CMD for each complete dump. The
folder is its last argument, and $ACC_DUMP; $ACC_WHY is the reason. CMD has the rights of the
user who called sudo. At its end acc waits 30 seconds for CMD.

With --min-free SIZE acc leaves that much of the disk free. It removes the oldest files of the
recording, if it has several, and then ends it cleanly, with exit code 5; --min-free SIZE,end
ends it at once. With --max-cpu or --max-memory, when acc takes more than that (CPU time over
5 seconds), it first stops recording the life of connections, and counts those events as lost.
From then on it does not look at what servers do while clients wait. If that is not enough, it
counts failed calls instead of recording them. Accepted connections are always recorded. When
acc has taken less than half for 30 seconds, it goes back a step. Each step is a mark in the
capture, and a line on standard error.

SIGUSR1 prints a status line. With --name NAME, acc ctl controls the recording: status, marks,
dumps, another file, end. Under systemd with Type=notify, acc is ready when the probes have
recorded a connection of its own; its status is the status line; WatchdogSec= ends an acc that
no longer takes events.

With --rotate-size or --rotate-every the recording goes on in further files, and with
--rotate-files or --max-total the oldest ones are removed: also those of earlier
recordings with the same name in that folder. -o is the folder, or the beginning of their
names, which sort by time. Each file is a capture by itself; together they have every event
once. SIGHUP begins another file; on a terminal it ends the recording.

A chain head is the hash of everything recorded so far. --checkpoint writes chain heads to
standard error or syslog during the recording. Keep them where nobody who can write to this
host can change them, such as a remote syslog. Later, acc verify --checkpoints compares the
capture with them: that shows whether somebody cut it or wrote it anew. The newest chain head
can be --checkpoint-every older than the end of the file; it does not show a change after it.`,
		Example: `  sudo acc record -o incident.acc
  sudo acc record -o web.acc -- nginx -g 'daemon off;'
  sudo acc record -d 30s
  sudo acc record -o web.acc --port 80,443 --raddr 10.0.0.0/8
  sudo acc record -o web.acc --unit nginx
  sudo acc record -o /var/lib/acc --rotate-size 64MB --max-total 1GB
  sudo acc record -o /var/lib/acc --ring 10m --on queue-overflow,fd-exhausted
  sudo acc record -o /var/lib/acc --ring 10m --on 'errno=EMFILE rate>10/s' --exec ./upload
  sudo acc record -o incident.acc --checkpoint syslog
  ssh prod sudo acc record -o - | acc replay -`,
		ValidArgsFunction: afterDashes,
		Args: func(cmd *cobra.Command, args []string) error {
			if at := cmd.ArgsLenAtDash(); len(args) > 0 && at != 0 {
				return &usageError{fmt.Errorf("unexpected argument %q", args[0]),
					"a command to run goes behind --: acc record -o FILE -- COMMAND"}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.command = args
			if f := cmd.Flags(); f.Changed("output") && f.Changed("write") {
				return usage(cmd, errors.New("--output and --write are the same: give one of them"))
			}
			o.given = cmd.Flags().Changed
			return runRecord(cmd.Context(), cmd.ErrOrStderr(), o)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", "", "capture `FILE`, - for standard output (default acc-HOST-TIME.acc)")
	f.StringVarP(&o.output, "write", "w", "", "the same as --output `FILE`")
	f.BoolVar(&o.force, "force", false, "overwrite the file if it exists")
	f.StringVar(&o.probe, "probe", "auto", "`KIND` of probes: auto, kprobe or fentry")
	f.StringVar(&o.events, "events", "all", "`WHAT` to record: all, accept or lifecycle (accept: only accept calls, which "+
		"is cheaper; lifecycle: only what becomes of TCP connections, not who accepts them, and few findings)")
	f.Uint64VarP(&o.count, "count", "c", 0, "stop after `N` events (an accept system call has two); the capture can have "+
		"some more, since stopping takes a moment")
	f.StringVarP(&o.duration, "duration", "d", "0",
		"stop after this `TIME`, like 30s, and end COMMAND; a number without a unit "+
			"is seconds; 0: no limit")
	f.BoolVar(&o.noCauses, "no-causes", false,
		"don't look at what the threads of a server do while its clients wait")
	f.BoolVar(&o.denied, "denied", false, "record accept calls that seccomp refuses, too; slows every system call "+
		"(of the whole host, by some 200 instructions)")
	f.Uint32Var(&o.failures, "failed-rate", capture.FailedRate, "record at most `N` failed accept calls a second of a "+
		"process, and five times as many of a user, and count the rest; 0: record all")
	f.StringVar(&o.ring, "ring-size", "8MiB", "`SIZE` of the ring buffer between kernel and recorder: a power of "+
		"two, at least 16KiB")
	f.StringVar(&o.checkpoint, "checkpoint", "",
		"write chain heads to `WHERE`, stderr or syslog (a chain head is a hash of everything so far)")
	f.StringVar(&o.checkpointEvery, "checkpoint-every", checkpointEvery,
		"write a chain head at most every `TIME`, and one at the end")
	addSelectFlags(cmd, &o.selects)
	o.rotate.flags(cmd)
	o.flight.flags(cmd)
	o.bounds.flags(cmd)
	f.StringVar(&o.name, "name", "",
		"let acc ctl control this recording under the `NAME`, by the socket /run/acc/NAME.sock")
	values(cmd, "name")
	complete(cmd, "output", captureFiles)
	complete(cmd, "write", captureFiles)
	values(cmd, "probe", "auto\twhat suits the kernel", "kprobe\tworks on every kernel",
		"fentry\tcheaper, where the kernel has it")
	values(cmd, "events", "all\tcalls and connections", "accept\tthe calls alone, which is cheaper",
		"lifecycle\twhat becomes of TCP connections")
	values(cmd, "count", "1000", "100000")
	values(cmd, "duration", "10s", "30s", "1m", "5m")
	values(cmd, "failed-rate", "100", "1000", "10000", "0\trecord all")
	values(cmd, "ring-size", "1MiB", "8MiB", "64MiB")
	values(cmd, "checkpoint", "stderr", "syslog")
	values(cmd, "checkpoint-every", "1s", "10s", "1m")
	sealTo(cmd, &o.to)
	group(cmd, "Output", "output", "write", "force", "to")
	group(cmd, "Several files", "rotate-size", "rotate-every", "rotate-files", "max-total")
	group(cmd, "What to record", "events", "no-causes", "denied", "failed-rate", "probe",
		"ring-size")
	group(cmd, "Flight recorder", "ring", "after", "on", "exec", "cooldown", "max-dumps")
	group(cmd, "While it runs", "name", "min-free", "max-cpu", "max-memory")
	group(cmd, "When to end", "duration", "count")
	group(cmd, "Evidence", "checkpoint", "checkpoint-every")
	return cmd
}

// minRing holds the events of the self-test: what is lost of those would count as lost.
const minRing = 16 << 10

// sizeOf reads a --ring-size.
func sizeOf(s string) (int, error) {
	num, shift := s, 0
	for suffix, sh := range map[string]int{"KiB": 10, "MiB": 20, "GiB": 30, "K": 10, "M": 20, "G": 30} {
		if rest, ok := strings.CutSuffix(s, suffix); ok {
			num, shift = rest, sh
		}
	}
	n, err := strconv.ParseInt(num, 10, 32)
	size := n << shift
	if err == nil && shift == 0 {
		return 0, &usageError{fmt.Errorf("--ring-size %s has no unit", s), "like --ring-size 64MiB"}
	}
	if err != nil || size < minRing || size > 1<<30 || size&(size-1) != 0 {
		return 0, &usageError{fmt.Errorf("--ring-size %q is not a power of two from 16KiB to 1GiB", s),
			"like --ring-size 64MiB"}
	}
	return int(size), nil
}

func runRecord(ctx context.Context, errOut io.Writer, o recordOptions) error {
	c := capture.Options{Mode: capture.Mode(o.probe), Events: capture.Events(o.events), MaxEvents: o.count,
		Denied: o.denied, NoCauses: o.noCauses, Command: o.command, Confine: true,
		Args: os.Args, Tool: "acc " + toolVersion()}
	if c.FailedRate = int(o.failures); o.failures == 0 {
		c.FailedRate = -1
	}
	err := checkKinds(&c)
	if err != nil {
		return err
	}
	if c.Duration, err = durationOf("--duration", o.duration); err != nil {
		return err
	}
	if c.RingBytes, err = sizeOf(o.ring); err != nil {
		return err
	}
	if len(o.command) > 0 {
		if _, err := exec.LookPath(o.command[0]); err != nil {
			return fmt.Errorf("run the command: %w", err)
		}
	}
	if err := checkName(o.name); err != nil {
		return err
	}
	if c.Select, err = o.selects.selection(len(o.command) > 0); err != nil {
		return err
	}
	checkpoints, err := newCheckpoints(&o, errOut)
	if err != nil {
		return err
	}
	defer checkpoints.close()
	if checkpoints != nil {
		c.Checkpoint = checkpoints.take
	}
	if o.force && len(o.flight.ring) > 0 {
		return &usageError{errors.New("--force overwrites one file, and a flight recorder overwrites none"),
			"leave out --force: each file gets a new name"}
	}
	limits, err := o.rotate.read(o.output, o.force)
	if err != nil {
		return err
	}
	ring, files, err := o.flight.read(o.given, o.output, o.rotate.rotates())
	if err != nil {
		return err
	}
	if ring.isRing() {
		limits = files
	}
	if c.Seal, err = sealer(o.to); err != nil {
		return err
	}
	if c.Seal != nil && len(o.flight.on) > 0 {
		return &usageError{errors.New("--on looks for causes in what was recorded, which --to makes unreadable here"),
			"without --on, or without --to"}
	}
	if err := o.bounds.read(c.RingBytes, limits != (rotateLimits{})); err != nil {
		return err
	}
	c.MaxCPU, c.MaxMemory = o.bounds.cpuPart, o.bounds.memoryBytes
	out, set, err := o.create(limits, errOut)
	if errors.Is(err, fs.ErrPermission) {
		err = cmp.Or(capture.Check(), err) // what is in the way of both
	}
	if err != nil {
		return err
	}
	if out.stdout {
		c.CommandOut = os.Stderr // standard output carries the capture
		// A reader that goes away is told as an error; the command still gets the signal.
		signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	}
	line := newStatusLine(errOut)
	line.selected = c.Select.Any()
	live := false
	manager, err := newNotifier()
	if err != nil {
		fmt.Fprintf(errOut, "acc: %s\n", format.Quote(err.Error()))
	}
	followed := func() {}
	defer func() {
		followed()
		manager.close()
	}()
	c.Control = &capture.Control{}
	c.Phase = func(what string) {
		if what == capture.PhaseStopping {
			manager.send("STOPPING=1")
		}
		manager.send("STATUS=" + what)
		if line.terminal {
			line.phase(what)
		}
	}
	c.Warn = func(text string) { // by the goroutine that shows the status
		line.clear()
		fmt.Fprintf(errOut, "acc: %s\n", format.Quote(text))
	}
	if line.terminal { // else nothing wakes the recorder for that
		c.Status = line.show
	}
	recording, end := context.WithCancelCause(ctx)
	defer end(nil)
	c.Ready = func(s capture.Started) {
		live = true
		line.clear()
		if s.Note != "" {
			fmt.Fprintf(errOut, "acc: %s\n", format.Quote(s.Note))
		}
		sayStart(errOut, &c.Select, &s)
		fmt.Fprintf(errOut, "acc: recording to %s (%s probes); %s\n", fileName(out.name), s.Mode, endsBy(&c))
		switch {
		case ring.isRing():
			set.begin(out)
			fmt.Fprintf(errOut, "acc: %s\n", ring.says(o.name))
		case set != nil:
			fmt.Fprintf(errOut, "acc: %s\n", limits.says())
		}
		o.bounds.say(errOut)
		manager.send("READY=1\nSTATUS=recording to " + fileName(out.name))
		followed = manager.follow(recording, c.Control)
		if !line.terminal { // which asks each second anyway
			go line.sayQuiet(recording, c.Control)
		}
	}
	var flight *flightRecorder
	if ring.isRing() {
		flight = newFlightRecorder(set, ring, c.Control, errOut)
		if flight.hook, err = newHook(ring.exec); err != nil {
			flight.close("")
			out.discard()
			return err
		}
		flight.dumpAtSignal(recording)
	}
	o.bounds.watchFree(recording, set, o.output, errOut, end)
	var server *controlServer
	if o.name != "" {
		if server, err = newControlServer(o.name); err != nil {
			out.discard()
			return err
		}
		defer server.close()
		server.recording, server.stop = c.Control, func() { end(capture.ErrStopped) }
		first := out.name
		server.file = func() string { return first }
		if set != nil {
			server.file = set.newest
		}
		server.flight = flight
		go server.serve()
	}
	writing.Store(true)
	printStatus(recording, errOut, c.Control)
	lost := func(err error) { end(&capture.OutputError{Err: err}) }
	if set != nil && !line.terminal { // on one, a hang-up ends the recording
		rotateAtHangUp(recording, errOut, c.Control)
	}
	if set != nil {
		c.Rotate = set.options(limits, errOut)
		c.Rotate.Links = flight != nil
		set.watchAll(lost)
	} else {
		out.watch(recording, errOut, lost)
	}
	result, err := capture.Record(recording, out.file, c)
	end(nil)
	line.clear()
	if set != nil {
		out = set.last(result.Last, out)
	}
	if errors.Is(err, syscall.EPIPE) {
		fmt.Fprintf(errOut, "acc: nobody reads standard output any more: the capture has no end\n")
		return exited(exitTruncated)
	}
	if err != nil && !live {
		out.discard()
		return err
	}
	err = errors.Join(err, out.close())
	flight.close(out.base)
	if lost := new(lostError); errors.As(err, &lost) {
		return &hinted{fmt.Errorf("the capture is lost: %w", lost), lost.hint}
	}
	if err != nil {
		return &hinted{err, "what was written before is readable: acc info " + out.name}
	}
	summary(errOut, out, set, &result, c.Select.Any())
	saySelected(errOut, &c.Select, &result.End)
	if result.End.Reason == format.EndDiskFull {
		return exited(exitLimit)
	}
	if result.CommandExit > 0 {
		return exited(result.CommandExit)
	}
	if result.CommandExit < 0 && !result.End.Clean {
		return exited(exitTruncated)
	}
	return nil
}

// create makes the file of the recording, or the first one of several; set is nil where it is one.
func (o *recordOptions) create(l rotateLimits, errOut io.Writer) (out *output, set *fileSet, err error) {
	if l == (rotateLimits{}) {
		if err := o.bounds.roomFor("", 0, nil, o.output); err != nil {
			return nil, nil, err
		}
		out, err = createOutput(o.output, o.force, capture.Check)
		return out, nil, err
	}
	if err := capture.Check(); err != nil {
		return nil, nil, err
	}
	if set, err = newFileSet(o.output, errOut); err != nil {
		return nil, nil, err
	}
	flag := "--max-total " + o.rotate.total
	if len(o.flight.ring) > 0 {
		flag = "--ring " + strings.Join(o.flight.ring, ",")
	}
	if err := o.bounds.roomFor(flag, l.total, set, o.output); err != nil {
		return nil, nil, err
	}
	set.files, set.total, set.reserve = l.files, l.total, l.size+l.size/4
	out, err = set.next()
	return out, set, err
}

// checkKinds refuses kinds of probes and events that there are not.
func checkKinds(c *capture.Options) error {
	switch c.Events {
	case capture.EventsAll, capture.EventsAccept, capture.EventsLifecycle:
	default:
		return &usageError{fmt.Errorf("--events %q is not all, accept or lifecycle", c.Events), "like --events accept"}
	}
	switch c.Mode {
	case capture.ModeAuto, capture.ModeKprobe, capture.ModeFentry:
	default:
		return &usageError{fmt.Errorf("--probe %q is neither auto, kprobe nor fentry", c.Mode),
			"auto chooses what suits the kernel"}
	}
	return nil
}

// endsBy says how the recording ends.
func endsBy(c *capture.Options) string {
	by := []string{"Ctrl-C"}
	if len(c.Command) > 0 {
		by = append(by, "the end of "+format.Quote(c.Command[0]))
	}
	if c.Duration > 0 {
		by = append(by, c.Duration.String())
	}
	if c.MaxEvents > 0 {
		by = append(by, humanize.Plural(c.MaxEvents, "event"))
	}
	return strings.Join(by, " or ") + " ends it"
}
