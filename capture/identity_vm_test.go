//go:build linux && (amd64 || arm64)

package capture

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Whose a socket and a request are: some of the cases of TestVMPaths, at once.
func TestVMIdentity(t *testing.T) {
	needVM(t)
	for _, mode := range modes(t) {
		var runs []caseRun
		r := recordWhile(t, Options{Mode: mode}, func() {
			for _, name := range []string{"netns", "netns-listener", "netns-cancel", "uring-registered", "uring-multishot-full", "uring-multishot-cancel", "uring-multishot-exit"} {
				runs = append(runs, runCase(t, "/in/accepts", name))
			}
		})
		for _, run := range runs {
			t.Run(string(mode)+"/"+run.Case, func(t *testing.T) { checkCase(t, &r, &run, mode) })
		}
		// A connection is where its listener is: no event says anything else.
		where := map[uint64]uint32{}
		for _, e := range r.events {
			if e.Listener == 0 {
				continue
			}
			if ns, ok := where[e.Listener]; ok && ns != e.NetNS {
				t.Errorf("%s: socket %d is in network namespaces %d and %d", mode, e.Listener, ns, e.NetNS)
			}
			where[e.Listener] = e.NetNS
		}
	}
}

// A bind mount by a user without privileges, in namespaces of his own, gives his program another one's
// path. The record says which file it is, the screens that the path is of another mount namespace.
func TestVMBorrowedExecutable(t *testing.T) {
	needVM(t)
	dir := t.TempDir()
	path, file := filepath.Join(dir, "acc.acc"), filepath.Join(dir, "accepts")
	victim := "/bin/busybox"
	b, err := os.ReadFile("/in/accepts")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, 0o755); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(file, &st); err != nil {
		t.Fatal(err)
	}
	script := "/bin/busybox mount --bind " + file + " " + victim + " && exec " + victim + " accept"
	record := exec.Command("/in/acc", "record", "-o", path, "--", "/bin/busybox", "unshare", "-U", "-r", "-m", "/bin/busybox", "sh", "-c", script)
	out, err := record.CombinedOutput()
	if err != nil || !strings.Contains(string(out), `"case":"accept"`) {
		t.Fatalf("record: %v\n%s", err, out)
	}
	text, err := exec.Command("/in/acc", "analyze", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	dev := strconv.Itoa(int(unix.Major(st.Dev))) + ":" + strconv.Itoa(int(unix.Minor(st.Dev)))
	for _, want := range []string{victim + " (in another mount namespace)", "is dev " + dev + " inode " + strconv.FormatUint(st.Ino, 10)} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the screen lacks %q:\n%s", want, text)
		}
	}
	js, err := exec.Command("/in/acc", "analyze", "--json", path).Output()
	var got struct {
		Processes []struct {
			Exe         string `json:"exe"`
			ExeDev      string `json:"exe_dev"`
			ExeInode    uint64 `json:"exe_ino"`
			OtherMounts bool   `json:"other_mounts"`
		} `json:"processes"`
		Connections struct {
			Seen int `json:"seen"`
		} `json:"connections"`
	}
	if err := json.Unmarshal(js, &got); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, p := range got.Processes {
		found = found || p.Exe == victim && p.ExeDev == dev && p.ExeInode == st.Ino && p.OtherMounts
	}
	if err != nil || !found {
		t.Errorf("%v: no process is %s %d: %+v", err, dev, st.Ino, got.Processes)
	}
	line, err := exec.Command("/in/acc", "analyze", "--connections", "--json", path).Output()
	var first struct {
		ID uint64 `json:"id"`
	}
	if jsonErr := json.NewDecoder(bytes.NewReader(line)).Decode(&first); err != nil || jsonErr != nil {
		t.Fatalf("connections: %v, %v, %s", err, jsonErr, line)
	}
	for _, args := range [][]string{{"explain", "1", path}, {"analyze", "--connection", strconv.FormatUint(first.ID, 10), path}} {
		out, err := exec.Command("/in/acc", args...).Output()
		if err != nil || !strings.Contains(string(out), victim+" (in another mount namespace)") || !strings.Contains(string(out), "dev "+dev+" inode") {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
}
