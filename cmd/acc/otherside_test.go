package main

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/acc-project/acc/format"
)

// backendSample is a capture of a host on which a client's connection is queued and accepted at a server.
func backendSample(t *testing.T, host string, server, client netip.AddrPort, keeping format.Keeping, late int64) []byte {
	t.Helper()
	const second = int64(1e9)
	var out bytes.Buffer
	boot, real := 5*second, 1_700_000_000*second // as web1's
	clock := func(ns int64) format.Clock {
		return format.Clock{BootNS: ns, MonoNS: ns, RealNS: real + ns - boot, Keeping: keeping, MaxErrNS: 1e6}
	}
	w, err := format.NewWriter(&out, format.Header{ID: "id of " + host, Tool: "acc test", Host: host, Mode: "fentry",
		StartNS: real, Clock: clock(boot), Command: []string{"acc", "record"}}, format.WriterOptions{})
	if err == nil {
		err = w.Process(format.Process{Num: 1, PID: 512, Comm: "mysqld"})
	}
	counts := tally{}
	add := func(ns int64, e format.Event) {
		e.BootNS, e.NetNS, e.Family, e.Type, e.Proto, e.Listener = boot+ns, 1, format.FamilyIPv4, 1, 6, 3306
		e.LAddr, e.LPort, e.RAddr, e.RPort, e.Cookie = server.Addr(), server.Port(), client.Addr(), client.Port(), 1
		counts.add(&e)
		if err == nil {
			err = w.Event(&e)
		}
	}
	add(late, format.Event{Kind: format.Queued, Hook: format.HookHashdance, State: 3, Backlog: 1, BacklogMax: 8})
	add(late+second, format.Event{Kind: format.Return, Hook: format.HookSysAccept4, Via: format.ViaAccept4, PID: 512, TID: 512, Proc: 1,
		Comm: "mysqld", SockFD: 3, Ret: 9, State: 1, BacklogMax: 8})
	if err == nil {
		err = w.Close(format.End{Reason: "signal", Clean: true, BlockedKnown: true, Clock: clock(boot + 60*second), Totals: counts.totals()})
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// The story of a connection of several captures says which other one recorded it, too, and which connections of
// the host's there were at the server for which its thread waited meanwhile.
func TestOtherSide(t *testing.T) {
	web := lifeSampleWith(func(w *format.Writer, boot int64) error {
		if err := w.Watch(format.Watch{Num: 1, NetNS: 1, Listener: 777, FromNS: boot + 1e8, ToNS: boot + 9e8, EveryNS: 5e7, Looks: 50,
			Threads: []format.WatchedThread{{PID: 10, TID: 10, Comm: "app"}}}); err != nil {
			return err
		}
		return w.Doing(format.Doing{Watch: 1, Row: 1, TID: 10, FromNS: boot + 1e8, ToNS: boot + 9e8, NS: 8e8, Looks: 50,
			State: format.DoingAsleep, Call: "recvfrom", Kind: format.TargetSocket, Target: "10.9.9.9:3306"})
	})
	unconfined(t)
	at := netip.MustParseAddrPort
	server := at("10.9.9.9:3306")
	dir := t.TempDir()
	for name, data := range map[string][]byte{
		"web.acc":   web,
		"db.acc":    backendSample(t, "db-1", server, at("192.0.2.1:41000"), format.KeepingFree, 0),
		"other.acc": backendSample(t, "db-2", server, at("198.51.100.7:41000"), format.KeepingFree, 0),
		"late.acc":  backendSample(t, "db-3", server, at("192.0.2.1:41000"), format.KeepingFree, 50e9),
		"lb.acc":    backendSample(t, "lb-1", at("192.0.2.1:80"), at("10.0.0.1:50001"), format.KeepingFree, 0),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	said := func(files ...string) string {
		t.Helper()
		args := []string{"analyze", "--connection", "10.0.0.1:50001"}
		for _, f := range files {
			args = append(args, filepath.Join(dir, f))
		}
		var out, errOut strings.Builder
		root := newRootCommand()
		root.SetArgs(args)
		root.SetOut(&out)
		root.SetErr(&errOut)
		if err := root.Execute(); err != nil {
			t.Fatalf("%v: %v\n%s", files, err, errOut.String())
		}
		return strings.ReplaceAll(out.String(), dir+string(filepath.Separator), "")
	}
	for _, c := range []struct {
		files []string
		want  []string
		not   string
	}{
		{[]string{"web.acc", "db.acc"}, []string{`the other side of connection 1 of web.acc \(web1\)`,
			`app\[10\] waited for 10\.9\.9\.9:3306, from 2023-11-14 22:13:20\.100 .* for 800 ms`,
			`on db-1 \(db\.acc\): mysqld\[512\]; 1 connection then, 1 of them from web1`, `not known to be synchronised`,
			`1  192\.0\.2\.1:41000  accepted after 1\.00 s, .*: acc analyze --connection 1 db\.acc`}, "recorded it, too"},
		{[]string{"other.acc", "web.acc"}, []string{`1 connection then, 0 of them from web1`}, "198.51.100.7"},
		{[]string{"web.acc", "late.acc"}, []string{`none of these captures has connections there at that time`}, "db-3"},
		{[]string{"web.acc", "lb.acc"}, []string{`(?s)of web.acc.*lb\.acc recorded it, too.*of lb.acc.*web\.acc recorded it, too`}, "db"},
	} {
		got := said(c.files...)
		for _, w := range c.want {
			if !regexp.MustCompile(w).MatchString(got) {
				t.Errorf("%v: no %s in\n%s", c.files, w, got)
			}
		}
		if strings.Contains(got, c.not) {
			t.Errorf("%v: %s in\n%s", c.files, c.not, got)
		}
	}
}
