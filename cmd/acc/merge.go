package main

// This file is acc merge.

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/evidence"
	"github.com/acc-project/acc/format"
)

type mergeOptions struct {
	output string
	force  bool
	zoneOptions
}

func newMergeCommand() *cobra.Command {
	o := mergeOptions{}
	cmd := &cobra.Command{
		Use:   "merge FILE|FOLDER... -o ALL",
		Short: "Put captures of several hosts into one file, each as it is",
		Long: `Merge puts several captures into one file, so that one file can be sent and kept. Each
capture stays as it is, byte for byte: with its own SHA-256, chain head, clock, losses and
account. Before each stands a frame with its number, length and SHA-256. Its signature stays
valid: acc verify --signature web-2.acc.sig ALL#2.

ALL#2 is the second capture in the file ALL: every command reads it under that name. ALL stands
for all of them:

  info, verify     each capture; info says how well the hosts' clocks agree
  analyze          one line for each host (--brief: the screen of each); --connections, --pairs
                   and --connection say which host a line is of
  replay           the events of all hosts, by time, each with its host
  export           the rows of all, each with its host
  merge ALL#2      writes one capture again, byte for byte

The other commands read one capture: acc report ALL#1. All of this is the same for several
files, and for a folder with captures of several hosts.

The order of two events of two hosts is known only if they lie further apart than both clocks
can be wrong. Where they don't, replay prints "order unknown" with the time by which it can
be wrong. Merge leaves out what it was given twice. It refuses two files of one capture, and
parts of one capture that overlap: their events would count twice.`,
		Example: `  acc merge web-1.acc web-2.acc db-1.acc -o all.acc
  acc analyze all.acc
  acc replay --speed max all.acc
  acc merge all.acc#2 -o web-2.acc`,
		ValidArgsFunction: captureFiles,
		Args: func(cmd *cobra.Command, args []string) error {
			if slices.Contains(args, "-") {
				return usage(cmd, errors.New("name files: standard input can't be read twice"))
			}
			return someCaptures(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.output == "" {
				return &usageError{errors.New("-o is missing"), "like acc merge a.acc b.acc -o all.acc"}
			}
			return runMerge(cmd.Context(), cmd.ErrOrStderr(), expandFolders(args), o)
		},
	}
	takesRead(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", "", "the merged `FILE`, - for standard output")
	f.BoolVar(&o.force, "force", false, "overwrite the merged file if it exists")
	o.zoneOptions.flags(cmd)
	complete(cmd, "output", captureFiles)
	group(cmd, "What to write", "output", "force")
	return cmd
}

// merging is a capture that is merged.
type merging struct {
	in     *input
	size   int64
	sum    [32]byte
	header *format.Header
	end    *format.End
	fault  error // what is wrong with it; nil: nothing
}

func runMerge(ctx context.Context, errOut io.Writer, names []string, o mergeOptions) error {
	ins, errs := openFiles(names)
	defer closeAll(ins)
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, in := range ins {
		if err := notItself(in, o.output); err != nil {
			return err
		}
	}
	out, err := newBinaryTarget("capture", o.output, o.force)
	if err != nil {
		return err
	}
	defer out.discard()
	writing.Store(true)
	confineExport("")
	orderSets(ins)
	list, err := readMerging(ctx, errOut, ins)
	if err == nil {
		err = writeMerged(ctx, out, list)
	}
	if err != nil {
		return err
	}
	if err := out.commit(); err != nil {
		return err
	}
	o.say(errOut, out, list)
	return nil
}

// readMerging reads all captures, and gives those that are to be merged.
func readMerging(ctx context.Context, errOut io.Writer, ins []*input) (list []*merging, err error) {
	for _, in := range ins {
		m, err := readOneMerging(ctx, errOut, in)
		if err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(list, func(x *merging) bool { return x.sum == m.sum }); i >= 0 {
			fmt.Fprintf(errOut, "acc: %s is left out: it is the same as %s\n", fileName(in.name), fileName(list[i].in.name))
			continue
		}
		for _, x := range list {
			if why := x.shares(m); why != "" {
				return nil, &hinted{fmt.Errorf("%s and %s: %s: their events would count twice", fileName(x.in.name),
					fileName(in.name), why), "name one of them"}
			}
		}
		list = append(list, m)
	}
	if len(list) == 1 && len(ins) > 1 {
		return nil, &hinted{errors.New("there is nothing to merge: all of these are one capture"), "name another one, too"}
	}
	if len(list) > format.MaxSources {
		return nil, &hinted{fmt.Errorf("%d captures are more than a merged file can have: %d", len(list),
			format.MaxSources), "merge them into several files"}
	}
	return list, nil
}

// readOneMerging reads a capture to its end.
func readOneMerging(ctx context.Context, errOut io.Writer, in *input) (*merging, error) {
	p := in.showProgress(errOut, false, errOut)
	defer p.stop()
	if err := in.again(); err != nil {
		return nil, err
	}
	m := &merging{in: in, size: in.rawSize()}
	src, decrypt, err := in.raw()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", in.name, err)
	}
	sum := sha256.New()
	tee := io.TeeReader(src, sum)
	in.opts.Parts = true
	if err := in.begin(decrypt(tee), true); err != nil {
		return nil, err
	}
	m.header = in.Start()
	x := evidence.Examine(m.header, analysis.Options{VerdictOnly: true})
	readErr := feed(ctx, in, x)
	if errors.As(readErr, new(exited)) {
		return nil, readErr
	}
	if !evidence.Ended(readErr) && !errors.As(readErr, new(*format.CorruptError)) {
		return nil, in.Verdict(readErr, x.End(), nil)
	}
	result, err := x.Finish(readErr, in.Skipped())
	if err != nil {
		return nil, err
	}
	m.end, m.fault = x.End(), in.Verdict(readErr, x.End(), result)
	_, err = io.Copy(io.Discard, tee)
	m.sum = [32]byte(sum.Sum(nil))
	return m, err
}

// rawSize is how many bytes raw gives.
func (in *input) rawSize() int64 {
	if f, size := in.sealed(); f != nil {
		return size
	}
	return in.bytes
}

// shares says why two captures have the same events; "": they need not.
func (m *merging) shares(x *merging) string {
	for _, p := range [][2]*merging{{m, x}, {x, m}} {
		sum := hex.EncodeToString(p[0].sum[:])
		if r := p[1].header.Redacted; r != nil && r.SHA256 == sum {
			return "one is the other, redacted"
		}
		if r := p[1].header.Repaired; r != nil && r.SHA256 == sum {
			return "one is the other, repaired"
		}
	}
	return sameEvents(m.header, x.header)
}

// sameEvents says by their headers why two captures have the same events; "": they need not.
func sameEvents(a, b *format.Header) string {
	if a.ID != "" && a.ID == b.ID {
		return "they are files of the same capture (" + format.Quote(a.ID) + ")"
	}
	if a.Redacted != nil && b.Redacted != nil && a.Redacted.SHA256 == b.Redacted.SHA256 {
		return "both are redacted from the same capture"
	}
	if cutOutOf(a, b.ID) || cutOutOf(b, a.ID) {
		return "one is cut out of the other"
	}
	x, y := a.Cut(), b.Cut()
	if x == nil || y == nil || x.UntilNS < y.FromNS || y.UntilNS < x.FromNS {
		return ""
	}
	for _, f := range a.Cuts[0].Files {
		if cutOutOf(b, f.ID) {
			return "they are cut out of the same capture, and overlap in time"
		}
	}
	return ""
}

// cutOutOf reports whether a capture is a cut of the one of an id.
func cutOutOf(h *format.Header, id string) bool {
	return id != "" && slices.ContainsFunc(h.Cuts, func(c format.Cut) bool {
		return slices.ContainsFunc(c.Files, func(f format.CutFile) bool { return f.ID == id })
	})
}

// writeMerged writes captures one behind another; one alone as it is.
func writeMerged(ctx context.Context, w io.Writer, list []*merging) error {
	for i, m := range list {
		if len(list) > 1 {
			s := format.Source{Number: i + 1, Count: len(list), Length: m.size, SHA256: m.sum}
			if _, err := w.Write(s.Append(nil)); err != nil {
				return fmt.Errorf("write the merged file: %w", err)
			}
		}
		if _, err := m.in.source.Seek(0, io.SeekStart); err != nil {
			return err
		}
		src, _, err := m.in.raw()
		if err != nil {
			return err
		}
		sum := sha256.New()
		n, err := io.Copy(io.MultiWriter(w, sum), stoppable{ctx, io.LimitReader(src, m.size)})
		switch {
		case ctx.Err() != nil:
			return exited(130)
		case err != nil:
			return fmt.Errorf("copy %s: %w", m.in.name, err)
		case n != m.size || [32]byte(sum.Sum(nil)) != m.sum:
			return &hinted{fmt.Errorf("%s changed while it was read", m.in.name), "merge it when its recording has ended"}
		}
	}
	return nil
}

// say says what was written.
func (o *mergeOptions) say(errOut io.Writer, out *target, list []*merging) {
	hosts := &hostClocks{}
	for i, m := range list {
		if m.fault != nil {
			fmt.Fprintf(errOut, "acc: %s is merged as it is: %s\n", fileName(m.in.name), format.Quote(m.fault.Error()))
		}
		hosts.add(sourceName(out.name, i+1), m.header, m.end)
	}
	if len(list) == 1 {
		fmt.Fprintf(errOut, "acc: %s is %s, byte for byte\n", fileName(out.name), fileName(list[0].in.name))
		return
	}
	for _, line := range hosts.lines(o.zone) {
		fmt.Fprintf(errOut, "acc: %s\n", line)
	}
	if !out.stdout {
		fmt.Fprintf(errOut, "acc: next: acc analyze %s\n", fileName(out.name))
	}
}
