//go:build linux && (amd64 || arm64)

package capture

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Events of all CPUs come in order of time, from a file, a pipe, and a file that is cut; all of
// them do. The times are the kernel's own.
func TestVMReplayInOrder(t *testing.T) {
	needVM(t)
	path := filepath.Join(t.TempDir(), "o.acc")
	r := startRecorder(t, "/in/acc", "record", "-o", path)
	done := make(chan bool)
	for cpu := range runtime.NumCPU() {
		p := newPingPong(t)
		go func() {
			defer func() { done <- true }()
			runtime.LockOSThread()
			var one unix.CPUSet
			one.Set(cpu)
			if err := unix.SchedSetaffinity(0, &one); err != nil {
				t.Error(err)
			}
			p.do(350)
			time.Sleep(1500 * time.Millisecond) // so that the first frame ends, and a part of the file has events
			p.do(350)
		}()
	}
	for range runtime.NumCPU() {
		<-done
	}
	r.Process.Signal(unix.SIGINT)
	if code := r.end(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	whole := inOrder(t, nil, path)
	if piped := inOrder(t, file, "-"); piped != whole {
		t.Errorf("%d events from a pipe, %d from the file", piped, whole)
	}
	linesInOrder(t, "return_boot_ns", "--pairs", path)
	linesInOrder(t, "end_ns", "--connections", path)
	cut := filepath.Join(t.TempDir(), "cut.acc")
	if err := os.WriteFile(cut, file[:len(file)*3/4], 0o600); err != nil {
		t.Fatal(err)
	}
	if n := inOrder(t, nil, cut); n == 0 || n >= whole {
		t.Errorf("%d events of a part, %d of the whole", n, whole)
	}
}

// inOrder replays a capture, demands that its events come in order and all once, and gives their number.
func inOrder(t *testing.T, stdin []byte, name string) int {
	t.Helper()
	cmd := exec.Command("/in/acc", "replay", "--speed", "max", "--json", name)
	var out, said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &said
	if err := cmd.Run(); err != nil && cmd.ProcessState.ExitCode() != 3 {
		t.Fatalf("%v: %s", err, said.String())
	}
	seen := map[uint64]bool{}
	lastNS, lastSeq, most := int64(0), uint64(0), uint64(0)
	back := 0 // in the order of the file
	times := map[uint64]int64{}
	lines := json.NewDecoder(&out)
	for {
		var e struct {
			Seq    uint64
			BootNS int64 `json:"boot_ns"`
		}
		if err := lines.Decode(&e); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if e.BootNS < lastNS || e.BootNS == lastNS && e.Seq < lastSeq {
			t.Errorf("event %d of %d comes after event %d of %d", e.Seq, e.BootNS, lastSeq, lastNS)
		}
		lastNS, lastSeq, most = e.BootNS, e.Seq, max(most, e.Seq)
		seen[e.Seq], times[e.Seq] = true, e.BootNS
	}
	for seq := uint64(2); seq <= most; seq++ {
		if times[seq] < times[seq-1] {
			back++
		}
	}
	if uint64(len(seen)) != most || bytes.Contains(said.Bytes(), []byte("out of order")) {
		t.Errorf("%d events, the last is %d: %s", len(seen), most, said.String())
	}
	t.Logf("%s: %d events on %d CPUs, %d of which stand in the file behind a later one", filepath.Base(name), most, runtime.NumCPU(), back)
	return len(seen)
}

// linesInOrder demands that the lines of a list of analyze are in order of a time.
func linesInOrder(t *testing.T, key, list, path string) {
	t.Helper()
	out, err := exec.Command("/in/acc", "analyze", "--json", list, path).Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := json.NewDecoder(bytes.NewReader(out))
	n, last := 0, int64(0)
	for ; ; n++ {
		line := map[string]any{}
		lines.UseNumber()
		if err := lines.Decode(&line); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		number, ok := line[key].(json.Number)
		if !ok { // it has no end
			continue
		}
		ns, err := number.Int64()
		if err != nil || ns < last {
			t.Errorf("%s: line %d is of %d, after one of %d (%v)", list, n, ns, last, err)
		}
		last = ns
	}
	if n < 500 || last == 0 {
		t.Errorf("%s: %d lines, the last of %d", list, n, last)
	}
}
