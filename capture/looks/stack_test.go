//go:build linux && amd64

package looks

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
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
	l := New("")
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

// A thread that runs is sampled: nearly all samples are in, or below, the function that takes its time, whatever of the
// C library it calls.
func TestSampling(t *testing.T) {
	if testing.Short() {
		t.Skip("a process spins for seconds")
	}
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("there is no compiler")
	}
	for _, flags := range []string{"-O2", "-O2 -fno-omit-frame-pointer", "-O0"} {
		t.Run(flags, func(t *testing.T) {
			bin := filepath.Join(t.TempDir(), "spinner")
			args := append(strings.Fields(flags), "-o", bin, "testdata/spinner.c")
			if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
				t.Skipf("%v: %s", err, out)
			}
			cmd := exec.Command(bin)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Wait()
			defer cmd.Process.Kill()
			pid := uint32(cmd.Process.Pid)
			l := New("")
			l.Begin(Listener{Inode: 1 << 40}, []Thread{{pid, pid}})
			// It is to have run for two seconds, however busy this machine is: samples are taken once it was seen to run.
			for ran := 0; ran < 2e9; time.Sleep(50 * time.Millisecond) {
				b, _ := os.ReadFile("/proc/" + itoa(pid) + "/schedstat")
				ran, _ = strconv.Atoi(strings.Fields(string(b) + " 0")[0])
			}
			l.Close()
			x := take(t, l)
			w := x.watches[len(x.watches)-1]
			if len(w.OnCPU) == 0 && len(w.Cannot) > 0 {
				t.Skip(w.Cannot)
			}
			if len(w.OnCPU) != 1 || w.OnCPU[0].Samples < 3 {
				t.Fatalf("%+v", w)
			}
			below, all := uint32(0), w.OnCPU[0]
			for _, s := range all.Stacks {
				if strings.Contains(chain(x, x.stacks[s.Stack]), "hash_password < handle < main < ") {
					below += s.N
				} else {
					t.Log(s.N, chain(x, x.stacks[s.Stack]))
				}
			}
			t.Logf("%d of %d samples, %d lost, in %d stacks", below, all.Samples, all.Lost, len(all.Stacks))
			if below < all.Samples*8/10 {
				t.Error("too few are below hash_password")
			}
		})
	}
}

// The goroutines of a Go program are found with what they wait for; of one without symbols it is said that they are not.
// ACC_GO is the go command of another version to build it with.
func TestGoroutines(t *testing.T) {
	for _, flags := range []string{"", "-s -w"} {
		t.Run(flags, func(t *testing.T) {
			bin := filepath.Join(t.TempDir(), "goserver")
			build := exec.Command(cmp.Or(os.Getenv("ACC_GO"), "go"), "build", "-ldflags="+flags, "-o", bin, "testdata/goserver.go")
			build.Env = append(os.Environ(), "CGO_ENABLED=0", "GO111MODULE=off", "GOTOOLCHAIN=local", "GOROOT=")
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			cmd := exec.Command(bin)
			cmd.Env = append(os.Environ(), "GODEBUG=")
			x, _ := lookAt(t, cmd)
			w := x.watches[len(x.watches)-1]
			if flags != "" {
				if len(w.Goroutines) != 0 || len(w.Cannot) != 1 || !strings.Contains(w.Cannot[0], "symbols are stripped") {
					t.Errorf("%+v, cannot %q", w.Goroutines, w.Cannot)
				}
				return
			}
			if len(w.Goroutines) != 1 {
				t.Fatalf("%+v, cannot %q", w.Goroutines, w.Cannot)
			}
			var got []string
			for _, g := range w.Goroutines[0].Groups {
				got = append(got, fmt.Sprintf("%d %s %s", g.N, g.Wait, chain(x, x.stacks[g.Stack])))
			}
			t.Log(strings.Join(got, "\n"))
			for _, want := range []string{"3 chan receive .*main.main.func1 < runtime.goexit",
				"1 sync.Mutex.Lock .*lockSlow < .*main...store..admit < main.serve < ",
				"1 IO wait .*net...conn..Read < .*main...store..query < "} {
				if !slices.ContainsFunc(got, func(s string) bool { return regexp.MustCompile("^" + want).MatchString(s) }) {
					t.Errorf("no %s among %q", want, got)
				}
			}
		})
	}
}

func itoa(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// The stack of a program in Go is found by Go's own table, which stripping leaves in.
func TestStackOfGo(t *testing.T) {
	for _, flags := range []string{"", "-s -w", "-s -w -linkmode=external", "-buildmode=pie -s -w"} {
		t.Run(flags, func(t *testing.T) {
			bin := filepath.Join(t.TempDir(), "sleeper")
			args := []string{"build", "-o", bin}
			if rest, pie := strings.CutPrefix(flags, "-buildmode=pie "); pie {
				args, flags = append(args, "-buildmode=pie"), rest
			}
			if _, err := exec.LookPath("gcc"); err != nil && strings.Contains(flags, "external") {
				t.Skip("there is no compiler")
			}
			build := exec.Command("go", append(args, "-ldflags="+flags, "testdata/sleeper.go")...)
			build.Env = append(os.Environ(), "CGO_ENABLED=0")
			if strings.Contains(flags, "external") {
				build.Env = append(os.Environ(), "CGO_ENABLED=1")
			}
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
