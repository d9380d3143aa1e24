// Package seal encrypts captures by age (age-encryption.org/v1) while they are written, and reads them.
//
// Each write becomes a part of its own: a zstd skippable frame whose payload is a head of 16 bytes and an age file. So
// what was written can be decrypted whatever becomes of the writer, and each part by any implementation of age.
//
// Exported names may change until version 1; CHANGELOG.md says which changed.
package seal

// This file writes parts.

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
)

const (
	headSize = 24       // of a part, before its age file: skippable frame, mark and type, number, length of the content
	maxPart  = 33 << 20 // bytes of a part
)

// mark begins the payload of a part, behind the length of its skippable frame.
var mark = []byte{'a', 'c', 'c', 1, 5, 0, 0, 0}

var magic = []byte{0x5c, 0x2a, 0x4d, 0x18}

// Writer encrypts what is written to it. It is for one goroutine.
type Writer struct {
	w          io.Writer
	recipients []age.Recipient
	n          uint32
	buf        bytes.Buffer
}

// NewWriter encrypts to w, for all of these recipients.
func NewWriter(w io.Writer, recipients []age.Recipient) *Writer {
	return &Writer{w: w, recipients: recipients}
}

// Write writes p as one part, in one call of the underlying writer.
func (w *Writer) Write(p []byte) (int, error) {
	if len(p) > maxPart-1<<20 {
		return 0, fmt.Errorf("encrypt %d bytes at once: too many", len(p))
	}
	w.buf.Reset()
	w.buf.Write(make([]byte, headSize))
	enc, err := age.Encrypt(&w.buf, w.recipients...)
	if err != nil {
		return 0, fmt.Errorf("encrypt: %w", err)
	}
	_, err = enc.Write(p)
	if err := errors.Join(err, enc.Close()); err != nil {
		return 0, fmt.Errorf("encrypt: %w", err)
	}
	b := w.buf.Bytes()
	putHead(b, w.n, len(p))
	w.n++
	n, err := w.w.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// putHead writes the head of a part, which has all bytes of b.
func putHead(b []byte, number uint32, content int) {
	copy(b, magic)
	le := binary.LittleEndian
	le.PutUint32(b[4:], uint32(len(b)-8))
	copy(b[8:], mark)
	le.PutUint32(b[16:], number)
	le.PutUint32(b[20:], uint32(content))
}

// Recipients reads recipients: age1…, an SSH public key, or a file of such, a line each.
func Recipients(names []string) (list []age.Recipient, err error) {
	for _, name := range names {
		if strings.HasPrefix(name, "age1") || strings.HasPrefix(name, "ssh-") {
			r, err := recipient(name)
			if err != nil {
				return nil, err
			}
			list = append(list, r)
			continue
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("%q is neither a recipient (age1…, ssh-ed25519 …) nor a file of some: %w", name, err)
		}
		before := len(list)
		for line := range strings.Lines(string(b)) {
			if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
				continue
			}
			r, err := recipient(line)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			list = append(list, r)
		}
		if len(list) == before {
			return nil, fmt.Errorf("%s has no recipient", name)
		}
	}
	if len(list) > maxRecipients {
		return nil, fmt.Errorf("%d recipients: %d are the most", len(list), maxRecipients)
	}
	return list, nil
}

// maxRecipients bounds what each part takes.
const maxRecipients = 20

func recipient(text string) (age.Recipient, error) {
	switch {
	case strings.HasPrefix(text, "AGE-SECRET-KEY-"):
		return nil, errors.New("that is a secret key, not a recipient: age-keygen -y prints the recipient of one")
	case strings.HasPrefix(text, "ssh-"):
		r, err := agessh.ParseRecipient(text)
		if err != nil {
			return nil, fmt.Errorf("read the SSH public key: %w", err)
		}
		return r, nil
	}
	list, err := age.ParseRecipients(strings.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("read the recipient %q: %w", text, err)
	}
	return list[0], nil
}

// Identities reads a file of age identities (AGE-SECRET-KEY-1…), or an SSH private key.
func Identities(b []byte) ([]age.Identity, error) {
	if bytes.Contains(b, []byte("PRIVATE KEY-----")) {
		id, err := agessh.ParseIdentity(b)
		if err != nil {
			return nil, fmt.Errorf("read the SSH private key: %w", err)
		}
		return []age.Identity{id}, nil
	}
	list, err := age.ParseIdentities(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("read the identities: %w", err)
	}
	return list, nil
}
