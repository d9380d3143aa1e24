package format

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The reader of the documentation, run by Debian's Python on Debian's msgpack and
// zstandard, gives the same events as this package.
func TestPythonReaderAgrees(t *testing.T) {
	python, err := exec.LookPath("/usr/bin/python3") // Debian's own: another one may lack the packages
	if err == nil {
		err = exec.Command(python, "-c", "import msgpack, zstandard").Run()
	}
	if err != nil {
		if os.Getenv("ACC_NEED_PYTHON") != "" {
			t.Fatalf("python3 with msgpack and zstandard is needed: %v", err)
		}
		t.Skip("no /usr/bin/python3 with msgpack and zstandard; make test installs them")
	}
	events := append(odd(), sample(3000, 5)...)
	path := filepath.Join(t.TempDir(), "x.acc")
	if err := os.WriteFile(path, write(t, events, 700), 0o600); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd := exec.Command(python, "testdata/read.py", path)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("run %v: %v\n%s", cmd.Args, err, stderr.String())
	}
	lines := bufio.NewScanner(bytes.NewReader(out))
	n := 0
	for ; lines.Scan(); n++ {
		dec := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		dec.UseNumber()
		var got map[string]any
		if err := dec.Decode(&got); err != nil {
			t.Fatal(err)
		}
		for _, f := range Fields {
			want, has := plainValue(&f, &events[n])
			if g, ok := got[f.Name]; ok != has || ok && g != want {
				t.Fatalf("event %d, %s: python says %v (%v), want %v (%v)", n, f.Name, g, ok, want, has)
			}
		}
	}
	if n != len(events) {
		t.Errorf("python read %d of %d events", n, len(events))
	}
}

// plainValue is a field's value as the script prints it, by Go's reflection-free
// view of the event, and whether the event has the field.
func plainValue(f *Field, e *Event) (any, bool) {
	task := e.Kind == Enter || e.Kind == Return || e.Kind == Listen || e.Kind == Stop
	conn := !(e.Kind == Enter || e.Kind == Listen || e.Kind == Stop)
	has := map[string]bool{}
	set := func(on bool, names ...string) {
		for _, name := range names {
			has[name] = on
		}
	}
	set(task, "tid", "via", "pid", "uid", "comm", "proc", "cgroup", "task_netns", "sockfd", "flags")
	set(e.Kind == Enter, "addr", "addrlen", "addrlen_in")
	set(e.Kind == Return, "uring", "user_data", "uring_end")
	set(conn, "errno", "raddr", "rport", "inode")
	set(conn && !(e.Kind == Return && e.Ret < 0), "cookie")
	set(e.Kind == Return && e.Ret >= 0, "ret", "rname", "peer_pid", "peer_uid", "addrlen_out", "told_family", "told_addr", "told_port")
	set(e.Kind == Closed || e.Kind == State, "old_state")
	set(e.Kind == Queued || e.Kind == Drop, "syn_queue")
	set(e.Kind == Queued || e.Kind == Drop || e.Kind == Stop, "cause")
	set(e.Kind == Queued, "handshake_us")
	set(e.Kind == Closed, "sock_err", "shutdown", "bytes_in", "bytes_out", "segs_in", "segs_out", "retransmits", "srtt_us",
		"min_rtt_us", "closing_us", "fin_us")
	if h, ok := has[f.Name]; ok && !h {
		return nil, false
	}
	addr := func(a netip.Addr) string { return hex.EncodeToString(a.AsSlice()) }
	switch f.Name {
	case "comm":
		return hex.EncodeToString([]byte(e.Comm)), true
	case "lname":
		return hex.EncodeToString([]byte(e.LName)), true
	case "rname":
		return hex.EncodeToString([]byte(e.RName)), true
	case "laddr":
		return addr(e.LAddr), true
	case "raddr":
		return addr(e.RAddr), true
	case "told_addr":
		return addr(e.ToldAddr), true
	}
	if f.Type == Uint {
		b, _ := json.Marshal(uint64(f.Int(e)))
		return json.Number(b), true
	}
	b, _ := json.Marshal(f.Int(e))
	return json.Number(b), true
}
