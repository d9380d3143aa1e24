package main

// This file is acc unredact.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"regexp"
	"slices"

	"github.com/spf13/cobra"

	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/format"
	"github.com/acc-project/acc/replay/redact"
)

type unredactOptions struct {
	key       string
	originals []string
	addresses string
}

func newUnredactCommand() *cobra.Command {
	o := unredactOptions{}
	cmd := &cobra.Command{
		Use:   "unredact --key FILE [--original CAPTURE]... [TEXT]",
		Short: "Turn pseudonyms in a text, like an answer of support, back into names and addresses",
		Long: `Unredact prints a text with the original names and addresses in place of the pseudonyms
that acc redact --key gave. The text is a file or standard input. --original names the captures
that were redacted: their names are where pseudonyms come from, acc keeps no other list. With
them, only their addresses are turned back; without, names stay, and every address that is not
loopback is taken for an encrypted one. Ports and user ids stay as they are.`,
		Example: `  acc unredact --key redact.key --original incident.acc answer.txt
  acc unredact --key redact.key < answer.txt`,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveDefault
		},
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) > 1:
				return usage(cmd, errors.New("name one text, or none for standard input"))
			case o.key == "":
				return &usageError{errors.New("--key is missing"), givenKey}
			case !slices.Contains(redact.AddressModes, o.addresses):
				return &usageError{fmt.Errorf("--addresses %q is neither prefix, opaque nor class", o.addresses),
					"as it was with acc redact"}
			case o.addresses == redact.Opaque && len(o.originals) == 0:
				return &usageError{errors.New("numbered addresses need the capture: a number says nothing by itself"),
					"add --original incident.acc"}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return runUnredact(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args, o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.key, "key", "", "`FILE` with the key that acc redact was given")
	f.StringArrayVar(&o.originals, "original", nil, "a `CAPTURE` that was redacted; several: several times")
	f.StringVar(&o.addresses, "addresses", redact.Prefix, "`HOW` addresses were replaced: prefix, opaque or class")
	values(cmd, "addresses", redact.AddressModes...)
	anyFile(cmd, "key")
	complete(cmd, "original", captureFiles)
	return cmd
}

// givenKey is which key turns pseudonyms back.
const givenKey = "it is the file that acc redact --key was given"

// maxText is how long a text may be.
const maxText = 64 << 20

// pseudonyms finds what can be a pseudonym, or an address, in a text.
var pseudonyms = regexp.MustCompile(`[@/]?\b[a-z]+-[0-9a-f]{10}\b|[0-9A-Fa-f:]*[:.][0-9A-Fa-f:.]+`)

func runUnredact(ctx context.Context, out, errOut io.Writer, args []string, o unredactOptions) error {
	key, err := readKey(o.key, givenKey)
	if err != nil {
		return err
	}
	x, err := redact.NewRedactor(key, o.addresses, nil)
	if err != nil {
		return err
	}
	for _, name := range o.originals {
		in, err := openWhole(name)
		if err != nil {
			return err
		}
		err = x.Learn(in.all(ctx))
		in.Close()
		if err != nil {
			return in.unredactable(err)
		}
	}
	from := os.Stdin
	if len(args) == 1 && args[0] != "-" {
		if from, err = os.Open(args[0]); err != nil {
			return err
		}
		defer from.Close()
	}
	confineReader()
	text, err := io.ReadAll(io.LimitReader(from, maxText+1))
	if err != nil {
		return err
	}
	if len(text) > maxText {
		return fmt.Errorf("the text is longer than %s", humanize.Bytes(maxText))
	}
	known, turned, left := x.Known(), uint64(0), uint64(0)
	text = pseudonyms.ReplaceAllFunc(text, func(word []byte) []byte {
		plain, ok := plainOf(x, known, string(word), len(o.originals) > 0)
		switch {
		case ok:
			turned++
			return []byte(format.Quote(plain))
		case !isAddress(string(word)):
			left++
		}
		return word
	})
	if _, err := out.Write(text); err != nil {
		return err
	}
	fmt.Fprintf(errOut, "acc: %s turned back\n", humanize.Plural(turned, "pseudonym"))
	if left > 0 {
		hint := "the key, or the capture, is another one"
		if len(o.originals) == 0 {
			hint = "name the capture that was redacted: --original incident.acc"
		}
		fmt.Fprintf(errOut, "acc: %s that may be pseudonyms of other captures stay\nhint: %s\n",
			humanize.Plural(left, "word"), hint)
	}
	return nil
}

// plainOf gives what a word of a text stands for. An address can have a port behind it, or a full stop.
func plainOf(x *redact.Redactor, known map[string]string, word string, learned bool) (string, bool) {
	if plain, ok := known[word]; ok {
		return plain, true
	}
	for end := len(word); end > 1; end-- {
		a, err := netip.ParseAddr(word[:end])
		if err != nil || end < len(word) && word[end] != ':' && word[end] != '.' {
			continue
		}
		if plain, ok := known[a.Unmap().String()]; ok {
			return plain + word[end:], true
		}
		if !learned {
			if plain, ok := x.Plain(a); ok {
				return plain.String() + word[end:], true
			}
		}
		return "", false
	}
	return "", false
}

func isAddress(word string) bool {
	for _, r := range word {
		if r == '.' || r == ':' {
			return true
		}
	}
	return false
}
