package main

// This file reads and writes captures that are encrypted.

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/acc-project/acc/evidence"
	"github.com/acc-project/acc/format"
	"github.com/acc-project/acc/format/seal"
)

// identities decrypt captures: those of --identity-file, of the command that runs.
var identities []age.Identity

// takesIdentity lets a command that reads captures take --identity-file.
func takesIdentity(cmd *cobra.Command) {
	names := []string{}
	cmd.Flags().StringArrayVar(&names, "identity-file", nil, "`FILE` with the identity that decrypts what "+
		"acc record --to encrypted: of age-keygen, or an SSH private key")
	anyFile(cmd, "identity-file")
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		identities = nil
		for _, name := range names {
			b, err := readSmall(name, 1<<20)
			if err != nil {
				return err
			}
			list, err := seal.Identities(b)
			if err != nil {
				return &hinted{fmt.Errorf("%s: %w", name, err),
					"it takes what age-keygen writes, or an SSH private key without a passphrase"}
			}
			identities = append(identities, list...)
		}
		return run(cmd, args)
	}
}

// sealed is the encrypted file that an input reads decrypted, nil if there is none, and how many bytes that has.
func (in *input) sealed() (captureFile, int64) {
	if f, ok := in.file.(*partFile); ok {
		if _, ok := f.part.(*seal.Reader); ok {
			return f.captureFile, in.stored
		}
	}
	return nil, 0
}

// unseal lets an input that is an encrypted file be read decrypted.
func (in *input) unseal() error {
	f := in.file
	head := make([]byte, 16)
	if n, _ := f.ReadAt(head, 0); !seal.Is(head[:n]) {
		return nil
	}
	if len(identities) == 0 {
		return in.needsIdentity()
	}
	r, err := seal.NewReader(f, in.bytes, identities)
	if err != nil {
		return in.unsealed(err)
	}
	in.stored = in.bytes
	in.enter(r)
	return nil
}

func (in *input) needsIdentity() error {
	return &hinted{fmt.Errorf("%s is encrypted", in.name), "--identity-file FILE decrypts it: the identity of one of " +
		"those whom acc record --to named (of age-keygen, or an SSH private key)"}
}

// unsealed is an error of decrypting, with what to do.
func (in *input) unsealed(err error) error {
	if errors.Is(err, seal.ErrIdentity) {
		return &hinted{fmt.Errorf("%s: %w", in.name, err), "it was encrypted for others: name another --identity-file"}
	}
	return fmt.Errorf("%s: %w", in.name, err)
}

// raw is the input as it is stored, from its beginning, and what makes a reader of that one of the capture.
func (in *input) raw() (r io.Reader, decrypt func(io.Reader) io.Reader, err error) {
	if f, size := in.sealed(); f != nil {
		return io.NewSectionReader(f, 0, size), in.decrypt, nil
	}
	r, err = in.contents()
	return r, func(r io.Reader) io.Reader { return r }, err
}

// peeked looks at the beginning of what can be read once, and decrypts it if it is encrypted.
func (in *input) peeked(r io.Reader) (io.Reader, error) {
	again := bufio.NewReader(r)
	head, err := again.Peek(16)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if format.IsMerged(head) {
		return nil, &hinted{fmt.Errorf("%s: a merged file can't be read from a pipe", in.name), "save it first: cat >all.acc"}
	}
	if !seal.Is(head) {
		return again, nil
	}
	if len(identities) == 0 {
		return nil, in.needsIdentity()
	}
	return in.decrypt(again), nil
}

// decrypt decrypts an encrypted capture from its beginning, and counts what it gives.
func (in *input) decrypt(r io.Reader) io.Reader {
	in.decrypted = &evidence.CountedReader{R: seal.NewStream(r, identities)}
	return in.decrypted
}

// sealTo gives a command that writes a capture --to.
func sealTo(cmd *cobra.Command, into *[]string) {
	cmd.Flags().StringArrayVar(into, "to", nil, "encrypt the capture to a `RECIPIENT`: age1…, 'ssh-ed25519 …', or a "+
		"file of such; give it several times for several recipients")
	complete(cmd, "to", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return nil, cobra.ShellCompDirectiveDefault
	})
}

// sealer makes writers that encrypt, nil if nothing is to be encrypted.
func sealer(to []string) (func(io.Writer) io.Writer, error) {
	if len(to) == 0 {
		return nil, nil
	}
	list, err := seal.Recipients(to)
	if err != nil {
		hint := "like --to age1…, --to 'ssh-ed25519 AAAA…' or --to ~/.ssh/id_ed25519.pub"
		return nil, &usageError{fmt.Errorf("--to: %w", err), hint}
	}
	return func(w io.Writer) io.Writer { return seal.NewWriter(w, list) }, nil
}

// through gives the writer of an output.
func through(seal func(io.Writer) io.Writer, file io.Writer) io.Writer {
	if seal == nil {
		return file
	}
	return seal(file)
}
