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

// acc record --unit, --container and --pod find the cgroups that systemd, Docker and the kubelet make, and record what is in
// them; a unit that is started again is, too, though its cgroup is another one and nothing happened in between.
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
		if err := os.MkdirAll(filepath.Join(root, at[kind]), 0o755); err != nil {
			t.Fatal(err)
		}
		s := startSelectServer(t, "127.0.0.1:"+ports[kind], "127.0.0.1", kind, nil)
		into(kind, s) // it waits in accept by now
		return s
	}
	for kind := range at {
		servers[kind] = start(kind)
	}
	for _, c := range []struct{ kind, name string }{
		{"unit", "web"}, {"unit", "web.service"}, {"container", "shop"}, {"container", docker[:12]}, {"pod", "web/front-7c"},
	} {
		one, others, made := servers[c.kind], servers["others"], 20
		beforeOthers := others.ask("count")
		path := "/out/selected-" + strings.NewReplacer("/", "-").Replace(c.name) + ".acc"
		rec := startRecorder(t, "/in/acc", "record", "-o", path, "--force", "--no-causes", "--"+c.kind, c.name)
		one.ask("connect 20")
		others.ask("connect 9")
		if c.name == "web" {
			one.end()
			for deadline := time.Now().Add(10 * time.Second); os.Remove(filepath.Join(root, at["unit"])) != nil; {
				if time.Now().After(deadline) {
					t.Fatal("the unit's cgroup can't be removed")
				}
			}
			time.Sleep(2 * time.Second) // nothing that is selected happens
			servers["unit"] = start("unit")
			made += servers["unit"].ask("connect 20")
		}
		rec.stop(t)
		var r recording
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		r.read(t, f)
		f.Close()
		accepted, queued, left, of := 0, 0, 0, map[uint16]int{}
		for _, e := range r.events {
			switch {
			case e.Accepted():
				accepted++
				of[e.LPort]++
			case e.Kind == format.Queued:
				queued++
			}
			if e.Mark&format.MarkEnterLeftOut != 0 {
				left++
			}
		}
		t.Logf("--%s %s: %d accepted and %d queued of %d, %v, %d without an entry; others %d\n%s", c.kind, c.name, accepted, queued,
			made, of, left, others.ask("count")-beforeOthers, &rec.said)
		want, _ := strconv.Atoi(ports[c.kind])
		if accepted != made || of[uint16(want)] != made || !r.end.Clean || r.end.Lost > 0 {
			t.Errorf("%d accepted of %d; END: %+v", accepted, made, r.end)
		}
		// A call that waited when its unit was not selected yet has no entry; the first connection of that may have come to a
		// listener that was not known.
		if left > made/20-1 || queued < made-left {
			t.Errorf("%d queued, %d entries left out", queued, left)
		}
		if x := filteredOf(r.end, format.Return); x < 8 {
			t.Errorf("%d returns filtered", x)
		}
		if !strings.Contains(rec.said.String(), "acc: selected: "+c.kind+" "+c.name+" (1 listener now)\n") {
			t.Errorf("it did not say what is selected")
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
