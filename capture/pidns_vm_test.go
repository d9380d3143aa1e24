//go:build linux && (amd64 || arm64)

package capture

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

// A recorder in a pid namespace of its own, as in a container, records the whole
// host with the host's ids. What it can't know with a /proc of its own it says: who
// sat in accept before, and so the return of that call.
func TestVMInPIDNamespace(t *testing.T) {
	needVM(t)
	for _, proc := range []string{"its own", "the host's"} {
		own := proc == "its own"
		for _, mode := range exactModes(t) {
			t.Run(proc+" proc/"+string(mode), func(t *testing.T) {
				p := newPingPong(t)
				asleep := blockIn(t, p.fd)
				path := filepath.Join(t.TempDir(), "inside.acc")
				record := "exec /in/acc record -o " + path + " --probe " + string(mode)
				if own {
					record = "mount -t proc proc /proc && " + record
				}
				cmd := exec.Command("/bin/sh", "-c", record)
				cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS}
				r := startCommand(t, cmd)
				unix.Close(dial(t, unix.AF_INET, p.addr)) // taken by the one that sat there
				<-asleep.done
				unix.Close(asleep.fd)
				p.made++
				p.do(50)
				r.stop(t)
				f, err := os.Open(path)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				var got recording
				got.read(t, f)
				if slices.Contains(got.header.Limits, noProc) != own || got.end.BlockedKnown == own || got.shots[0].BlockedKnown == own {
					t.Errorf("who sits in accept is known: %v, %v; %q", got.shots[0].BlockedKnown, got.end.BlockedKnown, got.header.Limits)
				}
				var st unix.Stat_t
				if err := unix.Stat("/proc/self/ns/pid", &st); err != nil {
					t.Fatal(err)
				}
				exe, err := os.Readlink("/proc/self/exe")
				if err != nil {
					t.Fatal(err)
				}
				mine, other := 0, 0
				for _, e := range got.events {
					switch who := got.procs[e.Proc]; {
					case !e.Accepted() || e.Kind != format.Return:
					case e.PID != uint32(os.Getpid()):
						other++
					default:
						mine++
						if who.PID != e.PID || who.Late != own || who.PIDNS != st.Ino || !strings.HasSuffix(exe, strings.TrimPrefix(who.Exe, cutMark)) || who.Exe == "" {
							t.Fatalf("process %+v of %+v", who, e)
						}
					}
				}
				i := info(t, path)
				unseen := 0
				if own {
					unseen = 1
				}
				if w := i.Witness; mine != p.made-unseen || other != 0 || i.Lost != 0 || w.Spaces[0].Opened < p.made || w.Spaces[0].Unexplained != unseen ||
					strings.Contains(w.Text, "could not look for calls that began before the recording") != own {
					t.Errorf("%d connections: %d recorded, %d of other processes; %+v", p.made, mine, other, i)
				}
				figure(t, mode, "with %s /proc: %d of %d connections, by the host's ids", proc, mine, p.made)
			})
		}
	}
}
