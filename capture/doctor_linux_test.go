//go:build amd64 || arm64

package capture

import (
	"io/fs"
	"maps"
	"strings"
	"testing"
	"testing/fstest"
)

// host is a file system like that of a host on which all is well.
func host() fstest.MapFS {
	f := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	return fstest.MapFS{
		"proc/sys/kernel/osrelease":             f("6.1.0-50-cloud-amd64\n"),
		"proc/kallsyms":                         f("0 T __sys_accept4\n0 T do_accept\n"),
		"proc/self/status":                      f("Name:\tacc\nCapEff:\t000001ffffffffff\nSeccomp:\t0\n"),
		"sys/kernel/security/lockdown":          f("[none] integrity confidentiality\n"),
		"sys/kernel/btf/vmlinux":                f("..."),
		"sys/bus/event_source/devices/kprobe/x": f(""),
		"proc/sys/kernel/ftrace_enabled":        f("1\n"),
		"proc/sys/kernel/perf_event_paranoid":   f("2\n"),
		"sys/kernel/tracing/kprobe_events":      f(""),
		"proc/self/ns/user":                     {Data: []byte("user:[4026531837]"), Mode: fs.ModeSymlink},
		"proc/self/ns/pid":                      {Data: []byte("pid:[4026531836]"), Mode: fs.ModeSymlink},
		"sys/fs/cgroup/cgroup.controllers":      f("cpu memory\n"),
		"proc/meminfo":                          f("MemTotal: 2000000 kB\nMemAvailable:  1000000 kB\n"),
		"proc/self/cgroup":                      f("0::/\n"),
	}
}

// Each check finds what is in the way, and nothing on a host on which all is well.
func TestLook(t *testing.T) {
	const no, less = StandingBroken, StandingLess
	for _, x := range []struct {
		name     string
		file     string
		text     string // "": the file is not there
		check    string
		standing Standing
		says     string // found or effect
	}{
		{name: "well"},
		{"old", "proc/sys/kernel/osrelease", "5.4.0", "kernel", no, "acc needs Linux 5.10"},
		{"no function", "proc/kallsyms", "0 T do_accept\n", "kernel", no, "no function __sys_accept4"},
		{"no capabilities", "proc/self/status", "Name:\tacc\nCapEff:\t0000000000000000\n", "privileges", no,
			"no capability that recording takes"},
		{"few capabilities", "proc/self/status", "Name:\tacc\nCapEff:\t000000c000000000\n", "privileges", less,
			"who sits in accept at the start"},
		{"no files of others", "proc/self/status", "Name:\tacc\nCapEff:\t000000c000080000\n", "privileges", less,
			"what they do while clients wait"},
		{"enough capabilities", "proc/self/status", "Name:\tacc\nCapEff:\t000000c000080004\n", "privileges", "",
			"CAP_DAC_READ_SEARCH"},
		{"locked down", "sys/kernel/security/lockdown", "none integrity [confidentiality]", "lockdown", no,
			"it lets nobody trace it"},
		{"half locked down", "sys/kernel/security/lockdown", "none [integrity] confidentiality", "lockdown", "",
			"no obstacle"},
		{"no types", "sys/kernel/btf/vmlinux", "", "types", no, "does not describe its types"},
		{"switched off", "sys/kernel/debug/kprobes/enabled", "0\n", "kprobes", no, "kprobes/enabled is 0"},
		{"blacklisted", "sys/kernel/debug/kprobes/blacklist", "0xffff-0xffff\tdo_accept\n", "kprobes", less,
			"the kernel lets nobody probe do_accept"},
		{"ftrace off", "proc/sys/kernel/ftrace_enabled", "0\n", "ftrace", no, "kernel.ftrace_enabled is 0"},
		{"no ftrace", "proc/sys/kernel/ftrace_enabled", "", "ftrace", less, "kprobes are used"},
		{"no tracefs", "sys/kernel/tracing/kprobe_events", "", "tracefs", less, "not mounted"},
		{"seccomp", "proc/self/status", "Name:\tacc\nCapEff:\t000001ffffffffff\nSeccomp:\t2\n", "seccomp", less,
			"a filter is on this process"},
		{"user namespace", "proc/self/ns/user", "user:[4026532000]", "user namespace", no, "its own (4026532000)"},
		{"pid namespace", "proc/self/ns/pid", "pid:[4026532000]", "pid namespace", less,
			"this container's processes alone"},
		{"no cgroups", "sys/fs/cgroup/cgroup.controllers", "", "cgroups", less, "not mounted"},
		{"little memory", "proc/meminfo", "MemAvailable: 20000 kB\n", "memory", less, "19 MiB available"},
	} {
		root := maps.Clone(host())
		if x.file != "" {
			delete(root, x.file)
			if x.text != "" {
				f := &fstest.MapFile{Data: []byte(x.text)}
				if strings.Contains(x.file, "/ns/") {
					f.Mode = fs.ModeSymlink
				}
				root[x.file] = f
			}
		}
		for _, c := range look(root) {
			want := StandingOK
			if c.Name == x.check && x.standing != "" {
				want = x.standing
			}
			if c.Standing != want || c.Name == x.check && !strings.Contains(c.Found+": "+c.Effect, x.says) ||
				c.Found == "" || c.Standing != StandingOK && c.Effect == "" {
				t.Errorf("%s: %+v", x.name, c)
			}
		}
	}
	paranoid := maps.Clone(host())
	paranoid["proc/self/status"] = &fstest.MapFile{Data: []byte("Name:\tacc\nCapEff:\t000000c000080000\n")}
	paranoid["proc/sys/kernel/perf_event_paranoid"] = &fstest.MapFile{Data: []byte("3\n")}
	if c := checkParanoid(paranoid); c.Standing != less || c.Effect == "" {
		t.Errorf("%+v", c)
	}
	// A cgroup with less than the host has.
	root := maps.Clone(host())
	for name, text := range map[string]string{"proc/self/cgroup": "0::/small\n",
		"sys/fs/cgroup/small/memory.max": "67108864\n", "sys/fs/cgroup/small/memory.current": "20971520\n"} {
		root[name] = &fstest.MapFile{Data: []byte(text)}
	}
	if c := checkMemory(root); c.Standing != less || c.Found != "44 MiB left of the 64 MiB of this cgroup" {
		t.Errorf("%+v", c)
	}
	root["proc/77/comm"], root["proc/77/cmdline"] = &fstest.MapFile{Data: []byte("acc\n")},
		&fstest.MapFile{Data: []byte("acc\x00record\x00-o\x00x.acc\x00")}
	if c := checkOthers(root); c.Standing != less || c.Found != "acc record runs as process 77" {
		t.Errorf("%+v", c)
	}
}
