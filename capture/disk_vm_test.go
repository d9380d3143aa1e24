//go:build linux && (amd64 || arm64)

package capture

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

func mountTmpfs(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// A disk that fills up ends the recording with its end and its losses written; one
// that is too small is refused before anything is traced.
func TestVMDiskFull(t *testing.T) {
	needVM(t)
	for _, mode := range exactModes(t) {
		t.Run(string(mode), func(t *testing.T) {
			dir := mountTmpfs(t, "2m")
			path := filepath.Join(dir, "full.acc")
			r := startRecorder(t, "/in/acc", "record", "-o", path, "--probe", string(mode))
			p := newPingPong(t)
			for events := 0; events == 0; events, _ = readFile(path) {
				p.do(10)
			}
			filler, err := os.Create(filepath.Join(dir, "filler"))
			if err != nil {
				t.Fatal(err)
			}
			defer filler.Close()
			if _, err := io.Copy(filler, zeros{}); !errors.Is(err, unix.ENOSPC) {
				t.Fatalf("fill the disk: %v", err)
			}
			if code := p.until(r); code != 5 || !strings.Contains(r.said.String(), "ENDED EARLY: the disk is full: no space left on device") {
				t.Fatalf("exit code %d\n%s", code, &r.said)
			}
			i := info(t, path)
			seen, recorded, lost := i.returns(t)
			s := i.Witness.Spaces[0]
			figure(t, mode, "%d connections seen = %d recorded + %d lost, the kernel counted %d to the end", seen, recorded, lost, s.Opened)
			if i.Verdict != "intact" || i.End.Reason != "disk full" || lost == 0 || recorded == 0 || i.Accepted != recorded || s.Opened > seen+s.QueuedEnd+1 || i.Witness.Verdict == "differs" { // one can be under way
				t.Errorf("%+v\n%s", i, &r.said)
			}
			if left := probesLeft(); left != "" {
				t.Errorf("functions are still traced:\n%s", left)
			}
		})
	}
	for _, kib := range []int{4, 16, 64, 256} {
		path := filepath.Join(mountTmpfs(t, strconv.Itoa(kib)+"k"), "small.acc")
		out, err := exec.Command("/in/acc", "record", "-o", path, "-d", "100").CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 5 || !strings.Contains(string(out), "no space left on device") || bytes.Count(out, []byte("\n")) > 2 {
			t.Errorf("%d KiB: %v\n%s", kib, err, out)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%d KiB: a file is left", kib)
		}
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// The largest file that a process may have ends a recording like a full disk.
func TestVMFileSize(t *testing.T) {
	needVM(t)
	path := filepath.Join(t.TempDir(), "limited.acc")
	r := startRecorder(t, "/bin/busybox", "sh", "-c", "ulimit -f 560; exec /in/acc record -o "+path) // blocks of 512 bytes
	p := newPingPong(t)
	code := p.until(r)
	if code != 5 || !strings.Contains(r.said.String(), "file too large") {
		t.Fatalf("exit code %d\n%s", code, &r.said)
	}
	i := info(t, path)
	seen, recorded, lost := i.returns(t)
	s := i.Witness.Spaces[0]
	figure(t, ModeAuto, "%d connections seen = %d recorded + %d lost, the kernel counted %d to the end", seen, recorded, lost, s.Opened)
	if st, err := os.Stat(path); err != nil || st.Size() > 560*512 {
		t.Errorf("%v %v", st, err)
	}
	if i.Verdict != "intact" || i.End.Reason != "disk full" || lost == 0 || s.Opened > p.made || i.Witness.Verdict == "differs" {
		t.Errorf("%+v", i)
	}
	out, err := exec.Command("/bin/busybox", "sh", "-c", "ulimit -f 100; exec /in/acc record -o "+path+"2").CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 5 || !strings.Contains(string(out), "file too large") {
		t.Errorf("%v\n%s", err, out)
	}
}

// brokenAt is a writer whose k-th write fails or blocks.
type brokenAt struct {
	bytes.Buffer
	k, writes int
	fail      func() error
}

func (b *brokenAt) Write(p []byte) (int, error) {
	if b.writes++; b.writes == b.k {
		if err := b.fail(); err != nil {
			return 0, err
		}
	}
	return b.Buffer.Write(p)
}

// A write error ends the recording with that error; what was written before is read.
func TestVMWriteError(t *testing.T) {
	needVM(t)
	p := newPingPong(t)
	for k := 1; k <= 4; k++ {
		w := &brokenAt{k: k, fail: func() error { return unix.EIO }}
		ctx, cancel := context.WithCancel(context.Background())
		live := make(chan struct{})
		done := make(chan error, 1)
		go func() {
			_, err := Record(ctx, w, Options{Ready: func(Started) { close(live) }})
			done <- err
		}()
		var err error
		select {
		case err = <-done:
		case <-live:
			for err == nil {
				p.do(10)
				select {
				case err = <-done:
				default:
				}
			}
		}
		cancel()
		if !errors.Is(err, unix.EIO) || strings.Count(err.Error(), "input/output error") != 1 {
			t.Errorf("write %d fails: %v", k, err)
		}
		if rd, err := format.NewReader(&w.Buffer, format.ReaderOptions{}); k > 1 {
			for err == nil {
				_, err = rd.Next()
			}
			if !errors.Is(err, format.ErrTruncated) {
				t.Errorf("write %d fails: it is read as %v", k, err)
			}
		}
		if left := probesLeft(); left != "" {
			t.Errorf("functions are still traced:\n%s", left)
		}
	}
	figure(t, ModeAuto, "write 1 to 4 fails: told once, %d connections", p.made)
}

// A disk that makes the recorder wait costs events that are counted.
func TestVMSlowDisk(t *testing.T) {
	needVM(t)
	for _, mode := range exactModes(t) {
		t.Run(string(mode), func(t *testing.T) {
			p := newPingPong(t)
			blocks, goOn := make(chan struct{}), make(chan struct{})
			w := &brokenAt{k: 3, fail: func() error { close(blocks); <-goOn; return nil }}
			ctx, cancel := context.WithCancel(context.Background())
			live, done := make(chan struct{}), make(chan error, 1)
			go func() {
				_, err := Record(ctx, w, Options{Mode: mode, RingBytes: 16 << 10, Ready: func(Started) { close(live) }})
				done <- err
			}()
			<-live
			for waits := true; waits; {
				p.do(1)
				select {
				case <-blocks:
					waits = false
				default:
				}
			}
			p.do(300)
			close(goOn)
			p.do(20)
			cancel()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "slow.acc")
			if err := os.WriteFile(path, w.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			i := info(t, path)
			_, recorded, lost := i.returns(t)
			exact(t, &i, p.made)
			if lost == 0 {
				t.Error("nothing was lost: this tests nothing")
			}
			figure(t, mode, "%d connections = %d recorded + %d lost", p.made, recorded, lost)
		})
	}
}

// Nobody reads what goes to standard output any more: the recording ends and says so.
func TestVMClosedPipe(t *testing.T) {
	needVM(t)
	p := newPingPong(t)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/in/acc", "record", "-o", "-")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = write, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	write.Close()
	if _, err := io.ReadFull(read, make([]byte, 1000)); err != nil { // the header is there
		t.Fatal(err)
	}
	read.Close()
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	for open := true; open; p.do(10) {
		select {
		case <-ended:
			open = false
		default:
		}
	}
	if code := cmd.ProcessState.ExitCode(); code != 3 || !strings.Contains(said.String(), "nobody reads standard output") {
		t.Errorf("%v\n%s", cmd.ProcessState, &said)
	}
	if left := probesLeft(); left != "" {
		t.Errorf("functions are still traced:\n%s", left)
	}
}
