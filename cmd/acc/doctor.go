package main

// This file has acc doctor: can this host be recorded, and what would a recording not show?

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/capture"
	"github.com/acc-project/acc/format"
)

func newDoctorCommand() *cobra.Command {
	var o struct {
		json          bool
		probe, events string
		output        string
	}
	cmd := &cobra.Command{
		Use:   "doctor [flags]",
		Short: "Check whether acc can record this host, and print what to do if not",
		Long: `Doctor looks at all that recording depends on: kernel, privileges, lockdown, tracing,
namespaces, memory, the clock, other recorders, and the folder of --output. Finally it
records a connection of its own over the loopback and reads the capture. It changes nothing
and leaves no file. Each line begins with a word:

  ok    as acc needs it
  less  acc can record, but shows less, costs more or is less exact: see "effect"
  NO    acc can't record here until this is mended: see "remedy"

It exits with 7 where acc can't record.`,
		Example: `  sudo acc doctor
  sudo acc doctor -o /var/lib/acc/web.acc
  sudo acc doctor --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c := capture.Options{Mode: capture.Mode(o.probe), Events: capture.Events(o.events)}
			if err := checkKinds(&c); err != nil {
				return err
			}
			folder := "."
			if o.output == "-" {
				folder = ""
			} else if o.output != "" {
				folder = folderOf(o.output)
			}
			d := capture.Diagnose(cmd.Context(), c, folder)
			var err error
			if o.json {
				err = encodeJSON(cmd.OutOrStdout(), &diagnosis{analysis.SchemaVersion, d.Records, d.Mode,
					d.Limits, d.Checks})
			} else {
				err = writeDiagnosis(cmd.OutOrStdout(), &d, widthOf(cmd.OutOrStdout()))
			}
			if err == nil && !d.Records {
				err = exited(exitEnv)
			}
			return err
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.json, "json", false, "print JSON")
	f.StringVar(&o.probe, "probe", "auto", "`KIND` of probes that would be used: auto, kprobe or fentry")
	f.StringVar(&o.events, "events", "all", "`WHAT` would be recorded: all, accept or lifecycle")
	f.StringVarP(&o.output, "output", "o", "", "also check whether there is room for the capture `FILE`, or in a folder; - for "+
		"standard output")
	complete(cmd, "output", captureFiles)
	values(cmd, "probe", "auto", "kprobe", "fentry")
	values(cmd, "events", "all", "accept", "lifecycle")
	return cmd
}

// diagnosis is what doctor --json prints.
type diagnosis struct {
	Schema  int                 `json:"schema"`  // as in analyze
	Records bool                `json:"records"` // a recording was made, and had in it what was done
	Mode    capture.Mode        `json:"mode"`    // kind of probes that record would use here, "" if none work
	Limits  []string            `json:"limits"`  // what a recording here can't show, a sentence each
	Checks  []capture.HostCheck `json:"checks"`  // in the order in which they matter
}

// standingWords are what the screen calls the standings.
var standingWords = map[capture.Standing]string{capture.StandingOK: "ok", capture.StandingLess: "less",
	capture.StandingBroken: "NO"}

// writeDiagnosis writes the answer, then a line for each check, with effect and remedy under it.
func writeDiagnosis(w io.Writer, d *capture.Diagnosis, width int) error {
	var b strings.Builder
	broken, less := 0, 0
	for _, c := range d.Checks {
		switch c.Standing {
		case capture.StandingBroken:
			broken++
		case capture.StandingLess:
			less++
		}
	}
	switch {
	case d.Records && less == 0:
		fmt.Fprintf(&b, "This host can be recorded (%s probes).\n", d.Mode)
	case d.Records:
		fmt.Fprintf(&b, "This host can be recorded (%s probes), with less than all: see the lines with \"less\".\n",
			d.Mode)
	case broken > 0:
		b.WriteString("This host can NOT be recorded as it is: see the lines with \"NO\".\n")
	default:
		b.WriteString("Whether this host can be recorded was not found out.\n")
	}
	b.WriteByte('\n')
	for _, c := range d.Checks {
		fold := func(text string, margin int) {
			b.Write(report.AppendFolded(nil, []byte(format.Quote(text)), width, margin))
			b.WriteByte('\n')
		}
		fold(fmt.Sprintf("%-4s  %-19s  %s", standingWords[c.Standing], c.Name, c.Found), 27)
		if c.Effect != "" {
			fold("      effect: "+c.Effect, 14)
		}
		if c.Remedy != "" {
			fold("      remedy: "+c.Remedy, 14)
		}
	}
	if len(d.Limits) > 0 {
		b.WriteString("\nA recording here does not show:\n")
		for _, l := range d.Limits {
			b.Write(report.AppendFolded(nil, []byte("  "+format.Quote(l)), width, 4))
			b.WriteByte('\n')
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// folderOf is where a capture is written: of several files -o can name the folder itself.
func folderOf(output string) string {
	if st, err := os.Stat(output); err == nil && st.IsDir() {
		return output
	}
	return filepath.Dir(output)
}
