//go:build linux && (amd64 || arm64)

package capture

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

// What is in a unit, a container or a pod is found by the cgroups that systemd, Docker and the kubelet make, and recorded; a unit
// that is started again is, too, though its cgroup is another one and nothing happened in between.
func TestVMSelectGroups(t *testing.T) {
	needVM(t)
	if os.Getenv("ACC_TORTURE") == "" {
		t.Skip("takes a minute: ACC_TORTURE")
	}
	root := t.TempDir()
	if err := unix.Mount("cgroup2", root, "cgroup2", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(root, unix.MNT_DETACH)
	docker, pod := strings.Repeat("d0c4", 16), strings.Repeat("b0d1", 16)
	const podDir = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0a1b2c3d_1111_2222_3333_444455556666.slice"
	at := map[string]string{
		"unit":      "system.slice/web.service",
		"container": "system.slice/docker-" + docker + ".scope",
		"pod":       podDir + "/cri-containerd-" + pod + ".scope",
		"others":    "user.slice/user-1000.slice/session-3.scope",
	}
	into := func(kind string, s *selectServer) {
		t.Helper()
		dir := filepath.Join(root, at[kind])
		err := os.MkdirAll(dir, 0o755)
		if err = errors.Join(err, os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(s.cmd.Process.Pid)), 0)); err != nil {
			t.Fatal(err)
		}
	}
	file := func(name, content string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Remove(name) })
	}
	file("/var/lib/docker/containers/"+docker+"/config.v2.json", `{"ID":"`+docker+`","Name":"/shop"}`)
	file("/var/log/containers/front-7c_web_nginx-"+pod+".log", "")

	ports, servers := map[string]string{"unit": "7011", "container": "7012", "pod": "7013", "others": "7014"}, map[string]*selectServer{}
	start := func(kind string) *selectServer {
		s := startSelectServer(t, "127.0.0.1:"+ports[kind], "127.0.0.1", kind, nil)
		into(kind, s)
		return s
	}
	for kind := range at {
		servers[kind] = start(kind)
	}
	for _, c := range []struct{ kind, name string }{
		{"unit", "web"}, {"unit", "web.service"}, {"container", "shop"}, {"container", docker[:12]}, {"pod", "web/front-7c"},
	} {
		list, err := FindCgroups(c.kind, c.name)
		if err != nil {
			t.Fatalf("--%s %s: %v, there is %q", c.kind, c.name, err, Names(c.kind))
		}
		one, others, restarted := servers[c.kind], servers["others"], 0
		before, beforeOthers := one.ask("count"), others.ask("count")
		r := recordWhile(t, Options{Select: Selection{Cgroups: list}, NoCauses: true}, func() {
			one.ask("connect 20")
			others.ask("connect 9")
			if c.name != "web" {
				return
			}
			one.end()
			for deadline := time.Now().Add(10 * time.Second); os.Remove(filepath.Join(root, at["unit"])) != nil; {
				if time.Now().After(deadline) {
					t.Fatal("the unit's cgroup can't be removed")
				}
			}
			time.Sleep(2 * time.Second) // nothing that is selected happens
			servers["unit"] = start("unit")
			time.Sleep(2 * time.Second) // acc looks once a second
			restarted = servers["unit"].ask("connect 20")
		})
		accepted, of := 0, map[uint16]int{}
		for _, e := range r.events {
			if e.Accepted() {
				accepted++
				of[e.LPort]++
			}
		}
		made := 20 + restarted
		t.Logf("--%s %s: %d accepted of %d, %v; others %d", c.kind, c.name, accepted, made, of, others.ask("count")-beforeOthers)
		want, _ := strconv.Atoi(ports[c.kind])
		if accepted != made || of[uint16(want)] != made || before < 0 || !r.end.Clean || r.end.Lost > 0 {
			t.Errorf("END: %+v", r.end)
		}
		if x := filteredOf(r.end, format.Return); x < 8 {
			t.Errorf("%d returns filtered", x)
		}
	}
}

// filteredOf is how many events of a kind END says were left out.
func filteredOf(end *format.End, kind format.Kind) (n uint64) {
	for _, x := range end.Totals {
		if x.Kind == kind {
			n += x.Filtered
		}
	}
	return n
}
