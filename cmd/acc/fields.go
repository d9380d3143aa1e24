package main

// This file is acc fields.

import (
	_ "embed" // the schema
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/acc-project/acc/analysis/export"
	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/format"
)

// field is a key of JSON lines as fields --json tells of it.
type field struct {
	Name string `json:"name"` // the key
	Type string `json:"type"` // of its JSON value: integer, boolean, string, array of strings; or null
	Unit string `json:"unit"` // "" for plain numbers and text
	// words that the string can be, or the strings of the array; empty: any. A number that acc has no word for is a
	// string of its digits
	Values []string `json:"values"`
	On     []string `json:"on"`     // which events have the key; empty: all lines have it
	Doc    string   `json:"doc"`    // what it means
	Source string   `json:"source"` // where the recorder has it from, "" if it is worked out
}

// eventFields are the keys of replay --json.
func eventFields() []field {
	list := []field{
		{"seq", "integer", "", []string{}, []string{}, "position in the capture, from 1", "recorder"},
		{"ts", "string or null", "", []string{}, []string{},
			"wall clock time in UTC, RFC 3339; null if the clock is lost with the header",
			"boot_ns and the clock pairs"},
	}
	for i := range format.Fields {
		f := &format.Fields[i]
		on := f.JSONOn()
		if len(f.On) == 0 {
			on = nil
		}
		list = append(list, field{f.Name, f.JSONType(), f.Unit, append([]string{}, f.JSONWords()...),
			append([]string{}, on...), f.JSONDoc(), f.Source})
	}
	return list
}

// lineFields are the keys of other lines.
func lineFields(keys []report.Key) (list []field) {
	for _, k := range keys {
		list = append(list, field{k.Name, k.Type, k.Unit, append([]string{}, k.Values...), []string{}, k.Doc, ""})
	}
	return list
}

// schema is the JSON Schema of all JSON that acc prints; TestSchema makes it.
//
//go:embed schema.json
var schema []byte

// lineKinds are the kinds of JSON lines.
var lineKinds = map[string]func() []field{
	"events":      eventFields,
	"pairs":       func() []field { return lineFields(report.PairKeys()) },
	"connections": func() []field { return lineFields(report.ConnectionKeys()) },
}

// exportRows are the columns of a table of acc export.
func exportRows(table string) (list []field) {
	for _, c := range export.Tables()[slices.Index(export.TableNames, table)].Columns {
		doc := c.Doc
		if c.Kind == export.Time {
			doc += "; in Parquet microseconds"
		}
		if c.Asked {
			doc += "; only by --fields"
		}
		list = append(list, field{c.Name, c.Kind.String(), c.Unit, append([]string{}, c.Words...), []string{}, doc, ""})
	}
	return list
}

func newFieldsCommand() *cobra.Command {
	asJSON, asSchema, asked, exported := false, false, false, false
	cmd := &cobra.Command{
		Use:   "fields [events|pairs|connections]",
		Short: "List the keys of JSON lines: types, units, meanings",
		Long: `Fields lists the keys of acc replay --json, each with the type of its JSON value, its unit
and its meaning; with pairs or connections, those of acc analyze --pairs --json or
--connections --json. With --json it also lists the words that a string can be, and which
events have the key. --filter lists what conditions of -f can ask for, with their types
("acc help filter"). --export lists the columns of acc export, of connections, attempts,
captures or findings. --schema prints the JSON Schema of all JSON that acc prints.
docs/JSON.md explains the keys of all JSON.`,
		ValidArgsFunction: func(_ *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, nothing
			}
			return beginning([]string{"events\tof acc replay --json", "pairs\tof acc analyze --pairs --json",
				"connections\tof acc analyze --connections --json"}, word), nothing
		},
		Example: `  acc fields
  acc fields connections
  acc fields --filter connections
  acc fields --export connections
  acc fields --json
  acc fields --schema`,
		Args: func(cmd *cobra.Command, args []string) error {
			if exported && (len(args) > 1 || len(args) == 1 && !slices.Contains(export.TableNames, args[0])) {
				return usage(cmd, fmt.Errorf("%q are neither %s", strings.Join(args, " "),
					strings.Join(export.TableNames, ", ")))
			}
			if !exported && (len(args) > 1 || len(args) == 1 && lineKinds[args[0]] == nil) {
				return usage(cmd, fmt.Errorf("%q are neither events, pairs nor connections", strings.Join(args, " ")))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			out := cmd.OutOrStdout()
			if asSchema {
				if len(args) > 0 || asJSON || asked {
					return usage(cmd, errors.New("--schema is of all JSON: it goes with nothing else"))
				}
				_, err := out.Write(schema)
				return err
			}
			if exported && asked {
				return usage(cmd, errors.New("--export and --filter are different lists"))
			}
			kind := ofEvents
			if exported {
				kind = export.Connections
			}
			if len(args) == 1 {
				kind = args[0]
			}
			var rows []field
			switch {
			case exported:
				rows = exportRows(kind)
			case asked:
				rows = filterRows(kind)
			default:
				rows = lineKinds[kind]()
			}
			if asJSON {
				return encodeJSON(out, rows)
			}
			var lines [][]string
			for _, r := range rows {
				lines = append(lines, []string{r.Name, r.Type, r.Unit, r.Doc})
			}
			_, err := io.WriteString(textOut(out), report.Paragraphs(widthOf(out), lines))
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&asked, "filter", false, "list what conditions of -f can ask for")
	cmd.Flags().BoolVar(&exported, "export", false, "list the columns of acc export")
	cmd.Flags().BoolVar(&asSchema, "schema", false, "print the JSON Schema of all JSON that acc prints")
	return cmd
}
