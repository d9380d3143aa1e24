package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/acc-project/acc/format"
)

func newFieldsCommand() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "fields",
		Short: "List the fields of an event: JSON keys, types, meanings",
		Long:  `Fields lists what an event holds: the keys of acc replay --json and the columns of a capture.`,
		Example: `  acc fields
  acc fields --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			type row struct {
				Name, Type, Unit, Doc, Source string
			}
			rows := []row{{"seq", "uint", "", "position in the capture, from 1", "recorder"},
				{"ts", "str", "", "wall clock time in UTC, RFC 3339; null if the clock is lost with the header", "boot_ns and the clock pairs"}}
			for _, f := range format.Fields {
				rows = append(rows, row{f.Name, string(f.Type), f.Unit, f.Doc, f.Source})
			}
			out := cmd.OutOrStdout()
			if asJSON {
				enc := json.NewEncoder(out)
				enc.SetIndent("", "  ")
				return enc.Encode(rows)
			}
			w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
			for _, r := range rows {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.Name, r.Type, r.Unit, r.Doc)
			}
			return w.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
