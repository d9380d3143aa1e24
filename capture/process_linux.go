//go:build amd64 || arm64

package capture

// This file keeps the records of processes.

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"github.com/acc-project/acc/bpf"
	"github.com/acc-project/acc/format"
)

// processes numbers the processes that events come from, and looks each up once.
type processes struct {
	known map[processKey]*process
	last  uint32
	write func(format.Process) error
	blind bool // /proc is of another pid namespace

	introduced map[processKey]introduction // what the kernel told, until the event that follows
	version    uint32                      // how often it told something

	recentKey processKey // most events come from the process before
	recent    *process

	again bool   // their records are kept, for further files
	file  uint32 // how many files came before
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

	record *format.Process // where it may be written again
	file   uint32          // that has it
}

// nextFile has the records of processes written again, each before the next event of the process.
func (p *processes) nextFile() {
	p.file++
	p.recent = nil
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
	if known != nil && known.file != p.file {
		known.file = p.file
		if err := p.write(*known.record); err != nil {
			return 0, err
		}
	}
	if known != nil && (!leader || known.comm == raw.Comm) {
		p.recentKey, p.recent = k, known
		return known.num, nil
	}
	rec := lookUp(raw, p.introduced[k], p.blind)
	delete(p.introduced, k)
	if known != nil && (rec.Exe == known.exe || rec.Exe == "") {
		known.comm = raw.Comm // it changed its name, or was met by another thread
		p.recentKey, p.recent = k, known
		return known.num, nil
	}
	if p.known == nil || len(p.known) >= maxProcesses {
		p.known = map[processKey]*process{}
	}
	p.last++
	rec.Num = p.last
	known = &process{num: p.last, exe: rec.Exe, file: p.file}
	if p.again {
		known.record = &rec
	}
	if leader {
		known.comm = raw.Comm
	}
	p.known[k] = known
	p.recentKey, p.recent = k, known
	return known.num, p.write(rec)
}

// introduction is what the kernel told of a process when it first accepted.
type introduction struct {
	exe, cgroup         string
	comm                string
	nsPID, pidNS, mntNS uint32
	exeDev              string
	exeInode            uint64
}

// introduce keeps what the kernel told of a process for the event that follows.
func (p *processes) introduce(raw *bpf.AccProcess) {
	if p.introduced == nil || len(p.introduced) > 10_000 {
		p.introduced = map[processKey]introduction{}
	}
	p.version++
	k := processKey{raw.Pid, raw.StartNs}
	in := introduction{
		exe: joinParts(raw.Exe[:]), cgroup: joinParts(raw.Cgroup[:]),
		comm:  text((*[16]byte)(unsafe.Pointer(&raw.Comm))[:]),
		nsPID: raw.NsPid, pidNS: raw.Pidns, mntNS: raw.Mntns, exeInode: raw.ExeIno,
	}
	if raw.ExeIno != 0 {
		in.exeDev = deviceOf(raw)
	}
	p.introduced[k] = in
	delete(p.known, k) // it called exec, or is in another cgroup: the next event gets a new record
	p.recent = nil
}

// deviceOf is the device of a process's executable: dev_t within the kernel has 20 bits of minor.
func deviceOf(raw *bpf.AccProcess) string {
	return fmt.Sprintf("%d:%d", raw.ExeDev>>20, raw.ExeDev&(1<<20-1))
}

// joinParts makes a path of its names, of which the last one comes first, and "/"
// behind the first. A path that did not fit begins with "..."; "" if there is none.
func joinParts(parts [][namePart]uint8) string {
	path := ""
	for i := range parts {
		switch part := partOf(parts[i][:]); part {
		case "": // a mount was crossed
		case "/":
			return cmp.Or(path, "/")
		default:
			path = "/" + part + path
		}
	}
	if path != "" {
		path = "..." + path
	}
	return path
}

// namePart is the room for a name in what the kernel tells, its zero byte included.
const namePart = 128

// cutMark ends a name for which there was no room.
const cutMark = "..."

func partOf(b []byte) string {
	if s := text(b); len(s) < namePart-1 {
		return s
	}
	return string(b[:namePart-1]) + cutMark
}

// fits reports whether a path is the one that the kernel told, as far as it could.
func fits(path, told string) bool {
	if rest, short := strings.CutPrefix(told, cutMark); short && !strings.Contains(rest, cutMark) {
		return strings.HasSuffix(path, rest)
	}
	if !strings.Contains(told, cutMark) {
		return path == told || strings.HasSuffix(path, told)
	}
	names, parts := strings.Split(path, "/"), strings.Split(strings.TrimPrefix(told, cutMark), "/")
	if len(parts) > len(names) {
		return false
	}
	names = names[len(names)-len(parts):]
	for i, part := range parts {
		if short, cut := strings.CutSuffix(part, cutMark); part != names[i] &&
			(!cut || !strings.HasPrefix(names[i], short)) {
			return false
		}
	}
	return true
}

// lookUp puts together what the kernel told of an event's process and what /proc
// says, if it is still there.
func lookUp(raw *bpf.AccEvent, in introduction, blind bool) format.Process {
	var n names
	rec := format.Process{
		PID: raw.Pid, StartNS: int64(raw.StartNs), Comm: n.of(raw.Comm), UID: raw.Uid, CgroupID: raw.Cgroup,
		NetNS: uint64(raw.Netns),
		Exe:   in.exe, Cgroup: in.cgroup, PIDNS: uint64(in.pidNS), MntNS: uint64(in.mntNS), NSPID: in.nsPID,
		ExeDev: in.exeDev, ExeInode: in.exeInode,
	}
	if in.comm != "" {
		rec.Comm = in.comm
	}
	rec.Late = blind || !readProc(&rec, raw.StartNs)
	id := identify(rec.Cgroup, logLinks)
	rec.Container, rec.Runtime, rec.Unit, rec.Pod, rec.PodUID = id.container, id.runtime, id.unit, id.pod, id.podUID
	return rec
}

// readProc adds what /proc says of a process; false if it is gone. A short path
// of the kernel's stays: what is at /proc now may be after an exec.
func readProc(rec *format.Process, startNS uint64) bool {
	dir := "/proc/" + strconv.FormatUint(uint64(rec.PID), 10)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil || !startedAt(stat, startNS) {
		return false
	}
	if b, err := os.ReadFile(dir + "/comm"); err == nil {
		rec.Comm = strings.TrimSuffix(string(b), "\n")
	}
	if exe, err := os.Readlink(dir + "/exe"); err == nil && (rec.Exe == "" || fits(exe, rec.Exe)) {
		rec.Exe = exe // a kernel thread has none
	}
	if b, err := os.ReadFile(dir + "/cgroup"); err == nil &&
		(rec.Cgroup == "" || rec.Cgroup == "/" || strings.Contains(rec.Cgroup, cutMark)) {
		rec.Cgroup = unifiedCgroup(b)
	}
	if rec.PIDNS == 0 {
		rec.PIDNS = namespace(dir + "/ns/pid")
	}
	if rec.MntNS == 0 {
		rec.MntNS = namespace(dir + "/ns/mnt")
	}
	return true
}

// startedAt reports whether a /proc/PID/stat is of a process that started at a
// boot time; it counts in hundredths of a second (USER_HZ).
func startedAt(stat []byte, startNS uint64) bool {
	ticks, err := strconv.ParseUint(startIn(stat), 10, 64)
	return err == nil && ticks == startNS/10_000_000
}

// startIn is when the task of a /proc/PID/stat started, as that says it; "" if it does not.
func startIn(stat []byte) string {
	_, rest, ok := bytes.Cut(stat[max(bytes.LastIndexByte(stat, ')'), 0):], []byte(") "))
	fields := bytes.Fields(rest)
	if !ok || len(fields) < 20 {
		return ""
	}
	return string(fields[19]) // field 22 of proc_pid_stat(5), counted from 3 here
}

// unifiedCgroup is the path in the cgroup v2 hierarchy from a /proc/PID/cgroup; or,
// where that is not used, the first one of a v1 controller that is not the root.
func unifiedCgroup(b []byte) string {
	first := ""
	for line := range strings.Lines(string(b)) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) != 3 {
			continue
		}
		if parts[0] == "0" && parts[2] != "/" {
			return parts[2]
		}
		if first == "" || first == "/" {
			first = parts[2]
		}
	}
	return first
}

// namespace is the inode number behind a link of /proc/PID/ns, 0 if it can't be read.
func namespace(path string) uint64 {
	link, _ := os.Readlink(path)
	return namespaceIn(link)
}

// namespaceIn is the inode number in what a link of /proc/PID/ns says, 0 if that is none.
func namespaceIn(link string) uint64 {
	_, num, ok := strings.Cut(link, ":[")
	n, err := strconv.ParseUint(strings.TrimSuffix(num, "]"), 10, 64)
	if !ok || err != nil {
		return 0
	}
	return n
}
