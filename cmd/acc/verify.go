package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/audit"
	"github.com/acc-project/acc/analysis/report"
	"github.com/acc-project/acc/evidence"
	"github.com/acc-project/acc/evidence/sshsig"
	"github.com/acc-project/acc/format"
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
}

func newVerifyCommand() *cobra.Command {
	o := verifyOptions{}
	cmd := &cobra.Command{
		Use:   "verify FILE|FOLDER...",
		Short: "Prove that a capture is intact and, by a signature or a kept chain head, genuine",
		Long: `Verify reads captures from beginning to end and holds everything in them against
everything else: checksums, hash chain, numbers, END with its account, index, tail. It
prints the SHA-256 of the file, as sha256sum does, and the head of its chain. It says
whether the file is intact and whether the recording is complete, and gives one verdict:

  intact       all of it is there and fits
  unclean      the same, but the recording was not closed cleanly, or it was repaired
  truncated    it stops before its end; what is missing is said
  corrupt      it holds what its recorder did not write; where is said
  altered      it fits, but is not what was signed, or not what a kept head says
  unsigned     nobody who may has signed it; only if --allowed-signers or --signature asks
  unconfirmed  heads are given, and none is of it, or it is repaired and they are of
               its original, or the log of --checkpoints contradicts itself

What is truncated or corrupt is not called altered because its signature, or a head from
the damage on, can't be confirmed: that is said beside. It is if a head before differs.

The verdict is on the file. A recording that lost events, or whose kernel counted other
connections, is incomplete in an intact file: that is printed beside the verdict. If
the kernel counted others, and nothing in the capture accounts for it, the exit code of an
intact file is 9.

The chain alone does not stop a forger, who can compute it anew. Against that helps a
signature (acc sign, or ssh-keygen -Y sign), which is looked for in FILE.sig, or a head
that was kept elsewhere (acc record --checkpoint). A FILE.sig that is none, of which
nothing was asked, is said and does not change the verdict. - reads standard input.

--checkpoints reads a log. A line counts only where the log's own fields say that acc
wrote it. Best is journalctl -o json: there the kernel says who wrote. A text log proves
less, since any user can write in acc's name. If its lines contradict each other, the
verdict is unconfirmed and not altered.

With --json, a file of which nothing can be read is an object, too: its verdict is
unreadable, and error says why.`,
		ValidArgsFunction: captureFiles,
		Example: `  acc verify incident.acc
  acc verify --allowed-signers ~/.ssh/allowed_signers --identity ops@example.org incident.acc
  acc verify --head 12:3f0c… incident.acc
  journalctl -t acc -o json | acc verify --checkpoints - incident.acc`,
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
	f.StringArrayVar(&o.heads, "head", nil, "chain `HEAD` that must be in the capture: HEX, or FRAME:HEX")
	f.StringVar(&o.checkpoints, "checkpoints", "", "`LOG` with the lines of record --checkpoint: journalctl -o json, syslog, or acc's standard error; - for standard input")
	f.StringVar(&o.signature, "signature", "", "signature `FILE` (default FILE.sig, if it is there)")
	f.StringVar(&o.signers, "allowed-signers", "", "`FILE` that says who may sign, in the format of ssh-keygen(1); the capture must be signed")
	f.StringVar(&o.revoked, "revoked", "", "`FILE` of keys that may not sign any more: public keys, or a key revocation list of ssh-keygen -k")
	f.StringVar(&o.identity, "identity", "", "`WHO` of them must have signed (default anyone)")
	f.StringVar(&o.namespace, "namespace", defaultNamespace, "namespace `NAME` of the signature")
	anyFile(cmd, "checkpoints", "signature", "allowed-signers", "revoked")
	values(cmd, "head")
	values(cmd, "identity")
	values(cmd, "namespace", defaultNamespace)
	group(cmd, "Heads that were kept", "head", "checkpoints")
	group(cmd, "Signature", "signature", "allowed-signers", "revoked", "identity", "namespace")
	return cmd
}

// verdicts of verify, and the exit codes that go with them.
var verdictCodes = map[string]int{
	"intact": exitOK, "unclean": exitTruncated, "truncated": exitTruncated, "corrupt": exitCorrupt, "altered": exitVerify, "unsigned": exitVerify,
	"unconfirmed": exitVerify,
}

// exitCode is that of the verdict; of an intact file, that of the cross-check.
func (v *verified) exitCode() int {
	if v.Verdict == audit.Intact && v.Witness.Verdict == analysis.WitnessDiffers {
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

// verified is what verify says of one file.
type verified struct {
	Schema    int              `json:"schema"`     // as in analyze
	File      string           `json:"file"`       // as it was named
	Verdict   string           `json:"verdict"`    // intact, unclean, truncated, corrupt, altered, unsigned or unconfirmed
	Integrity audit.File       `json:"integrity"`  // whether the file is as its recorder wrote it
	Recording audit.Recording  `json:"recording"`  // whether what happened is in it
	Why       []string         `json:"why"`        // what is wrong, does not agree or could not be checked, a sentence each; empty: nothing
	Capture   string           `json:"capture"`    // verdict without signature and heads
	SHA256    string           `json:"sha256"`     // "" if reading gave up before the end
	Bytes     int64            `json:"bytes"`      // of the file, as far as it was read
	Head      string           `json:"head"`       // chain of the last frame that was read
	HeadBytes int64            `json:"head_bytes"` // up to which byte of the file that frame goes: what the head covers; 0: no frame was read
	Frames    uint32           `json:"frames"`     // that were read
	Events    uint64           `json:"events"`     // that were read
	ID        string           `json:"id"`         // capture id
	Ended     bool             `json:"ended"`      // END is there
	Clean     bool             `json:"clean"`      // and says that everything seen was written or counted
	Missing   *missing         `json:"missing"`    // what a truncated capture lacks; null: nothing
	Skipped   []format.Skip    `json:"skipped"`    // what is corrupt and was left out
	Repaired  *format.Repaired `json:"repaired"`   // what was done to it; null: it is no repaired capture
	Heads     []headResult     `json:"heads"`      // what became of each head that was asked for
	Log       *logResult       `json:"log"`        // what the log of --checkpoints is worth; null: there is none
	Signature signatureResult  `json:"signature"`  // what became of the signature

	Witness analysis.WitnessResult `json:"witness"` // what the kernel's own counters say

	unbroken bool // the chain is, from the header to END
}

// missing is what a truncated capture lacks.
type missing struct {
	AfterEvent uint64     `json:"after_event"` // number of the last event before the place, 0: there is none
	AtByte     int64      `json:"at_byte"`     // where the place is
	RestBytes  int64      `json:"rest_bytes"`  // bytes behind the place, of an incomplete frame
	AfterTime  *time.Time `json:"after_time"`  // of the last event that was read; null: there is none, or its time is not known
}

func runVerify(ctx context.Context, out, errOut io.Writer, names []string, o verifyOptions) error {
	if o.signature != "" && len(names) > 1 {
		return &usageError{errors.New("--signature is for one file"), "without it, the signature of FILE is FILE.sig"}
	}
	if o.identity != "" && o.signers == "" {
		return &usageError{errors.New("--identity needs --allowed-signers"), "like --allowed-signers ~/.ssh/allowed_signers"}
	}
	if o.revoked != "" && o.signers == "" {
		return &usageError{errors.New("--revoked needs --allowed-signers"), "like --allowed-signers ~/.ssh/allowed_signers"}
	}
	if i := slices.Index(names, "-"); i >= 0 && slices.Contains(names[i+1:], "-") {
		return &usageError{errors.New("standard input can be read once"), "name - one time"}
	}
	if o.checkpoints == "-" && slices.Contains(names, "-") {
		return &usageError{errors.New("standard input can't be both the capture and the checkpoints"), "name a file for one of them"}
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
	sigs := make([]signatureFile, len(names))
	for i, name := range names {
		sigs[i] = openSignature(name, o.signature)
	}
	ins, errs := openFiles(names)
	confineReader(false)
	worst := exitOK
	for i, in := range ins {
		v, err := (*verified)(nil), errs[i]
		if err == nil {
			v = &verified{Schema: analysis.SchemaVersion, File: in.name,
				Why: []string{}, Skipped: []format.Skip{}, Heads: []headResult{}}
			err = v.verify(ctx, in, sigs[i], who, heads, &o, errOut)
		}
		switch {
		case err != nil && o.json:
			err = errors.Join(err, tellUnreadable(out, names[i], err))
		case err != nil:
		case o.json:
			err = encodeJSON(out, v)
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
		ins[i], sigs[i] = nil, signatureFile{} // what it took is not kept
	}
	if worst != exitOK {
		return exited(worst)
	}
	return nil
}

// verify reads the capture once, and judges it.
func (v *verified) verify(ctx context.Context, in *input, sig signatureFile, who *signerLists, kept *kept, o *verifyOptions, errOut io.Writer) error {
	sum := sha256.New()
	hashes := []hash.Hash{sum}
	var signed hash.Hash
	parsed, sigErr := sig.parse()
	if parsed != nil {
		signed, _ = sshsig.NewHash(parsed.Hash)
		hashes = append(hashes, signed)
	}
	counted := &countedReader{r: in.source}
	tee := &hashedReader{countedReader: counted, hashes: hashes, exact: signed != nil}
	defer in.Close()
	p := in.showProgress(errOut, false, errOut)
	defer p.stop()
	x := evidence.Examine(&format.Header{}, analysis.Options{})
	last := &format.Batch{}
	readErr := in.begin(tee, true)
	id := ""
	if readErr == nil {
		id = in.Header().ID
	}
	want, log := kept.of(id)
	if readErr == nil {
		x = evidence.Examine(in.Start(), analysis.Options{})
		last, readErr = v.read(ctx, in, x, want)
	}
	if ctx.Err() != nil {
		return exited(130)
	}
	corrupt := new(format.CorruptError)
	if !errors.Is(readErr, io.EOF) && !errors.Is(readErr, format.ErrTruncated) && !errors.As(readErr, &corrupt) {
		return readErr
	}
	rest, most := io.Reader(tee), int64(-1)
	if in.bytes == 0 && corrupt.Reason != "" { // reading may have given up
		rest, most = io.LimitReader(tee, 1), 1
	}
	n, err := io.Copy(io.Discard, rest) // what reading left over
	if err != nil {
		return fmt.Errorf("read %s: %w", in.name, err)
	}
	v.Bytes = counted.n
	endless := n == most
	p.stop()
	if !endless && tee.hole == 0 {
		v.SHA256 = hex.EncodeToString(sum.Sum(nil))
	}
	if err := v.judge(in, readErr, last, x); err != nil {
		return err
	}
	if tee.hole > 0 {
		v.Why = append(v.Why, fmt.Sprintf("no SHA-256: %s of the file are holes, which acc does not read", report.Bytes(tee.hole)))
	}
	if endless {
		v.Why = append(v.Why, corrupt.Error())
	}
	v.Verdict = v.Capture
	v.judgeHeads(want, log)
	var digest []byte
	if signed != nil {
		digest = signed.Sum(nil)
	}
	v.judgeSignature(sig, parsed, sigErr, digest, who, o)
	return nil
}

// read goes through the capture and notes what it says, and the wanted heads on
// the way. A head counts only while the chain from the beginning is unbroken.
func (v *verified) read(ctx context.Context, in *input, x *evidence.Examination, want *wanted) (last *format.Batch, err error) {
	h := in.Header()
	v.ID, v.Repaired = h.ID, h.Repaired
	last = &format.Batch{}
	for ctx.Err() == nil {
		b, err := in.Next()
		if err != nil {
			return last, err
		}
		v.Frames, v.Events, v.Head = b.Frame+1, v.Events+uint64(len(b.Events)), hex.EncodeToString(b.Chain[:])
		v.HeadBytes = b.Offset + b.Bytes
		last.Offset, last.Bytes = b.Offset, b.Bytes
		if len(in.Skipped()) == 0 {
			v.unbroken = b.End != nil
			want.seen(b, v.Events)
		}
		if err := x.Add(b, len(in.Skipped())); err != nil {
			return last, err
		}
		if n := len(b.Events); n > 0 {
			v.Missing = &missing{AfterEvent: b.Events[n-1].Seq}
			if ns := b.Events[n-1].BootNS; x.Clocks().Known(ns) {
				at := x.Clocks().Time(ns)
				v.Missing.AfterTime = &at
			}
		}
	}
	return last, ctx.Err()
}

// judge gives the verdict on the capture itself.
func (v *verified) judge(in *input, readErr error, last *format.Batch, x *evidence.Examination) error {
	if corrupt := new(format.CorruptError); in.Reader == nil && errors.As(readErr, &corrupt) { // no frame of it can be read
		v.Skipped = append(v.Skipped, format.Skip{Bytes: v.Bytes, Reason: corrupt.Reason})
	} else if in.Reader != nil {
		v.Skipped = append(v.Skipped, in.Skipped()...)
	}
	r, err := x.Finish(readErr, v.Skipped)
	if err != nil {
		return err
	}
	v.Integrity, v.Recording, v.Witness = r.Integrity, r.Recording, r.Witness
	end := x.End()
	v.Ended, v.Clean = end != nil, end != nil && end.Clean
	miss := v.Missing
	v.Missing = nil
	v.Capture = v.Integrity.State
	v.Why = append(v.Why, v.Integrity.Why...)
	if v.Capture == audit.Intact && (!end.Clean || in.Header().Repaired != nil) {
		v.Capture = "unclean"
		v.Why = append(v.Why, uncleanWhy(end, in.Header().Repaired))
	}
	v.Why = append(v.Why, x.Unchecked()...)
	if v.Witness.Verdict == analysis.WitnessDiffers { // which is no fault of the file
		n := int64(0)
		for _, s := range v.Witness.Spaces {
			n += s.Unexplained
		}
		why := fmt.Sprintf("%d TCP connections are not accounted for", n)
		if n < 0 {
			why = fmt.Sprintf("%d TCP connections more were recorded than there were", -n)
		}
		v.Why = append(v.Why, "the kernel's own counters do not agree: "+why)
	}
	if errors.Is(readErr, format.ErrTruncated) || !v.Ended {
		if miss == nil {
			miss = &missing{}
		}
		if v.Ended { // what was recorded is all there
			miss.AfterTime = nil
		}
		miss.AtByte = last.Offset + last.Bytes
		miss.RestBytes = v.Bytes - miss.AtByte
		v.Missing = miss
	}
	return nil
}

// forge makes the verdict that a proof of origin failed.
func (v *verified) forge(format string, args ...any) {
	v.Verdict = audit.Altered
	v.Why = append(v.Why, fmt.Sprintf(format, args...))
	v.Integrity.Why = append(v.Integrity.Why, fmt.Sprintf(format, args...))
	if v.Integrity.State == audit.Intact {
		v.Integrity.State = audit.Altered
	}
}

// unconfirm makes it the verdict that nothing which was kept vouches for the file,
// unless there is a worse one.
func (v *verified) unconfirm(why string) {
	if v.Verdict != audit.Altered && v.Verdict != "corrupt" {
		v.Verdict = "unconfirmed"
	}
	v.Why = append(v.Why, why)
}

// countedReader counts the bytes that it gave.
type countedReader struct {
	r io.Reader
	n int64
}

func (c *countedReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// SkipHole makes it a [format.HoleSkipper].
func (c *countedReader) SkipHole() (int64, error) {
	sparse, ok := c.r.(format.HoleSkipper)
	if !ok {
		return 0, nil
	}
	n, err := sparse.SkipHole()
	c.n += n
	return n, err
}

// largeHole is from how many bytes on a hole is not read for the sake of a hash.
const largeHole = 64 << 20

// hashedReader hashes what it gives, holes included but for large ones.
type hashedReader struct {
	*countedReader
	hashes []hash.Hash
	exact  bool  // all is hashed
	hole   int64 // bytes of large holes
}

func (r *hashedReader) Read(p []byte) (int, error) {
	n, err := r.countedReader.Read(p)
	for _, h := range r.hashes {
		h.Write(p[:n])
	}
	return n, err
}

// SkipHole makes it a [format.HoleSkipper].
func (r *hashedReader) SkipHole() (int64, error) {
	if r.exact {
		return 0, nil
	}
	n, err := r.countedReader.SkipHole()
	if n >= largeHole {
		r.hole += n
		return n, err
	}
	var zeros [4096]byte
	for left := n; left > 0; left -= int64(len(zeros)) {
		for _, h := range r.hashes {
			h.Write(zeros[:min(left, int64(len(zeros)))])
		}
	}
	return n, err
}
