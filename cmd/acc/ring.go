package main

// This file has the flight recorder: files that are kept for a while, and dumps, which keep those that there are.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/capture"
	"github.com/acc-project/acc/evidence"
	"github.com/acc-project/acc/format"
)

// flightRecorder dumps the files of a set.
type flightRecorder struct {
	set       *fileSet
	limits    ringLimits
	recording *capture.Control
	errOut    io.Writer

	mu         sync.Mutex
	dump       *dump           // under way, nil: none
	active     map[string]bool // findings of which an episode goes on
	lastDump   time.Time       // when one ended last
	dumps      int             // that findings began
	suppressed int             // findings that began no dump since the last one
	looks      chan string     // files to look at
	behind     bool            // that was said
	looked     chan struct{}
	rates      []*rateWatch // of look
	hook       *hook        // nil: none
}

// dump is one that is under way.
type dump struct {
	folder string // in that of the set
	old    bool   // it has none of the file that is written
	files  int
	more   int    // further reasons meanwhile
	why    string // its reason
	timer  *time.Timer
}

func newFlightRecorder(set *fileSet, l ringLimits, recording *capture.Control, errOut io.Writer) *flightRecorder {
	r := &flightRecorder{set: set, limits: l, recording: recording, errOut: errOut, active: map[string]bool{},
		looks: make(chan string, 1), looked: make(chan struct{})}
	for _, t := range l.on {
		if t.finding == "" {
			r.rates = append(r.rates, &rateWatch{trigger: t})
		}
	}
	set.age = l.age
	set.onEnd = r.fileEnded
	go r.look()
	return r
}

// close ends a dump that is under way, with the last file, which has its END.
func (r *flightRecorder) close(last string) {
	if r == nil {
		return
	}
	close(r.looks)
	<-r.looked
	r.mu.Lock()
	if d := r.dump; d != nil {
		r.keep(d, last)
		r.ended(d)
	}
	r.mu.Unlock()
	r.hook.close(r.errOut)
}

// fileEnded takes a file that has its END.
func (r *flightRecorder) fileEnded(base string) {
	r.mu.Lock()
	d := r.dump
	if d != nil && !d.old {
		r.keep(d, base)
	}
	r.mu.Unlock()
	if len(r.limits.on) == 0 {
		return
	}
	select {
	case r.looks <- base:
	default:
		if !r.behind {
			fmt.Fprintf(
				r.errOut,
				"acc: looking for findings is slower than what is recorded: not all files are looked at\n",
			)
		}
		r.behind = true
	}
}

// keep links a file into a dump; r.mu is held.
func (r *flightRecorder) keep(d *dump, base string) {
	err := r.set.root.Link(base, filepath.Join(d.folder, base))
	switch {
	case err == nil:
		d.files++
	case errors.Is(err, fs.ErrExist):
	default:
		fmt.Fprintf(r.errOut, "acc: can't keep %s: %s\n", format.Quote(base), format.Quote(err.Error()))
	}
}

// errDumps says that a dump is under way.
var errDumps = errors.New("a dump is under way: what happens goes into it")

// begin begins a dump of what is kept of the time between two ages, from the oldest on if from is 0, and goes on
// with it until the end if that is 0.
func (r *flightRecorder) begin(why string, from, until time.Duration) (folder string, err error) {
	r.mu.Lock()
	if r.dump != nil {
		r.dump.more++
		r.mu.Unlock()
		return "", errDumps
	}
	at := r.set.now().UTC()
	since := time.Time{}
	if from > 0 {
		since = at.Add(-from)
	}
	kept := r.set.between(since, at.Add(-until))
	d := &dump{
		why:    why,
		folder: "dump-" + at.Format("20060102T150405.000Z"),
		old:    until > 0 && r.set.began().After(at.Add(-until)),
	}
	if d.old && len(kept) == 0 {
		r.mu.Unlock()
		return "", fmt.Errorf("nothing is kept of that time: the oldest file began %s ago",
			at.Sub(r.set.oldest()).Round(time.Second))
	}
	suppressed := r.suppressed
	r.suppressed = 0
	if err := r.set.root.Mkdir(d.folder, 0o700); err != nil {
		r.mu.Unlock()
		return "", fmt.Errorf("make the folder of a dump: %w", err)
	}
	r.set.give(d.folder)
	r.dump = d
	for _, f := range kept {
		r.keep(d, f)
	}
	r.mu.Unlock()
	text := "dump: " + why
	if suppressed > 0 {
		text += fmt.Sprintf(" (since the last one, %s began none)", many(suppressed, "finding"))
	}
	if err := r.recording.Mark(text, uint32(os.Getuid())); err != nil {
		fmt.Fprintf(r.errOut, "acc: no mark of the dump: %s\n", format.Quote(err.Error()))
	}
	name := filepath.Join(r.set.folder, d.folder)
	fmt.Fprintf(r.errOut, "acc: dump to %s: %s\n", format.Quote(name), format.Quote(why))
	after := r.limits.after
	if until > 0 {
		after = 0
	}
	r.mu.Lock()
	d.timer = time.AfterFunc(after, func() { r.finish(d) })
	r.mu.Unlock()
	return name, nil
}

// finish ends a dump with the file that is written.
func (r *flightRecorder) finish(d *dump) {
	r.mu.Lock()
	more, current := d.more, r.dump == d
	r.mu.Unlock()
	if !current {
		return
	}
	if more > 0 {
		_ = r.recording.Mark(fmt.Sprintf("dump: %s meanwhile", many(more, "further reason")), uint32(os.Getuid()))
	}
	if !d.old {
		r.set.endCurrent(r.recording)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dump == d {
		r.ended(d)
	}
}

// ended says that a dump is complete; r.mu is held.
func (r *flightRecorder) ended(d *dump) {
	r.dump, r.lastDump = nil, time.Now()
	fmt.Fprintf(r.errOut, "acc: the dump is complete: %s; acc analyze %s\n", many(d.files, "file"),
		format.Quote(filepath.Join(r.set.folder, d.folder)))
	folder, err := filepath.Abs(filepath.Join(r.set.folder, d.folder))
	if err = cmp.Or(err, r.hook.run(folder, d.why)); err != nil {
		fmt.Fprintf(r.errOut, "acc: --exec: %s\n", format.Quote(err.Error()))
	}
}

// Bounds of the analysis of a file beside recording.
var lookOptions = analysis.Options{MaxTasks: 50_000, MaxConns: 50_000, MaxPeers: 10_000, MaxListeners: 2_000,
	MaxProcesses: 5_000}

// look looks into files that have ended, as acc analyze does.
func (r *flightRecorder) look() {
	defer close(r.looked)
	for base := range r.looks {
		list, err := r.reasons(base)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				fmt.Fprintf(
					r.errOut,
					"acc: look for findings in %s: %s\n",
					format.Quote(base),
					format.Quote(err.Error()),
				)
			}
			continue
		}
		r.found(list)
	}
}

// found begins a dump if one of the reasons that were asked for shows, and did not show in the file before.
func (r *flightRecorder) found(list []reason) {
	r.mu.Lock()
	shown := map[string]bool{}
	why := ""
	for _, x := range list {
		if !slices.ContainsFunc(r.limits.on, func(t trigger) bool { return t.text == x.id }) {
			continue
		}
		if shown[x.id] = true; !r.active[x.id] && why == "" {
			why = x.id + ": " + x.text
		}
	}
	r.active = shown
	if why != "" && (r.dumps >= r.limits.most || time.Since(r.lastDump) < r.limits.cooldown) {
		r.suppressed++
		why = ""
	}
	if why != "" {
		r.dumps++
	}
	r.mu.Unlock()
	if why == "" {
		return
	}
	if _, err := r.begin(why, 0, 0); err != nil && !errors.Is(err, errDumps) {
		fmt.Fprintf(r.errOut, "acc: %s\n", format.Quote(err.Error()))
	}
}

// dumpAtSignal dumps at each SIGUSR2, until ctx ends.
func (r *flightRecorder) dumpAtSignal(ctx context.Context) {
	if dumpSignal == nil {
		return
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, dumpSignal)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-signals:
				if _, err := r.begin("SIGUSR2", 0, 0); err != nil {
					fmt.Fprintf(r.errOut, "acc: SIGUSR2: %s\n", format.Quote(err.Error()))
				}
			}
		}
	}()
}

// reasonsOf are the findings of a capture, and those that are parts of them.
func reasonsOf(list []findings.Finding) (all []reason) {
	for _, f := range list {
		all = append(all, reason{f.ID, f.Text})
		for _, p := range f.Parts {
			all = append(all, reason{p.ID, p.Text})
		}
	}
	return all
}

// reasons are what a file that has ended shows.
func (r *flightRecorder) reasons(base string) (all []reason, err error) {
	f, err := r.set.root.OpenFile(base, os.O_RDONLY|noFollow, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	reader, err := format.NewReader(f, format.ReaderOptions{Parts: true})
	if err != nil {
		return nil, err
	}
	c, err := evidence.NewCapture(base, reader, nil)
	if err != nil {
		return nil, err
	}
	judged := len(r.rates) < len(r.limits.on)
	x := evidence.Examine(c.Start(), lookOptions)
	for {
		b, readErr := c.Next()
		if readErr != nil {
			for _, w := range r.rates {
				if says := w.ended(); says != "" {
					all = append(all, reason{w.text, says})
				}
			}
			if !judged {
				return all, nil
			}
			result, err := x.Finish(readErr, nil)
			if err != nil {
				return nil, err
			}
			return append(reasonsOf(result.Findings), all...), nil
		}
		r.count(b)
		if !judged {
			continue
		}
		if err := x.Add(b, 0); err != nil {
			return nil, err
		}
	}
}

// count takes a batch for the rates.
func (r *flightRecorder) count(b *format.Batch) {
	if len(r.rates) == 0 {
		return
	}
	for events := range b.Parts() {
		for i := range events {
			for _, w := range r.rates {
				w.event(&events[i])
			}
		}
	}
	for i := range b.Counted {
		for _, w := range r.rates {
			w.counted(&b.Counted[i])
		}
	}
}
