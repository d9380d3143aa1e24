//go:build linux && (amd64 || arm64)

package capture

import (
	"net/netip"
	"testing"

	"github.com/acc-project/acc/bpf"
	"github.com/acc-project/acc/format"
)

// Of networks that lie in each other, the kernel finds the narrowest: that one is for all the criteria of those around it.
func TestSelectionNetworks(t *testing.T) {
	prefix := netip.MustParsePrefix
	s := Selection{
		Addrs:  []netip.Prefix{prefix("10.0.0.0/8"), prefix("fd00::/8")},
		RAddrs: []netip.Prefix{prefix("10.1.0.0/16"), prefix("0.0.0.0/0")},
		LAddrs: []netip.Prefix{prefix("10.1.2.3/32")},
	}
	key := func(s string, bits uint32) bpf.AccNetwork {
		return bpf.AccNetwork{Bits: bits, Addr: netip.MustParseAddr(s).As16()}
	}
	want := map[bpf.AccNetwork]uint32{
		key("10.0.0.0", 104): selectAddr | selectRAddr, key("10.1.0.0", 112): selectAddr | selectRAddr,
		key("10.1.2.3", 128): selectAddr | selectRAddr | selectLAddr, key("0.0.0.0", 96): selectRAddr, key("fd00::", 8): selectAddr,
	}
	got := s.networks()
	for k, bits := range want {
		if got[k] != bits {
			t.Errorf("%v: %#x, want %#x", k, got[k], bits)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d networks, want %d", len(got), len(want))
	}
}

// The numbers of the criteria are those of the programs.
func TestSelectionCriteria(t *testing.T) {
	for got, want := range map[uint32]bpf.AccCriterion{
		selectPort: bpf.AccCriterionSELECT_PORT, selectFamily: bpf.AccCriterionSELECT_FAMILY, selectNetNS: bpf.AccCriterionSELECT_NETNS,
		selectAddr: bpf.AccCriterionSELECT_ADDR, selectLAddr: bpf.AccCriterionSELECT_LADDR, selectRAddr: bpf.AccCriterionSELECT_RADDR,
		selectPID: bpf.AccCriterionSELECT_PID, selectComm: bpf.AccCriterionSELECT_COMM, selectUID: bpf.AccCriterionSELECT_UID,
		selectCgroup: bpf.AccCriterionSELECT_CGROUP, selectFailed: bpf.AccCriterionSELECT_FAILED,
	} {
		if got != uint32(want) {
			t.Errorf("%#x is %#x in the programs", got, want)
		}
	}
	if !(&Selection{OnlyCommand: true}).Any() || (&Selection{}).Any() {
		t.Error("Any is wrong")
	}
}

// What is not used takes no memory, and an unused criterion is nowhere.
func TestSelectionUnused(t *testing.T) {
	for _, object := range objects {
		spec, err := object()
		if err != nil {
			t.Fatal(err)
		}
		if err := setSelection(&Options{}, spec); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"pids", "followed", "chosen", "connected_before", "netns_selected", "comms", "uids", "cgroups", "networks"} {
			if n := spec.Maps[name].MaxEntries; n != 1 {
				t.Errorf("%s has room for %d", name, n)
			}
		}
		var bits uint32
		if err := spec.Variables["selecting"].Get(&bits); err != nil || bits != 0 {
			t.Errorf("selecting is %#x: %v", bits, err)
		}
	}
	spec, err := objects[0]()
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Select: Selection{Ports: []PortRange{{63, 65}}, Cgroups: []Cgroup{{ID: 1, Level: 3}, {ID: 2, Level: 1}, {ID: 3, Level: 3}}}}
	if err := setSelection(&o, spec); err != nil {
		t.Fatal(err)
	}
	bits := map[any]any{}
	for _, kv := range spec.Maps["ports"].Contents {
		bits[kv.Key] = kv.Value
	}
	if bits[uint32(0)] != uint64(1)<<63 || bits[uint32(1)] != uint64(3) {
		t.Errorf("ports 63 to 65 are %v", bits)
	}
	if levels, _ := o.Select.levels(); levels != [4]uint32{3, 1} {
		t.Errorf("levels %v", levels)
	}
	if n := len(spec.Maps["cgroups"].Contents); n != 3 {
		t.Errorf("%d cgroups", n)
	}
}

func TestSelectionMatches(t *testing.T) {
	s := Selection{
		Ports: []PortRange{{80, 80}, {8000, 8099}}, Families: []format.Family{format.FamilyIPv4}, NetNS: []uint32{7},
		LAddrs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, RAddrs: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
	}
	for _, c := range []struct {
		family format.Family
		netns  uint32
		port   uint16
		want   bool
	}{
		{format.FamilyIPv4, 7, 80, true}, {format.FamilyIPv4, 7, 8099, true}, {format.FamilyIPv4, 7, 8100, false},
		{format.FamilyIPv6, 7, 80, false}, {format.FamilyIPv4, 8, 80, false}, {format.FamilyIPv4, 7, 0, false},
	} {
		if got := s.matchesSocket(c.family, c.netns, c.port); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	for laddr, want := range map[string]bool{"0.0.0.0": true, "::": true, "10.1.1.1": true, "::ffff:10.1.1.1": true, "127.0.0.1": false, "": false} {
		if got := s.matchesListener(laddr); got != want {
			t.Errorf("listener at %q: %v", laddr, got)
		}
	}
	for ends, want := range map[[2]string]bool{
		{"10.0.0.1", "192.0.2.9"}: true, {"::ffff:10.0.0.1", "::ffff:192.0.2.9"}: true, {"10.0.0.1", "192.0.3.9"}: false, {"11.0.0.1", "192.0.2.9"}: false,
	} {
		if got := s.matchesEnds(ends[0], ends[1]); got != want {
			t.Errorf("%v: %v", ends, got)
		}
	}
}

func TestStatOf(t *testing.T) {
	stat := "42 (a) b (c)) S 17 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 1 1 1"
	if parent, ticks, ok := statOf([]byte(stat)); !ok || parent != 17 || ticks != 4711 {
		t.Errorf("%d %d %v", parent, ticks, ok)
	}
	if _, _, ok := statOf([]byte("42 (a) S 1")); ok {
		t.Error("a short one is read")
	}
}
