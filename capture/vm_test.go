//go:build linux && (amd64 || arm64)

package capture

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/acc-project/acc/analysis/crosscheck"
	"github.com/acc-project/acc/format"
)

// needVM skips tests that need a kernel to trace, but not where the machine was
// booted for them.
func needVM(t *testing.T) {
	t.Helper()
	if os.Getenv("ACC_VM") == "" {
		t.Skip("needs a kernel to trace: make test-vm")
	}
}

// modes are the modes that this machine's kernel has: Linux 6.1 for arm64 can't call
// programs from functions (no DYNAMIC_FTRACE_WITH_DIRECT_CALLS).
func modes(t *testing.T) []Mode {
	if runtime.GOARCH == "arm64" && os.Getenv("ACC_VM") == "6.1" {
		t.Log("kprobe mode only")
		return []Mode{ModeKprobe}
	}
	return []Mode{ModeFentry, ModeKprobe}
}

// recording is what recordWhile gives.
type recording struct {
	header  format.Header
	events  []format.Event
	losses  []format.Loss
	shots   []format.Snapshot
	clocks  []format.Clock // pairs between the start and the end
	marks   []format.Mark
	counted []format.Counted
	procs   map[uint32]format.Process
	result  Result
	end     *format.End
}

// recordWhile records while work runs.
func recordWhile(t *testing.T, o Options, work func()) recording {
	t.Helper()
	var out bytes.Buffer
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ready := make(chan Started, 1)
	o.Ready = func(s Started) { ready <- s }
	var r recording
	done := make(chan error, 1)
	go func() {
		var err error
		r.result, err = Record(ctx, &out, o)
		done <- err
	}()
	select {
	case s := <-ready:
		if o.Mode != "" && o.Mode != ModeAuto && s.Mode != o.Mode {
			t.Errorf("asked for %s, got %s: %s", o.Mode, s.Mode, s.Note)
		}
		if strings.Contains(s.Note, noteSlower) {
			t.Error(s.Note)
		}
	case err := <-done:
		t.Fatalf("record: %v", err)
	}
	work()
	cancel()
	if err := <-done; err != nil {
		t.Fatalf("record: %v", err)
	}
	r.read(t, &out)
	return r
}

func (r *recording) read(t *testing.T, in io.Reader) {
	t.Helper()
	rd, err := format.NewReader(in, format.ReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r.header, r.procs = *rd.Header(), map[uint32]format.Process{}
	for {
		b, err := rd.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		r.events = append(r.events, b.Events...)
		r.losses = append(r.losses, b.Losses...)
		r.shots = append(r.shots, b.Snapshots...)
		r.clocks = append(r.clocks, b.Clocks...)
		r.counted = append(r.counted, b.Counted...)
		r.marks = append(r.marks, b.Marks...)
		if b.End != nil {
			end := *b.End
			r.end = &end
		}
		for _, p := range b.Processes {
			r.procs[p.Num] = p
		}
	}
}

// isEnd reports whether an event is the end of a connection. Where two CPUs complete one handshake at once, the kernel
// makes two sockets, counts both in PassiveOpens, and discards one, whose end is an event, too.
func isEnd(e *format.Event) bool { return e.Kind == format.Closed && !crosscheck.Discarded(e) }

// discarded counts the sockets that the kernel discarded so.
func (r *recording) discarded() (n int) {
	for i := range r.events {
		if crosscheck.Discarded(&r.events[i]) {
			n++
		}
	}
	return n
}

// missed is what the end says of the i-th of probes.
func (r *recording) missed(i int) int { return int(r.result.End.Totals[i].Missed) }

// exactModes are the modes that miss nothing on this kernel, short of kretprobe
// instances: fentry does where programs can be preempted.
func exactModes(t *testing.T) []Mode {
	release, build := kernelName()
	if preempts(os.DirFS("/"), release, build) {
		t.Logf("Linux %s %s preempts programs: kprobe mode only", release, build)
		return []Mode{ModeKprobe}
	}
	return modes(t)
}

// of keeps the ends of a process's attempts.
func (r *recording) of(pid int) (events []format.Event) {
	for _, e := range r.events {
		if e.PID == uint32(pid) && (e.Kind == format.Enter || e.Kind == format.Return) {
			events = append(events, e)
		}
	}
	return events
}

// netstat reads one of the kernel's counters from /proc/net/snmp.
func netstat(t *testing.T, name string) int {
	t.Helper()
	return countIn(t, "/proc/net/snmp", "Tcp:", name)
}

// tcpExt reads one of the kernel's counters from /proc/net/netstat.
func tcpExt(t *testing.T, name string) int {
	t.Helper()
	return countIn(t, "/proc/net/netstat", "TcpExt:", name)
}

// countIn reads one of TCP's counters from a file like /proc/net/snmp: a line of names, and one of values.
func countIn(t *testing.T, path, table, name string) int {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if fields[0] != table {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		for i, n := range names {
			if n == name {
				v, _ := strconv.Atoi(fields[i])
				return v
			}
		}
	}
	t.Fatalf("%s has no %s", path, name)
	return 0
}
