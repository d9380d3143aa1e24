package main

// This file is -f of replay: a condition on events.

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/acc-project/acc/analysis/filter"
	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/format"
)

// eventFilter chooses events; without a filter all.
type eventFilter struct {
	f        *filter.Filter[format.Event]
	env      *filter.Env
	procs    *processes
	findings map[listenerKey][]string
	name     string
	chosen   selected
	all      uint64 // events that the capture has by its index, 0: not known before it is read
}

// open begins to read a capture, and reads it once before if the filter asks for findings.
func (x *eventFilter) open(ctx context.Context, in *input, salvage bool) (err error) {
	in.opts, in.inside = format.ReaderOptions{Salvage: salvage}, true
	if x.f != nil && x.f.Uses(filter.FindingsName) {
		x.findings, err = in.findingsFirst(ctx, salvage)
	}
	if err == nil {
		err = in.begin(in.source, salvage)
	}
	return err
}

// window gives --from and --until, and where they are not given what the filter says of the time: the
// index leads there, and nothing is read behind it.
func (x *eventFilter) window(in *input, from, until string) (string, string, error) {
	if x.f == nil {
		return from, until, nil
	}
	if err := in.bind(x.f); err != nil {
		return "", "", err
	}
	in.whole = asksForProcesses(x.f)
	begin, end := x.f.Window()
	if from == "" && !begin.IsZero() && begin.After(startOf(in.Start())) && !in.whole {
		from = begin.Format(time.RFC3339Nano)
	}
	if until == "" && !end.IsZero() && in.bytes > 0 && begin.Before(end) {
		until = end.Format(time.RFC3339Nano)
	}
	return from, until, nil
}

// begin makes ready for the first event.
func (x *eventFilter) begin(in *input, clocks *format.Clocks) {
	if x.f == nil {
		return
	}
	x.procs = newProcesses()
	in.each, x.env, x.name = x.procs.add, x.procs.environment(clocks, x.findings), in.name
	if in.bytes > 0 && !in.opts.Salvage {
		if frames, err := format.ReadIndex(in.source, in.bytes); err == nil {
			for i := range frames {
				x.all += uint64(frames[i].Events)
			}
		}
	}
}

// has reports whether an event is chosen.
func (x *eventFilter) has(e *format.Event) bool {
	return x.f == nil || x.chosen.is(x.f.Match(e, x.env))
}

// tell says how many were chosen.
func (x *eventFilter) tell(errOut io.Writer, expr string) {
	if x.f == nil {
		return
	}
	share := x.chosen.say("event")
	if x.all > x.chosen.of { // some were passed over
		share = fmt.Sprintf("%s of %s", humanize.Count(x.chosen.chosen), humanize.Plural(x.all, "event"))
	}
	tellSelected(errOut, x.name, expr, share)
	if x.procs != nil && x.procs.more {
		fmt.Fprintf(errOut, "acc: %s\n", tooManyProcesses)
	}
}
