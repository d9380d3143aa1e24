package evidence

// This file says whether the signature of a capture is by somebody who may sign.

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/acc-project/acc/analysis/audit"
	"github.com/acc-project/acc/evidence/sshsig"
)

// SignatureResult is what verify says of a signature.
type SignatureResult struct {
	Status     string `json:"status"`     // none, good, valid (its signer was not asked for) or bad
	Why        string `json:"why"`        // what is wrong with it, "" if nothing
	File       string `json:"file"`       // of the signature, "" if there is none
	Key        string `json:"key"`        // fingerprint
	Type       string `json:"type"`       // of the key
	Namespace  string `json:"namespace"`  // that it was made for
	Principals string `json:"principals"` // of the line that allows the key
}

// SignatureFile is a detached signature as it was found. The zero value is none.
type SignatureFile struct {
	Name string
	Data []byte
	Err  error // why it can't be read; fs.ErrNotExist: there is none
}

// parse reads it; nil without an error if there is none.
func (s *SignatureFile) parse() (*sshsig.Signature, error) {
	switch {
	case errors.Is(s.Err, fs.ErrNotExist), s.Err == nil && s.Data == nil:
		return nil, nil
	case s.Err != nil:
		return nil, s.Err
	}
	return sshsig.Parse(s.Data)
}

// judgeSignature says whether the file is what somebody who may has signed.
func (v *Verification) judgeSignature(sig *sshsig.Signature, err error, digest []byte, o *VerifyOptions) {
	r := &v.Signature
	r.Status, r.File = "none", o.Signature.Name
	asked := o.Signers != nil || o.SignatureRequired
	unsigned := func(why string) {
		r.Why = why
		if asked && v.Verdict != audit.Altered && v.Verdict != audit.Corrupt {
			v.Verdict = Unsigned
		}
		v.Why = append(v.Why, why)
	}
	switch {
	case err != nil:
		r.Status = "bad"
		unsigned("no signature can be read: " + err.Error())
		return
	case sig == nil:
		r.File, r.Why = "", "there is no signature"
		if asked {
			unsigned(r.Why)
		}
		return
	}
	r.Key, r.Type, r.Namespace = sig.Fingerprint(), sig.Key.Type(), sig.Namespace
	if sig.Namespace != o.Namespace {
		r.Status = "bad"
		unsigned(fmt.Sprintf("the signature is for the namespace %q, not %q", sig.Namespace, o.Namespace))
		return
	}
	if err := sig.Verify(o.Namespace, digest); err != nil {
		r.Status, r.Why = "bad", err.Error()
		if v.Capture == "corrupt" || v.Capture == "truncated" { // which explains it
			r.Why = "it does not match the file, which is " + v.Capture
			v.Why = append(v.Why, "the signature does not match the file, which is "+v.Capture)
			return
		}
		v.forge("the file is not what was signed: %v", err)
		return
	}
	r.Status = "valid"
	if o.Revoked != nil && o.Revoked.Has(sig.Key) {
		r.Status = "bad"
		unsigned("the file is signed, but its key is revoked")
		return
	}
	if o.Signers == nil {
		return
	}
	principals, ok, why := o.Signers.Find(sig, o.Identity, time.Now())
	if !ok {
		r.Status = "bad"
		unsigned("the file is signed, but " + why)
		return
	}
	r.Status, r.Principals = "good", principals
}
