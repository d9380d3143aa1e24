package sshsig

// This file loads keys to sign with, from files and an ssh-agent.

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// ErrEncrypted says that a key is behind a passphrase and no agent holds it.
var ErrEncrypted = errors.New("the key is encrypted and no ssh-agent holds it")

// LoadKey gives the signer of a key file: a private key, or a public one (NAME.pub)
// whose private half an ssh-agent holds, as for an encrypted one, or is in NAME. The
// error wraps ErrEncrypted where an agent would help. done ends the use of the signer.
func LoadKey(name string) (s ssh.Signer, done func(), err error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, nil, err
	}
	done = func() {}
	if public, _, _, _, err := ssh.ParseAuthorizedKey(data); err == nil {
		s, done, err := fromAgent(name, public)
		if errors.Is(err, ErrEncrypted) {
			return besidePublic(name, public, err)
		}
		return s, done, err
	}
	s, err = ssh.ParsePrivateKey(data)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		public := locked.PublicKey
		if public == nil { // an old PEM file does not tell
			if data, err := os.ReadFile(name + ".pub"); err == nil {
				public, _, _, _, _ = ssh.ParseAuthorizedKey(data)
			}
		}
		if public == nil {
			return nil, nil, fmt.Errorf("read key %s: %w", name, ErrEncrypted)
		}
		return fromAgent(name, public)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read key %s: %w", name, err)
	}
	return s, done, nil
}

// besidePublic gives the signer of the private key that lies beside a public one that
// no agent holds, for which noAgent is the error.
func besidePublic(name string, public ssh.PublicKey, noAgent error) (ssh.Signer, func(), error) {
	private, ok := strings.CutSuffix(name, ".pub")
	if !ok {
		return nil, nil, fmt.Errorf("read key %s: it is a public one, and no ssh-agent holds its private half", name)
	}
	data, err := os.ReadFile(private)
	if err != nil {
		return nil, nil, fmt.Errorf("read key %s: no ssh-agent holds its private half: %w", name, err)
	}
	s, err := ssh.ParsePrivateKey(data)
	if errors.As(err, new(*ssh.PassphraseMissingError)) {
		return nil, nil, noAgent
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read key %s: %w", private, err)
	}
	if !bytes.Equal(s.PublicKey().Marshal(), public.Marshal()) {
		return nil, nil, fmt.Errorf("read key %s: %s is the private half of another key", name, private)
	}
	return s, func() {}, nil
}

// fromAgent gives the agent's signer for a public key.
func fromAgent(name string, public ssh.PublicKey) (ssh.Signer, func(), error) {
	missing := fmt.Errorf("read key %s: %w", name, ErrEncrypted)
	sock := os.Getenv("SSH_AUTH_SOCK")
	if sock == "" {
		return nil, nil, missing
	}
	conn, err := net.Dial("unix", sock)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", missing, err)
	}
	signers, err := agent.NewClient(conn).Signers()
	if err != nil {
		conn.Close()
		return nil, nil, fmt.Errorf("%w: %w", missing, err)
	}
	for _, s := range signers {
		if bytes.Equal(s.PublicKey().Marshal(), public.Marshal()) {
			return s, func() { conn.Close() }, nil
		}
	}
	conn.Close()
	return nil, nil, missing
}
