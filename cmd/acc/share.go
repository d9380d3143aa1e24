package main

// This file is acc share.

import (
	"archive/zip"
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/acc-project/acc/analysis/htmlreport"
	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/evidence"
	"github.com/acc-project/acc/format"
	"github.com/acc-project/acc/replay/redact"
)

// The names in what is shared. The capture's own could say whose it is.
const (
	shareOutput   = "acc-share.zip"
	shareCapture  = "redacted.acc"
	sharePage     = "report.html"
	shareMarkdown = "summary.md"
)

func newShareCommand() *cobra.Command {
	o := redactOptions{}
	cmd := &cobra.Command{
		Use:   "share FILE",
		Short: "Redact a capture and write a zip file of its report, to attach to a ticket",
		Long: `Share makes one zip file that you can give away. It asks nothing. It lists what the capture
reveals, redacts it as acc redact does, checks the result against the original as
acc redact --check does, and writes a report of the redacted capture: report.html, which has
the redacted capture in it, and summary.md, for a comment. At the end it prints what is in
the zip file and what remains visible.

If anything of the original names and addresses is left, there is no zip file. The name of
the capture file is not in it either. --keep, --addresses and --key are those of acc redact:
with --key you can turn the pseudonyms of an answer back (acc unredact).`,
		Example: `  acc share incident.acc
  acc share incident.acc -o ticket-4711.zip
  acc share incident.acc --key redact.key --keep lport`,
		ValidArgsFunction: captureFiles,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) != 1:
				return usage(cmd, errors.New("name one capture file"))
			case args[0] == "-":
				return usage(cmd, errors.New("name a file: standard input can't be read twice"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.output = cmp.Or(o.output, shareOutput)
			if err := o.complain(); err != nil {
				return err
			}
			return runShare(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args[0], o)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", "", "the zip `FILE` (default "+shareOutput+")")
	f.BoolVar(&o.force, "force", false, "overwrite the zip file if it exists")
	o.policyFlags(cmd)
	takesIdentity(cmd)
	anyFile(cmd, "output")
	group(cmd, "What to write", "output", "force", "keep", "addresses", "key")
	group(cmd, "What to read", "identity-file")
	return cmd
}

func runShare(ctx context.Context, out, errOut io.Writer, name string, o redactOptions) error {
	key, err := readKey(o.key, makeKey)
	if err != nil {
		return err
	}
	in, err := openWhole(name)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := notItself(in, o.output); err != nil {
		return err
	}
	to, err := newBinaryTarget("zip file", o.output, o.force)
	if err != nil {
		return err
	}
	defer to.discard()
	safe, err := tempCapture(filepath.Dir(o.output))
	if err != nil {
		return err
	}
	defer safe.remove()
	writing.Store(true)
	confineExport("")
	s := &sharing{in: in, safe: safe, key: key, o: &o}
	if err := s.write(ctx, errOut, to); err != nil {
		return err
	}
	size := int64(0)
	if st, err := to.file.Stat(); err == nil {
		size = st.Size()
	}
	if err := to.commit(); err != nil {
		return err
	}
	return s.say(out, to.name, size)
}

// temporary is a file that is removed again.
type temporary struct {
	*os.File
	name string
}

// tempCapture makes a file for the redacted capture, in a folder ("": of the system).
func tempCapture(dir string) (*temporary, error) {
	f, err := os.CreateTemp(dir, ".acc-*")
	if err != nil {
		return nil, err
	}
	t := &temporary{f, f.Name()}
	if os.Remove(t.name) == nil { // it lives as long as it is open
		t.name = ""
	}
	return t, nil
}

func (t *temporary) remove() {
	t.Close()
	if t.name != "" {
		_ = os.Remove(t.name)
	}
}

// sharing is a capture on its way into a zip file.
type sharing struct {
	in   *input
	safe *temporary
	key  []byte
	o    *redactOptions

	revealed *redact.Revealed
	checked  *redact.Checked
	note     *format.Redacted
	report   *reported
}

// write redacts, checks, and writes the zip file.
func (s *sharing) write(ctx context.Context, errOut io.Writer, to *target) (err error) {
	if s.revealed, err = s.in.reveal(ctx); err != nil {
		return err
	}
	s.note, err = redact.Write(s.safe, s.in.all(ctx), s.revealed, redact.Options{Tool: "acc " + toolVersion(), Key: s.key,
		KeyGiven: s.o.key != "", Addresses: s.o.addresses, Keep: s.o.keep})
	if err != nil {
		return s.in.unredactable(err)
	}
	size, err := s.safe.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	s.checked, err = redact.Check(s.in.all(ctx), s.revealed, io.NewSectionReader(s.safe, 0, size))
	if err == nil && !s.checked.Ok {
		err = fmt.Errorf("the redacted capture is not free of the original, nothing is written: %s", s.checked.Problems[0])
	}
	if err != nil {
		return s.in.unredactable(err)
	}
	if _, err := s.safe.Seek(0, io.SeekStart); err != nil {
		return err
	}
	safe := &input{file: s.safe.File, source: &meteredFile{captureFile: s.safe.File}, name: shareCapture, size: size,
		bytes: size}
	options := &reportOptions{top: 100, connections: htmlreport.DefaultConnections, fit: true,
		zoneOptions: zoneOptions{utc: true}}
	s.report, err = safe.report(ctx, errOut, evidence.SignatureFile{}, options)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(to, 256<<10)
	z := zip.NewWriter(w)
	for _, file := range []struct {
		name  string
		write func(io.Writer) error
	}{{sharePage, func(w io.Writer) error { return s.report.page(ctx, w, sharePage, options) }},
		{shareMarkdown, s.report.markdown}} {
		part, err := z.Create(file.name)
		if err == nil {
			err = file.write(part)
		}
		if err != nil {
			return err
		}
	}
	return errors.Join(z.Close(), w.Flush())
}

// say prints what leaves.
func (s *sharing) say(out io.Writer, name string, size int64) error {
	var t sheet
	t.row("zip file", "%s, %s: %s (with the redacted capture in it) and %s", fileName(name), report.Bytes(size),
		sharePage, shareMarkdown)
	t.row("made of", "%s, %s", fileName(s.in.name), report.Bytes(s.in.bytes))
	t.row("sha256", "%s, of the redacted capture: acc verify %s", s.report.sha256, sharePage)
	t.row("redacted", "%s", sayRedacted(s.note))
	t.row("checked", "%s", sayChecked(s.checked))
	head := "gone"
	for i, c := range s.revealed.Classes {
		if c.Places == 0 {
			continue
		}
		does := redact.Classes[i].Does
		for _, k := range s.o.keep {
			if k == c.Class {
				does = "KEPT (--keep)"
			}
		}
		if c.Class == "address" {
			does = "replaced"
		}
		t.row(head, "%s, %s: %s", c.Class, humanize.Plural(c.Values, "value"), does)
		head = ""
	}
	if len(s.o.keep) > 0 {
		t.row("KEPT", "as asked: %v", s.o.keep)
	}
	head = "leaves"
	for _, line := range s.revealed.Remains {
		t.row(head, "%s", line)
		head = ""
	}
	if s.o.key == "" {
		t.row("key", "not kept: nobody can turn the pseudonyms back; --key FILE keeps one")
	}
	if err := t.write(textOut(out), widthOf(out)); err != nil {
		return err
	}
	return s.report.verdict
}
