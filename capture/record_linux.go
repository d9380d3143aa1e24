//go:build amd64 || arm64

package capture

// This file has Record, the main loop.

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf/ringbuf"

	"github.com/acc-project/acc/confine"
	"github.com/acc-project/acc/format"
)

const (
	flushEvery  = time.Second      // a crash loses no more
	clockEvery  = 10 * time.Second // between clock pairs
	statusEvery = time.Second
	renewEvery  = time.Second            // cgroups that are made anew are looked for
	batchWait   = 100 * time.Millisecond // events gather for so long before they are read
)

// Check says what is in the way of recording on this host, an *EnvError, as far as
// looking tells; nil if nothing is.
func Check() error {
	if env := preflight(os.DirFS("/")); env != nil {
		return env
	}
	return nil
}

// Record records accept on this host to w until ctx is cancelled or o says to
// stop. It needs the privileges to trace the kernel; *EnvError says what is
// missing. The capture on w is complete when the error is nil; whatever the
// error, what was written can be read.
func Record(ctx context.Context, w io.Writer, o Options) (Result, error) {
	r := Result{CommandExit: -1}
	if env := preflight(os.DirFS("/")); env != nil {
		return r, env
	}
	space, err := newRoom(w)
	if err != nil {
		return r, err
	}
	defer func() { space.release() }()
	o.phase("loading probes")
	a, err := startUntil(ctx, &o)
	if err != nil {
		return r, explain(err)
	}
	defer a.close()
	debug.FreeOSMemory() // what reading the kernel's types took is several times what recording takes
	o.phase("listing what listens")
	s, err := newSession(ctx, w, &o, a, space)
	if err != nil {
		return r, err
	}
	if ctx.Err() != nil {
		return r, ErrNotBegun
	}
	defer s.calls.close()
	defer s.queues.close()
	s.renewer = a.watchCgroups(&o.Select)
	defer s.renewer.close()
	err = s.run(ctx)
	r.Mode, r.End, r.CommandExit, r.Kept = a.mode, s.end, s.commandExit, s.kept
	r.Elapsed, r.Bytes, r.Files, r.Last = time.Since(s.started), s.bytes(), 1, w
	if x := s.rotation; x != nil {
		x.ending.Wait()
		r.Files, r.Last, space = int(x.set.File), x.w, x.space
	}
	return r, err
}

// startUntil is startProbes; when ctx ends first, what that starts is closed when it is there, and nobody waits.
func startUntil(ctx context.Context, o *Options) (*attached, error) {
	type started struct {
		a   *attached
		err error
	}
	done := make(chan started, 1)
	var gone atomic.Bool // then Phase is not called any more
	run := *o
	run.Phase = func(what string) {
		if !gone.Load() {
			o.phase(what)
		}
	}
	go func() {
		a, err := startProbes(&run)
		done <- started{a, err}
	}()
	select {
	case s := <-done:
		run.Phase = o.Phase
		*o = run
		return s.a, s.err
	case <-ctx.Done():
		gone.Store(true)
		go func() {
			if s := <-done; s.a != nil {
				s.a.close()
			}
		}()
		return nil, ErrNotBegun
	}
}

// session is one recording. One goroutine runs it.
type session struct {
	o       *Options
	a       *attached
	ring    *ringbuf.Reader
	mapped  *mapped
	ringLen int
	writer  *format.Writer
	header  format.Header

	names   names
	repeats repeats

	lives     lives
	unixNames map[uint64]string // by the listener's inode number
	processes processes
	ledger    ledger
	calls     calls
	queues    queues
	witness   witness
	guard     guard
	budget    budget
	watcher   *watcher // nil until the snapshot is taken
	rotation  *rotation
	event     format.Event
	record    ringbuf.Record

	started     time.Time
	framed      time.Time // since when the frame can have events
	booked      time.Time // when losses were last looked for
	ticked      time.Time // when what is due was last done
	clocked     time.Time
	renewer     *renewer
	renewed     time.Time // when it looked last
	clock       format.Clock
	told        time.Time // when Status was last called
	wait        time.Duration
	full        *format.NoRoomError // what ended it on a full disk, nil otherwise
	end         format.End
	kept        error
	off         string // who switched the probes off meanwhile, "" if nobody was seen to
	commandExit int
	listeners   int      // that were selected at the start
	ports       []string // of all that listened then, if none was
}

// newSession writes the header that describes the probes, and what they saw by now.
func newSession(ctx context.Context, w io.Writer, o *Options, a *attached, space *room) (*session, error) {
	s := &session{o: o, a: a, commandExit: -1, wait: batchWait}
	if err := describeHost(&s.header); err != nil {
		return nil, err
	}
	s.ring, s.mapped, s.ringLen = a.ring, a.mapped, a.ring.BufferSize()
	h := &s.header
	h.Tool, h.Command, h.Mode = o.Tool, o.Args, string(a.mode)
	h.Probes, h.Limits = a.describe(o)
	h.ExeDev, h.ExeInode = a.executable()
	switch o.Events {
	case EventsAccept:
		h.Filters = append(h.Filters, "--events accept")
	case EventsLifecycle:
		h.Filters = append(h.Filters, "--events lifecycle")
	}
	h.Selection = o.Select.record()
	h.FailedRate = o.failedRate()
	if s := h.Selection.String(); s != "" {
		h.Filters = append(h.Filters, "all but "+s)
	}
	s.clock = h.Clock
	if o.Rotate != nil {
		s.rotation = &rotation{set: format.Set{ID: h.ID, File: 1, Numbers: []format.Numbers{}}, w: w, space: space,
			began: time.Now()}
		set := s.rotation.set
		h.Set = &set
		s.processes.again = true
	}
	var err error
	if s.writer, err = format.NewWriter(o.sealed(w), *h, writerOptions(o, h.ID, space)); err != nil {
		return nil, err
	}
	s.processes.blind = a.elsewhere
	if o.causes() {
		s.queues.start()
		if a.elsewhere {
			s.queues.cannot = otherPIDs
		}
	}
	s.witness.write = func(c format.Counters) error { return s.writer.Counters(c) }
	s.witness.watch = watchSettings(func() { _ = s.ring.Flush() })
	s.processes.write = func(p format.Process) error {
		return errors.Join(s.witness.meet(&p), s.writer.Process(p))
	}
	blocked, err := s.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	if s.calls, err = mapCalls(a.collection.Maps["calls"]); err != nil {
		return nil, err
	}
	if s.watcher, err = newWatcher(a, o, blocked); err != nil { // from now on, calls are noted there
		return nil, err
	}
	if a.mode == ModeFentry {
		s.watcher.tracers = watchTracers(a.waitedIn, func() { _ = s.ring.Flush() })
	}
	for _, r := range a.early {
		if err := s.take(r.raw, r.own || a.tooEarly(r.raw)); err != nil {
			return nil, err
		}
	}
	a.early = nil
	if err := errors.Join(a.forgetSimultaneousOpens(), a.forgetUnixRefused()); err != nil {
		return nil, err
	}
	return s, s.writer.Flush() // what was there is kept whatever comes
}

// causes reports whether what servers do while clients wait is looked at.
func (o *Options) causes() bool { return (o.Events == EventsAll || o.Events == "") && !o.NoCauses }

// What encryption adds to a frame, at most: 16 bytes to each 64 KiB, and what names the recipients.
const (
	sealedShare = 1 << 11
	sealedMore  = 16 << 10
)

// sealed is the writer to an output.
func (o *Options) sealed(w io.Writer) io.Writer {
	if o.Seal == nil {
		return w
	}
	return o.Seal(w)
}

// writerOptions are those of the capture with an id.
func writerOptions(o *Options, id string, space *room) (w format.WriterOptions) {
	if w.Room = space.take; o.Seal != nil {
		w.Room = func(bytes int) error {
			space.follow()
			return space.take(bytes + bytes/sealedShare + sealedMore)
		}
	}
	if tell := o.Checkpoint; tell != nil {
		w.Checkpoint = func(c format.Checkpoint) { tell(id, c) }
	}
	return w
}

// snapshot records what listens and who sits in accept, and gives those of whose
// calls no entry was seen.
func (s *session) snapshot(ctx context.Context) ([]format.Blocked, error) {
	deadline := time.Now().Add(2 * time.Second)
	late := func() bool { return time.Now().After(deadline) || ctx.Err() != nil }
	blocked, blockedKnown := s.a.blocked(late)
	shot := s.a.snapshot(false, late)
	shot.Blocked, shot.BlockedKnown = blocked, blockedKnown
	if err := s.a.notePlaces(shot.Listeners); err != nil {
		return nil, err
	}
	// Whoever entered since the probes are live has an event of it in the ring by now.
	if err := s.a.readEarly(); err != nil {
		return nil, err
	}
	inside := map[uint32]bool{}
	for _, r := range s.a.early {
		if e, ok := eventIn(r.raw); ok && !(r.own && s.o.Select.Any()) {
			inside[e.Tid] = e.Kind == uint8(format.Enter)
		}
	}
	before := shot.Blocked[:0]
	for _, b := range shot.Blocked {
		if !inside[b.TID] {
			before = append(before, b)
		}
	}
	shot.Blocked = before
	listened := slices.Clone(shot.Listeners)
	if err := s.a.choose(&s.o.Select, &shot); err != nil {
		return nil, err
	}
	if s.listeners = len(shot.Listeners); s.listeners == 0 {
		s.ports = portsOf(listened)
	}
	before = shot.Blocked
	s.queues.before(shot.Listeners, shot.BootNS)
	return before, errors.Join(s.writer.Snapshot(shot), s.witness.read(true, false))
}

// run records until there is a reason to stop, and then closes the capture.
func (s *session) run(ctx context.Context) error {
	s.started = time.Now()
	s.framed, s.booked, s.clocked, s.told = s.started, s.started, s.started, s.started
	s.startBudget()
	if s.o.Ready != nil {
		list, _ := s.a.describe(s.o)
		s.o.Ready(Started{Mode: s.a.mode, Probes: list, Note: s.a.note, Listeners: s.listeners, Ports: s.ports})
	}
	stop, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if s.o.Duration > 0 {
		timer := time.AfterFunc(s.o.Duration, func() { cancel(errDuration) })
		defer timer.Stop()
	}
	var cmd *command
	if len(s.o.Command) > 0 {
		begin := func() (err error) {
			cmd, err = start(s.o.Command, s.o.CommandOut)
			return err
		}
		var err error
		if s.o.Select.OnlyCommand {
			err = s.a.onlyCommand(begin)
		} else {
			err = begin()
		}
		if err != nil {
			return errors.Join(err, s.close("error", err.Error()))
		}
		go func() {
			<-cmd.done
			cancel(errCommand)
		}()
	}
	if s.o.Confine { // the command has its caller's rights by now
		more := confine.RecorderOptions{}
		if s.o.Rotate != nil {
			more.Owner, more.Links = s.o.Rotate.Owner, s.o.Rotate.Links
		}
		status, _ := os.ReadFile("/proc/self/status")
		held, known := effective(status)
		if !known {
			held = ^uint64(0)
		}
		s.kept = confine.Recorder(keep(held, cmd != nil, len(s.witness.procs) > 1, s.o.Rotate), more)
	}
	wake := context.AfterFunc(stop, func() { _ = s.ring.Flush() })
	defer wake()
	if s.o.stall != nil {
		if err := s.tick(); err != nil {
			return errors.Join(err, s.close("error", err.Error()))
		}
		s.o.stall()
	}
	ended := s.o.Control.begin(func() { _ = s.ring.Flush() })
	err := s.read(stop)
	if settled := s.settle(); err == nil {
		err = settled
	}
	if err == nil {
		err = s.noteStep() // the wall clock can have been set since the last tick
	}
	ended()
	if cmd != nil {
		s.commandExit = cmd.end()
		if errors.Is(context.Cause(stop), errCommand) {
			s.commandExit = cmd.exit
		}
	}
	if errors.As(err, &s.full) {
		for _, h := range s.full.Hits {
			s.ledger.refuse(h)
		}
		return s.close(format.EndDiskFull, errors.Unwrap(s.full).Error())
	}
	if err != nil {
		// Not being able to write keeps the end from being written, too: said once.
		if closing := s.close("error", err.Error()); closing != nil && closing.Error() != err.Error() {
			err = errors.Join(err, closing)
		}
		return err
	}
	if ended := new(EndedError); errors.As(context.Cause(stop), &ended) {
		return s.close(ended.Reason, ended.Detail)
	}
	if lost := new(OutputError); errors.As(context.Cause(stop), &lost) {
		return errors.Join(lost, s.close("error", lost.Error()))
	}
	return s.close(reason(stop), "")
}

var (
	errDuration = errors.New("duration")
	errCommand  = errors.New("command")
)

func reason(stop context.Context) string {
	switch cause := context.Cause(stop); {
	case cause == nil:
		return "count"
	case errors.Is(cause, errDuration), errors.Is(cause, errCommand), errors.Is(cause, ErrStopped):
		return cause.Error()
	}
	return "signal"
}
