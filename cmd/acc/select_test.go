package main

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/acc-project/acc/capture"
	"github.com/acc-project/acc/format"
)

// selectedSample is a capture of a part of what a host did.
func selectedSample(t *testing.T) string {
	t.Helper()
	const second = 1_000_000_000
	boot, real := int64(100*second), int64(1_700_000_000*second)
	var out bytes.Buffer
	w, err := format.NewWriter(&out, format.Header{
		ID: "3b1f0a52-6f0e-4f7a-9d55-0123456789ad", Tool: "acc test", Host: "web1", Kernel: "6.1.0", Arch: "x86_64", CPUs: 2,
		Mode: "fentry", Command: []string{"acc", "record", "--port", "443"}, StartNS: real, Zone: "UTC",
		Clock: format.Clock{BootNS: boot, MonoNS: boot, RealNS: real}, Filters: []string{"all but port 443 and user 33"},
		Probes:    []format.Probe{{Hook: format.HookSysAccept4, Kind: format.Enter, How: "fentry"}},
		Selection: &format.Selection{Words: []string{"port 443", "user 33"}, Ports: []string{"443"}, UIDs: []uint32{33}},
	}, format.WriterOptions{})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(err)
	must(w.Process(format.Process{Num: 1, PID: 10, Comm: "nginx", Exe: "/usr/sbin/nginx", UID: 33}))
	counts := tally{}
	for i := range 20 {
		e := format.Event{Kind: format.Enter, Hook: format.HookSysAccept4, PID: 10, TID: 10, UID: 33, Proc: 1, Comm: "nginx", SockFD: 6,
			Via: format.ViaAccept4, NetNS: 1, Listener: 777, Family: format.FamilyIPv4, Type: 1, Proto: 6, LPort: 443,
			LAddr: netip.MustParseAddr("192.0.2.1"), State: 10, BacklogMax: 128, BootNS: boot + int64(i)*second/10}
		if i%2 == 1 {
			e.Kind, e.Ret, e.State, e.RAddr, e.RPort = format.Return, int32(i+7), 1, netip.MustParseAddr("198.51.100.7"), uint16(40000+i)
		}
		counts.add(&e)
		must(w.Event(&e))
	}
	end := format.End{Reason: "signal", Clean: true, BlockedKnown: true,
		Clock:  format.Clock{BootNS: boot + 3*second, MonoNS: boot + 3*second, RealNS: real + 3*second},
		Totals: counts.totals()}
	for i := range end.Totals {
		end.Totals[i].Filtered = 61
		end.Totals[i].Seen += 61
	}
	must(w.Close(end))
	path := filepath.Join(t.TempDir(), "selected.acc")
	must(os.WriteFile(path, out.Bytes(), 0o600))
	return path
}

// No screen calls a capture of a part of the host complete without saying of what.
func TestSelectedScreens(t *testing.T) {
	unconfined(t)
	path := selectedSample(t)
	const of = "complete of what was selected (port 443 and user 33)"
	for args, want := range map[string][]string{
		"info":            {of, "filtered 122 events that this left out", "61 filtered"},
		"info --json":     {`"selection": {`, `"ports": [`, `"filtered": 61`, `"selected": "port 443 and user 33"`},
		"verify":          {of},
		"verify --json":   {`"selected": "port 443 and user 33"`},
		"analyze":         {of, "all but port 443 and user 33"},
		"analyze --brief": {of},
		"analyze --json":  {`"selected": "port 443 and user 33"`, `"all but port 443 and user 33"`},
	} {
		ran := runHere(t, append(strings.Fields(args), path)...)
		if ran.code != 0 {
			t.Errorf("acc %s: exit code %d: %s", args, ran.code, ran.err)
		}
		text := strings.Join(strings.Fields(ran.out), " ")
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("acc %s does not say %q:\n%s", args, w, ran.out)
			}
		}
		for _, not := range []string{"complete: nothing", "recording complete;"} {
			if strings.Contains(text, not) {
				t.Errorf("acc %s says %q:\n%s", args, not, ran.out)
			}
		}
	}
}

func TestSelectFlags(t *testing.T) {
	o := selectOptions{ports: []string{"443", "8000-8099"}, raddrs: []string{"10.1.2.3/8", "::1", "192.0.2.1"}, families: []string{"ipv4", "unix"},
		uids: []string{"0", "4242"}, comms: []string{"a-name-that-is-longer-than-15"}, failedOnly: true}
	s, err := o.selection(false)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"port 443 or 8000-8099", "family ipv4 or unix", "peer's address 10.1.2.3/8 or ::1 or 192.0.2.1", "name a-name-that-is-",
		"user 0 or 4242", "failed calls and drops"}
	if got := strings.Join(s.Words, "; "); got != strings.Join(want, "; ") {
		t.Errorf("%s", got)
	}
	if s.Ports[1] != (capture.PortRange{First: 8000, Last: 8099}) || s.RAddrs[0] != netip.MustParsePrefix("10.0.0.0/8") ||
		s.RAddrs[1] != netip.MustParsePrefix("::1/128") || s.RAddrs[2] != netip.MustParsePrefix("192.0.2.1/32") || !s.FailedOnly {
		t.Errorf("%+v", s)
	}
	list := inBoth([]capture.Cgroup{{Path: "/a/b"}, {Path: "/c"}}, []capture.Cgroup{{Path: "/a"}, {Path: "/c/d"}, {Path: "/ab"}})
	if len(list) != 2 || list[0].Path != "/a/b" || list[1].Path != "/c/d" {
		t.Errorf("%+v", list)
	}
	if got := nearest("ngin", []string{"cron.service", "nginx.service", "ngin", "x"}); got[0] != "nginx.service" && got[0] != "ngin" {
		t.Errorf("%v", got)
	}
}

// Flags that together select nothing, and values that can't be, are errors that say what to do.
func TestSelectContradictions(t *testing.T) {
	for _, c := range []struct {
		o    selectOptions
		want string // "": it is accepted
	}{
		{selectOptions{addrs: []string{"10.0.0.0/8"}, families: []string{"unix"}}, "--addr and --family contradict each other"},
		{selectOptions{raddrs: []string{"::1"}, families: []string{"ipv4"}}, "--raddr and --family contradict each other"},
		{selectOptions{raddrs: []string{"10.0.0.1"}, families: []string{"ipv6"}}, ""}, // an IPv4 client of an IPv6 listener
		{selectOptions{laddrs: []string{"::1", "10.0.0.1"}, families: []string{"ipv4", "unix"}}, ""},
		{selectOptions{ports: []string{"80"}, families: []string{"unix"}}, "UNIX sockets have no port"},
		{selectOptions{follow: true}, "--follow needs --pid"},
		{selectOptions{onlyCommand: true}, "--only-command needs a command"},
		{selectOptions{pids: []string{"nginx"}}, `--pid "nginx" is no process id`},
		{selectOptions{uids: []string{"nobdy"}}, `there is no user "nobdy"`},
		{selectOptions{ports: []string{"90-80"}}, `--port "90-80" is no port`},
	} {
		_, err := c.o.selection(false)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.o, err, c.want)
		}
	}
}
