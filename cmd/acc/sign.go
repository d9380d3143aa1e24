package main

// This file is acc sign.

import (
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/acc-project/acc/evidence/sshsig"
)

type signOptions struct {
	key       string
	output    string
	namespace string
	force     bool
}

func newSignCommand() *cobra.Command {
	o := signOptions{}
	cmd := &cobra.Command{
		Use:   "sign FILE --key KEY",
		Short: "Sign a capture with an SSH key",
		Long: `Sign writes FILE.sig, a signature of the whole file in OpenSSH's format. acc verify checks
it, and so does ssh-keygen:

  ssh-keygen -Y verify -f allowed_signers -I WHO -n file -s FILE.sig < FILE

KEY is a private key, or a public key whose private half lies beside it or is in an
ssh-agent. An encrypted key must be in the agent. ssh-keygen -Y sign -n file FILE writes
the same. You can sign a damaged capture, too: a signature says only who vouches for these
bytes. - reads standard input and writes the signature to standard output.`,
		Example: `  acc sign incident.acc --key ~/.ssh/id_ed25519
  acc verify --allowed-signers ~/.ssh/allowed_signers incident.acc`,
		Args:              oneCapture,
		ValidArgsFunction: oneCaptureFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runSign(cmd.OutOrStdout(), cmd.ErrOrStderr(), args[0], o)
		},
	}
	takesRead(cmd)
	f := cmd.Flags()
	f.StringVar(&o.key, "key", "", "SSH key `FILE`, like ~/.ssh/id_ed25519")
	f.StringVarP(&o.output, "output", "o", "", "signature `FILE`, - for standard output (default FILE.sig)")
	f.StringVar(&o.namespace, "namespace", defaultNamespace, "namespace `NAME` of the signature")
	f.BoolVar(&o.force, "force", false, "overwrite the signature if it exists, and no other file")
	anyFile(cmd, "key", "output")
	values(cmd, "namespace", defaultNamespace)
	return cmd
}

func runSign(out, errOut io.Writer, name string, o signOptions) error {
	if o.key == "" {
		return &usageError{errors.New("--key is missing"), "like --key ~/.ssh/id_ed25519"}
	}
	if o.namespace == "" {
		return &usageError{errors.New("--namespace is empty"), "the usual one is " + defaultNamespace}
	}
	if (o.output == "-" || o.output == "" && name == "-") && out == io.Writer(os.Stdout) && isClosed(os.Stdout) {
		return &hinted{errors.New("standard output is closed"), "use -o FILE"}
	}
	signer, done, err := sshsig.LoadKey(o.key)
	if errors.Is(err, sshsig.ErrEncrypted) {
		return &hinted{err, "ssh-add " + strings.TrimSuffix(o.key, ".pub") + " puts it into the agent"}
	}
	if err != nil {
		return err
	}
	defer done()
	in, err := openFile(name)
	if err != nil {
		return err
	}
	defer in.Close()
	p := in.showProgress(errOut, false, out)
	defer p.stop()
	sum := sha512.New()
	src, decrypt, err := in.raw()
	if err != nil {
		return fmt.Errorf("%s: %w", in.name, err)
	}
	tee := io.TeeReader(src, sum)
	// What is no capture is not signed by mistake.
	if err := in.begin(decrypt(tee), true); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, tee); err != nil {
		return fmt.Errorf("read %s: %w", in.name, err)
	}
	p.stop()
	armoured, err := sshsig.Sign(signer, o.namespace, sum.Sum(nil))
	if err != nil {
		return err
	}
	if o.output == "" && name == "-" {
		o.output = "-"
	}
	if o.output == "-" {
		_, err := out.Write(armoured)
		return err
	}
	if o.output == "" {
		o.output = name + ".sig"
	}
	if err := notItself(in, o.output); err != nil {
		return err
	}
	if err := onlySignature(o.output); err != nil {
		return err
	}
	return writeSignature(errOut, in.name, armoured, o)
}

// onlySignature refuses an output that is there and is no signature: the key, say, or
// the list of allowed signers, which --force must not replace.
func onlySignature(name string) error {
	if st, err := os.Lstat(name); err != nil || !st.Mode().IsRegular() || st.Size() == 0 {
		return nil // newTarget has the say
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, len(sshsig.Begin))
	if _, err := io.ReadFull(f, head); err != nil || string(head) != sshsig.Begin {
		return &hinted{fmt.Errorf("%s exists, and is not a signature: it stays as it is", name), "name another file"}
	}
	return nil
}

func writeSignature(errOut io.Writer, capture string, armoured []byte, o signOptions) error {
	file, err := newTarget(os.Stdout, o.output, o.force)
	if err != nil {
		return err
	}
	defer file.discard()
	if _, err := file.Write(armoured); err != nil {
		return err
	}
	if err := file.commit(); err != nil {
		return err
	}
	fmt.Fprintf(errOut, "acc: signed %s: %s\n", fileName(capture), fileName(o.output))
	return nil
}
