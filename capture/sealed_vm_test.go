//go:build linux && (amd64 || arm64)

package capture

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"
	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
	"github.com/acc-project/acc/format/seal"
)

// An encrypted recording that is killed is decrypted to its last complete frame, the files before its last one whole; one
// that ends, and goes on in further files, is read whole. No address stands in the files.
func TestVMSealed(t *testing.T) {
	needVM(t)
	if !torture() {
		t.Skip("ACC_TORTURE is not set")
	}
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	id := filepath.Join(t.TempDir(), "id.txt")
	if err := os.WriteFile(id, []byte(key.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	lfd, _ := listen(t, unix.AF_INET, 1)
	defer unix.Close(lfd)
	unix.SetNonblock(lfd, true)
	for _, x := range []struct {
		how    syscall.Signal
		rotate bool
	}{{syscall.SIGKILL, false}, {syscall.SIGKILL, true}, {syscall.SIGINT, true}} {
		dir := t.TempDir()
		cmd := exec.Command("/in/acc", "record", "--to", key.Recipient().String(), "-o", filepath.Join(dir, "x.acc"))
		if x.rotate {
			cmd.Args = append(cmd.Args, "--rotate-every", "2s")
		}
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		files := func() (names []string) { // the next one is made ahead, and is empty until it is written
			list, _ := filepath.Glob(filepath.Join(dir, "*.acc"))
			for _, name := range list {
				if st, err := os.Stat(name); err == nil && st.Size() > 0 {
					names = append(names, name)
				}
			}
			return names
		}
		until := time.Now().Add(3 * time.Minute)
		for events := 0; events == 0 || x.rotate && len(files()) < 3; {
			if time.Now().After(until) {
				t.Fatalf("%v: %d events in %d files", x, events, len(files()))
			}
			unix.Accept(lfd)
			time.Sleep(20 * time.Millisecond) // the recorder needs the CPU
			if list := files(); len(list) > 0 {
				events, _ = sealedEvents(list[len(list)-1], key)
			}
		}
		cmd.Process.Signal(x.how)
		cmd.Wait()
		list, sum := files(), 0
		for i, name := range list {
			events, err := sealedEvents(name, key)
			sum += events
			if cut := x.how == syscall.SIGKILL && i == len(list)-1; errors.Is(err, format.ErrTruncated) != cut || err != nil && !cut {
				t.Errorf("%v: %s: %d events, %v", x, name, events, err)
			}
			if b, err := os.ReadFile(name); err != nil || bytes.Contains(b, []byte("/proc/")) || !seal.Is(b) {
				t.Errorf("%s is not encrypted, or %v", name, err)
			}
		}
		t.Logf("%v: %d events in %d files", x, sum, len(list))
		if sum == 0 {
			t.Errorf("%v: no events", x)
		}
		out, err := exec.Command("/in/acc", "verify", "--identity-file", id, dir).CombinedOutput()
		if whole := x.how == syscall.SIGINT; (err == nil) != whole || bytes.Count(out, []byte("verdict      intact")) != len(list) && whole {
			t.Errorf("%v: verify: %v\n%s", x, err, out)
		}
	}
}

// sealedEvents reads an encrypted capture to its end.
func sealedEvents(name string, key age.Identity) (events int, err error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	r, err := format.NewReader(seal.NewStream(f, []age.Identity{key}), format.ReaderOptions{})
	for err == nil {
		var b *format.Batch
		if b, err = r.Next(); err == nil {
			events += len(b.Events)
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return events, err
}
