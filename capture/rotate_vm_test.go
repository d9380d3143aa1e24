//go:build linux && (amd64 || arm64)

package capture

import (
	"encoding/hex"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

// eventKey names an event whatever file it is in: a hit of a probe on a CPU.
type eventKey struct {
	hook   format.Hook
	kind   format.Kind
	cpu    uint32
	number uint64
}

// readSet reads the files of a folder in the order of their names, and holds their chain together.
func readSet(t *testing.T, dir string) (all []format.Event, lost uint64, files int) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.acc"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	seen := map[eventKey]bool{}
	before, head := format.Header{}, ""
	var numbers []format.Numbers
	for i, name := range names {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		r, err := format.NewReader(f, format.ReaderOptions{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		h := *r.Header()
		if h.Set == nil || h.Set.File != uint32(i+1) || i > 0 && (h.Set.Previous != before.ID ||
			h.Set.PreviousHead != head || h.Set.ID != before.Set.ID || !reflect.DeepEqual(h.Set.Numbers, numbers)) {
			t.Fatalf("%s: file %d follows %s (%s): %+v", name, i+1, before.ID, head, h.Set)
		}
		before = h
		for {
			b, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			head = hex.EncodeToString(b.Chain[:])
			for _, e := range b.Events {
				k := eventKey{e.Hook, e.Kind, e.CPU, e.CPUSeq}
				if seen[k] {
					t.Fatalf("%s: %+v is there twice", name, k)
				}
				seen[k] = true
				all = append(all, e)
			}
			for _, l := range b.Losses {
				lost += l.Count
			}
			if b.End != nil {
				numbers = append([]format.Numbers{}, b.End.Numbers...)
				if reason := b.End.Reason; (reason == format.EndRotation) != (i < len(names)-1) || !b.End.Clean {
					t.Errorf("%s ended by %q, %q", name, reason, b.End.Detail)
				}
			}
		}
		f.Close()
		if out, err := exec.Command("/in/acc", "verify", name).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	return all, lost, len(names)
}

// A recording in several files has each event once, as one in one file beside it has them.
func TestVMRotate(t *testing.T) {
	needVM(t)
	for _, mode := range exactModes(t) {
		t.Run(string(mode), func(t *testing.T) {
			dir, one := t.TempDir(), filepath.Join(t.TempDir(), "one.acc")
			whole := startRecorder(t, "/in/acc", "record", "-o", one, "--probe", string(mode), "--ring-size", "64MiB")
			r := startRecorder(t, "/in/acc", "record", "-o", dir, "--probe", string(mode), "--rotate-every", "2s",
				"--ring-size", "64MiB")
			server := newPingPong(t)
			port := uint16(server.addr.(*unix.SockaddrInet4).Port)
			idle := newPingPong(t) // somebody is in accept there while files change
			returned := make(chan error, 1)
			go func() {
				fd, _, err := unix.Accept4(idle.fd, unix.SOCK_CLOEXEC)
				unix.Close(fd)
				returned <- err
			}()
			for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); {
				server.do(50)
				if names, _ := filepath.Glob(filepath.Join(dir, "*.acc")); len(names) >= 6 {
					break
				}
			}
			if err := r.Process.Signal(unix.SIGHUP); err != nil {
				t.Fatal(err)
			}
			server.do(1000)
			unix.Close(dial(t, unix.AF_INET, idle.addr))
			if err := <-returned; err != nil {
				t.Fatal(err)
			}
			for _, x := range []*recorder{r, whole} {
				if err := x.Process.Signal(unix.SIGINT); err != nil {
					t.Fatal(err)
				}
				if code := x.end(); code != 0 {
					t.Fatalf("exit code %d\n%s", code, &x.said)
				}
			}
			events, lost, files := readSet(t, dir)
			single, lostOne := readFileEvents(t, one)
			pid := uint32(os.Getpid())
			count := func(list []format.Event) (accepted, queued, closed int) {
				for i := range list {
					switch e := &list[i]; {
					case e.PID == pid && e.Kind == format.Return && e.Ret >= 0 && e.Proto == format.ProtoTCP:
						accepted++
					case e.Kind == format.Queued && e.LPort == port:
						queued++
					case isEnd(e) && e.LPort == port:
						closed++
					}
				}
				return accepted, queued, closed
			}
			accepted, queued, closed := count(events)
			a1, q1, c1 := count(single)
			figure(
				t,
				mode,
				"%d files: %d accepted, %d queued, %d ends, %d lost; in one file: %d, %d, %d, %d lost; made: %d",
				files,
				accepted,
				queued,
				closed,
				lost,
				a1,
				q1,
				c1,
				lostOne,
				server.made,
			)
			if files < 6 || lost+lostOne > 0 || accepted != server.made+1 || queued != server.made || a1 != accepted ||
				q1 != queued ||
				c1 != closed {
				t.Errorf("they differ\n%s\n%s", &r.said, &whole.said)
			}
			if !strings.Contains(r.said.String(), "nothing was lost") {
				t.Errorf("%s", &r.said)
			}
		})
	}
}

func readFileEvents(t *testing.T, name string) (all []format.Event, lost uint64) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var r recording
	r.read(t, f)
	for _, l := range r.losses {
		lost += l.Count
	}
	return r.events, lost
}
