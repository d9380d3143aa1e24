package main

// This file reads captures for acc export.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/audit"
	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/export"
	"github.com/acc-project/acc/analysis/filter"
	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/analysis/pairing"
	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/evidence"
	"github.com/acc-project/acc/format"
)

// exporter gives captures to a sink.
type exporter struct {
	o           *exportOptions
	name        string // of the output
	sink        export.Sink
	out, errOut io.Writer

	worst                            int // exit code so far
	captures, incomplete             int
	damaged                          int // captures of which a part was read
	unread                           int // captures of which nothing was read
	connections, attempts, seen, did uint64
}

// sinkError is an error of writing, after which nothing more is read.
type sinkError struct{ error }

func (e *sinkError) Unwrap() error { return e.error }

// written marks an error as one of writing.
func written(err error) error {
	if err == nil {
		return nil
	}
	return &sinkError{err}
}

// all exports the captures one after another. The error is one that ends the export; what is wrong with a
// capture is said, and kept in worst.
func (x *exporter) all(ctx context.Context, names []string, ins []*input, errs []error) error {
	joinSets(ins)
	dropCopies(ins, x.errOut)
	for i, in := range ins {
		err := errs[i]
		switch {
		case in != nil:
			err = x.capture(ctx, in)
		case err != nil:
			err = errors.Join(x.unreadable(inputName(names[i]), err), err)
		}
		var ends *sinkError
		switch {
		case errors.As(err, &ends):
			return writeFailed(x.name, ends.error)
		case errors.As(err, new(exited)), errors.As(err, new(*usageError)), errors.As(err, new(*filter.Error)):
			return err
		case err != nil:
			x.worst = max(x.worst, exitCode(err, x.errOut))
		}
		ins[i] = nil // what it took is not kept
	}
	return nil
}

// dropCopies leaves out further copies of a capture that was delivered twice: of those with the same id, the longest
// file is taken. It says which parts of one capture overlap.
func dropCopies(ins []*input, errOut io.Writer) {
	best := map[string]int{}
	headers := make([]*format.Header, len(ins))
	for i, in := range ins {
		if in == nil {
			continue
		}
		h := in.peek()
		if h == nil || h.ID == "" {
			continue
		}
		headers[i] = h
		j, twice := best[h.ID]
		if !twice {
			best[h.ID] = i
			continue
		}
		keep, drop := j, i
		if in.bytes > ins[j].bytes {
			keep, drop = i, j
		}
		best[h.ID] = keep
		fmt.Fprintf(errOut, "acc: %s is left out: %s is the same capture (%s)\n", fileName(ins[drop].name),
			fileName(ins[keep].name), format.Quote(h.ID))
		ins[drop].Close()
		ins[drop] = nil
		headers[drop] = nil
	}
	for i, a := range headers {
		if a == nil || len(a.Cuts) == 0 {
			continue
		}
		for j, b := range headers {
			if b == nil || j == i || j > i && len(b.Cuts) > 0 {
				continue
			}
			if why := sameEvents(a, b); why != "" {
				fmt.Fprintf(errOut, "acc: %s and %s: %s: their events count twice\n", fileName(ins[j].name),
					fileName(ins[i].name), why)
			}
		}
	}
}

// unreadable exports that nothing can be read of a file.
func (x *exporter) unreadable(name string, err error) error {
	if errors.As(err, new(exited)) || errors.As(err, new(*usageError)) {
		return nil
	}
	x.captures++
	x.unread++
	return beginFailed(x.sink.End(&export.Source{File: name, Failed: err.Error()}, nil))
}

// beginFailed is the error of beginning to write a capture: what was exported before ends nothing.
func beginFailed(err error) error {
	if errors.As(err, new(*export.ExistsError)) {
		return &hinted{err, "overwrite it with --replace"}
	}
	return written(err)
}

// capture exports one capture, and closes it. The error is what is wrong with it, or a sinkError.
func (x *exporter) capture(ctx context.Context, in *input) error {
	defer in.Close()
	o := x.o
	in.opts, in.inside = format.ReaderOptions{Salvage: o.salvage, Parts: true, Omit: []string{"cgroup"}}, true
	var filters []bound
	if o.pairFilter != nil {
		filters = append(filters, o.pairFilter)
	}
	if o.connectionFilter != nil {
		filters = append(filters, o.connectionFilter)
	}
	var byListener map[listenerKey][]string
	var err error
	if slices.ContainsFunc(filters, func(f bound) bool { return f.Uses(filter.FindingsName) }) {
		byListener, err = in.findingsFirst(ctx, o.salvage)
	}
	if err == nil {
		err = in.begin(in.source, o.salvage)
	}
	if err != nil {
		return errors.Join(x.unreadable(in.name, err), err)
	}
	window := analyzeOptions{from: o.from, until: o.until}
	shown, err := window.chosen(x.errOut, in, filters)
	if err != nil {
		return err
	}
	procs := newProcesses()
	source := &export.Source{File: in.name, Header: in.Start()}
	opts := analysis.Options{Top: -1}
	if alone, ok := x.sink.(interface{ RowsAlone() bool }); ok {
		opts.VerdictOnly = alone.RowsAlone()
	}
	x.listen(&opts, source, shown)
	exam := evidence.Examine(in.Start(), opts)
	source.Env = procs.environment(exam.Clocks(), byListener)
	source.Clock.Add(in.Clock())
	losses, _ := x.sink.(interface{ Loss(format.Loss) error })
	if keeps, ok := x.sink.(interface{ Settle() error }); ok {
		in.settle = func() error { return written(keeps.Settle()) }
	}
	var lossErr error
	in.each = func(b *format.Batch) {
		procs.add(b)
		source.Clock.Add(b.Clocks...)
		if losses != nil {
			for _, l := range b.Losses {
				lossErr = errors.Join(lossErr, losses.Loss(l))
			}
		}
	}
	if err := x.sink.Begin(source); err != nil {
		return beginFailed(err)
	}
	p := in.showProgress(x.errOut, o.output == "-", x.out)
	defer p.stop()
	readErr := feed(ctx, in, exam)
	p.stop()
	if errors.As(readErr, new(*sinkError)) || errors.As(readErr, new(exited)) {
		return readErr
	}
	// What stands before a damaged place is right, and so is what stands before a place that can't be read.
	result, err := exam.Finish(readErr, in.Skipped())
	if err != nil {
		return err
	}
	result.LimitHit = result.LimitHit || procs.more
	if source.End = exam.End(); source.End != nil {
		source.Clock.Add(source.End.Clock)
	}
	verdict := in.Verdict(readErr, exam.End(), result)
	if verdict != nil {
		source.Failed = verdict.Error()
	}
	if err := errors.Join(lossErr, x.sink.End(source, result)); err != nil {
		return written(err)
	}
	x.count(in, source, result)
	if verdict == nil && result.LimitHit {
		fmt.Fprintf(x.errOut, "acc: %s: a limit on memory was hit: some rows are missing or inexact\n",
			fileName(in.name))
		x.worst = max(x.worst, exitLimit)
	}
	return verdict
}

// listen makes the analysis give the sink what it wants.
func (x *exporter) listen(opts *analysis.Options, source *export.Source, shown window) {
	connections, attempts := x.sink.Wants()
	clocked := !shown.from.IsZero() || !shown.until.IsZero()
	if connections {
		others, _ := x.sink.(interface{ Neighbour(*conntrack.Connection) })
		opts.Connection = func(c *conntrack.Connection) error {
			source.Count(c)
			x.seen++
			if clocked && !shown.has(source.Env.Clocks, report.BeganNS(c), report.ListedNS(c)) ||
				x.o.connectionFilter != nil && !x.o.connectionFilter.Match(c, source.Env) {
				if others != nil {
					others.Neighbour(c)
				}
				return nil
			}
			x.did++
			return written(x.sink.Connection(c))
		}
	}
	if attempts {
		opts.Pair = func(p *pairing.Pair) error {
			x.seen++
			began, ended := p.EnterNS, p.ReturnNS
			if clocked && !shown.has(source.Env.Clocks, cmp.Or(began, ended), cmp.Or(ended, began)) ||
				x.o.pairFilter != nil && !x.o.pairFilter.Match(p, source.Env) {
				return nil
			}
			x.did++
			return written(x.sink.Attempt(p))
		}
	}
}

// count sums up what was exported of a capture, and says what is missing in it.
func (x *exporter) count(in *input, s *export.Source, r *analysis.Result) {
	x.captures++
	c, a := s.Exported()
	x.connections, x.attempts = x.connections+c, x.attempts+a
	if r.Integrity.State != audit.Intact {
		x.damaged++
	}
	if r.Recording.State != audit.Complete {
		x.incomplete++
	}
	if r.Integrity.State != audit.Intact || r.Recording.State != audit.Complete || in.Header().Redacted != nil {
		tellState(x.errOut, in, r)
	}
}

// nothing reports whether a file would have no row, because no capture could be read.
func (x *exporter) nothing() bool {
	return x.unread > 0 && x.unread == x.captures && !x.o.is.Folder && x.o.output != "-" &&
		!slices.Contains(x.o.tables, export.Captures)
}

// conclude says what was exported.
func (x *exporter) conclude() {
	text := humanize.Plural(uint64(x.captures), "capture")
	if c, a := x.sink.Wants(); c || a {
		var parts []string
		if c {
			parts = append(parts, humanize.Plural(x.connections, "connection"))
		}
		if a {
			parts = append(parts, humanize.Plural(x.attempts, "attempt"))
		}
		text = join(parts) + " of " + text
	}
	if x.incomplete > 0 {
		text += fmt.Sprintf("; %s incomplete", humanize.Count(uint64(x.incomplete)))
	}
	if x.damaged > 0 {
		text += fmt.Sprintf("; %s damaged", humanize.Count(uint64(x.damaged)))
	}
	if x.unread > 0 {
		text += fmt.Sprintf("; %s unreadable", humanize.Count(uint64(x.unread)))
	}
	if x.nothing() {
		text += "; no file was written"
	}
	fmt.Fprintf(x.errOut, "acc: %s: %s\n", fileName(x.name), text)
	if x.o.filter != "" {
		fmt.Fprintf(x.errOut, "acc: only what the filter selects: %s of %s (-f %s)\n", humanize.Count(x.did),
			humanize.Count(x.seen), format.Quote(oneLine(x.o.filter)))
	}
}

// join joins words with "and".
func join(words []string) string {
	if len(words) == 2 {
		return words[0] + " and " + words[1]
	}
	return words[0]
}
