package sshsig

import (
	"bytes"
	"crypto/sha512"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// keygen runs ssh-keygen, which is the judge here.
func keygen(t testing.TB, stdin []byte, args ...string) error {
	t.Helper()
	cmd := exec.Command("ssh-keygen", args...)
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("ssh-keygen %q: %w: %s", args, err, out)
	}
	return nil
}

func needKeygen(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		if os.Getenv("ACC_NEED_PYTHON") != "" {
			t.Fatal("ssh-keygen is not there")
		}
		t.Skip("ssh-keygen is not there")
	}
}

// newKey makes a key and gives its file and its public line.
func newKey(t testing.TB, dir, name string, args ...string) (file, public string) {
	t.Helper()
	file = filepath.Join(dir, name)
	if err := keygen(t, nil, append([]string{"-q", "-f", file, "-C", name}, args...)...); err != nil {
		t.Fatal(err)
	}
	line, err := os.ReadFile(file + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return file, strings.TrimSpace(string(line))
}

func put(t testing.TB, name string, data []byte) string {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// check is the verdict of this package, as ssh-keygen -Y verify gives it.
func check(armoured, message []byte, list, identity, namespace string) error {
	s, err := Parse(armoured)
	if err != nil {
		return err
	}
	h, err := NewHash(s.Hash)
	if err != nil {
		return err
	}
	h.Write(message)
	if err := s.Verify(namespace, h.Sum(nil)); err != nil {
		return err
	}
	signers, err := ParseSigners([]byte(list))
	if err != nil {
		return err
	}
	if _, ok, why := signers.Find(s, identity, time.Now()); !ok {
		return errors.New(why)
	}
	return nil
}

// What this package signs OpenSSH takes, and the other way round, with every kind
// of key; a changed byte, another namespace or another key is refused by both.
func TestAgreesWithOpenSSH(t *testing.T) {
	needKeygen(t)
	dir := t.TempDir()
	message := []byte("the capture\n")
	digest := sha512.Sum512(message)
	_, other := newKey(t, dir, "other", "-t", "ed25519", "-N", "")
	for _, kind := range [][]string{{"ed25519"}, {"ecdsa", "-b", "256"}, {"ecdsa", "-b", "384"}, {"ecdsa", "-b", "521"}, {"rsa", "-b", "2048"}} {
		name := strings.Join(kind, "")
		t.Run(name, func(t *testing.T) {
			key, public := newKey(t, dir, name, append([]string{"-N", "", "-t"}, kind...)...)
			signer, done, err := LoadKey(key)
			if err != nil {
				t.Fatal(err)
			}
			defer done()
			ours, err := Sign(signer, "file", digest[:])
			if err != nil {
				t.Fatal(err)
			}
			put(t, key+".msg", message)
			for _, hash := range []string{"sha512", "sha256"} {
				os.Remove(key + ".msg.sig")
				if err := keygen(t, nil, "-Y", "sign", "-f", key, "-n", "file", "-O", "hashalg="+hash, key+".msg"); err != nil {
					t.Fatal(err)
				}
				theirs, _ := os.ReadFile(key + ".msg.sig")
				if err := check(theirs, message, "me "+public, "me", "file"); err != nil {
					t.Errorf("ssh-keygen's signature (%s): %v", hash, err)
				}
			}
			cases := []struct {
				name, list, namespace string
				message               []byte
				good                  bool
			}{
				{"right", "me " + public, "file", message, true},
				{"changed", "me " + public, "file", []byte("the Capture\n"), false},
				{"other namespace", "me " + public, "git", message, false},
				{"other key", "me " + other, "file", message, false},
				{"other person", "you " + public, "file", message, false},
			}
			for _, c := range cases {
				list := put(t, key+".list", []byte(c.list+"\n"))
				sig := put(t, key+".ours", ours)
				theirs := keygen(t, c.message, "-Y", "verify", "-f", list, "-I", "me", "-n", c.namespace, "-s", sig)
				mine := check(ours, c.message, c.list, "me", c.namespace)
				if (theirs == nil) != c.good || (mine == nil) != c.good {
					t.Errorf("%s: OpenSSH says %v, acc %v", c.name, theirs, mine)
				}
			}
		})
	}
}

// What is an armoured signature and what is none OpenSSH decides.
func TestArmourAgreesWithOpenSSH(t *testing.T) {
	needKeygen(t)
	dir := t.TempDir()
	key, public := newKey(t, dir, "k", "-t", "ed25519", "-N", "")
	list := put(t, filepath.Join(dir, "list"), []byte("me "+public+"\n"))
	message := []byte("m")
	msg := put(t, filepath.Join(dir, "msg"), message)
	if err := keygen(t, nil, "-Y", "sign", "-f", key, "-n", "file", msg); err != nil {
		t.Fatal(err)
	}
	right, err := os.ReadFile(msg + ".sig")
	if err != nil {
		t.Fatal(err)
	}
	s := string(right)
	lines := strings.SplitAfter(strings.TrimSuffix(s, "\n"), "\n")
	last := len(lines) - 1
	first, body, end := lines[0], strings.Join(lines[1:last], ""), lines[last]
	good := 0
	for name, sig := range map[string]string{
		"right": s, "CRLF": strings.ReplaceAll(s, "\n", "\r\n"), "CRLF first": strings.Replace(s, "\n", "\r\n", 1), "CRLF inside": first + strings.ReplaceAll(body, "\n", "\r\n") + end,
		"CRLF last": first + body + end + "\r\n", "junk behind": s + "junk\n", "NUL behind": s + "a\x00b", "much behind": s + strings.Repeat("\x00", 200_000), "junk on the last line": first + body + end + "junk",
		"two": s + s, "no last line feed": first + body + end, "space on the first line": strings.Replace(s, "\n", " \n", 1), "line before": "\n" + s, "text before": "hello\n" + s, "space before": " " + s,
		"empty lines": first + "\n\n" + body + "\n" + end, "one line": first + strings.ReplaceAll(body, "\n", "") + "\n" + end, "spaces": first + " \t\v\f" + body + end, "no end": first + body,
		"end on the same line": first + strings.TrimSuffix(body, "\n") + end, "headers": first + "A: b\n\n" + body + end, "no base64": first + ":" + body + end, "NUL": first + body + "\x00\n" + end, "two NULs": first + body + "\x00\x00\n" + end, "NUL inside": first + "\x00" + body + end,
		"letters left out": first + body[1:] + end, "padding": first + strings.TrimSuffix(body, "\n") + "==\n" + end, "no-break space": first + "\u00a0" + body + end, "cut": s[:len(s)/2], "empty": "",
	} {
		file := put(t, filepath.Join(dir, "sig"), []byte(sig))
		theirs := keygen(t, message, "-Y", "verify", "-f", list, "-I", "me", "-n", "file", "-s", file)
		mine := check([]byte(sig), message, "me "+public, "me", "file")
		if (theirs == nil) != (mine == nil) {
			t.Errorf("%s: OpenSSH says %v, acc %v", name, theirs, mine)
		}
		if mine == nil {
			good++
		}
	}
	if good < 10 {
		t.Errorf("only %d are good: the test shows little", good)
	}
}

// A public key stands for the private one beside it, as for ssh-keygen.
func TestPublicKey(t *testing.T) {
	needKeygen(t)
	t.Setenv("SSH_AUTH_SOCK", "")
	dir := t.TempDir()
	key, public := newKey(t, dir, "k", "-t", "ed25519", "-N", "")
	digest := sha512.Sum512([]byte("m"))
	signer, done, err := LoadKey(key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	armoured, err := Sign(signer, "file", digest[:])
	done()
	if err != nil {
		t.Fatal(err)
	}
	if err := check(armoured, []byte("m"), "me "+public, "me", "file"); err != nil {
		t.Error(err)
	}
	other, _ := newKey(t, dir, "o", "-t", "ed25519", "-N", "")
	locked, _ := newKey(t, dir, "locked", "-t", "ed25519", "-N", "geheim")
	if _, _, err := LoadKey(locked + ".pub"); !errors.Is(err, ErrEncrypted) {
		t.Errorf("an encrypted one: %v", err)
	}
	if err := os.Rename(other, key); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"another key", "no ssh-agent holds its private half"} {
		if _, _, err := LoadKey(key + ".pub"); err == nil || errors.Is(err, ErrEncrypted) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
		os.Remove(key)
	}
}

// Lists of allowed signers mean what they mean to OpenSSH.
func TestSignersAgreeWithOpenSSH(t *testing.T) {
	needKeygen(t)
	dir := t.TempDir()
	key, public := newKey(t, dir, "k", "-t", "ed25519", "-N", "")
	_, other := newKey(t, dir, "o", "-t", "ed25519", "-N", "")
	signer, _, err := LoadKey(key)
	if err != nil {
		t.Fatal(err)
	}
	message := []byte("m")
	digest := sha512.Sum512(message)
	armoured, err := Sign(signer, "file", digest[:])
	if err != nil {
		t.Fatal(err)
	}
	sig := put(t, filepath.Join(dir, "sig"), armoured)
	lists := []string{
		"ops@example.org %", "*@example.org %", "ops@* %", "*,!ops@example.org %", "!eve@example.org,* %", "ops@example.or? %", "ops@example.org,eve %",
		`"ops@example.org" %`, `"a b,ops@example.org" %`, "# ops@example.org %", "  ops@example.org %", "\tops@example.org\t%",
		`ops@example.org namespaces="file" %`, `ops@example.org namespaces="git,file" %`, `ops@example.org namespaces="git" %`, `ops@example.org namespaces="f*" %`,
		`ops@example.org namespaces="*,!file" %`, `ops@example.org NAMESPACES="file" %`,
		`ops@example.org valid-after="20200101" %`, `ops@example.org valid-after="20990101" %`, `ops@example.org valid-before="20990101Z" %`,
		`ops@example.org valid-before="20200101000000Z" %`, `ops@example.org valid-after="202001010000",valid-before="209901010000Z" %`,
		`ops@example.org valid-before="yesterday" %`, "ops@example.org cert-authority %", "ops@example.org nonsense %", "ops@example.org", "%", "",
		"ops@example.org OTHER", "ops@example.org OTHER\nops@example.org %", `ops@example.org namespaces="git" %` + "\nops@example.org %",
		"ops@example.org % a comment here", `ops@example.org namespaces="" %`, "OPS@example.org %", "ops@example.org,,x %", "**@**.org %", "ops@example.org? %",
		`ops@example.org valid-before=20990101 %`, "garbage\nops@example.org %", "ops@example.org ssh-ed25519 AAAA\nops@example.org %",
		`ops@example.org valid-before="99999999" %` + "\nops@example.org %", "garbage\nops@example.org OTHER",
	}
	good := 0
	for _, l := range lists {
		list := strings.NewReplacer("%", public, "OTHER", other).Replace(l) + "\n"
		for _, who := range []string{"ops@example.org", "eve@example.org", "ops@example.orgs"} {
			file := put(t, filepath.Join(dir, "list"), []byte(list))
			theirs := keygen(t, message, "-Y", "verify", "-f", file, "-I", who, "-n", "file", "-s", sig)
			mine := check(armoured, message, list, who, "file")
			if (theirs == nil) != (mine == nil) {
				t.Errorf("list %q for %s: OpenSSH says %v, acc %v", l, who, theirs, mine)
			}
			if mine == nil {
				good++
			}
		}
	}
	if good < 20 {
		t.Errorf("only %d are good: the test shows little", good)
	}
}

// An encrypted key is used through an agent, and refused with its reason without one.
func TestEncryptedKey(t *testing.T) {
	needKeygen(t)
	dir := t.TempDir()
	key, public := newKey(t, dir, "locked", "-t", "ed25519", "-N", "geheim")
	t.Setenv("SSH_AUTH_SOCK", "")
	if _, _, err := LoadKey(key); !errors.Is(err, ErrEncrypted) {
		t.Errorf("without an agent: %v", err)
	}
	sock := filepath.Join(dir, "agent")
	agent := exec.Command("ssh-agent", "-D", "-a", sock)
	out, err := agent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := agent.Start(); err != nil {
		t.Skip("ssh-agent is not there")
	}
	defer func() {
		_ = agent.Process.Kill()
		_ = agent.Wait()
	}()
	_, _ = out.Read(make([]byte, 100)) // it says where it listens when it does
	t.Setenv("SSH_AUTH_SOCK", sock)
	if _, _, err := LoadKey(key); !errors.Is(err, ErrEncrypted) {
		t.Errorf("with an empty agent: %v", err)
	}
	ask := put(t, filepath.Join(dir, "ask"), []byte("#!/bin/sh\necho geheim\n"))
	if err := os.Chmod(ask, 0o700); err != nil {
		t.Fatal(err)
	}
	add := exec.Command("ssh-add", key)
	add.Env = append(os.Environ(), "SSH_ASKPASS="+ask, "SSH_ASKPASS_REQUIRE=force")
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("ssh-add: %v: %s", err, out)
	}
	digest := sha512.Sum512([]byte("m"))
	for _, name := range []string{key, key + ".pub"} {
		signer, done, err := LoadKey(name)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		armoured, err := Sign(signer, "file", digest[:])
		done()
		if err != nil {
			t.Fatal(err)
		}
		if err := check(armoured, []byte("m"), "me "+public, "me", "file"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("-----BEGIN SSH SIGNATURE-----\nU1NIU0lHAAAAAQ==\n-----END SSH SIGNATURE-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := Parse(data); err == nil {
			_ = s.Verify("file", make([]byte, 64))
		}
	})
}

func FuzzSigners(f *testing.F) {
	f.Add([]byte("ops@example.org,*,!x namespaces=\"a,b\",valid-after=\"20200101Z\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAyfYGkLkH7Fe9wHf1J0QfHFXlZ4Y+GUlZqZzAvHaVnS c\n"))
	f.Fuzz(func(t *testing.T, data []byte) { _, _ = ParseSigners(data) })
}

func FuzzRevoked(f *testing.F) {
	f.Add([]byte("# x\nssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAyfYGkLkH7Fe9wHf1J0QfHFXlZ4Y+GUlZqZzAvHaVnS c\n"))
	header := krlMagic + "\x00\x00\x00\x01" + strings.Repeat("\x00", 24) + "\x00\x00\x00\x00\x00\x00\x00\x01c"
	f.Add([]byte(header + "\x05\x00\x00\x00\x24\x00\x00\x00\x20" + strings.Repeat("h", 32)))
	f.Add([]byte(header + "\x01\x00\x00\x00\x19\x00\x00\x00\x00\x00\x00\x00\x00\x22\x00\x00\x00\x0c\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x00"))
	f.Add([]byte(header + "\xff\x00\x00\x00\x0a\x00\x00\x00\x01n\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := ParseRevoked(data); err == nil {
			for blob := range r.keys {
				if key, err := ssh.ParsePublicKey([]byte(blob)); err == nil && !r.Has(key) && string(key.Marshal()) == blob {
					t.Errorf("%x is in the list, and not revoked", blob)
				}
			}
		}
	})
}
