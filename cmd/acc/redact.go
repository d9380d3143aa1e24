package main

// This file is acc redact.

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/format"
	"github.com/acc-project/acc/replay/redact"
)

type redactOptions struct {
	output    string
	force     bool
	keep      []string
	addresses string
	key       string
	dryRun    bool
	check     bool
	json      bool
	to        []string
}

func newRedactCommand() *cobra.Command {
	o := redactOptions{}
	cmd := &cobra.Command{
		Use:   "redact FILE -o SAFE",
		Short: "Write a capture that you can give away: no real names or addresses, the same figures",
		Long: `Redact writes a new capture without real names and addresses. A rule for each field says
what replaces it; a field without a rule is removed, so that nothing new slips through.
Names of hosts, processes, executables, containers, pods, units and sockets become
pseudonyms (proc-7f3a09c1d2). Ports and user ids become other ones. The command line, free
text and the time zone are removed. Times, durations, counts, errors and queue lengths stay:
acc analyze prints the same figures for both captures. --dry-run lists what remains visible.

--addresses says how addresses are replaced. Loopback addresses stay as they are.

  prefix  (the default) encrypted by ipcrypt-pfx: an IPv4 address becomes an IPv4 address, and
          clients of one subnet stay together in one subnet
  class   the same within 10.0.0.0/8, 192.168.0.0/16 and the like: private addresses stay
          private
  opaque  numbered: subnets are not visible; two captures have different numbers

With --key a name has the same pseudonym in every capture, and acc unredact can turn the
pseudonyms in a text back into names. Without --key, acc makes a key and does not keep it:
then nobody can turn them back. --keep lport,comm keeps these fields as they are; it also
takes classes of fields, which --dry-run lists.

Before it is done, redact compares the new capture with the original, as --check does: the same
events, and none of the original names and addresses in its decompressed bytes. If anything
is left, there is no output file. The new header has the original's SHA-256, and every
command prints that the capture is redacted. The original's signature is not valid for it.
--to encrypts the new capture; until it is compared, it lies in a file without a name in the
folder for temporary files.`,
		Example: `  acc redact --dry-run incident.acc
  acc redact incident.acc -o safe.acc
  acc redact incident.acc -o safe.acc --keep lport,comm --addresses class
  acc redact --check incident.acc safe.acc
  openssl rand -hex 32 > redact.key
  acc redact incident.acc -o safe.acc --key redact.key`,
		ValidArgsFunction: captureFiles,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case o.check && len(args) != 2:
				return usage(cmd, errors.New("--check takes two captures: the original and the redacted one"))
			case !o.check && len(args) != 1:
				return usage(cmd, errors.New("name one capture file"))
			case slices.Contains(args, "-"):
				return usage(cmd, errors.New("name a file: standard input can't be read twice"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.complain(); err != nil {
				return err
			}
			ctx, out, errOut := cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr()
			switch {
			case o.check:
				return runRedactCheck(ctx, out, args[0], args[1], o.json)
			case o.dryRun:
				return runDryRun(ctx, out, args[0], o)
			}
			return runRedact(ctx, errOut, args[0], o)
		},
	}
	takesIdentity(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", "", "the new capture `FILE`")
	f.BoolVar(&o.force, "force", false, "overwrite the new capture if it exists")
	o.policyFlags(cmd)
	sealTo(cmd, &o.to)
	f.BoolVar(&o.dryRun, "dry-run", false, "list what the capture reveals and what redact would make of it; write nothing")
	f.BoolVar(&o.check, "check", false, "compare a redacted capture with its original")
	f.BoolVar(&o.json, "json", false, "print JSON; with --check or --dry-run")
	complete(cmd, "output", captureFiles)
	group(cmd, "What to write", "output", "force", "to", "keep", "addresses", "key")
	group(cmd, "What to look at", "dry-run", "check", "json")
	group(cmd, "What to read", "identity-file")
	return cmd
}

// policyFlags are those that say what replaces what.
func (o *redactOptions) policyFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&o.keep, "keep", nil, "`CLASSES` or fields that stay as they are, like lport,comm; "+
		"acc redact --dry-run lists the classes")
	f.StringVar(&o.addresses, "addresses", redact.Prefix, "`HOW` addresses are replaced: prefix, opaque or class")
	f.StringVar(&o.key, "key", "", "`FILE` with a key of 64 hexadecimal digits: the same pseudonyms in every capture")
	values(cmd, "addresses", "prefix\tsubnets stay recognisable", "opaque\tnumbered", "class\tprivate ones stay private")
	anyFile(cmd, "key")
	complete(cmd, "keep", func(_ *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		at := strings.LastIndexByte(word, ',') + 1
		var words []string
		for _, k := range redact.Keepable() {
			words = append(words, word[:at]+k)
		}
		return beginning(words, word), nothing | cobra.ShellCompDirectiveNoSpace
	})
}

// complain refuses options that do not go together.
func (o *redactOptions) complain() error {
	for _, k := range o.keep {
		if !slices.Contains(redact.Keepable(), k) {
			hint := "acc redact --dry-run FILE lists the classes"
			for _, name := range redact.Keepable() {
				if distance(k, name) <= 1 {
					hint = "did you mean " + name + "?"
				}
			}
			return &usageError{fmt.Errorf("--keep %q is neither a class nor a field", k), hint}
		}
	}
	switch {
	case !slices.Contains(redact.AddressModes, o.addresses):
		return &usageError{fmt.Errorf("--addresses %q is neither prefix, opaque nor class", o.addresses),
			"like --addresses opaque"}
	case o.check && o.dryRun:
		return &usageError{errors.New("--check and --dry-run are different questions"), "ask for one at a time"}
	case o.check || o.dryRun:
		if o.output != "" || len(o.to) > 0 {
			return &usageError{errors.New("--check and --dry-run write nothing"), "without -o and --to"}
		}
	case o.output == "":
		return &usageError{errors.New("-o is missing"), "like acc redact incident.acc -o safe.acc"}
	case o.output == "-":
		return &usageError{errors.New("-o - does not work here: acc reads what it wrote once more"),
			"name a file with -o"}
	case o.json:
		return &usageError{errors.New("--json is for --check and --dry-run"), "without --json"}
	}
	return nil
}

// makeKey is how the key of a redaction comes to be.
const makeKey = "make one: openssl rand -hex 32 > FILE"

// readKey reads a key file, "": a new key. How says where a key comes from.
func readKey(name, how string) ([]byte, error) {
	if name == "" {
		key := make([]byte, redact.KeySize)
		_, err := rand.Read(key)
		return key, err
	}
	b, err := readSmall(name, 4096)
	if err != nil {
		return nil, &hinted{err, how}
	}
	text := strings.TrimSpace(string(b))
	key, err := hex.DecodeString(text)
	switch {
	case len(b) == redact.KeySize && err != nil:
		return b, nil // as it is
	case err != nil || len(key) != redact.KeySize:
		return nil, &hinted{fmt.Errorf("%s is no key: it has %s, a key has 64 hexadecimal digits", name,
			humanize.Plural(uint64(len(text)), "character")), how}
	case bytes.Count(key, key[:1]) == len(key):
		return nil, &hinted{fmt.Errorf("%s is no key: all of its bytes are the same", name), how}
	}
	return key, nil
}

// stoppable gives what r gives until the command is to end.
type stoppable struct {
	ctx context.Context
	r   io.Reader
}

func (s stoppable) Read(p []byte) (int, error) {
	if s.ctx.Err() != nil {
		return 0, errStopped
	}
	return s.r.Read(p)
}

var errStopped = errors.New("stopped by a signal")

// openWhole opens a capture that is a plain file and can be read several times.
func openWhole(name string) (*input, error) {
	in, err := openFile(name)
	if err != nil {
		return nil, err
	}
	if err := in.again(); err != nil {
		in.Close()
		return nil, err
	}
	in.opts = format.ReaderOptions{}
	if _, err := in.unwrap(nil); err != nil {
		in.Close()
		return nil, fmt.Errorf("%s: %w", in.name, err)
	}
	return in, nil
}

// all gives the file from its beginning.
func (in *input) all(ctx context.Context) io.Reader {
	return stoppable{ctx, io.NewSectionReader(in.source, 0, in.bytes)}
}

// reveal reads a capture for what it gives away.
func (in *input) reveal(ctx context.Context) (*redact.Revealed, error) {
	r, err := redact.Reveal(in.all(ctx))
	if err != nil {
		return nil, in.unredactable(err)
	}
	r.File = in.name
	return r, nil
}

// unredactable is an error of a capture that can't be redacted, with what to do.
func (in *input) unredactable(err error) error {
	switch {
	case errors.Is(err, errStopped):
		return exited(130)
	case errors.As(err, new(*format.CorruptError)):
		return &hinted{fmt.Errorf("%s: %w", in.name, err), "acc repair writes what can be read of it; redact that"}
	case errors.Is(err, format.ErrTruncated): // elsewhere it is an end
		return &hinted{fmt.Errorf("%s: %w", in.name, err), nothingRead}
	}
	return fmt.Errorf("%s: %w", in.name, err)
}

func runRedact(ctx context.Context, errOut io.Writer, name string, o redactOptions) error {
	key, err := readKey(o.key, makeKey)
	if err != nil {
		return err
	}
	encrypt, err := sealer(o.to)
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
	revealed, err := in.reveal(ctx)
	if err != nil {
		return err
	}
	out, err := newBinaryTarget("capture", o.output, o.force)
	if err != nil {
		return err
	}
	defer out.discard()
	to, written := io.Writer(out), out.file
	if encrypt != nil { // it is checked first
		temp, err := tempCapture("")
		if err != nil {
			return err
		}
		defer temp.remove()
		to, written = temp, temp.File
	}
	writing.Store(true)
	confineExport("")
	note, err := redact.Write(to, in.all(ctx), revealed, redact.Options{Tool: "acc " + toolVersion(), Key: key,
		KeyGiven: o.key != "", Addresses: o.addresses, Keep: o.keep})
	if err != nil {
		return in.unredactable(err)
	}
	if _, err := written.Seek(0, io.SeekStart); err != nil {
		return err
	}
	checked, err := redact.Check(in.all(ctx), revealed, written)
	if err != nil || !checked.Ok {
		if err == nil {
			err = fmt.Errorf("what was written is not free of the original, and was removed: %s", checked.Problems[0])
		}
		return in.unredactable(err)
	}
	if encrypt != nil {
		if err := sealFile(ctx, encrypt(out), written); err != nil {
			return err
		}
	}
	if err := out.commit(); err != nil {
		return err
	}
	if f, _ := in.sealed(); f != nil && encrypt == nil {
		fmt.Fprintf(errOut, "acc: the original is encrypted, and %s is not: --to encrypts it\n", fileName(out.name))
	}
	fmt.Fprintf(errOut, "acc: %s has %s of %s; %s\n", fileName(out.name), humanize.Plural(checked.Events, "event"),
		fileName(in.name), sayRedacted(note))
	fmt.Fprintf(errOut, "acc: checked: %s\n", sayChecked(checked))
	if revealed.Truncated {
		fmt.Fprintf(errOut, "acc: the original stops before its end, and so does the new one\n")
	}
	if o.key == "" {
		fmt.Fprintf(errOut, "acc: the key was not kept: nobody can turn the pseudonyms back; --key FILE keeps one\n")
	}
	return nil
}

// sealFile writes what a file has into a writer that encrypts.
func sealFile(ctx context.Context, to io.Writer, f *os.File) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err := io.CopyBuffer(struct{ io.Writer }{to}, stoppable{ctx, f}, make([]byte, 4<<20)) // each is a part
	if errors.Is(err, errStopped) {
		return exited(130)
	}
	return err
}

func runDryRun(ctx context.Context, out io.Writer, name string, o redactOptions) error {
	in, err := openWhole(name)
	if err != nil {
		return err
	}
	defer in.Close()
	confineReader()
	revealed, err := in.reveal(ctx)
	if err != nil {
		return err
	}
	if o.json {
		return encodeJSON(out, revealed)
	}
	return revealsText(out, revealed, &o)
}

func runRedactCheck(ctx context.Context, out io.Writer, original, safe string, asJSON bool) error {
	a, err := openWhole(original)
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := openWhole(safe)
	if err != nil {
		return err
	}
	defer b.Close()
	confineReader()
	revealed, err := a.reveal(ctx)
	if err != nil {
		return err
	}
	c, err := redact.Check(a.all(ctx), revealed, io.NewSectionReader(b.source, 0, b.bytes))
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return &hinted{fmt.Errorf("%s is cut off: %w", fileName(safe), err),
			"what is missing can't be searched: redact the original again, or check what acc repair makes of this file"}
	}
	if err != nil {
		return b.unredactable(err)
	}
	if asJSON {
		err = encodeJSON(out, c)
	} else {
		err = checkedText(out, original, safe, c)
	}
	if err == nil && !c.Ok {
		return exited(exitVerify)
	}
	return err
}
