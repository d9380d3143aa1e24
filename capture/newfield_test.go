//go:build linux && amd64

package capture

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// newField is what CONTRIBUTING.md says of a new field: in C the member and what reads it, in package format the member
// of an event and its row. Each is put behind a line.
var newField = []struct{ file, behind, line string }{
	{"bpf/kernel.h", "	struct minmax rtt_min;\n", "	u32 snd_cwnd;\n"},
	{"bpf/connection.h", "	u8 cause;\n", "	u32 cwnd;\n"},
	{"bpf/life.h", "	e->retransmits = GET(typed, tp, total_retrans);\n", "	e->cwnd = GET(typed, tp, snd_cwnd);\n"},
	{"format/event.go", "	MinRTTUS    uint32 // the least", "	Cwnd uint32\n"},
	{"format/field.go", "		at: unsafe.Offsetof(ev.MinRTTUS), size: 4},\n", `
	{FieldSpec: FieldSpec{Name: "cwnd", Type: Uint, On: onClosed, Key: keyTask},
		Doc: "congestion window, segments", Source: "tcp_sock.snd_cwnd", at: unsafe.Offsetof(ev.Cwnd), size: 4},
`},
}

// newFieldRecords takes records with the new member as from the ring, and leaves a capture of them.
const newFieldRecords = `//go:build linux

package capture

import (
	"os"
	"testing"

	"github.com/acc-project/acc/bpf"
	"github.com/acc-project/acc/format"
)

func TestNewFieldRecords(t *testing.T) {
	tk := newTake(t)
	raw := bpf.AccLifeEvent{Family: uint16(format.FamilyIPv4), Type: 1, Proto: 6, Lport: 80, Kind: uint8(format.Closed),
		Hook: uint8(format.HookSetState), State: 7, OldState: 9}
	for i, cwnd := range []uint32{10, 10, 10, 4242, 10} {
		raw.BootNs, raw.CpuSeq, raw.Cwnd = uint64(i+1), uint64(i+1), cwnd
		if err := tk.take(bytesOf(&raw), false); err != nil {
			t.Fatal(err)
		}
	}
	end := format.End{Reason: "signal", Clean: true,
		Totals: []format.ProbeTotal{{Hook: format.HookSetState, Kind: format.Closed, Seen: 5, Recorded: 5}}}
	if err := tk.writer.Close(end); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("new.acc", tk.out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
`

// A field that is added as CONTRIBUTING.md says, in a copy of the source, is in JSON, without another edit.
func TestNewField(t *testing.T) {
	if _, err := exec.LookPath("clang-19"); err != nil || testing.Short() {
		t.Skip("compiles the programs: needs clang-19 (make clang), and is not short")
	}
	dir := t.TempDir()
	run := func(in, name string, args ...string) []byte {
		t.Helper()
		cmd := exec.Command(name, args...)
		var out, errOut bytes.Buffer
		cmd.Dir, cmd.Stdout, cmd.Stderr = in, &out, &errOut
		if err := cmd.Run(); err != nil {
			t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out.Bytes(), errOut.Bytes())
		}
		return out.Bytes()
	}
	for _, name := range strings.Fields(string(run("..", "git", "ls-files", "*.go", "go.mod", "go.sum", "bpf", "analysis",
		"cmd", "evidence"))) {
		data, err := os.ReadFile(filepath.Join("..", name))
		if os.IsNotExist(err) {
			continue
		}
		to := filepath.Join(dir, name)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(to), 0o755)
		}
		if err == nil {
			err = os.WriteFile(to, data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, edit := range newField {
		name := filepath.Join(dir, edit.file)
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		before, after, ok := strings.Cut(string(data), edit.behind)
		if !ok {
			t.Fatalf("%s has no line %q", edit.file, edit.behind)
		}
		if !strings.HasSuffix(edit.behind, "\n") { // a line goes on
			rest, next, _ := strings.Cut(after, "\n")
			before, after = before+edit.behind+rest+"\n", next
		} else {
			before += edit.behind
		}
		if err := os.WriteFile(name, []byte(before+edit.line+after), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run(filepath.Join(dir, "bpf"), "go", "generate", ".")
	records := filepath.Join(dir, "capture/newfield_records_test.go")
	if err := os.WriteFile(records, []byte(newFieldRecords), 0o644); err != nil {
		t.Fatal(err)
	}
	run(dir, "go", "test", "./capture", "-short", "-run",
		"^TestNewFieldRecords$|^TestTakeRandom|^TestConvertLifeArrives$|^TestEnums$")
	var got []int
	for line := range bytes.Lines(run(dir, "go", "run", "./cmd/acc", "replay", "--json", "--speed", "max", "capture/new.acc")) {
		var e struct {
			Kind string
			Cwnd *int
		}
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if e.Kind == "closed" && e.Cwnd != nil {
			got = append(got, *e.Cwnd)
		}
	}
	if want := []int{10, 10, 10, 4242, 10}; !slices.Equal(got, want) {
		t.Errorf("JSON has %v, want %v", got, want)
	}
}
