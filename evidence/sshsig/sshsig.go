// Package sshsig makes and checks detached signatures in OpenSSH's format
// (PROTOCOL.sshsig in its sources): what ssh-keygen -Y sign writes and
// ssh-keygen -Y verify reads, with the keys and lists of signers that people
// have already.
//
// Exported names may change until version 1; CHANGELOG.md says which changed.
package sshsig

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"

	"golang.org/x/crypto/ssh"
)

const (
	magic   = "SSHSIG"
	version = 1
	// maxSize bounds an armoured signature; one by a 16384-bit RSA key has 6 KiB.
	maxSize = 64 << 10
	armour  = "SSH SIGNATURE"
)

// Begin is how an armoured signature begins.
const Begin = "-----BEGIN " + armour + "-----"

// envelope is what the armour holds, behind the magic.
type envelope struct {
	Version   uint32
	PublicKey []byte
	Namespace string
	Reserved  string
	Hash      string
	Signature []byte
}

// signed is what the key signs, behind the magic.
type signed struct {
	Namespace string
	Reserved  string
	Hash      string
	Digest    []byte
}

// Signature is one that was read.
type Signature struct {
	Key       ssh.PublicKey
	Namespace string
	Hash      string // "sha256" or "sha512": of the message
	signature ssh.Signature
}

// NewHash gives the hash of a name that a signature can have.
func NewHash(name string) (hash.Hash, error) {
	switch name {
	case "sha256":
		return sha256.New(), nil
	case "sha512":
		return sha512.New(), nil
	}
	return nil, fmt.Errorf("signature is over a %q hash, which the format does not have", name)
}

// Sign gives the armoured signature of the message with the SHA-512 digest, in a
// namespace, which must not be empty.
func Sign(signer ssh.Signer, namespace string, digest []byte) ([]byte, error) {
	if namespace == "" {
		return nil, errors.New("sign: the namespace is empty")
	}
	if len(digest) != sha512.Size {
		return nil, fmt.Errorf("sign: a digest of %d bytes", len(digest))
	}
	message := append([]byte(magic), ssh.Marshal(signed{Namespace: namespace, Hash: "sha512", Digest: digest})...)
	sig, err := sign(signer, message)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	body := append([]byte(magic), ssh.Marshal(envelope{
		Version: version, PublicKey: signer.PublicKey().Marshal(), Namespace: namespace, Hash: "sha512",
		Signature: ssh.Marshal(sig),
	})...)
	return wrap(body), nil
}

// sign signs with SHA-2 where the key is RSA: its old SHA-1 scheme is not allowed.
func sign(signer ssh.Signer, message []byte) (*ssh.Signature, error) {
	if signer.PublicKey().Type() != ssh.KeyAlgoRSA {
		return signer.Sign(rand.Reader, message)
	}
	rsa, ok := signer.(ssh.AlgorithmSigner)
	if !ok {
		return nil, errors.New("the RSA key can't sign with SHA-512")
	}
	return rsa.SignWithAlgorithm(rand.Reader, message, ssh.KeyAlgoRSASHA512)
}

// wrap armours a body as ssh-keygen does, in lines of 70.
func wrap(body []byte) []byte {
	text := base64.StdEncoding.EncodeToString(body)
	out := bytes.NewBufferString("-----BEGIN " + armour + "-----\n")
	for len(text) > 0 {
		n := min(len(text), 70)
		out.WriteString(text[:n] + "\n")
		text = text[n:]
	}
	out.WriteString("-----END " + armour + "-----\n")
	return out.Bytes()
}

// unwrap takes the armour off, as strictly as OpenSSH's sshsig_dearmor does: nothing
// stands before it, its first line ends in LF alone, and what is behind it does not matter.
func unwrap(armoured []byte) ([]byte, error) {
	text, ok := bytes.CutPrefix(armoured, []byte(Begin))
	if !ok {
		return nil, errors.New("not an SSH signature")
	}
	text, ok = bytes.CutPrefix(text, []byte("\n"))
	if !ok {
		return nil, errors.New("not an SSH signature: its first line does not end in a line feed alone, and " +
			"ssh-keygen takes none that is so")
	}
	text, _, ok = bytes.Cut(text, []byte("\n-----END "+armour+"-----"))
	if !ok {
		return nil, errors.New("not an SSH signature: it has no end")
	}
	if len(text) > maxSize {
		return nil, fmt.Errorf("signature has %d bytes: too many for one", len(text))
	}
	text = bytes.TrimSuffix(text, []byte{0}) // which it takes for the end of a C string
	raw, err := decodeBase64(string(text))
	if err != nil {
		return nil, errors.New("not an SSH signature: what is in it is not base64")
	}
	return raw, nil
}

// Parse reads an armoured signature. It proves nothing yet; see [Signature.Verify].
func Parse(armoured []byte) (*Signature, error) {
	raw, err := unwrap(armoured)
	if err != nil {
		return nil, err
	}
	body, ok := bytes.CutPrefix(raw, []byte(magic))
	if !ok {
		return nil, errors.New("not an SSH signature: it does not begin with SSHSIG")
	}
	var e envelope
	if err := ssh.Unmarshal(body, &e); err != nil {
		return nil, fmt.Errorf("read signature: %w", err)
	}
	if e.Version != version {
		return nil, fmt.Errorf("signature has version %d, only %d is known", e.Version, version)
	}
	if _, err := NewHash(e.Hash); err != nil {
		return nil, err
	}
	key, err := ssh.ParsePublicKey(e.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("read the signature's key: %w", err)
	}
	if _, cert := key.(*ssh.Certificate); cert {
		return nil, errors.New("signature is by a certificate, which acc can't check; ssh-keygen -Y verify can")
	}
	s := &Signature{Key: key, Namespace: e.Namespace, Hash: e.Hash}
	if err := ssh.Unmarshal(e.Signature, &s.signature); err != nil {
		return nil, fmt.Errorf("read signature: %w", err)
	}
	if key.Type() == ssh.KeyAlgoRSA && s.signature.Format != ssh.KeyAlgoRSASHA256 &&
		s.signature.Format != ssh.KeyAlgoRSASHA512 {
		return nil, fmt.Errorf("signature is by %q, which is not safe", s.signature.Format)
	}
	return s, nil
}

// Fingerprint is that of the signature's key, as ssh-keygen -l prints it.
func (s *Signature) Fingerprint() string { return ssh.FingerprintSHA256(s.Key) }

// Verify checks that the signature is the key's, over the digest by s.Hash of the
// message, in the namespace. Whose key it is only a list of signers says.
func (s *Signature) Verify(namespace string, digest []byte) error {
	if s.Namespace != namespace || namespace == "" {
		return fmt.Errorf("signature is for the namespace %q, not %q", s.Namespace, namespace)
	}
	message := append([]byte(magic), ssh.Marshal(signed{Namespace: namespace, Hash: s.Hash, Digest: digest})...)
	if err := s.Key.Verify(message, &s.signature); err != nil {
		return errors.New("signature does not match the file")
	}
	return nil
}
