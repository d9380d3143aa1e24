//go:build amd64 || arm64

package capture

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestIdentify(t *testing.T) {
	id, inner := strings.Repeat("0a", 32), strings.Repeat("b1", 32)
	const uid = "8d7a1b5e-0f6a-4b0d-9c5e-2a4f0c1d2e3f"
	links := func() []string {
		return []string{"web-7f9_shop_nginx-" + inner + ".log", "web-7f9_shop_nginx-" + id + ".log", "other.log"}
	}
	for path, want := range map[string]identity{
		"/system.slice/docker-" + id + ".scope": {id, "docker", "", "shop/web-7f9", ""},
		"/docker/" + id:                         {id, "docker", "", "shop/web-7f9", ""},
		"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + strings.ReplaceAll(uid, "-", "_") + ".slice/cri-containerd-" + id + ".scope": {id, "containerd", "", "shop/web-7f9", uid},
		"/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:" + id:                                                                      {id, "containerd", "", "shop/web-7f9", ""},
		"/kubepods/besteffort/pod" + uid + "/" + id:                                                                                                      {id, "", "", "shop/web-7f9", uid},
		"/machine.slice/libpod-" + id + ".scope/container":                                                                                               {id, "podman", "", "shop/web-7f9", ""},
		"/kubepods.slice/crio-" + id + ".scope":                                                                                                          {id, "cri-o", "", "shop/web-7f9", ""},
		"/docker/" + id + "/docker/" + inner:                                                                                                             {inner, "docker", "", "shop/web-7f9", ""},
		"/system.slice/nginx.service":                                                                                                                    {"", "", "nginx.service", "", ""},
		"/user.slice/user-1000.slice/session-3.scope":                                                                                                    {"", "", "session-3.scope", "", ""},
		"/system.slice/system-getty.slice/getty@tty1.service":                                                                                            {"", "", "getty@tty1.service", "", ""},
		"/user.slice/" + id + "0":                                                                                                                        {},
		"/":                                                                                                                                              {},
	} {
		if got := identify(path, links); got != want {
			t.Errorf("%s: %+v, want %+v", path, got, want)
		}
	}
}

func TestProcFiles(t *testing.T) {
	stat := "42 (a) b) (c) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 1234 0 0"
	if !startedAt([]byte(stat), 12_345_678_901) || startedAt([]byte(stat), 12_355_678_901) || startedAt([]byte("42 (a"), 0) {
		t.Error("the start time of a process is misread")
	}
	if got := unifiedCgroup([]byte("12:cpu:/a\n0::/b:c\n")); got != "/b:c" {
		t.Errorf("cgroup %q", got)
	}
	if got := unifiedCgroup([]byte("12:cpu:/\n4:pids:/docker/7\n0::/\n")); got != "/docker/7" {
		t.Errorf("cgroup %q", got)
	}
	long := strings.Repeat("x", 200)
	for _, c := range []struct {
		path, told string
		want       bool
	}{
		{"/usr/sbin/nginx", "/usr/sbin/nginx", true}, {"/usr/sbin/nginx", "/usr/sbin/apache2", false}, {"/mnt/usr/sbin/nginx", "/usr/sbin/nginx", true},
		{"/a/b/c", "...b/c", true}, {"/a/b/c", "...x/c", false}, {"/a/" + long, "/a/" + long[:127] + "...", true}, {"/a/y" + long, "/a/" + long[:127] + "...", false},
		{"/a/" + long + "/c", "..." + long[:127] + ".../c", true}, {"/c", "/b/" + long[:127] + ".../c", false},
	} {
		if got := fits(c.path, c.told); got != c.want {
			t.Errorf("%q fits %q: %v", c.path, c.told, got)
		}
	}
	if fd, ok := acceptSyscall([]byte("288 0x6 0x0 0x0 0x80000 0x0 0x0 0x7ffc 0x7f12")); !ok || fd != 6 {
		t.Errorf("accept4: %d %v", fd, ok)
	}
	if _, ok := acceptSyscall([]byte("running\n")); ok {
		t.Error("a running task sits in accept")
	}
}

// What is in the way of recording is said, the first thing first.
func TestPreflight(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	good := func() fstest.MapFS {
		return fstest.MapFS{
			"proc/self/status":                      file("Name:\tacc\nCapEff:\t000001ffffffffff\n"),
			"sys/kernel/security/lockdown":          file("none [integrity] confidentiality\n"),
			"proc/kallsyms":                         file("0 T __sys_accept4\n0 T do_accept\n"),
			"sys/bus/event_source/devices/kprobe/x": file(""),
			"sys/kernel/btf/vmlinux":                file(""),
		}
	}
	if e := preflight(good()); e != nil {
		t.Errorf("a good host is refused: %v", e)
	}
	for _, c := range []struct{ path, content, want string }{
		{"proc/self/status", "Name:\tacc\nCapEff:\t0000000000000000\n", "no permission"},
		{"sys/kernel/security/lockdown", "none integrity [confidentiality]\n", "locked down"},
		{"proc/kallsyms", "0 T __sys_accept4\n", "do_accept"},
		{"sys/bus/event_source/devices/kprobe/x", "", "no kprobes"},
		{"sys/kernel/btf/vmlinux", "", "btf"},
		{"proc/sys/kernel/ftrace_enabled", "0\n", "kernel.ftrace_enabled is 0"},
	} {
		fs := good()
		delete(fs, c.path)
		if c.content != "" {
			fs[c.path] = file(c.content)
		}
		e := preflight(fs)
		if e == nil || !strings.Contains(e.Cause, c.want) || e.Hint == "" || strings.Contains(e.Cause+e.Hint, "\n") {
			t.Errorf("%s: %+v, want %q", c.path, e, c.want)
		}
	}
}

// A refusal that a setting explains is told with the setting.
func TestRefusedHint(t *testing.T) {
	const admin, perfmon = "Name:\tacc\nCapEff:\t000001ffffffffff\n", "Name:\tacc\nCapEff:\t000000c000000000\n"
	for _, c := range []struct{ status, paranoid, want string }{
		{perfmon, "3\n", "sysctl kernel.perf_event_paranoid=2"},
		{perfmon, "4\n", "and it is 4"},
		{perfmon, "2\n", "seccomp"},
		{admin, "3\n", "seccomp"},
		{perfmon, "", "seccomp"},
	} {
		fs := fstest.MapFS{"proc/self/status": {Data: []byte(c.status)}, "proc/sys/kernel/perf_event_paranoid": {Data: []byte(c.paranoid)}}
		if got := refusedHint(fs); !strings.Contains(got, c.want) || strings.Contains(got, "\n") {
			t.Errorf("%q, %q: %s, want %q", c.status, c.paranoid, got, c.want)
		}
	}
}

func TestPreempts(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	for _, c := range []struct {
		fs             fstest.MapFS
		release, build string
		want           bool
	}{
		{fstest.MapFS{"sys/kernel/debug/sched/preempt": file("none (voluntary) full\n")}, "7.3", "PREEMPT_DYNAMIC", false},
		{fstest.MapFS{"sys/kernel/debug/sched/preempt": file("full (lazy)\n")}, "6.12", "PREEMPT_DYNAMIC", true},
		{fstest.MapFS{"proc/cmdline": file("quiet preempt=full")}, "6.1.0", "#1 SMP PREEMPT_DYNAMIC Debian", true},
		{fstest.MapFS{"proc/cmdline": file("quiet")}, "6.1.0", "#1 SMP PREEMPT_DYNAMIC Debian", false},
		{fstest.MapFS{"proc/cmdline": file("quiet")}, "7.3.4", "#1 SMP PREEMPT_DYNAMIC Debian", true},
		{fstest.MapFS{}, "5.10.0", "#1 SMP Debian", false},
		{fstest.MapFS{}, "5.10.0", "#1 SMP PREEMPT_RT Debian", true},
	} {
		if got := preempts(c.fs, c.release, c.build); got != c.want {
			t.Errorf("%s %s: %v", c.release, c.build, got)
		}
	}
}

func TestRoomForTasks(t *testing.T) {
	for loadavg, want := range map[string]uint32{
		"0.20 0.18 0.12 1/80 11206":        1 << 12, // few tasks
		"0.20 0.18 0.12 1/10000 11206":     20000,
		"0.20 0.18 0.12 9/4194304 4194303": 1 << 20,
		"":                                 1 << 20, // not known
		"0.20 0.18 0.12 1/x 11206":         1 << 20,
	} {
		if n := roomForTasks(loadavg); n != want {
			t.Errorf("%q: %d, not %d", loadavg, n, want)
		}
	}
}
