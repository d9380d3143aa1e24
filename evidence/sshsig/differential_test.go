package sshsig

import (
	"bytes"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// generator makes lists of allowed signers that are right, nearly right and wrong.
type generator struct {
	*rand.Rand
	keys []string // public ones, each "TYPE BASE64"
}

func (g *generator) one(of ...string) string { return of[g.IntN(len(of))] }

// often gives s most of the time, else one of others.
func (g *generator) often(s string, others ...string) string {
	if g.IntN(10) < 7 {
		return s
	}
	return g.one(others...)
}

func (g *generator) pattern() string {
	return g.one("ops@example.org", "*", "*@example.org", "ops@*", "ops@example.or?", "!eve@example.org", "!*", "!", "!!ops@example.org", "OPS@example.org", "", "eve@example.org",
		"**@**.org", "a b", "\xff*", "ops@example.org\xa0", "?", "\\*", strings.Repeat("*", 30)+"x", strings.Repeat("o", 1021), strings.Repeat("*", 1022), strings.Repeat("*", 1023), strings.Repeat("*", 1024), strings.Repeat("y", 1100))
}

func (g *generator) principals() string {
	p := g.often("ops@example.org", g.pattern(), "*")
	for g.IntN(3) == 0 {
		if q := g.pattern(); g.IntN(2) == 0 {
			p += "," + q
		} else {
			p = q + "," + p
		}
	}
	switch g.IntN(14) {
	case 0:
		p += ","
	case 1:
		p = `"` + p + `"`
	case 2:
		p = `"` + p
	case 3:
		i := g.IntN(len(p) + 1)
		p = p[:i] + `"` + p[i:] + `"`
	case 4:
		i := g.IntN(len(p) + 1)
		p = p[:i] + `"` + p[i:] + `" ` + g.one("", "x")
	}
	return p
}

func (g *generator) stamp() string {
	s := g.one("2020", "2099", "1969", "1970", "2106", "0001", "9999", "20 0", " 200", "20200") + g.often(g.one("01", "07", "12", "03", "10"), "13", "00", " 1", "1 ") +
		g.often(g.one("01", "15", "28", "29"), "31", "30", "32", "00", " 1", "-1")
	switch g.IntN(4) {
	case 0:
		s += g.often(g.one("00", "12", "02", "23"), "24", " 1") + g.often("30", "60", "59")
	case 1:
		s += g.one("00", "12", "02") + g.one("00", "30") + g.often("00", "60", "61", "62", "59")
	case 2:
		s = g.one(s, s[:len(s)-1], s+"1", "", "Z", "UTC", "yesterday", "99999999")
	}
	return s + g.often("", "Z", "z", "UTC", "utc", "Utc", " ", "ZZ", "+01", "UTCZ")
}

func (g *generator) option() string {
	quote := func(s string) string {
		switch g.IntN(16) {
		case 0:
			return s
		case 1:
			return `"` + s
		case 2:
			return `"` + s + `\""`
		case 3:
			return `"` + s + `""x"`
		}
		return `"` + s + `"`
	}
	switch g.IntN(9) {
	case 0, 1, 2:
		return g.often("namespaces=", "NameSpaces=", "namespaces", "namespaces =", "namespace=") + quote(g.one("file", "git,file", "git", "f*", "*,!file", "", "file,", ",", "*", "a b,file", `a\,file`, "FILE", "!git", "!git,*", strings.Repeat("*", 1023)))
	case 3, 4:
		return g.often("valid-after=", "Valid-After=", "valid-after") + quote(g.one("20200101", "2020010112", g.stamp()))
	case 5, 6:
		return g.often("valid-before=", "VALID-BEFORE=") + quote(g.one("20990101", "20990101000000Z", g.stamp()))
	case 7:
		return g.one("cert-authority", "CERT-AUTHORITY", "cert-authorityx", "no-cert-authority", "cert-authority=\"\"")
	}
	return g.one("", "nonsense", "restrict", `"`, `command="x y"`, "\\\"", "\v", "namespaces", "ssh-ed25519")
}

func (g *generator) options() string {
	if g.IntN(2) == 0 {
		return ""
	}
	o := g.option()
	for g.IntN(3) == 0 {
		o += g.often(",", ",,", ", ", " ", ";", "") + g.option()
	}
	return g.often("", ",", "") + o + g.often(g.often(" ", "\t", "  ", " \t "), ", ", ",", "\v ", "\f", " \v", "\r ")
}

func (g *generator) key() string {
	k := g.keys[0]
	if g.IntN(4) == 0 {
		k = g.one(g.keys...)
	}
	kind, blob, _ := strings.Cut(k, " ")
	switch g.IntN(24) {
	case 0:
		kind = g.one("ssh-rsa", "ssh-ed25519", "rsa-sha2-256", "rsa-sha2-512", "ed25519", "SSH-ED25519", "ecdsa-sha2-nistp256", "ssh-ed25519-cert-v01@openssh.com", "ssh-dss", "", "\v"+kind, kind+"\f")
	case 1:
		blob = g.one(blob[:len(blob)-1], blob+"=", blob+"==", blob[:20]+"\v"+blob[20:], blob[:20]+"\f"+blob[20:], blob[:20]+"\r"+blob[20:], "\v"+blob, blob+"\f", blob[:9]+"\x00"+blob[9:],
			blob+"\x00rest", blob[:20]+" "+blob[20:], blob+"AAAA", blob[:len(blob)-2]+"//", "AAAA", "", blob+"\xa0", blob+"#")
	}
	return kind + g.often(" ", "\t", "  ", "\v", "\r", " \f") + blob
}

func (g *generator) line() string {
	l := g.often(g.often("", " ", "\t"), "\v", "\f", "\r", "# ", "#", "  # ") + g.principals() + g.often(" ", "\t", "  ", "\r", "\v", "") + g.options() + g.key() +
		g.often("", " a comment", "\tops@host", " \xff\xfe", " # x", "\v", "\x00", " "+strings.Repeat("z", 9000))
	switch g.IntN(40) {
	case 0:
		return ""
	case 1:
		return g.one("garbage", "ops@example.org", "\x00", "ops@example.org \x00", "ops@example.org ssh-ed25519", "\xef\xbb\xbf"+l, `"`, `""`)
	case 2: // some byte is another one
		i := g.IntN(len(l))
		return l[:i] + g.one(" ", "\t", "\"", "\\", ",", "\x00", "\r", "\v", "!", "*", "=", "\xc3") + l[i+1:]
	}
	return l
}

func (g *generator) list() string {
	end := g.often("\n", "\r\n")
	var b strings.Builder
	for range 1 + g.IntN(3) {
		b.WriteString(g.line() + end)
	}
	if g.IntN(8) == 0 {
		return strings.TrimSuffix(b.String(), end)
	}
	return b.String()
}

// share is how much of a test is run: some, or all for make torture.
func share(some, all int) int {
	if os.Getenv("ACC_TORTURE") != "" {
		return all
	}
	if testing.Short() {
		return some / 3
	}
	return some
}

// seed is fixed, unless ACC_SEED says another.
func seed(t *testing.T) uint64 {
	n, err := strconv.ParseUint(os.Getenv("ACC_SEED"), 10, 64)
	if err != nil {
		n = 1
	}
	t.Logf("ACC_SEED=%d", n)
	return n
}

// figure leaves a line for docs/RELIABILITY.md.
func figure(t *testing.T, name, text string, args ...any) {
	t.Helper()
	text = fmt.Sprintf(text, args...)
	t.Log(text)
	if file := os.Getenv("ACC_FIGURES"); file != "" && !t.Failed() {
		f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fmt.Fprintf(f, "host\t%s\t-\tpass\t%s\n", name, text)
	}
}

// Generated lists of allowed signers allow whom ssh-keygen -Y verify lets pass, and
// nobody else, at any time, in any zone, namespace and name.
func TestGeneratedListsAgreeWithOpenSSH(t *testing.T) {
	needKeygen(t)
	dir := t.TempDir()
	message := []byte("m")
	digest := sha512.Sum512(message)
	g := &generator{Rand: rand.New(rand.NewPCG(seed(t), 0))}
	type signature struct {
		file string
		*Signature
	}
	signatures := map[string][]signature{}
	for i, kind := range [][]string{{"ed25519"}, {"ed25519"}, {"ecdsa", "-b", "256"}, {"rsa", "-b", "2048"}} {
		key, public := newKey(t, dir, fmt.Sprint("k", i), append([]string{"-N", "", "-t"}, kind...)...)
		g.keys = append(g.keys, strings.Join(strings.Fields(public)[:2], " "))
		signer, _, err := LoadKey(key)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []string{"file", "git"} {
			armoured, err := Sign(signer, n, digest[:])
			if err != nil {
				t.Fatal(err)
			}
			s, err := Parse(armoured)
			if err != nil {
				t.Fatal(err)
			}
			signatures[n] = append(signatures[n], signature{put(t, key+n, armoured), s})
		}
	}
	lists, allowed := share(120, 3000), 0
	for i := range lists {
		list := g.list()
		who := g.often("ops@example.org", "eve@example.org", "a b", "x", "\xffz", "ops@example.org\xa0", "*")
		namespace := g.often("file", "git")
		sig := signatures[namespace][0]
		if g.IntN(5) == 0 {
			sig = signatures[namespace][g.IntN(len(g.keys))]
		}
		zone := g.one("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Europe/Dublin", "Australia/Lord_Howe")
		location, err := time.LoadLocation(zone)
		if err != nil {
			t.Skipf("the zones of the world are not there: %v", err)
		}
		at := time.Unix([]int64{1793000000, 1577836799, 1577836800, 1583020800, 4070908800, 4070908801, 2000000000, 86400}[g.IntN(8)]+g.Int64N(3)-1, 999)
		file := put(t, filepath.Join(dir, "list"), []byte(list))
		cmd := exec.Command("ssh-keygen", "-Y", "verify", "-f", file, "-I", who, "-n", namespace, "-s", sig.file, "-O", "verify-time="+at.UTC().Format("20060102150405Z"))
		cmd.Stdin, cmd.Env = bytes.NewReader(message), append(os.Environ(), "TZ="+zone)
		out, theirs := cmd.CombinedOutput()
		signers, mine := parseSigners([]byte(list), location)
		if mine == nil {
			if _, ok, why := signers.Find(sig.Signature, who, at); !ok {
				mine = errors.New(why)
			}
		}
		if (theirs == nil) != (mine == nil) {
			t.Errorf("list %d %q\nfor %q, namespace %s, key %s, at %v, zone %s: OpenSSH says %v %s, acc %v", i, list, who, namespace, sig.file, at.UTC(), zone, theirs, out, mine)
		}
		if mine == nil {
			allowed++
		}
	}
	if allowed < lists/10 || allowed > lists*9/10 {
		t.Errorf("%d of %d allow: the test shows little", allowed, lists)
	}
	figure(t, "lists of allowed signers", "%d generated lists, signatures, times, names and namespaces, %d of them allowed: ssh-keygen -Y verify agrees on all", lists, allowed)
}

// Each time that a list can name is the one that OpenSSH takes it for.
func TestTimesAgreeWithOpenSSH(t *testing.T) {
	needKeygen(t)
	dir := t.TempDir()
	key, public := newKey(t, dir, "k", "-t", "ed25519", "-N", "")
	signer, _, err := LoadKey(key)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha512.Sum512([]byte("m"))
	armoured, err := Sign(signer, "file", digest[:])
	if err != nil {
		t.Fatal(err)
	}
	sig := put(t, filepath.Join(dir, "sig"), armoured)
	g := &generator{Rand: rand.New(rand.NewPCG(seed(t), 1))}
	read := 0
	stamps := []string{"20200701120000", "202003290230", "202010250230", "20200101Z", "20200101utc", "19691231", "19700101Z", "19700101000001Z", "20200230", "2020123123:5961", "20201231235961Z"}
	all := share(45, 400)
	for i := range all {
		s := g.stamp()
		if i < len(stamps) {
			s = stamps[i]
		}
		zone := g.one("UTC", "Europe/Berlin", "America/New_York", "Europe/Dublin", "Australia/Lord_Howe", "Asia/Tehran")
		location, err := time.LoadLocation(zone)
		if err != nil {
			t.Skip(err)
		}
		passes := func(at int64) bool {
			list := put(t, filepath.Join(dir, "list"), []byte(`me valid-after="`+s+`" `+public+"\n"))
			cmd := exec.Command("ssh-keygen", "-Y", "verify", "-f", list, "-I", "me", "-n", "file", "-s", sig, "-O", "verify-time="+time.Unix(at, 0).UTC().Format("20060102150405Z"))
			cmd.Stdin, cmd.Env = strings.NewReader("m"), append(os.Environ(), "TZ="+zone)
			return cmd.Run() == nil
		}
		at, err := parseTime(s, location)
		switch {
		case err != nil && passes(253402300799): // the last one that can be said
			t.Errorf("%q in %s: OpenSSH takes it, acc says %v", s, zone, err)
		case err != nil:
		case at <= 1 || at > 253402300799:
		case !passes(at) || passes(at-1):
			t.Errorf("%q in %s: acc takes it for %v, OpenSSH does not", s, zone, time.Unix(at, 0).UTC())
		default:
			read++
		}
	}
	if read < all/4 {
		t.Errorf("only %d are times: the test shows little", read)
	}
}

// A list of revoked keys revokes what ssh-keygen takes for revoked, be it a file of
// keys or a key revocation list; and a damaged one lets nothing pass that it would not.
func TestRevokedAgreesWithOpenSSH(t *testing.T) {
	needKeygen(t)
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(seed(t), 2))
	var files, lines []string
	for i, kind := range []string{"ed25519", "ed25519", "ecdsa", "rsa"} {
		file, line := newKey(t, dir, fmt.Sprint("k", i), "-N", "", "-t", kind)
		files, lines = append(files, file), append(lines, line)
	}
	signer, _, err := LoadKey(files[0])
	if err != nil {
		t.Fatal(err)
	}
	digest := sha512.Sum512([]byte("m"))
	armoured, err := Sign(signer, "file", digest[:])
	if err != nil {
		t.Fatal(err)
	}
	sig, list := put(t, filepath.Join(dir, "sig"), armoured), put(t, filepath.Join(dir, "list"), []byte("me "+lines[0]+"\n"))
	s, err := Parse(armoured)
	if err != nil {
		t.Fatal(err)
	}
	// judge gives the verdicts of OpenSSH and of acc: does the signature pass?
	judge := func(revoked []byte) (theirs, mine error) {
		file := put(t, filepath.Join(dir, "revoked"), revoked)
		theirs = keygen(t, []byte("m"), "-Y", "verify", "-f", list, "-I", "me", "-n", "file", "-s", sig, "-r", file)
		rev, mine := ParseRevoked(revoked)
		if mine == nil && rev.Has(s.Key) {
			mine = errors.New("revoked")
		}
		return theirs, mine
	}
	hash := func(of string) string {
		out, err := exec.Command("ssh-keygen", "-l", "-f", of+".pub").Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(string(out))[1]
	}
	plain := []string{"", "\n", "# x\n", lines[0] + "\n", lines[1] + "\n", lines[1] + "\n" + lines[0], "  " + lines[0] + "\r\n", "garbage\n" + lines[0] + "\n", lines[0] + "\ngarbage\n", lines[1] + "\ngarbage\n",
		lines[2] + "\n" + lines[3] + "\n", "\r\n", "\v\n", `from="x" ` + lines[0] + "\n", "\x00\n" + lines[0] + "\n", lines[1], "ssh-ed25519 AAAA\n", "#" + lines[0] + "\n", strings.Join(lines, "\n\n") + "\n"}
	passed, tried := 0, 0
	for _, p := range plain {
		theirs, mine := judge([]byte(p))
		if (theirs == nil) != (mine == nil) {
			t.Errorf("%q: OpenSSH says %v, acc %v", p, theirs, mine)
		}
		if tried++; mine == nil {
			passed++
		}
	}
	var krls [][]byte
	for i, spec := range []string{"", lines[0], "key: " + lines[0], "sha1: " + lines[0], "sha256: " + lines[0], "hash: " + hash(files[0]), "key: " + lines[1], "sha1: " + lines[1], "hash: " + hash(files[2]),
		"serial: 7\nserial: 100-200\nid: someone\nkey: " + lines[3], "serial: 1\nserial: 3\nserial: 5-9\nserial: 11\nserial: 64\nserial: 1000000\nid: a\nid: b", "serial: 18446744073709551610-18446744073709551615\nhash: " + hash(files[0])} {
		specFile, krlFile := put(t, filepath.Join(dir, "spec"), []byte(spec+"\n")), filepath.Join(dir, fmt.Sprint("krl", i))
		args := []string{"-q", "-k", "-f", krlFile}
		if strings.Contains(spec, "serial") {
			args = append(args, "-s", files[3]+".pub")
		}
		if err := keygen(t, nil, append(args, specFile)...); err != nil {
			t.Fatal(err)
		}
		krl, err := os.ReadFile(krlFile)
		if err != nil {
			t.Fatal(err)
		}
		krls = append(krls, krl)
		theirs, mine := judge(krl)
		if (theirs == nil) != (mine == nil) {
			t.Errorf("%q: OpenSSH says %v, acc %v", spec, theirs, mine)
		}
		rev, err := ParseRevoked(krl)
		if err != nil {
			t.Fatalf("%q: %v", spec, err)
		}
		for k, file := range files { // ssh-keygen -Q fails if the key is revoked
			signer, _, err := LoadKey(file)
			if err != nil {
				t.Fatal(err)
			}
			if theirs := keygen(t, nil, "-Q", "-f", krlFile, file+".pub"); (theirs != nil) != rev.Has(signer.PublicKey()) {
				t.Errorf("%q, key %d: OpenSSH says %v, acc revoked: %v", spec, k, theirs, rev.Has(signer.PublicKey()))
			}
		}
	}
	stricter := 0
	for range share(60, 2000) {
		krl := bytes.Clone(krls[r.IntN(len(krls))])
		damage(r, &krl)
		theirs, mine := judge(krl)
		if theirs != nil && mine == nil {
			t.Errorf("KRL %x: OpenSSH says %v, acc lets it pass", krl, theirs)
		}
		if theirs == nil && mine != nil {
			stricter++
			t.Logf("KRL %x: only acc says %v", krl, mine)
		}
		if tried++; mine == nil {
			passed++
		}
	}
	if passed < tried/10 || stricter > tried/50 {
		t.Errorf("%d of %d pass, at %d acc alone refuses", passed, tried, stricter)
	}
	figure(t, "revoked keys", "%d lists and damaged KRLs, %d of them revoke nothing: ssh-keygen -Y verify -r lets all of those pass, and %d more", tried, passed, stricter)
}

// damage edits a few bytes, most of them beyond the header's comment.
func damage(r *rand.Rand, b *[]byte) {
	for range 1 + r.IntN(2) {
		i := r.IntN(len(*b))
		switch r.IntN(6) {
		case 0:
			*b = (*b)[:i+1]
		case 1:
			(*b)[i]++
		case 2:
			(*b)[i] = byte(r.IntN(256))
		case 3: // a length
			if i+4 <= len(*b) {
				binary.BigEndian.PutUint32((*b)[i:], uint32(r.IntN(70)))
			}
		case 4:
			*b = append(*b, (*b)[i:]...)
		case 5:
			*b = append(*b, byte(r.IntN(7)), 0, 0, 0, 0)
		}
	}
}
