//go:build linux && (amd64 || arm64)

package confine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMain runs this program as one that confines itself, if a test asks for it.
func TestMain(m *testing.M) {
	switch os.Getenv("ACC_CONFINE") {
	case "attempt":
		attempt()
	case "landlocked":
		landlocked()
	case "reads":
		reads()
	default:
		os.Exit(m.Run())
	}
}

// reads confines itself to one folder, and says what it can open.
func reads() {
	Reader(os.Args[1])
	for _, open := range []func() (*os.File, error){
		func() (*os.File, error) { return os.Open(os.Args[1] + "/there") },
		func() (*os.File, error) { return os.Open("/etc/passwd") },
		func() (*os.File, error) { return os.Create(os.Args[1] + "/new") },
		func() (*os.File, error) { return os.OpenFile(os.Args[1]+"/there", os.O_RDWR, 0) },
	} {
		_, err := open()
		fmt.Println(err == nil)
	}
}

// A reader that names a folder reads its files, and writes none; with Landlock it reads no others.
func TestReadable(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "there"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], dir)
	cmd.Env = append(os.Environ(), "ACC_CONFINE=reads")
	out, err := cmd.CombinedOutput()
	got := strings.Fields(string(out))
	if err != nil || len(got) != 4 || got[0] != "true" || got[2] != "false" || got[3] != "false" {
		t.Fatalf("%v: %q", err, out)
	}
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno == 0 && version >= 1 && got[1] != "false" {
		t.Error("it opens files of other folders")
	}
}

// landlocked tries what Landlock alone, without the filter of calls, must refuse.
func landlocked() {
	restrictFiles(0)
	for _, try := range []func() error{
		func() error { f, err := os.Open("/etc/passwd"); f.Close(); return err },
		func() error { f, err := os.Create(os.Args[1] + "/new"); f.Close(); return err },
		func() error { return os.Remove(os.Args[1] + "/there") },
	} {
		var wait sync.WaitGroup
		for range 4 {
			wait.Go(func() { fmt.Println(errors.Is(try(), unix.EACCES)) })
		}
		wait.Wait()
	}
	_, err := os.Stdin.Stat() // what was open stays open
	n, readErr := os.Stdin.Read(make([]byte, 10))
	fmt.Println(n, err, readErr)
}

// Landlock alone refuses files, too: in a binary without cgo, as acc is built, and, not
// in short tests, in this one.
func TestLandlock(t *testing.T) {
	if version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION); errno != 0 || version < 1 {
		t.Skip("this kernel has no Landlock")
	}
	programs := []string{os.Args[0]}
	if !testing.Short() {
		bin := filepath.Join(t.TempDir(), "landlocked")
		build := exec.Command("go", "test", "-c", "-o", bin, ".")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		programs = append(programs, bin)
	}
	for _, bin := range programs {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "there"), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(bin, dir)
		cmd.Env = append(os.Environ(), "ACC_CONFINE=landlocked")
		cmd.Stdin = strings.NewReader("hello")
		out, err := cmd.CombinedOutput()
		if want := strings.Repeat("true\n", 12) + "5 <nil> <nil>\n"; err != nil || string(out) != want {
			t.Errorf("%v: %q", err, out)
		}
		if _, err := os.Stat(filepath.Join(dir, "there")); err != nil {
			t.Error(err)
		}
	}
}

// attempt confines itself as readers do, or exporters, tries on many threads what a reader has
// no use for, and prints what was not refused.
func attempt() {
	if os.Getenv("EXPORTS") != "" {
		Exporter("")
	} else {
		Reader()
	}
	tries := map[string]func() error{
		"open":    func() error { f, err := os.Open("/etc/passwd"); f.Close(); return err },
		"create":  func() error { f, err := os.Create(os.Args[1] + "/new"); f.Close(); return err },
		"exec":    func() error { return syscall.Exec("/bin/true", []string{"true"}, nil) },
		"start":   func() error { return exec.Command("/bin/true").Run() },
		"socket":  func() error { fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0); unix.Close(fd); return err },
		"unix":    func() error { fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0); unix.Close(fd); return err },
		"remove":  func() error { return os.Remove(os.Args[1] + "/there") },
		"rename":  func() error { return os.Rename(os.Args[1]+"/draft", os.Args[1]+"/named") },
		"chmod":   func() error { return os.Chmod(os.Args[1]+"/there", 0o777) },
		"mkdir":   func() error { return os.Mkdir(os.Args[1]+"/dir", 0o700) },
		"ptrace":  func() error { return unix.PtraceAttach(os.Getppid()) },
		"unshare": func() error { return unix.Unshare(unix.CLONE_NEWUSER) },
	}
	var wait sync.WaitGroup
	var said sync.Mutex
	for name, try := range tries {
		for range 4 {
			wait.Go(func() {
				if err := try(); err == nil {
					said.Lock()
					fmt.Println(name)
					said.Unlock()
				}
			})
		}
	}
	wait.Wait()
	fmt.Println("tried")
}

// What a confined process may still do; the truth are the files and the kernel's
// own status of each thread.
func TestConfine(t *testing.T) {
	if status, err := os.ReadFile("/proc/self/status"); err != nil || !strings.Contains(string(status), "Seccomp:") {
		t.Skip("this kernel has no seccomp")
	}
	for _, exports := range []string{"", "1"} {
		dir := t.TempDir()
		for _, name := range []string{"there", "draft"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command(os.Args[0], dir)
		cmd.Env = append(os.Environ(), "ACC_CONFINE=attempt", "EXPORTS="+exports)
		out, err := cmd.CombinedOutput()
		possible, want, left := strings.Fields(string(out)), []string{"tried"}, "[draft there]"
		if exports != "" {
			want, left = []string{"remove", "rename", "tried"}, "[named]"
		}
		if slices.Sort(possible); err != nil || !slices.Equal(possible, want) {
			t.Errorf("exports %q: %v: what was possible: %q", exports, err, out)
		}
		var names []string
		list, _ := os.ReadDir(dir)
		for _, entry := range list {
			names = append(names, entry.Name())
		}
		if fmt.Sprint(names) != left {
			t.Errorf("exports %q: the folder holds %v", exports, names)
		}
	}
}
