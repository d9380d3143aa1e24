//go:build linux && (amd64 || arm64)

package capture

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// lookTime is more than twice what passes before acc reads settings that were written.
const lookTime = 500 * time.Millisecond

// counted is what acc analyze --json says of the kernel's counters and settings.
type counted struct {
	Findings []struct{ ID, Severity, Text string }
	Witness  struct {
		Verdict  string
		NotShown []struct {
			NetNS   uint64
			Counter string
			Count   int
		} `json:"not_shown"`
		Spaces []struct {
			NetNS          uint64
			OtherDrops     int `json:"other_drops"`
			ReservedDrops  int `json:"reserved_drops"`
			Settings       map[string]int64
			SettingChanges []struct {
				Name     string
				From, To int64
			} `json:"setting_changes"`
		}
	} `json:"cross_check"`
}

// What a listener drops because a part of net.ipv4.tcp_max_syn_backlog is reserved is a
// finding with the kernel's own number, and the settings that were in force for a moment
// only. Those of another network namespace are its own.
func TestVMListenDrops(t *testing.T) {
	needVM(t)
	l := &lifeTest{t: t}
	otherDrops := func() int {
		return tcpExt(t, "ListenDrops") - tcpExt(t, "ListenOverflows") - tcpExt(t, "TCPReqQFullDrop")
	}
	// Another namespace, which changes a setting when it is told to.
	const script = `echo 2 >/proc/sys/net/ipv4/tcp_syncookies; echo ready; read x; echo 77 >/proc/sys/net/core/somaxconn; echo done; read x`
	cmd := exec.Command("/bin/busybox", "sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer in.Close()
	lines := bufio.NewScanner(out)
	lines.Scan()
	var st unix.Stat_t
	l.try(unix.Stat(fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid), &st))

	path := filepath.Join(t.TempDir(), "x.acc")
	from := otherDrops()
	r := startRecorder(t, "/in/acc", "record", "-o", path)
	fmt.Fprintln(in)
	lines.Scan()
	t.Run("while", func(t *testing.T) {
		l := &lifeTest{t: t}
		sysctl(t, "net.ipv4.tcp_syncookies", "0")
		sysctl(t, "net.ipv4.tcp_max_syn_backlog", "16")
		sysctl(t, "net.ipv4.tcp_no_metrics_save", "1")
		time.Sleep(lookTime) // what is written and written back sooner acc need not have read
		s := l.serve(unix.AF_INET, 0, 128, nil)
		defer unix.Close(s.fd)
		for range 40 { // they hear no SYN-ACK
			c := l.client(unix.AF_INET)
			defer unix.Close(c)
			l.filter(c, dropAll)
			l.try(unix.Bind(c, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 77}})) // of whom the kernel knows nothing
			l.try(unix.SetNonblock(c, true))
			if err := unix.Connect(c, s.addr); err != unix.EINPROGRESS {
				t.Errorf("connect: %v", err)
			}
		}
		l.until("27 SYNs are dropped", func() bool { return otherDrops()-from >= 27 })
		time.Sleep(lookTime)
	})
	least := otherDrops() - from
	r.stop(t)
	most := otherDrops() - from
	text, err := exec.Command("/in/acc", "analyze", "--json", path).Output()
	var a counted
	if err := errors.Join(err, json.Unmarshal(text, &a)); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d to %d dropped: %+v", least, most, a)
	own, other := -1, -1
	for i, s := range a.Witness.Spaces {
		if s.NetNS == st.Ino {
			other = i
		} else if s.OtherDrops > 0 {
			own = i
		}
	}
	if own < 0 || other < 0 {
		t.Fatal("not both namespaces have counters")
	}
	n := a.Witness.Spaces[own].OtherDrops
	f := slices.IndexFunc(a.Findings, func(f struct{ ID, Severity, Text string }) bool { return f.ID == "listen-drops" })
	if f < 0 || n < least || n > most || a.Findings[f].Severity != "critical" {
		t.Fatalf("%d dropped, not %d to %d, or no finding", n, least, most)
	}
	for _, say := range []string{fmt.Sprintf("dropped %d packet", n), "net.ipv4.tcp_syncookies was 0", "net.ipv4.tcp_max_syn_backlog = 16", "more than 12"} {
		if !strings.Contains(a.Findings[f].Text, say) {
			t.Errorf("%q is not in %q", say, a.Findings[f].Text)
		}
	}
	if x := a.Witness.Spaces[own]; x.ReservedDrops != n || x.Settings["net.ipv4.tcp_syncookies"] == 0 {
		t.Errorf("of %d, %d while a part was reserved: %+v", n, x.ReservedDrops, x)
	}
	x := a.Witness.Spaces[other]
	if len(x.SettingChanges) != 1 || x.SettingChanges[0].Name != "net.core.somaxconn" || x.SettingChanges[0].To != 77 || x.Settings["net.ipv4.tcp_syncookies"] != 2 {
		t.Errorf("settings of the other namespace: %+v", x)
	}
	screen, err := exec.Command("/in/acc", "analyze", path).Output()
	if err != nil || !strings.Contains(string(screen), "not shown: the kernel dropped ") {
		t.Errorf("%v\n%s", err, screen)
	}
}
