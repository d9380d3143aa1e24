package evidence

// This file proves whether a capture is intact and genuine.

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/audit"
	"github.com/acc-project/acc/analysis/crosscheck"
	"github.com/acc-project/acc/analysis/humanize"
	"github.com/acc-project/acc/evidence/sshsig"
	"github.com/acc-project/acc/format"
)

// Verification is what verify says of one file.
type Verification struct {
	Schema int    `json:"schema"` // as in analyze
	File   string `json:"file"`   // as it was named
	// intact, unclean, truncated, corrupt, altered, unsigned or unconfirmed
	Verdict   string          `json:"verdict"`
	Integrity audit.File      `json:"integrity"` // whether the file is as its recorder wrote it
	Recording audit.Recording `json:"recording"` // whether what happened is in it
	// what is wrong, does not agree or could not be checked, a sentence each; empty: nothing
	Why     []string `json:"why"`
	Capture string   `json:"capture"` // verdict without signature and heads
	SHA256  string   `json:"sha256"`  // "" if reading gave up before the end
	Bytes   int64    `json:"bytes"`   // of the file, as far as it was read
	// of what the file has decrypted, if it is encrypted: other numbers of bytes are places in that
	Decrypted int64  `json:"decrypted_bytes,omitempty"`
	Head      string `json:"head"` // chain of the last frame that was read
	// up to which byte of the file that frame goes: what the head covers; 0: no frame was read
	HeadBytes int64            `json:"head_bytes"`
	Frames    uint32           `json:"frames"`   // that were read
	Events    uint64           `json:"events"`   // that were read
	ID        string           `json:"id"`       // capture id
	Ended     bool             `json:"ended"`    // END is there
	Clean     bool             `json:"clean"`    // and says that everything seen was written or counted
	Missing   *Missing         `json:"missing"`  // what a truncated capture lacks; null: nothing
	Skipped   []format.Skip    `json:"skipped"`  // what is corrupt and was left out
	Repaired  *format.Repaired `json:"repaired"` // what was done to it; null: it is no repaired capture
	Redacted  *format.Redacted `json:"redacted"` // of what it was made; null: names and addresses are the original ones
	// how it was cut out of another capture, the first cut first; absent: it is whole
	Cuts []format.Cut `json:"cuts,omitempty"`
	// whether it is what was cut out of the capture of --parent; absent: that was not asked
	Parent    *ParentResult   `json:"parent,omitempty"`
	Heads     []HeadResult    `json:"heads"`     // what became of each head that was asked for
	Log       *LogResult      `json:"log"`       // what the log of --checkpoints is worth; null: there is none
	Signature SignatureResult `json:"signature"` // what became of the signature

	CrossCheck crosscheck.Comparison `json:"cross_check"` // what the kernel's own counters say

	unbroken bool // the chain is, from the header to END
}

// Missing is what a truncated capture lacks.
type Missing struct {
	AfterEvent uint64 `json:"after_event"` // number of the last event before the place, 0: there is none
	AtByte     int64  `json:"at_byte"`     // where the place is
	RestBytes  int64  `json:"rest_bytes"`  // bytes behind the place, of an incomplete frame
	// of the last event that was read; null: there is none, or its time is not known
	AfterTime *time.Time `json:"after_time"`
}

// VerifyOptions say what a capture must agree with, beside itself.
type VerifyOptions struct {
	Name              string        // what the result and errors call the file
	Kept              *Kept         // chain heads that were kept elsewhere; nil: none
	Signature         SignatureFile // of the file
	SignatureRequired bool          // the file must have one
	Signers           *sshsig.Signers
	Revoked           *sshsig.Revoked // keys that may not sign any more; nil: none
	Identity          string          // of the signers; "": any
	Namespace         string          // that the signature must be for
	Endless           bool            // what is read need not have an end: of what is no capture little is read
}

// Verify reads a file once, from its beginning to its end, and judges it. What is wrong with it is in
// the result; an error says that it could not be read, or is no capture. open begins to read what
// it is given, salvaging; nil stands for a reader without options.
//
// Signers say who may sign: if they are given, or SignatureRequired is set, the verdict on a file
// without a valid signature is unsigned.
func Verify(ctx context.Context, src io.Reader, open func(io.Reader) (*Capture, error), o VerifyOptions) (*Verification,
	error) {
	if open == nil {
		open = func(r io.Reader) (*Capture, error) {
			reader, err := format.NewReader(r, format.ReaderOptions{Salvage: true})
			if err != nil {
				return nil, fmt.Errorf("%s: %w", o.Name, err)
			}
			return NewCapture(o.Name, reader, nil)
		}
	}
	v := &Verification{Schema: analysis.SchemaVersion, File: o.Name, Why: []string{}, Skipped: []format.Skip{},
		Heads: []HeadResult{}}
	sum := sha256.New()
	hashes := []hash.Hash{sum}
	var signed hash.Hash
	parsed, sigErr := o.Signature.parse()
	if parsed != nil {
		signed, _ = sshsig.NewHash(parsed.Hash)
		hashes = append(hashes, signed)
	}
	counted := &CountedReader{R: src}
	tee := &hashedReader{CountedReader: counted, hashes: hashes, exact: signed != nil}
	x := Examine(&format.Header{}, analysis.Options{VerdictOnly: true})
	last := &format.Batch{}
	c, readErr := open(tee)
	id := ""
	if readErr == nil {
		id = c.Header().ID
	} else {
		c = nil
	}
	want, log := o.Kept.of(id)
	if readErr == nil {
		x = Examine(c.Start(), analysis.Options{VerdictOnly: true})
		last, readErr = v.read(ctx, c, x, want)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	corrupt := new(format.CorruptError)
	if !errors.Is(readErr, io.EOF) && !errors.Is(readErr, format.ErrTruncated) && !errors.As(readErr, &corrupt) {
		return nil, readErr
	}
	rest, most := io.Reader(tee), int64(-1)
	if o.Endless && corrupt.Reason != "" { // reading may have given up
		rest, most = io.LimitReader(tee, 1), 1
	}
	n, err := io.Copy(io.Discard, rest) // what reading left over
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", o.Name, err)
	}
	v.Bytes = counted.N
	endless := n == most
	if !endless && tee.hole == 0 {
		v.SHA256 = hex.EncodeToString(sum.Sum(nil))
	}
	if err := v.judge(c, readErr, last, x); err != nil {
		return nil, err
	}
	if tee.hole > 0 {
		v.Why = append(v.Why, fmt.Sprintf("no SHA-256: %s of the file are holes, which acc does not read",
			humanize.Bytes(tee.hole)))
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
	v.judgeSignature(parsed, sigErr, digest, &o)
	return v, nil
}

// read goes through the capture and notes what it says, and the wanted heads on
// the way. A head counts only while the chain from the beginning is unbroken.
func (v *Verification) read(ctx context.Context, c *Capture, x *Examination, want *wanted) (last *format.Batch,
	err error) {
	h := c.Header()
	v.ID, v.Repaired, v.Redacted, v.Cuts = h.ID, h.Repaired, h.Redacted, h.Cuts
	last = &format.Batch{}
	for ctx.Err() == nil {
		b, err := c.Next()
		if err != nil {
			return last, err
		}
		newest := format.Event{} // of the frame
		watched := b.WithParts(func(yield func([]format.Event) bool) {
			for events := range b.Parts() {
				v.Events += uint64(len(events))
				newest.Seq, newest.BootNS = events[len(events)-1].Seq, events[len(events)-1].BootNS
				if !yield(events) {
					return
				}
			}
		})
		if err := x.Add(watched, len(c.Skipped())); err != nil {
			return last, err
		}
		v.Frames, v.Head = b.Frame+1, hex.EncodeToString(b.Chain[:])
		v.HeadBytes = b.Offset + b.Bytes
		last.Offset, last.Bytes = b.Offset, b.Bytes
		if len(c.Skipped()) == 0 {
			v.unbroken = b.End != nil
			want.seen(b, v.Events)
		}
		if newest.Seq > 0 {
			v.Missing = &Missing{AfterEvent: newest.Seq}
			if ns := newest.BootNS; x.Clocks().Known(ns) {
				at := x.Clocks().Time(ns)
				v.Missing.AfterTime = &at
			}
		}
	}
	return last, ctx.Err()
}

// judge gives the verdict on the capture itself.
func (v *Verification) judge(c *Capture, readErr error, last *format.Batch, x *Examination) error {
	if corrupt := new(format.CorruptError); c == nil && errors.As(readErr, &corrupt) { // no frame of it can be read
		v.Skipped = append(v.Skipped, format.Skip{Bytes: v.Bytes, Reason: corrupt.Reason})
	} else if c != nil {
		v.Skipped = append(v.Skipped, c.Skipped()...)
	}
	r, err := x.Finish(readErr, v.Skipped)
	if err != nil {
		return err
	}
	v.Integrity, v.Recording, v.CrossCheck = r.Integrity, r.Recording, r.CrossCheck
	end := x.End()
	v.Ended, v.Clean = end != nil, end != nil && end.Clean
	miss := v.Missing
	v.Missing = nil
	v.Capture = v.Integrity.State
	v.Why = append(v.Why, v.Integrity.Why...)
	if v.Capture == audit.Intact && (!end.Clean || c.Header().Repaired != nil) {
		v.Capture = Unclean
		v.Why = append(v.Why, uncleanWhy(end, c.Header().Repaired))
	}
	v.Why = append(v.Why, x.Unchecked()...)
	if v.CrossCheck.Verdict == crosscheck.VerdictDiffers { // which is no fault of the file
		n := int64(0)
		for _, s := range v.CrossCheck.Spaces {
			n += s.Unexplained
		}
		why := fmt.Sprintf("%d TCP connections are not accounted for", n)
		if n < 0 {
			why = fmt.Sprintf("%d more TCP connections were recorded than the kernel counted", -n)
		}
		v.Why = append(v.Why, "the kernel's own counters do not agree: "+why)
	}
	if errors.Is(readErr, format.ErrTruncated) || !v.Ended {
		if miss == nil {
			miss = &Missing{}
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
func (v *Verification) forge(format string, args ...any) {
	v.Verdict = audit.Altered
	v.Why = append(v.Why, fmt.Sprintf(format, args...))
	v.Integrity.Why = append(v.Integrity.Why, fmt.Sprintf(format, args...))
	if v.Integrity.State == audit.Intact {
		v.Integrity.State = audit.Altered
	}
}

// unconfirm makes it the verdict that nothing which was kept vouches for the file,
// unless there is a worse one.
func (v *Verification) unconfirm(why string) {
	if v.Verdict != audit.Altered && v.Verdict != "corrupt" {
		v.Verdict = Unconfirmed
	}
	v.Why = append(v.Why, why)
}

// ParentResult says whether a capture is what was cut out of another one.
type ParentResult struct {
	File string `json:"file"` // the capture that it is compared with
	// proven: cutting that again gives the same; differs: it does not; other: it names another capture, or none
	Status string `json:"status"`
	Why    string `json:"why"` // what is wrong, "" if it is proven
}

// What can become of the proof of a cut.
const (
	ParentProven  = "proven"
	ParentDiffers = "differs"
	ParentOther   = "other"
)

// SetParent takes what became of the proof: what is not proven is not what it says that it is.
func (v *Verification) SetParent(r ParentResult) {
	v.Parent = &r
	switch r.Status {
	case ParentDiffers:
		v.forge("it is not what was cut out of %s: %s", r.File, r.Why)
	case ParentOther:
		v.unconfirm(r.Why)
	}
}
