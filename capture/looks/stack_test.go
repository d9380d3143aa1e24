//go:build linux && amd64

package looks

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/acc-project/acc/format"
)

// lookAt looks at the main thread of a program for a while, and gives the stack of the row in which it was longest.
func lookAt(t *testing.T, cmd *exec.Cmd) (*taken, format.Stack) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin = r
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := uint32(cmd.Process.Pid)
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		r.Close()
		w.Close()
	})
	// It has begun when it sleeps in read.
	for range 100 {
		if b, _ := os.ReadFile("/proc/" + itoa(pid) + "/syscall"); strings.HasPrefix(string(b), "0 0x0 ") {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	l := New()
	l.Begin(Listener{Inode: 1 << 40}, []Thread{{pid, pid}})
	time.Sleep(150 * time.Millisecond)
	l.Close()
	x := take(t, l)
	var most format.Doing
	for _, d := range x.rows {
		if d.NS > most.NS {
			most = d
		}
	}
	if s, ok := x.stacks[most.Stack]; ok {
		return x, s
	}
	t.Fatalf("no stack is known: %+v", x)
	return nil, format.Stack{}
}

// chain writes a stack: functions, or the file where there is none.
func chain(x *taken, s format.Stack) string {
	var words []string
	for _, f := range s.Frames {
		if f.Func == "" {
			words = append(words, filepath.Base(x.images[f.Image].Path)+"+")
			continue
		}
		words = append(words, f.Func)
	}
	return strings.Join(words, " < ")
}

// The stack of a program in C is found, however it was compiled: with frame pointers and without, by the names that its
// symbols have; without symbols by places in its file.
func TestStackOfC(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("there is no compiler")
	}
	for _, c := range []struct{ flags, strip, want string }{
		{"-O2", "", " < access_log < handle < main < "},
		{"-O2 -fno-omit-frame-pointer", "", " < access_log < handle < main < "},
		{"-O0", "", " < access_log < handle < main < "},
		{"-O2 -fno-omit-frame-pointer -fstack-clash-protection -fcf-protection", "", " < access_log < handle < main < "},
		{"-O2 -no-pie", "", " < access_log < handle < main < "},
		{"-O2 -static", "", "read < access_log < handle < main < "},
		{"-O2", "strip", " < sleeper+ < sleeper+ < sleeper+ < "},
		{"-O2 -rdynamic", "strip", " < sleeper+ < handle < main < "}, // access_log is not exported: no name, and not another's
	} {
		t.Run(c.flags+" "+c.strip, func(t *testing.T) {
			bin := filepath.Join(t.TempDir(), "sleeper")
			args := append(strings.Fields(c.flags), "-Wl,--build-id", "-o", bin, "testdata/sleeper.c")
			if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
				t.Skipf("%v: %s", err, out)
			}
			if c.strip != "" {
				if out, err := exec.Command("strip", bin).CombinedOutput(); err != nil {
					t.Skipf("%v: %s", err, out)
				}
			}
			x, s := lookAt(t, exec.Command(bin))
			if got := chain(x, s); !strings.Contains(got, c.want) || !s.Whole {
				t.Errorf("%s, whole %t; want %s", got, s.Whole, c.want)
			} else {
				t.Log(got)
			}
		})
	}
}

func itoa(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// The stack of a program in Go is found by Go's own table, which stripping leaves in.
func TestStackOfGo(t *testing.T) {
	for _, flags := range []string{"", "-s -w"} {
		t.Run(flags, func(t *testing.T) {
			bin := filepath.Join(t.TempDir(), "sleeper")
			build := exec.Command("go", "build", "-ldflags="+flags, "-o", bin, "testdata/sleeper.go")
			build.Env = append(os.Environ(), "CGO_ENABLED=0")
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			x, s := lookAt(t, exec.Command(bin))
			got := chain(x, s)
			if !strings.Contains(got, " < syscall.read < main.accessLog < main.handle < main.main < runtime.main") || !s.Whole {
				t.Errorf("%s, whole %t", got, s.Whole)
			}
			t.Log(got)
		})
	}
}
