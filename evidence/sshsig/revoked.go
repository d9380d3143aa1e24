package sshsig

// This file reads lists of revoked keys.

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // a key revocation list may name keys by it
	"crypto/sha256"
	"errors"
	"fmt"
	mathbits "math/bits"
	"strings"

	"golang.org/x/crypto/ssh"
)

// Revoked is a list of keys that nobody may use any more: what ssh-keygen -Y verify -r
// takes. It is a file of public keys, one a line, or a key revocation list (KRL), which
// ssh-keygen -k writes and PROTOCOL.krl in OpenSSH's sources specifies.
type Revoked struct {
	keys, sha1s, sha256s map[string]bool // blobs of keys, and hashes of them
}

// ParseRevoked reads a list of revoked keys. Everything in it must be understood: a
// list that is read in part might revoke too little.
func ParseRevoked(data []byte) (*Revoked, error) {
	r := &Revoked{keys: map[string]bool{}, sha1s: map[string]bool{}, sha256s: map[string]bool{}}
	if body, ok := bytes.CutPrefix(data, []byte(krlMagic)); ok {
		if err := r.readKRL(krl(body)); err != nil {
			return nil, fmt.Errorf("read key revocation list: %w", err)
		}
		return r, nil
	}
	n := 0
	for line := range bytes.Lines(data) {
		n++
		text := strings.TrimLeft(cString(line), " \t")
		if text == "" || text[0] == '#' || text[0] == '\n' {
			continue
		}
		key, err := parseKey(text)
		if err != nil {
			return nil, fmt.Errorf("revoked keys, line %d: %w", n, err)
		}
		if cert, ok := key.(*ssh.Certificate); ok { // OpenSSH compares its key
			key = cert.Key
		}
		r.keys[string(key.Marshal())] = true
	}
	return r, nil
}

// Has says whether a key is revoked.
func (r *Revoked) Has(key ssh.PublicKey) bool {
	blob := key.Marshal()
	s1, s256 := sha1.Sum(blob), sha256.Sum256(blob) //nolint:gosec // see above
	return r.keys[string(blob)] || r.sha1s[string(s1[:])] || r.sha256s[string(s256[:])]
}

// The numbers of PROTOCOL.krl.
const (
	krlMagic        = "SSHKRL\n\x00"
	krlVersion      = 1
	krlCertificates = 1
	krlKeys         = 2
	krlSHA1         = 3
	krlSignature    = 4
	krlSHA256       = 5
	krlExtension    = 255

	krlSerialList    = 0x20
	krlSerialRange   = 0x21
	krlSerialBitmap  = 0x22
	krlKeyID         = 0x23
	krlCertExtension = 0x39

	maxBitmap = 16384 / 8 // bytes
)

var errShort = errors.New("it ends too early")

// krl is what is left to read of a key revocation list, or of a section of it.
type krl []byte

func (k *krl) number(bytes int) (v uint64, err error) {
	if len(*k) < bytes {
		return 0, errShort
	}
	for _, b := range (*k)[:bytes] {
		v = v<<8 | uint64(b)
	}
	*k = (*k)[bytes:]
	return v, nil
}

func (k *krl) text() (krl, error) {
	n, err := k.number(4)
	if err != nil || n > uint64(len(*k)) {
		return nil, errShort
	}
	s := (*k)[:n]
	*k = (*k)[n:]
	return s, nil
}

// skip reads texts and gives the first error.
func (k *krl) skip(texts int) error {
	for range texts {
		if _, err := k.text(); err != nil {
			return err
		}
	}
	return nil
}

// readKRL reads what follows the magic.
func (r *Revoked) readKRL(k krl) error {
	v, err := k.number(4)
	if err != nil {
		return err
	}
	if v != krlVersion {
		return fmt.Errorf("version %d, only %d is known", v, krlVersion)
	}
	if len(k) < 3*8 {
		return errShort
	}
	k = k[3*8:] // number, date, flags
	if err := k.skip(1); err != nil {
		return err
	}
	if comment, err := k.text(); err != nil || hasNUL(comment) {
		return errors.New("its comment can't be read")
	}
	for len(k) > 0 {
		kind, _ := k.number(1)
		section, err := k.text()
		if err != nil {
			return err
		}
		if err := r.readSection(kind, section); err != nil {
			return fmt.Errorf("section %d: %w", kind, err)
		}
	}
	return nil
}

func (r *Revoked) readSection(kind uint64, s krl) error {
	switch kind {
	case krlCertificates:
		return readCertificates(s)
	case krlKeys:
		return addBlobs(r.keys, s, 0)
	case krlSHA1:
		return addBlobs(r.sha1s, s, sha1.Size)
	case krlSHA256:
		return addBlobs(r.sha256s, s, sha256.Size)
	case krlExtension:
		return readExtension(s)
	case krlSignature:
		return errors.New("it is signed inside, which acc does not check")
	}
	return errors.New("of an unknown kind")
}

// addBlobs reads texts into a set, all of one size if it is not 0.
func addBlobs(set map[string]bool, s krl, size int) error {
	for len(s) > 0 {
		b, err := s.text()
		if err != nil {
			return err
		}
		if size != 0 && len(b) != size {
			return fmt.Errorf("a hash of %d bytes", len(b))
		}
		set[string(b)] = true
	}
	return nil
}

// readExtension passes over an extension, unless it says that nobody may.
func readExtension(s krl) error {
	name, err := s.text()
	if err != nil {
		return err
	}
	critical, err := s.number(1)
	if err != nil {
		return err
	}
	if err := s.skip(1); err != nil {
		return err
	}
	if len(s) > 0 || hasNUL(name) {
		return errors.New("an extension can't be read")
	}
	if critical != 0 {
		return fmt.Errorf("extension %q must be understood, and is not known", name)
	}
	return nil
}

// readCertificates holds a section of revoked certificates against the format. Nothing of
// it is kept: a signature by a certificate is none that acc accepts.
func readCertificates(s krl) error {
	authority, err := s.text()
	if err != nil {
		return err
	}
	if len(authority) > 0 {
		if _, err := ssh.ParsePublicKey(authority); err != nil {
			return fmt.Errorf("its authority: %w", err)
		}
	}
	if err := s.skip(1); err != nil {
		return err
	}
	for len(s) > 0 {
		kind, _ := s.number(1)
		part, err := s.text()
		if err != nil {
			return err
		}
		if err := readCertPart(kind, part); err != nil {
			return fmt.Errorf("part %#x: %w", kind, err)
		}
	}
	return nil
}

func readCertPart(kind uint64, s krl) error {
	switch kind {
	case krlSerialList:
		for len(s) > 0 {
			if n, err := s.number(8); err != nil || n == 0 {
				return errors.New("a serial number can't be read, or is 0")
			}
		}
		return nil
	case krlSerialRange:
		from, _ := s.number(8)
		to, err := s.number(8)
		if err != nil || len(s) > 0 || from == 0 || from > to {
			return errors.New("a range of serial numbers that is none")
		}
		return nil
	case krlSerialBitmap:
		return readBitmap(s)
	case krlKeyID:
		for len(s) > 0 {
			if id, err := s.text(); err != nil || hasNUL(id) {
				return errors.New("a key id can't be read")
			}
		}
		return nil
	case krlCertExtension:
		return readExtension(s)
	}
	return errors.New("of an unknown kind")
}

// readBitmap holds a map of serial numbers against what OpenSSH takes: it is not
// negative, not too long, has not the number 0, and none beyond the last.
func readBitmap(s krl) error {
	from, err := s.number(8)
	if err != nil {
		return err
	}
	bits, err := s.text()
	if err != nil || len(s) > 0 || len(bits) > 0 && bits[0]&0x80 != 0 {
		return errors.New("a map of serial numbers can't be read")
	}
	bits = bytes.TrimLeft(bits, "\x00")
	n := len(bits)
	switch {
	case n > maxBitmap:
		return errors.New("a map of serial numbers is too long")
	case n == 0:
		return nil
	case from == 0 && bits[n-1]&1 != 0:
		return errors.New("a serial number is 0")
	}
	if last := uint64(8*(n-1) + mathbits.Len8(bits[0]) - 1); from+last < from {
		return errors.New("a map of serial numbers goes beyond the last one")
	}
	return nil
}

// hasNUL says whether a text is none for C: a NUL may only be its last byte.
func hasNUL(s krl) bool {
	i := bytes.IndexByte(s, 0)
	return i >= 0 && i < len(s)-1
}
