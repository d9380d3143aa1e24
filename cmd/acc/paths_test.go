//go:build linux

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/testdata/figures"
)

// Whatever stands where an output should go is not followed, not opened and not
// overwritten, by no command that writes a file; a new file is for its owner alone.
func TestOutputPaths(t *testing.T) {
	dir := t.TempDir()
	damaged := filepath.Join(dir, "damaged.acc")
	data := sample("")
	if err := os.WriteFile(damaged, data[:len(data)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, "key")
	haveKey := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).Run() == nil
	commands := map[string][]string{"repair": {"repair", damaged}, "record": {"record"}}
	if haveKey {
		commands["sign"] = []string{"sign", damaged, "--key", key}
	}
	victim := filepath.Join(dir, "victim")
	tried := 0
	for name, args := range commands {
		for _, force := range []bool{false, true} {
			for what, plant := range map[string]func(path string) error{
				"link to a file":   func(p string) error { return os.Symlink(victim, p) },
				"link to nothing":  func(p string) error { return os.Symlink(filepath.Join(dir, "nothing"), p) },
				"link to a device": func(p string) error { return os.Symlink(os.DevNull, p) },
				"pipe":             func(p string) error { return syscall.Mkfifo(p, 0o666) },
				"folder":           func(p string) error { return os.Mkdir(p, 0o777) },
				"link in a folder": func(p string) error { return os.Symlink("../victim", p) },
				"hard link":        func(p string) error { return os.Link(victim, p) },
			} {
				if err := os.WriteFile(victim, []byte("precious"), 0o644); err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(t.TempDir(), "out")
				if err := plant(path); err != nil {
					t.Fatal(err)
				}
				call := append(slices.Clone(args), "-o", path)
				if force {
					call = append(call, "--force")
				}
				out, err := exec.Command("acc", call...).CombinedOutput()
				tried++
				overwrites := force && what == "hard link" && name == "repair" // it replaces the name, not the file; sign replaces signatures alone
				if (err == nil) != overwrites {
					t.Errorf("acc %s (force %v) on a %s: %v: %s", name, force, what, err, out)
				}
				if b, _ := os.ReadFile(victim); string(b) != "precious" {
					t.Errorf("acc %s (force %v) through a %s wrote to the victim", name, force, what)
				}
				if _, err := os.Lstat(filepath.Join(dir, "nothing")); err == nil {
					t.Errorf("acc %s (force %v) through a %s made a file", name, force, what)
				}
			}
		}
	}
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	good := filepath.Join(dir, "good.acc")
	if out, err := exec.Command("acc", "repair", damaged, "-o", good).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if st, err := os.Stat(good); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the new file has mode %v, %v", st.Mode(), err)
	}
	figures.Tell(t, "C4 what stands at the output path", "%d calls of record, repair and sign: nothing followed, nothing overwritten", tried)
}

// Somebody swaps the folder for a link to another one while outputs are made and
// discarded: files there with the same name stay.
func TestFolderSwap(t *testing.T) {
	dir := t.TempDir()
	mine, theirs, link := filepath.Join(dir, "mine"), filepath.Join(dir, "theirs"), filepath.Join(dir, "link")
	for _, d := range []string{mine, theirs} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	victim := filepath.Join(theirs, "out")
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("theirs", link); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wait sync.WaitGroup
	swaps := 0
	wait.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if unix.Renameat2(unix.AT_FDCWD, mine, unix.AT_FDCWD, link, unix.RENAME_EXCHANGE) == nil {
					swaps++
				}
			}
		}
	})
	rounds, made := 2000, 0
	if figures.Torture() {
		rounds = 100_000
	}
	for range rounds {
		o, err := createOutput(filepath.Join(mine, "out"), false, nil)
		if err != nil {
			continue
		}
		made++
		if _, err := o.file.WriteString("capture"); err != nil {
			t.Error(err)
		}
		o.discard()
	}
	close(stop)
	wait.Wait()
	if b, err := os.ReadFile(victim); err != nil || !bytes.Equal(b, []byte("precious")) {
		t.Errorf("the victim is %q, %v", b, err)
	}
	if st, err := os.Lstat(mine); err == nil && st.Mode()&os.ModeSymlink != 0 {
		mine = link
	}
	left, _ := os.ReadDir(mine)
	if len(left) > 0 || made == 0 {
		t.Errorf("%d outputs were made, %d are left", made, len(left))
	}
	figures.Tell(t, "C4 folder swap", "%d outputs made and discarded while the folder was swapped %d times: nothing else removed", made, swaps)
}
