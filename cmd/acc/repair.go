package main

// This file is acc repair.

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/format"
	"github.com/acc-project/acc/replay"
)

type repairOptions struct {
	output string
	force  bool
}

func newRepairCommand() *cobra.Command {
	o := repairOptions{}
	cmd := &cobra.Command{
		Use:   "repair BAD -o GOOD",
		Short: "Write all that can be read of a damaged capture into a new one",
		Long: `Repair reads a truncated or corrupt capture as --salvage does, and writes a new one: all
frames that can be read, byte for byte, so that events keep their numbers; a note of each
gap; a header with the SHA-256 of the damaged file; and an END that says how the recording
ended, with an account of what the new file holds. The damaged file stays as it is: it is
the evidence. acc info, acc analyze and acc verify report that the new file is repaired and
what it lacks, and exit with 3. Repair itself exits with 0 if it wrote the file.`,
		ValidArgsFunction: oneCaptureFile,
		Example: `  acc repair damaged.acc -o readable.acc
  acc info readable.acc`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage(cmd, errors.New("name the damaged capture"))
			}
			if args[0] == "-" {
				return usage(cmd, errors.New("name a file: repair reads it twice, and standard input can be read once"))
			}
			return oneCapture(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return runRepair(cmd.ErrOrStderr(), args[0], o)
		},
	}
	takesRead(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", "", "the new capture `FILE`, - for standard output")
	f.BoolVar(&o.force, "force", false, "overwrite the new capture if it exists")
	complete(cmd, "output", captureFiles)
	return cmd
}

func runRepair(errOut io.Writer, name string, o repairOptions) error {
	if o.output == "" {
		return &usageError{errors.New("-o is missing"), "like acc repair BAD -o GOOD"}
	}
	in, err := openFile(name)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := in.again(); err != nil {
		return err
	}
	if _, err := in.unwrap(nil); err != nil {
		return fmt.Errorf("%s: %w", in.name, err)
	}
	if err := notItself(in, o.output); err != nil {
		return err
	}
	out, err := newBinaryTarget("capture", o.output, o.force)
	if err != nil {
		return err
	}
	defer out.discard()
	writing.Store(true)
	confineExport("")
	p := in.showProgress(errOut, false, errOut)
	defer p.stop()
	note, end, err := replay.Repair(out, in.source, in.bytes, replay.RepairOptions{Tool: "acc " + toolVersion()})
	p.stop()
	if err != nil {
		switch {
		case errors.Is(err, replay.ErrWhole):
			err = &hinted{err, "acc verify says more"}
		case errors.Is(err, format.ErrNotCapture):
			err = &hinted{err, "acc repairs captures that acc record wrote"}
		case errors.Is(err, format.ErrTruncated):
			err = &hinted{err, nothingRead}
		}
		return fmt.Errorf("%s: %w", in.name, err)
	}
	if err := out.commit(); err != nil {
		return err
	}
	fmt.Fprintf(errOut, "acc: %s: %s\n", fileName(in.name), format.Quote(note.Why))
	fmt.Fprintf(errOut, "acc: %s has %s; left out: %s\n", fileName(out.name),
		humanize.Plural(end.Events, "event"), humanize.LeftOut(note.Lost, max(note.Places, 1), note.Events))
	if !out.stdout {
		fmt.Fprintf(errOut, "acc: next: acc analyze %s; keep %s, which is the evidence\n", fileName(out.name),
			fileName(in.name))
	}
	return nil
}
