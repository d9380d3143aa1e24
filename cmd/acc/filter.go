package main

// This file is -f: conditions on events, attempts and connections.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/filter"
	"github.com/acc-project/acc/analysis/findings"
	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/analysis/pairing"
	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/evidence"
	"github.com/acc-project/acc/format"
)

// filterUsage is what --help says of -f.
const filterUsage = "only what meets the condition `EXPR`, like 'lport == 443'; see acc help filter"

// filterFlag gives a command -f.
func filterFlag(cmd *cobra.Command, into *string, kinds ...string) {
	cmd.Flags().StringVarP(into, "filter", "f", "", filterUsage)
	complete(cmd, "filter", func(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		return completeFilter(kindsOf(cmd, kinds), word), nothing | cobra.ShellCompDirectiveNoSpace |
			cobra.ShellCompDirectiveKeepOrder
	})
}

// kindsOf are the kinds of things that a command line asks -f for.
func kindsOf(cmd *cobra.Command, kinds []string) []string {
	for _, kind := range kinds {
		if f := cmd.Flags().Lookup(kind); f != nil && f.Changed {
			return []string{kind}
		}
	}
	return kinds
}

// completeFilter completes the last word of an expression by the names of fields.
func completeFilter(kinds []string, typed string) (list []string) {
	at := strings.LastIndexFunc(typed, func(r rune) bool {
		return r != '_' && (r < 'a' || r > 'z') && (r < '0' || r > '9')
	}) + 1
	if strings.Count(typed[:at], `"`)%2 == 1 { // in a text
		return nil
	}
	seen := map[string]bool{}
	for _, kind := range kinds {
		for _, f := range filterRows(kind) {
			if strings.HasPrefix(f.Name, typed[at:]) && !seen[f.Name] {
				seen[f.Name] = true
				list = append(list, cobra.CompletionWithDesc(typed[:at]+f.Name, f.Type))
			}
		}
	}
	return list
}

// The kinds of things that -f is for.
const (
	ofEvents      = "events"
	ofPairs       = "pairs"
	ofConnections = "connections"
)

// elsewhere says which kind of things has a field that another one has not.
func elsewhere(not string) map[string]string {
	of := map[string]string{}
	for _, kind := range []string{ofEvents, ofPairs, ofConnections} {
		for _, f := range filterRows(kind) {
			if kind != not && of[f.Name] == "" {
				of[f.Name] = kind
			}
		}
	}
	return of
}

// filterRows are the fields that expressions can ask for, as acc fields --filter lists them.
func filterRows(kind string) []field {
	switch kind {
	case ofPairs:
		return rowsOf(report.PairFields())
	case ofConnections:
		return rowsOf(report.ConnectionFields())
	}
	return rowsOf(filter.EventFields(findings.IDs()))
}

func rowsOf[T any](fields []filter.Field[T]) (list []field) {
	for _, f := range fields {
		list = append(list, field{f.Name, f.Kind.String(), "", append([]string{}, f.Words...), []string{}, f.Doc, ""})
	}
	return list
}

func compileEvents(expr string) (*filter.Filter[format.Event], error) {
	return filter.Compile(expr, filter.Options[format.Event]{Fields: filter.EventFields(findings.IDs()), Of: ofEvents,
		Time: "ts", Elsewhere: elsewhere(ofEvents)})
}

func compilePairs(expr string) (*filter.Filter[pairing.Pair], error) {
	return filter.Compile(expr, filter.Options[pairing.Pair]{Fields: report.PairFields(), Of: ofPairs,
		Elsewhere: elsewhere(ofPairs)})
}

func compileConnections(expr string) (*filter.Filter[conntrack.Connection], error) {
	return filter.Compile(
		expr,
		filter.Options[conntrack.Connection]{Fields: report.ConnectionFields(), Of: ofConnections,
			Elsewhere: elsewhere(ofConnections)},
	)
}

// sayFilterError says what is wrong with an expression, and marks the place.
func sayFilterError(e *filter.Error, stderr io.Writer) int {
	fmt.Fprintf(stderr, "acc: -f: %s\n", format.Quote(e.Reason))
	if e.Source != "" {
		line, marks := e.Show()
		fmt.Fprintf(stderr, "  %s\n  %s\n", line, marks)
	}
	hint := e.Hint
	if hint == "" {
		hint = "acc help filter explains the language"
	}
	fmt.Fprintf(stderr, "hint: %s\n", format.Quote(hint))
	return exitUsage
}

// bound is a filter of whichever kind.
type bound interface {
	Bind(parse func(string) (time.Time, error)) error
	Uses(field string) bool
	Window() (from, until time.Time)
	String() string
}

// bind tells a filter what times are in the capture.
func (in *input) bind(f bound) error {
	end := format.Clock{}
	if in.bytes > 0 {
		if frames, err := format.ReadIndex(in.source, in.bytes); err == nil {
			end = in.endClock(frames)
		}
	}
	return f.Bind(func(text string) (time.Time, error) {
		if !in.Clock().Known() {
			return time.Time{}, fmt.Errorf("times need a clock, and that of %s is lost with its header", in.name)
		}
		return timeOf("the time", text, in.Start(), end, in.zone)
	})
}

// processes keeps the records of processes by number, for filters that ask for them.
type processes struct {
	of   map[uint32]*format.Process
	room format.Room
	more bool // there were more than it keeps
}

// maxProcessBytes bounds the records of processes that are kept.
const maxProcessBytes = 32 << 20

// tooManyProcesses says what follows from that.
const tooManyProcesses = "a limit on memory was hit: the pods, containers, units and executables of some processes " +
	"are not known"

func newProcesses() *processes {
	return &processes{of: map[uint32]*format.Process{}, room: format.Room{Max: maxProcessBytes}}
}

// add keeps those of a batch.
func (ps *processes) add(b *format.Batch) {
	for i := range b.Processes {
		p := b.Processes[i]
		if before := ps.of[p.Num]; before != nil {
			ps.room.Gives(before)
			delete(ps.of, p.Num)
		}
		if len(ps.of) < maxExplained && ps.room.Takes(&p) {
			ps.of[p.Num] = &p
		} else {
			ps.more = true
		}
	}
}

// asksForProcesses reports whether a filter needs the records of processes.
func asksForProcesses(f bound) bool { return slices.ContainsFunc(filter.ProcessNames(), f.Uses) }

// environment is what a filter needs beside a value.
func (ps *processes) environment(clocks *format.Clocks, byListener map[listenerKey][]string) *filter.Env {
	env := &filter.Env{Clocks: clocks, Process: func(num uint32) *format.Process { return ps.of[num] }}
	if byListener != nil {
		env.Findings = func(netns uint32, listener uint64) []string { return byListener[listenerKey{netns, listener}] }
	}
	return env
}

// listenerKey names a listening socket.
type listenerKey struct {
	netns uint32
	inode uint64
}

// findingsFirst reads the whole capture for its findings, and leaves the input where it was before
// anything was read.
func (in *input) findingsFirst(ctx context.Context, salvage bool) (map[listenerKey][]string, error) {
	if in.bytes == 0 {
		return nil, &hinted{fmt.Errorf("%s can be read once: findings are known when all is read", in.name),
			"name a file that is not compressed"}
	}
	if err := in.begin(in.source, salvage); err != nil {
		return nil, err
	}
	x := evidence.Examine(in.Start(), analysis.Options{Top: -1})
	readErr := feed(ctx, in, x)
	if !evidence.Ended(readErr) && !errors.As(readErr, new(*format.CorruptError)) {
		return nil, readErr
	}
	r, err := x.Finish(readErr, in.Skipped())
	if err != nil {
		return nil, err
	}
	of := map[listenerKey][]string{}
	for i := range r.Findings {
		for _, f := range r.Findings[i].Members() {
			key := listenerKey{f.NetNS, f.Listener}
			for _, id := range append([]string{f.ID}, partIDs(f.Parts)...) {
				if f.Listener != 0 && !slices.Contains(of[key], id) {
					of[key] = append(of[key], id)
				}
			}
		}
	}
	_, err = in.source.Seek(0, io.SeekStart)
	return of, err
}

func partIDs(parts []findings.Part) (ids []string) {
	for _, p := range parts {
		ids = append(ids, p.ID)
	}
	return ids
}

// selected counts what a filter chose of what there is.
type selected struct{ chosen, of uint64 }

// is counts one, and gives whether it was chosen.
func (s *selected) is(yes bool) bool {
	if s.of++; yes {
		s.chosen++
	}
	return yes
}

// say says how many were chosen.
func (s *selected) say(what string) string {
	return fmt.Sprintf("%s of %s", humanize.Count(s.chosen), humanize.Plural(s.of, what))
}

// tellSelected says on standard error, beside a list, what share of the capture it is.
func tellSelected(errOut io.Writer, name, expr, share string) {
	fmt.Fprintf(errOut, "acc: %s: only what the filter selects: %s (-f %s)\n", fileName(name), share,
		format.Quote(oneLine(expr)))
}

// filteredLine is the first line of a list for people that a filter chose.
func filteredLine(expr string) string {
	return "only what -f selects: " + format.Quote(oneLine(expr)) + "\n"
}

// oneLine is an expression without its line breaks.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// newFilterTopic is what acc help filter prints.
func newFilterTopic() *cobra.Command {
	return &cobra.Command{Use: "filter", Short: "The conditions of -f",
		Long: `The conditions of -f

  acc replay -f 'kind == "drop"' incident.acc
  acc analyze --connections -f 'lport == 443 and queue_wait > 10ms' incident.acc
  acc analyze --pairs -f 'errno == "EMFILE" or errno == "ENFILE"' incident.acc
  acc analyze --connections -f 'raddr in "10.0.0.0/8" and not accepted' incident.acc

A condition compares fields. Put it in '…' for the shell. Which fields there are depends on
what you list:

  acc analyze --connections, --timeline   acc fields --filter connections
  acc analyze --pairs (attempts)          acc fields --filter pairs
  acc replay (events)                     acc fields --filter events
  acc analyze (the screen)                fields of connections, of pairs or of both

  ==  !=  <  <=  >  >=      and  or  not  ( )
  in                        lport in [80, 443]      lport in 8000..8999
                            raddr in "10.0.0.0/8"   "denied" in mark (events)
  contains startsWith       comm startsWith "ngin"  exe matches "^/usr/s?bin/"
  endsWith matches
  +  -  *  /  %             backlog * 10 > backlog_max * 8 (events)

  number     443  0x1bb
  duration   250us  10ms  1.5s  1m30s
  size       512B  64KiB  1.5MB
  text       "nginx" or 'nginx'; words of a field, like EMFILE, need no quotes
  address    "10.0.0.1"  "2001:db8::1"
  time       "14:03:20" (the recorded host's clock), "2026-11-24T14:03:20Z", 90s (after the start)
  yes or no  accepted  not dead_on_arrival

Fields have the names of the keys of JSON. A key with a unit has a second name: queue_wait
is the duration of queue_wait_ns, closed_at the time of closed_ns. A value that is not known,
or not there, is nil: errno == nil selects attempts without an error. Any other comparison
with nil is false, and != is the opposite of ==: errno != "EMFILE" also selects attempts
without an error.

If Zeek, Suricata or Arkime gives you the community ID of a connection:

  acc analyze --connections -f 'community_id == "1:LQU9qZlK+B5F3KDmev6m5PMibrg="' incident.acc

acc analyze -f 'listen_port == 443' prints the figures and findings of one port. A failed
attempt has no connection, so it has no lport (the connection's port); it has a listen_port
(the listener's).

'"queue-full" in findings' selects what belongs to listeners with that finding; acc then reads
the capture twice. Pods, containers, units and executables are those of the process that
accepted. acc reports all errors of a condition before it reads the capture, and prints how
much the condition selected.`}
}

// compile compiles the expression for the view that is asked for.
func (o *analyzeOptions) compile(v view) (pairs *filter.Filter[pairing.Pair],
	connections *filter.Filter[conntrack.Connection], err error) {
	if o.filter == "" {
		return nil, nil, nil
	}
	switch v {
	case viewPairs:
		pairs, err = compilePairs(o.filter)
	case viewConnections, viewTimeline:
		connections, err = compileConnections(o.filter)
	case viewConnection:
		err = &usageError{errors.New("--connection names one connection: there is nothing to select"),
			"acc analyze --connections -f EXPR lists several"}
	case viewBrief:
		err = &usageError{errors.New("--brief is the answer of a whole capture: findings are about whole listeners"),
			"acc analyze -f EXPR has the figures of what is selected"}
	default:
		return o.compileBoth()
	}
	return pairs, connections, err
}

// compileBoth compiles an expression for attempts and for connections: those that have all of its fields.
func (o *analyzeOptions) compileBoth() (*filter.Filter[pairing.Pair], *filter.Filter[conntrack.Connection], error) {
	pairs, pairErr := compilePairs(o.filter)
	connections, err := compileConnections(o.filter)
	if pairErr != nil && err != nil {
		return nil, nil, err
	}
	return pairs, connections, nil
}

// bounds are the filters that are asked for.
func (o *analyzeOptions) bounds() (list []bound) {
	if o.pairFilter != nil {
		list = append(list, o.pairFilter)
	}
	if o.connectionFilter != nil {
		list = append(list, o.connectionFilter)
	}
	return list
}
