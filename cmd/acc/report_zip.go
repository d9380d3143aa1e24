package main

// This file puts a page into a zip file, and says what is known of a signature.

import (
	"archive/zip"
	"fmt"
	"io"

	"github.com/acc-project/acc/evidence"
	"github.com/acc-project/acc/format"
)

// zipOf begins a zip file with one file in it. done ends it.
func zipOf(w io.Writer, name string) (file io.Writer, done func() error, err error) {
	z := zip.NewWriter(w)
	file, err = z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate})
	return file, z.Close, err
}

// signatureText says what is known of a signature where nobody said who may sign.
func signatureText(s *evidence.SignatureResult) string {
	switch s.Status {
	case "good", "valid":
		return fmt.Sprintf("valid, by the key %s %s; acc verify --allowed-signers says whose that is", format.Quote(s.Type),
			format.Quote(s.Key))
	case "bad":
		return "BAD: " + format.Quote(s.Why)
	}
	return "none"
}
