//go:build linux && (amd64 || arm64)

package capture

import (
	"fmt"
	"net/netip"
	"os"
	"testing"

	"github.com/acc-project/acc/format"
)

// TestCostSelect prints, in instructions a connection, what each way to select adds where the connection is selected, and
// what a connection costs that is not. `make cost MODE=select` runs it.
func TestCostSelect(t *testing.T) {
	needVM(t)
	if os.Getenv("ACC_COST") != "select" {
		t.Skip("counts instructions only where the clock does: make cost MODE=select")
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/tcp_max_tw_buckets", []byte("0"), 0o644); err != nil {
		t.Fatal(err)
	}
	loop := startCostLoop(t)
	var pid uint32
	eachProcess(func(p uint32) {
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p))
		if parent, _, ok := statOf(stat); ok && parent == uint32(os.Getpid()) {
			pid = p
		}
	})
	dir := testCgroup(t)
	if err := os.WriteFile(dir+"/cgroup.procs", []byte(fmt.Sprint(pid)), 0); err != nil {
		t.Fatal(err)
	}
	cgroups, err := FindCgroups(KindCgroup, dir)
	if err != nil {
		t.Fatal(err)
	}
	comm := CommOf(fmt.Sprint(pid))
	netns := uint32(namespace("/proc/self/ns/net"))
	prefix := func(s string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(s)} }
	loop(roundConns)
	none := loop(roundConns)
	for _, c := range []struct {
		name    string
		yes, no Selection
	}{
		{name: "nothing"},
		{"--port", Selection{Ports: []PortRange{{7777, 7777}}}, Selection{Ports: []PortRange{{443, 443}}}},
		{"--family", Selection{Families: []format.Family{format.FamilyIPv4}}, Selection{Families: []format.Family{format.FamilyIPv6}}},
		{"--netns", Selection{NetNS: []uint32{netns}}, Selection{NetNS: []uint32{1}}},
		{"--raddr", Selection{RAddrs: prefix("127.0.0.0/8")}, Selection{RAddrs: prefix("10.0.0.0/8")}},
		{"--pid", Selection{PIDs: []uint32{pid}}, Selection{PIDs: []uint32{1}}},
		{"--comm", Selection{Comms: []string{comm}}, Selection{Comms: []string{"nginx"}}},
		{"--uid", Selection{UIDs: []uint32{0}}, Selection{UIDs: []uint32{33}}},
		{"--cgroup", Selection{Cgroups: cgroups}, Selection{Cgroups: []Cgroup{{ID: 1 << 40, Path: "/none", Level: 1}}}},
		{"--failed-only", Selection{}, Selection{FailedOnly: true}},
	} {
		cost := func(s Selection) int64 {
			return measure(t, Options{Mode: ModeFentry, Select: s, startWatch: 1}, func() costs {
				loop(roundConns)
				return loop(2 * roundConns)
			}).less(none).sum()
		}
		if c.name == "nothing" {
			t.Logf("%-13s %+d a connection", c.name, cost(c.yes))
			continue
		}
		no, yes := cost(c.no), int64(0)
		if c.yes.Any() {
			yes = cost(c.yes)
		}
		t.Logf("%-13s %+d a connection that is selected, %+d one that is not", c.name, yes, no)
	}
}
