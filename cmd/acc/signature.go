package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/acc-project/acc/analysis/audit"
	"github.com/acc-project/acc/evidence/sshsig"
)

// defaultNamespace is what ssh-keygen(1) names for signatures of files.
const defaultNamespace = "file"

// signatureResult is what verify says of a signature.
type signatureResult struct {
	Status     string `json:"status"`     // none, good, valid (its signer was not asked for) or bad
	Why        string `json:"why"`        // what is wrong with it, "" if nothing
	File       string `json:"file"`       // of the signature, "" if there is none
	Key        string `json:"key"`        // fingerprint
	Type       string `json:"type"`       // of the key
	Namespace  string `json:"namespace"`  // that it was made for
	Principals string `json:"principals"` // of the line that allows the key
}

// signatureFile is a signature as it was found.
type signatureFile struct {
	name string
	data []byte
	err  error // fs.ErrNotExist: there is none
}

// openSignature reads FILE.sig, or the file that was named.
func openSignature(capture, name string) signatureFile {
	asked := name != ""
	if !asked {
		if capture == "-" {
			return signatureFile{err: fs.ErrNotExist}
		}
		name = capture + ".sig"
	}
	s := signatureFile{name: name}
	// What was not asked for is not waited for.
	if st, err := os.Stat(name); !asked && err == nil && !st.Mode().IsRegular() {
		s.err = fmt.Errorf("%s is no regular file", name)
		return s
	}
	s.data, s.err = readStart(name, 128<<10)
	if asked && errors.Is(s.err, fs.ErrNotExist) {
		s.err = fmt.Errorf("%s is not there", name)
	}
	return s
}

// readStart reads the first bytes of a file, most at most.
func readStart(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most))
}

// parse reads it; nil without an error if there is none.
func (s *signatureFile) parse() (*sshsig.Signature, error) {
	if s.err != nil {
		if errors.Is(s.err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, s.err
	}
	return sshsig.Parse(s.data)
}

// Most bytes of the lists that verify reads.
const (
	maxSigners = 4 << 20
	maxRevoked = 8 << 20
)

// signerLists say who may sign, and which keys may not any more.
type signerLists struct {
	allowed *sshsig.Signers // nil: nobody asks
	revoked *sshsig.Revoked // nil: none
}

// readSigners reads the lists that verify's options name.
func readSigners(o *verifyOptions) (*signerLists, error) {
	l := &signerLists{}
	if o.signers != "" {
		data, err := readSmall(o.signers, maxSigners)
		if err == nil {
			l.allowed, err = sshsig.ParseSigners(data)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.signers, err)
		}
	}
	if o.revoked != "" {
		data, err := readSmall(o.revoked, maxRevoked)
		if err == nil {
			l.revoked, err = sshsig.ParseRevoked(data)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.revoked, err)
		}
	}
	return l, nil
}

// judgeSignature says whether the file is what somebody who may has signed.
func (v *verified) judgeSignature(file signatureFile, sig *sshsig.Signature, err error, digest []byte, who *signerLists, o *verifyOptions) {
	r := &v.Signature
	r.Status, r.File = "none", file.name
	asked := who.allowed != nil || o.signature != ""
	unsigned := func(why string) {
		r.Why = why
		if asked && v.Verdict != audit.Altered && v.Verdict != audit.Corrupt {
			v.Verdict = "unsigned"
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
	if sig.Namespace != o.namespace {
		r.Status = "bad"
		unsigned(fmt.Sprintf("the signature is for the namespace %q, not %q", sig.Namespace, o.namespace))
		return
	}
	if err := sig.Verify(o.namespace, digest); err != nil {
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
	if who.revoked != nil && who.revoked.Has(sig.Key) {
		r.Status = "bad"
		unsigned("the file is signed, but its key is revoked")
		return
	}
	if who.allowed == nil {
		return
	}
	principals, ok, why := who.allowed.Find(sig, o.identity, time.Now())
	if !ok {
		r.Status = "bad"
		unsigned("the file is signed, but " + why)
		return
	}
	r.Status, r.Principals = "good", principals
}
