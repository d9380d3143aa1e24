//go:build linux && (amd64 || arm64)

package capture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

// pingPong is a listener of this process that takes what it connects to.
type pingPong struct {
	t    *testing.T
	fd   int
	addr unix.Sockaddr
	made int
}

func newPingPong(t *testing.T) *pingPong {
	p := &pingPong{t: t}
	p.fd, p.addr = listen(t, unix.AF_INET, 8)
	t.Cleanup(func() { unix.Close(p.fd) })
	return p
}

// do makes and accepts n connections. Their ends are reset, so that no port waits.
func (p *pingPong) do(n int) {
	p.t.Helper()
	for range n {
		client := dial(p.t, unix.AF_INET, p.addr)
		fd, _, err := unix.Accept4(p.fd, unix.SOCK_CLOEXEC)
		if err != nil {
			p.t.Fatal(err)
		}
		_ = unix.SetsockoptLinger(client, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		unix.Close(client)
		unix.Close(fd)
		p.made++
	}
}

// until connects until a recorder has ended, and gives its exit code.
func (p *pingPong) until(r *recorder) int {
	p.t.Helper()
	ended := make(chan int, 1)
	go func() { ended <- r.end() }()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); p.do(100) {
		select {
		case code := <-ended:
			return code
		default:
		}
	}
	r.Process.Kill()
	return <-ended
}

// returns gives what the end of a capture says of the returns of accept.
func (i *told) returns(t *testing.T) (seen, recorded, lost int) {
	t.Helper()
	if i.End == nil {
		t.Fatalf("no end: %+v", i)
	}
	for _, total := range i.End.Totals {
		if total.Seen != total.Recorded+total.Lost {
			t.Errorf("the account does not add up: %+v", total)
		}
		if total.Kind == "return" && total.Hook == "__sys_accept4" {
			seen, recorded, lost = total.Seen, total.Recorded, total.Lost
		}
	}
	return seen, recorded, lost
}

// exact checks that a capture and the kernel agree on how many connections there
// were: made by the test, of which some may be lost.
func exact(t *testing.T, i *told, made int) {
	t.Helper()
	_, recorded, lost := i.returns(t)
	if len(i.Witness.Spaces) == 0 {
		t.Fatalf("no counters: %+v", i.Witness)
	}
	s := i.Witness.Spaces[0]
	if recorded+lost != made || i.Accepted != recorded || s.Opened != made || !i.End.Clean {
		t.Errorf("%d connections: %d recorded, %d lost, %d accepted; the kernel counted %d; %+v", made, recorded, lost, i.Accepted, s.Opened, i.End)
	}
	if lost == 0 && i.Witness.Verdict != "agrees" || lost > 0 && i.Witness.Verdict != "explained" {
		t.Errorf("%+v", i.Witness)
	}
}

// probesLeft gives what the kernel still traces.
func probesLeft() string {
	b, err := os.ReadFile("/sys/kernel/tracing/enabled_functions")
	if err != nil || !bytes.Contains(b, []byte("accept")) {
		return ""
	}
	return string(b)
}

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
			if i.Verdict != "whole" || i.End.Reason != "disk full" || lost == 0 || recorded == 0 || i.Accepted != recorded || s.Opened > seen || s.Unexplained < 0 || s.Unexplained > lost {
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
		if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), "no space left on device") || bytes.Count(out, []byte("\n")) > 2 {
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
	if i.Verdict != "whole" || i.End.Reason != "disk full" || lost == 0 || s.Opened > p.made || s.Unexplained < 0 || s.Unexplained > lost {
		t.Errorf("%+v", i)
	}
	out, err := exec.Command("/bin/busybox", "sh", "-c", "ulimit -f 100; exec /in/acc record -o "+path+"2").CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), "file too large") {
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

// A recorder that was stopped for a while, with a tiny ring: recorded + lost is what
// the server and the kernel counted.
func TestVMStopped(t *testing.T) {
	needVM(t)
	rounds := 1
	if torture() {
		rounds = 50
	}
	for _, mode := range exactModes(t) {
		t.Run(string(mode), func(t *testing.T) {
			for range rounds {
				p := newPingPong(t)
				path := filepath.Join(t.TempDir(), "stopped.acc")
				r := startRecorder(t, "/in/acc", "record", "-o", path, "--probe", string(mode), "--ring-size", "16KiB")
				p.do(50)
				r.Process.Signal(unix.SIGSTOP)
				p.do(500)
				r.Process.Signal(unix.SIGCONT)
				p.do(50)
				r.stop(t)
				i := info(t, path)
				_, recorded, lost := i.returns(t)
				exact(t, &i, p.made)
				if lost == 0 {
					t.Error("nothing was lost: this tests nothing")
				}
				figure(t, mode, "%d connections = %d recorded + %d lost, the kernel counted %d", p.made, recorded, lost, i.Witness.Spaces[0].Opened)
			}
		})
	}
}

// Two recorders at once see the same.
func TestVMTwoRecorders(t *testing.T) {
	needVM(t)
	both := exactModes(t)
	p := newPingPong(t)
	var paths []string
	var recorders []*recorder
	for n, mode := range append(both, both...) {
		paths = append(paths, filepath.Join(t.TempDir(), fmt.Sprintf("%d.acc", n)))
		recorders = append(recorders, startRecorder(t, "/in/acc", "record", "-o", paths[n], "--probe", string(mode)))
	}
	p.do(500)
	for n, r := range recorders {
		r.stop(t)
		i := info(t, paths[n])
		// Each also sees the self-tests of those that start later.
		if s := i.Witness.Spaces; i.Lost != 0 || i.Witness.Verdict != "agrees" || s[0].Accepted != p.made || s[0].Unexplained != 0 {
			t.Errorf("%d connections: %+v", p.made, i)
		}
	}
	figure(t, ModeAuto, "%d recorders, %d connections each", len(recorders), p.made)
}

// A CPU that goes and comes back while recording loses nothing.
func TestVMCPUOffline(t *testing.T) {
	needVM(t)
	const online = "/sys/devices/system/cpu/cpu1/online"
	set := func(v string) {
		if err := os.WriteFile(online, []byte(v), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, mode := range exactModes(t) {
		t.Run(string(mode), func(t *testing.T) {
			p := newPingPong(t)
			path := filepath.Join(t.TempDir(), "cpu.acc")
			defer set("1")
			r := startRecorder(t, "/in/acc", "record", "-o", path, "--probe", string(mode))
			for _, v := range []string{"0", "1", "0"} {
				p.do(100)
				set(v)
				p.do(100)
			}
			r.stop(t)
			i := info(t, path)
			exact(t, &i, p.made)
			figure(t, mode, "%d connections recorded, CPU 1 went twice", i.Accepted)
		})
	}
}

// A clock that is set while recording does not move what happened, and is in the end.
func TestVMClockStep(t *testing.T) {
	needVM(t)
	const step = 3600
	p := newPingPong(t)
	shift := func(sec int64) {
		var now unix.Timeval
		err := unix.Gettimeofday(&now)
		now.Sec += sec
		if err := errors.Join(err, unix.Settimeofday(&now)); err != nil {
			t.Fatal(err)
		}
	}
	r := recordWhile(t, Options{Events: EventsAccept}, func() {
		p.do(10)
		shift(step)
		p.do(10)
	})
	shift(-step)
	last := int64(0)
	for _, e := range r.events {
		if e.BootNS < last-int64(time.Second) {
			t.Errorf("event %d is %d ns before the one before it", e.Seq, last-e.BootNS)
		}
		last = e.BootNS
	}
	moved := (r.end.Clock.RealNS - r.end.Clock.BootNS) - (r.header.Clock.RealNS - r.header.Clock.BootNS)
	if d := moved - step*1e9; d < -1e9 || d > 1e9 || len(r.events) != 40 {
		t.Errorf("the clocks at the end are %d ns from those at the start; %d events", moved, len(r.events))
	}
	figure(t, ModeAuto, "the clock went by %d s, %d events in order", moved/1e9, len(r.events))
}

// With 64 MiB in all, everything is recorded.
func TestVMMemoryLimit(t *testing.T) {
	needVM(t)
	const dir = "/sys/fs/cgroup/limited"
	if err := os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte("+memory"), 0o644); err != nil {
		t.Skipf("no memory controller: %v", err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(dir)
	for _, set := range [][2]string{{"memory.max", "64M"}, {"memory.swap.max", "0"}} {
		if err := os.WriteFile(dir+"/"+set[0], []byte(set[1]), 0o644); err != nil && set[0] == "memory.max" {
			t.Fatal(err)
		}
	}
	for _, mode := range exactModes(t) {
		t.Run(string(mode), func(t *testing.T) {
			p := newPingPong(t)
			path := filepath.Join(t.TempDir(), "limited.acc")
			r := startRecorder(t, "/bin/busybox", "sh", "-c", "echo $$ >"+dir+"/cgroup.procs; exec /in/acc record -o "+path+" --probe "+string(mode))
			p.do(3000)
			used := readLine(dir + "/memory.current")
			r.stop(t)
			i := info(t, path)
			exact(t, &i, p.made)
			if events := readLine(dir + "/memory.events"); !strings.Contains(events, "oom_kill 0") {
				t.Errorf("%s", events)
			}
			figure(t, mode, "%d connections recorded, memory in use %s bytes, at most %s", i.Accepted, used, readLine(dir+"/memory.peak"))
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

// Killed at any time under load, it leaves a capture that is read to its last
// complete frame.
func TestVMKilledAnyTime(t *testing.T) {
	needVM(t)
	rounds := 6
	if torture() {
		rounds = 300
	}
	p := newPingPong(t)
	list := modes(t)
	worst, events := int64(0), 0
	for round := range rounds {
		mode := list[round%len(list)]
		path := filepath.Join(t.TempDir(), "killed.acc")
		r := startRecorder(t, "/in/acc", "record", "-o", path, "--probe", string(mode))
		p.do(10 + round*997%4000)
		before, _ := readFile(path)
		killed := bootNS()
		r.Process.Kill()
		r.end()
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		last, n := int64(0), 0
		rd, err := format.NewReader(f, format.ReaderOptions{})
		for err == nil {
			var b *format.Batch
			if b, err = rd.Next(); err == nil {
				for i := range b.Events {
					last = b.Events[i].BootNS
				}
				n += len(b.Events)
			}
		}
		f.Close()
		os.Remove(path)
		if !errors.Is(err, format.ErrTruncated) || n < before {
			t.Errorf("%d events, %d before it was killed, %v", n, before, err)
		}
		if events += n; last > 0 {
			worst = max(worst, killed-last)
		}
	}
	figure(t, ModeAuto, "%d kills, %d events read, the last one at most %d ms before the kill", rounds, events, worst/1e6)
}

// A million connections: nothing is lost with the default ring, and the recorder
// does not grow.
func TestVMSoak(t *testing.T) {
	needVM(t)
	if !torture() {
		t.Skip("make torture-vm")
	}
	const connections, step = 1_000_000, 50_000
	p := newPingPong(t)
	path := filepath.Join(t.TempDir(), "soak.acc")
	r := startRecorder(t, "/in/acc", "record", "-o", path)
	var sizes []int
	for p.made < connections {
		p.do(step)
		kib, _ := strconv.Atoi(strings.TrimSuffix(statuses(strconv.Itoa(r.Process.Pid), "VmRSS")[0][0], " kB"))
		sizes = append(sizes, kib)
	}
	r.stop(t)
	i := info(t, path)
	exact(t, &i, p.made)
	st, _ := os.Stat(path)
	figure(t, ModeAuto, "%d connections, %d lost, capture of %d bytes, memory of the recorder %d KiB after %d, %d KiB after all",
		p.made, i.Lost, st.Size(), sizes[0], step, sizes[len(sizes)-1])
	if i.Lost != 0 || sizes[len(sizes)-1] > sizes[1]*3/2 {
		t.Errorf("%d lost, memory in KiB %v", i.Lost, sizes)
	}
}
