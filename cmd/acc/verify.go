package main

// This file is acc verify.

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/acc-project/acc/analysis/audit"
	"github.com/acc-project/acc/analysis/crosscheck"
	"github.com/acc-project/acc/evidence"
)

type verifyOptions struct {
	json        bool
	heads       []string
	checkpoints string
	signature   string
	signers     string
	revoked     string
	identity    string
	namespace   string
	parents     []string
}

func newVerifyCommand() *cobra.Command {
	o := verifyOptions{}
	cmd := &cobra.Command{
		Use:   "verify FILE|FOLDER...",
		Short: "Check that a capture is intact and, by a signature or a kept chain head, genuine",
		Long: `Verify reads captures from beginning to end and checks that all parts agree: checksums, hash
chain, event numbers, the counts in END (the last record), index and tail. It prints the
SHA-256 of the file, as sha256sum does, and its chain head: the hash of everything recorded so
far. It says whether the file is intact and whether the recording is complete, and gives one
verdict:

  intact       all parts are there and agree
  unclean      intact, but the recording was not closed cleanly, or the file is repaired
  truncated    it stops before its end; acc says what is missing
  corrupt      it holds what its recorder did not write; acc says where
  altered      its parts agree, but it is not what was signed, or differs from a kept
               chain head
  unsigned     no valid signature from an allowed signer (only with --allowed-signers or
               --signature)
  unconfirmed  chain heads are given and none confirms the file: they are of another
               capture or, for a repaired one, of its original; or the log of
               --checkpoints contradicts itself

If a truncated or corrupt file does not match its signature, or a chain head after the damage,
its verdict stays truncated or corrupt, and acc prints that beside it. If a chain head before
the damage differs, the verdict is altered.

The verdict is on the file. A recording that lost events is incomplete although its file is
intact; acc prints both. Verify exits with 9 when the file is intact, but the kernel counted
more or fewer connections than were recorded and the capture holds no reason for that.

Anyone who edits a capture can also recompute its hash chain. A signature (acc sign, or
ssh-keygen -Y sign; in FILE.sig) or a chain head that was kept elsewhere (acc record
--checkpoint) shows such a change. A FILE.sig that is no signature is reported, and changes
the verdict only if you asked for a signature. - reads standard input.

--checkpoints reads a log. A line counts only if the log itself says that acc wrote it.
The output of journalctl -o json proves most: the kernel says who wrote each line. In a
text log any user can write in acc's name. If the lines of a log contradict each other,
the verdict is unconfirmed, not altered.

With --json, a file that can't be read gives an object, too: its verdict is unreadable,
and error says why.`,
		ValidArgsFunction: captureFiles,
		Example: `  acc verify incident.acc
  acc verify --allowed-signers ~/.ssh/allowed_signers --identity ops@example.org incident.acc
  acc verify --head 12:3f0c… incident.acc
  journalctl -t acc -o json | acc verify --checkpoints - incident.acc
  acc verify --parent incident.acc part.acc`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage(cmd, errors.New("name a capture file, or - for standard input"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return runVerify(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args, o)
		},
	}
	takesRead(cmd)
	f := cmd.Flags()
	f.BoolVar(&o.json, "json", false, "print JSON, one object a file")
	f.StringArrayVar(&o.heads, "head", nil, "chain `HEAD` that must be in the capture, as a line of "+
		"acc record --checkpoint has it: HEX, or FRAME:HEX")
	f.StringVar(&o.checkpoints, "checkpoints", "",
		"`LOG` with the lines that acc record --checkpoint wrote: output of journalctl -o json, a syslog "+
			"file, or acc's standard error; - for standard input")
	f.StringVar(&o.signature, "signature", "", "signature `FILE` (default FILE.sig, if it is there)")
	f.StringVar(&o.signers, "allowed-signers", "",
		"`FILE` of those who may sign, a line each: NAME and public key (ssh-keygen(1)); "+
			"without a valid signature by one of them, the verdict is unsigned")
	f.StringVar(&o.revoked, "revoked", "", "`FILE` of keys that may not sign any more: public keys, or a key "+
		"revocation list of ssh-keygen -k")
	f.StringVar(&o.identity, "identity", "",
		"`WHO` must have signed: a NAME in the file of --allowed-signers (default any of them)")
	f.StringVar(&o.namespace, "namespace", defaultNamespace, "namespace `NAME` of the signature, -n of ssh-keygen -Y")
	f.StringArrayVar(&o.parents, "parent", nil, "the `ORIGINAL` of which the file is a cut (acc cut): acc cuts it "+
		"again, and compares; several times for files of one recording")
	complete(cmd, "parent", captureFiles)
	anyFile(cmd, "checkpoints", "signature", "allowed-signers", "revoked")
	values(cmd, "head")
	values(cmd, "identity")
	values(cmd, "namespace", defaultNamespace)
	group(cmd, "What to read", "read", "identity-file")
	group(cmd, "Kept chain heads", "head", "checkpoints")
	group(cmd, "Cut", "parent")
	group(cmd, "Signature", "signature", "allowed-signers", "revoked", "identity", "namespace")
	return cmd
}

// verdicts of verify, and the exit codes that go with them.
var verdictCodes = map[string]int{
	"intact": exitOK, evidence.Unclean: exitTruncated, "truncated": exitTruncated, "corrupt": exitCorrupt,
	"altered": exitVerify, evidence.Unsigned: exitVerify,
	evidence.Unconfirmed: exitVerify,
}

// exitCode is that of the verdict; of an intact file, that of the cross-check.
func (v *verified) exitCode() int {
	if v.Verdict == audit.Intact && v.CrossCheck.Verdict == crosscheck.VerdictDiffers {
		return exitCounters
	}
	return verdictCodes[v.Verdict]
}

// worse is the worse of two exit codes. What the cross-check says is no fault of a file: it is
// the least.
func worse(a, b int) int {
	switch {
	case a == exitCounters && b != exitOK:
		return b
	case b == exitCounters && a != exitOK:
		return a
	}
	return max(a, b)
}

// verified is what verify says of one file, to be printed.
type verified struct{ *evidence.Verification }

func runVerify(ctx context.Context, out, errOut io.Writer, names []string, o verifyOptions) error {
	if o.signature != "" && len(names) > 1 {
		return &usageError{errors.New("--signature is for one file"), "without it, the signature of FILE is FILE.sig"}
	}
	if o.identity != "" && o.signers == "" {
		return &usageError{errors.New("--identity needs --allowed-signers"),
			"like --allowed-signers ~/.ssh/allowed_signers"}
	}
	if len(o.parents) > 0 && (len(names) != 1 || names[0] == "-") {
		return &usageError{errors.New("--parent is for one file, not for standard input"),
			"like acc verify --parent incident.acc part.acc"}
	}
	if o.revoked != "" && o.signers == "" {
		return &usageError{errors.New("--revoked needs --allowed-signers"),
			"like --allowed-signers ~/.ssh/allowed_signers"}
	}
	if i := slices.Index(names, "-"); i >= 0 && slices.Contains(names[i+1:], "-") {
		return &usageError{errors.New("standard input can be read once"), "name - one time"}
	}
	if o.checkpoints == "-" && slices.Contains(names, "-") {
		return &usageError{errors.New("standard input can't be both the capture and the checkpoints"),
			"name a file for one of them"}
	}
	heads, err := headsOf(errOut, o.heads, o.checkpoints)
	if err != nil {
		return err
	}
	who, err := readSigners(&o)
	if err != nil {
		return err
	}
	names = expandFolders(names)
	sigs := make([]evidence.SignatureFile, len(names))
	for i, name := range names {
		sigs[i] = openSignature(name, o.signature)
	}
	ins, errs := openFiles(names)
	var parent *input
	if len(o.parents) > 0 {
		if parent, err = openWholes(o.parents, func() error { return nil }); err != nil {
			return err
		}
		defer parent.Close()
	}
	confineReader()
	worst := exitOK
	for i, in := range ins {
		v, err := (*verified)(nil), errs[i]
		if err == nil {
			v, err = verifyInput(ctx, in, errOut, evidence.VerifyOptions{
				Name: in.name, Kept: heads, Signature: sigs[i], SignatureRequired: o.signature != "",
				Signers: who.allowed, Revoked: who.revoked,
				Identity: o.identity, Namespace: o.namespace, Endless: in.bytes == 0,
			})
		}
		if err == nil && parent != nil {
			err = v.prove(ctx, parent, in)
		}
		if in != nil {
			in.Close()
		}
		switch {
		case err != nil && o.json:
			err = errors.Join(err, tellUnreadable(out, names[i], err))
		case err != nil:
		case o.json:
			err = encodeJSON(out, v.Verification)
		default:
			if i > 0 {
				fmt.Fprintln(out)
			}
			err = v.text(out)
		}
		if err != nil {
			worst = worse(worst, exitCode(err, errOut))
		} else {
			worst = worse(worst, v.exitCode())
		}
		ins[i], sigs[i] = nil, evidence.SignatureFile{} // what it took is not kept
	}
	if worst != exitOK {
		return exited(worst)
	}
	return nil
}

// verifyInput verifies an input.
func verifyInput(ctx context.Context, in *input, errOut io.Writer, o evidence.VerifyOptions) (*verified, error) {
	p := in.showProgress(errOut, false, errOut)
	defer p.stop()
	in.opts.Parts = true
	src, decrypt, err := in.raw()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", in.name, err)
	}
	v, err := evidence.Verify(ctx, src, func(r io.Reader) (*evidence.Capture, error) {
		err := in.begin(decrypt(r), true)
		return in.Capture, err
	}, o)
	if ctx.Err() != nil {
		return nil, exited(130)
	}
	if err == nil {
		if c := in.decrypted; c != nil {
			if v.Decrypted = c.N; v.Missing != nil {
				v.Missing.RestBytes = c.N - v.Missing.AtByte
			}
		}
		in.checkMerged(v)
	}
	return &verified{v}, err
}

// checkMerged holds a capture against what the merged file says of it.
func (in *input) checkMerged(v *evidence.Verification) {
	m := in.merged
	if m == nil {
		return
	}
	why, verdict := "", audit.Corrupt
	switch {
	case m.Bytes < m.Length:
		why, verdict = fmt.Sprintf("the merged file stops before byte %d of its %d", m.Bytes, m.Length), audit.Truncated
	case m.Damage != nil:
		why = m.Damage.Error()
	case v.SHA256 != hex.EncodeToString(m.SHA256[:]):
		why = "it is not the capture that was merged: that had the SHA-256 " + hex.EncodeToString(m.SHA256[:])
	default:
		return
	}
	v.Why = append(v.Why, why)
	if v.Verdict == audit.Intact || v.Verdict == evidence.Unclean {
		v.Verdict, v.Capture = verdict, verdict
	}
}
