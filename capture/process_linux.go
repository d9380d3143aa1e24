//go:build amd64 || arm64

package capture

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/acc-project/acc/bpf"
	"github.com/acc-project/acc/format"
)

// processes numbers the processes that events come from, and looks each up once.
type processes struct {
	known map[processKey]*process
	last  uint32
	write func(format.Process) error

	recentKey processKey // most events come from the process before
	recent    *process
}

// A process id is used again; with the start time it is not.
type processKey struct {
	pid     uint32
	startNS uint64
}

type process struct {
	num  uint32
	comm [16]int8 // of the leader, when it last had an event; exec changes it
	exe  string
}

// maxProcesses bounds the recorder's memory; beyond it processes get new numbers.
const maxProcesses = 50_000

// number gives the number of the event's process and writes its record first if
// it is new, or has called exec.
func (p *processes) number(raw *bpf.AccEvent) (uint32, error) {
	k := processKey{raw.Pid, raw.StartNs}
	known := p.recent
	if known == nil || k != p.recentKey {
		known = p.known[k]
	}
	leader := raw.Pid == raw.Tid
	if known != nil && (!leader || known.comm == raw.Comm) {
		p.recentKey, p.recent = k, known
		return known.num, nil
	}
	rec := lookUp(raw)
	if known != nil && known.comm != [16]int8{} && rec.Exe == known.exe {
		known.comm = raw.Comm // it only changed its name
		return known.num, nil
	}
	if p.known == nil || len(p.known) >= maxProcesses {
		p.known = map[processKey]*process{}
	}
	p.last++
	rec.Num = p.last
	known = &process{num: p.last, exe: rec.Exe}
	if leader {
		known.comm = raw.Comm
	}
	p.known[k] = known
	p.recentKey, p.recent = k, known
	return known.num, p.write(rec)
}

// lookUp reads what /proc says of an event's process.
func lookUp(raw *bpf.AccEvent) format.Process {
	var n names
	rec := format.Process{PID: raw.Pid, StartNS: int64(raw.StartNs), Comm: n.of(raw.Comm), UID: raw.Uid, CgroupID: raw.Cgroup, NetNS: uint64(raw.Netns)}
	dir := "/proc/" + strconv.FormatUint(uint64(raw.Pid), 10)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil || !startedAt(stat, raw.StartNs) {
		rec.Late = true
		return rec
	}
	if b, err := os.ReadFile(dir + "/comm"); err == nil {
		rec.Comm = strings.TrimSuffix(string(b), "\n")
	}
	rec.Exe, _ = os.Readlink(dir + "/exe") // a kernel thread has none
	if b, err := os.ReadFile(dir + "/cgroup"); err == nil {
		rec.Cgroup = unifiedCgroup(b)
		rec.Container = containerID(rec.Cgroup)
	}
	rec.PIDNS = namespace(dir + "/ns/pid")
	rec.MntNS = namespace(dir + "/ns/mnt")
	if ns := namespace(dir + "/ns/net"); ns != 0 {
		rec.NetNS = ns
	}
	return rec
}

// startedAt reports whether a /proc/PID/stat is of a process that started at a
// boot time; it counts in hundredths of a second (USER_HZ).
func startedAt(stat []byte, startNS uint64) bool {
	_, rest, ok := bytes.Cut(stat[max(bytes.LastIndexByte(stat, ')'), 0):], []byte(") "))
	fields := bytes.Fields(rest)
	if !ok || len(fields) < 20 {
		return false
	}
	ticks, err := strconv.ParseUint(string(fields[19]), 10, 64) // field 22, counted from 3 here
	return err == nil && ticks == startNS/10_000_000
}

// unifiedCgroup is the path in the cgroup v2 hierarchy from a /proc/PID/cgroup,
// or the first one of a v1 controller.
func unifiedCgroup(b []byte) string {
	first := ""
	for line := range strings.Lines(string(b)) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) != 3 {
			continue
		}
		if parts[0] == "0" {
			return parts[2]
		}
		if first == "" {
			first = parts[2]
		}
	}
	return first
}

var containerPattern = regexp.MustCompile(`(?:^|[-/:])([0-9a-f]{64})(?:\.scope)?(?:/|$)`)

// containerID finds the 64 hexadecimal digits by which Docker, containerd, CRI-O
// and Podman name a container in its cgroup's path; the innermost one if they nest.
func containerID(cgroup string) string {
	id := ""
	for rest := cgroup; ; {
		m := containerPattern.FindStringSubmatchIndex(rest)
		if m == nil {
			return id
		}
		id = rest[m[2]:m[3]]
		rest = rest[m[3]:]
	}
}

// namespace is the inode number behind a link of /proc/PID/ns, 0 if it can't be read.
func namespace(path string) uint64 {
	link, err := os.Readlink(path)
	if err != nil {
		return 0
	}
	_, num, ok := strings.Cut(link, ":[")
	n, err := strconv.ParseUint(strings.TrimSuffix(num, "]"), 10, 64)
	if !ok || err != nil {
		return 0
	}
	return n
}

// blockedTasks lists the tasks that sit in accept, by /proc. It stops at the
// deadline; complete is whether it saw all tasks.
func blockedTasks(giveUp func() bool) (tasks []format.Blocked, complete bool) {
	pids, err := os.ReadDir("/proc")
	if err != nil {
		return nil, false
	}
	for _, dir := range pids {
		pid, err := strconv.ParseUint(dir.Name(), 10, 32)
		if err != nil {
			continue
		}
		if giveUp() {
			return tasks, false
		}
		threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			continue // it has ended
		}
		for _, t := range threads {
			tid, _ := strconv.ParseUint(t.Name(), 10, 32)
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/syscall", pid, tid))
			if err != nil {
				continue
			}
			if fd, ok := acceptSyscall(b); ok {
				tasks = append(tasks, format.Blocked{PID: uint32(pid), TID: uint32(tid), SockFD: fd})
			}
		}
	}
	return tasks, true
}

// acceptSyscall reads a /proc/PID/task/TID/syscall: the number and, in
// hexadecimal, the arguments; "running" if the task is in none.
func acceptSyscall(b []byte) (fd int32, ok bool) {
	fields := bytes.Fields(b)
	if len(fields) < 2 {
		return 0, false
	}
	nr, err := strconv.Atoi(string(fields[0]))
	if err != nil || !acceptNumbers[nr] {
		return 0, false
	}
	arg, err := strconv.ParseUint(string(fields[1]), 0, 64)
	return int32(uint32(arg)), err == nil
}
