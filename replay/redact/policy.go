// Package redact makes captures that can be given away: names become pseudonyms, addresses are
// encrypted, and what no rule names is removed. When things happened, and how much, stays.
package redact

// This file has the rules: what becomes of each field of each record.

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/acc-project/acc/format"
)

// how says what becomes of a value.
type how int

const (
	remove  how = iota // nothing is left of it
	keep               // it stays: a number of the host's own, a time, a word of acc's
	name               // a pseudonym
	address            // encrypted, or numbered
	port               // exchanged for another one
	user               // another number
	hash               // another number of 64 bits
	uuid               // another UUID
	release            // a kernel's version without what a vendor or builder put behind it
	numeric            // it stays if it is a number, else it is removed
	ours               // it stays if it is a text that acc writes, else it is replaced by a word
	walk               // its own fields have rules
)

// rule is what becomes of a field.
type rule struct {
	how   how
	class string // what it gives away, "" if nothing
}

// Class is a kind of thing that a capture gives away.
type Class struct {
	Name string // as in --keep
	What string // what it is, for people
	Does string // what redact does to it, for people
}

// Classes are all of them, in the order in which they are listed.
var Classes = []Class{
	{"address", "IP addresses of clients and listeners", "replaced"},
	{"port", "ports of clients and listeners", "exchanged for other ports"},
	{"host", "the host's name, machine id and boot id", "pseudonyms"},
	{"user", "user ids (root stays root)", "other numbers"},
	{"process", "names of processes and threads", "pseudonyms"},
	{"path", "paths of executables", "pseudonyms"},
	{"function", "names of functions in programs, and which builds they are", "pseudonyms"},
	{"command", "the command line of acc record", "removed"},
	{"cgroup", "cgroup paths", "pseudonyms"},
	{"container", "container ids", "pseudonyms"},
	{"unit", "systemd units", "pseudonyms"},
	{"pod", "Kubernetes pods", "pseudonyms"},
	{"socket", "names of UNIX and vsock sockets", "pseudonyms"},
	{"marker", "what programs named their io_uring requests", "other numbers"},
	{"kernel", "the kernel's full release and build", "cut to its version"},
	{"zone", "the time zone", "removed: times are UTC"},
	{"text", "free text: why the recording ended, what was damaged", "removed"},
}

// eventRules are those of the fields of events. A field that is not named is removed.
var eventRules = rulesOf(map[how][]string{
	keep: {"kind", "errno", "cpu", "hook", "cpu_seq", "tid", "boot_ns", "mark", "via", "uring", "uring_end", "pid", "proc",
		"cgroup", "netns", "task_netns", "sockfd", "flags", "addr", "addrlen", "addrlen_in", "ret", "listener", "backlog",
		"backlog_max", "family", "type", "proto", "state", "cookie", "inode", "peer_pid", "addrlen_out", "told_family",
		"old_state", "sock_err", "shutdown", "syn_queue", "cause", "handshake_us", "bytes_in", "bytes_out", "segs_in",
		"segs_out", "retransmits", "srtt_us", "min_rtt_us", "closing_us", "fin_us"},
	user:    {"uid:user", "peer_uid:user"},
	name:    {"comm:process", "lname:socket", "rname:socket"},
	address: {"laddr:address", "raddr:address", "told_addr:address"},
	port:    {"lport:port", "rport:port", "told_port:port"},
	hash:    {"user_data:marker"},
})

// recordRules are those of the members of the other records, by the type that has them and their name in
// the file. A member that is not named is removed.
var recordRules = rulesOf(map[how][]string{
	keep: {"Header.format", "Header.compat", "Header.incompat", "Header.tool", "Header.arch", "Header.cpus",
		"Header.start_ns", "Header.mntns", "Header.exe_dev", "Header.exe_ino", "Header.mode", "Header.limits",
		"Header.fields", "Header.redacted", "Cut.from_ns", "Cut.until_ns", "Cut.begin", "Cut.end",
		"Cut.start_ns", "Cut.end_ns", "Cut.events", "Cut.lost", "Cut.missed", "Cut.clean", "Cut.tool",
		"CutFile.sha256", "CutFile.bytes", "CutFile.head", "Selection.cut",
		"Probe.hook", "Probe.kind", "Probe.how", "Probe.symbol", "Probe.max_active",
		"Sysctl.name",
		"Clock.boot_ns", "Clock.mono_ns", "Clock.real_ns", "Clock.err_ns", "Clock.keeping", "Clock.offset_ns",
		"Clock.max_err_ns", "Clock.est_err_ns",
		"Process.num", "Process.pid", "Process.start_ns", "Process.exe_dev", "Process.exe_ino", "Process.cgroup_id",
		"Process.netns", "Process.pidns", "Process.mntns", "Process.ns_pid", "Process.late",
		"Snapshot.boot_ns", "Snapshot.final", "Snapshot.listeners_known", "Snapshot.connections_known",
		"Snapshot.blocked_known", "Snapshot.netns",
		"Connection.netns", "Connection.state", "Connection.inode", "Connection.cookie", "Connection.counted",
		"Connection.bytes_in", "Connection.bytes_out", "Connection.retransmits", "Connection.srtt_us",
		"Connection.more_holders", "Connection.holders_known", "Holder.pid",
		"ListenSocket.netns", "ListenSocket.listener", "ListenSocket.pid", "ListenSocket.family", "ListenSocket.proto",
		"ListenSocket.backlog", "ListenSocket.backlog_max", "ListenSocket.more_holders", "ListenSocket.holders_known",
		"Blocked.pid", "Blocked.tid", "Blocked.sockfd", "Blocked.listener",
		"Counters.boot_ns", "Counters.until_ns", "Counters.netns", "Counters.final", "Counters.values",
		"Counters.settings", "Counters.queued", "Counters.queued_known", "Counters.queued_moved", "Counters.parted",
		"Loss.cpu", "Loss.hook", "Loss.kind", "Loss.count", "Loss.from_ns", "Loss.to_ns",
		"Gap.next", "Gap.events", "Gap.offset", "Gap.bytes",
		"Repaired.bytes", "Repaired.sha256", "Repaired.tool", "Repaired.verdict", "Repaired.places", "Repaired.lost",
		"Repaired.events", "Repaired.ended",
		"End.clean", "End.events", "End.lost", "End.shed", "End.blocked_known", "End.unix_counted", "End.unix_unseen",
		"ProbeTotal.hook", "ProbeTotal.kind", "ProbeTotal.seen", "ProbeTotal.recorded", "ProbeTotal.lost",
		"ProbeTotal.own", "ProbeTotal.missed", "ProbeTotal.filtered", "ProbeTotal.counted", "Header.failed_rate",
		"Counted.from_ns", "Counted.to_ns", "Counted.hook", "Counted.calls", "Counted.entries", "Counted.ret", "Counted.pid",
		"Counted.start_ns", "Counted.netns", "Counted.listener", "Counted.family", "Selection.netns", "Selection.pids",
		"Selection.families", "Selection.follow", "Selection.only_command", "Selection.failed_only", "UnreadNetNS.netns",
		"UnixRefused.netns", "UnixRefused.count",
		"SimultaneousOpens.netns", "SimultaneousOpens.count",
		"Watch.num", "Watch.netns", "Watch.listener", "Watch.from_ns", "Watch.to_ns", "Watch.every_ns", "Watch.looks",
		"Watch.more_threads", "Watch.owners", "Watch.ended",
		"WatchedThread.pid", "WatchedThread.tid", "WatchedThread.holder", "WatchedThread.beside",
		"WatchedGroup.throttled", "WatchedGroup.throttled_ns", "WatchedGroup.cpu_wait_ns",
		"WatchedGroup.memory_wait_ns", "WatchedGroup.io_wait_ns", "SilentPeer.pid", "SilentPeer.at_ns",
		"SilentPeer.waiting_ns", "Doing.watch", "Doing.row", "Doing.tid", "Doing.from_ns", "Doing.to_ns", "Doing.ns",
		"Doing.owner", "Doing.looks", "Doing.call", "Doing.wchan",
		"OnCPU.tid", "OnCPU.samples", "OnCPU.in_kernel", "OnCPU.lost", "StackCount.stack", "StackCount.n",
		"Goroutines.pid", "Goroutines.at_ns", "Goroutines.looks", "Goroutines.total", "Goroutines.more_groups",
		"GoroutineGroup.stack", "GoroutineGroup.n", "GoroutineGroup.looks",
		"Doing.stack", "Image.num", "Stack.num", "Stack.whole", "StackFrame.image", "StackFrame.offset",
		"Set.file", "Numbers.cpu", "Numbers.hook", "Numbers.kind", "Numbers.last", "NumberRange.first", "NumberRange.last",
		"Cost.cpu_ns", "Cost.peak_bytes", "ProgramCost.name", "ProgramCost.runs", "ProgramCost.run_ns", "Mark.boot_ns"},
	walk: {"Header.cuts", "Cut.files", "Header.selection", "Header.probes", "Header.sysctls", "Header.clock",
		"Header.repaired", "Snapshot.listeners", "Snapshot.connections", "Snapshot.blocked", "Connection.holders",
		"ListenSocket.holders", "End.totals", "End.blocked", "End.clock",
		"End.simultaneous_opens", "End.unread_netns", "End.unix_refused",
		"Watch.threads", "Watch.groups", "Watch.peers", "Watch.goroutines", "Watch.on_cpu",
		"OnCPU.stacks",
		"Goroutines.groups", "Stack.frames",
		"Header.set", "Set.numbers", "Numbers.open", "End.numbers", "End.cost", "Cost.programs"},
	remove: {"Header.command:command", "Header.build:kernel", "Header.zone:zone", "Header.zone_s:zone",
		"Gap.reason:text", "Repaired.why:text", "Repaired.notes:text", "End.detail:text", "Watch.cannot:text",
		"Set.previous_head:host", "Mark.text:text", "Cut.filter:text", "Cut.connections:text",
		"Selection.words:text", "Selection.ports:port", "Selection.addrs:address", "Selection.laddrs:address",
		"Selection.raddrs:address", "Selection.comms:process", "Selection.uids:user", "Selection.cgroups:cgroup"},
	name: {"Header.host:host", "Header.machine:host", "Header.boot_id:host", "Process.comm:process",
		"Counted.comm:process", "Counted.lname:socket", "Process.exe:path", "Process.cgroup:cgroup",
		"Process.container:container", "Process.unit:unit", "Process.pod:pod", "Process.pod_uid:pod",
		"Holder.comm:process", "ListenSocket.comm:process", "ListenSocket.lname:socket",
		"UnixRefused.name:socket", "WatchedThread.comm:process", "WatchedGroup.cgroup:cgroup", "Doing.target:path",
		"Image.path:path", "Image.build_id:function", "StackFrame.func:function"},
	uuid:    {"Header.id:host", "Set.id:host", "Set.previous:host", "CutFile.id:host"},
	release: {"Header.kernel:kernel"},
	numeric: {"Sysctl.value"},
	user:    {"Process.uid:user", "Mark.uid:user", "Counted.uid:user"},
	address: {"Connection.laddr:address", "Connection.raddr:address", "ListenSocket.laddr:address",
		"SilentPeer.raddr:address", "Counted.laddr:address"},
	port: {"Connection.lport:port", "Connection.rport:port", "ListenSocket.lport:port",
		"SilentPeer.rport:port", "Counted.lport:port"},
	ours: {"Header.filters:text", "Cut.reason:text", "ListenSocket.halted:text", "End.reason:text", "UnreadNetNS.why:text",
		"Process.runtime:text",
		"Doing.state:text", "Doing.kind:text", "Doing.among:text", "GoroutineGroup.wait:text"},
})

func rulesOf(by map[how][]string) map[string]rule {
	rules := map[string]rule{}
	for h, list := range by {
		for _, entry := range list {
			field, class, _ := strings.Cut(entry, ":")
			rules[field] = rule{h, class}
		}
	}
	return rules
}

// ourTexts are what acc writes where a rule says ours. Others are replaced.
var ourTexts = map[string][]string{
	"Cut.reason":          endReasons,
	"Header.filters":      {"--events accept", "--events lifecycle"},
	"ListenSocket.halted": {format.HaltedStopped, format.HaltedFrozen},
	"Doing.state": {format.DoingCPU, format.DoingRunnable, format.DoingAsleep, format.DoingDisk, format.DoingFault,
		format.DoingStopped, format.DoingFrozen, format.DoingUnseen},
	"Doing.kind": {format.TargetFile, format.TargetPipe, format.TargetSocket, format.TargetClient, format.TargetUnix,
		format.TargetOther},
	"GoroutineGroup.wait": {"IO wait", "chan receive (nil chan)", "chan send (nil chan)", "select", "select (no cases)",
		"chan receive", "chan send", "semacquire", "sleep", "sync.Cond.Wait", "sync.Mutex.Lock", "sync.RWMutex.RLock",
		"sync.RWMutex.Lock", "sync.WaitGroup.Wait"},
	"Doing.among": {format.AmongArmed, format.AmongDisarmed, format.AmongAbsent},
	"End.reason":  endReasons,
	"UnreadNetNS.why": {"no process was in it when acc looked", "who was in it had gone when acc looked",
		"there were too many network namespaces", "acc had no time to look at all processes"},
	"Process.runtime": {"docker", "containerd", "cri-o", "podman", "lxc", "systemd-nspawn", "libpod", "crio", "garden",
		"buildkit"},
}

// endReasons are why recordings end.
var endReasons = []string{"signal", "count", "duration", "command", "error", format.EndDiskFull, "repaired", "size",
	"rotation", "stopped", "pipe closed", "watchdog", format.EndCut}

// Keepable are the names that --keep takes: classes, and fields of them.
func Keepable() (names []string) {
	for _, c := range Classes {
		names = append(names, c.Name)
	}
	for key, r := range eventRules {
		if r.class != "" {
			names = append(names, key)
		}
	}
	for key, r := range recordRules {
		if _, field, _ := strings.Cut(key, "."); r.class != "" && !slices.Contains(names, field) {
			names = append(names, field)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// under gives a rule, keep where the options say so.
func under(r rule, field string, kept []string) rule {
	if _, own, ok := strings.Cut(field, "."); ok {
		field = own
	}
	if r.class != "" && (slices.Contains(kept, r.class) || slices.Contains(kept, field)) {
		r.how = keep
	}
	return r
}

// visit is called with each member of a record that is no record itself.
type visit func(key string, r rule, v reflect.Value) error

// walkRecord calls visit with the members of the record that v points to, and of the records in it. Lists
// are copied before: the reader's own stay as they are. A member without a rule is removed.
func walkRecord(v reflect.Value, kept []string, do visit) error {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		own := reflect.New(v.Type().Elem())
		own.Elem().Set(v.Elem())
		v.Set(own)
		return walkRecord(own.Elem(), kept, do)
	case reflect.Slice:
		if v.IsNil() {
			return nil
		}
		own := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(own, v)
		v.Set(own)
		for i := range own.Len() {
			if err := walkRecord(own.Index(i), kept, do); err != nil {
				return err
			}
		}
		return nil
	case reflect.Struct:
		t := v.Type()
		for i := range t.NumField() {
			tag, _, _ := strings.Cut(t.Field(i).Tag.Get("msgpack"), ",")
			key := t.Name() + "." + tag
			r, named := recordRules[key]
			if !named {
				v.Field(i).SetZero()
				continue
			}
			if r = under(r, key, kept); r.how == walk {
				if err := walkRecord(v.Field(i), kept, do); err != nil {
					return err
				}
				continue
			}
			if err := do(key, r, v.Field(i)); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
		}
	}
	return nil
}
