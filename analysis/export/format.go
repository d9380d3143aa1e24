package export

// This file has the list of formats.

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Format is a format that captures are written in.
type Format struct {
	Name   string
	Doc    string // who reads it, a few words
	Tables bool   // it has rows of a table: Options.Table and Options.Fields are for it
	Folder bool   // it is a folder of files; Lake makes it
	Binary bool   // it is not for a terminal

	open func(w io.Writer, o Options) (Sink, error)
}

// Options say what is written.
type Options struct {
	Tables []string // of a format that has tables: their names. Empty: Connections, or all in a folder
	Fields []string // columns of the one table, in this order; empty: those that the format has by itself
}

// Formats are all formats, in the order of help.
var Formats = []Format{
	{Name: "jsonl", Doc: "JSON, one object a line", Tables: true, open: textFormat((*lines).json, nil)},
	{Name: "csv", Doc: "CSV (RFC 4180) for spreadsheets", Tables: true, open: textFormat((*lines).csv, func(l *lines) {
		l.heads(",", "\r\n")
	})},
	{Name: "tsv", Doc: "tab-separated, as ClickHouse and PostgreSQL read it", Tables: true, open: textFormat((*lines).tsv,
		func(l *lines) { l.heads("\t", "\n") })},
	{Name: "parquet", Doc: "a folder of Parquet files, for DuckDB, ClickHouse, Spark", Tables: true, Folder: true,
		open: asLake},
	{Name: "zeek", Doc: "a conn.log of Zeek, with process and queue wait behind its columns", open: newZeek},
	{Name: "display-filter", Doc: "a display filter of Wireshark and tshark that selects these connections",
		open: newDisplayFilter},
	{Name: "perfetto", Doc: "a trace of accept calls and queues for ui.perfetto.dev", Binary: true, open: newPerfetto},
	{Name: "otlp", Doc: "log records of OpenTelemetry, OTLP as JSON lines", open: objectFormat(otlp, otlpFlush)},
	{Name: "ecs", Doc: "documents of the Elastic Common Schema " + ecsVersion + ", JSON lines",
		open: objectFormat(ecs, nil)},
	{Name: "ocsf", Doc: "events of OCSF " + ocsfVersion + ", Network Activity, JSON lines",
		open: objectFormat(ocsf, ocsfListeners)},
}

// FormatNames are the names of all formats.
func FormatNames() (names []string) {
	for _, f := range Formats {
		names = append(names, f.Name)
	}
	return names
}

// Find gives a format by its name, nil if there is none.
func Find(name string) *Format {
	i := slices.IndexFunc(Formats, func(f Format) bool { return f.Name == name })
	if i < 0 {
		return nil
	}
	return &Formats[i]
}

// TableNames are the names of all tables.
var TableNames = []string{Connections, Attempts, Captures, Findings}

// New gives the Sink of a format, which writes to w.
func (f *Format) New(w io.Writer, o Options) (Sink, error) { return f.open(w, o) }

// textFormat makes the Sink of a format of lines.
func textFormat(line func(*lines, []Value), head func(*lines)) func(io.Writer, Options) (Sink, error) {
	return func(w io.Writer, o Options) (Sink, error) {
		if len(o.Tables) == 0 {
			o.Tables = []string{Connections}
		}
		if len(o.Tables) > 1 {
			return nil, fmt.Errorf("a file has one table, not %s", strings.Join(o.Tables, " and "))
		}
		t, err := newTables(o.Tables, o.Fields, false)
		if err != nil {
			return nil, err
		}
		l := newLines(w, t.list[0], line)
		if head != nil {
			head(l)
		}
		t.rows = l
		return t, nil
	}
}
