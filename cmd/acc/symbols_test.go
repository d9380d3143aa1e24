//go:build linux

package main

import (
	"bytes"
	"debug/elf"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/acc-project/acc/format"
)

// lookedSample is lifeSample with what its one thread did: it slept in a function of a file with a build id, of which the
// recorder did not know the name.
func lookedSample(t *testing.T, buildID string, offset uint64) string {
	t.Helper()
	b := lifeSampleWith(func(w *format.Writer, boot int64) error {
		for _, err := range []error{
			w.Image(format.Image{Num: 1, Path: "/srv/app", BuildID: buildID}),
			w.Stack(format.Stack{Num: 1, Whole: true, Frames: []format.StackFrame{{Image: 1, Offset: offset},
				{Image: 1, Offset: 1, Func: "handle" + evil}}}),
			w.Watch(format.Watch{Num: 1, NetNS: 1, Listener: 777, FromNS: boot + 1e8, ToNS: boot + 9e9, EveryNS: 5e7, Looks: 50,
				Threads: []format.WatchedThread{{PID: 10, TID: 10, Comm: evil}}, MoreThreads: 3,
				Cannot: []string{"stacks: " + evil}}),
			w.Doing(format.Doing{Watch: 1, Row: 1, TID: 10, FromNS: boot + 1e8, ToNS: boot + 9e9, NS: 89e8, Looks: 50,
				State: format.DoingAsleep, Call: "write", Kind: format.TargetPipe, Target: "/var/log/" + evil, Stack: 1}),
		} {
			if err != nil {
				return err
			}
		}
		return nil
	})
	path := filepath.Join(t.TempDir(), "looked.acc")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A function without a name in the capture is named by a file with the build id; this test's own program is one, whose
// names the runtime knows. Nothing steers a terminal, and the reader is confined meanwhile.
func TestSymbols(t *testing.T) {
	f, err := elf.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := f.Section(".note.gnu.build-id")
	if s == nil {
		t.Skip("this program has no build id")
	}
	note, err := s.Data()
	if err != nil {
		t.Fatal(err)
	}
	id, pc := hex.EncodeToString(note[16:]), reflect.ValueOf(runAnalyze).Pointer()
	name := runtime.FuncForPC(pc).Name()
	name = name[strings.LastIndexByte(name, '/')+1:]
	path := lookedSample(t, id, uint64(pc))
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "deep"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(os.Args[0], filepath.Join(dir, "link")); err != nil { // which is passed over
		t.Fatal(err)
	}
	program, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "deep", "x"), program, 0o600); err != nil {
		t.Fatal(err)
	}
	bin := buildAcc(t)
	run := func(args ...string) (out, said string) {
		t.Helper()
		cmd := exec.Command(bin, args...)
		cmd.Env = append(os.Environ(), "TERM=xterm", "LC_ALL=C.UTF-8", "COLUMNS=100")
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		_ = cmd.Run()
		if strings.ContainsAny(stdout.String()+stderr.String(), "\x1b\x07") {
			t.Errorf("acc %q steers the terminal: %q %q", args, &stdout, &stderr)
		}
		return strings.Join(strings.Fields(stdout.String()), " "), stderr.String()
	}
	for _, c := range []struct {
		args      []string
		out, said []string
	}{
		{[]string{"analyze", path}, []string{"which was full, called from app+0x", " < handle", "3 more threads not looked at",
			"could not be looked at: stacks: "}, nil},
		{[]string{"analyze", "--symbols", dir, path}, []string{"called from " + name + " < handle"},
			[]string{"1 of 1 places named"}},
		{[]string{"analyze", "--symbols", os.Args[0], path}, []string{"called from " + name + " < handle"}, nil},
		{[]string{"analyze", "--symbols", t.TempDir(), path}, []string{"called from app+0x"}, []string{"0 of 1 places named",
			"no file for /srv/app (build id " + id}},
		{[]string{"analyze", "--symbols", "/nowhere", path}, nil, []string{"no such file", "hint:"}},
		{[]string{"analyze", "--connection", "10.0.0.1:50001", "--symbols", dir, path}, []string{"while it waited, ",
			"in write to the pipe", "called from " + name, "not seen"}, nil},
		{[]string{"analyze", "--timeline", path}, []string{"W full pipe", "WWWWWWWW", "· not looked at"}, nil},
		{[]string{"analyze", "--json", "--symbols", dir, path}, []string{`"build_id": "` + id, `"kind": "full-pipe"`,
			`"at": "` + name}, nil},
		{[]string{"info", "--reveals", path}, []string{"function"}, nil},
	} {
		out, said := run(c.args...)
		for _, want := range c.out {
			if !strings.Contains(out, want) {
				t.Errorf("acc %q: no %q in\n%s", c.args, want, out)
			}
		}
		for _, want := range c.said {
			if !strings.Contains(said, want) {
				t.Errorf("acc %q: no %q on standard error: %s", c.args, want, said)
			}
		}
	}
	safe := filepath.Join(t.TempDir(), "safe.acc")
	if _, said := run("redact", "-o", safe, path); strings.Contains(said, "error") {
		t.Error(said)
	}
	out, _ := run("analyze", safe)
	if strings.Contains(out, "handle") || strings.Contains(out, "app+0x") || !strings.Contains(out, "called from ") {
		t.Errorf("redacted: %s", out)
	}
}
