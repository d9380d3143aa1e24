package report

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/acc-project/acc/analysis/listeners"

	"github.com/acc-project/acc/analysis"
	"github.com/acc-project/acc/analysis/pairing"
	"github.com/acc-project/acc/format"
)

// An executable's path is of its mount namespace: what is in another one than the host's is marked,
// with what tells the file, even where there is no room for its path.
func TestExecutableElsewhere(t *testing.T) {
	h := &format.Header{MntNS: 1}
	p := format.Process{Num: 3, PID: 7, Comm: "sshd", Exe: "/usr/sbin/nologin", ExeDev: "0:25", ExeInode: 4711, MntNS: 2, NetNS: 5, PIDNS: 6, NSPID: 1, CgroupID: 8, Cgroup: "/x"}
	text := ProcessText(&p, h, time.UTC)
	for _, want := range []string{"/usr/sbin/nologin (in another mount namespace)", "dev 0:25 inode 4711", "2 (the host's is 1)", "6 (pid 1 there)", "/x (id 8)"} {
		if !strings.Contains(text, want) {
			t.Errorf("the record lacks %q:\n%s", want, text)
		}
	}
	for _, own := range []*format.Header{{MntNS: 2}, {}} { // the same; not known, of an older recorder
		if text := ProcessText(&p, own, time.UTC); strings.Contains(text, "another") {
			t.Errorf("it is not in another mount namespace:\n%s", text)
		}
	}
	r := analysis.Result{Processes: []listeners.ProcessInfo{{Comm: "sshd", PID: 7, Exe: "/" + strings.Repeat("long/", 40) + "nologin", ExeDev: "0:25", ExeInode: 4711, OtherMounts: true}},
		Peers: []listeners.PeerInfo{{Addr: "192.0.2.1", Accepted: 1}}}
	var b bytes.Buffer
	if err := Text(&b, &r, TextOptions{Width: 100}); err != nil || !strings.Contains(b.String(), "/nologin (in another mount namespace)") || !strings.Contains(b.String(), "dev 0:25 inode 4711") {
		t.Errorf("%v: the screen is\n%s", err, b.String())
	}
}

// A registered file is no descriptor, and the end of a multishot request is said.
func TestUringWords(t *testing.T) {
	p := pairing.Pair{Via: format.ViaIOUring, SockFD: 5, Uring: format.UringMultishot | format.UringRegistered, UringEnd: format.UringQueueFull, ReturnSeq: 1, TaskNetNS: 9}
	line := string(AppendPairText(nil, &p, format.NewClocks(format.Clock{}), time.UTC))
	for _, want := range []string{"io_uring registered file 5 multishot request", "the multishot accept ended (completion queue full)", "from another network namespace (9)"} {
		if !strings.Contains(line, want) {
			t.Errorf("the line lacks %q: %s", want, line)
		}
	}
	e := format.Event{Kind: format.Return, Hook: format.HookIOComplete, Via: format.ViaIOUring, Ret: -125, SockFD: -1, Uring: format.UringMultishot | format.UringRegistered,
		UringEnd: format.UringThreadEnded, PID: 4, TID: 4, Comm: "srv", NetNS: 1, TaskNetNS: 2}
	for _, said := range []string{string(format.AppendText(nil, &e, format.Clock{}, time.UTC)),
		Explain(&e, nil, netip.AddrPort{}, &format.Header{}, format.NewClocks(format.Clock{}), time.UTC, 0)} {
		for _, want := range []string{"registered file", "ultishot accept ended (the thread that armed it has ended)", "another network namespace"} {
			if !strings.Contains(said, want) || strings.Contains(said, "descriptor -1") {
				t.Errorf("%q is not in %s", want, said)
			}
		}
	}
}
