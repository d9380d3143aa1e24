package looks

// This file reads what the cgroups of watched threads have to wait for.

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/acc-project/acc/format"
)

const (
	maxCgroups = 16                    // of one watch that are looked at
	waitedLong = 10 * time.Millisecond // for what tasks waited for so long is recorded
)

// group is a cgroup that is watched.
type group struct {
	dir   string
	start usage
}

// usage is what the files of a cgroup say: of its CPU quota, and for how long some tasks waited.
type usage struct {
	periods, throttled uint64 // microseconds
	cpu, memory, io    uint64
}

// cgroupRoots are where cgroups of version 2 are mounted.
var cgroupRoots = []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}

// GroupFrozen reports whether the cgroup of version 2 is frozen that a process is in, by its directory in /proc.
func GroupFrozen(proc string) bool {
	dir := cgroupOf(proc)
	b, _ := os.ReadFile(dir + "/cgroup.events")
	return dir != "" && strings.Contains(string(b), "frozen 1")
}

// cgroupOf is the directory of a process's cgroup, "" if it is not known.
func cgroupOf(proc string) string {
	b, _ := os.ReadFile(proc + "/cgroup")
	for line := range strings.Lines(string(b)) {
		path, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::")
		if !ok {
			continue
		}
		for _, root := range cgroupRoots {
			if _, err := os.Stat(root + path + "/cgroup.events"); err == nil {
				return root + path
			}
		}
	}
	return ""
}

// usageOf reads the files of a cgroup; not ok: it has none of them.
func usageOf(dir string) (u usage, ok bool) {
	b, _ := os.ReadFile(dir + "/cpu.stat")
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		n, _ := strconv.ParseUint(value, 10, 64)
		switch name {
		case "nr_throttled":
			u.periods, ok = n, true
		case "throttled_usec":
			u.throttled = n
		}
	}
	for name, into := range map[string]*uint64{"cpu": &u.cpu, "memory": &u.memory, "io": &u.io} {
		b, err := os.ReadFile(dir + "/" + name + ".pressure")
		if err == nil {
			*into, ok = someWaited(string(b)), true
		}
	}
	return u, ok
}

// someWaited is the total of the line "some avg10=0.00 avg60=0.00 avg300=0.00 total=123" of a pressure file.
func someWaited(s string) uint64 {
	line, _, _ := strings.Cut(s, "\n")
	_, total, _ := strings.Cut(line, " total=")
	n, _ := strconv.ParseUint(total, 10, 64)
	return n
}

// findGroups notes the cgroups of the processes, and those above them.
func (w *watch) findGroups() {
	seen := map[string]bool{}
	for _, t := range w.threads {
		dir := cgroupOf(fmt.Sprint("/proc/", t.PID))
		for dir != "" && !slices.Contains(cgroupRoots, dir) && !seen[dir] && len(w.groups) < maxCgroups {
			seen[dir] = true
			if u, ok := usageOf(dir); ok {
				w.groups = append(w.groups, group{dir, u})
			}
			dir = dir[:strings.LastIndexByte(dir, '/')]
		}
	}
}

// readGroups notes what the cgroups waited for since.
func (w *watch) readGroups() {
	w.Groups = nil
	ns := func(now, then uint64) int64 { return int64(max(now, then)-then) * 1000 }
	for _, g := range w.groups {
		now, ok := usageOf(g.dir)
		if !ok {
			continue
		}
		path := g.dir
		for _, root := range cgroupRoots {
			path = strings.TrimPrefix(path, root)
		}
		x := format.WatchedGroup{Cgroup: path, Throttled: max(now.periods, g.start.periods) - g.start.periods,
			CPUWaitNS: ns(now.cpu, g.start.cpu), MemoryWaitNS: ns(now.memory, g.start.memory), IOWaitNS: ns(now.io, g.start.io)}
		if x.Throttled > 0 {
			x.ThrottledNS = ns(now.throttled, g.start.throttled)
		}
		if x.Throttled > 0 || max(x.CPUWaitNS, x.MemoryWaitNS, x.IOWaitNS) >= int64(waitedLong) {
			w.Groups = append(w.Groups, x)
		}
	}
}
