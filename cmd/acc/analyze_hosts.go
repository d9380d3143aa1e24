package main

// This file is acc analyze of the captures of many hosts: a line for each host.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/evidence"
	"github.com/acc-project/acc/format"
)

// hostList is what --json says of many hosts.
type hostList struct {
	Schema int            `json:"schema"` // as in analyze
	Hosts  []*report.Host `json:"hosts"`  // worst first; all of them
}

// severalHosts reports whether captures are of more than one host.
func severalHosts(ins []*input) bool {
	first, known := "", false
	for _, in := range ins {
		if in == nil {
			continue
		}
		h := in.peek()
		if h == nil {
			continue
		}
		if key := hostKey(h); known && key != first {
			return true
		} else if !known {
			first, known = key, true
		}
	}
	return false
}

func hostKey(h *format.Header) string { return h.MachineID + " " + h.Host }

// analyzeHosts analyzes captures of many hosts, as many at a time as there are processors.
func analyzeHosts(ctx context.Context, out, errOut io.Writer, names []string, ins []*input, errs []error,
	o analyzeOptions) error {
	color, err := colorOf(o.color, out)
	if err != nil {
		return err
	}
	all := &hostAnalysis{o: &o, hosts: map[string]*report.Host{}, hints: map[string]bool{}, errOut: errOut,
		files: len(ins)}
	dropCopies(ins, errOut)
	for i, err := range errs {
		if err != nil {
			all.unreadable(inputName(names[i]), err)
		}
	}
	p := &progress{w: errOut, text: all.soFar}
	if onTerminal(errOut) {
		p.start()
	}
	all.errOut = p
	next := make(chan *input)
	var wait sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			for in := range next {
				all.capture(ctx, in)
			}
		})
	}
	for i, in := range ins {
		if in != nil && ctx.Err() == nil {
			next <- in
		}
		ins[i] = nil // what it took is not kept
	}
	close(next)
	wait.Wait()
	p.stop()
	if ctx.Err() != nil {
		return exited(130)
	}
	list := all.sorted()
	if o.json {
		err = encodeJSON(out, &hostList{analysis.SchemaVersion, list})
	} else {
		most, text := o.top, report.TextOptions{Color: color, Width: widthOf(out), Height: heightOf(out)}
		if !o.topAsked {
			most = max(text.Height-9, 30)
		}
		err = report.Hosts(textOut(out), list, most, text)
	}
	if err != nil {
		return err
	}
	if all.worst == exitOK && o.failOn != "" && slices.ContainsFunc(list, func(h *report.Host) bool {
		return h.Worst != "" && h.Worst.AtLeast(findings.Severity(o.failOn))
	}) {
		return exited(exitFound)
	}
	if all.worst != exitOK {
		return exited(all.worst)
	}
	return nil
}

// hostAnalysis collects what captures show, by host.
type hostAnalysis struct {
	o     *analyzeOptions
	files int

	mu     sync.Mutex
	hosts  map[string]*report.Host
	errOut io.Writer
	worst  int // exit code
	done   int
	hints  map[string]bool // that were given
}

func (a *hostAnalysis) soFar() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return fmt.Sprintf("reading captures: %d of %d", a.done, a.files)
}

// host gives the host of a capture; mu is held.
func (a *hostAnalysis) host(key, name string) *report.Host {
	h := a.hosts[key]
	if h == nil {
		h = &report.Host{Host: name}
		a.hosts[key] = h
	}
	return h
}

// unreadable keeps that nothing can be read of a file.
func (a *hostAnalysis) unreadable(name string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.done++
	a.host("file "+name, "").Unreadable(name)
	a.failed(err)
}

// failed says what is wrong with a capture, and what to do: the same hint once, for there may be a hundred captures.
func (a *hostAnalysis) failed(err error) {
	var said strings.Builder
	a.worst = max(a.worst, exitCode(err, &said))
	text, hint, _ := strings.Cut(said.String(), "\n")
	fmt.Fprintln(a.errOut, text)
	if hint != "" && !a.hints[hint] {
		fmt.Fprint(a.errOut, hint)
		a.hints[hint] = true
	}
}

// capture analyzes one capture, and closes it.
func (a *hostAnalysis) capture(ctx context.Context, in *input) {
	defer in.Close()
	in.opts, in.inside = format.ReaderOptions{Salvage: a.o.salvage, Parts: true, Omit: []string{"cgroup"}}, true
	if err := in.begin(in.source, a.o.salvage); err != nil {
		a.unreadable(in.name, err)
		return
	}
	x := evidence.Examine(in.Start(), analysis.Options{})
	readErr := feed(ctx, in, x)
	if ctx.Err() != nil {
		return
	}
	if !evidence.Ended(readErr) && !errors.As(readErr, new(*format.CorruptError)) {
		a.unreadable(in.name, in.Verdict(readErr, x.End(), nil))
		return
	}
	result, err := x.Finish(readErr, in.Skipped())
	if err != nil {
		a.unreadable(in.name, err)
		return
	}
	verdict := in.Verdict(readErr, x.End(), result)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.done++
	a.host(hostKey(in.Header()), in.Header().Host).Add(in.name, result)
	if verdict != nil {
		a.failed(verdict)
	}
}

// sorted gives the hosts, worst first.
func (a *hostAnalysis) sorted() []*report.Host {
	list := make([]*report.Host, 0, len(a.hosts))
	for _, h := range a.hosts {
		slices.Sort(h.Files)
		list = append(list, h)
	}
	report.SortHosts(list)
	return list
}
