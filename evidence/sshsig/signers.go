package sshsig

// This file reads lists of allowed signers.

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// Signers is a list of allowed signers: the file that ssh-keygen -Y verify -f
// takes; ssh-keygen(1), ALLOWED SIGNERS. It is read as sshsig.c of OpenSSH reads it,
// byte by byte: what one of them refuses the other must not allow.
type Signers struct {
	lines []signer
	bad   error // of the first line that can't be read, nil if all can
}

// signer is one line.
type signer struct {
	principals string // patterns, separated by commas
	key        ssh.PublicKey
	signerOptions
}

// signerOptions stand before the key of a line.
type signerOptions struct {
	authority     bool
	hasNamespaces bool
	namespaces    string // patterns, separated by commas
	after, before int64  // seconds since 1970, 0: without
}

// ParseSigners reads a list of allowed signers. A line that can't be read allows
// nobody; it is an error if there is no other. Times without a zone are local ones.
func ParseSigners(data []byte) (*Signers, error) { return parseSigners(data, time.Local) }

func parseSigners(data []byte, zone *time.Location) (*Signers, error) {
	var s Signers
	n := 0
	for line := range bytes.Lines(data) {
		n++
		text := cString(line)
		if rest := strings.TrimLeft(text, " \t\r\n"); rest == "" || rest[0] == '#' {
			continue
		}
		x, err := parseSigner(strings.TrimLeft(text, " \t"), zone)
		if err != nil {
			if s.bad == nil {
				s.bad = fmt.Errorf("allowed signers, line %d: %w", n, err)
			}
			continue
		}
		s.lines = append(s.lines, x)
	}
	if len(s.lines) == 0 && s.bad != nil {
		return nil, s.bad
	}
	return &s, nil
}

// cString is the bytes up to a NUL, where C ends a string.
func cString(b []byte) string {
	before, _, _ := bytes.Cut(b, []byte{0})
	return string(before)
}

// parseSigner reads a line: principals, options if there are any, a key, a comment.
func parseSigner(line string, zone *time.Location) (s signer, err error) {
	if s.principals, line, err = firstWord(line); err != nil {
		return s, err
	}
	if s.key, err = parseKey(line); err == nil {
		return s, nil
	}
	end, err := endOfOptions(line)
	if err != nil {
		return s, err
	}
	if end == len(line) {
		return s, errors.New("it has no key")
	}
	if s.key, err = parseKey(strings.TrimLeft(line[end:], " \t")); err != nil {
		return s, err
	}
	s.signerOptions, err = parseSignerOptions(line[:end], zone)
	return s, err
}

// firstWord takes the first word of a line, as strdelimw of OpenSSH does: it ends at
// white space, and a part of it in double quotes, even in its midst, may hold some.
func firstWord(line string) (word, rest string, err error) {
	i := strings.IndexAny(line, " \t\r\n\"")
	if i < 0 {
		return "", "", errors.New("it has no key")
	}
	word, rest = line[:i], line[i+1:]
	if line[i] == '"' {
		quoted, after, ok := strings.Cut(rest, `"`)
		if !ok {
			return "", "", errors.New("a quotation mark is missing")
		}
		word, rest = word+quoted, after
	}
	return word, strings.TrimLeft(rest, " \t\r\n"), nil
}

// endOfOptions is where the first white space outside of quotes is, or the end.
func endOfOptions(s string) (int, error) {
	quoted := false
	i := 0
	for ; i < len(s) && (quoted || s[i] != ' ' && s[i] != '\t'); i++ {
		switch {
		case strings.HasPrefix(s[i:], `\"`):
			i++
		case s[i] == '"':
			quoted = !quoted
		}
	}
	if quoted {
		return 0, errors.New("a quotation mark is missing")
	}
	return i, nil
}

// parseKey reads a type and a key in base64, as sshkey_read of OpenSSH does. What
// stands behind them is a comment.
func parseKey(s string) (ssh.PublicKey, error) {
	kind, rest, ok := cutBlank(s)
	if !ok {
		return nil, errors.New("it has no key")
	}
	text, _, _ := cutBlank(strings.TrimLeft(rest, " \t"))
	blob, err := decodeBase64(text)
	if err != nil {
		return nil, errors.New("its key is not base64")
	}
	key, err := ssh.ParsePublicKey(blob)
	if err != nil {
		return nil, fmt.Errorf("read its key: %w", err)
	}
	switch kind { // names of algorithms that stand for a type
	case ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSASHA512:
		kind = ssh.KeyAlgoRSA
	case ssh.CertAlgoRSASHA256v01, ssh.CertAlgoRSASHA512v01:
		kind = ssh.CertAlgoRSAv01
	}
	if key.Type() != kind {
		return nil, fmt.Errorf("its key is of type %q, and said to be of type %q", key.Type(), kind)
	}
	return key, nil
}

// cutBlank splits at the first space or tab.
func cutBlank(s string) (before, after string, ok bool) {
	i := strings.IndexAny(s, " \t")
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i:], true
}

// decodeBase64 decodes as b64_pton of the C library does: white space does not matter.
func decodeBase64(s string) ([]byte, error) {
	s = strings.Map(func(r rune) rune {
		if strings.ContainsRune(" \t\n\v\f\r", r) {
			return -1
		}
		return r
	}, s)
	return base64.StdEncoding.Strict().DecodeString(s)
}

// parseSignerOptions reads what stands before a key, as sshsigopt_parse of OpenSSH does.
func parseSignerOptions(s string, zone *time.Location) (o signerOptions, err error) {
	for s != "" {
		var value string
		switch name, rest, is := option(s); {
		case !is:
		case name == "cert-authority":
			o.authority, s = true, rest
		default:
			if value, s, err = dequote(rest); err != nil {
				return o, fmt.Errorf("option %s: %w", name, err)
			}
			if err := o.set(name, value, zone); err != nil {
				return o, err
			}
		}
		if s == "" {
			break
		}
		if s[0] != ',' {
			return o, fmt.Errorf("unknown option %q", s)
		}
		if s = s[1:]; s == "" {
			return o, errors.New("its options end in a comma")
		}
	}
	if o.after != 0 && o.before != 0 && o.before <= o.after {
		return o, errors.New("valid-before is not after valid-after")
	}
	return o, nil
}

// option finds which option s begins with.
func option(s string) (name, rest string, ok bool) {
	for _, name := range []string{"cert-authority", "namespaces=", "valid-after=", "valid-before="} {
		if len(s) >= len(name) && strings.EqualFold(s[:len(name)], name) {
			return strings.TrimSuffix(name, "="), s[len(name):], true
		}
	}
	return "", s, false
}

// set takes an option that has a value; each comes once.
func (o *signerOptions) set(name, value string, zone *time.Location) (err error) {
	twice := fmt.Errorf("%s is there twice", name)
	switch name {
	case "namespaces":
		if o.hasNamespaces {
			return twice
		}
		o.hasNamespaces, o.namespaces = true, value
	case "valid-after":
		if o.after != 0 {
			return twice
		}
		o.after, err = parseTime(value, zone)
	case "valid-before":
		if o.before != 0 {
			return twice
		}
		o.before, err = parseTime(value, zone)
	}
	return err
}

// dequote takes a value in double quotes, in which \" stands for one of them.
func dequote(s string) (value, rest string, err error) {
	s, ok := strings.CutPrefix(s, `"`)
	if !ok {
		return "", "", errors.New("its value is not in quotation marks")
	}
	var v []byte
	for i := 0; i < len(s); i++ {
		if s[i] == '"' {
			return string(v), s[i+1:], nil
		}
		if strings.HasPrefix(s[i:], `\"`) {
			i++
		}
		v = append(v, s[i])
	}
	return "", "", errors.New("a quotation mark is missing")
}

// Find gives the principals of the first line that allows the signature's key in
// its namespace at a time, for the identity; with "" for anyone. ok is false if
// there is none, and why says what came closest.
func (s *Signers) Find(sig *Signature, identity string, now time.Time) (principals string, ok bool, why string) {
	why = "its key is not among the allowed signers"
	key, at := sig.Key.Marshal(), now.Unix()
	for _, l := range s.lines {
		switch {
		case l.authority || !bytes.Equal(l.key.Marshal(), key):
		case identity != "" && !matchList(l.principals, identity):
			why = "its key is not that of " + identity
		case l.hasNamespaces && !matchList(l.namespaces, sig.Namespace):
			why = "its key is not allowed to sign in the namespace " + sig.Namespace
		case l.after != 0 && at < l.after, l.before != 0 && at > l.before:
			why = "its key is not valid at this time"
		default:
			return l.principals, true, ""
		}
	}
	if s.bad != nil {
		why += "; " + s.bad.Error()
	}
	return "", false, why
}

// maxPattern is how long a pattern of a list may be: OpenSSH reads them into 1,024 bytes.
const maxPattern = 1022

// matchList holds a name against a list of patterns, as match_pattern_list of OpenSSH
// does: a pattern that begins with ! and matches forbids, and one that is too long ends it.
func matchList(list, name string) bool {
	found := false
	for list != "" {
		l, not := strings.CutPrefix(list, "!")
		pattern, rest, _ := strings.Cut(l, ",")
		if len(pattern) > maxPattern {
			return false
		}
		if glob(pattern, name) {
			if not {
				return false
			}
			found = true
		}
		list = rest
	}
	return found
}

// glob matches * and ?, without recursion.
func glob(pattern, name string) bool {
	p, n, star, mark := 0, 0, -1, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, n
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == name[n]):
			p++
			n++
		case star >= 0:
			mark++
			p, n = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
