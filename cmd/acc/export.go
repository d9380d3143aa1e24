package main

// This file is acc export.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/acc-project/acc/analysis/conntrack"
	"github.com/acc-project/acc/analysis/export"
	"github.com/acc-project/acc/analysis/filter"
	"github.com/acc-project/acc/analysis/pairing"
)

type exportOptions struct {
	format      string
	output      string
	tables      []string
	fields      []string
	filter      string
	from, until string
	force       bool
	salvage     bool

	is               *export.Format
	pairFilter       *filter.Filter[pairing.Pair] // of filter, nil without one
	connectionFilter *filter.Filter[conntrack.Connection]
}

func newExportCommand() *cobra.Command {
	o := exportOptions{}
	var list strings.Builder
	words := []string{}
	for _, f := range export.Formats {
		fmt.Fprintf(&list, "\n  %-15s %s", f.Name, f.Doc)
		words = append(words, f.Name+"\t"+f.Doc)
	}
	cmd := &cobra.Command{
		Use:   "export --format FORMAT FILE|FOLDER...",
		Short: "Write connections and attempts for other programs: CSV, JSON and others",
		Long: `Export writes what captures hold in the format of another program:
` + list.String() + `

Formats with rows write one table: connections, attempts (to accept), captures (one row a
capture: counts, what was lost, how good its clock was) or findings. Each row says which
capture and host it is of; (capture_id, seq) is its key. "acc fields --export connections"
lists the columns, --fields chooses some of them. Columns that end in _ns are nanoseconds,
moments among them of the clock since boot (ts_ns: since 1970); ts and the columns that end in
_at are RFC 3339 in UTC.

In CSV, text that a spreadsheet would execute begins with a ': =1+1 becomes '=1+1. In CSV and
TSV, what is not printable is written as an escape, like \n, and a backslash as two. What is
not known is an empty cell in CSV, \N in TSV, null in JSON.

Parquet is a folder: TABLE/date=DAY/host=HOST/CAPTURE-ID.parquet, the day on which the recording
began. It has all tables, and of connections and attempts the columns that can't be worked out
of others (--fields with --table has any). Host and date are in the names alone. Times are of
microseconds; ts_ns has the nanoseconds. What was exported before is not overwritten without
--replace. docs/FLEET.md has queries for DuckDB and ClickHouse.

Acc exports a damaged capture as far as it goes, names it, and exits with its code (acc help
exit-codes); so does a folder in which one capture is damaged. An output file gets its name
when it is complete. Files of one recording (acc record --rotate-size) are one capture.`,
		Example: `  acc export --format csv incident.acc -o incident.csv
  acc export --format jsonl -f 'queue_wait > 10ms' incident.acc
  acc export --format tsv --fields host,ts,raddr,rport,queue_wait_ns incident.acc
  acc export --format csv --table captures *.acc
  acc export --format parquet incident.acc -o lake`,
		ValidArgsFunction: captureFiles,
		Args:              someCaptures,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			return runExport(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), expandFolders(args), o)
		},
	}
	takesRead(cmd)
	f := cmd.Flags()
	f.StringVar(&o.format, "format", "", "write this `FORMAT`: "+strings.Join(export.FormatNames(), ", "))
	f.StringVarP(&o.output, "output", "o", "-", "the new `FILE`, or folder of parquet; -: standard output")
	f.StringSliceVar(&o.tables, "table", nil, "`NAME` of the table; parquet takes several: "+
		strings.Join(export.TableNames, ", "))
	f.StringSliceVar(&o.fields, "fields", nil, "only these `COLUMNS`, in this order, like ts,raddr,queue_wait_ns")
	f.StringVar(&o.from, "from", "", "only what was there at this `TIME` or later: 15:04:05 (the recorded host's "+
		"clock), 2026-11-24T15:04:05Z, or 90s (after the start)")
	f.StringVar(&o.until, "until", "", "only what was there at this `TIME` or earlier; same forms as --from")
	f.BoolVar(&o.force, "force", false, "overwrite the output file if it exists")
	f.BoolVar(&o.force, "replace", false, "the same; in a folder, overwrite the files of these captures")
	f.BoolVar(&o.salvage, "salvage", false, "skip corrupt parts, report them, and go on")
	filterFlag(cmd, &o.filter, ofPairs, ofConnections)
	values(cmd, "format", words...)
	values(cmd, "table", export.TableNames...)
	values(cmd, "from")
	values(cmd, "until")
	complete(cmd, "fields", func(_ *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		before, _ := lastOfList(word)
		var names []string
		for _, c := range export.Tables()[o.table()].Columns {
			names = append(names, before+c.Name)
		}
		return beginning(names, word), nothing | cobra.ShellCompDirectiveNoSpace
	})
	anyFile(cmd, "output")
	group(cmd, "What to write", "format", "output", "force", "replace", "table", "fields")
	group(cmd, "What to read", "read", "identity-file", "salvage", "filter", "from", "until")
	return cmd
}

// table is the number of the one table that is asked for; connections where none is.
func (o *exportOptions) table() int {
	if len(o.tables) == 1 {
		return max(slices.Index(export.TableNames, o.tables[0]), 0)
	}
	return 0
}

// check refuses options that do not go together, and compiles the condition.
func (o *exportOptions) check() error {
	if o.format == "" {
		return &usageError{errors.New("--format is missing"), "like --format csv; there are " +
			strings.Join(export.FormatNames(), ", ")}
	}
	if o.is = export.Find(o.format); o.is == nil {
		hint, best := "there are "+strings.Join(export.FormatNames(), ", "), 3
		for _, name := range export.FormatNames() {
			if d := distance(name, o.format); d < best {
				hint, best = "did you mean "+name+"?", d
			}
		}
		return &usageError{fmt.Errorf("acc has no format %q", o.format), hint}
	}
	for _, name := range o.tables {
		if !slices.Contains(export.TableNames, name) {
			return &usageError{fmt.Errorf("there is no table %q", name),
				"there are " + strings.Join(export.TableNames, ", ")}
		}
	}
	switch {
	case !o.is.Tables && len(o.tables)+len(o.fields) > 0:
		return &usageError{fmt.Errorf("--table and --fields are for formats with rows; %s has its own", o.format),
			"without --table and --fields"}
	case o.is.Folder && o.output == "-":
		return &usageError{fmt.Errorf("--format %s writes a folder of files", o.format), "name it with -o"}
	case !o.is.Folder && len(o.tables) > 1:
		return &usageError{fmt.Errorf("--format %s writes one table, not %d", o.format, len(o.tables)),
			"run it for each table"}
	}
	if err := o.checkFields(); err != nil {
		return err
	}
	return o.compile()
}

// checkFields refuses columns that the table has not.
func (o *exportOptions) checkFields() error {
	if len(o.fields) == 0 {
		return nil
	}
	if o.is.Folder && len(o.tables) != 1 {
		return &usageError{errors.New("--fields are columns of one table"), "add --table, like --table connections"}
	}
	table := export.TableNames[o.table()]
	err := export.Check(table, o.fields)
	var wrong *export.FieldError
	if errors.As(err, &wrong) {
		hint, best := "acc fields --export "+table+" lists them", ""
		for _, c := range export.Tables()[o.table()].Columns {
			if d := distance(c.Name, wrong.Name); d <= 2 && (best == "" || d < distance(best, wrong.Name)) {
				best = c.Name
			}
		}
		if best != "" {
			hint = "did you mean " + best + "? " + hint
		}
		return &usageError{fmt.Errorf("--fields: %w", err), hint}
	}
	return err
}

// compile compiles the expression for what is exported.
func (o *exportOptions) compile() (err error) {
	table := export.TableNames[o.table()]
	rows := len(o.tables) == 0 || slices.Contains(o.tables, export.Connections) ||
		slices.Contains(o.tables, export.Attempts)
	switch {
	case !rows && (o.filter != "" || o.from != "" || o.until != ""):
		return &usageError{fmt.Errorf("-f, --from and --until choose connections and attempts; %s are of whole captures",
			table), "without them"}
	case o.filter == "":
	case o.is.Folder && len(o.tables) != 1, o.format == "perfetto":
		both := analyzeOptions{filter: o.filter}
		o.pairFilter, o.connectionFilter, err = both.compileBoth()
	case table == export.Attempts:
		o.pairFilter, err = compilePairs(o.filter)
	default:
		o.connectionFilter, err = compileConnections(o.filter)
	}
	return err
}

func runExport(ctx context.Context, out, errOut io.Writer, names []string, o exportOptions) error {
	if i := slices.Index(names, "-"); i >= 0 && slices.Contains(names[i+1:], "-") {
		return &usageError{errors.New("standard input can be read once"), "name - one time"}
	}
	ins, errs := openFiles(names)
	for _, in := range ins {
		if in != nil {
			if err := notItself(in, o.output); err != nil {
				return err
			}
		}
	}
	if o.output == "-" && o.is.Binary && onTerminal(out) {
		return &usageError{fmt.Errorf("%s is not for a terminal", o.format), "use -o FILE"}
	}
	sink, to, err := o.open(out)
	if err != nil {
		return err
	}
	defer to.discard()
	x := exporter{o: &o, name: to.name, sink: sink, out: out, errOut: errOut}
	if err := x.all(ctx, names, ins, errs); err != nil {
		_ = sink.Close() // what was written is no use, or flushed where it goes on
		return err
	}
	err = sink.Close()
	if err == nil && !x.nothing() {
		err = to.commit()
	}
	if err != nil {
		return writeFailed(to.name, err)
	}
	x.conclude()
	if x.worst != exitOK {
		return exited(x.worst)
	}
	return nil
}

// open makes the output and what writes to it, and confines this process.
func (o *exportOptions) open(out io.Writer) (export.Sink, *target, error) {
	options := export.Options{Tables: o.tables, Fields: o.fields}
	if o.is.Folder {
		to, err := newFolder(o.output, o.force)
		if err != nil {
			return nil, nil, err
		}
		sink, err := o.is.NewLake(to, options)
		confineExport(o.output)
		return sink, &target{name: o.output}, err
	}
	to, err := newTarget(out, o.output, o.force)
	if err != nil {
		return nil, nil, err
	}
	sink, err := o.is.New(to, options)
	if err != nil {
		to.discard()
		return nil, nil, err
	}
	confineExport("")
	return sink, to, nil
}

// writeFailed is the error of writing an output.
func writeFailed(name string, err error) error {
	var path *os.PathError
	if errors.As(err, new(*export.TooManyError)) {
		return &hinted{err, "choose fewer with -f, --from and --until"}
	}
	if errors.As(err, &path) { // whose name is a temporary one
		err = path.Err
	}
	return fmt.Errorf("write %s: %w", name, err)
}
