//go:build amd64 || arm64

package capture

// This file finds on this host what a selection names.

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/format"
)

// Inode numbers of the namespaces that a host begins with (PROC_PID_INIT_INO, PROC_CGROUP_INIT_INO).
const (
	initialPIDNS    = 0xeffffffc
	initialCgroupNS = 0xeffffffb
)

// FindProcess gives an *UnknownError if there is no such process.
func FindProcess(pid uint32) error {
	if ns := namespace("/proc/self/ns/pid"); ns != 0 && ns != initialPIDNS {
		return errors.New("acc runs in a pid namespace of its own, where processes have other ids than the kernel says: " +
			"give acc the host's (docker run --pid=host)")
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d/stat", pid)); errors.Is(err, fs.ErrNotExist) {
		return &UnknownError{What: "process", Name: strconv.FormatUint(uint64(pid), 10), All: Names(KindPID)}
	}
	return nil
}

// FindNetNS gives the inode number of a network namespace: of a process, of a file that it is mounted at, or behind
// "inode:".
func FindNetNS(word string) (uint32, error) {
	path := word
	if num, ok := strings.CutPrefix(word, "inode:"); ok {
		n, err := strconv.ParseUint(num, 10, 32)
		if err != nil {
			return 0, fmt.Errorf("%q is no inode number", num)
		}
		if !slices.Contains(Names(KindNetNS), word) {
			return 0, &UnknownError{What: "network namespace", Name: word, All: Names(KindNetNS)}
		}
		return uint32(n), nil
	}
	if pid, err := strconv.ParseUint(word, 10, 32); err == nil {
		if err := FindProcess(uint32(pid)); err != nil {
			return 0, err
		}
		path = fmt.Sprintf("/proc/%d/ns/net", pid)
	} else if !strings.Contains(word, "/") {
		path = "/run/netns/" + word // as ip-netns(8) does
	}
	var st unix.Stat_t
	var fsys unix.Statfs_t
	if err := unix.Stat(path, &st); err != nil {
		if errors.Is(err, unix.ENOENT) {
			return 0, &UnknownError{What: "network namespace", Name: word, All: Names(KindNetNS)}
		}
		return 0, fmt.Errorf("look at %s: %w", path, err)
	}
	if err := unix.Statfs(path, &fsys); err != nil || fsys.Type != unix.NSFS_MAGIC {
		return 0, fmt.Errorf("%s is no network namespace", path)
	}
	return uint32(st.Ino), nil
}

// cgroupRoot is where the hierarchy of version 2 is mounted, "" nowhere.
func cgroupRoot() string { return mountPoint("cgroup2") }

// cgroupID is the id of the cgroup at a path of the hierarchy, which is mounted at root: the inode number of its
// directory.
func cgroupID(root, path string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(root, path), &st); err != nil {
		return 0, err
	}
	return st.Ino, nil
}

// cgroupPaths are all cgroups but the root.
func cgroupPaths() (list []string) {
	root := cgroupRoot()
	if root == "" {
		return nil
	}
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && path != root {
			list = append(list, strings.TrimPrefix(path, root))
		}
		return nil
	})
	return list
}

// FindCgroups gives the cgroups of a thing of a kind; an *UnknownError if there is none.
func FindCgroups(kind, name string) ([]Cgroup, error) {
	root := cgroupRoot()
	if root == "" {
		return nil, fmt.Errorf("this host has no cgroups of version 2 mounted, which --%s needs", kind)
	}
	if ns := namespace("/proc/self/ns/cgroup"); ns != 0 && ns != initialCgroupNS {
		return nil, fmt.Errorf("acc runs in a cgroup namespace of its own, where it does not see the host's cgroups, which "+
			"--%s needs (docker run --cgroupns=host)", kind)
	}
	paths := cgroupsBy(kind)[name]
	if kind == KindCgroup {
		if paths == nil {
			paths = findCgroup(root, name)
		}
	} else if paths == nil {
		var err error
		if paths, err = byShortName(kind, name); err != nil {
			return nil, err
		}
	}
	var list []Cgroup
	for _, p := range paths {
		id, err := cgroupID(root, p)
		if err != nil {
			continue // it has gone meanwhile
		}
		list = append(list, Cgroup{ID: id, Path: p, Level: strings.Count(p, "/")})
	}
	if len(list) == 0 {
		return nil, &UnknownError{What: kind, Name: name, All: Names(kind)}
	}
	return list, nil
}

// findCgroup finds one by its id, or by its directory.
func findCgroup(root, name string) []string {
	if id, err := strconv.ParseUint(name, 10, 64); err == nil {
		for _, p := range cgroupPaths() {
			if has, err := cgroupID(root, p); err == nil && has == id {
				return []string{p}
			}
		}
		return nil
	}
	path := filepath.Clean("/" + strings.TrimPrefix(name, root))
	if _, err := cgroupID(root, path); err != nil || path == "/" {
		return nil
	}
	return []string{path}
}

// byShortName finds a unit without its ".service", and a container by the beginning of its id.
func byShortName(kind, name string) (paths []string, err error) {
	all := cgroupsBy(kind)
	switch {
	case kind == KindUnit && !strings.Contains(name, "."):
		return all[name+".service"], nil
	case kind == KindContainer && len(name) >= 4:
		ids := slices.DeleteFunc(slices.Sorted(maps.Keys(all)), func(id string) bool {
			return len(id) != 64 || !strings.HasPrefix(id, name)
		})
		if len(ids) > 1 {
			return nil, fmt.Errorf("%d containers have an id that begins with %s", len(ids), name)
		}
		for _, id := range ids {
			paths = append(paths, all[id]...)
		}
	}
	return paths, nil
}

// cgroupsBy gives the paths of cgroups by the names that a kind of thing has.
func cgroupsBy(kind string) map[string][]string {
	by := map[string][]string{}
	add := func(name, path string) {
		if name != "" && !slices.Contains(by[name], path) {
			by[name] = append(by[name], path)
		}
	}
	links := logLinks()
	named := containerNames(links)
	for _, path := range cgroupPaths() {
		base := filepath.Base(path)
		id := identify(path, func() []string { return links })
		switch kind {
		case KindCgroup:
			add(path, path)
		case KindUnit:
			if unitPattern.MatchString("/"+base) || strings.HasSuffix(base, ".slice") {
				add(base, path)
			}
		case KindContainer:
			if id.container != "" && strings.Contains(base, id.container) {
				add(id.container, path)
				for _, name := range named[id.container] {
					add(name, path)
				}
			}
		case KindPod:
			if id.pod != "" { // all of the pod, so that its containers may start again
				at := podPattern.FindStringIndex(path)
				if at == nil {
					add(id.pod, path)
				} else {
					end := strings.IndexByte(path[at[1]:], '/')
					add(id.pod, path[:at[1]+max(end, 0)])
				}
			}
		}
	}
	return by
}

// containerNames are the names of containers by id, as Docker, Podman and the kubelet keep them.
func containerNames(links []string) map[string][]string {
	names := map[string][]string{}
	configs, _ := filepath.Glob("/var/lib/docker/containers/*/config.v2.json")
	for _, path := range configs {
		var c struct{ ID, Name string }
		if b, err := os.ReadFile(path); err == nil && json.Unmarshal(b, &c) == nil {
			names[c.ID] = append(names[c.ID], strings.TrimPrefix(c.Name, "/"))
		}
	}
	stores, _ := filepath.Glob("/var/lib/containers/storage/*-containers/*containers.json")
	running, _ := filepath.Glob("/run/containers/storage/*-containers/volatile-containers.json") // of podman run --rm
	for _, path := range append(stores, running...) {
		var list []struct {
			ID    string   `json:"id"`
			Names []string `json:"names"`
		}
		if b, err := os.ReadFile(path); err == nil && json.Unmarshal(b, &list) == nil {
			for _, c := range list {
				names[c.ID] = append(names[c.ID], c.Names...)
			}
		}
	}
	for _, link := range links { // POD_NAMESPACE_NAME-ID.log
		rest, ok := strings.CutSuffix(link, ".log")
		if at := strings.LastIndexByte(rest, '-'); ok && at >= 0 {
			if parts := strings.SplitN(rest[:at], "_", 3); len(parts) == 3 {
				names[rest[at+1:]] = append(names[rest[at+1:]], parts[2])
			}
		}
	}
	return names
}

// Names are what there is of a kind on this host, as far as this user may see.
func Names(kind string) (list []string) {
	ofKernel := func(dir string) bool { // its threads have no command line
		b, _ := os.ReadFile(dir + "/cmdline")
		return len(b) == 0
	}
	switch kind {
	case KindPID:
		eachProcess(func(pid uint32) {
			if !ofKernel(fmt.Sprintf("/proc/%d", pid)) {
				list = append(list, strconv.FormatUint(uint64(pid), 10))
			}
		})
		return list
	case KindComm, KindNetNS, KindUID:
		seen := map[string]bool{}
		eachProcess(func(pid uint32) {
			dir := fmt.Sprintf("/proc/%d", pid)
			switch kind {
			case KindComm:
				if b, _ := os.ReadFile(dir + "/comm"); !ofKernel(dir) {
					seen[strings.TrimSuffix(string(b), "\n")] = true
				}
			case KindUID:
				seen[strconv.FormatUint(uint64(realUID(dir)), 10)] = true
			default:
				if ns := namespace(dir + "/ns/net"); ns != 0 {
					seen["inode:"+strconv.FormatUint(ns, 10)] = true
				}
			}
		})
		if files, _ := filepath.Glob("/run/netns/*"); kind == KindNetNS {
			for _, f := range files {
				seen[f] = true
			}
		}
		delete(seen, "")
		return slices.Sorted(maps.Keys(seen))
	case KindPort:
		var shot format.Snapshot
		deadline := time.Now().Add(time.Second)
		sockets(&shot, false, func() bool { return time.Now().After(deadline) })
		return portsOf(shot.Listeners)
	}
	return slices.Sorted(maps.Keys(cgroupsBy(kind)))
}

// portsOf are the ports of listeners.
func portsOf(listeners []format.ListenSocket) (list []string) {
	seen := map[uint16]bool{}
	for _, l := range listeners {
		if l.LPort != 0 {
			seen[l.LPort] = true
		}
	}
	for _, p := range slices.Sorted(maps.Keys(seen)) {
		list = append(list, strconv.Itoa(int(p)))
	}
	return list
}

// CommOf is the name of a process, "" if it is not known.
func CommOf(pid string) string {
	b, _ := os.ReadFile("/proc/" + pid + "/comm")
	return strings.TrimSuffix(string(b), "\n")
}
