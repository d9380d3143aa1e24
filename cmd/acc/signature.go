package main

// This file reads the signature and the lists of signers that verify is given.

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/acc-project/acc/evidence"
	"github.com/acc-project/acc/evidence/sshsig"
)

// defaultNamespace is what ssh-keygen(1) names for signatures of files.
const defaultNamespace = "file"

// openSignature reads FILE.sig, or the file that was named.
func openSignature(capture, name string) evidence.SignatureFile {
	asked := name != ""
	if !asked {
		if capture == "-" {
			return evidence.SignatureFile{Err: fs.ErrNotExist}
		}
		name = capture + ".sig"
	}
	s := evidence.SignatureFile{Name: name}
	// What was not asked for is not waited for.
	if st, err := os.Stat(name); !asked && err == nil && !st.Mode().IsRegular() {
		s.Err = fmt.Errorf("%s is no regular file", name)
		return s
	}
	s.Data, s.Err = readStart(name, 128<<10)
	if asked && errors.Is(s.Err, fs.ErrNotExist) {
		s.Err = fmt.Errorf("%s is not there", name)
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
