package sshsig

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// Signers is a list of allowed signers: the file that ssh-keygen -Y verify -f
// takes; ssh-keygen(1), ALLOWED SIGNERS.
type Signers struct {
	lines []signer
	bad   error // the first line that says nothing, nil if all do
}

// signer is one line.
type signer struct {
	principals         string // patterns, separated by commas
	key                ssh.PublicKey
	authority          bool
	namespaces         string // patterns, "" any
	after, before      time.Time
	hasAfter, hasUntil bool
}

// ParseSigners reads a list of allowed signers. Lines that can't be understood allow
// nobody; it is an error if there is no other.
func ParseSigners(data []byte) (*Signers, error) {
	var s Signers
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimLeft(lines.Text(), " \t")
		if line == "" || line[0] == '#' {
			continue
		}
		x, err := parseSigner(line)
		if err != nil {
			if s.bad == nil {
				s.bad = fmt.Errorf("allowed signers, line %d: %w", n, err)
			}
			continue
		}
		s.lines = append(s.lines, x)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read allowed signers: %w", err)
	}
	if len(s.lines) == 0 && s.bad != nil {
		return nil, s.bad
	}
	return &s, nil
}

func parseSigner(line string) (s signer, err error) {
	if s.principals, line, err = word(line); err != nil {
		return s, err
	}
	// What stands behind the principals is a line of authorized_keys.
	key, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(strings.TrimSpace(line)))
	if err != nil || len(bytes.TrimSpace(rest)) > 0 {
		return s, errors.New("no key is there")
	}
	s.key = key
	for _, o := range options {
		name, value, has := strings.Cut(o, "=")
		if has && (len(value) < 2 || value[0] != '"' || value[len(value)-1] != '"') {
			return s, fmt.Errorf("the value of %q is not in quotation marks", name)
		}
		value = strings.Trim(value, `"`)
		switch strings.ToLower(name) {
		case "cert-authority":
			s.authority = true
		case "namespaces":
			if value == "" {
				return s, errors.New("an empty list of namespaces")
			}
			s.namespaces = value
		case "valid-after":
			s.hasAfter = true
			s.after, err = stamp(value)
		case "valid-before":
			s.hasUntil = true
			s.before, err = stamp(value)
		default:
			return s, fmt.Errorf("unknown option %q", name)
		}
		if err != nil {
			return s, err
		}
	}
	return s, nil
}

// word takes the first word of a line, which can be in double quotes.
func word(line string) (first, rest string, err error) {
	if quoted, ok := strings.CutPrefix(line, `"`); ok {
		first, rest, ok = strings.Cut(quoted, `"`)
		if !ok {
			return "", "", errors.New("a quotation mark is missing")
		}
	} else if i := strings.IndexAny(line, " \t"); i >= 0 {
		first, rest = line[:i], line[i:]
	}
	if first == "" {
		return "", "", errors.New("no principals are there")
	}
	return first, rest, nil
}

// stamp reads YYYYMMDD[HHMM[SS]][Z], in local time without Z.
func stamp(s string) (time.Time, error) {
	zone := time.Local
	digits, utc := strings.CutSuffix(s, "Z")
	if utc {
		zone = time.UTC
	}
	layout, ok := map[int]string{8: "20060102", 12: "200601021504", 14: "20060102150405"}[len(digits)]
	if !ok {
		return time.Time{}, fmt.Errorf("%q is not a time", s)
	}
	t, err := time.ParseInLocation(layout, digits, zone)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is not a time", s)
	}
	return t, nil
}

// Find gives the principals of the first line that allows the signature's key in
// its namespace at a time, for the identity; with "" for anyone. ok is false if
// there is none, and why says what came closest.
func (s *Signers) Find(sig *Signature, identity string, now time.Time) (principals string, ok bool, why string) {
	why = "its key is not among the allowed signers"
	key := sig.Key.Marshal()
	for _, l := range s.lines {
		switch {
		case l.authority || !bytes.Equal(l.key.Marshal(), key):
		case identity != "" && !match(l.principals, identity):
			why = "its key is not that of " + identity
		case l.namespaces != "" && !match(l.namespaces, sig.Namespace):
			why = "its key is not allowed to sign in the namespace " + sig.Namespace
		case l.hasAfter && now.Before(l.after), l.hasUntil && now.After(l.before):
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

// match holds a name against a list of patterns, as OpenSSH's match_pattern_list
// does: a pattern that begins with ! and matches forbids.
func match(list, name string) bool {
	found := false
	for p := range strings.SplitSeq(list, ",") {
		p, not := strings.CutPrefix(p, "!")
		if !glob(p, name) {
			continue
		}
		if not {
			return false
		}
		found = true
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
