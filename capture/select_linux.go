//go:build amd64 || arm64

package capture

// This file sets up the kernel's programs for a selection, and applies it to what user space looks for itself.

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/acc-project/acc/bpf"
	"github.com/acc-project/acc/format"
)

// parentOnly marks a process of which only the children are selected: PARENT_ONLY in the programs.
const parentOnly = ^uint64(0)

// The programs that follow processes; they are not among probes, since they show no event.
var followers = map[string]string{"raw_process_fork": "sched_process_fork", "raw_process_exit": "sched_process_exit"}

// followsProcesses reports whether the children of processes are selected, too.
func (s *Selection) followsProcesses() bool { return s.Follow || s.OnlyCommand }

// setSelection sets up the programs before they are loaded.
func setSelection(o *Options, spec *ebpf.CollectionSpec) error {
	s := &o.Select
	bits := s.criteria()
	for name, used := range map[string]bool{
		"pids": bits&selectPID != 0, "followed": bits&(selectTask|selectPort) != 0, "chosen": bits&selectTask != 0,
		"connected_before": bits&selectTask != 0, "netns_selected": bits&selectNetNS != 0, "comms": bits&selectComm != 0,
		"uids": bits&selectUID != 0, "cgroups": bits&selectCgroup != 0, "networks": bits&selectAddrs != 0,
	} {
		if !used {
			spec.Maps[name].MaxEntries = 1
		}
	}
	if bits == 0 {
		return nil
	}
	families := uint64(0)
	for _, f := range s.Families {
		families |= 1 << (f & 63)
	}
	levels, err := s.levels()
	if err != nil {
		return err
	}
	for name, value := range map[string]any{
		"selecting": bits, "families": families, "cgroup_levels": levels, "passing": uint32(1),
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return fmt.Errorf("set up the programs: %w", err)
		}
	}
	fill := func(name string, key, value any) {
		m := spec.Maps[name]
		m.Contents = append(m.Contents, ebpf.MapKV{Key: key, Value: value})
	}
	bitmap := map[uint32]uint64{}
	for _, r := range s.Ports {
		for p := uint32(r.First); p <= uint32(r.Last); p++ {
			bitmap[p>>6] |= 1 << (p & 63)
		}
	}
	for at, some := range bitmap {
		fill("ports", at, some)
	}
	one := uint8(1)
	for _, n := range s.NetNS {
		fill("netns_selected", n, one)
	}
	for _, c := range s.Comms {
		var name [16]byte
		copy(name[:15], c)
		fill("comms", name, one)
	}
	for _, u := range s.UIDs {
		fill("uids", u, one)
	}
	for _, c := range s.Cgroups {
		fill("cgroups", c.ID, one)
	}
	for network, of := range s.networks() {
		fill("networks", network, of)
	}
	for _, pid := range s.PIDs {
		ticks, err := ticksOf(pid)
		if err != nil {
			return fmt.Errorf("select process %d: %w", pid, err)
		}
		fill("pids", pid, ticks)
	}
	return nil
}

// levels are the depths of the selected cgroups.
func (s *Selection) levels() (levels [4]uint32, err error) {
	n := 0
	for _, c := range s.Cgroups {
		if slices.Contains(levels[:n], uint32(c.Level)) {
			continue
		}
		if n == len(levels) {
			return levels, fmt.Errorf("the selected cgroups lie at more than %d depths", len(levels))
		}
		levels[n] = uint32(c.Level)
		n++
	}
	return levels, nil
}

// networks are those of all criteria of addresses, each with the criteria that it is for: those of the networks around
// it, too, since the kernel finds the narrowest one alone.
func (s *Selection) networks() map[bpf.AccNetwork]uint32 {
	of := map[netip.Prefix]uint32{}
	for bit, list := range map[uint32][]netip.Prefix{selectAddr: s.Addrs, selectLAddr: s.LAddrs, selectRAddr: s.RAddrs} {
		for _, p := range list {
			of[p.Masked()] |= bit
		}
	}
	keys := map[bpf.AccNetwork]uint32{}
	for p, bits := range of {
		for around, more := range of {
			if around.Bits() <= p.Bits() && around.Contains(p.Addr()) {
				bits |= more
			}
		}
		key := bpf.AccNetwork{Bits: uint32(p.Bits()), Addr: p.Addr().As16()}
		if p.Addr().Is4() {
			key.Bits += 96
		}
		keys[key] |= bits
	}
	return keys
}

// ticksOf is when a process began, in hundredths of a second since the boot.
func ticksOf(pid uint32) (uint64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, ticks, ok := statOf(stat)
	if !ok {
		return 0, errors.New("/proc does not tell when it began")
	}
	return ticks, nil
}

// statOf reads the parent and the start of a process out of its /proc/PID/stat.
func statOf(stat []byte) (parent uint32, ticks uint64, ok bool) {
	_, rest, ok := bytes.Cut(stat[max(bytes.LastIndexByte(stat, ')'), 0):], []byte(") "))
	fields := bytes.Fields(rest)
	if !ok || len(fields) < 20 {
		return 0, 0, false
	}
	p, err1 := strconv.ParseUint(string(fields[1]), 10, 32)
	ticks, err2 := strconv.ParseUint(string(fields[19]), 10, 64)
	return uint32(p), ticks, errors.Join(err1, err2) == nil
}

// follow makes the programs live that follow processes.
func (a *attached) follow(o *Options) error {
	if !o.Select.followsProcesses() {
		return nil
	}
	for program, event := range followers {
		l, err := link.AttachRawTracepoint(link.RawTracepointOptions{Name: event, Program: a.collection.Programs[program]})
		if err != nil {
			return fmt.Errorf("attach to %s: %w", event, err)
		}
		a.following = append(a.following, l)
	}
	if !o.Select.Follow {
		return nil
	}
	// What they have started before. Meanwhile, what these start is followed.
	known := map[uint32]bool{}
	for _, pid := range o.Select.PIDs {
		known[pid] = true
	}
	for more := true; more; {
		more = false
		eachProcess(func(pid uint32) {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			parent, ticks, ok := statOf(stat)
			if err != nil || !ok || known[pid] || !known[parent] {
				return
			}
			known[pid], more = true, true
			_ = a.collection.Maps["pids"].Update(pid, ticks, ebpf.UpdateAny)
		})
	}
	return nil
}

// onlyCommand has the process that start starts selected from its first moment on.
func (a *attached) onlyCommand(start func() error) error {
	self := uint32(os.Getpid())
	pids := a.collection.Maps["pids"]
	if err := pids.Update(self, parentOnly, ebpf.UpdateAny); err != nil {
		return fmt.Errorf("select the command: %w", err)
	}
	err := start()
	if gone := pids.Delete(self); gone != nil && err == nil {
		return fmt.Errorf("select the command: %w", gone)
	}
	return err
}

// begin ends the time in which everything is recorded, for the self-test: what came by now is of before the recording.
func (a *attached) begin(o *Options) error {
	if !o.Select.Any() {
		return nil
	}
	if err := a.follow(o); err != nil {
		return err
	}
	if err := a.collection.Variables["passing"].Set(uint32(0)); err != nil {
		return fmt.Errorf("set up the programs: %w", err)
	}
	time.Sleep(time.Millisecond) // a program that runs now has its place in the ring by then
	if err := a.readEarly(); err != nil {
		return err
	}
	for i := range a.early {
		a.early[i].own = true
	}
	return nil
}

// filteredHits reads what was not selected, by probe.
func (a *attached) filteredHits() (sum [numProbes]uint64, err error) {
	perCPU, err := a.perCPU()
	if err != nil {
		return sum, err
	}
	for _, c := range perCPU {
		for i, n := range c.Filtered {
			sum[i] += n
		}
	}
	return sum, nil
}

// notFollowed says what of the selection could not be kept to, "" if nothing.
func (a *attached) notFollowed() string {
	var list []string
	for name, what := range map[string]string{
		"unfollowed":    "children of selected processes are not recorded: there are too many",
		"followed_full": "connections are not followed to their end: there are too many at once",
	} {
		var n uint32
		if a.collection.Variables[name].Get(&n) == nil && n > 0 {
			list = append(list, fmt.Sprintf("%d %s", n, what))
		}
	}
	return strings.Join(list, "; ")
}

// eachProcess calls f with the id of each process.
func eachProcess(f func(pid uint32)) {
	dir, err := os.Open("/proc")
	if err != nil {
		return
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		if pid, err := strconv.ParseUint(name, 10, 32); err == nil {
			f(uint32(pid))
		}
	}
}

// matchesProcess reports whether the criteria of tasks fit a process now.
func (a *attached) matchesProcess(s *Selection, pid uint32) bool {
	dir := fmt.Sprintf("/proc/%d", pid)
	if s.criteria()&selectPID != 0 {
		var ticks uint64
		now, err := ticksOf(pid)
		if err != nil || a.collection.Maps["pids"].Lookup(pid, &ticks) != nil || ticks != now {
			return false
		}
	}
	if len(s.UIDs) > 0 && !slices.Contains(s.UIDs, realUID(dir)) {
		return false
	}
	named := func(c string) bool { return slices.Contains(s.Comms, c) }
	if len(s.Comms) > 0 && !slices.ContainsFunc(commsOf(dir), named) {
		return false
	}
	if len(s.Cgroups) > 0 {
		b, _ := os.ReadFile(dir + "/cgroup")
		path, ok := v2Cgroup(b)
		return ok && slices.ContainsFunc(s.Cgroups, func(c Cgroup) bool {
			return path == c.Path || strings.HasPrefix(path, c.Path+"/")
		})
	}
	return true
}

func realUID(dir string) uint32 {
	b, _ := os.ReadFile(dir + "/status")
	if _, rest, ok := bytes.Cut(b, []byte("\nUid:")); ok {
		if f := bytes.Fields(rest); len(f) > 0 {
			if n, err := strconv.ParseUint(string(f[0]), 10, 32); err == nil {
				return uint32(n)
			}
		}
	}
	return ^uint32(0)
}

// commsOf are the names of a process's threads.
func commsOf(dir string) (list []string) {
	tasks, _ := filepath.Glob(dir + "/task/*/comm")
	for _, task := range tasks {
		if b, err := os.ReadFile(task); err == nil {
			list = append(list, strings.TrimSuffix(string(b), "\n"))
		}
	}
	return list
}

// v2Cgroup is the path in the hierarchy of version 2 from a /proc/PID/cgroup.
func v2Cgroup(b []byte) (string, bool) {
	for line := range strings.Lines(string(b)) {
		if path, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::"); ok {
			return path, true
		}
	}
	return "", false
}

// selectedSockets are the sockets, by inode number, of processes that the criteria of tasks fit now, and these
// processes.
func (a *attached) selectedSockets(s *Selection) (sockets map[uint64]bool, processes map[uint32]bool) {
	sockets, processes = map[uint64]bool{}, map[uint32]bool{}
	eachProcess(func(pid uint32) {
		if !a.matchesProcess(s, pid) {
			return
		}
		processes[pid] = true
		fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		for _, fd := range fds {
			var inode uint64
			link, _ := os.Readlink(fd)
			if n, _ := fmt.Sscanf(link, "socket:[%d]", &inode); n == 1 {
				sockets[inode] = true
			}
		}
	})
	return sockets, processes
}

// choose leaves in a snapshot what is selected, and tells the programs of the listeners and the connections that
// selected processes have at the beginning.
func (a *attached) choose(s *Selection, shot *format.Snapshot) error {
	if !s.Any() {
		return nil
	}
	ofTask := s.criteria()&selectTask != 0
	sockets, processes := map[uint64]bool{}, map[uint32]bool{}
	if ofTask {
		sockets, processes = a.selectedSockets(s)
	}
	type place struct {
		netns uint32
		port  uint16
	}
	places, inodes := map[place]bool{}, map[uint64]bool{}
	one := uint8(1)
	chosen := a.collection.Maps["chosen"]
	shot.Listeners = slices.DeleteFunc(shot.Listeners, func(l format.ListenSocket) bool {
		if !s.matchesSocket(l.Family, l.NetNS, l.LPort) || !s.matchesListener(l.LAddr) {
			return true
		}
		if ofTask && !sockets[l.Listener] && chosen.Lookup(l.Listener, &one) != nil {
			return true
		}
		if ofTask {
			_ = chosen.Update(l.Listener, one, ebpf.UpdateAny)
		}
		places[place{l.NetNS, l.LPort}], inodes[l.Listener] = true, true
		return false
	})
	var err error
	shot.Connections = slices.DeleteFunc(shot.Connections, func(c format.Connection) bool {
		here := places[place{c.NetNS, c.LPort}]
		switch {
		case s.FailedOnly || !s.matchesEnds(c.LAddr, c.RAddr):
			return true
		case !ofTask:
			return !here
		case !sockets[c.Inode] && !(c.Inode == 0 && here):
			return true
		case !shot.Final && err == nil:
			err = a.connectedBefore(&c)
		}
		return false
	})
	shot.Blocked = slices.DeleteFunc(shot.Blocked, func(b format.Blocked) bool {
		return ofTask && !processes[b.PID] || s.criteria()&selectSocket != 0 && !inodes[b.Listener]
	})
	return err
}

// connectedBefore tells the programs of a connection that a selected process has at the beginning.
func (a *attached) connectedBefore(c *format.Connection) error {
	l, err1 := netip.ParseAddr(c.LAddr)
	r, err2 := netip.ParseAddr(c.RAddr)
	if err1 != nil || err2 != nil {
		return nil
	}
	key := bpf.AccEnds{Netns: c.NetNS, Lport: c.LPort, Rport: c.RPort, Laddr: addrBytes(l), Raddr: addrBytes(r)}
	err := a.collection.Maps["connected_before"].Update(key, uint8(1), ebpf.UpdateAny)
	if err != nil && !errors.Is(err, unix.E2BIG) {
		return fmt.Errorf("note the connections of selected processes: %w", err)
	}
	return nil
}

// addrBytes is an address as the programs read it: of IPv4 four bytes.
func addrBytes(a netip.Addr) (b [16]uint8) {
	if a.Is4() {
		v4 := a.As4()
		copy(b[:], v4[:])
		return b
	}
	return a.As16()
}
