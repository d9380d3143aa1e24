package capture

// This file reads the identity of a process: container, pod, unit.

import (
	"os"
	"regexp"
	"strings"
)

// identity is what a cgroup's path tells of who a process belongs to.
type identity struct {
	container, runtime, unit, pod, podUID string
}

// logDirs have the kubelet's links to the logs of containers, named
// POD_NAMESPACE_NAME-ID.log: the host's, as this process sees it, and as the host's first process does, where acc
// runs in a container of its own.
var logDirs = []string{"/var/log/containers", "/proc/1/root/var/log/containers"}

var (
	containerPattern = regexp.MustCompile(`(?:^|[-/:])([0-9a-f]{64})(?:\.scope)?(?:/|$)`)
	unitPattern      = regexp.MustCompile(`/([^/]+\.(?:service|scope|socket|mount|swap))(?:/|$)`)
	podPattern       = regexp.MustCompile(`pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12})`)
)

// identify reads a cgroup's path. links are names of the files in logDirs.
func identify(cgroup string, links func() []string) (id identity) {
	rest := cgroup
	for { // the innermost one, if containers nest
		m := containerPattern.FindStringSubmatchIndex(rest)
		if m == nil {
			break
		}
		id.container = rest[m[2]:m[3]]
		id.runtime = runtimeOf(rest[:m[2]])
		rest = rest[m[3]:]
	}
	if m := podPattern.FindAllStringSubmatch(cgroup, -1); m != nil {
		id.podUID = strings.ReplaceAll(m[len(m)-1][1], "_", "-")
	}
	if id.container == "" {
		if m := unitPattern.FindAllStringSubmatch(cgroup, -1); m != nil {
			id.unit = m[len(m)-1][1]
		}
		return id
	}
	for _, name := range links() {
		if pod, ok := strings.CutSuffix(name, "-"+id.container+".log"); ok {
			if parts := strings.SplitN(pod, "_", 3); len(parts) == 3 {
				id.pod = parts[1] + "/" + parts[0]
			}
		}
	}
	return id
}

// runtimeOf is who made a container, by what stands before its id in the path.
func runtimeOf(before string) string {
	_, last := before, before
	if i := strings.LastIndexByte(strings.TrimSuffix(before, "/"), '/'); i >= 0 {
		last = before[i+1:]
	}
	for _, known := range []struct{ prefix, name string }{
		{"docker", "docker"}, {"cri-containerd", "containerd"}, {"containerd", "containerd"}, {"nerdctl", "containerd"},
		{"crio", "cri-o"},
		{"libpod", "podman"}, {"lxc", "lxc"}, {"k8s.io", "containerd"},
	} {
		if strings.HasPrefix(last, known.prefix) || strings.Contains(before, ":"+known.prefix) {
			return known.name
		}
	}
	return ""
}

// logLinks reads the names in the first of logDirs that has some.
func logLinks() []string {
	for _, name := range logDirs {
		dir, err := os.Open(name)
		if err != nil {
			continue
		}
		names, _ := dir.Readdirnames(100_000)
		dir.Close()
		if len(names) > 0 {
			return names
		}
	}
	return nil
}
