package deploy

// This file measures what the directives of acc-record@.service cost a recording, and what others would.

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// furtherDirectives would make the unit harder, each in addition to what it has: lines, separated by ;
var furtherDirectives = []string{
	"CapabilityBoundingSet=~CAP_SYS_PTRACE;AmbientCapabilities=~CAP_SYS_PTRACE",
	"CapabilityBoundingSet=~CAP_DAC_OVERRIDE;AmbientCapabilities=~CAP_DAC_OVERRIDE",
	"CapabilityBoundingSet=~CAP_DAC_OVERRIDE;AmbientCapabilities=~CAP_DAC_OVERRIDE;" +
		"CapabilityBoundingSet=CAP_DAC_READ_SEARCH;AmbientCapabilities=CAP_DAC_READ_SEARCH",
	"CapabilityBoundingSet=~CAP_SYS_ADMIN;AmbientCapabilities=~CAP_SYS_ADMIN;" +
		"CapabilityBoundingSet=CAP_BPF CAP_PERFMON;AmbientCapabilities=CAP_BPF CAP_PERFMON",
	"ProtectKernelTunables=yes",
	"ProtectClock=yes",
	"ProcSubset=pid",
	"PrivateUsers=yes",
	"RestrictNamespaces=yes",
	"RestrictAddressFamilies=~AF_NETLINK",
	"RestrictAddressFamilies=~AF_INET AF_INET6",
	"RestrictAddressFamilies=~AF_UNIX",
	"IPAddressAllow=",
	"SystemCallFilter=~adjtimex",
	"SystemCallFilter=~perf_event_open",
	"SystemCallFilter=~bpf",
	"MemoryMax=128M",
	"MemoryMax=48M",
	"CPUQuota=50%",
}

// exposure is what systemd-analyze security says of a unit.
func exposure(t *testing.T, s transcript, unit string) string {
	t.Helper()
	if err := os.WriteFile("/tmp/acc-exposure.service", []byte(strings.ReplaceAll(unit, "%i", "x")), 0o644); err != nil {
		t.Fatal(err)
	}
	out := s.run("systemd-analyze security --offline=yes --no-pager /tmp/acc-exposure.service | tail -1")
	m := regexp.MustCompile(`: (\d+\.\d) `).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("exposure: %q", out)
	}
	return m[1]
}

// with is a unit with further lines, separated by ;
func with(unit, lines string) string {
	return strings.Replace(unit, "\n[Install]\n", "\n"+strings.ReplaceAll(lines, ";", "\n")+"\n[Install]\n", 1)
}

var assignment = regexp.MustCompile(`^[A-Z][A-Za-z0-9]*=`)

// hardening are the lines of a unit that take something away.
func hardening(unit string) (list []string) {
	_, lines, _ := strings.Cut(unit, "\n# The sandbox.\n")
	lines, _, _ = strings.Cut(lines, "\n[Install]\n")
	for l := range strings.Lines(lines) {
		if l = strings.TrimSpace(l); assignment.MatchString(l) {
			list = append(list, l)
		}
	}
	return list
}

// timed are facts that acc looks for in a bounded time, which may be too little once on a busy machine: what a
// directive costs, it costs each time.
var timed = regexp.MustCompile("at the start|accept calls")

// nothing begins what is said of a unit that does not record.
const nothing = "nothing is recorded"

// costs says in a cell of a table what a recording lacks, and what it says of that.
func costs(less []string) string {
	var cell []string
	for _, l := range less {
		kind, text, _ := strings.Cut(l[2:], ": ")
		switch {
		case kind == nothing:
			return kind + ": " + cmp.Or(quote(text), "the unit does not start")
		case l[0] == '+' && (kind == "limit" || kind == "said"):
			kind = quote(text)
		case l[0] == '+' || kind == "limit" || kind == "said":
			continue
		}
		if !slices.Contains(cell, kind) {
			cell = append(cell, kind)
		}
	}
	return cmp.Or(strings.Join(cell, "; "), "nothing")
}

// quote marks what acc says, for numberLimits.
func quote(text string) string {
	if text == "" {
		return ""
	}
	return `"` + strings.ReplaceAll(text, `"`, "'") + `"`
}

// checks are those of acc doctor with a unit, and the limits that it names.
func checks(t *testing.T, s transcript, unit string) (list []string) {
	t.Helper()
	const out = "/run/acc-doctor.json"
	s.code("rm -rf " + tryFolder + " " + out)
	unit = strings.NewReplacer("Type=notify\n", "Type=oneshot\n", "ExecStartPre=", "#", "ExecReload=", "#", "%i", "try",
		"[Service]\n", "[Service]\nStandardOutput=truncate:"+out+"\n").Replace(emulated.Replace(unit))
	unit = regexp.MustCompile(`(?m)^ExecStart=.*$`).ReplaceAllString(unit,
		"ExecStart=/usr/bin/acc doctor --json -o "+tryFolder)
	if err := os.WriteFile("/run/systemd/system/acc-doctor.service", []byte(unit), 0o644); err != nil {
		t.Fatal(err)
	}
	s.code("systemctl daemon-reload; systemctl start acc-doctor")
	var d struct {
		Checks []struct{ Check, Standing, Found, Effect string }
		Limits []string
	}
	b, err := os.ReadFile(out)
	if err == nil {
		err = json.Unmarshal(b, &d)
	}
	if err != nil {
		t.Fatalf("acc doctor: %v\n%s", err, b)
	}
	for _, c := range d.Checks {
		if c.Check == "seccomp" { // it says that there is a filter, which may be too strict; the last check tries it
			continue
		}
		if c.Standing == "broken" {
			c.Effect += ": " + c.Found
		}
		list = append(list, fmt.Sprintf("doctor: %s is %s %s", c.Check, c.Standing, numbers.ReplaceAllString(c.Effect, "N")))
	}
	for _, l := range d.Limits {
		list = append(list, "doctor: limit: "+numbers.ReplaceAllString(l, "N"))
	}
	return list
}

// The unit as it is costs the recording nothing: it knows what root without a sandbox knows, and acc doctor says the
// same in it. What each further directive costs goes into a table.
func TestVMSandbox(t *testing.T) {
	needSystemd(t)
	s := transcript{t, os.Stdout}
	if _, err := os.Stat("/usr/bin/acc"); err != nil {
		s.run("apt-get install -qq -y " + oneOf(t, "/in/newer/acc_*_amd64.deb"))
		defer s.run("apt-get purge -qq -y acc")
	}
	servers := world(t, s)
	quiet := transcript{t, discard{}}
	b, err := os.ReadFile("/usr/lib/systemd/system/acc-record@.service")
	if err != nil {
		t.Fatal(err)
	}
	unit := string(b)
	kept := exposure(t, quiet, unit)
	if kept >= "2.5" || len(kept) != 3 {
		t.Errorf("exposure %s, want less than 2.5", kept)
	}
	if less := difference(checks(t, quiet, plainUnit), checks(t, quiet, unit)); len(less) > 0 {
		t.Errorf("acc doctor in the unit:\n%s", strings.Join(less, "\n"))
	}
	whole := func(probe string) (base []string) {
		t.Helper()
		flags := "--probe " + probe
		base = tryUnit(t, quiet, servers, plainUnit, flags)
		t.Logf("%s, root without a sandbox:\n%s", probe, strings.Join(base, "\n"))
		for port := range servers {
			if !slices.Contains(base, fmt.Sprintf("accept calls: %d accepted at 127.0.0.1:%d", connections, port)) {
				t.Errorf("not %d accepted at %d", connections, port)
			}
		}
		if !slices.ContainsFunc(base, func(f string) bool { return strings.Contains(f, `pod "shop/till-0"`) }) {
			t.Errorf("the pod's name is not known")
		}
		if less := difference(base, tryUnit(t, quiet, servers, unit, flags)); len(less) > 0 {
			t.Errorf("%s: the unit as it is:\n%s", probe, strings.Join(less, "\n"))
		}
		return base
	}
	probes := strings.Fields(cmp.Or(os.Getenv("ACC_PROBES"), "fentry kprobe"))
	bases := map[string][]string{}
	for _, probe := range probes {
		bases[probe] = whole(probe)
	}
	table := &strings.Builder{}
	release, _ := exec.Command("sh", "-c", "uname -r; systemctl --version | head -1").Output()
	fmt.Fprintf(table, "Linux %s; exposure by `systemd-analyze security`: %s for the unit, lower is less exposed.\n\n",
		strings.Join(strings.Fields(strings.ReplaceAll(strings.TrimSpace(string(release)), "\n", ", ")), " "), kept)
	fmt.Fprintf(table, "| in the unit | exposure without it |\n|---|---|\n")
	for _, l := range hardening(unit) {
		fmt.Fprintf(table, "| `%s` | %s |\n", l, exposure(t, quiet, strings.Replace(unit, "\n"+l+"\n", "\n", 1)))
	}
	fmt.Fprintf(table, "\n| added to the unit | exposure with it |")
	for _, probe := range probes {
		fmt.Fprintf(table, " lacking with %s |", map[string]string{"fentry": "fentry probes", "kprobe": "kprobes"}[probe])
	}
	fmt.Fprintf(table, "\n|---|---|%s\n", strings.Repeat("---|", len(probes)))
	only := regexp.MustCompile(os.Getenv("ACC_DIRECTIVES"))
	bare := regexp.MustCompile(`(?m)^ExecStartPre=.*\n`).ReplaceAllString(unit, "") // the recorder alone
	lacks := func(probe, d string) string {
		flags := "--probe " + probe
		less := difference(bases[probe], tryUnit(t, quiet, servers, with(bare, d), flags))
		for n := 0; n < 2 && !strings.HasPrefix(costs(less), nothing) && slices.ContainsFunc(less, timed.MatchString); n++ {
			again := difference(bases[probe], tryUnit(t, quiet, servers, with(bare, d), flags))
			less = slices.DeleteFunc(less, func(l string) bool { return !slices.Contains(again, l) })
		}
		fmt.Printf("%s, %s:\n%s\n", d, probe, strings.Join(less, "\n"))
		return costs(less)
	}
	for _, d := range furtherDirectives {
		if !only.MatchString(d) {
			continue
		}
		fmt.Fprintf(table, "| `%s` | %s |", strings.ReplaceAll(d, ";", "`, `"), exposure(t, quiet, with(unit, d)))
		for _, probe := range probes {
			fmt.Fprintf(table, " %s |", lacks(probe, d))
		}
		fmt.Fprintln(table)
	}
	if err := os.WriteFile("/out/sandbox.md", []byte(numberLimits(table.String())), 0o644); err != nil {
		t.Fatal(err)
	}
}

var quoted = regexp.MustCompile(`"[^"]+"`)

// numberLimits puts what acc says behind the tables, and a number into its place.
func numberLimits(tables string) string {
	var said []string
	tables = quoted.ReplaceAllStringFunc(tables, func(text string) string {
		at := slices.Index(said, text)
		if at < 0 {
			at, said = len(said), append(said, text)
		}
		return fmt.Sprintf("(%d)", at+1)
	})
	if len(said) > 0 {
		tables += "\n| | what acc or the capture says |\n|---|---|\n"
	}
	for i, text := range said {
		tables += fmt.Sprintf("| %d | %s |\n", i+1, strings.Trim(text, `"`))
	}
	return tables
}

// Limits that several directives bring have one number.
func TestNumberLimits(t *testing.T) {
	got := numberLimits("| a | clock; \"x is not seen\" | nothing |\n| b | \"y\"; \"x is not seen\" | \"y\" |\n")
	want := "| a | clock; (1) | nothing |\n| b | (2); (1) | (2) |\n" +
		"\n| | what acc or the capture says |\n|---|---|\n| 1 | x is not seen |\n| 2 | y |\n"
	if got != want {
		t.Errorf("%s", got)
	}
}
